"""The six measurements. Each begins in an empty store, and proves what it counted."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks.events.load import percentile
from benchmarks.jobs.journal import Reading
from benchmarks.jobs.programs import Figures, Program, Running
from benchmarks.jobs.side import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.jobs.places import Places

GAP_SECONDS = 0.03
ENQUEUE_SECONDS = 0.7
IDLE_SETTLE_SECONDS, IDLE_SECONDS = 4, 20
KILL_JOBS, KILL_AFTER, KILL_JOB_SECONDS, KILL_PATIENCE_SECONDS = 400, 100, 0.1, 20


class Bench:
    """Measure sides in stores that are thrown away."""

    def __init__(self, places: Places) -> None:
        """Use the servers that were started."""
        self._places = places

    @contextmanager
    def store(self, program: Program) -> Iterator[str]:
        """Yield the address of an empty store."""
        url = self._places.make(program.store)
        try:
            yield url
        finally:
            self._places.forget(url)

    def ask(self, program: Program, role: str, **given: object) -> Figures:
        """Return the answer of one role."""
        with Running(program, self._places, role, **given) as running:
            return running.answer()

    def worker(self, program: Program, url: str, journal: Path, **given: object) -> Running:
        """Start a worker."""
        return Running(program, self._places, "worker", url=url, journal=str(journal), **given)

    def drain(self, program: Program, jobs: int) -> Figures:
        """Work off jobs that were put before."""
        with self.store(program) as url:
            self.ask(program, "bulk", url=url, jobs=jobs, fresh=True)
            figures = self._drained(program, url, jobs)
        if figures["left"]:
            raise RuntimeError(f"every job ended, but {figures['left']:g} are not finished in the store")
        return figures

    def _drained(self, program: Program, url: str, jobs: int) -> Figures:
        """Return the rate of one worker, what each job cost it, and how many are not finished in the store when it has stopped."""
        self._places.settle()
        reading = Reading(journal := self._places.file("journal"))
        with self.worker(program, url, journal) as worker:
            reading.wait(jobs, PATIENCE_SECONDS)
            said = worker.stop()
        reading.go_on()
        ended = reading.prove(jobs, once=not program.peer)
        took = max(each.ended for each in ended) - min(each.began for each in ended)
        return {"per_second": jobs / took, "microseconds": said["processor_seconds"] / jobs * 1e6, "left": said["left"]}

    def enqueue(self, program: Program, jobs: int) -> Figures:
        """Put jobs one after the other, then many at once."""
        with self.store(program) as url:
            self._places.settle()
            figures = self.ask(program, "enqueue", url=url, jobs=jobs, seconds=ENQUEUE_SECONDS, fresh=True)
        if figures["left"] != figures["put"]:
            raise RuntimeError(f"{figures['put']:g} jobs were put, {figures['left']:g} are stored")
        return figures

    def latency(self, program: Program, jobs: int, *, within: bool) -> Figures:
        """Put a job at every tick, from another process or `within` the worker's, and see when each begins."""
        with self.store(program) as url:
            self._places.settle()
            reading = Reading(journal := self._places.file("journal"))
            given = {"url": url, "journal": str(journal), "gap": GAP_SECONDS, "jobs": jobs}
            with Running(program, self._places, "both" if within else "worker", **given, fresh=True) as worker:
                if not within:
                    self.ask(program, "paced", **given)
                reading.wait(jobs, PATIENCE_SECONDS)
                worker.stop()
            reading.go_on()
        took = sorted((each.began - each.put) * 1000 for each in reading.prove(jobs, once=not program.peer))
        return {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99)}

    def waiting(self, program: Program, jobs: int, rounds: int, waiting: int) -> list[Figures]:
        """Work off jobs in an empty store and in one where many others wait, by turns."""
        found = []
        with self.store(program) as empty, self.store(program) as full:
            self.ask(program, "fill", url=empty, waiting=0, fresh=True)
            self.ask(program, "fill", url=full, waiting=waiting, fresh=True)
            for _ in range(rounds):
                rates = []
                for url in (empty, full):
                    self.ask(program, "bulk", url=url, jobs=jobs)
                    rates.append(self._drained(program, url, jobs)["per_second"])
                found.append({"without_per_second": rates[0], "with_per_second": rates[1], "ratio": rates[1] / rates[0]})
        return found

    def idle(self, programs: list[Program]) -> dict[str, Figures]:
        """Let a worker of every side wait at the same time, and return the share of one core that each takes."""
        with ExitStack() as stack:
            workers = {each.title: self._idler(each, stack) for each in programs}
            time.sleep(IDLE_SETTLE_SECONDS)
            start, before = time.monotonic(), {title: worker.processor_seconds() for title, worker in workers.items()}
            time.sleep(IDLE_SECONDS)
            took = time.monotonic() - start
            return {title: {"percent": 100 * (worker.processor_seconds() - before[title]) / took} for title, worker in workers.items()}

    def _idler(self, program: Program, stack: ExitStack) -> Running:
        url, journal = stack.enter_context(self.store(program)), self._places.file("journal")
        worker = stack.enter_context(self.worker(program, url, journal, fresh=True))
        Reading(journal).wait_for_tables(PATIENCE_SECONDS)
        return worker

    def kill(self, programs: list[Program]) -> dict[str, Figures | RuntimeError]:
        """Kill every side's worker in the middle, at the same time, for the jobs do nothing but wait."""
        with ThreadPoolExecutor(len(programs)) as pool:
            return dict(zip([each.title for each in programs], pool.map(self._killed_or_failed, programs), strict=True))

    def _killed_or_failed(self, program: Program) -> Figures | RuntimeError:
        try:
            return self._killed(program)
        except RuntimeError as error:
            return error

    def _killed(self, program: Program) -> Figures:
        with self.store(program) as url:
            self.ask(program, "bulk", url=url, jobs=KILL_JOBS, fresh=True)
            reading = Reading(journal := self._places.file("journal"))
            with self.worker(program, url, journal, job_seconds=KILL_JOB_SECONDS) as first:
                while reading.go_on() < KILL_AFTER:
                    first.processor_seconds()  # it runs
                    time.sleep(0.01)
                time.sleep(KILL_JOB_SECONDS / 2)  # jobs go in step: now the next ones are on their way
                first.kill()
            killed = time.monotonic()
            reading.go_on()
            orphans = set(reading.started) - reading.numbers(KILL_JOBS)
            with self.worker(program, url, journal, job_seconds=KILL_JOB_SECONDS):
                reading.wait(KILL_JOBS, KILL_PATIENCE_SECONDS)
            reading.go_on()
        rescued = {each.number: each.ended for each in reading.ended if each.number in orphans}
        done = reading.numbers(KILL_JOBS)
        return {
            "orphans": len(orphans), "lost": KILL_JOBS - len(done), "twice": len(reading.ended) - len(done),
            "recovered_seconds": max(rescued.values()) - killed if orphans and len(rescued) == len(orphans) else math.nan,
        }
