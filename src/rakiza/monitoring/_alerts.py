"""Alerts: raised and ended once for all processes of an application, told to log and webhook, remembered across restarts."""

import http.client
import logging
import math
import socket
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from rakiza._kernel import LocalFile, Ports
from rakiza.resilience import CircuitBreaker, CircuitOpenError

from ._core import Alarm, Rule, step

MAX_REMEMBERED = 200
MAX_QUEUE = 100
LEVELS_AR = {"warning": "تحذير", "critical": "حرج"}
WEBHOOK_TIMEOUT_SECONDS, FAILURES = 5.0, 5
TABLE = "CREATE TABLE IF NOT EXISTS monitoring_alert (id INTEGER PRIMARY KEY, name TEXT NOT NULL, ended INTEGER NOT NULL, body BLOB NOT NULL)"
NAMES = {
    "cpu": ("cpu_percent", "Processor", "المعالج", "%"),
    "ram": ("ram_percent", "Memory", "الذاكرة", "%"),
    "swap": ("swap_percent", "Swap", "ذاكرة التبديل", "%"),
    "disk": ("disk_percent", "Disk", "القرص", "%"),
    "error_rate": ("error_rate", "Failed requests", "الطلبات الفاشلة", "%"),
    "p95": ("p95_ms", "Response time (p95)", "زمن الاستجابة (p95)", "ms"),
    "loop_lag": ("loop_lag_ms", "Event loop delay", "تأخر حلقة الأحداث", "ms"),
}
ARABIC = {"%": "٪", "ms": " مللي ثانية"}
LEVELS = ("warning", "critical")
log = logging.getLogger(__name__)


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Say what is above which threshold since when; `value` is the one of the last change."""

    name: str
    metric: str
    level: str
    value: float
    threshold: float
    since: str
    message_en: str
    message_ar: str
    ended: str | None = None


Said = Mapping[str, tuple[str, str]]
"""What is wrong in English and in Arabic, by the name of a value that is no figure."""


def texts(name: str, value: float, threshold: float) -> tuple[str, str]:
    """Return what is wrong in English and in Arabic."""
    _, english, arabic, unit = NAMES[name]
    ours = ARABIC[unit]
    return f"{english} at {value:.9g} {unit}, above {threshold:g} {unit}", f"{arabic} عند {value:.9g}{ours}، فوق الحد {threshold:g}{ours}"


class Alerts:
    """Follow readings through their rules; the process that notes a change in the file first is the one that tells it."""

    def __init__(self, rules: Mapping[str, Rule], local: LocalFile, tell: Callable[[str, Alert], None]) -> None:
        self.rules, self._local, self._tell = rules, local, tell
        self._alarms = {name: [Alarm(), Alarm()] for name in rules}
        self._noted, self._told = dict.fromkeys(rules, 0), dict.fromkeys(rules, 0)
        self._held: dict[str, Alert] = {}
        self._ended_elsewhere = dict.fromkeys(rules, 0)
        local.declare(TABLE)

    def restore(self, at: str) -> None:
        """Take up what was active when the last process ended; end what is watched no more."""
        for alert in self._read(0):
            if alert.name in self.rules:
                self._held[alert.name] = alert
                self._alarms[alert.name] = [Alarm(on=True), Alarm(on=alert.level == "critical")]
                self._noted[alert.name] = self._told[alert.name] = self.level(alert.name)
            else:
                self._note(msgspec.structs.replace(alert, ended=at))

    def look(self, values: Mapping[str, float | None], at: str, said: Said | None = None) -> None:
        """Follow one reading of each value; nothing to read is as good as zero, and one that is not a number changes nothing."""
        written = {alert.name for alert in self._read(0)} if any(self._noted.values()) and self._local.size_bytes() else set(self._noted)
        for name, rule in self.rules.items():
            self._ended_elsewhere[name] = self._ended_elsewhere[name] + 1 if self._noted[name] and name not in written else 0
            if self._ended_elsewhere[name] > rule.readings:  # a process that was well again has ended it; here it lasts
                self._noted[name] = self._told[name] = 0
                self._held.pop(name, None)
            value = values.get(name) or 0.0
            if math.isnan(value):
                continue
            self._alarms[name] = [step(alarm, rule, bound, value) for alarm, bound in zip(self._alarms[name], rule.bounds, strict=True)]
            if not self.level(name) == self._noted[name] == self._told[name]:
                bound = rule.bounds[max(0, self.level(name) - 1)]
                known = said[name] if said and name in said else texts(name, round(value, 1), bound) if name in NAMES else (name, name)
                self._change(name, self._alert(name, round(value, 1), bound, known, at), at)

    def _alert(self, name: str, value: float, bound: float, said: tuple[str, str], at: str) -> Alert:
        held, level = self._held.get(name), LEVELS[max(0, self.level(name) - 1)]
        facts = {"metric": NAMES[name][0] if name in NAMES else name, "level": level, "since": held.since if held else at}
        return Alert(name=name, value=value, threshold=bound, message_en=said[0], message_ar=said[1], **facts)

    def _change(self, name: str, alert: Alert, at: str) -> None:
        """Note and tell a change; what a full disk refuses is told at once and noted by one of the next readings."""
        held, level = self._held.get(name), self.level(name)
        alert = msgspec.structs.replace(held or alert, ended=at) if not level else alert
        noted = self._note(alert)
        if self._told[name] != level and (noted is not False or not (level or self._noted[name])):
            event = "ended" if not level else "changed" if held else "raised"
            log.warning("alert %s: %s; %s", event, alert.message_en, alert.message_ar)
            self._tell(event, alert)
        self._told[name], self._held[name] = level, alert
        if noted is not None:
            self._noted[name] = level
            if not level:
                del self._held[name]

    def level(self, name: str) -> int:
        """Return the level of an alert: 0 calm, 1 warning, 2 critical."""
        return sum(alarm.on for alarm in self._alarms.get(name, ()))

    def warnings(self, values: Mapping[str, float]) -> tuple[int, list[tuple[str, str]]]:
        """Return the worst level of these values by themselves, and a text in both languages for each above its threshold."""
        above = {name: sum(value > bound for bound in self.rules[name].bounds) for name, value in values.items() if name in self.rules}
        found = [texts(name, values[name], self.rules[name].bounds[0]) for name, level in above.items() if level]
        return max(above.values(), default=0), found

    def active(self) -> list[Alert]:
        """Return what is active here or in another process of the application."""
        found = {alert.name: alert for alert in self._read(0)} | self._held
        return sorted((alert for alert in found.values() if not alert.ended), key=lambda alert: alert.since)

    def recent(self) -> list[Alert]:
        """Return what has ended, the latest first."""
        return self._read(1)

    def _read(self, ended: int) -> list[Alert]:
        query = "SELECT body FROM monitoring_alert WHERE ended = ? ORDER BY id DESC LIMIT ?"
        none: list[tuple[bytes]] = []
        found = self._local.read(lambda connection: connection.execute(query, (ended, MAX_REMEMBERED)).fetchall(), none)
        return [alert for (body,) in found if (alert := _alert(body)) is not None]

    def _note(self, alert: Alert) -> bool | None:
        """Write an alert; return false when another process has written the same before, none when the file refuses."""

        def write(connection: sqlite3.Connection) -> bool:
            found = connection.execute("SELECT id, body FROM monitoring_alert WHERE name = ? AND ended = 0", (alert.name,)).fetchone()
            held = _alert(found[1]) if found else None
            if (held is None and alert.ended) or (held and not alert.ended and held.level == alert.level):
                return False
            body = msgspec.json.encode(msgspec.structs.replace(alert, since=held.since if held else alert.since))
            connection.execute("DELETE FROM monitoring_alert WHERE id = ?", (found[0] if found else 0,))
            connection.execute("INSERT INTO monitoring_alert (name, ended, body) VALUES (?, ?, ?)", (alert.name, bool(alert.ended), body))
            connection.execute("DELETE FROM monitoring_alert WHERE ended AND id <= (SELECT max(id) FROM monitoring_alert) - ?", (MAX_REMEMBERED,))
            return True

        return self._local.write(write)


def _alert(body: bytes) -> Alert | None:
    """Return what a row holds, none for one of another version."""
    try:
        return msgspec.json.decode(body, type=Alert)
    except msgspec.DecodeError:
        return None


class Webhook:
    """Post messages from a task of its own; a redirect is a failure, so nothing goes to a host nobody named."""

    def __init__(self, url: str, application: str) -> None:
        self._url, self._application = urlsplit(url), application
        self._queue: deque[bytes] = deque(maxlen=MAX_QUEUE)
        self.failures, self._failing = 0, False
        self._breaker = CircuitBreaker(f"alert webhook {self._url.hostname}", min_calls=FAILURES)

    def offer(self, event: str, alert: Alert) -> None:
        sender = {"application": self._application, "host": socket.gethostname(), "text": f"{alert.message_en}\n{alert.message_ar}"}
        self._queue.append(msgspec.json.encode({"event": event, **sender, "alert": alert}))

    def send(self) -> None:
        """Send what waits; what fails is counted, and logged once until the receiver is back. One that fails five times is left alone for a while."""
        while self._queue:
            try:
                self._breaker.call(self._post)
                self._failing = False
            except CircuitOpenError:
                return
            except (OSError, http.client.HTTPException) as error:
                self.failures += 1
                if not self._failing:
                    log.warning("the alert webhook at %s failed: %s", self._url.hostname, error)
                self._failing = True

    def _post(self) -> None:
        body = self._queue.popleft()
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=WEBHOOK_TIMEOUT_SECONDS)
        try:
            target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            connection.request("POST", target, body, {"content-type": "application/json"})
            if (status := connection.getresponse().status) >= 300:
                raise OSError(f"it answered {status}")
        finally:
            connection.close()


class AlertMail:
    """Leave messages with the mailer from a task of its own, so that no reading waits for the database."""

    def __init__(self, to: Sequence[str], application: str, ports: Ports) -> None:
        self._to, self._application, self._ports = to, application, ports
        self._queue: deque[tuple[str, Alert]] = deque(maxlen=MAX_QUEUE)

    def offer(self, event: str, alert: Alert) -> None:
        if event != "changed" or alert.level == LEVELS[1]:
            self._queue.append(("alert_ended" if alert.ended else "alert_raised", alert))

    def send(self) -> None:
        """Send what waits; what cannot be left with the queue waits for the next time."""
        while self._queue:
            template, alert = waiting = self._queue.popleft()
            facts = {"application": self._application, "host": socket.gethostname(), "level_en": alert.level, "level_ar": LEVELS_AR[alert.level]}
            facts |= {"message_en": alert.message_en, "message_ar": alert.message_ar, "since": alert.since, "ended": alert.ended or ""}
            try:
                self._ports.mailer.send(self._to, template=template, data=facts)
            except Exception:
                self._queue.appendleft(waiting)
                raise
