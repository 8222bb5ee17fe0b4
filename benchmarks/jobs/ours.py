"""The job queue of this project through its public door, with the settings it ships."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.jobs.journal import payload
from benchmarks.jobs.side import CONCURRENCY, WARM, Answer, Side
from rakiza.jobs import Jobs
from rakiza.jobs.tables import JOB
from rakiza.store import Store, migrate

QUEUE, ELSEWHERE, BEHIND = "bench", "elsewhere", 5
SEEDS, DAY_SECONDS = 1000, 86_400
SERIES = {
    "postgresql": "generate_series(1, {times})",
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 WHERE {times} > 0 UNION ALL SELECT i + 1 FROM n WHERE i < {times}) SELECT i FROM n)",
}


class Ours(Side):
    """Put jobs of one task, awaited."""

    async def open(self) -> None:
        """Open the store and register the handler."""
        self.store = Store(self.url)
        self.jobs = Jobs(self.store)

        async def run(number: int, put: float, customer: str) -> None:
            await self.journal.awaited(number, put)  # type: ignore[union-attr]

        def run_plainly(number: int, put: float, customer: str) -> None:
            self.journal.plain(number, put)  # type: ignore[union-attr]

        self.jobs.job("job", queue=QUEUE)(run_plainly if self.plain else run)

    plain = False

    async def prepare(self) -> None:
        """Make the tables."""
        migrate(self.store, [Jobs.migrations])

    async def put(self, job: dict[str, Any]) -> None:
        """Add one job."""
        await self.jobs.add_job("job", job)  # type: ignore[misc]

    async def put_many(self, jobs: list[dict[str, Any]]) -> None:
        """Add jobs in one transaction."""
        await self.jobs.add_jobs({"task": "job", "payload": job} for job in jobs)  # type: ignore[misc]

    async def work(self, stop: asyncio.Event) -> None:
        """Run the worker of this process."""
        self.jobs.start((QUEUE,), CONCURRENCY)
        await stop.wait()
        await asyncio.to_thread(self.jobs.stop)

    async def left(self) -> int:
        """Count what is not done."""
        states = (await self.jobs.get_stats())[QUEUE]  # type: ignore[misc]
        return sum(number for state, number in states.items() if state != "done")

    async def close(self) -> None:
        """Close the store."""
        await asyncio.to_thread(self.jobs.close)
        self.store.close()

    async def fill(self, waiting: int) -> None:
        """Add jobs that wait and multiply their rows: half are delayed, a quarter stands behind in the same queue, a quarter in another."""
        seeds = [{"task": "job", "payload": payload(WARM + number), **_waits(number)} for number in range(SEEDS)]
        await self.jobs.add_jobs(seeds if waiting else [])  # type: ignore[misc]
        await asyncio.to_thread(self._multiply, max(0, waiting // SEEDS - 1))

    def _multiply(self, times: int) -> None:
        with self.store.begin() as tx:
            connection = tx.driver_connection
            columns = ", ".join(column.name for column in JOB.c if column.name != "id")
            if self.store.dialect == "postgresql":
                connection.execute("SET LOCAL statement_timeout = 0")
            rows = SERIES[self.store.dialect].format(times=times)
            connection.execute(f"INSERT INTO rakiza_jobs_job ({columns}) SELECT {columns} FROM rakiza_jobs_job CROSS JOIN {rows}")
            if self.store.dialect == "postgresql":
                connection.execute("ANALYZE rakiza_jobs_job")  # as the server does by itself after a minute


def _waits(number: int) -> dict[str, Any]:
    if number % 2:
        return {"priority": BEHIND} if number % 4 == 1 else {"queue": ELSEWHERE}
    return {"delay": DAY_SECONDS + number}


class Plain(Ours):
    """Put jobs of a plain function by calls that block."""

    plain = True

    async def put(self, job: dict[str, Any]) -> None:
        """Add one job by the blocking port."""
        self.jobs.enqueue("job", job)


async def fill(side: Ours, given: Answer) -> Answer:
    """Play the role that only this side has."""
    await side.fill(given["waiting"])
    return {}


ROLES = {"fill": fill}


def make(url: str, journal: Any, *, plain: bool = False) -> Ours:
    """Return the side of a database."""
    return (Plain if plain else Ours)(url, journal)
