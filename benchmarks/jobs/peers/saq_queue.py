"""saq (MIT) on Redis; where a worker is killed, jobs that hang are swept every second.

Its sweep, the first of which comes at the start, takes a job that is just being claimed for one that hangs, and runs it twice.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.jobs.side import CONCURRENCY, DEAD_SECONDS, Side
from saq import Queue, Worker


class Process(Worker):  # type: ignore[type-arg]
    """The library's worker, whose signals are handled by the side."""

    SIGNALS = []  # noqa: RUF012  as the library has it


class Saq(Side):
    """Enqueue jobs of one function."""

    async def open(self) -> None:
        """Connect."""
        self.queue = Queue.from_url(self.url, name="bench")
        await self.queue.connect()

    async def put(self, job: dict[str, Any]) -> None:
        """Enqueue one job."""
        await self.queue.enqueue("job", retries=20, heartbeat=DEAD_SECONDS, **job)

    async def work(self, stop: asyncio.Event) -> None:
        """Run the library's worker in this process."""
        async def job(context: Any, *, number: int, put: float, customer: str) -> None:
            await self.journal.awaited(number, put)  # type: ignore[union-attr]

        timers = {"sweep": 1} if self.journal.seconds else {}  # type: ignore[union-attr]
        worker = Process(self.queue, [("job", job)], concurrency=CONCURRENCY, timers=timers, shutdown_grace_period_s=1)
        work = asyncio.create_task(worker.start())
        await stop.wait()
        worker.event.set()
        await work

    async def left(self) -> int:
        """Count what is not finished."""
        return int(await self.queue.count("incomplete"))

    async def close(self) -> None:
        """Disconnect."""
        await self.queue.disconnect()


make = Saq
