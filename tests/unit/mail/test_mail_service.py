"""What mail makes of a delivery: the job's outcome, the health check, the metrics, the identity of a message."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mail_servers import PASSWORD, USER, smtp_server, write_certificate
from rakiza._kernel import Ports, UnitOfWork
from rakiza.errors import ValidationError
from rakiza.mail import Mail, MailLoginError, MailRefusedError, MailService, MailSettings, MailUnavailableError
from rakiza.telemetry import Metrics

SENDER = "نوفل <no-reply@example.com>"
MAIL = Mail(to="sara@example.com", subject="مرحباً", body="محتوى الرسالة")


class Waiting:
    """Be a queue that keeps what it was given."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, Mapping[str, object], float]] = []

    def enqueue(
        self, task: str, payload: Mapping[str, object], *, tx: UnitOfWork | None = None, delay_seconds: float = 0.0, unique: str | None = None
    ) -> int:
        self.jobs.append((task, payload, delay_seconds))
        return len(self.jobs)


def service(port: int, **given: object) -> MailService:
    settings = {"host": "127.0.0.1", "security": "none", "sender": SENDER, "timeout_seconds": 5.0, **given}
    return MailService(MailSettings(port=port, **settings))  # type: ignore[arg-type]


def test_without_a_server_messages_are_files_and_health_says_so(tmp_path: Path) -> None:
    mail = MailService(home=tmp_path, name="نوفل")
    assert mail.look(production=True).status == "pass"
    assert mail.test("sara@example.com").where.startswith(str(tmp_path / "outbox"))
    assert mail.outbox.newest(1)[0].subject == "رسالة تجربة من نوفل | Test message from نوفل"
    seen = mail.look(production=True)
    assert (seen.status, seen.observed) == ("warn", 1)
    assert "RAKIZA_MAIL_HOST" in (seen.output or "")
    assert mail.look().status == "pass"


def test_another_folder_can_be_named(tmp_path: Path) -> None:
    mail = MailService(MailSettings(outbox=str(tmp_path / "بريد")), home=tmp_path / "home")
    mail.deliver(MAIL)
    assert len(list((tmp_path / "بريد").iterdir())) == 1


def test_an_address_that_is_none_is_refused_with_its_field() -> None:
    with pytest.raises(ValidationError, match=r"^to: 'سارة' is no address"):
        MailService().test("سارة")


def test_the_same_job_gives_the_same_identity_and_another_another() -> None:
    with smtp_server() as inbox:
        mail = service(inbox.port)
        for key in ("7", "7", "8"):
            mail.deliver(MAIL, key)
        mail.deliver(MAIL)
        mail.deliver(MAIL)
        ids = [taken.message["message-id"] for taken in inbox.taken]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 4
        assert all(one.endswith("@example.com>") for one in ids)


def test_health_log_and_metrics_follow_the_deliveries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate, metrics = write_certificate(tmp_path / "server.pem"), Metrics()
    with smtp_server("starttls", certificate, login=True) as inbox:
        given = {"host": "127.0.0.1", "sender": SENDER, "username": USER, "ca_file": str(certificate), "port": inbox.port}
        wrong = MailService(MailSettings(password="wrong", **given))  # type: ignore[arg-type]
        for _ in range(3):
            with pytest.raises(MailLoginError):
                wrong.deliver(MAIL)
        assert len([record for record in caplog.records if record.name.startswith("rakiza.mail")]) == 1
        assert wrong.look().status == "fail"
        assert "RAKIZA_MAIL_PASSWORD" in (wrong.look().output or "")
        mail = MailService(MailSettings(password=PASSWORD, **given), metrics=metrics)  # type: ignore[arg-type]
        inbox.answers = {"DATA": ["451 busy", "554 no"]}
        with pytest.raises(MailUnavailableError):
            mail.deliver(MAIL)
        assert (mail.look().status, mail.look().output) == ("warn", f"127.0.0.1:{inbox.port}: 451 busy")
        with pytest.raises(MailRefusedError):
            mail.deliver(MAIL)
        assert mail.look().status == "warn", "a message that was refused for good says nothing of the server"
        mail.deliver(MAIL)
        assert (mail.look().status, mail.look().output) == ("pass", f"messages go to 127.0.0.1:{inbox.port}")
    text = metrics.render().decode()
    assert "\nmail_sent_total 1.0" in text
    assert "\nmail_failed_total 2.0" in text


def test_the_port_leaves_only_what_was_given_with_the_queue() -> None:
    ports = Ports()
    ports.queue = queue = Waiting()
    mail = MailService(ports=ports)
    mail.send(["sara@example.com"], "مرحباً", "محتوى")
    mail.send("sara@example.com", template="test", data={"application": "نوفل"})
    assert queue.jobs == [
        ("email:send", {"to": ("sara@example.com",), "subject": "مرحباً", "body": "محتوى"}, 0.0),
        ("email:send", {"to": ("sara@example.com",), "template": "test", "data": {"application": "نوفل"}}, 0.0),
    ]
