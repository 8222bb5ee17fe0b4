"""What an operator sees of the queue, by SQL that stays fast with millions of jobs: pages, counts, one job, history."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Executable, RowMapping, Text, case, func, select
from sqlalchemy import cast as sql_cast

from rakiza._kernel import SYSTEM_CLOCK, Clock
from rakiza._kernel.tasks import after_fork
from rakiza.store import Store, Transaction

from ._core import SHOWN, Failure, failures, shown
from ._filters import CONDITIONS, JobFilter, Order, Place, beyond, cursor, fold, in_state, matching, order_of, place_of, sorting, words
from .tables import EDGE, JOB, LOG, QUEUE, TALLY, WORKER

WINDOW = 50_000
"""How many jobs one page looks at when no index answers the question."""
COUNT_SECONDS = 2.0
COUNT_SHARE = 20
"""Counts are kept for so many times what they took, so that counting costs at most a twentieth of a processor."""
MAX_ARGUMENTS = 200
MAX_NEIGHBOURS = 500
MAX_LINES = 500
_AS_TEXT = frozenset({"payload", "context", "result", "errors"})  # what the driver would make objects of
_ALL = tuple(sql_cast(column, Text).label(column.name) if column.name in _AS_TEXT else column for column in JOB.c)
_LINE = tuple(column for column in _ALL if column.name not in {"context", "result"})
Scrub = Callable[[object], object]


class JobLine(msgspec.Struct, kw_only=True):
    """Show one job in a list."""

    id: int
    task: str
    queue: str
    state: str
    reason: str | None
    priority: int
    tags: list[str]
    attempt: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    progress: int | None
    progress_text: str | None
    error: str | None
    args: str


class JobPage(msgspec.Struct):
    """Hold jobs and where the next page begins; `capped` when it ended because it had looked at many, not because there were no more."""

    jobs: list[JobLine]
    next: str | None
    total: int | None
    capped: bool


class LogLine(msgspec.Struct):
    """Show what a job wrote."""

    at: datetime
    level: str
    message: str


class JobDetail(JobLine, kw_only=True):
    """Show everything about one job."""

    payload: object
    context: object
    result: object
    errors: list[Failure]
    logs: list[LogLine]
    timeout_seconds: float | None
    unique_key: str | None
    concurrency_key: str | None
    key_limit: int | None
    before: list[int]
    after: list[int]
    cancel_requested: bool
    rescues: int
    traceparent: str | None


class QueueLine(msgspec.Struct, kw_only=True):
    """Show one queue."""

    name: str
    paused: bool = False
    concurrency: int | None = None
    max_running: int | None = None
    rate: int | None = None
    rate_seconds: float | None = None
    per_key: int | None = None
    key_rate: int | None = None
    key_rate_seconds: float | None = None
    ready: int = 0
    delayed: int = 0
    waiting: int = 0
    running: int = 0
    retry: int = 0
    failed: int = 0
    done: int = 0
    cancelled: int = 0
    oldest_seconds: float | None = None


class WorkerLine(msgspec.Struct, kw_only=True):
    """Show one worker."""

    id: str
    host: str
    pid: int
    queues: list[str]
    concurrency: int
    running: int
    started_at: datetime
    seen_at: datetime
    stopping: bool
    alive: bool


class JobStats(msgspec.Struct):
    """Show all queues and workers."""

    queues: list[QueueLine]
    workers: list[WorkerLine]
    totals: dict[str, int]
    unknown_tasks: list[str]


class Counts(msgspec.Struct):
    """Hold how many jobs of each queue are in each state, the moment the first in line is there since, and the tasks nobody knows."""

    queues: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    oldest: dict[str, datetime] = msgspec.field(default_factory=dict)
    unknown: list[str] = msgspec.field(default_factory=list)

    def of(self, state: str | None, queue: str = "") -> int:
        """Return how many there are in a state and a queue, in all of them when not said."""
        return sum(n for name, by in self.queues.items() if queue in {"", name} for one, n in by.items() if state in {None, one})


class Found(msgspec.Struct):
    """Hold rows, where they end, and whether they end because enough were looked at."""

    rows: Sequence[RowMapping]
    next: Place | None
    capped: bool


class Browser:
    """Look through the jobs of a store; what is shown of arguments, results and errors has passed `scrub`."""

    _counts: tuple[float, Counts] | None

    def __init__(
        self,
        store: Store,
        clock: Clock = SYSTEM_CLOCK,
        *,
        now: Callable[[], datetime] | None = None,
        lease_seconds: float = 15.0,
        scrub: Scrub = lambda value: value,
        window: int = WINDOW,
    ) -> None:
        """Keep what to look through; `now` is the time of the jobs, which on PostgreSQL is the database's."""
        self.store = store
        self._clock, self._now, self._lease, self._window = clock, now or clock.now, lease_seconds, window
        self.scrub = scrub
        self._restart()
        after_fork(self._restart)

    # -- lists

    def page(self, chosen: JobFilter, limit: int, after: str = "", *, tenant: str | None = None, open_payload: bool = True) -> JobPage:
        """Return a page of jobs; without `open_payload`, `q` does not find what is hidden in their arguments."""
        with self.store.read() as tx:
            found = self.find(tx, chosen, limit, place_of(after, order_of(chosen)), tenant=tenant)
        rows = found.rows if open_payload or not chosen.q else [row for row in found.rows if self._says(row, chosen)]
        total = self.counts().of(chosen.state, chosen.queue) if chosen.counted and tenant is None else None
        return JobPage([self.line(row) for row in rows], cursor(found.next), total, found.capped)

    def find(
        self,
        tx: Transaction,
        chosen: JobFilter,
        limit: int,
        after: Place | None = None,
        *,
        tenant: str | None = None,
        columns: Iterable[ColumnElement[Any]] = _LINE,
        newest: int | None = None,
    ) -> Found:
        """Return at most `limit` rows that follow a place, and look at no more than a window of them; leave out what came after the id `newest`.

        The job whose id is looked for comes first and on top, however far away it stands.
        """
        # `+ 0` keeps the planner from entering by the id, which would be every job there is.
        order, among = order_of(chosen), in_state(chosen) + ([JOB.c.id + 0 <= newest] if newest is not None else [])
        asked = matching(chosen, self.store.dialect, tenant)
        selected = select(*dict.fromkeys((*columns, *order.columns))).where(*among)
        end = self._end(tx, order, among, after) if asked else None
        within = ([beyond(order, after)] if after else []) + ([beyond(order, end, upto=True)] if end else [])
        first: list[RowMapping] = []
        if chosen.number is not None:
            if not after:
                others = matching(msgspec.structs.replace(chosen, q=""), self.store.dialect, tenant)
                first = list(tx.execute(selected.where(JOB.c.id == chosen.number, *others)).mappings())
            within.append(JOB.c.id != chosen.number)
        rows = list(tx.execute(selected.where(*within, *asked).order_by(*sorting(order)).limit(limit + 1)).mappings())
        if len(rows) > limit:
            return Found([*first, *rows[:limit]], tuple(rows[limit - 1][column] for column in order.columns), capped=False)
        return Found([*first, *rows], end, capped=end is not None)

    def _end(self, tx: Transaction, order: Order, among: list[ColumnElement[bool]], after: Place | None) -> Place | None:
        """Return the place where a window that begins after a place is full, none when there are fewer jobs."""
        within = [beyond(order, after)] if after else []
        statement = select(*order.columns).where(*among, *within).order_by(*sorting(order)).offset(self._window - 1).limit(1)
        row = tx.execute(statement).first()
        return tuple(row) if row else None

    def newest(self, tx: Transaction) -> int:
        """Return the id of the job that came last, 0 when there is none."""
        return int(tx.scalar(select(func.max(JOB.c.id))) or 0)

    def _says(self, row: RowMapping, chosen: JobFilter) -> bool:
        """Tell whether what is shown of a job holds what is looked for."""
        seen = [fold(text) for text in (row["task"], row["tags"] or "", _text(self.scrub(msgspec.json.decode(row["payload"]))))]
        return row["id"] == chosen.number or any(word in text for word in words(chosen.q) for text in seen)

    # -- jobs

    def line(self, row: RowMapping) -> JobLine:
        """Return a row as it is shown in a list."""
        args = _text(self.scrub(msgspec.json.decode(row["payload"])))
        failed = failures(row["errors"])
        return JobLine(
            **{name: row[name] for name in _PLAIN},
            state=shown(row["state"], row["waits_for"]),
            reason=row["waits_for"] if shown(row["state"], row["waits_for"]) == "waiting" else None,
            tags=msgspec.json.decode(row["tags"] or "[]"),
            error=str(self.scrub(failed[-1].message)) if failed else None,
            args=args if len(args) <= MAX_ARGUMENTS else args[: MAX_ARGUMENTS - 1] + "…",
        )

    def one(self, job_id: int, *, tenant: str | None = None, open_payload: bool = False) -> JobDetail | None:
        """Return everything about one job, its arguments as they are stored when `open_payload`; none when there is no such job."""
        mine = [JOB.c.id == job_id] + ([JOB.c.tenant_id == tenant] if tenant is not None else [])
        with self.store.read() as tx:
            row = tx.execute(select(*_ALL).where(*mine)).mappings().first()
            if row is None:
                return None
            logs = _rows(tx, select(LOG.c.at, LOG.c.level, LOG.c.message).where(LOG.c.job_id == job_id).order_by(LOG.c.id).limit(MAX_LINES))
            before = tx.execute(select(EDGE.c.before_id).where(EDGE.c.after_id == job_id).order_by(EDGE.c.before_id).limit(MAX_NEIGHBOURS))
            after = tx.execute(select(EDGE.c.after_id).where(EDGE.c.before_id == job_id).order_by(EDGE.c.after_id).limit(MAX_NEIGHBOURS))
            neighbours: dict[str, Any] = {"before": list(before.scalars()), "after": list(after.scalars())}
        payload, context = msgspec.json.decode(row["payload"]), msgspec.json.decode(row["context"] or "null")
        return JobDetail(
            **msgspec.structs.asdict(self.line(row)),
            **{name: row[name] for name in ("timeout_seconds", "unique_key", "concurrency_key", "key_limit", "cancel_requested", "rescues")},
            **neighbours,
            payload=payload if open_payload else self.scrub(payload),
            context=self.scrub(context),
            result=self.scrub(msgspec.json.decode(row["result"] or "null")),
            errors=[self._scrubbed(one) for one in failures(row["errors"])],
            logs=[LogLine(at, level, str(self.scrub(message))) for at, level, message in logs],
            traceparent=context.get("traceparent") if isinstance(context, dict) else None,
        )

    def _scrubbed(self, failure: Failure) -> Failure:
        return msgspec.structs.replace(failure, message=str(self.scrub(failure.message)), traceback=str(self.scrub(failure.traceback)))

    # -- counts

    def counts(self) -> Counts:
        """Return how many jobs there are, counted at most every two seconds and rarer when counting takes long."""
        with self._lock:
            start = self._clock.monotonic()
            if self._counts is None or start >= self._counts[0]:
                with self.store.read() as tx:
                    found = self._count(tx)
                now = self._clock.monotonic()
                self._counts = now + max(COUNT_SECONDS, COUNT_SHARE * (now - start)), found
            return self._counts[1]

    def _restart(self) -> None:
        self._lock, self._counts = threading.Lock(), None

    def forget(self) -> None:
        """Count anew next time: something was changed."""
        self._counts = None

    def _count(self, tx: Transaction) -> Counts:
        found = Counts()
        lines = select(JOB.c.queue, func.count(), func.min(JOB.c.run_at, type_=JOB.c.run_at.type)).where(CONDITIONS["ready"])
        for queue, number, oldest in _rows(tx, lines.group_by(JOB.c.queue)):
            found.queues[queue], found.oldest[queue] = {"ready": number}, oldest
        for queue, number in _rows(tx, select(JOB.c.queue, func.count()).where(CONDITIONS["running"]).group_by(JOB.c.queue)):
            found.queues.setdefault(queue, {})["running"] = number
        known = {*found.queues, *tx.execute(select(QUEUE.c.name)).scalars()}
        for state in SHOWN:
            if state not in {"ready", "running"}:
                for queue, number in _by_queue(tx, CONDITIONS[state], known):
                    found.queues.setdefault(queue, {})[state] = number
                known |= set(found.queues)
        unknown = select(JOB.c.task).where(JOB.c.waits_for == "handler", JOB.c.waits_for.is_not(None)).limit(self._window).subquery()
        found.unknown = sorted(tx.execute(select(unknown.c.task).distinct()).scalars())
        return found

    def stats(self) -> JobStats:
        """Return all queues and workers."""
        counts, now = self.counts(), self._now()
        with self.store.read() as tx:
            settings = {row["name"]: row for row in tx.execute(select(QUEUE)).mappings()}
            workers = list(tx.execute(select(WORKER).order_by(WORKER.c.started_at, WORKER.c.id)).mappings())
        queues = [self._queue(name, counts, settings.get(name), now) for name in sorted({*settings, *counts.queues})]
        return JobStats(queues, [self._worker(row, now) for row in workers], {state: counts.of(state) for state in SHOWN}, counts.unknown)

    def queue(self, name: str) -> QueueLine:
        """Return one queue, an empty one when nobody has used it."""
        with self.store.read() as tx:
            row = tx.execute(select(QUEUE).where(QUEUE.c.name == name)).mappings().first()
        return self._queue(name, self.counts(), row, self._now())

    def _queue(self, name: str, counts: Counts, row: RowMapping | None, now: datetime) -> QueueLine:
        known: dict[str, Any] = {field: row[field] for field in ("paused", *LIMITS)} if row is not None else {}
        numbers: dict[str, Any] = counts.queues.get(name, {})
        oldest = counts.oldest.get(name)
        age = max(0.0, round((now - oldest).total_seconds(), 3)) if oldest is not None else None
        return QueueLine(name=name, **known, **numbers, oldest_seconds=age)

    def _worker(self, row: RowMapping, now: datetime) -> WorkerLine:
        alive = now - row["seen_at"] < timedelta(seconds=self._lease)
        plain = {name: row[name] for name in ("id", "host", "pid", "concurrency", "running", "started_at", "seen_at", "stopping")}
        return WorkerLine(**plain, queues=msgspec.json.decode(row["queues"]), alive=alive)

    # -- history

    def history(self, minutes: int, queue: str = "", task: str = "") -> dict[str, object]:
        """Return what happened in each step of the last minutes; averages are none where nothing ran."""
        step = next(step for most, step in STEPS if minutes <= most or most == STEPS[-1][0])
        points, last = max(1, minutes // step), int(self._now().timestamp() // 60) // step
        slot = (TALLY.c.minute // step).label("slot")
        sums = [func.sum(TALLY.c[name]) for name in TALLIED]
        chosen = [column == value for column, value in ((TALLY.c.queue, queue), (TALLY.c.task, task)) if value]
        statement = select(slot, *sums).where(TALLY.c.minute >= (last - points + 1) * step, *chosen).group_by(slot)
        with self.store.read() as tx:
            found = {int(row[0]): dict(zip(TALLIED, map(int, row[1:]), strict=True)) for row in _rows(tx, statement)}
        return _charts(found, range(last - points + 1, last + 1), step * 60)


LIMITS = ("concurrency", "max_running", "rate", "rate_seconds", "per_key", "key_rate", "key_rate_seconds")
STEPS = ((120, 1), (2_880, 15), (20_160, 120))
"""Up to so many minutes of history, in steps of so many."""
TALLIED = ("done", "failed", "retried", "cancelled", "run_ms", "wait_ms")
_PLAIN = (
    *("id", "task", "queue", "priority", "attempt", "max_attempts", "run_at", "created_at", "started_at", "finished_at"),
    *("worker", "progress", "progress_text"),
)


def _charts(found: Mapping[int, Mapping[str, int]], slots: range, seconds: int) -> dict[str, object]:
    seen = [found.get(slot, {}) for slot in slots]
    ran = [sum(one.get(name, 0) for name in ("done", "failed", "retried")) for one in seen]
    counts = {name: [one.get(name, 0) for one in seen] for name in TALLIED[:4]}
    means = {f"{name}_avg": [round(one[name] / n, 1) if n else None for one, n in zip(seen, ran, strict=True)] for name in TALLIED[4:]}
    return {"step_seconds": seconds, "at": [slot * seconds for slot in slots], **counts, **means}


def _by_queue(tx: Transaction, condition: ColumnElement[bool], known: Iterable[str]) -> list[tuple[str, int]]:
    """Count by queue in one pass without sorting, for the index is not in the order of queues; sort only when there are queues nobody knew."""
    names = sorted(known)[:MAX_KNOWN]
    counters = [func.count(case((JOB.c.queue == name, 1))) for name in names]
    counted = _rows(tx, select(func.count(), *counters).where(condition))[0]
    if counted[0] == sum(counted[1:]):
        return [(name, number) for name, number in zip(names, counted[1:], strict=True) if number]
    return [(queue, number) for queue, number in _rows(tx, select(JOB.c.queue, func.count()).where(condition).group_by(JOB.c.queue))]


def _rows(tx: Transaction, statement: Executable) -> list[Any]:
    return list(tx.execute(statement))


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


MAX_KNOWN = 20
"""More counters than these cost more than sorting."""
