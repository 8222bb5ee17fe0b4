"""Settings of the event store."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings

Positive = Annotated[int, msgspec.Meta(ge=1)]


class EventSettings(RoomSettings, frozen=True, kw_only=True):
    """Bound what waits to be written and say how the log is sealed."""

    room: ClassVar[str] = "events"

    queue_events: Positive = 10_000
    """How many events may wait to be written in a process; further writers wait."""
    queue_timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """How long a writer waits for room in the queue."""
    batch_events: Positive = 500
    """How many events one commit takes at most."""
    max_event_bytes: Positive = 1024 * 1024
    """Bytes of one event's payload, metadata and sealed fields together."""
    retry_seconds: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    """How long a write is repeated while PostgreSQL cannot be reached; it is idempotent."""
    poll_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """How often followers look for new events when no signal came."""
    takeover_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """How long who keeps a projection or a consumer may be silent before another process takes over; it speaks three times in that time."""
