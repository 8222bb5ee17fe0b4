"""Monitoring as a part."""

from functools import partial

from rakiza._kernel import Check, CheckResult, Context, Part
from rakiza.health import Health
from rakiza.telemetry import Telemetry

from .http import routes
from .service import TICK_SECONDS, SystemMonitor, percents
from .settings import MonitoringSettings


def part(settings: MonitoringSettings, ctx: Context) -> Part:
    """Build the monitor on the local file and the totals of telemetry; switched off, it takes samples only when asked."""
    telemetry = ctx.need("telemetry", Telemetry)
    name, ports, local = ctx.app_name, ctx.ports, ctx.local
    monitor = SystemMonitor(None, settings, clock=ctx.clock, folder=ctx.home, local=local, telemetry=telemetry, name=name, ports=ports)
    if not settings.enabled:
        return Part(name="monitoring", service=monitor)
    checks = tuple(_check(monitor, value, name) for value, name in (("cpu", "cpu"), ("ram", "memory"), ("disk", "disk")))
    health = ctx.need("health", Health) if ctx.has("health") else None
    if health is not None:
        monitor.checks = health.observations
    start, stop = partial(monitor.start_monitoring, settings.interval_seconds), monitor.stop_monitoring
    return Part(name="monitoring", service=monitor, needs=("telemetry",), checks=checks, routes=routes(monitor, health), start=start, stop=stop)


def _check(monitor: SystemMonitor, value: str, name: str) -> Check:
    def look() -> CheckResult:
        if not monitor.watches:  # one look by itself, without what was before
            seen = percents(monitor.get_current_metrics())[value]
            return CheckResult("warn" if monitor.alerts.warnings({value: seen})[0] else "pass", seen, "%")
        if monitor.age_seconds > 3 * TICK_SECONDS:
            return CheckResult("warn", output=f"no sample for {monitor.age_seconds:.0f} s")
        status = ("pass", "warn", "warn" if value == "cpu" else "fail")[monitor.alerts.level(value)]
        return CheckResult(status, percents(monitor.get_current_metrics())[value], "%")

    return Check(name=name, fn=look, required=False, component_type="system")
