"""procrastinate (MIT) on PostgreSQL through psycopg, its pool as large as the concurrency; stalled jobs are retried as its guide shows."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from benchmarks.jobs.side import CONCURRENCY, DEAD_SECONDS, Side, cancelled
from procrastinate import App, PsycopgConnector


class Procrastinate(Side):
    """Defer jobs of one task."""

    async def open(self) -> None:
        """Connect and register the task."""
        self.app = App(connector=PsycopgConnector(conninfo=self.url, min_size=1, max_size=CONCURRENCY + 4))

        async def job(number: int, put: float, customer: str) -> None:
            await self.journal.awaited(number, put)  # type: ignore[union-attr]

        self.task = self.app.task(name="job", queue="bench", retry=20)(job)
        await self.app.open_async()

    async def prepare(self) -> None:
        """Make the tables."""
        await self.app.schema_manager.apply_schema_async()

    async def put(self, job: dict[str, Any]) -> None:
        """Defer one job."""
        await self.task.defer_async(**job)

    async def put_many(self, jobs: list[dict[str, Any]]) -> None:
        """Defer jobs in one statement."""
        await self.task.batch_defer_async(*jobs)

    async def work(self, stop: asyncio.Event) -> None:
        """Run the library's worker in this process."""
        work = asyncio.create_task(self.app.run_worker_async(
            queues=["bench"], concurrency=CONCURRENCY, install_signal_handlers=False,
            update_heartbeat_interval=1, stalled_worker_timeout=DEAD_SECONDS,
        ))
        rescue = asyncio.create_task(self._rescue())
        await stop.wait()
        await cancelled(rescue)
        await cancelled(work)

    async def _rescue(self) -> None:
        while True:
            for job in await self.app.job_manager.get_stalled_jobs(seconds_since_heartbeat=DEAD_SECONDS):
                await self.app.job_manager.retry_job(job)
            await asyncio.sleep(1)

    async def left(self) -> int:
        """Count what is not finished."""
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            found = await connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")
            return int((await found.fetchone())[0])  # type: ignore[index]

    async def close(self) -> None:
        """Disconnect."""
        await self.app.close_async()


make = Procrastinate
