"""Delivery to real SMTP servers, kind and unkind."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail_servers import PASSWORD, USER, Inbox, broken_server, smtp_server, write_certificate
from rakiza.mail import Mail, MailAwayError, MailLoginError, MailRefusedError, MailSettings, MailUnavailableError
from rakiza.mail._backends import Delivery
from rakiza.mail._backends.smtp import Smtp
from rakiza.mail._core import address
from rakiza.mail._message import Letter
from rakiza.resilience import CircuitOpenError

SENDER = "نوفل، شركة البناء <no-reply@example.com>"
MAIL = Mail(to="سارة العتيبي <sara@example.com>", subject="مرحباً بك في المشروع", body="محتوى الرسالة\nالسطر الثاني")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with smtp_server() as inbox:
        yield inbox


def deliver(port: int, mail: Mail = MAIL, *, sender: str = SENDER, **settings: object) -> Delivery:
    given = {"host": "127.0.0.1", "security": "none", "sender": sender, "timeout_seconds": 5.0, **settings}
    letter = Letter(mail, address(sender), "<one@example.com>", datetime(2026, 11, 27, 9, tzinfo=UTC))
    return Smtp(MailSettings(port=port, **given)).deliver(letter)  # type: ignore[arg-type]


def smtp(port: int) -> Smtp:
    return Smtp(MailSettings(host="127.0.0.1", port=port, security="none", sender=SENDER, timeout_seconds=5.0))


def test_a_message_arrives_as_it_was_written(inbox: Inbox) -> None:
    assert deliver(inbox.port) == Delivery(f"127.0.0.1:{inbox.port}", 1)
    [taken] = inbox.taken
    assert (taken.sender, taken.recipients) == ("no-reply@example.com", ["sara@example.com"])
    assert taken.message["subject"] == "مرحباً بك في المشروع"
    assert taken.message["from"].addresses[0].display_name == "نوفل، شركة البناء"
    assert taken.message["to"].addresses[0].display_name == "سارة العتيبي"
    assert taken.part("plain") == "محتوى الرسالة\r\nالسطر الثاني"
    assert '<html lang="ar" dir="rtl">' in taken.part("html")
    assert "<p>محتوى الرسالة<br>السطر الثاني</p></body>" in taken.part("html")
    assert taken.message["message-id"] == "<one@example.com>"
    assert taken.message["date"].datetime == datetime(2026, 11, 27, 9, tzinfo=UTC)
    assert taken.message["auto-submitted"] == "auto-generated"
    assert taken.raw.isascii()


def test_copies_go_to_everybody_once_and_blind_ones_are_not_named(inbox: Inbox) -> None:
    copies = {"cc": "b@example.com", "bcc": ("c@example.com",), "reply_to": "رد <r@example.com>"}
    mail = Mail(to=("a@example.com", "A <a@example.com>"), subject="س", body="ع", **copies)  # type: ignore[arg-type]
    assert deliver(inbox.port, mail).accepted == 3
    [taken] = inbox.taken
    assert sorted(taken.recipients) == ["a@example.com", "b@example.com", "c@example.com"]
    assert b"c@example.com" not in taken.raw
    assert (taken.header("cc"), taken.header("reply-to")) == ("b@example.com", "رد <r@example.com>")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # the server knows only of TLS that was started later
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_signs_in_over_an_encrypted_connection(security: str, certificate: Path) -> None:
    with smtp_server(security, certificate, login=True) as inbox:
        deliver(inbox.port, security=security, username=USER, password=PASSWORD, ca_file=str(certificate))
        assert [(taken.encrypted, taken.user) for taken in inbox.taken] == [(True, USER)]


def test_a_wrong_password_is_a_matter_of_the_settings(certificate: Path) -> None:
    with smtp_server("starttls", certificate, login=True) as inbox:
        with pytest.raises(MailLoginError, match="535") as caught:
            deliver(inbox.port, security="starttls", username=USER, password="wrong", ca_file=str(certificate))
        assert "RAKIZA_MAIL_PASSWORD" in (caught.value.hint or "")
        with pytest.raises(MailLoginError, match="530"):
            deliver(inbox.port, security="starttls", ca_file=str(certificate))
        assert inbox.taken == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_nobody_vouches_for_gets_no_message(security: str, certificate: Path) -> None:
    with smtp_server(security, certificate) as inbox:
        with pytest.raises(MailUnavailableError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            deliver(inbox.port, security=security)
        assert "RAKIZA_MAIL_CA_FILE" in (caught.value.hint or "")
        assert inbox.taken == []


def test_a_server_without_starttls_gets_no_message(inbox: Inbox) -> None:
    with pytest.raises(MailLoginError, match="STARTTLS"):
        deliver(inbox.port, security="starttls")
    assert inbox.taken == []


def test_who_is_refused_for_good_is_listed_and_the_others_have_the_message(inbox: Inbox) -> None:
    inbox.refuse = {"gone@example.com": "550 لا يوجد such user", "full@example.com": "452 mailbox full"}
    delivery = deliver(inbox.port, Mail(to=("a@example.com", "gone@example.com", "full@example.com"), subject="س", body="ع"))
    assert delivery.accepted == 1
    assert delivery.refused == {"gone@example.com": "550 لا يوجد such user"}
    assert delivery.deferred == {"full@example.com": "452 mailbox full"}
    assert [taken.recipients for taken in inbox.taken] == [["a@example.com"]]


def test_a_message_everybody_refuses_is_refused(inbox: Inbox) -> None:
    inbox.refuse = {"gone@example.com": "550 no such user", "left@example.com": "551 moved"}
    with pytest.raises(MailRefusedError, match=r"gone@example.com: 550 no such user; left@example.com: 551 moved"):
        deliver(inbox.port, Mail(to=("gone@example.com", "left@example.com"), subject="س", body="ع"))


def test_one_who_may_take_it_later_keeps_the_message_alive(inbox: Inbox) -> None:
    inbox.refuse = {"gone@example.com": "550 no such user", "grey@example.com": "451 try later"}
    with pytest.raises(MailUnavailableError, match="451 try later"):
        deliver(inbox.port, Mail(to=("gone@example.com", "grey@example.com"), subject="س", body="ع"))
    inbox.refuse = {"grey@example.com": "421 closing"}
    with pytest.raises(MailUnavailableError, match="421 closing"):
        deliver(inbox.port, Mail(to=("grey@example.com", "b@example.com"), subject="س", body="ع"))


@pytest.mark.parametrize(
    ("command", "answer", "kind"),
    [
        ("MAIL", "451 busy", MailUnavailableError),
        ("MAIL", "550 not your domain", MailLoginError),
        ("MAIL", "552 too large", MailRefusedError),
        ("DATA", "451 busy", MailUnavailableError),
        ("DATA", "554 spam", MailRefusedError),
    ],
)
def test_what_the_server_answers_decides_what_follows(inbox: Inbox, command: str, answer: str, kind: type[Exception]) -> None:
    inbox.answers = {command: [answer]}
    with pytest.raises(kind, match=answer) as caught:
        deliver(inbox.port)
    assert type(caught.value) is kind
    assert inbox.taken == []
    deliver(inbox.port)
    assert len(inbox.taken) == 1


def test_nobody_listens() -> None:
    with pytest.raises(MailUnavailableError, match=r"127.0.0.1:1: .*refused"):
        deliver(1)


@pytest.mark.parametrize("place", ["connect", "MAIL", "DATA", "text"])
@pytest.mark.parametrize("hangs", [True, False])
def test_a_server_that_breaks_off_or_hangs_holds_nobody_up(place: str, hangs: bool) -> None:
    with broken_server(place, hangs=hangs) as port, pytest.raises(MailUnavailableError):
        deliver(port, timeout_seconds=0.3)


def test_addresses_outside_ascii_go_as_they_are_where_the_server_takes_them(inbox: Inbox) -> None:
    deliver(inbox.port, Mail(to="سارة <سارة@مثال.السعودية>", subject="مرحباً", body="محتوى"))
    [taken] = inbox.taken
    assert taken.recipients == ["سارة@مثال.السعودية"]
    assert "<سارة@مثال.السعودية>".encode() in taken.raw
    assert taken.message["subject"] == "مرحباً"


def test_without_smtputf8_domains_are_written_in_ascii_and_the_rest_is_refused() -> None:
    with smtp_server(utf8=False) as inbox:
        delivery = deliver(inbox.port, Mail(to=("info@مثال.السعودية", "سارة@example.com"), subject="مرحباً", body="محتوى"))
        assert (delivery.accepted, list(delivery.refused)) == (1, ["سارة@example.com"])
        [taken] = inbox.taken
        assert taken.recipients == ["info@xn--mgbh0fb.xn--mgberp4a5d4ar"]
        assert taken.raw.isascii()
        with pytest.raises(MailRefusedError, match="SMTPUTF8"):
            deliver(inbox.port, Mail(to="سارة@example.com", subject="مرحباً", body="محتوى"))
        with pytest.raises(MailLoginError, match="SMTPUTF8"):
            deliver(inbox.port, sender="سارة@example.com")


def test_a_server_that_is_away_is_left_alone_after_five_times() -> None:
    server, letter = smtp(1), Letter(MAIL, address(SENDER), "<one@example.com>", datetime(2026, 11, 27, 9, tzinfo=UTC))
    for _ in range(5):
        with pytest.raises(MailAwayError):
            server.deliver(letter)
    with pytest.raises(CircuitOpenError, match=r"smtp 127\.0\.0\.1:1") as caught:
        server.deliver(letter)
    assert 0 < caught.value.retry_after_seconds <= 60


def test_a_server_that_answers_is_never_left_alone(inbox: Inbox) -> None:
    inbox.refuse = {"grey@example.com": "451 try later"}
    grey = Mail(to="grey@example.com", subject="س", body="ع")
    server, day = smtp(inbox.port), datetime(2026, 11, 27, 9, tzinfo=UTC)
    for _ in range(12):
        with pytest.raises(MailUnavailableError, match="451"):
            server.deliver(Letter(grey, address(SENDER), "<one@example.com>", day))
    assert server.deliver(Letter(MAIL, address(SENDER), "<two@example.com>", day)).accepted == 1


def test_a_server_that_takes_its_time_at_every_step_does_not_hold_a_delivery_for_ever(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.mail._backends.smtp.STEPS", 2)
    inbox.pause_seconds = 0.2
    many = Mail(to=tuple(f"a{number}@example.com" for number in range(60)), subject="س", body="ع")
    with pytest.raises(MailAwayError, match="timed out"):
        deliver(inbox.port, many, timeout_seconds=0.4)
    assert inbox.taken == []
