"""Settings of the bus."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class BusSettings(RoomSettings, frozen=True, kw_only=True):
    """Say how soon a process hears what another one wrote."""

    room: ClassVar[str] = "bus"

    look_seconds: Annotated[float, msgspec.Meta(ge=0.001, le=1)] = 0.01
    """SQLite: how often to look whether another process committed, as long as somebody writes."""
    retry_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.5
    """How long to wait before listening again when the database is away."""
