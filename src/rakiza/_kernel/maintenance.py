"""Whether the data of a platform are about to be others: whoever writes waits meanwhile."""

from datetime import datetime

import msgspec


class Pause(msgspec.Struct, frozen=True):
    """Say since when nobody is to write, and for what."""

    since: datetime
    what: str


class Maintenance:
    """Hold what this process knows of it; whoever restores says so, and all others only look at `on`."""

    __slots__ = ("on", "pause")

    def __init__(self) -> None:
        self.on = False
        self.pause: Pause | None = None

    def know(self, pause: Pause | None) -> None:
        """Remember what is so now; none when everybody may write."""
        self.pause, self.on = pause, pause is not None
