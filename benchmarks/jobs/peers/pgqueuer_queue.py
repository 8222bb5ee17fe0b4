"""pgqueuer (MIT) on PostgreSQL through asyncpg: batches of 16 and 32 in flight, for it wants twice the batch."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
from benchmarks.jobs.side import CONCURRENCY, DEAD_SECONDS, Side
from pgqueuer import AsyncpgDriver, PgQueuer, Queries

if TYPE_CHECKING:
    from pgqueuer import Job


class Pgqueuer(Side):
    """Enqueue jobs of one entrypoint."""

    async def open(self) -> None:
        """Connect."""
        self.connection = await asyncpg.connect(self.url)
        self.queries = Queries(AsyncpgDriver(self.connection))

    async def prepare(self) -> None:
        """Make the tables."""
        await self.queries.install()

    async def put(self, job: dict[str, Any]) -> None:
        """Enqueue one job."""
        await self.queries.enqueue("job", json.dumps(job, ensure_ascii=False).encode())

    async def put_many(self, jobs: list[dict[str, Any]]) -> None:
        """Enqueue jobs in one statement."""
        await self.queries.enqueue(["job"] * len(jobs), [json.dumps(job, ensure_ascii=False).encode() for job in jobs], [0] * len(jobs))

    async def work(self, stop: asyncio.Event) -> None:
        """Run the library's worker in this process, on a connection of its own."""
        connection = await asyncpg.connect(self.url)
        library = PgQueuer.from_asyncpg_connection(connection)

        @library.entrypoint("job")
        async def run(job: Job) -> None:
            given = json.loads(job.payload or b"{}")
            await self.journal.awaited(given["number"], given["put"])  # type: ignore[union-attr]

        work = asyncio.create_task(library.run(
            batch_size=CONCURRENCY, max_concurrent_tasks=2 * CONCURRENCY,
            heartbeat_timeout=timedelta(seconds=DEAD_SECONDS), dequeue_timeout=timedelta(seconds=DEAD_SECONDS / 2),
        ))
        await stop.wait()
        library.shutdown.set()
        await work
        await connection.close()

    async def left(self) -> int:
        """Count what is in the queue; what is finished leaves it for the log."""
        return int(await self.connection.fetchval("SELECT count(*) FROM pgqueuer"))

    async def close(self) -> None:
        """Disconnect."""
        await self.connection.close()


make = Pgqueuer
