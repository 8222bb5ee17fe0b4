"""dramatiq (LGPL) on Redis: one process with 16 threads, the default middleware; where one is killed, every command looks for dead ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dramatiq
from benchmarks.jobs.side import CONCURRENCY, DEAD_SECONDS, Side
from dramatiq.brokers.redis import RedisBroker

if TYPE_CHECKING:
    import asyncio


class Dramatiq(Side):
    """Put messages of one actor."""

    async def open(self) -> None:
        """Connect and declare the actor."""
        often = {"maintenance_chance": 1_000_000} if self.journal and self.journal.seconds else {}  # of a million commands
        self.broker = RedisBroker(url=self.url, heartbeat_timeout=DEAD_SECONDS * 1000, **often)
        dramatiq.set_broker(self.broker)

        def job(number: int, put: float, customer: str) -> None:
            self.journal.plain(number, put)  # type: ignore[union-attr]

        self.actor = dramatiq.actor(job, actor_name="job", queue_name="bench", max_retries=20)

    async def put(self, job: dict[str, Any]) -> None:
        """Send one message."""
        self.actor.send(**job)

    async def work(self, stop: asyncio.Event) -> None:
        """Run the library's worker in this process."""
        worker = dramatiq.Worker(self.broker, worker_threads=CONCURRENCY)
        worker.start()
        await stop.wait()
        worker.stop()

    async def left(self) -> int:
        """Count the messages that are not acknowledged."""
        return int(self.broker.client.hlen("dramatiq:bench.msgs"))

    async def close(self) -> None:
        """Disconnect."""
        self.broker.close()


make = Dramatiq
