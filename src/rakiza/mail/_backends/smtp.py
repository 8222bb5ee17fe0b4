"""Delivery by SMTP (RFC 5321) with the standard library."""

import contextlib
import smtplib
import ssl
from collections.abc import Iterator, Mapping

from rakiza._kernel import time_left
from rakiza.mail._message import Letter
from rakiza.mail.errors import MailAwayError, MailLoginError, MailRefusedError, MailUnavailableError
from rakiza.mail.settings import PORTS, MailSettings
from rakiza.resilience import CircuitBreaker, Deadline, policy

from . import Delivery

LOGIN_HINT = "check RAKIZA_MAIL_USERNAME, RAKIZA_MAIL_PASSWORD, RAKIZA_MAIL_SENDER and RAKIZA_MAIL_SECURITY"
TRUST_HINT = "name the certificate of the server's authority in RAKIZA_MAIL_CA_FILE, and check RAKIZA_MAIL_HOST and RAKIZA_MAIL_SECURITY"
NO_UTF8 = "553 the server takes no address outside ASCII (SMTPUTF8)"
LOGIN_NEEDED, TOO_LARGE = 530, 552
STEPS, FAILURES, OPEN_SECONDS = 10, 5, 60.0
"""A delivery may take ten times as long as a step; a server that was away five times is left alone for a minute."""


class _Timed(smtplib.SMTP):
    """Give each answer the time of a step, and less when that of the delivery ends sooner."""

    def getreply(self) -> tuple[int, bytes]:
        if self.sock is not None:
            self.sock.settimeout(_step(self.timeout))
        return super().getreply()


class _TimedTls(_Timed, smtplib.SMTP_SSL):
    pass


def _step(seconds: float) -> float:
    left = time_left()
    return seconds if left is None else min(seconds, max(0.001, left))


class Smtp:
    """Send each message over a connection of its own; a server that is away is not asked for every message."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings, self._port = settings, settings.port or PORTS[settings.security]
        self.where = f"{settings.host}:{self._port}"
        breaker = CircuitBreaker(f"smtp {self.where}", min_calls=FAILURES, open_seconds=OPEN_SECONDS, record=(MailAwayError,))
        self._guarded = policy(Deadline(STEPS * settings.timeout_seconds, breaker.name), breaker)(self._deliver)

    def deliver(self, letter: Letter) -> Delivery:
        """Hand a message to the server in one transaction; raise CircuitOpenError while the server is left alone."""
        return self._guarded(letter)

    def _deliver(self, letter: Letter) -> Delivery:
        with _told(self.where), self._connection(letter.sender.domain) as connection:
            return self._transaction(connection, letter)

    @contextlib.contextmanager
    def _connection(self, domain: str) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        secure = None if settings.security == "none" else ssl.create_default_context(cafile=settings.ca_file or None)
        name, timeout = domain.encode("idna").decode(), _step(settings.timeout_seconds)  # a name of our own: to look one up can take long
        if settings.security == "tls":
            connection: smtplib.SMTP = _TimedTls(settings.host, self._port, name, timeout=timeout, context=secure)
        else:
            connection = _Timed(settings.host, self._port, name, timeout)
        try:
            if settings.security == "starttls":
                connection.starttls(context=secure)
            if settings.username:
                connection.login(settings.username, settings.password)
            yield connection
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):  # what it says at the end changes nothing
                connection.quit()
            connection.close()

    def _transaction(self, connection: smtplib.SMTP, letter: Letter) -> Delivery:
        connection.ehlo_or_helo_if_needed()
        people, sender = letter.mail.recipients, letter.sender
        utf8 = connection.has_extn("smtputf8") and not "".join((*people, sender.spec(utf8=True))).isascii()
        if not (utf8 or sender.local.isascii()):
            raise MailLoginError(f"{self.where}: {NO_UTF8}", hint=LOGIN_HINT)
        reached = {one.spec(utf8=utf8): named for named, one in people.items() if utf8 or one.local.isascii()}
        refused = {named: NO_UTF8 for named, one in people.items() if not (utf8 or one.local.isascii())}
        if not reached:
            raise MailRefusedError(_listed(refused))
        options = ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []
        try:
            answers = connection.sendmail(sender.spec(utf8=utf8), list(reached), letter.render(utf8=utf8), options)
        except smtplib.SMTPRecipientsRefused as error:
            raise _all_refused({reached[to]: answer for to, answer in error.recipients.items()}, refused, len(reached)) from error
        refused |= {reached[to]: _reason(answer) for to, answer in answers.items() if answer[0] >= 500}
        deferred = {reached[to]: _reason(answer) for to, answer in answers.items() if answer[0] < 500}
        return Delivery(self.where, len(reached) - len(answers), refused, deferred)


def _all_refused(answers: Mapping[str, tuple[int, bytes]], refused: Mapping[str, str], reached: int) -> MailUnavailableError | MailRefusedError:
    """Return what to raise when nobody took the message: refused for good only when the server said so of everybody."""
    listed = _listed({**refused, **{to: _reason(answer) for to, answer in answers.items()}})
    codes = {code for code, _ in answers.values()}
    if LOGIN_NEEDED in codes:
        return MailLoginError(listed, hint=LOGIN_HINT)
    return MailRefusedError(listed) if min(codes) >= 500 and len(answers) == reached else MailUnavailableError(listed)


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    """Turn what the library raises into what the queue acts on."""
    try:
        yield
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
        raise MailLoginError(f"{where}: {_text(error)}", hint=LOGIN_HINT) from error
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        code = error.smtp_code
        if code < 500:
            raise MailUnavailableError(f"{where}: {_text(error)}") from error
        if isinstance(error, smtplib.SMTPSenderRefused) and code != TOO_LARGE:
            raise MailLoginError(f"{where}: the sender is refused: {_text(error)}", hint=LOGIN_HINT) from error
        raise MailRefusedError(f"{where}: {_text(error)}") from error
    except ssl.SSLError as error:
        raise MailUnavailableError(f"{where}: {error}", hint=TRUST_HINT) from error
    except (smtplib.SMTPException, OSError) as error:
        raise MailAwayError(f"{where}: {_text(error)}") from error


def _text(error: Exception) -> str:
    return _reason((error.smtp_code, error.smtp_error)) if isinstance(error, smtplib.SMTPResponseException) else str(error) or type(error).__name__


def _reason(answer: tuple[int, bytes | str]) -> str:
    code, text = answer
    return f"{code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"


def _listed(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{to}: {reason}" for to, reason in reasons.items())
