"""Tracing and metrics as a part."""

from rakiza._kernel import OPS_READ, Context, Part, Request, Response, Route

from .service import Telemetry
from .settings import TelemetrySettings


def part(settings: TelemetrySettings, ctx: Context) -> Part:
    """Build tracing and metrics and offer `/metrics`."""
    telemetry = Telemetry(ctx.app_name, settings)

    def metrics(_: Request) -> Response:
        return Response(telemetry.metrics.render(), content_type=telemetry.metrics.content_type)

    route = Route(method="GET", path="/metrics", handler=metrics, permission=OPS_READ, summary="Metrics in the Prometheus text format", quiet=True)
    return Part(name="telemetry", service=telemetry, routes=(route,))
