"""The job queue as users hold it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar, cast

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from rakiza._kernel import (
    DEFAULT_TENANT,
    SYSTEM_CLOCK,
    Clock,
    Context,
    Migrations,
    Supervisor,
    UnitOfWork,
    WorkerPool,
    both,
    current,
    running_loop,
)
from rakiza._kernel.tasks import after_fork
from rakiza.bus import Bus
from rakiza.errors import NotFoundError
from rakiza.store import Store, Transaction

from ._core import (
    ACTIONS,
    DONE,
    FINAL,
    Backoff,
    Claimed,
    Enqueued,
    Failure,
    NewJob,
    Receipts,
    Settled,
    check_finite,
    check_priority,
    check_size,
    unknown,
)
from ._definitions import DEFAULT_QUEUE, MAX_NAME, REGISTRY, Definition, Options, Registry, check_queue, digest, key_of, registering
from ._engine import Engine, QueueRow
from ._execution import Around, Carried, Execution, Run
from ._queue import Queue
from ._schedules import Schedules
from ._scheduling import Scheduling
from ._tally import Tally
from ._worker import Finish, Worker
from .errors import LONGEST_SECONDS, JobArgumentsError, JobError, JobFailedError, JobStateError
from .settings import JobSettings

T = TypeVar("T")
N = TypeVar("N")
F = TypeVar("F", bound=Callable[..., object])
MIGRATIONS = Migrations("rakiza.jobs.migrations", "rakiza_jobs")
BULK = 500
MAX_TAGS, MAX_TAG = 20, 100
MAX_ATTEMPTS = 10_000
PRUNE_SECONDS = 60.0
HISTORY_DAYS = 15
INLINE = "inline"
log = logging.getLogger("rakiza.jobs")
Seconds = float | int | timedelta


class Asked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Hold what was said of one job where it was enqueued."""

    queue: str | None = None
    delay: float | timedelta = 0.0
    run_at: datetime | None = None
    priority: int | None = None
    unique: bool | str | None = None
    unique_for: float | timedelta | None = None
    tags: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    concurrency_key: str | None = None
    key_limit: int | None = None
    after: tuple[int, ...] = ()
    tenant: str | None = None
    scheduled_for: str | None = None


class JobView(msgspec.Struct):
    """Show one job as it is now."""

    id: int
    task: str
    queue: str
    state: str
    waits_for: str | None
    attempt: int
    max_attempts: int
    priority: int
    run_at: datetime
    payload: Any
    result: Any
    progress: int | None
    progress_text: str | None


class Jobs(Scheduling):
    """Keep work for later: durable, in the same database as the business rows, done at least once."""

    migrations: ClassVar[Migrations] = MIGRATIONS

    def __init__(
        self,
        store: Store,
        bus: Bus | None = None,
        settings: JobSettings | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        supervisor: Supervisor | None = None,
        pool: WorkerPool | None = None,
        ctx: Context | None = None,
        registry: Registry = REGISTRY,
    ) -> None:
        self.store, self.settings, self._ctx = store, settings or JobSettings(), ctx
        self._supervisor = supervisor or Supervisor(clock)
        self._owns_supervisor = supervisor is None
        self.pool = pool or WorkerPool()
        self.registry = Registry(registry)
        self.engine = Engine(store, bus or Bus(store, self._supervisor), clock)
        self.tally = Tally(store, self.engine.now)
        self.schedules = Schedules(
            store, self.engine.bus, self.engine.now, self._fire,
            check=lambda task, payload, options: self.new_job(task, payload, **options), lease_seconds=self.settings.lease_seconds,
        )  # fmt: skip
        self.opened, self.declarations = ctx is None, []
        self.workers: list[Worker] = []
        self._around: list[Around] = []
        self._supervisor.every("jobs-prune", PRUNE_SECONDS, self._tidy, writes=True)
        after_fork(self.forget)

    # -- registering

    def job(self, name: str, **options: object) -> Callable[[F], F]:
        """Register a handler with this queue alone; options are those of the decorator `job`."""
        return registering(self.registry, name, options)

    def get_queue(self, name: str) -> Queue:
        """Return a queue, which need not exist yet; raise JobError for a name that cannot be."""
        return Queue(name, self.registry, lambda: self)

    def around(self, hook: Around) -> Around:
        """Enter the context manager `hook(job)` around every attempt, the first one outermost; return it."""
        self._around.append(hook)
        return hook

    # -- enqueueing

    def add_job(
        self,
        task: str,
        payload: Mapping[str, object] | msgspec.Struct | None = None,
        *,
        queue: str | None = None,
        delay: Seconds = 0,
        run_at: datetime | None = None,
        priority: int | None = None,
        unique: bool | str | None = None,
        unique_for: Seconds | None = None,
        tags: Sequence[str] = (),
        timeout_seconds: float | None = None,
        max_attempts: int | None = None,
        concurrency_key: str | None = None,
        key_limit: int | None = None,
        after: Sequence[int] = (),
        tenant: str | None = None,
        tx: Transaction | None = None,
    ) -> Enqueued:
        """Write a job and return which one it is: blocks, or is awaited where an event loop runs.

        With `tx` it is written in that transaction at once, or not at all. `unique=True` takes the arguments as the key, within
        `unique_for` also after the job is done; the job that has the key already is returned as `duplicate`. `after` names jobs that
        must be done first. Raises JobArgumentsError for arguments that do not fit the handler, JobError, StoreError.
        """
        made = self.new_job(
            task, payload, queue=queue, delay=delay, run_at=run_at, priority=priority, unique=unique, unique_for=unique_for, tags=tags,
            timeout_seconds=timeout_seconds, max_attempts=max_attempts, concurrency_key=concurrency_key, key_limit=key_limit,
            after=after, tenant=tenant,
        )  # fmt: skip
        return self._submit(tx, lambda own: self._insert(own, [made])[0])

    def add_jobs(self, jobs: Iterable[Mapping[str, object]], tx: Transaction | None = None) -> Receipts:
        """Write many jobs, all or none, each a mapping of what `add_job` takes; blocks, or is awaited where an event loop runs."""
        made = [self._made(each) for each in jobs]
        return self._submit(tx, lambda own: self._insert_all(own, made))

    def chain(self, jobs: Sequence[tuple[str, Mapping[str, object]]], tx: Transaction | None = None) -> Receipts:
        """Write jobs of which each begins when the one before it is done; blocks, or is awaited where an event loop runs."""

        def write(own: Transaction) -> Receipts:
            found = Receipts()
            for task, payload in jobs:
                before = (found[-1].id,) if found else ()
                found += self._insert(own, [self.new_job(task, payload, after=before)])
            return found

        return self._submit(tx, write)

    def batch(
        self, jobs: Iterable[Mapping[str, object]], then: tuple[str, Mapping[str, object]] | None = None, tx: Transaction | None = None
    ) -> Receipts:
        """Write many jobs and, with `then`, one that begins when all are done, which comes last in the answer."""
        made = [self._made(each) for each in jobs]

        def write(own: Transaction) -> Receipts:
            found = self._insert_all(own, made)
            if then is not None:
                found += self._insert(own, [self.new_job(*then, after=[one.id for one in found])])
            return found

        return self._submit(tx, write)

    def enqueue(
        self, task: str, payload: Mapping[str, object], *, tx: UnitOfWork | None = None, delay_seconds: float = 0.0, unique: str | None = None
    ) -> int:
        """Serve the port of the same name; blocks."""
        made = self.new_job(task, payload, delay=delay_seconds, unique=unique)
        if tx is not None:
            return self._insert(cast("Transaction", tx), [made])[0].id
        with self.store.begin() as own:
            return self._insert(own, [made])[0].id

    def new_job(self, task: str, payload: Mapping[str, object] | msgspec.Struct | None = None, **given: object) -> NewJob:
        """Return a checked job that is not written yet; raise JobArgumentsError or JobError."""
        if not isinstance(task, str) or not 0 < len(task) <= MAX_NAME or not task.isprintable():
            raise JobError(f"a job cannot be named {str(task)[:MAX_NAME]!r}", hint="use a short name such as 'email:send'")
        asked = _asked(given)
        definition = self.registry.find(task, asked.queue)
        options = definition.options if definition is not None else Options()
        text = self._payload_text(task, payload, definition)
        unique_key, window = self._unique(task, text, asked, definition)
        template = asked.concurrency_key or options.concurrency_key
        if asked.key_limit is not None and template is None:
            raise JobError("key_limit says how many of a key, and `concurrency_key` is missing")
        tenant, context = _carried(asked)
        return NewJob(
            task=task,
            payload=text,
            queue=asked.queue or options.queue or DEFAULT_QUEUE,
            tenant=tenant,
            max_attempts=asked.max_attempts or options.max_attempts or self.settings.max_attempts,
            run_at=self._moment(asked.run_at, asked.delay),
            context=context,
            priority=options.priority if asked.priority is None else asked.priority,
            timeout_seconds=asked.timeout_seconds,
            unique_key=unique_key,
            unique_for=window,
            concurrency_key=key_of(template, msgspec.json.decode(text)) if template else None,
            key_limit=asked.key_limit or options.key_limit,
            tags=_checked_tags((*options.tags, *asked.tags)),
            after=tuple(dict.fromkeys(asked.after)),
        )

    def _made(self, each: Mapping[str, object]) -> NewJob:
        given = dict(each)
        return self.new_job(cast("str", given.pop("task", "")), cast("Mapping[str, object] | None", given.pop("payload", None)), **given)

    def _payload_text(self, task: str, payload: Mapping[str, object] | msgspec.Struct | None, definition: Definition | None) -> str:
        try:
            check_finite(payload)
            text = msgspec.json.encode({} if payload is None else payload)
        except (TypeError, ValueError, UnicodeEncodeError, RecursionError) as error:
            raise JobArgumentsError(f"the arguments of {task!r} are no JSON: {error}", field="payload") from None
        if not text.startswith(b"{"):
            raise JobArgumentsError(f"the arguments of {task!r} must have names, as in {{'to': …}}", field="payload")
        check_size(text.decode(), self.settings.max_payload_bytes, "payload")
        if definition is not None:
            definition.arguments.check(text)
        return text.decode()

    def _unique(self, task: str, text: str, asked: Asked, definition: Definition | None) -> tuple[str | None, float]:
        """Return the key of a job that must be the only one, and for how many seconds also when it is done."""
        options = definition.options if definition is not None else Options()
        unique, window = options.unique if asked.unique is None else asked.unique, _seconds(asked.unique_for or options.unique_for or 0)
        if not unique:
            if asked.unique_for:
                raise JobError("unique_for says for how long, and `unique` is missing", hint="add unique=True or a key")
            return None, 0.0
        return (digest(task, text, definition) if unique is True else f"{task}#{unique}"), window

    def _moment(self, run_at: datetime | None, delay: Seconds) -> datetime | None:
        if run_at is not None and run_at.tzinfo is None:
            raise JobError(f"run_at {run_at.isoformat()} has no time zone", hint="give an aware datetime")
        seconds = _seconds(delay)
        if run_at is None and seconds <= 0:
            return None
        return (run_at or self.engine.now()) + timedelta(seconds=max(0.0, seconds))

    def _submit(self, tx: Transaction | None, write: Callable[[Transaction], T]) -> T:
        if tx is not None:
            return write(tx)

        if running_loop() is not None and self.store.in_transaction:
            hint = "hand the transaction over: add_job(..., tx=tx)"
            raise JobError("a transaction is open here, and a job of its own would wait for it", code="job_in_transaction", hint=hint)

        def work() -> T:
            with self._there(), self.store.begin() as own:
                return write(own)

        return both(self.pool, work)

    @contextmanager
    def _there(self) -> Iterator[None]:
        try:
            yield
        except (self.store.driver_error, SQLAlchemyError) as error:
            if "rakiza_jobs" not in str(error) or not any(words in str(error) for words in ("no such table", "does not exist")):
                raise
            hint = "start the platform first, or run `rakiza db upgrade`"
            raise JobError("the tables of the queue are not there yet", code="job_tables", hint=hint) from error

    def _insert_all(self, tx: Transaction, jobs: Sequence[NewJob]) -> Receipts:
        return Receipts(one for start in range(0, len(jobs), BULK) for one in self._insert(tx, jobs[start : start + BULK]))

    def _insert(self, tx: Transaction, jobs: Sequence[NewJob]) -> Receipts:
        if tx.store is not self.store:
            raise JobError("the transaction is one of another database than the queue's", hint="open it with `platform.store.begin()`")
        found = Receipts(self.engine.insert(tx, jobs))
        if self.engine.inline:
            taken = [self.engine.claim_one(tx, INLINE, one.id) for one in found if not one.duplicate]
            tx.after_commit(lambda: self._run_all_inline([job for job in taken if job is not None]))
        return found

    def _run_all_inline(self, jobs: Sequence[Claimed]) -> None:
        for job in jobs:
            self.run_inline(job)

    def _fire(self, tx: Transaction, task: str, payload: Mapping[str, object], *, tenant: str, run_at: datetime, **options: Any) -> int:
        return self._insert(tx, [self.new_job(task, payload, tenant=tenant, run_at=run_at, **options)])[0].id

    # -- looking after jobs

    def get_job(self, job_id: int) -> JobView:
        """Return one job; blocks, or is awaited where an event loop runs. Raises NotFoundError."""
        return both(self.pool, lambda: self._view(job_id))

    def _view(self, job_id: int) -> JobView:
        columns = "id, task, queue, state, waits_for, attempt, max_attempts, priority, run_at, payload, result, progress, progress_text"
        return JobView(*self._columns(columns, job_id))

    def _columns(self, columns: str, job_id: int) -> tuple[Any, ...]:
        row = None
        if isinstance(job_id, int) and 0 < job_id < 2**63:
            with self.store.read() as tx:
                row = self.engine.row(tx, columns, job_id)
        if row is None:
            raise NotFoundError(f"there is no job {job_id}; it may have been pruned after it was done")
        return row

    def failures(self, job_id: int) -> list[Failure]:
        """Return why attempts of a job failed, the first one and the latest; blocks, or is awaited. Raises NotFoundError."""
        return both(self.pool, lambda: msgspec.convert(self._columns("errors", job_id)[0] or [], list[Failure]))

    def log_of(self, job_id: int) -> list[tuple[datetime, str, str]]:
        """Return the lines a job wrote: when, at which level, what; blocks, or is awaited."""
        return both(self.pool, lambda: self.engine.log_of(job_id))

    def wait(self, job_id: int, timeout_seconds: float = 30.0) -> object:
        """Wait until a job is done and return its result; blocks. Raises JobFailedError, TimeoutError, NotFoundError."""
        give_up = SYSTEM_CLOCK.monotonic() + timeout_seconds
        while True:
            seen = self.engine.bus.count("jobs")
            job = self._view(job_id)
            if job.state == DONE:
                return job.result
            if job.state in FINAL:
                raise JobFailedError(f"job {job_id} {job.task} is {job.state}")
            if (left := give_up - SYSTEM_CLOCK.monotonic()) <= 0:
                raise TimeoutError(f"job {job_id} {job.task} is {job.state} after {timeout_seconds:g} s")
            self.engine.bus.wait("jobs", seen, min(left, 0.05))

    def retry(self, job_id: int, payload: Mapping[str, object] | None = None) -> int:
        """Run a failed, cancelled or waiting job again, with other arguments if wanted; blocks, or is awaited. Raises JobStateError."""
        return self._act("retry", job_id, payload)

    def cancel(self, job_id: int) -> int:
        """Cancel a job; one that runs is asked to end. Blocks, or is awaited. Raises JobStateError, NotFoundError."""
        return self._act("cancel", job_id)

    def discard(self, job_id: int) -> int:
        """Give a failed job up for good; blocks, or is awaited. Raises JobStateError, NotFoundError."""
        return self._act("discard", job_id)

    def run_now(self, job_id: int) -> int:
        """Let a delayed job begin at once; blocks, or is awaited. Raises JobStateError, NotFoundError."""
        return self._act("run", job_id)

    def _act(self, action: str, job_id: int, payload: Mapping[str, object] | None = None) -> int:
        def work() -> int:
            job = self._view(job_id)
            text = None if payload is None else self._payload_text(job.task, payload, self.registry.find(job.task, job.queue))
            if not self.engine.act(action, [job_id], text):
                allowed = ", ".join(sorted(ACTIONS[action]))
                raise JobStateError(f"job {job_id} is {job.state}; {action} is for jobs that are {allowed}")
            return job_id

        return both(self.pool, work)

    def pause(self, queue: str) -> QueueRow:
        """Let no further job of a queue start, on any worker; blocks, or is awaited. Raises NotFoundError."""
        return self.scale(queue, paused=True)

    def resume(self, queue: str) -> QueueRow:
        """Let the jobs of a queue start again; blocks, or is awaited. Raises NotFoundError."""
        return self.scale(queue, paused=False)

    def scale(self, queue: str, **limits: object) -> QueueRow:
        """Set limits of a queue, none takes one away; blocks, or is awaited. Raises JobError, NotFoundError.

        `concurrency` per worker, `max_running` over all workers, `rate` starts per `rate_seconds`; of jobs with a concurrency key
        `per_key` at once and `key_rate` starts per `key_rate_seconds`.
        """
        checked = _limits(limits)

        def work() -> QueueRow:
            with self.store.begin() as tx:
                return self.engine.change_queue(tx, queue, **checked)

        return both(self.pool, work)

    def get_stats(self) -> dict[str, dict[str, int]]:
        """Return how many jobs of each queue are in each state; blocks, or is awaited where an event loop runs."""
        return both(self.pool, self.engine.counts)

    # -- life

    def worker(self, queues: Sequence[str] = (), concurrency: int | None = None) -> Worker:
        """Return a new worker, to be started, for some queues or for all."""
        worker = Worker(self.engine, self.registry, self.settings, self._execution, self.tally, queues=queues, concurrency=concurrency)
        self.workers.append(worker)
        return worker

    def _execution(self, concurrency: int, finish: Finish, wake: Callable[[], object]) -> Execution:
        backoff = Backoff(base=self.settings.backoff_seconds, cap=self.settings.backoff_max_seconds)
        largest = self.settings.max_payload_bytes
        return Execution(concurrency, backoff, largest, self.engine.now, finish, wake=wake, around=self._around, ctx=self._ctx)

    def open(self) -> None:
        """Take the time of the database and declare the schedules that were named before the start; raise ScheduleError, StoreError."""
        self.engine.sync_clock()
        self.opened, declarations, self.declarations = True, self.declarations, []
        for declare in declarations:
            declare()

    def start(self, queues: Sequence[str] = (), concurrency: int | None = None) -> Worker:
        """Begin to work on jobs in this process, as its one worker or one more of them; raise StoreError."""
        if self._owns_supervisor:
            self._supervisor.start()
        worker = self.worker(queues or self.settings.queues, concurrency)
        worker.start()
        self.schedules.start(self._supervisor)
        return worker

    def stop(self, grace_seconds: float | None = None) -> None:
        """Let the workers of this process end what they do, at most so many seconds, and give the rest back."""
        workers, self.workers = self.workers, []
        for worker in workers:
            worker.stop(grace_seconds)
        self.schedules.stop()

    def close(self) -> None:
        """Stop working, and end what runs in the background."""
        self.stop()
        if self._owns_supervisor:
            self._supervisor.stop()
            self.engine.bus.close()

    def drain(self, queue: str | None = None, timeout_seconds: float = 60.0) -> int:
        """Work in this process until nothing that is due is left, and return how many attempts that took; blocks. Raises TimeoutError."""
        before = sum(self.tally.totals.values())
        worker = self.worker((queue,) if queue else ())
        worker.start()
        give_up = SYSTEM_CLOCK.monotonic() + timeout_seconds
        try:
            while self.engine.due(queue):
                if SYSTEM_CLOCK.monotonic() > give_up:
                    raise TimeoutError(f"jobs are left after {timeout_seconds:g} s")
                self.engine.bus.wait("jobs", self.engine.bus.count("jobs"), 0.01)
        finally:
            worker.stop()
            self.workers.remove(worker)
        return sum(self.tally.totals.values()) - before

    def run_inline(self, job: Claimed) -> None:
        """Run one attempt at a job that was taken for it in this thread, with everything a worker does around it."""
        outcome: list[Settled] = []
        execution = self._execution(1, lambda run, settled, error: outcome.append(settled), lambda: None)
        definition, now = self.registry.find(job.task, job.queue), SYSTEM_CLOCK.monotonic()
        run: Run | None = None
        if definition is not None:
            timeout = job.timeout_seconds or definition.options.timeout_seconds or self.settings.timeout_seconds
            run = Run(job, definition, now, now + timeout, 0.0)
            execution.run_inline(run)
            execution.close()
        with self.store.begin() as tx:
            if run is not None and (said := run.running.said()) is not None:
                self.engine.note(tx, INLINE, [(run.running, said)])
            self.engine.settle(tx, INLINE, [(job, outcome[0] if outcome else unknown(job))])

    def forget(self) -> None:
        """Leave the workers, and what they did, to the parent of a fork."""
        for worker in self.workers:
            worker.forget()
        self.workers = []
        self.tally.forget()
        self.schedules.forget()

    def _tidy(self) -> None:
        self.engine.sync_clock()
        self.prune()
        self.engine.forget(self.engine.now() - timedelta(days=HISTORY_DAYS))

    def prune(self) -> int:
        """Delete finished jobs that were kept long enough, and return how many; blocks."""
        now = self.engine.now()
        return self.engine.prune(now - timedelta(hours=self.settings.keep_done_hours), now - timedelta(days=self.settings.keep_failed_days))


def _asked(given: Mapping[str, object]) -> Asked:
    try:
        asked = msgspec.convert(given, Asked)
    except msgspec.ValidationError as error:
        raise JobError(f"the options of the job do not fit: {error}", hint=f"options are {', '.join(Asked.__struct_fields__)}") from None
    for name in ("max_attempts", "timeout_seconds", "key_limit"):
        _positive(name, getattr(asked, name))
    if asked.priority is not None:
        check_priority(asked.priority)
    if asked.unique == "":
        raise JobError("a unique key is empty", hint="give a key, or unique=True for the arguments")
    if asked.queue is not None:
        check_queue(asked.queue)
    for name in ("concurrency_key", "tenant"):
        if (text := getattr(asked, name)) is not None and not 0 < len(text) <= MAX_NAME:
            raise JobError(f"{name} must have 1 to {MAX_NAME} characters, not {len(text)}")
        if text is not None and not text.isprintable():
            raise JobError(f"{name} {text!r} holds signs that cannot be seen")
    if (asked.max_attempts or 0) > MAX_ATTEMPTS:
        raise JobError(f"max_attempts must be at most {MAX_ATTEMPTS:,}")
    for name in ("delay", "unique_for", "timeout_seconds"):
        if not 0 <= _seconds(getattr(asked, name) or 0) <= LONGEST_SECONDS:
            raise JobError(f"{name} must be from 0 to {LONGEST_SECONDS:,} seconds")
    return asked


def _carried(asked: Asked) -> tuple[str, str | None]:
    context, scheduled_for = current(), asked.scheduled_for
    if context is None:
        carried = Carried(scheduled_for=scheduled_for)
        return asked.tenant or DEFAULT_TENANT, msgspec.json.encode(carried).decode() if scheduled_for else None
    who = context.principal
    carried = Carried(context.traceparent, context.request_id, who.id if who else None, who.name if who else None, scheduled_for)
    return asked.tenant or context.tenant, msgspec.json.encode(carried).decode()


def _seconds(value: Seconds) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _positive(name: str, value: N) -> N:
    if value is not None and (not isinstance(value, int | float) or value <= 0):
        raise JobError(f"{name} must be above 0, got {value!r}")
    return value


def _checked_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    unique = tuple(dict.fromkeys(tags))
    if len(unique) > MAX_TAGS or any(not isinstance(tag, str) or not tag or len(tag) > MAX_TAG for tag in unique):
        raise JobError(f"a job has at most {MAX_TAGS} tags of at most {MAX_TAG} characters")
    return unique


def _limits(limits: Mapping[str, object]) -> dict[str, object]:
    known = set(QueueRow.__struct_fields__) - {"name", "arrival"}
    if unknown := limits.keys() - known:
        raise JobError(f"a queue has no limit {unknown.pop()!r}", hint=f"the limits are {', '.join(sorted(known))}")
    for name, value in limits.items():
        if name != "paused":
            _positive(name, value)
    return dict(limits)

