"""What the tests of a damaged job queue share: handlers that write down what they do, workers in processes of their own that are quick to start."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import sqlalchemy as sa

import patience
from events_faults import admin
from patience import until
from rakiza._kernel import SYSTEM_CLOCK, Clock
from rakiza.jobs import Jobs, JobSettings, Registry, RunningJob
from rakiza.store import Store, migrate

PATHS = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
"""The environment in which a child process finds what this one imports."""
PATIENCE_SECONDS = patience.SECONDS
"""How long a test waits for what must come to pass, on the busiest machine."""
NURSERY = "import jobs_faults; jobs_faults.nurse()"


def migrated(url: str) -> None:
    """Lay the tables of the queue."""
    store = Store(url)
    migrate(store, [Jobs.migrations])
    store.close()


class Line(NamedTuple):
    """Hold what a handler wrote down: what it did, for which job and attempt, when on the clock of the machine, in which process."""

    word: str
    job: int
    attempt: int
    at: int
    pid: int
    key: str


class Journal:
    """A file to which the handlers of every process append whole lines."""

    def __init__(self, path: Path) -> None:
        """Open it, made when it is not there."""
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def say(self, word: str, job: RunningJob, key: str = "-") -> None:
        """Append one line."""
        os.write(self._file, f"{word} {job.id} {job.attempt} {time.monotonic_ns()} {os.getpid()} {key}\n".encode())

    def lines(self, *words: str) -> list[Line]:
        """Return the lines, those of some words or all."""
        found = [line.split() for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [Line(one[0], *map(int, one[1:5]), one[5]) for one in found if not words or one[0] in words]

    def jobs(self, word: str) -> list[int]:
        """Return the ids of the jobs with a line of that word, as often as they have one."""
        return [line.job for line in self.lines(word)]


def build(url: str, journal: Path, *, clock: Clock = SYSTEM_CLOCK, **settings: Any) -> Jobs:
    """Return a queue that knows the handlers of these tests."""
    plain = {"poll_seconds": 0.05, "lease_seconds": 3000.0, "backoff_seconds": 0.0, "grace_seconds": 30.0}
    jobs, book = Jobs(Store(url), settings=JobSettings(**{**plain, **settings}), clock=clock, registry=Registry()), Journal(journal)

    async def note(job: RunningJob, key: str = "-", seconds: float = 0.02) -> str:
        book.say("start", job, key)
        await asyncio.sleep(seconds)
        book.say("end", job, key)
        return "تم"

    def busy(job: RunningJob, key: str = "-", seconds: float = 0.02) -> str:
        book.say("start", job, key)
        time.sleep(seconds)
        book.say("end", job, key)
        return "تم"

    async def hold(job: RunningJob, gate: str) -> str:
        """Wait for a file to appear."""
        book.say("start", job)
        await opened(gate)
        book.say("end", job)
        return f"المحاولة {job.attempt}"

    def deaf(job: RunningJob, gate: str) -> str:
        """Wait for a file to appear, whatever anybody asks."""
        book.say("start", job)
        while not Path(gate).exists():
            time.sleep(0.01)
        book.say("end", job)
        return f"المحاولة {job.attempt}"

    def die(job: RunningJob, by: str) -> None:
        book.say("start", job)
        if by == "exit":
            os._exit(7)
        os.kill(os.getpid(), signal.SIGKILL)

    for handler in (note, busy, hold, deaf, die):
        jobs.job(handler.__name__)(handler)
    jobs.job("keyed", concurrency_key="مشروع:{key}", key_limit=2)(note)
    return jobs


async def opened(gate: str) -> None:
    """Wait for a file to appear."""
    while not await asyncio.to_thread(os.path.exists, gate):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)


def states(jobs: Jobs) -> dict[int, str]:
    """Return the state of every job."""
    with jobs.store.read() as tx:
        return {row[0]: row[1] for row in tx.execute(sa.text("select id, state from rakiza_jobs_job"))}


def all_done(jobs: Jobs) -> bool:
    """Tell whether every job is done."""
    return set(states(jobs).values()) == {"done"}


def note_done(told: dict[int, int], jobs: Jobs, journal: Journal) -> None:
    """Note of each job that is done by now how far the journal was when that was first seen."""
    done = [job for job, state in states(jobs).items() if state == "done"]
    length = len(journal.lines())
    for job in done:
        told.setdefault(job, length)


def repeated(told: dict[int, int], journal: Journal) -> set[int]:
    """Return the jobs that did something after they had been seen to be done."""
    return {line.job for number, line in enumerate(journal.lines()) if number >= told.get(line.job, sys.maxsize)}


def put(jobs: Jobs, number: int, task: str = "note", **payload: Any) -> list[int]:
    """Write so many jobs and return their ids."""
    return [one.id for one in jobs.add_jobs({"task": task, "payload": payload} for _ in range(number))]


# -- processes


def serve(url: str, journal: str, settings: dict[str, Any], concurrency: int) -> None:
    """Work until SIGTERM, then stop as a server does."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    jobs = build(url, Path(journal), **settings)
    jobs.start(concurrency=concurrency)
    while not told.wait(1.0):
        pass
    jobs.close()
    jobs.store.close()


def nurse() -> None:
    """Fork a worker for each line of the standard input, and answer with its process id: it has imported everything already."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead leave at once
    gc.collect()
    gc.freeze()  # so that collections of the workers copy no page of what is imported
    for line in sys.stdin:
        pid = os.fork()
        if pid:
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        given = json.loads(line)
        log = os.open(f"{given['journal']}.{os.getpid()}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for stream in (0, 1, 2):
            os.dup2(log, stream)
        with contextlib.suppress(KeyboardInterrupt):
            serve(**given)
        os._exit(0)


class Nursery:
    """A process that forks workers."""

    def __init__(self) -> None:
        """Start it."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", NURSERY], stdin=pipe, stdout=pipe, text=True, env={**_environment(), **PATHS})

    def fork(self, **given: Any) -> int:
        """Return the process id of a new worker."""
        _stream(self._process.stdin).write(json.dumps(given) + "\n")
        _stream(self._process.stdin).flush()
        return int(_stream(self._process.stdout).readline())

    def close(self) -> None:
        """End the process that forks."""
        _stream(self._process.stdin).close()
        self._process.wait()
        _stream(self._process.stdout).close()


def _environment() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251 - a child process gets what this one has


def _stream(stream: "IO[str] | None") -> "IO[str]":
    assert stream is not None
    return stream


class Workers:
    """Start workers on one queue, and do to them what happens to processes."""

    def __init__(self, nursery: Nursery, url: str, journal: Path) -> None:
        """Start none yet."""
        self._nursery, self._url, self._journal, self._pids = nursery, url, journal, set[int]()

    @property
    def pids(self) -> list[int]:
        """Return the process ids of those that have not been ended."""
        return list(self._pids)

    def start(self, concurrency: int = 4, **settings: Any) -> int:
        """Return the process id of a new worker, which may not have begun yet."""
        pid = self._nursery.fork(url=self._url, journal=str(self._journal), settings=settings, concurrency=concurrency)
        self._pids.add(pid)
        return pid

    def kill(self, *pids: int) -> None:
        """Kill them at once, and return when they are gone."""
        self.tell(signal.SIGKILL, *pids)
        self.gone(*pids)

    @staticmethod
    def tell(number: signal.Signals, *pids: int) -> None:
        """Send each a signal."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self, pid: int) -> None:
        """Stop a process while it holds no lock of the database: one that it holds nobody could take from it."""

        def stopped() -> bool:
            self.tell(signal.SIGSTOP, pid)
            if unlocked(self._url):
                return True
            self.tell(signal.SIGCONT, pid)
            return False

        until(stopped, "the process never lets the database go")

    def gone(self, *pids: int) -> None:
        """Return when they have ended."""
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "a worker does not end")
        self._pids -= set(pids)

    def close(self) -> None:
        """Kill what is left."""
        self.kill(*self._pids)


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """Yield a nursery."""
    made = Nursery()
    yield made
    made.close()


def workers_of(jobs: Jobs) -> dict[int, str]:
    """Return the ids of the workers that are in the table, by process."""
    return {pid: worker for worker, _, pid, _ in jobs.engine.workers()}


def unlocked(url: str) -> bool:
    """Tell whether nobody else is within a transaction."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(str(sa.make_url(url).database), timeout=0.2)) as connection:
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError:
                return False
            return True
    time.sleep(0.05)  # what was asked before the stop is answered by now, or seen
    with admin(url) as connection:
        others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null"
        return connection.execute(f"select count(*) {others}".encode()).fetchone() == (0,)


def sql(jobs: Jobs, statement: str, **given: Any) -> None:
    """Change rows behind the queue's back."""
    with jobs.store.begin() as tx:
        tx.execute(sa.text(statement), given)
