"""The one clock: wall time and monotonic time."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tell wall time and monotonic time."""

    def now(self) -> datetime:
        """Return the aware wall time in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


class SystemClock:
    """Read the machine's clocks."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the aware wall time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.perf_counter()


SYSTEM_CLOCK = SystemClock()


def wall_seconds() -> float:
    """Return the wall time as seconds since the epoch, for log lines on the request path."""
    return time.time()
