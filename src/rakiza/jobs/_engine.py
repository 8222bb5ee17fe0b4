"""The one owner of every change of a job's state: insert, claim, settle, rescue, and what people do."""

import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Text, cast, select

from rakiza._kernel import SYSTEM_CLOCK, Clock, Maintenance
from rakiza.bus import Bus
from rakiza.errors import NotFoundError
from rakiza.store import Store, Transaction, as_utc

from . import _statements as sql
from ._backends import CANDIDATES, TAKE, TAKE_UNSEEN, SqlBackend
from ._backends.sqlite import SqliteBackend
from ._core import (
    ACTIONS,
    CANCELLED,
    DONE,
    FAILED,
    SHOWN,
    TIME,
    Claimed,
    Enqueued,
    Line,
    NewJob,
    Settled,
    allowance,
    certain,
    choose,
    pace,
    rescued,
    shown,
)
from ._running import RunningJob, Said
from .errors import JobError, JobStateError
from .tables import JOB, LOG

TOPIC, CONTROL = "jobs", "jobs_control"
"""What is told: there are new jobs; a queue, a running job or a schedule is to be looked at again."""
JSON_COLUMNS = frozenset({"payload", "context", "tags", "result", "errors"})
MAX_ROUNDS = 20
WINDOW = 32
"""How many jobs more than it has room for a worker looks at when some wait for their key."""


class WorkerGone(Exception):  # noqa: N818 - named after what happened
    """Say that a worker was taken for dead."""


class QueueRow(msgspec.Struct):
    """Hold the limits of one queue."""

    name: str
    paused: bool = False
    concurrency: int | None = None
    max_running: int | None = None
    rate: int | None = None
    rate_seconds: float | None = None
    per_key: int | None = None
    key_rate: int | None = None
    key_rate_seconds: float | None = None
    arrival: datetime | None = None

    @property
    def counted(self) -> bool:
        """Tell whether all workers together must keep to a limit."""
        return self.max_running is not None or self.rate is not None


class Engine:
    """Change jobs in transactions; every change of a state goes through here."""

    def __init__(self, store: Store, bus: Bus, clock: Clock = SYSTEM_CLOCK) -> None:
        self.store, self.bus, self._clock = store, bus, clock
        self._asks = store.dialect == "postgresql" and clock is SYSTEM_CLOCK
        self._sql = _backend_of(store)
        self._known_queues: set[str] = set()
        self.maintenance = Maintenance()
        """Whether nothing is to be begun for now; a platform gives its own."""
        self.inline = False
        """Whether each job is run at once where it is enqueued, and by no worker of this process; for tests."""
        bus.probe(TOPIC, lambda tx: self._sql.rows(tx, sql.NEWS))
        bus.probe(CONTROL, lambda tx: self._sql.rows(tx, sql.ORDERS))

    # -- time

    def now(self) -> datetime:
        """Return the time jobs are measured by: the database's on PostgreSQL, whatever the clocks of its workers say."""
        return self._clock.now()

    def sync_clock(self) -> None:
        """Ask PostgreSQL for its time; a clock that was given, as tests do, is believed."""
        if self._asks:
            with self.store.read() as tx:
                ((theirs,),) = self._sql.rows(tx, "select clock_timestamp()")
            self._clock = _Measured(as_utc(theirs))

    # -- in

    def insert(self, tx: Transaction, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """Write jobs in the transaction and tell workers once it has committed; a taken unique key gives the id of the job that has it."""
        now, found = self.now(), []
        if len(jobs) > 1 and any(job.unique_for for job in jobs):
            return [one for job in jobs for one in self.insert(tx, [job])]
        if jobs and jobs[0].unique_for and (recent := self._recent(tx, jobs[0], now)) is not None:
            return [recent]
        self._add_queues(tx, {job.queue for job in jobs}, now)
        for job, job_id in zip(jobs, self._sql.insert(tx, jobs, now), strict=True):
            found.append(Enqueued(job_id) if job_id is not None else self._duplicate(tx, job, now))
            if job_id is not None and job.after:
                self._wait_for_others(tx, job_id, job.after)
        self.bus.announce(TOPIC, tx)
        return found

    def add_queues(self, names: Iterable[str]) -> None:
        """Write the rows of queues that are named in code."""
        if new := set(names) - self._known_queues:
            with self.store.begin() as tx:
                self._add_queues(tx, new, self.now())

    def _add_queues(self, tx: Transaction, names: set[str], now: datetime) -> None:
        new = names - self._known_queues
        for name in sorted(new):
            self._sql.run(tx, sql.ADD_QUEUE, name=name, paused=False, now=self._sql.at(now))
        if new:
            tx.after_commit(lambda: self._known_queues.update(new))

    def _recent(self, tx: Transaction, job: NewJob, now: datetime) -> Enqueued | None:
        """Return the job of the same unique key that was enqueued within the time it is to be the only one."""
        self._sql.lock_keys(tx, [f"unique {job.tenant} {job.unique_key}"])
        since = self._sql.at(now - timedelta(seconds=job.unique_for))
        found = self._sql.rows(tx, sql.RECENT, tenant=job.tenant, key=job.unique_key, since=since)
        return Enqueued(found[0][0], duplicate=True) if found else None

    def _duplicate(self, tx: Transaction, job: NewJob, now: datetime) -> Enqueued:
        for _ in range(3):
            if found := self._sql.rows(tx, sql.OF_A_KEY, tenant=job.tenant, key=job.unique_key):
                return Enqueued(found[0][0], duplicate=True)
            (job_id,) = self._sql.insert(tx, [job], now)  # the one that had the key finished meanwhile
            if job_id is not None:
                return Enqueued(job_id)
        raise JobError(f"the unique key {job.unique_key!r} is taken and given back all the time", code="job_unique")

    def _wait_for_others(self, tx: Transaction, job_id: int, others: Sequence[int]) -> None:
        found = {row[0]: row[1] for row in self._sql.rows(tx, sql.STATES, ids=self._sql.ids(others))}
        for other, state in found.items():
            if state == CANCELLED:
                raise JobError(f"job {other} was cancelled, so nothing can come after it")
            self._sql.run(tx, sql.ADD_EDGE, before=other, after=job_id)
            # On the row itself, where who writes its end looks: of the edge a statement that began earlier would know nothing.
            self._sql.run(tx, sql.FOLLOWED, id=other, yes=True)
        if unknown := [other for other in others if other >= job_id]:
            raise JobError(f"there is no job {unknown[0]}, so nothing can come after it")
        pending = sum(state != DONE for state in found.values())
        self._sql.run(tx, sql.PENDING, pending=pending, id=job_id)
        if not pending:
            self._free(tx, [job_id])

    # -- work

    def promote(self, tx: Transaction) -> datetime | None:
        """Let jobs into the line whose moment has come; return the moment of the next one."""
        self._sql.run(tx, sql.MOMENT, now=self._sql.at(self.now()))
        ((moment,),) = self._sql.rows(tx, sql.NEXT_MOMENT)
        return as_utc(moment) if moment is not None else None

    def queues(self, tx: Transaction) -> dict[str, QueueRow]:
        """Return every queue's row."""
        found = {}
        for name, paused, *limits, arrival in self._sql.rows(tx, sql.QUEUES):
            found[name] = msgspec.structs.replace(QueueRow(name, bool(paused), *limits), arrival=as_utc(arrival) if arrival is not None else None)
        return found

    def claim(self, tx: Transaction, worker: str, lines: Mapping[str, Line], free: int) -> tuple[list[Claimed], bool]:
        """Take at most `free` jobs for a worker, the first of all the lines; jobs over the limit of their key are put aside.

        Tell also whether jobs were left because another worker counted their keys at this moment. Raises WorkerGone.
        """
        taken: list[Claimed] = []
        busy: frozenset[str] = frozenset()
        for turn in range(MAX_ROUNDS):
            wanted = free - len(taken) + (WINDOW if turn else 0)
            found = [self._sql.claimed(row) for line in lines.values() if line.room > 0 for row in self._look(tx, line, wanted)]
            if not found:
                break
            running, busy = self._count_keys(tx, {job.concurrency_key for job in found if job.concurrency_key is not None})
            chosen = choose(found, lines, free - len(taken), running, busy)
            last_turn = turn == MAX_ROUNDS - 1
            start, later = self._pace(tx, chosen.taken if last_turn else certain(chosen, found), lines)
            if not self._take(tx, worker, start):
                raise WorkerGone(worker)
            self._hold(tx, chosen.held)
            for job in start:
                lines[job.queue].room -= 1
            taken += start
            if len(taken) >= free or not (chosen.held or later):
                break
        return [job._replace(attempt=job.attempt + 1) for job in sorted(taken, key=lambda job: job.order)], bool(busy)

    def _look(self, tx: Transaction, line: Line, wanted: int) -> list[tuple[object, ...]]:
        return self._sql.rows(tx, CANDIDATES, queue=line.name, room=min(wanted, line.room + WINDOW))

    def _count_keys(self, tx: Transaction, keys: set[str]) -> tuple[dict[str, int], frozenset[str]]:
        if not keys:
            return {}, frozenset()
        busy = self._sql.try_keys(tx, keys)
        return {row[0]: row[1] for row in self._sql.rows(tx, sql.RUNNING_BY_KEY, texts=self._sql.ids(sorted(keys)))}, busy

    def _take(self, tx: Transaction, worker: str, jobs: Sequence[Claimed], statement: str = TAKE) -> bool:
        """Give jobs to a worker; false when it has no row any more: others took it for dead and would take the jobs away again."""
        ids = [job.id for job in jobs]
        return not ids or self._sql.run(tx, statement, ids=self._sql.ids(ids), worker=worker, now=self._sql.at(self.now()), no=False) == len(ids)

    def _pace(self, tx: Transaction, jobs: Sequence[Claimed], lines: Mapping[str, Line]) -> tuple[list[Claimed], int]:
        """Give a moment of its own to each job whose key has started often enough; return the others, and how many those were."""
        keys = {(job.queue, job.concurrency_key) for job in jobs if job.concurrency_key is not None and lines[job.queue].key_rate is not None}
        if not keys:
            return list(jobs), 0
        arrivals = {}
        for queue, key in sorted(keys):
            for (arrival,) in self._sql.rows(tx, sql.PACE, queue=queue, key=key):
                arrivals[queue, key] = as_utc(arrival)
        start, later = pace(self.now(), jobs, lines, arrivals)
        for (queue, key), arrival in arrivals.items():
            self._sql.run(tx, sql.KEEP_PACE, queue=queue, key=key, arrival=self._sql.at(arrival))
        for job, moment in later:
            self._sql.run(tx, sql.PUT_OFF, id=job.id, moment=self._sql.at(moment), yes=True)
        return start, len(later)

    def _hold(self, tx: Transaction, jobs: Sequence[Claimed]) -> None:
        if jobs:
            self._sql.run(tx, sql.HOLD, ids=self._sql.ids([job.id for job in jobs]))

    def allow(self, tx: Transaction, row: QueueRow, wanted: int) -> int:
        """Return how many jobs of a queue may start now by its global limits; 0 when another worker counts them at this moment."""
        if not row.counted:
            return wanted
        if wanted <= 0 or not self._sql.lock_queue(tx, row.name):
            return 0
        if row.max_running is not None:
            ((running,),) = self._sql.rows(tx, sql.RUNNING_IN_QUEUE, queue=row.name)
            wanted = min(wanted, row.max_running - running)
        if row.rate is not None:
            wanted, _ = allowance(self.now(), self.queues(tx)[row.name].arrival, row.rate, row.rate_seconds or 1.0, wanted)
        return max(0, wanted)

    def spend(self, tx: Transaction, row: QueueRow, started: int) -> None:
        """Count starts against the rate of a queue; to be called in the transaction of `allow`."""
        if row.rate is not None and started:
            _, moved = allowance(self.now(), self.queues(tx)[row.name].arrival, row.rate, row.rate_seconds or 1.0, started)
            self._sql.run(tx, sql.ARRIVAL, name=row.name, arrival=self._sql.at(moved))

    def settle(self, tx: Transaction, worker: str, settled: Sequence[tuple[Claimed, Settled]]) -> set[int]:
        """Write what became of jobs; return the ids of those the worker still owned, the others belong to somebody else by now."""
        if not settled:
            return set()
        settled = sorted(settled, key=lambda pair: pair[0].id)  # rows are locked in one order, as people's actions do
        keys = [job.concurrency_key for job, _ in settled if job.concurrency_key is not None]
        if keys:
            self._sql.lock_keys(tx, keys)
        written = self._sql.settle(tx, worker, settled, self.now())
        ids = {one.id for one in written}
        freed = 0
        for key in sorted(set(keys)):
            number = sum(job.concurrency_key == key and job.id in ids for job, _ in settled)
            freed += self._sql.run(tx, sql.FREED_BY_KEY, key=key, number=number)
        if freed:
            self.bus.announce(TOPIC, tx)
        self._follow_up(tx, [one.id for one in written if one.followed and one.state == DONE])
        self._cancel_after(tx, [one.id for one in written if one.followed and one.state == CANCELLED])
        return ids

    def _follow_up(self, tx: Transaction, ids: Sequence[int]) -> None:
        """Count finished jobs for those that wait for them, and let those into the line that wait for nothing more."""
        if ids:
            counted = self._sql.rows(tx, sql.COUNT_DOWN, ids=self._sql.ids(ids))
            self._free(tx, [job_id for job_id, pending in counted if pending <= 0])

    def _has_edges(self, tx: Transaction, ids: Sequence[int]) -> bool:
        return bool(self._sql.rows(tx, sql.HAS_EDGES, ids=self._sql.ids(ids)))

    def _free(self, tx: Transaction, ids: Sequence[int]) -> None:
        if ids:
            self._sql.run(tx, sql.FREE, ids=self._sql.ids(ids), now=self._sql.at(self.now()))
            self.bus.announce(TOPIC, tx)

    def _cancel_after(self, tx: Transaction, ids: Sequence[int]) -> None:
        """Cancel what waits for cancelled jobs, and what waits for that."""
        text, now = "a job it waits for was cancelled", self._sql.at(self.now())
        while ids and self._has_edges(tx, ids):
            ids = [row[0] for row in self._sql.rows(tx, sql.CANCEL_AFTER, ids=self._sql.ids(ids), now=now, text=text)]

    def note(self, tx: Transaction, worker: str, said: Iterable[tuple[RunningJob, Said]]) -> None:
        """Write the progress and the log lines of running jobs."""
        now = self._sql.at(self.now())
        for job, one in said:
            if one.progress is not None:
                percent, text = one.progress
                self._sql.run(tx, sql.PROGRESS, progress=percent, text=text, id=job.id, attempt=job.attempt, worker=worker)
            for level, message in one.lines:
                self._sql.run(tx, sql.WRITE_LOG, id=job.id, at=now, level=level, message=message)

    # -- workers

    def hello(self, worker: str, queues: Sequence[str], concurrency: int) -> None:
        """Write the row by which others know that the worker lives."""
        place = {"host": socket.gethostname(), "place": this_place(), "pid": os.getpid()}
        said = {"queues": msgspec.json.encode(queues).decode(), "concurrency": concurrency, "stopping": False}
        with self.store.begin() as tx:
            self._sql.run(tx, sql.HELLO, worker=worker, now=self._sql.at(self.now()), **place, **said)

    def beat(self, worker: str, running: int, *, stopping: bool) -> bool:
        """Say that the worker lives; return false when somebody has declared it dead."""
        with self.store.begin() as tx:
            return bool(self._sql.run(tx, sql.BEAT, worker=worker, now=self._sql.at(self.now()), running=running, stopping=stopping))

    def workers(self) -> list[tuple[str, str, int, object]]:
        """Return the id, the place, the process and the last sign of life of every worker."""
        with self.store.read() as tx:
            return [(row[0], row[1], row[2], row[3]) for row in self._sql.rows(tx, sql.WORKERS)]

    def any_orphan(self) -> bool:
        """Tell whether a job is at work by a worker that has no row: it wrote its claim after it was buried."""
        with self.store.read() as tx:
            return bool(self._sql.rows(tx, sql.ANY_ORPHAN))

    def bury(self, workers: Iterable[str], seen: Mapping[str, object] | None = None) -> int:
        """Take the rows of workers away that have ended, and give their jobs to others; return how many jobs that were.

        With `seen`, their last signs of life, one that has given another sign meanwhile is left alone.
        """
        with self.store.begin() as tx:
            for worker in workers:
                if seen is None:
                    self._sql.run(tx, sql.GOODBYE, worker=worker)
                else:
                    self._sql.run(tx, sql.SILENT, worker=worker, seen=seen[worker])
            number = self._rescue(tx)
            self.bus.announce(TOPIC, tx)
        return number

    def _rescue(self, tx: Transaction) -> int:
        """Settle the jobs whose worker has no row."""
        by_worker: dict[str, list[tuple[Claimed, Settled]]] = {}
        rows = self._sql.rows(tx, sql.ORPHANS)
        # PostgreSQL looks again at a row that changed meanwhile, but with workers as they were when the statement began.
        alive = {row[0] for row in self._sql.rows(tx, sql.WORKERS)} if rows else set()
        for row in rows:
            if row[-1] not in alive:
                job = self._sql.claimed(row[:-1])
                by_worker.setdefault(row[-1], []).append((job, rescued(job, self.now(), row[-1])))
        return sum(len(self.settle(tx, worker, settled)) for worker, settled in by_worker.items())

    def jobs_of(self, worker: str) -> dict[tuple[int, int], bool]:
        """Return the ids and attempts of the jobs a worker has taken, and whether somebody cancelled them."""
        with self.store.read() as tx:
            return {(row[0], row[1]): bool(row[2]) for row in self._sql.rows(tx, sql.OF_WORKER, worker=worker)}

    def unattended(self, tx: Transaction, worker: str, known: Collection[tuple[int, int]]) -> list[Claimed]:
        """Return the jobs a worker has taken without knowing: the answer to its commit was lost."""
        taken = [self._sql.claimed(row) for row in self._sql.rows(tx, sql.TAKEN_BY, worker=worker)]
        return [job for job in taken if (job.id, job.attempt) not in known]

    def recognise(self, tasks: Iterable[str], queues: Iterable[str]) -> int:
        """Let jobs into the line that another worker did not know and this process knows; return how many."""
        given = {"texts": self._sql.ids(sorted(tasks)), "queues": self._sql.ids(sorted(queues))}
        with self.store.read() as tx:
            if not self._sql.rows(tx, sql.ANY_FOR_HANDLER, **given):
                return 0
        with self.store.begin() as tx:
            return self._sql.run(tx, sql.KNOWN_AGAIN, **given)

    def free_stuck_keys(self) -> None:
        """Let the first job of each key into the line when none of the key runs: a row changed by hand must not hold it for ever."""
        with self.store.begin() as tx:
            self._sql.run(tx, sql.STUCK_KEYS)

    def claim_one(self, tx: Transaction, worker: str, job_id: int) -> Claimed | None:
        """Take one job that stands in line; none when it does not."""
        rows = self._sql.rows(tx, sql.ONE_IN_LINE, id=job_id)
        if not rows:
            return None
        job = self._sql.claimed(rows[0])
        self._take(tx, worker, [job], TAKE_UNSEEN)
        return job._replace(attempt=job.attempt + 1)

    # -- looks

    def row(self, tx: Transaction, columns: str, job_id: int) -> tuple[object, ...] | None:
        """Return some columns of one job as they are used in Python, none when there is no such job."""
        names = columns.split(", ")
        chosen = [cast(JOB.c[name], Text) if name in JSON_COLUMNS else JOB.c[name] for name in names]
        found = tx.execute(select(*chosen).where(JOB.c.id == job_id)).one_or_none()
        return None if found is None else tuple(_read(name, value) for name, value in zip(names, found, strict=True))

    def log_of(self, job_id: int) -> list[tuple[datetime, str, str]]:
        """Return the lines of a job's log."""
        lines = select(LOG.c.at, LOG.c.level, LOG.c.message).where(LOG.c.job_id == job_id).order_by(LOG.c.id)
        with self.store.read() as tx:
            return [(row.at, row.level, row.message) for row in tx.execute(lines)]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs of each queue are in each state people are shown."""
        found: dict[str, dict[str, int]] = {}
        with self.store.read() as tx:
            for name in self.queues(tx):
                found[name] = dict.fromkeys(SHOWN, 0)
            for statement in sql.COUNTS:
                for queue, state, waits_for, number in self._sql.rows(tx, statement):
                    of_queue = found.setdefault(queue, dict.fromkeys(SHOWN, 0))
                    of_queue[shown(state, waits_for)] += number
        return found

    def oldest_seconds(self) -> float | None:
        """Return how long the job that stood in line first has been waiting, none when the line is empty."""
        with self.store.read() as tx:
            ((moment,),) = self._sql.rows(tx, sql.OLDEST)
        return max(0.0, (self.now() - as_utc(moment)).total_seconds()) if moment is not None else None

    def due(self, queue: str | None) -> bool:
        """Tell whether a job stands in line, is at work, or has reached its moment."""
        with self.store.read() as tx:
            now = self._sql.at(self.now())
            return bool(self._sql.rows(tx, sql.DUE, now=now) if queue is None else self._sql.rows(tx, sql.DUE_OF, now=now, queue=queue))

    # -- people

    def act(self, action: str, ids: Sequence[int], payload: str | None = None, tx: Transaction | None = None) -> list[int]:
        """Do `retry`, `cancel`, `discard` or `run` to the jobs whose state allows it, in one transaction; return their ids."""
        if tx is None:
            with self.store.begin() as own:
                return self.act(action, ids, payload, own)
        rows = self._sql.rows(tx, sql.STATES, ids=self._sql.ids(ids))
        allowed = [row[0] for row in rows if row[1] in ACTIONS[action] and (action != "run" or row[2] == TIME)]
        if not allowed:
            return []
        if action == "retry":
            changed = self._retry(tx, allowed, payload)
        else:
            changed = self._run_now(tx, allowed) if action == "run" else self._end(tx, allowed)
        self.bus.announce(CONTROL if action == "cancel" else TOPIC, tx)
        return changed

    def _retry(self, tx: Transaction, ids: Sequence[int], payload: str | None) -> list[int]:
        """Give failed and cancelled jobs as many attempts as they had, a waiting one its next attempt now."""
        given: dict[str, object] = {"now": self._sql.at(self.now()), "no": False}
        given |= {"payload": payload} if payload is not None else {}
        with _unique_key_explained(ids), tx.savepoint():
            self._sql.run(tx, sql.AGAIN if payload is None else sql.AGAIN_WITH, ids=self._sql.ids(ids), **given)
        return list(ids)

    def _end(self, tx: Transaction, ids: Sequence[int]) -> list[int]:
        given, now = self._sql.ids(ids), self._sql.at(self.now())
        ended = self._sql.rows(tx, sql.END, ids=given, now=now)
        for key in sorted({key for _, key in ended if key is not None}):  # the next of its key was held while it stood in line
            self._sql.run(tx, sql.FREED_BY_KEY, key=key, number=sum(other == key for _, other in ended))
        cancelled = [row[0] for row in ended]
        asked = [row[0] for row in self._sql.rows(tx, sql.ASK_TO_STOP, ids=given, yes=True)]
        self._cancel_after(tx, cancelled)
        return sorted(cancelled + asked)

    def _run_now(self, tx: Transaction, ids: Sequence[int]) -> list[int]:
        return [row[0] for row in self._sql.rows(tx, sql.RUN_NOW, ids=self._sql.ids(ids), now=self._sql.at(self.now()))]

    def change_queue(self, tx: Transaction, name: str, **fields: object) -> QueueRow:
        """Set limits of a queue, or pause it; raise NotFoundError for one there is not."""
        changes = ", ".join(f"{field} = :{field}" for field in sorted(fields.keys() & set(QueueRow.__struct_fields__)))
        statement = f"update rakiza_jobs_queue set {changes}, updated_at = :now where name = :name"  # noqa: S608 - names of fields
        if not self._sql.run(tx, statement, name=name, now=self._sql.at(self.now()), **fields):
            raise NotFoundError(f"there is no queue {name!r}", hint="a queue is there once a job was put into it or a handler was registered")
        self.bus.announce(CONTROL, tx)
        self.bus.announce(TOPIC, tx)
        return self.queues(tx)[name]

    def forget(self, before: datetime) -> None:
        """Delete the history before a moment, and what is known of keys that may start at full rate again."""
        with self.store.begin() as tx:
            self._sql.run(tx, sql.OLD_TALLY, minute=int(before.timestamp()) // 60)
            self._sql.run(tx, sql.FORGET_PACE, now=self._sql.at(self.now()))

    def prune(self, done_before: datetime, failed_before: datetime) -> int:
        """Delete finished jobs that were kept long enough, two thousand a transaction; return how many."""
        total = 0
        for state, cut in ((DONE, done_before), (CANCELLED, done_before), (FAILED, failed_before)):
            while number := self._prune(state, cut):
                total += number
        return total

    def _prune(self, state: str, cut: datetime) -> int:
        with self.store.begin() as tx:
            ids = [row[0] for row in self._sql.rows(tx, sql.OLD, state=state, cut=self._sql.at(cut))]
            if state == FAILED:
                self._cancel_after(tx, ids)
            for statement in sql.DELETE_WITH if ids else ():
                self._sql.run(tx, statement, ids=self._sql.ids(ids))
        return len(ids)


@contextmanager
def _unique_key_explained(ids: Sequence[int]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        text = str(error)
        if "UNIQUE" not in text and "uq_rakiza_jobs_job_unique_key" not in text:
            raise
        hint, which = "wait for it, or cancel it first", f"job {ids[0]}" if len(ids) == 1 else f"one of {len(ids)} jobs"
        raise JobStateError(f"{which} cannot run again: another job with its unique key waits or runs", hint=hint) from error


class _Measured:
    """Tell the time of a database by our own steady clock."""

    def __init__(self, theirs: datetime) -> None:
        self._theirs, self._began = theirs, SYSTEM_CLOCK.monotonic()

    def now(self) -> datetime:
        return self._theirs + timedelta(seconds=SYSTEM_CLOCK.monotonic() - self._began)

    @staticmethod
    def monotonic() -> float:
        return SYSTEM_CLOCK.monotonic()


def _backend_of(store: Store) -> SqlBackend:
    if store.dialect == "sqlite":
        return SqliteBackend(store)
    from ._backends.postgresql import PostgresqlBackend

    return PostgresqlBackend(store)


def this_place() -> str:
    """Return what two processes must share to see each other's process ids: the boot of the machine and the namespace of ids; empty when unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def is_gone(place: str, pid: int) -> bool:
    """Tell whether a process surely has ended, which only its own machine can."""
    return bool(place) and place == this_place() and not Path(f"/proc/{pid}").exists()


def _read(name: str, value: Any) -> Any:
    return msgspec.json.decode(value) if name in JSON_COLUMNS and value is not None else value


Now = Callable[[], datetime]
