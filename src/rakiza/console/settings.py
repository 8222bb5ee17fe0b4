"""Settings of the console."""

from typing import ClassVar

from rakiza._kernel import RoomSettings


class ConsoleSettings(RoomSettings, frozen=True, kw_only=True):
    """Say whether the pages for operators are offered."""

    room: ClassVar[str] = "console"

    enabled: bool = True
    """Offer the pages; without them the operator API answers all the same."""
