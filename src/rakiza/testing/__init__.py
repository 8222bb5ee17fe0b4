"""Helpers for the tests of applications that stand on the platform.

    from rakiza.testing import FrozenClock
    clock = FrozenClock()
    clock.advance(60)
    assert clock.monotonic() == 60.0
"""

from datetime import UTC, datetime, timedelta

__all__ = ["FrozenClock"]


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
