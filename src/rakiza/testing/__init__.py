"""Helpers for the tests of applications that stand on the platform.

    from rakiza.testing import FrozenClock
    clock = FrozenClock()
    clock.advance(60)
    assert clock.monotonic() == 60.0

With `inline_jobs(platform)` every job runs where it is enqueued, with `tx` after the commit:

    from rakiza import build
    from rakiza.testing import inline_jobs
    platform = build({"hub": {"home": "var/inline"}})
    platform.jobs.job("double")(lambda n: 2 * n)
    platform.start()
    with inline_jobs(platform) as jobs:
        assert jobs.get_job(jobs.add_job("double", {"n": 21}).id).result == 42
    platform.shutdown()
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rakiza.hub import Platform
    from rakiza.jobs import Jobs

__all__ = ["FrozenClock", "inline_jobs"]


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


@contextmanager
def inline_jobs(platform: "Platform") -> "Iterator[Jobs]":
    """Run every job of a platform at once in the thread that enqueues it; what waits for something stays, and `jobs.drain()` runs what is due."""
    jobs = platform.jobs
    before, jobs.engine.inline = jobs.engine.inline, True
    try:
        yield jobs
    finally:
        jobs.engine.inline = before
