"""The queue and a reference in memory agree, whatever happens to jobs in whatever order."""

import itertools
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rakiza.jobs import Backoff, Cancel, JobError, Jobs, JobStateError, Retry, Snooze
from rakiza.jobs._core import Claimed, Line, Settled, done, ended, returned, shown, unknown
from rakiza.testing import FrozenClock

EXAMPLES = 15 * int(os.environ.get("RK_TEST_ROUNDS", "1"))  # noqa: TID251 - raised for a long search
QUEUES = ("default", "بريد")
LIMITS = {None: None, "برج": 1, "فيلا": 2}
"""The keys of a queue, and how many jobs of each may run."""
BACKOFF = Backoff(base=8.0, jitter=False)
UNFINISHED = ("ready", "retry", "running")
TABLES = ("job", "edge", "log", "worker", "queue", "tally")
names = itertools.count(1)


@dataclass
class Job:
    """One job of the reference."""

    id: int
    queue: str
    priority: int
    run_at: datetime
    max_attempts: int
    key: str | None
    unique: str | None
    waits: str | None
    before: set[int]
    state: str = "ready"
    attempt: int = 0
    rescues: int = 0
    failures: int = 0
    worker: str | None = None
    asked: bool = False
    claimed: Claimed | None = None
    tries: int = 0

    def __post_init__(self) -> None:
        self.tries = self.max_attempts

    @property
    def order(self) -> tuple[int, datetime, int]:
        return self.priority, self.run_at, self.id

    @property
    def row(self) -> tuple[object, ...]:
        """What the table must say; whether a job was put aside for its key yet is the queue's own affair."""
        waits = None if self.waits == "key" else self.waits
        pending = len(self.before) if waits == "jobs" else None
        return self.state, waits, self.priority, self.run_at, self.attempt, self.max_attempts, self.rescues, self.failures, self.asked, pending


@dataclass
class Reference:
    """What the queue promises, in a dictionary."""

    jobs: dict[int, Job] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)

    def of(self, *states: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state in states]

    def owner_of(self, unique: str | None) -> Job | None:
        return next((job for job in self.of(*UNFINISHED) if unique is not None and job.unique == unique), None)

    def claim(self, worker: str, free: int, now: datetime) -> list[tuple[int, int]]:
        for job in self.of("ready", "retry"):
            if job.waits == "time" and job.run_at <= now:
                job.waits = None
        running = Counter((job.queue, job.key) for job in self.of("running"))
        taken = []
        in_line = [job for job in self.of("ready", "retry") if job.waits is None and job.queue not in self.paused]
        for job in sorted(in_line, key=lambda job: job.order):
            limit = LIMITS[job.key]
            if len(taken) == free or (limit is not None and running[job.queue, job.key] >= limit):
                continue
            running[job.queue, job.key] += 1
            job.state, job.attempt, job.worker = "running", job.attempt + 1, worker
            taken.append((job.id, job.attempt))
        return taken

    def settle(self, job: Job, state: str, *, waits: str | None = None, run_at: datetime | None = None) -> None:
        """End an attempt: `state` is final, or `ready` for one that shall go on."""
        if state == "ready":
            state = "cancelled" if job.asked else "retry" if job.failures else "ready"
        job.state, job.waits, job.asked = state, waits if state in UNFINISHED else None, False
        job.run_at = run_at or job.run_at
        self.follow(job)

    def follow(self, job: Job) -> None:
        """Let those that wait for a job that is done come into the line, and go with one that was cancelled."""
        for other in [one for one in self.jobs.values() if one.waits == "jobs" and job.id in one.before]:
            if job.state == "done":
                other.before.discard(job.id)
                other.waits = other.waits if other.before else "time?"
            elif job.state == "cancelled":
                other.state, other.waits = "cancelled", None
                self.follow(other)


delays = st.sampled_from([0, 0, 0, 5, 40])
some = st.integers(0, 20)
"""Which of those there are, counted round."""


Given = tuple[str, int, int, int, str | None, str | None, list[int]]
givens = st.tuples(
    st.sampled_from(QUEUES), st.integers(0, 2), delays, st.integers(1, 5), st.sampled_from([None, "برج", "برج", "فيلا"]),
    st.sampled_from([None, None, None, "أ", "ب"]), st.one_of(st.just([]), st.just([]), st.lists(some, max_size=2)),
)  # fmt: skip
"""The queue, priority, delay, attempts, key and unique key of a job, and what it waits for."""


class Agreement(RuleBasedStateMachine):
    """Do the same to both."""

    def __init__(self, jobs: Jobs, clock: FrozenClock) -> None:
        """Begin with an empty queue."""
        super().__init__()
        self.queue, self.clock, self.reference = jobs, clock, Reference()
        self.workers: list[str] = []
        self.stale: list[Claimed] = []

    @initialize()
    def empty(self) -> None:
        with self.queue.store.begin() as tx:
            for table in TABLES:
                tx.execute(sa.text(f"delete from rakiza_jobs_{table}"))
        self.queue.engine._known_queues.clear()
        self.queue.engine.add_queues(QUEUES)
        self.workers = [self._new_worker() for _ in range(2)]

    def _new_worker(self) -> str:
        worker = f"عامل-{next(names)}"
        self.queue.engine.hello(worker, (), 4)
        return worker

    # -- in

    @rule(several=st.lists(givens, min_size=1, max_size=5))
    def add(self, several: list[Given]) -> None:
        for given in several:
            self._add(*given)

    def _add(self, queue: str, priority: int, delay: int, attempts: int, key: str | None, unique: str | None, before: list[int]) -> None:  # noqa: PLR0917
        known = list(self.reference.jobs.values())
        others = {known[number % len(known)].id for number in before} if known else set()
        options = {"queue": queue, "priority": priority, "delay": delay, "max_attempts": attempts, "unique": unique, "after": sorted(others)}
        options |= {"concurrency_key": f"{queue}:{key}", "key_limit": LIMITS[key]} if key else {}
        owner = self.reference.owner_of(unique)
        if owner is None and any(self.reference.jobs[other].state == "cancelled" for other in others):
            with pytest.raises(JobError, match="was cancelled"):
                self.queue.add_job("عمل", {"n": 1}, **options)
            return
        made = self.queue.add_job("عمل", {"n": 1}, **options)
        assert made.duplicate == (owner is not None)
        if owner is not None:
            assert made.id == owner.id
            return
        now = self.clock.now()
        open_ = {other for other in others if self.reference.jobs[other].state != "done"}
        run_at = now + timedelta(seconds=delay)
        job = Job(made.id, queue, priority, run_at, attempts, key, unique, "jobs" if open_ else None, open_)
        job.waits = job.waits or ("time" if run_at > now else None)
        self.reference.jobs[made.id] = job

    # -- work

    @rule(worker=st.integers(0, 1), free=st.integers(1, 4))
    def claim(self, worker: int, free: int) -> None:
        engine, me = self.queue.engine, self.workers[worker]
        with self.queue.store.begin() as tx:
            engine.promote(tx)
            lines = {row.name: Line(row.name, free, row.per_key) for row in engine.queues(tx).values() if not row.paused}
            taken, _ = engine.claim(tx, me, lines, free)
        assert [(job.id, job.attempt) for job in taken] == self.reference.claim(me, free, self.clock.now())
        for job in taken:
            self.reference.jobs[job.id].claimed = job

    @rule(which=some, how=st.sampled_from(["done", "done", "fails", "retry", "snooze", "cancel", "returned", "unknown"]))
    def settle(self, which: int, how: str) -> None:
        running = self.reference.of("running")
        if not running:
            return
        job, now = running[which % len(running)], self.clock.now()
        assert job.claimed is not None
        assert job.worker is not None
        with self.queue.store.begin() as tx:
            assert self.queue.engine.settle(tx, job.worker, [(job.claimed, _settled(how, job.claimed, now))]) == {job.id}
        self.stale.append(job.claimed)
        last, attempt = job.attempt >= job.max_attempts, job.attempt
        job.failures += how in {"fails", "retry", "cancel"}
        job.attempt -= how in {"snooze", "returned", "unknown"}
        pause = {"fails": 8.0 * 2 ** (attempt - 1), "retry": 30.0, "snooze": 20.0}.get(how)
        if how in {"done", "cancel"} or (last and how in {"fails", "retry"}):
            self.reference.settle(job, {"done": "done", "cancel": "cancelled"}.get(how, "failed"))
        elif pause is not None:
            self.reference.settle(job, "ready", waits="time", run_at=now + timedelta(seconds=pause))
        else:
            self.reference.settle(job, "ready", waits="handler" if how == "unknown" else None)
        self._freed()

    def _freed(self) -> None:
        """Jobs that waited for others stand in line now, or wait for their moment."""
        for job in self.reference.jobs.values():
            if job.waits == "time?":
                job.waits = "time" if job.run_at > self.clock.now() else None

    @rule(which=some)
    def settle_what_belongs_to_others(self, which: int) -> None:
        """An outcome of an attempt that was settled before, or by a worker that does not own it, changes nothing."""
        owned = [(job.claimed, "أحد") for job in self.reference.of("running")]
        late = [(claimed, worker) for claimed in self.stale for worker in self.workers if self._not_owned(claimed, worker)]
        for claimed, worker in [one for one in (*owned, *late) if one[0] is not None][which % 7 :: 7]:
            with self.queue.store.begin() as tx:
                assert self.queue.engine.settle(tx, worker, [(claimed, done(claimed, self.clock.now(), None))]) == set()

    def _not_owned(self, claimed: Claimed, worker: str) -> bool:
        job = self.reference.jobs[claimed.id]
        return job.state != "running" or job.worker != worker or job.attempt != claimed.attempt

    @rule(worker=st.integers(0, 1), times=st.sampled_from([1, 1, 3]))
    def die_at_work(self, worker: int, times: int) -> None:
        for _ in range(times):
            self.claim(worker, 1)
            self.bury(worker)

    @rule(worker=st.integers(0, 1))
    def bury(self, worker: int) -> None:
        lost = [job for job in self.reference.of("running") if job.worker == self.workers[worker]]
        assert self.queue.engine.bury([self.workers[worker]]) == len(lost)
        assert not self.queue.engine.beat(self.workers[worker], 0, stopping=False)
        for job in lost:
            job.rescues, job.failures = job.rescues + 1, job.failures + 1
            self.reference.settle(job, "failed" if job.attempt >= job.max_attempts or job.rescues >= 3 else "ready")
        self._freed()
        self.workers[worker] = self._new_worker()

    @rule()
    def recognise(self) -> None:
        strange = [job for job in self.reference.jobs.values() if job.waits == "handler"]
        assert self.queue.engine.recognise(["عمل"], []) == len(strange)
        for job in strange:
            job.waits = None

    # -- people

    @rule(which=some, action=st.sampled_from(["retry", "cancel", "cancel", "discard", "run_now"]))
    def act(self, which: int, action: str) -> None:
        if not self.reference.jobs:
            return
        job = list(self.reference.jobs.values())[which % len(self.reference.jobs)]
        allowed = {"retry": {"failed", "cancelled", "retry"}, "cancel": {"ready", "retry", "running"}, "discard": {"failed", "retry"}}
        may = job.state in allowed[action] if action != "run_now" else job.waits == "time"
        taken = action == "retry" and job.state != "retry" and self.reference.owner_of(job.unique) is not None
        if not may or taken:
            with pytest.raises(JobStateError):
                getattr(self.queue, action)(job.id)
            return
        getattr(self.queue, action)(job.id)
        if action == "retry":
            job.max_attempts = job.max_attempts if job.state == "retry" else job.attempt + job.tries
            job.state, job.waits, job.run_at, job.rescues = "retry" if job.failures else "ready", None, self.clock.now(), 0
        elif action == "run_now":
            job.waits, job.run_at = None, self.clock.now()
        elif job.state == "running":
            job.asked = True
        else:
            job.state, job.waits = "cancelled", None
            self.reference.follow(job)

    @rule(queue=st.sampled_from(QUEUES))
    def pause_or_resume(self, queue: str) -> None:
        paused = queue in self.reference.paused
        assert (self.queue.resume if paused else self.queue.pause)(queue).paused != paused
        self.reference.paused ^= {queue}

    @rule(seconds=st.sampled_from([1, 10, 60]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # -- comparing

    @invariant()
    def the_rows_are_as_they_should_be(self) -> None:
        if self.workers:
            assert self._rows() == {job.id: job.row for job in self.reference.jobs.values()}

    def _rows(self) -> dict[int, tuple[object, ...]]:
        columns = "id, state, waits_for, priority, run_at, attempt, max_attempts, rescues, errors, cancel_requested, pending"
        found = {}
        with self.queue.store.read() as tx:
            for job_id in [row[0] for row in tx.execute(sa.text("select id from rakiza_jobs_job order by id"))]:
                row = self.queue.engine.row(tx, columns, job_id)
                assert row is not None
                _, state, waits, *middle, errors, asked, pending = row
                waits = None if waits == "key" else waits
                found[job_id] = (state, waits, *middle, len(errors or ()), bool(asked), pending if waits == "jobs" else None)
        return found

    def teardown(self) -> None:
        """Compare what people are shown; then let everything end, which nothing may keep from it."""
        if not self.workers:
            return
        counted: Counter[tuple[str, str]] = Counter()
        for job in self.reference.jobs.values():
            counted[job.queue, shown(job.state, job.waits)] += 1
        stats = self.queue.get_stats()
        for queue in QUEUES:  # one that was put aside for its key is shown as waiting
            assert stats[queue]["ready"] + stats[queue]["waiting"] == counted[queue, "ready"] + counted[queue, "waiting"]
            for state in ("delayed", "running", "retry", "failed", "done", "cancelled"):
                assert stats[queue][state] == counted[queue, state] or state == "retry"
        self._let_everything_end()

    def _let_everything_end(self) -> None:
        for queue in [*self.reference.paused]:
            self.pause_or_resume(queue)
        self.recognise()
        for _ in range(4 * len(self.reference.jobs) + 4):
            self.clock.advance(3600)
            self.claim(0, 4)
            if not self.reference.of("running"):
                break
            while self.reference.of("running"):
                self.settle(0, "done")
        left = [job for job in self.reference.of(*UNFINISHED) if job.waits != "jobs"]
        assert left == []
        self.the_rows_are_as_they_should_be()


def _settled(how: str, job: Claimed, now: datetime) -> Settled:
    errors = {"fails": ValueError("تعذر"), "retry": Retry(after=30), "snooze": Snooze(20), "cancel": Cancel("لا")}
    if how in errors:
        return ended(job, now, errors[how], BACKOFF)
    return {"done": lambda: done(job, now, '"تم"'), "returned": lambda: returned(job), "unknown": lambda: unknown(job)}[how]()


def test_the_queue_and_the_reference_agree(jobs: Jobs, clock: FrozenClock) -> None:
    bounds = settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(lambda: Agreement(jobs, clock), settings=bounds)
