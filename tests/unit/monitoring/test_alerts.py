"""Alerts: raised and ended once, by whichever process; kept across restarts; told to a webhook that may be bad."""

import logging
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from rakiza._kernel import Check, CheckResult, LocalFile, Ports, UnitOfWork
from rakiza.health import Observation
from rakiza.monitoring import Alert, MonitoringSettings, SystemMonitor
from rakiza.monitoring._alerts import MAX_QUEUE, MAX_REMEMBERED, AlertMail, Alerts, Webhook
from rakiza.monitoring.service import check_values
from rakiza.resilience import registry
from rakiza.testing import FrozenClock

TICK = 5.0
RULES = MonitoringSettings(alert_after_seconds=15).rules(TICK)


class Watch:
    """Alerts of one process, and what they told."""

    def __init__(self, path: Path, settings: MonitoringSettings | None = None, now: int = 0) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.now = now
        rules = settings.rules(TICK) if settings else RULES
        self.alerts = Alerts(rules, LocalFile(path), lambda event, alert: self.told.append((event, alert.name, alert.level)))
        self.alerts.restore(self.at)

    @property
    def at(self) -> str:
        return f"2026-01-01T{self.now // 3600:02}:{self.now // 60 % 60:02}:{self.now % 60:02}+00:00"

    def look(self, times: int = 3, **values: float) -> None:
        for _ in range(times):
            self.now += 5
            self.alerts.look(values, self.at)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "تنبيهات.db"


def test_an_alert_is_raised_grows_and_ends_each_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(path)
    watch.look(2, disk=91)
    assert watch.told == []
    watch.look(10, disk=91)
    (alert,) = watch.alerts.active()
    assert (alert.name, alert.metric, alert.level, alert.value, alert.threshold) == ("disk", "disk_percent", "warning", 91.0, 90.0)
    assert alert.message_en == "Disk at 91 %, above 90 %"
    assert alert.message_ar == "القرص عند 91٪، فوق الحد 90٪"
    watch.look(3, disk=97)
    assert watch.alerts.active()[0].level == "critical"
    watch.look(3, disk=88)
    assert watch.alerts.active()[0].level == "warning"
    watch.look(3, disk=50)
    told = [("raised", "warning"), ("changed", "critical"), ("changed", "warning"), ("ended", "warning")]
    assert watch.told == [(event, "disk", level) for event, level in told]
    assert watch.alerts.active() == []
    (ended,) = watch.alerts.recent()
    assert (ended.since, ended.ended) == (alert.since, watch.at)
    assert len(caplog.records) == 4
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert "ended" not in msgspec.to_builtins(alert)


def test_a_second_process_that_sees_the_same_is_silent(path: Path) -> None:
    one, other = Watch(path), Watch(path)
    for watch in (one, other):
        watch.look(3, cpu=85)
    assert (len(one.told), other.told) == (1, [])
    assert one.alerts.active() == other.alerts.active()
    assert len(one.alerts.active()) == 1
    for watch in (other, one):
        watch.look(3, cpu=5)
    assert (len(one.told), [event for event, *_ in other.told]) == (1, ["ended"])
    assert one.alerts.active() == other.alerts.active() == []
    assert len(one.alerts.recent()) == 1


def seen(status: str, output: str | None = None, arabic: str | None = None, *, looked: bool = True) -> Observation:
    result = CheckResult(status, output=output, output_ar=arabic)
    return Observation(Check(name="backup", fn=lambda: result), result, FrozenClock().now() if looked else None)


def test_a_health_check_that_is_not_well_for_long_raises_an_alert_in_its_own_words(path: Path) -> None:
    watch = Watch(path)

    def look(times: int, one: Observation | None) -> list[tuple[str, str, str]]:
        values, said = check_values([one] if one is not None else [])
        for _ in range(times):
            watch.now += 5
            watch.alerts.look(values, watch.at, said)
        return watch.told

    assert look(5, seen("fail", "not looked at yet", looked=False)) == []
    assert look(2, seen("warn", "too old")) == []
    assert look(1, seen("pass")) == []
    assert look(3, seen("warn", "too old", "قديمة")) == [("raised", "check:backup", "warning")]
    [alert] = watch.alerts.active()
    assert (alert.message_en, alert.message_ar, alert.metric) == ("Check backup: too old", "الفحص backup: قديمة", "check:backup")
    again = Watch(path, now=watch.now)
    assert again.alerts.active() == [alert], "it outlives the process"
    look(9, seen("fail", "not looked at yet", looked=False))
    assert watch.alerts.active() == [alert], "what nobody has looked at yet ends nothing"
    assert look(3, seen("fail"))[-1] == ("changed", "check:backup", "critical")
    assert look(3, seen("pass"))[-1] == ("ended", "check:backup", "critical")
    look(3, seen("warn"))
    assert watch.alerts.active()[0].message_ar == "الفحص backup: ليس سليما"
    assert look(3, None)[-1][0] == "ended", "there is no such check any more"


def test_another_process_s_alert_is_shown(path: Path) -> None:
    one, other = Watch(path), Watch(path)
    one.look(3, loop_lag=900)
    assert [alert.name for alert in other.alerts.active()] == ["loop_lag"]


def test_what_was_active_is_taken_up_after_a_restart_and_ends(path: Path) -> None:
    Watch(path).look(3, ram=99)
    later = Watch(path, now=600)
    assert later.alerts.level("ram") == 2
    assert later.alerts.active()[0].since == "2026-01-01T00:00:15+00:00"
    later.look(5, ram=99)
    assert later.told == []
    later.look(3, ram=20)
    assert [event for event, *_ in later.told] == ["ended"]
    assert Watch(path).alerts.active() == []


def test_what_is_watched_no_more_ends_with_the_restart(path: Path) -> None:
    Watch(path).look(3, swap=99)
    later = Watch(path, MonitoringSettings(thresholds={"swap": 0}), now=60)
    assert later.alerts.active() == []
    assert later.alerts.recent()[0].ended == later.at


def test_a_row_of_another_version_stops_nothing(path: Path) -> None:
    watch = Watch(path)
    watch.look(disk=91)
    LocalFile(path).write(lambda connection: connection.execute("UPDATE monitoring_alert SET body = ?", (b'{"level": 3}',)))
    again = Watch(path)
    assert again.alerts.active() == []
    again.look(disk=91)
    assert [alert.name for alert in again.alerts.active()] == ["disk"]


def test_an_alert_that_another_process_ended_too_early_is_raised_again(path: Path) -> None:
    sick, well = Watch(path), Watch(path)
    sick.look(p95=3000)
    assert sick.told == [("raised", "p95", "warning")]
    well.alerts.restore(well.at)  # a worker that was restarted takes the alert up and finds itself well
    for _ in range(8):
        well.look(1, p95=100)
        sick.look(1, p95=3000)
    assert well.told == [("ended", "p95", "warning")]
    assert [event for event, *_ in sick.told] == ["raised", "raised"]
    assert [alert.name for alert in Watch(path).alerts.active()] == ["p95"]


def test_a_value_that_goes_away_ends_its_alert(path: Path) -> None:
    watch = Watch(path)
    watch.look(3, p95=9000)
    watch.look(3)
    assert [event for event, *_ in watch.told] == ["raised", "ended"]


def test_a_full_disk_is_told_shown_and_noted_once_there_is_room(tmp_path: Path) -> None:
    block = tmp_path / "in the way"
    block.write_text("")
    watch = Watch(block / "a.db")
    watch.look(3, disk=99)
    watch.look(3, disk=99, cpu=99)
    assert [name for _, name, _ in watch.told] == ["disk", "cpu"]
    assert [alert.name for alert in watch.alerts.active()] == ["disk", "cpu"]
    watch.look(3, disk=99)
    assert [event for event, *_ in watch.told] == ["raised", "raised", "ended"]  # even one that was never written
    block.unlink()
    watch.look(1, disk=99)
    assert [alert.name for alert in Watch(block / "a.db").alerts.active()] == ["disk"]
    watch.look(3, disk=10)
    assert watch.alerts.active() == []
    assert watch.told[-1][:2] == ("ended", "disk")


def test_history_is_bounded(path: Path) -> None:
    watch = Watch(path)
    for _ in range(MAX_REMEMBERED + 20):
        watch.look(3, cpu=99)
        watch.look(3, cpu=1)
    assert len(watch.alerts.recent()) <= MAX_REMEMBERED
    rows = watch.alerts._local.read(lambda db: db.execute("SELECT count(*) FROM monitoring_alert").fetchone()[0], 0)
    assert MAX_REMEMBERED / 4 < rows <= MAX_REMEMBERED + 1


# -- the webhook


class Receiver(BaseHTTPRequestHandler):
    """Keep what is posted; a redirect sends away."""

    received: list[tuple[str, bytes]] = []  # noqa: RUF012 - one for the test

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        away = self.path.startswith("/away")
        self.send_response(307 if away else 204)
        if away:
            self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.received = []
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def alert(name: str = "cpu") -> Alert:
    return Alert(name=name, metric="cpu_percent", level="warning", value=81.0, threshold=80.0, since="now", message_en="high", message_ar="مرتفع")


def test_a_change_is_posted_in_both_languages(receiver: str) -> None:
    webhook = Webhook(receiver + "/hooks/t?x=1", "نوفل")
    webhook.offer("raised", alert())
    webhook.send()
    ((path, body),) = Receiver.received
    sent = msgspec.json.decode(body)
    assert path == "/hooks/t?x=1"
    assert (sent["event"], sent["application"], sent["text"]) == ("raised", "نوفل", "high\nمرتفع")
    assert sent["alert"]["message_ar"] == "مرتفع"
    assert webhook.failures == 0


def test_a_redirect_is_not_followed_and_a_failure_is_logged_once(receiver: str, caplog: pytest.LogCaptureFixture) -> None:
    webhook = Webhook(receiver + "/away/secret-token", "site")
    for _ in range(3):
        webhook.offer("raised", alert())
    webhook.send()
    assert [path for path, _ in Receiver.received] == ["/away/secret-token"] * 3
    assert webhook.failures == 3
    assert len(caplog.records) == 1
    assert "secret-token" not in caplog.text


def test_nobody_listening_is_counted_and_left_alone_and_the_queue_is_bounded() -> None:
    webhook = Webhook("http://127.0.0.1:9", "site")
    for _ in range(MAX_QUEUE + 50):
        webhook.offer("raised", alert())
    for _ in range(3):
        webhook.send()
    assert webhook.failures == 5
    assert len(webhook._queue) == MAX_QUEUE - 5


def test_what_waits_while_the_receiver_is_left_alone_is_sent_when_it_is_back(receiver: str) -> None:
    webhook = Webhook(receiver + "/away", "site")
    for number in range(7):
        webhook.offer("raised", alert(f"a{number}"))
    webhook.send()
    assert len(Receiver.received) == 5
    webhook._url = urlsplit(receiver + "/back")
    webhook.send()
    assert len(Receiver.received) == 5
    registry.breakers.get("alert webhook 127.0.0.1").reset()
    webhook.send()
    assert [msgspec.json.decode(body)["alert"]["name"] for path, body in Receiver.received if path == "/back"] == ["a5", "a6"]


def test_a_running_monitor_posts_from_the_background(receiver: str) -> None:
    settings = MonitoringSettings(alert_webhook_url=receiver + "/hook", alert_after_seconds=5, thresholds={"ram": 0.001, "cpu": 0})
    monitor = SystemMonitor(settings=settings, name="نوفل")
    monitor.start_monitoring(interval=5)
    try:
        end = time.monotonic() + 10
        while not Receiver.received and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        monitor.stop_monitoring()
    ((_, body),) = Receiver.received
    assert msgspec.json.decode(body)["alert"]["name"] == "ram"


def test_a_receiver_that_never_answers_holds_up_no_sample() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monitor = SystemMonitor(settings=MonitoringSettings(alert_webhook_url=url))
        assert monitor._webhook is not None
        monitor._webhook.offer("raised", alert())
        monitor.start_monitoring(interval=0.1)
        connection, _ = silent.accept()
        seen, end = len(monitor._readings), time.monotonic() + 10
        while len(monitor._readings) < seen + 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(monitor._readings) >= seen + 3
        connection.close()
        monitor.stop_monitoring()
    assert monitor._webhook.failures == 1


# -- by mail


class Post:
    """Be a mailer that fails as often as it is told and keeps the rest."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.sent: list[tuple[tuple[str, ...], str | None, dict[str, str | int | float | bool]]] = []

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
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")
        self.sent.append((tuple(to), template, dict(data or {})))


def alert_mail(post: Post) -> AlertMail:
    ports = Ports()
    mail = AlertMail(("sara@example.com", "مدير@example.com"), "نوفل", ports)
    ports.mailer = post  # mail comes later than monitoring
    return mail


def test_an_alert_is_mailed_when_it_is_raised_becomes_critical_and_ends() -> None:
    post = Post()
    mail = alert_mail(post)
    critical = msgspec.structs.replace(alert(), level="critical")
    for event, one in (("raised", alert()), ("changed", critical), ("changed", alert()), ("ended", msgspec.structs.replace(alert(), ended="later"))):
        mail.offer(event, one)
    assert post.sent == []
    mail.send()
    assert [(template, data["level_ar"], data["ended"]) for _, template, data in post.sent] == [
        ("alert_raised", "تحذير", ""),
        ("alert_raised", "حرج", ""),
        ("alert_ended", "تحذير", "later"),
    ]
    to, _, data = post.sent[0]
    assert to == ("sara@example.com", "مدير@example.com")
    assert (data["application"], data["message_ar"], data["message_en"], data["since"]) == ("نوفل", "مرتفع", "high", "now")


def test_mail_that_cannot_be_left_with_the_queue_waits_in_its_order_and_is_bounded() -> None:
    post = Post(failures=1)
    mail = alert_mail(post)
    for number in range(MAX_QUEUE + 5):
        mail.offer("raised", alert(str(number)))
    with pytest.raises(OSError, match="away"):
        mail.send()
    mail.offer("ended", msgspec.structs.replace(alert(), ended="later"))
    mail.send()
    assert len(post.sent) == MAX_QUEUE
    assert post.sent[-1][1] == "alert_ended"


BAD = ("sara", "@example.com", "sara@", "a@example.com\nBcc: b@example.com", "a@example.com b@example.com", "س <a@example.com>")


@pytest.mark.parametrize("address", BAD)
def test_who_cannot_be_written_to_stops_the_start(address: str) -> None:
    with pytest.raises(ValueError, match="alert_email_to"):
        MonitoringSettings(alert_email_to=("sara@example.com", address))


def test_arabic_addresses_can_be_written_to() -> None:
    assert MonitoringSettings(alert_email_to=("مدير@مثال.السعودية",)).alert_email_to
