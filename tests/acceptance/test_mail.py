"""`email:send` through a platform around an application, to a real SMTP server: word for word, once, and told when it does not work."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

import laid
from mail_servers import Inbox, broken_server, smtp_server
from patience import until
from rakiza import Platform, build, integrate
from rakiza.jobs import JobArgumentsError, Jobs, JobView, add_job
from rakiza.mail import MailService

SENDER = "نوفل <no-reply@example.com>"
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What is said to a mail server does not depend on the kind of the database."""
MAIL = {"to": "sara@example.com", "subject": "مرحباً", "body": "محتوى الرسالة"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with laid.database(request, tmp_path) as url:
        yield url


async def application(scope: object, receive: object, send: object) -> None:
    """Do nothing."""


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with smtp_server() as inbox:
        yield inbox


@pytest.fixture
def platform(inbox: Inbox, database_url: str, tmp_path: Path) -> Iterator[Platform]:
    mail = {"host": "127.0.0.1", "port": inbox.port, "security": "none", "sender": SENDER, "timeout_seconds": 5}
    platform = integrate(application, {**of(tmp_path, database_url), "mail": mail})
    platform.start()
    yield platform
    platform.shutdown()
    platform.store.close()


def of(home: Path, database_url: str) -> dict[str, dict[str, object]]:
    """Return the settings of a platform of that home and database."""
    return {"hub": {"home": str(home), "name": "نوفل"}, "store": {"database_url": database_url}, "logs": {"console": False}}


def ended(jobs: Jobs, job_id: int, *states: str) -> JobView:
    until(lambda: jobs.get_job(job_id).state in states)
    return jobs.get_job(job_id)


@ON_ONE
def test_the_specified_line_delivers_the_message(platform: Platform, inbox: Inbox) -> None:
    async def handler() -> None:
        await add_job('email:send', {'to': 'user@example.com', 'subject': 'مرحباً', 'body': 'محتوى الرسالة'})  # fmt: skip

    asyncio.run(handler())
    until(lambda: inbox.taken)
    [taken] = inbox.taken
    assert (taken.sender, taken.recipients) == ("no-reply@example.com", ["user@example.com"])
    assert taken.message["subject"] == "مرحباً"
    assert taken.part("plain") == "محتوى الرسالة"
    assert '<html lang="ar" dir="rtl">' in taken.part("html")
    assert taken.message["from"].addresses[0].display_name == "نوفل"


def test_a_message_shares_the_fate_of_its_transaction(platform: Platform, inbox: Inbox) -> None:
    with pytest.raises(RuntimeError), platform.store.begin() as tx:
        platform.ctx.ports.mailer.send(["lost@example.com"], "فقدت", "محتوى", tx=tx)
        raise RuntimeError
    with platform.store.begin() as tx:
        platform.ctx.ports.mailer.send(["sara@example.com"], template="test", data={"application": "نوفل"}, tx=tx)
    until(lambda: inbox.taken)
    assert [taken.recipients for taken in inbox.taken] == [["sara@example.com"]]
    assert inbox.taken[0].message["subject"] == "رسالة تجربة من نوفل | Test message from نوفل"


@ON_ONE
def test_what_nobody_could_deliver_is_refused_where_it_is_added(platform: Platform) -> None:
    with pytest.raises(JobArgumentsError, match=r"^to\[1\]: holds a line break") as caught:
        add_job("email:send", MAIL | {"to": ["a@example.com", "b@example.com\r\nBcc: c@example.com"]})
    assert [found["field"] for found in caught.value.errors or ()] == ["to[1]"]  # type: ignore[index]
    with pytest.raises(JobArgumentsError, match=r"subject: holds a line break"):
        platform.ctx.ports.mailer.send(["a@example.com"], "مرحباً\nBcc: x@example.com", "محتوى")


@ON_ONE
def test_another_attempt_is_the_same_message(platform: Platform, inbox: Inbox) -> None:
    inbox.answers = {"DATA": ["451 busy"]}
    job_id = platform.jobs.add_job("email:send", MAIL).id
    assert ended(platform.jobs, job_id, "retry").attempt == 1
    assert platform.service("mail", MailService).look().status == "warn"
    platform.jobs.retry(job_id)
    result = ended(platform.jobs, job_id, "done").result
    [taken] = inbox.taken
    assert result["message_id"] == taken.message["message-id"]
    assert (result["accepted"], result["where"]) == (1, f"127.0.0.1:{inbox.port}")


@ON_ONE
def test_a_refusal_ends_the_job_with_its_reason(platform: Platform, inbox: Inbox) -> None:
    inbox.refuse = {"sara@example.com": "550 no such user"}
    job_id = platform.jobs.add_job("email:send", MAIL).id
    ended(platform.jobs, job_id, "cancelled")
    with platform.store.read() as tx:
        (errors,) = tx.execute(text("SELECT errors FROM rakiza_jobs_job WHERE id = :id"), {"id": job_id}).one()
    assert "sara@example.com: 550 no such user" in str(errors)


def test_who_was_put_off_gets_the_same_message_later_and_nobody_twice(platform: Platform, inbox: Inbox) -> None:
    inbox.refuse = {"grey@example.com": "451 try later", "gone@example.com": "550 gone"}
    payload = MAIL | {"to": ["sara@example.com", "رمادي <grey@example.com>"], "cc": ["gone@example.com"]}
    result = ended(platform.jobs, platform.jobs.add_job("email:send", payload).id, "done").result
    assert (result["accepted"], result["refused"]) == (1, {"gone@example.com": "550 gone"})
    inbox.refuse = {}
    platform.jobs.run_now(result["rest"])
    ended(platform.jobs, result["rest"], "done")
    first, second = inbox.taken
    assert (first.recipients, second.recipients) == (["sara@example.com"], ["grey@example.com"])
    assert first.message["message-id"] == second.message["message-id"]
    assert first.message["to"] == second.message["to"]


@ON_ONE
def test_a_mail_server_that_hangs_holds_up_no_other_job(database_url: str, tmp_path: Path) -> None:
    with broken_server("connect", hangs=True) as port:
        mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": SENDER, "timeout_seconds": 60}
        platform = build({**of(tmp_path, database_url), "mail": mail, "jobs": {"concurrency": 16}}, environ={})
        platform.jobs.job("تقرير")(lambda: "تم")
        platform.start()
        sent = platform.jobs.add_jobs([{"task": "email:send", "payload": MAIL} for _ in range(20)])
        until(lambda: [platform.jobs.get_job(one.id).state for one in sent].count("running") == 8)
        ended(platform.jobs, platform.jobs.add_job("تقرير").id, "done")
        assert {platform.jobs.get_job(one.id).state for one in sent} == {"running", "ready"}
    platform.shutdown()
    platform.store.close()


@ON_ONE
def test_while_a_server_that_is_away_is_left_alone_messages_use_no_attempt(database_url: str, tmp_path: Path) -> None:
    with broken_server("connect", hangs=False) as port:
        mail = {"host": "127.0.0.1", "port": port, "security": "none", "sender": SENDER}
        platform = build({**of(tmp_path, database_url), "mail": mail, "jobs": {"concurrency": 16}}, environ={})
        platform.start()
        sent = [one.id for one in platform.jobs.add_jobs([{"task": "email:send", "payload": MAIL} for _ in range(30)])]
        later = platform.ctx.clock.now() + timedelta(seconds=50)
        until(lambda: all((job := platform.jobs.get_job(one)).attempt or job.run_at > later for one in sent))
        until(lambda: not any(platform.jobs.get_job(one).state == "running" for one in sent))
        attempts = [platform.jobs.get_job(one).attempt for one in sent]
        assert 5 <= sum(attempts) <= 5 + 8, "eight at once may be on their way when the fifth fails"
        assert set(attempts) == {0, 1}
    platform.shutdown()
    platform.store.close()


@ON_ONE
def test_alerts_are_mailed_in_both_languages(database_url: str, inbox: Inbox, tmp_path: Path) -> None:
    alerts = {"alert_email_to": "مدير@example.com,ops@example.com", "alert_after_seconds": 5, "thresholds": {"ram": 0.001, "cpu": 0, "disk": 0}}
    mail = {"host": "127.0.0.1", "port": inbox.port, "security": "none", "sender": SENDER}
    platform = build({**of(tmp_path, database_url), "monitoring": alerts, "mail": mail}, environ={})
    platform.start()
    until(lambda: inbox.taken)
    platform.shutdown()
    platform.store.close()
    [taken] = inbox.taken
    assert taken.recipients == ["مدير@example.com", "ops@example.com"]
    assert "تنبيه من نوفل: الذاكرة عند" in taken.header("subject")
    assert "Alert from نوفل: Memory at" in taken.header("subject")
    assert 'lang="ar" dir="rtl"' in taken.part("html")
    assert re.search("الدرجة: (تحذير|حرج)\r\n", taken.part("plain"))
    assert re.search("Level: (warning|critical)\r\n", taken.part("plain"))


@ON_ONE
def test_the_part_is_reached_by_health_metrics_and_commands(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    platform = build(of(tmp_path, database_url), environ={})
    platform.start()
    commands = {command.name: command.build() for part in platform.parts for command in part.commands}
    commands["mail test"]("سارة <sara@example.com>")
    assert f"went to {tmp_path / 'outbox'}" in capsys.readouterr().out
    commands["mail outbox"]()
    assert "سارة <sara@example.com>\tرسالة تجربة من نوفل | Test message from نوفل\t" in capsys.readouterr().out
    commands["mail outbox"](json=True)
    assert '"subject":"رسالة تجربة من نوفل | Test message from نوفل"' in capsys.readouterr().out
    assert b"\nmail_sent_total 1.0" in platform.metrics.render()
    seen = {one.check.name: one for one in platform.health.observations()}["mail"]
    assert (seen.check.required, seen.result.status) == (False, "pass")
    platform.shutdown()
    platform.store.close()
