"""Settings of the error room."""

from typing import ClassVar

from rakiza._kernel import RoomSettings


class ErrorSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where unexpected errors go."""

    room: ClassVar[str] = "errors"

    keep: int = 100
    """How many recent unexpected errors stay in memory for the operator."""
