"""The life of a job as a pure state machine, and the decisions about it: no clock, no I/O."""

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Literal, NamedTuple

import msgspec

from rakiza._kernel import describe, draw

from .errors import LONGEST_SECONDS, Cancel, JobCancelled, JobError, JobTimeout, Retry, Snooze

READY, RUNNING, RETRY, DONE, FAILED, CANCELLED = "ready", "running", "retry", "done", "failed", "cancelled"
STATES = (READY, RUNNING, RETRY, DONE, FAILED, CANCELLED)
SHOWN = (READY, "delayed", "waiting", RUNNING, RETRY, FAILED, DONE, CANCELLED)
FINAL = frozenset({DONE, FAILED, CANCELLED})
TIME, KEY, JOBS, HANDLER = "time", "key", "jobs", "handler"
"""What a job that is not in line waits for: its moment, its concurrency key, other jobs, a worker that knows it."""
MAX_ERRORS = 10
MAX_RESCUES = 3
MAX_TEXT = 2_000
MAX_TRACEBACK = 8_000
MAX_PRIORITY = 32_767
ACTIONS: Mapping[str, frozenset[str]] = {
    "retry": frozenset({FAILED, CANCELLED, RETRY}),
    "cancel": frozenset({READY, RETRY, RUNNING}),
    "discard": frozenset({FAILED, RETRY}),
    "run": frozenset({READY, RETRY}),
}
"""What a person may do, and in which states: `run` is for a job that waits for its moment."""


class Failure(msgspec.Struct, frozen=True):
    """Record why an attempt ended without success."""

    at: str
    attempt: int
    type: str
    message: str
    traceback: str = ""


class NewJob(msgspec.Struct, kw_only=True):
    """Hold a job that is to be written; `payload` is JSON text."""

    task: str
    payload: str
    queue: str
    tenant: str
    max_attempts: int
    run_at: datetime | None = None
    """None means now."""
    context: str | None = None
    priority: int = 0
    timeout_seconds: float | None = None
    unique_key: str | None = None
    unique_for: float = 0.0
    concurrency_key: str | None = None
    key_limit: int | None = None
    tags: tuple[str, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def tags_text(self) -> str | None:
        """Return the tags as JSON text, none without tags."""
        return msgspec.json.encode(self.tags).decode() if self.tags else None


class Enqueued(msgspec.Struct):
    """Tell which job it is now; `duplicate` when one of the same unique key was there already. It may be awaited, as where a loop runs."""

    id: int
    duplicate: bool = False

    def __await__(self) -> Generator[None, None, "Enqueued"]:
        """Return itself."""
        yield from ()
        return self


class Receipts(list[Enqueued]):
    """Tell of several jobs which they are now; it may be awaited, as where a loop runs."""

    def __await__(self) -> Generator[None, None, "Receipts"]:
        """Return itself."""
        yield from ()
        return self


class Claimed(NamedTuple):
    """Hold a job a worker has taken; `attempt` counts this one."""

    id: int
    tenant: str
    queue: str
    task: str
    payload: str
    context: str | None
    priority: int
    run_at: datetime
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    rescues: int
    concurrency_key: str | None
    key_limit: int | None
    paced: bool
    tags: str | None
    errors: str | None

    @property
    def order(self) -> tuple[int, datetime, int]:
        """Return what the line is ordered by."""
        return self.priority, self.run_at, self.id


class Settled(NamedTuple):
    """Say what becomes of a running job."""

    state: str
    run_at: datetime
    waits_for: str | None
    attempt: int
    rescues: int
    finished_at: datetime | None
    result: str | None
    errors: str | None


class Backoff(msgspec.Struct, frozen=True):
    """Draw the pause before the next attempt from 0 to `base * factor ** (attempt - 1)` seconds, at most `cap` (full jitter).

    Source: M. Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015. `jitter=False` takes the upper bound.
    """

    base: float = 2.0
    factor: float = 2.0
    cap: float = 600.0
    jitter: bool = True

    def seconds(self, attempt: int, draw: Callable[[], float] = draw) -> float:
        """Return the pause after the failed attempt of that number, from 1."""
        bound = min(self.cap, self.base * self.factor ** min(max(attempt - 1, 0), 64))
        return bound * draw() if self.jitter else bound


class Written(NamedTuple):
    """Tell what became of a job in the database, and whether others wait for it."""

    id: int
    state: str
    followed: bool


def done(job: Claimed, now: datetime, result: str | None) -> Settled:
    """Settle a job whose handler returned."""
    return Settled(DONE, job.run_at, None, job.attempt, job.rescues, now, result, job.errors)


def ended(job: Claimed, now: datetime, error: BaseException, backoff: Backoff, traceback: str = "") -> Settled:
    """Settle a job whose handler raised: another attempt, a pause, the end."""
    if isinstance(error, Cancel | JobCancelled):
        return _final(job, now, CANCELLED, _with(job, now, error, traceback))
    hint = getattr(error, "retry_after_seconds", None)
    if isinstance(error, Snooze) or (isinstance(hint, int | float) and hint == hint and not isinstance(error, Retry)):  # noqa: PLR0124 - not a number
        pause = error.after if isinstance(error, Snooze) else max(1.0, float(hint or 0))
        errors = job.errors if isinstance(error, Snooze) else _with(job, now, error, traceback)
        return _later(job, now, READY if not errors else RETRY, pause, errors, counts=False)
    return failed(job, now, error, backoff, traceback)


def failed(job: Claimed, now: datetime, error: BaseException, backoff: Backoff, traceback: str = "") -> Settled:
    """Settle a job after a failed attempt: it waits for the next one, or has failed for good."""
    errors = _with(job, now, error, traceback)
    if job.attempt >= job.max_attempts:
        return _final(job, now, FAILED, errors)
    asked = error.after if isinstance(error, Retry) else None
    return _later(job, now, RETRY, backoff.seconds(job.attempt) if asked is None else asked, errors)


def returned(job: Claimed) -> Settled:
    """Give a job back that a worker could not finish before its stop; it counts as no attempt and keeps its place."""
    return Settled(RETRY if job.errors else READY, job.run_at, None, job.attempt - 1, job.rescues, None, None, job.errors)


def stopped(to: Settled, now: datetime) -> Settled:
    """Cancel a job that goes on although somebody cancelled it while it ran."""
    return to if to.state in FINAL else to._replace(state=CANCELLED, waits_for=None, finished_at=now)


def unknown(job: Claimed) -> Settled:
    """Put a job aside that this worker does not know, until one that knows it comes."""
    return returned(job)._replace(waits_for=HANDLER)


def rescued(job: Claimed, now: datetime, worker: str) -> Settled:
    """Settle a job whose worker died: another attempt at once, failed when it was the last or when the job killed three workers."""
    job, error = job._replace(rescues=job.rescues + 1), WorkerDied(f"worker {worker} died at work on it")
    errors = _with(job, now, error, "")
    if job.attempt >= job.max_attempts or job.rescues >= MAX_RESCUES:
        return _final(job, now, FAILED, errors)
    return Settled(RETRY, job.run_at, None, job.attempt, job.rescues, None, None, errors)


class WorkerDied(Exception):  # noqa: N818 - named after what happened
    """Say that the process that worked on a job ended without a word."""


def _final(job: Claimed, now: datetime, state: str, errors: str) -> Settled:
    return Settled(state, job.run_at, None, job.attempt, job.rescues, now, None, errors)


def _later(job: Claimed, now: datetime, state: str, pause: float, errors: str | None, *, counts: bool = True) -> Settled:
    run_at = now + timedelta(seconds=min(max(0.0, pause), LONGEST_SECONDS))
    return Settled(state, run_at, TIME if run_at > now else None, job.attempt - (not counts), job.rescues, None, None, errors)


def _with(job: Claimed, now: datetime, error: BaseException, traceback: str) -> str:
    """Return the job's failures with one more, at most ten, the first one kept."""
    kept = failures(job.errors)
    message = clean(describe(error))[:MAX_TEXT] or ("it took longer than it may" if isinstance(error, JobTimeout) else "")
    kept.append(Failure(now.isoformat(), job.attempt, type(error).__name__, message, clean(traceback)[-MAX_TRACEBACK:]))
    if len(kept) > MAX_ERRORS:
        kept = [kept[0], *kept[len(kept) - MAX_ERRORS + 1 :]]
    return msgspec.json.encode(kept).decode()


def clean(text: str) -> str:
    """Return text every database can hold: without NUL, half surrogate pairs replaced."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def failures(text: str | None) -> list[Failure]:
    """Return the failures a job's row holds."""
    return msgspec.json.decode(text, type=list[Failure]) if text else []


class Line(msgspec.Struct):
    """Say of one queue how many of its jobs a worker may take now."""

    name: str
    room: int
    per_key: int | None = None
    key_rate: int | None = None
    key_rate_seconds: float | None = None


class Choice(NamedTuple):
    """Divide candidates into those to take, those to hold for their key, and those to leave for now."""

    taken: list[Claimed]
    held: list[Claimed]
    left: list[Claimed]


def choose(candidates: Iterable[Claimed], lines: Mapping[str, Line], free: int, running: Mapping[str, int], busy: frozenset[str]) -> Choice:
    """Take candidates by priority, then time, then id, within the room of each queue and the limit of each key.

    `running` counts the jobs at work of each key; the keys in `busy` are being counted by another worker right now.
    """
    counts, room, choice = dict(running), {name: line.room for name, line in lines.items()}, Choice([], [], [])
    for job in sorted(candidates, key=lambda job: job.order):
        key = job.concurrency_key
        if len(choice.taken) >= free or room[job.queue] <= 0 or key in busy:
            choice.left.append(job)
            continue
        if key is not None:
            if counts.get(key, 0) >= (job.key_limit or lines[job.queue].per_key or 1):
                choice.held.append(job)
                continue
            counts[key] = counts.get(key, 0) + 1
        room[job.queue] -= 1
        choice.taken.append(job)
    return choice


def certain(choice: Choice, found: Iterable[Claimed]) -> list[Claimed]:
    """Return what was taken and nothing comes before: behind the last job that was seen of a queue with held ones there may be more."""
    last = {job.queue: job.order for job in sorted(found, key=lambda job: job.order)}
    end = min((last[job.queue] for job in choice.held), default=None)
    return choice.taken if end is None else [job for job in choice.taken if job.order <= end]


def allowance(now: datetime, arrival: datetime | None, rate: int, seconds: float, wanted: int) -> tuple[int, datetime]:
    """Return how many of `wanted` starts a rate of `rate` per `seconds` allows now, and the arrival time to keep (GCRA, ITU-T I.371)."""
    step, full = timedelta(seconds=seconds / rate), now + timedelta(seconds=seconds)
    if arrival is None or not now <= arrival <= full:  # beyond that it was written by a clock that has jumped back since, or for another rate
        arrival = now
    allowed = max(0, min(wanted, int((full - arrival) / step + 1e-9)))
    return allowed, arrival + step * allowed


def pace(
    now: datetime, jobs: Iterable[Claimed], lines: Mapping[str, Line], arrivals: dict[tuple[str, str], datetime]
) -> tuple[list[Claimed], list[tuple[Claimed, datetime]]]:
    """Divide jobs into those that may start and those whose key has started often enough, each with a moment of its own.

    A job that has its moment is paid for, so it is put off once at most. `arrivals` are moved on (GCRA, ITU-T I.371).
    """
    start, later = [], []
    for job in jobs:
        line, key = lines[job.queue], (job.queue, job.concurrency_key or "")
        if job.concurrency_key is None or line.key_rate is None or job.paced:
            start.append(job)
            continue
        seconds = line.key_rate_seconds or 1.0
        step, arrival = timedelta(seconds=seconds / line.key_rate), max(arrivals.get(key, now), now)
        moment = arrival + step - timedelta(seconds=seconds)
        arrivals[key] = arrival + step
        if moment <= now:
            start.append(job)
        else:
            later.append((job, moment))
    return start, later


def shown(state: str, waits_for: str | None) -> str:
    """Return the state people are shown: whatever is in line is ready, also for another attempt."""
    if state in FINAL or state == RUNNING:
        return state
    if waits_for == TIME:
        return "delayed" if state == READY else RETRY
    return READY if waits_for is None else "waiting"


Size = Literal["payload", "result"]


def check_size(text: str, limit: int, what: Size) -> None:
    """Raise JobError for a text that is longer than `limit` bytes as UTF-8."""
    size = len(text.encode())
    if size > limit:
        hint = "keep the data in a table or a file and pass its id" if what == "payload" else "keep the result in a table or a file and return its id"
        raise JobError(f"the {what} is {size:,} bytes long, at most {limit:,} are allowed", code="job_too_large", hint=hint)


def check_finite(value: object) -> None:
    """Raise ValueError for a float in dicts and lists that JSON has no number for."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    if isinstance(value, Mapping):
        for each in value.values():
            check_finite(each)
    elif isinstance(value, list | tuple):
        for each in value:
            check_finite(each)


def check_priority(priority: int) -> None:
    """Raise JobError for a priority that is none: 0 comes first."""
    if not 0 <= priority <= MAX_PRIORITY:
        raise JobError(f"priority {priority} is not between 0 (first) and {MAX_PRIORITY}")
