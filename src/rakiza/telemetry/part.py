"""Tracing and metrics as a part."""

import socket

from rakiza._kernel import Check, CheckResult, Context, Part

from . import http
from ._history import TraceHistory
from .service import Telemetry, serve_opentelemetry
from .settings import TelemetrySettings

FLUSH_SECONDS = 1.0
SLOW_LOOP_SECONDS = 0.5
"""A loop that comes this late serves nobody well."""


def part(settings: TelemetrySettings, ctx: Context) -> Part:
    """Build tracing and metrics: `/metrics`, the local traces, the exporter when an endpoint is set."""
    telemetry = Telemetry(ctx.app_name, settings)
    telemetry.recorder.scrub = ctx.scrub
    history = TraceHistory(ctx.local, settings.retention_days)
    checks = [Check(name="event_loop", fn=lambda: _loop_check(telemetry), required=False, component_type="system")]
    telemetry.outlets.append(history.write)
    stops = [telemetry.flush]
    if settings.endpoint:
        from ._backends.otlp import Otlp

        names = {"service.name": telemetry.service_name, "deployment.environment.name": ctx.environment, "host.name": socket.gethostname()}
        otlp = Otlp(settings, {**names, "telemetry.sdk.language": "python", "telemetry.sdk.name": "rakiza"})
        telemetry.outlets.append(otlp.offer)
        checks.append(Check(name="otlp", fn=otlp.check, required=False, component_type="collector"))
        stops.append(otlp.stop)
        telemetry.metrics.watch("otlp_spans_dropped", "Spans the collector did not take", lambda: otlp.dropped)

    def stop() -> None:
        for each in stops:
            each()

    telemetry.metrics.watch("worker_pool_busy", "Threads of the pool at work", lambda: ctx.pool.busy)
    ctx.supervisor.every("traces", FLUSH_SECONDS, telemetry.flush)
    routes = http.routes(telemetry.metrics, history)
    return Part(name="telemetry", service=telemetry, checks=tuple(checks), routes=routes, start=serve_opentelemetry, stop=stop)


def _loop_check(telemetry: Telemetry) -> CheckResult:
    lag = telemetry.loop_lag_seconds
    if lag is None:
        return CheckResult(output="no event loop serves requests here")
    return CheckResult("warn" if lag > SLOW_LOOP_SECONDS else "pass", round(lag * 1000, 1), "ms")
