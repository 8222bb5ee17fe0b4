"""Settings of tracing and metrics."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class TelemetrySettings(RoomSettings, frozen=True, kw_only=True):
    """Say which requests are traced and what is kept."""

    room: ClassVar[str] = "telemetry"

    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    """Share of the requests that get a span, decided before anything is built."""
    keep_spans: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 512
    """How many finished spans stay in memory."""
    service_name: str = ""
    """Name of this service in traces; the application's name when empty."""
