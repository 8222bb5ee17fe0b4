"""One side in a process of its own: `python -m benchmarks.jobs.side MODULE ROLE {"url": …, …}` prints one line of JSON.

The module's `make(url, journal)` returns a `Side`; the roles here use nothing else of it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.jobs.journal import Journal, Reading, payload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONCURRENCY = 16
DEAD_SECONDS = 4  # a worker that is silent for so long is dead, where this can be set
PATIENCE_SECONDS = 60
BULK = 1000  # jobs put at once
WARM, WARM_JOBS = 1_000_000_000, 10  # jobs from this number on warm the processes up
Answer = dict[str, Any]


class Side:
    """Put jobs, work on them and count what is left, in one library."""

    def __init__(self, url: str, journal: Journal | None) -> None:
        """Use a store; a journal makes it a worker."""
        self.url, self.journal = url, journal

    async def prepare(self) -> None:
        """Make the tables."""

    async def open(self) -> None:
        """Connect."""

    async def put(self, job: dict[str, Any]) -> None:
        """Put one job; it is stored when this returns."""
        raise NotImplementedError

    async def put_many(self, jobs: list[dict[str, Any]]) -> None:
        """Put jobs at once where the library can, or one after the other."""
        for each in jobs:
            await self.put(each)

    async def work(self, stop: asyncio.Event) -> None:
        """Work until told to stop, and finish what has begun."""
        raise NotImplementedError

    async def left(self) -> int:
        """Return how many jobs are not finished."""
        raise NotImplementedError

    async def close(self) -> None:
        """Disconnect."""


def _jobs(first: int, number: int) -> list[dict[str, Any]]:
    return [payload(each) for each in range(first, first + number)]


async def bulk(side: Side, given: Answer) -> Answer:
    """Put many jobs as fast as the library can."""
    start = time.monotonic()
    for first in range(0, given["jobs"], BULK):
        await side.put_many(_jobs(first, min(BULK, given["jobs"] - first)))
    return {"per_second": given["jobs"] / (time.monotonic() - start)}


async def enqueue(side: Side, given: Answer) -> Answer:
    """Put one job after the other for some seconds, of which the first few do not count, then many at once."""
    for job in _jobs(0, WARM_JOBS):
        await side.put(job)
    start, done = time.monotonic(), 0
    while time.monotonic() < start + given["seconds"]:
        await side.put(payload(done))
        done += 1
    singly = done / (time.monotonic() - start)
    many = await bulk(side, given)
    return {"one_per_second": singly, "bulk_per_second": many["per_second"], "put": WARM_JOBS + done + given["jobs"], "left": await side.left()}


async def paced(side: Side, given: Answer) -> Answer:
    """Put a job at every tick, whatever the last one took, once the worker has made its tables and run a first job."""
    reading = Reading(Path(given["journal"]))
    await asyncio.to_thread(reading.wait_for_tables, PATIENCE_SECONDS)
    await side.put(payload(WARM))
    await asyncio.to_thread(reading.wait_for_first, PATIENCE_SECONDS)
    await _at_every_tick(side, WARM, WARM_JOBS, given["gap"])
    await _at_every_tick(side, 0, given["jobs"], given["gap"])
    return {}


async def _at_every_tick(side: Side, first: int, jobs: int, gap: float) -> None:
    start = time.monotonic()
    for tick in range(jobs):
        await asyncio.sleep(max(0.0, start + tick * gap - time.monotonic()))
        await side.put(payload(first + tick))


async def worker(side: Side, given: Answer) -> Answer:
    """Work until SIGTERM; tell the processor time that took, and what is not finished then."""
    stop, before = _told_to_stop(), time.process_time()
    await side.work(stop)
    return {"processor_seconds": time.process_time() - before, "left": await side.left()}


async def both(side: Side, given: Answer) -> Answer:
    """Work, and put the jobs in the same process."""
    stop = _told_to_stop()
    work = asyncio.create_task(side.work(stop))
    await paced(side, given)
    await work
    return {"left": await side.left()}


ROLES: dict[str, Callable[[Side, Answer], Awaitable[Answer]]] = {
    "bulk": bulk, "enqueue": enqueue, "paced": paced, "worker": worker, "both": both,
}


def _told_to_stop() -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _play(module: str, role: str, given: Answer) -> Answer:
    journal = Journal(given["journal"], given.get("job_seconds", 0.0)) if "journal" in given else None
    found = importlib.import_module(module)
    side: Side = found.make(given["url"], journal, **given.get("options", {}))
    await side.open()
    try:
        if given.get("fresh"):
            await side.prepare()
            if journal:
                journal.ready()
        return await (ROLES | getattr(found, "ROLES", {}))[role](side, given)
    finally:
        await side.close()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_play(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))), flush=True)
