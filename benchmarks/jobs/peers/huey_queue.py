"""huey (MIT) on SQLite: 16 threads, full synchronisation as ours has, results not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.jobs.side import CONCURRENCY, Side
from huey import SqliteHuey
from huey.consumer import Consumer

if TYPE_CHECKING:
    import asyncio


class Process(Consumer):
    """The library's consumer, whose signals are handled by the side."""

    def _set_signal_handlers(self) -> None:
        """Leave the signals alone."""


class Huey(Side):
    """Put tasks of one function."""

    async def open(self) -> None:
        """Connect and register the task."""
        self.huey = SqliteHuey("bench", filename=self.url, fsync=True, results=False)

        def job(number: int, put: float, customer: str) -> None:
            self.journal.plain(number, put)  # type: ignore[union-attr]

        self.task = self.huey.task(name="job")(job)

    async def put(self, job: dict[str, Any]) -> None:
        """Enqueue one task."""
        self.task(**job)

    async def work(self, stop: asyncio.Event) -> None:
        """Run the library's consumer in this process."""
        consumer = Process(self.huey, workers=CONCURRENCY, worker_type="thread", periodic=False)
        consumer.start()
        await stop.wait()
        consumer.stop(graceful=True)

    async def left(self) -> int:
        """Count what waits; the library knows nothing of what is running."""
        return len(self.huey)


make = Huey
