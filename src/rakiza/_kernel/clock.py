"""The one clock: wall time, monotonic time, and a frozen one for tests."""

import time
from datetime import UTC, datetime, timedelta
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


class FrozenClock:
    """Stand still until moved; for tests and replays."""

    __slots__ = ("_elapsed", "_start")

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = timedelta()

    def now(self) -> datetime:
        """Return the frozen wall time in UTC."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Return the frozen monotonic time in seconds."""
        return self._elapsed.total_seconds()

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by seconds."""
        self._elapsed += timedelta(seconds=seconds)


SYSTEM_CLOCK = SystemClock()


def wall_seconds() -> float:
    """Return the wall time as seconds since the epoch, for log lines on the request path."""
    return time.time()
