"""The monitor: samples in the background, answers from memory."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Clock, LocalFile, Ports, Supervisor
from rakiza._kernel.tasks import after_fork
from rakiza.health import Observation
from rakiza.telemetry import Telemetry

from ._alerts import Alert, AlertMail, Alerts, Webhook
from ._core import CHECK, Requests, Routes, Totals, quantile, total
from ._host import Host, Processes, SystemMetrics
from ._rollups import Rollups
from .settings import MonitoringSettings

TICK_SECONDS, FLUSH_TICKS, WEBHOOK_SECONDS = 5.0, 3, 1.0
MAX_READINGS = 10_080
"""A week of readings a minute apart."""
LEAST_REQUESTS = 20
"""Requests a minute below which neither their failures nor their slowness say anything."""


class SystemMonitor:
    """Watch machine, container and application; usable alone, or as a part of the platform, which starts it.

    `warning_threshold` gives thresholds by name as the setting `thresholds` does. Raises ValueError for one that is not watched.
    """

    def __init__(
        self,
        warning_threshold: Mapping[str, float] | None = None,
        settings: MonitoringSettings | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        folder: Path = Path(),
        local: LocalFile | None = None,
        telemetry: Telemetry | None = None,
        name: str = "app",
        ports: Ports | None = None,
    ) -> None:
        self.settings = settings or MonitoringSettings()
        if warning_threshold is not None:
            self.settings = msgspec.structs.replace(self.settings, thresholds=dict(warning_threshold))
        self.telemetry, self.interval, self._clock = telemetry, self.settings.interval_seconds, clock
        local = local or LocalFile(Path(":memory:"))
        self.checks: Callable[[], Sequence[Observation]] = tuple
        """Tells what the health checks saw, some of which raise alerts."""
        self._host, self._processes, self._rollups = Host(folder, clock), Processes(clock), Rollups(local)
        self._requests = Requests(telemetry.request_totals if telemetry else dict, clock.monotonic())
        self._webhook = Webhook(self.settings.alert_webhook_url, name) if self.settings.alert_webhook_url else None
        self._mail = AlertMail(self.settings.alert_email_to, name, ports or Ports()) if self.settings.alert_email_to else None
        self.alerts = Alerts(self.settings.rules(TICK_SECONDS), local, self._tell)
        self._latest: SystemMetrics | None = None
        self._readings: deque[tuple[float, float, float]] = deque(maxlen=MAX_READINGS)
        self._sampled, self._read, self._ticks = -math.inf, -math.inf, 0
        self._tasks: Supervisor | None = None
        after_fork(self._requests.restart)
        after_fork(self._rollups.restart)

    # -- the sampler

    def start_monitoring(self, interval: float = 60) -> None:
        """Take a sample now and go on in the background, with a reading every `interval` seconds; raise ValueError for one that is not positive."""
        if not interval > 0:
            raise ValueError(f"an interval of {interval} seconds is none")
        self.stop_monitoring()
        self.interval, pause = interval, min(TICK_SECONDS, interval)
        self.alerts.rules = self.settings.rules(pause)
        self.alerts.restore(self._now())
        self.tick()
        self._processes.look_soon()
        self._tasks = Supervisor(self._clock)
        self._tasks.every("monitoring", pause, self.tick)
        if self._webhook:
            self._tasks.every("alert-webhook", WEBHOOK_SECONDS, self._webhook.send)
        if self._mail:
            self._tasks.every("alert-mail", WEBHOOK_SECONDS, self._mail.send)
        self._tasks.start()

    def stop_monitoring(self) -> None:
        """End the background work and write what waits to be written."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.stop()
            self._rollups.flush()

    def tick(self) -> None:
        """Take one sample and do what follows from it."""
        now, metrics = self._clock.monotonic(), self._host.sample()
        self._latest, self._sampled = metrics, now
        if now - self._read >= self.interval - min(TICK_SECONDS, self.interval) / 2:
            self._readings.append(_reading(metrics))
            self._read = now
        requests, lag = self._requests.look(now), self.loop_lag_ms
        self._rollups.add(self._clock.now().timestamp(), _row(metrics, requests, lag))
        checks, said = check_values(self.checks())
        self.alerts.look({**percents(metrics), **self._request_values(), "loop_lag": lag, **checks}, self._now(), said)
        self._ticks += 1
        if self._ticks % FLUSH_TICKS == 0:
            self._rollups.flush()
        self._processes.look_if_asked()

    def _tell(self, event: str, alert: Alert) -> None:
        for told in (self._webhook, self._mail):
            if told is not None:
                told.offer(event, alert)

    def _request_values(self) -> dict[str, float | None]:
        seen = total(self._requests.window(60.0)[1])
        return {"error_rate": seen[0] / seen[-1] * 100, "p95": (quantile(0.95, seen[2:]) or 0.0) * 1000} if seen[-1] >= LEAST_REQUESTS else {}

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")

    # -- what was seen

    @property
    def watches(self) -> bool:
        """Tell whether samples are taken in the background."""
        return self._tasks is not None

    @property
    def age_seconds(self) -> float:
        """Return how old the latest sample is."""
        return self._clock.monotonic() - self._sampled

    @property
    def loop_lag_ms(self) -> float | None:
        """Return how late the event loop has been of late, none without one."""
        seconds = self.telemetry.loop_lag_seconds if self.telemetry else None
        return None if seconds is None else round(seconds * 1000, 2)

    def get_current_metrics(self) -> SystemMetrics:
        """Return the latest sample; take one when nothing runs in the background."""
        if self._tasks is None or self._latest is None:
            self._latest = self._host.sample()
            self._readings.append(_reading(self._latest))
        return self._latest

    def get_process_metrics(self, top_n: int = 10) -> list[dict[str, object]]:
        """Return the busiest processes of late."""
        return self._processes.top(max(0, top_n))

    def get_health_status(self, *, arabic: bool = False) -> dict[str, object]:
        """Return how the latest sample stands to the thresholds, its warnings in English or in Arabic."""
        metrics = self.get_current_metrics()
        values = percents(metrics)
        level, texts = self.alerts.warnings(values)
        shown = {f"{name}_percent": values[name] for name in ("cpu", "ram", "disk")}
        status = ("healthy", "warning", "critical")[level]
        return {"status": status, "timestamp": metrics.timestamp, "metrics": shown, "warnings": [text[arabic] for text in texts]}

    def get_metrics_summary(self, last_n: int = 60) -> dict[str, object]:
        """Return average, least, most and latest of the last readings, the sample at hand among them; `readings` tells how many there were."""
        current = _reading(self.get_current_metrics())
        readings = self._readings.copy()
        taken = [*readings, *([] if readings and readings[-1] == current else [current])][-max(1, last_n) :]
        figures = {name: _figures(list(values)) for name, values in zip(("cpu", "ram", "disk"), zip(*taken, strict=True), strict=True)}
        return {"period": f"Last {last_n} readings", "readings": len(taken), **figures}

    def history(self, span: str = "1h") -> dict[str, object]:
        """Return the chart of `1h 6h 24h 7d 30d 1y` until now; raise KeyError for another span."""
        return self._rollups.read(span, self._clock.now().timestamp())

    def requests(self, seconds: float) -> tuple[float, Routes]:
        """Return how long the window really is, and the requests of this process in it by method and route."""
        return self._requests.window(seconds)


def percents(metrics: SystemMetrics) -> dict[str, float]:
    """Return what thresholds are compared with."""
    return {"cpu": metrics.cpu_percent, "ram": metrics.ram_percent, "swap": metrics.swap_percent, "disk": metrics.disk_percent}


def check_values(seen: Sequence[Observation]) -> tuple[dict[str, float], dict[str, tuple[str, str]]]:
    """Return how bad each health check is, not a number before its first look, and what it says in English and in Arabic."""
    values = {f"{CHECK}{one.check.name}": {"pass": 0.0, "warn": 1.0}.get(one.result.status, 2.0) if one.at is not None else math.nan for one in seen}
    said: dict[str, tuple[str, str]] = {}
    for one in seen:
        name, result = one.check.name, one.result
        arabic = result.output_ar or result.output or "ليس سليما"
        said[f"{CHECK}{name}"] = f"Check {name}: {result.output or result.status}", f"الفحص {name}: {arabic}"
    return values, said


def _reading(metrics: SystemMetrics) -> tuple[float, float, float]:
    return metrics.cpu_percent, metrics.ram_percent, metrics.disk_percent


def _row(metrics: SystemMetrics, requests: Totals, lag_ms: float | None) -> list[float]:
    traffic = (metrics.network_sent_per_second, metrics.network_recv_per_second, metrics.disk_read_per_second, metrics.disk_write_per_second)
    return [1.0, *_reading(metrics), *traffic, math.nan if lag_ms is None else lag_ms, requests[0], *requests[2:]]


def _figures(values: list[float]) -> dict[str, float]:
    return {"avg": round(sum(values) / len(values), 1), "min": min(values), "max": max(values), "current": values[-1]}
