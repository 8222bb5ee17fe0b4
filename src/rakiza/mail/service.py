"""Sending mail: left with the queue, or handed over at once."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, CheckResult, Clock, Ports, UnitOfWork, uuid7_text
from rakiza.errors import from_validation
from rakiza.jobs import Cancel, JobError, Retry, RunningJob, Snooze
from rakiza.resilience import CircuitOpenError
from rakiza.telemetry import Metrics

from ._backends import Delivery, Transport
from ._backends.outbox import Outbox
from ._backends.smtp import Smtp
from ._core import CONTROL, Address, Mail, address, many
from ._message import Letter
from .errors import MailLoginError, MailRefusedError, MailUnavailableError
from .settings import MailSettings

log = logging.getLogger(__name__)
TASK = "email:send"
DEFERRED_SECONDS = 60.0
"""How long recipients wait whom the server put off while it took others, and messages for a server that is left alone."""


class MailService:
    """Send mail by the server of the settings, or keep it in the outbox when there is none."""

    def __init__(
        self,
        settings: MailSettings | None = None,
        *,
        ports: Ports | None = None,
        clock: Clock = SYSTEM_CLOCK,
        metrics: Metrics | None = None,
        home: Path = Path("var"),
        name: str = "app",
    ) -> None:
        settings, metrics = settings or MailSettings(), metrics or Metrics()
        self.name, self._ports, self._clock = name, ports or Ports(), clock
        self.outbox = Outbox(Path(settings.outbox) if settings.outbox else home / "outbox")
        self.transport: Transport = Smtp(settings) if settings.host else self.outbox
        self._sender = address(settings.sender) if settings.sender else Address(CONTROL.sub(" ", name), "no-reply", "localhost")
        self._sent = metrics.counter("mail_sent", "Messages handed to the mail server or the outbox")
        self._failed = metrics.counter("mail_failed", "Attempts at a delivery that failed")
        self._trouble: CheckResult | None = None

    def send(
        self,
        to: Collection[str],
        subject: str = "",
        text: str = "",
        *,
        html: str | None = None,
        template: str | None = None,
        data: Mapping[str, str | int | float | bool] | None = None,
        tx: UnitOfWork | None = None,
    ) -> None:
        """Leave a message with the queue, with `tx` only if that transaction commits; blocks. Raise JobArgumentsError, the field named."""
        content: dict[str, object] = {"subject": subject, "body": text, "html": html, "template": template, "data": dict(data or {})}
        self._ports.queue.enqueue(TASK, {"to": tuple(many(to)), **{name: value for name, value in content.items() if value}}, tx=tx)

    def deliver(self, mail: Mail, key: str = "") -> Delivery:
        """Hand a message over at once; the same `key` and message give the same Message-ID.

        Raise MailUnavailableError, MailRefusedError, CircuitOpenError while a server is left alone that was away; blocks.
        """
        try:
            delivery = self.transport.deliver(self._letter(mail, key))
        except MailRefusedError:
            self._failed.inc()
            raise
        except MailUnavailableError as error:
            self._failed.inc()
            if self._trouble is None:  # one line for each time of trouble, not for each message
                log.warning("mail does not leave: %s", _told(error))
            self._trouble = CheckResult("fail" if isinstance(error, MailLoginError) else "warn", output=_told(error))
            raise
        self._trouble = None
        self._sent.inc()
        return delivery

    def work(self, mail: Mail, job: RunningJob) -> dict[str, object]:
        """Be the job `email:send`: whom the server puts off while it takes others gets the same message by a job of its own."""
        letter = self._letter(mail, str(job.id))
        try:
            delivery = self.deliver(mail, str(job.id))
        except MailRefusedError as error:
            raise Cancel(error.detail) from error
        except MailUnavailableError as error:
            raise Retry(_told(error)) from error
        except CircuitOpenError as error:  # the breaker has told of it: not one more error, and no attempt, for each message
            raise Snooze(max(DEFERRED_SECONDS, error.retry_after_seconds)) from error
        result = {"message_id": letter.message_id, **msgspec.to_builtins(delivery)}
        if delivery.deferred:
            result["rest"] = self._later({**job.payload, "only": tuple(delivery.deferred), "message_id": letter.message_id}, job)
        return result

    def _later(self, payload: Mapping[str, object], job: RunningJob) -> int | None:
        try:
            return self._ports.queue.enqueue(TASK, payload, delay_seconds=DEFERRED_SECONDS)
        except JobError as error:  # no room for the addresses in it: the others must not get the message again for that
            job.log(f"who was put off is not tried again: {error.detail}", "error")
            return None

    def test(self, to: str) -> Delivery:
        """Send a message that says that mail works; raise ValidationError for an address that is none."""
        try:
            mail = msgspec.convert({"to": to, "template": "test", "data": {"application": self.name}}, Mail)
        except msgspec.ValidationError as error:
            raise from_validation(error) from None
        return self.deliver(mail)

    def look(self, *, production: bool = False) -> CheckResult:
        """Tell how the last delivery of this process went, and where messages go."""
        if self._trouble:
            return self._trouble
        if self.transport is not self.outbox:
            return CheckResult(output=f"messages go to {self.transport.where}")
        kept = len(self.outbox.names())
        note = f"messages are written to {self.outbox.where}; to send them set RAKIZA_MAIL_HOST"
        return CheckResult("warn" if kept and production else "pass", kept, "messages", note)

    def _letter(self, mail: Mail, key: str) -> Letter:
        known = hashlib.sha256(b"\0".join((self.name.encode(), (key or uuid7_text()).encode(), msgspec.json.encode(mail)))).hexdigest()
        domain = self._sender.domain.encode("idna").decode()
        return Letter(mail, self._sender, mail.message_id or f"<{known[:32]}@{domain}>", self._clock.now())


def _told(error: MailUnavailableError) -> str:
    return f"{error.detail}; {error.hint}" if error.hint else error.detail
