"""The one scheduler: durable schedules, each firing a job written in the transaction that moves the schedule on.

One process leads by a lease and fires; the others only look whether it still does. That saves work and nothing depends on it:
a firing counts only if the schedule still stands where it was read, so two leaders cannot fire one twice.
"""

import hashlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ColumnElement

from rakiza._kernel import DEFAULT_TENANT, SYSTEM_CLOCK, Repeating, Supervisor, describe, span_id
from rakiza.bus import Bus, Listener
from rakiza.store import Store, StoreError, Transaction

from . import _wording
from ._core import clean, shown
from ._engine import CONTROL
from ._triggers import CRON, INTERVAL, MISSED, ONCE, Trigger, due, first, next_times, trigger
from .errors import ScheduleError, ScheduleNotFoundError
from .tables import JOB, LEASE, SCHEDULE

SCHEDULER = "scheduler"
PERIOD_SECONDS = 1.0
MAX_FIRINGS = 100
MAX_NAME, MAX_ERROR = 200, 1_000
OPTIONS = frozenset({"queue", "priority", "max_attempts", "timeout_seconds", "tags", "concurrency_key", "key_limit"})
log = logging.getLogger("rakiza.jobs")
_row, _lease = SCHEDULE.c, LEASE.c
_encode: Callable[[object], bytes] = msgspec.json.Encoder(order="sorted").encode


class Enqueue(Protocol):
    """Write one job in a transaction and return its id."""

    def __call__(self, tx: Transaction, task: str, payload: Mapping[str, object], *, tenant: str, run_at: datetime, **options: Any) -> int:
        """Raise an error for a job that cannot be; nothing is written then."""
        ...


Check = Callable[[str, Mapping[str, object], Mapping[str, object]], object]
"""Raise an error for a task, a payload and options that make no job."""


class ScheduleView(msgspec.Struct):
    """Show one schedule as it is now; a paused one has no next firings."""

    name: str
    kind: str
    expression: str
    timezone: str
    task: str
    payload: dict[str, object]
    options: dict[str, object]
    queue: str | None
    missed: str
    enabled: bool
    next_at: datetime | None
    last_at: datetime | None
    last_job_id: int | None
    last_state: str | None
    error: str | None
    edited: bool
    declared: bool
    next: list[datetime]
    text_en: str
    text_ar: str


class _Row(NamedTuple):
    tenant_id: str
    name: str
    kind: str
    expression: str
    timezone: str
    task: str
    payload: str
    options: str
    missed: str
    enabled: bool
    next_at: datetime | None
    last_at: datetime | None
    last_job_id: int | None
    error: str | None
    declared: str | None
    edited: bool
    created_at: datetime
    updated_at: datetime

    @property
    def timing(self) -> tuple[str, str, str]:
        return self.kind, self.expression, self.timezone

    @property
    def trigger(self) -> Trigger:
        return trigger(*self.timing, self.created_at)

    def here(self) -> tuple[ColumnElement[bool], ...]:
        return (_row.tenant_id == self.tenant_id, _row.name == self.name)


class _LostError(Exception):
    """Say that a schedule does not stand any more where it was read."""


class Schedules:
    """Keep schedules, and fire them while this process leads."""

    def __init__(self, store: Store, bus: Bus, now: Callable[[], datetime], enqueue: Enqueue, *, check: Check, lease_seconds: float = 15.0) -> None:
        self._store, self._bus, self._now, self._enqueue, self._check = store, bus, now, enqueue, check
        self._lease_time = timedelta(seconds=lease_seconds)
        self._task: Repeating | None = None
        self._listener: Listener | None = None
        self._closing = False
        self.forget()

    def forget(self) -> None:
        """Be somebody else in a forked child."""
        self.me = f"{socket.gethostname()}:{os.getpid()}:{span_id()[:8]}"
        self._held_until: datetime | None = None
        self._lock = threading.Lock()

    # -- what code says

    def declare(
        self,
        name: str,
        task: str,
        payload: Mapping[str, object] | None = None,
        *,
        cron: str | None = None,
        every: float | timedelta | str | None = None,
        at: datetime | None = None,
        timezone: str = "UTC",
        missed: str = "once",
        **options: object,
    ) -> None:
        """Let a job be enqueued by `cron`, `every` so many seconds or `at` one moment; said again at each start, it changes nothing.

        What a person edited stays until the declaration itself changes. Options are those of a job. Raises ScheduleError and JobArgumentsError.
        """
        kind, expression = _timing(cron, every, at)
        given = {"kind": kind, "expression": expression, "timezone": timezone, "task": task, "missed": missed}
        given |= {"payload": _encode(payload or {}).decode(), "options": _encode(options).decode()}
        self._check_all(name, given, payload or {}, options)
        with self._store.read() as tx:
            known = tx.scalar(select(_row.declared).where(*_named(name)))
        if known != _digest(given):
            with self._store.begin() as tx:
                if not self._add(tx, name, given):
                    self._redeclare(tx, self._find(tx, name), given)

    def _check_all(self, name: str, given: Mapping[str, str], payload: Mapping[str, object], options: Mapping[str, object]) -> None:
        if not name or len(name) > MAX_NAME or not name.isprintable() or "/" in name:
            raise ScheduleError(f"a schedule cannot be named {name!r}", hint="use a short name without a slash such as 'nightly-summary'")
        if unknown := options.keys() - OPTIONS:
            raise ScheduleError(f"a schedule has no option {min(unknown)!r}", hint=f"the options are {', '.join(sorted(OPTIONS))}")
        _check_missed(given["missed"])
        trigger(given["kind"], given["expression"], given["timezone"], self._now())
        self._check(given["task"], payload, options)

    def _add(self, tx: Transaction, name: str, given: Mapping[str, str]) -> bool:
        """Write a new schedule; false when there is one of that name."""
        if tx.scalar(select(func.count()).select_from(SCHEDULE).where(*_named(name))):
            return False
        now = self._now()
        found = first(trigger(given["kind"], given["expression"], given["timezone"], now), now)
        if found is None:
            log.warning("the schedule %s is declared after its moment (%s) and does not fire", name, given["expression"])
        try:
            with tx.savepoint():
                states = {"enabled": True, "edited": False, "next_at": found, "created_at": now, "updated_at": now}
                tx.execute(insert(SCHEDULE).values(tenant_id=DEFAULT_TENANT, name=name, declared=_digest(given), **states, **given))
        except IntegrityError:  # another process was faster
            return False
        self._bus.announce(CONTROL, tx)
        return True

    def _redeclare(self, tx: Transaction, row: _Row, given: Mapping[str, str]) -> None:
        if row.declared != (digest := _digest(given)):
            self._change(tx, row, {**given, "declared": digest, "edited": False})

    def unschedule(self, name: str) -> None:
        """Take a schedule away; its jobs stay. Raise ScheduleNotFoundError."""
        with self._store.begin() as tx:
            tx.execute(delete(SCHEDULE).where(*self._find(tx, name).here()))
            self._bus.announce(CONTROL, tx)

    # -- what people do

    def pause(self, name: str) -> ScheduleView:
        """Let a schedule fire no more until it is resumed; raise ScheduleNotFoundError."""
        return self._edit(name, {"enabled": False})

    def resume(self, name: str) -> ScheduleView:
        """Let a schedule fire again from now on: what lay in the pause was not missed. Raise ScheduleNotFoundError."""
        return self._edit(name, {"enabled": True})

    def edit(
        self, name: str, kind: str, expression: str, timezone: str, *,
        payload: Mapping[str, object] | None = None, missed: str | None = None, enabled: bool | None = None,
    ) -> ScheduleView:  # fmt: skip
        """Change when, and with what, a schedule fires; raise ScheduleError, JobArgumentsError or ScheduleNotFoundError."""
        row = self._read(name)
        changes: dict[str, object] = {"kind": kind, "expression": expression, "timezone": timezone, "edited": True}
        if payload is not None:
            self._check(row.task, payload, msgspec.json.decode(row.options))
            changes["payload"] = _encode(payload).decode()
        if missed is not None:
            changes["missed"] = _check_missed(missed)
        if enabled is not None:
            changes["enabled"] = enabled
        if first(trigger(kind, expression, timezone, row.created_at), self._now()) is None and (kind, expression, timezone) != row.timing:
            raise ScheduleError(f"{expression} lies in the past", hint="give a moment that is still to come")
        return self._edit(name, changes)

    def _edit(self, name: str, changes: Mapping[str, Any]) -> ScheduleView:
        with self._store.begin() as tx:
            self._change(tx, self._find(tx, name), changes)
        return self.get(name)

    def _change(self, tx: Transaction, row: _Row, changes: Mapping[str, Any]) -> None:
        """Change a schedule; its next firing is worked out anew only where that is another one, so that none is lost."""
        now, new = self._now(), row._replace(**changes)
        moved = new.timing != row.timing or (new.enabled and not row.enabled)
        values = {**changes, **({"next_at": first(new.trigger, now)} if moved else {}), "error": None, "updated_at": now}
        tx.execute(update(SCHEDULE).where(*row.here()).values(values))
        self._bus.announce(CONTROL, tx)

    def run_now(self, name: str) -> int:
        """Enqueue the job of a schedule at once, whenever it fires next, and return its id; raise ScheduleNotFoundError."""
        with self._store.begin() as tx:
            row, now = self._find(tx, name), self._now()
            job_id = self._fire(tx, row, now, now)
            tx.execute(update(SCHEDULE).where(*row.here()).values(last_at=now, last_job_id=job_id))
        return job_id

    # -- looks

    def all(self) -> list[ScheduleView]:
        """Return every schedule by name, with its next five firings."""
        return self._views()

    def get(self, name: str) -> ScheduleView:
        """Return one schedule; raise ScheduleNotFoundError."""
        found = self._views(*_named(name))
        if not found:
            raise _missing(name)
        return found[0]

    def preview(self, kind: str, expression: str, timezone: str) -> tuple[list[datetime], str, str]:
        """Return the next five firings and the schedule in words, English and Arabic; raise ScheduleError."""
        found = next_times(kind, expression, timezone, self._now())
        if not found:
            raise ScheduleError(f"{expression} lies in the past", hint="give a moment that is still to come")
        return found, *_wording.describe(kind, expression, timezone)

    def leader(self) -> str | None:
        """Return who fires the schedules now, none when nobody does."""
        with self._store.read() as tx:
            held = _held(tx)
        return held.owner if held is not None and self._lasts(held.until, self._now()) else None

    def _views(self, *where: ColumnElement[bool]) -> list[ScheduleView]:
        both = SCHEDULE.outerjoin(JOB, JOB.c.id == _row.last_job_id)
        wanted = select(*SCHEDULE.c, JOB.c.state, JOB.c.waits_for).select_from(both).where(*where).order_by(_row.tenant_id, _row.name)
        with self._store.read() as tx:
            found: list[list[Any]] = [list(row) for row in tx.execute(wanted)]
        return [_view(_Row._make(row[:-2]), shown(row[-2], row[-1]) if row[-2] is not None else None) for row in found]

    def _find(self, tx: Transaction, name: str) -> _Row:
        held = select(SCHEDULE).where(*_named(name))
        found = tx.execute(held.with_for_update() if tx.writing else held).one_or_none()
        if found is None:
            raise _missing(name)
        return _Row._make(found)

    def _read(self, name: str) -> _Row:
        with self._store.read() as tx:
            return self._find(tx, name)

    # -- firing

    def start(self, supervisor: Supervisor) -> None:
        """Begin to fire, or to stand by, in the background."""
        self._closing = False
        if self._task is None:
            self._task = supervisor.every("jobs-schedules", PERIOD_SECONDS, self.run, writes=True)
            self._listener = self._bus.on(CONTROL, self._task.wake)

    def stop(self) -> None:
        """Fire no more and let another process lead."""
        with self._lock:
            self._closing, held, self._held_until = True, self._held_until, None
        if held is not None:
            with suppress(StoreError), self._store.begin() as tx:
                tx.execute(delete(LEASE).where(_lease.name == SCHEDULER, _lease.owner == self.me))

    def run(self) -> None:
        """Fire what is due, and what becomes due before the next look, each at its moment."""
        until, pause = SYSTEM_CLOCK.monotonic() + PERIOD_SECONDS, 0.0
        while not (self._task is not None and self._task.rests) and self._leads(now := self._now()) and (nearest := self._nearest()) is not None:
            pause = (nearest - now).total_seconds()
            if pause > until - SYSTEM_CLOCK.monotonic() or (pause <= 0 and not self._fire_due(now)):
                return
            if pause > 0 and self._task is not None and self._task.stop.wait(pause):
                return

    def tick(self) -> int:
        """Fire what is due if this process leads, at most a hundred jobs in one transaction; return how many schedules moved on."""
        now = self._now()
        return self._fire_due(now) if self._leads(now) else 0

    def _nearest(self) -> datetime | None:
        with self._store.read() as tx:
            found: datetime | None = tx.scalar(select(func.min(_row.next_at)).where(_row.enabled))
        return found

    def _fire_due(self, now: datetime) -> int:
        wanted = select(SCHEDULE).where(_row.enabled, _row.next_at <= now).order_by(_row.next_at, _row.name).limit(MAX_FIRINGS)
        with self._store.begin() as tx:
            # Rows that a leader of before, stopped in the middle, still holds must not hold up the others.
            rows = [_Row._make(row) for row in tx.execute(wanted.with_for_update(skip_locked=True))]
            return sum(self._advance(tx, row, now, MAX_FIRINGS // len(rows)) for row in rows)

    def _advance(self, tx: Transaction, row: _Row, now: datetime, most: int) -> bool:
        """Fire one schedule and move it on, or keep why it cannot; tell whether it moved."""
        try:
            with tx.savepoint():
                slots, following = due(row.trigger, row.next_at or now, now, row.missed, most)
                jobs = [self._fire(tx, row, slot, now, unique=f"schedule|{row.name}|{slot.isoformat()}") for slot in slots]
                fired = {"last_at": slots[-1], "last_job_id": jobs[-1]} if slots else {}
                self._move(tx, row, next_at=following, error=None, **fired)
        except _LostError:
            return False
        except Exception as error:  # border: the firing of a schedule
            if self._store.explain(error) is not None:
                raise
            return self._set_back(tx, row, now, error)
        return True

    def _fire(self, tx: Transaction, row: _Row, slot: datetime, now: datetime, **more: object) -> int:
        options = {**msgspec.json.decode(row.options), **more, "scheduled_for": slot.isoformat()}
        return self._enqueue(tx, row.task, msgspec.json.decode(row.payload), tenant=row.tenant_id, run_at=now, **options)

    def _set_back(self, tx: Transaction, row: _Row, now: datetime, error: Exception) -> bool:
        """Keep what is wrong with a schedule and go on to its next firing, so that it does not stop the others."""
        said, following = clean(f"{type(error).__name__}: {describe(error)}").partition("\n")[0][:MAX_ERROR], None
        with suppress(ScheduleError):
            following = row.trigger.next_after(now)
        if said != row.error:
            log.error("the schedule %s could not fire: %s", row.name, said)
        with suppress(_LostError):
            self._move(tx, row, next_at=following, error=said)
        return True

    @staticmethod
    def _move(tx: Transaction, row: _Row, **values: object) -> None:
        unmoved = (_row.next_at == row.next_at, _row.updated_at == row.updated_at)
        if tx.execute(update(SCHEDULE).where(*row.here(), *unmoved).values(values)).rowcount != 1:
            raise _LostError

    # -- the lease

    def _leads(self, now: datetime) -> bool:
        """Tell whether this process leads, after renewing its lease at a third of it, or taking one that ran out."""
        with self._lock:
            return not self._closing and self._holds(now)

    def _holds(self, now: datetime) -> bool:
        if self._held_until is not None and self._lease_time * 2 < (self._held_until - now) * 3 <= self._lease_time * 3:
            return True
        with self._store.read() as tx:
            held = _held(tx)
        free = held is None or held.owner == self.me or not self._lasts(held.until, now)
        self._held_until = now + self._lease_time if free and self._take(now, new=held is None) else None
        return self._held_until is not None

    def _lasts(self, until: datetime, now: datetime) -> bool:
        """Tell whether a lease holds: one that ends too far ahead was written before the clock was set back."""
        return now <= until <= now + self._lease_time * 4

    def _take(self, now: datetime, *, new: bool) -> bool:
        mine = {"owner": self.me, "until": now + self._lease_time}
        free = or_(_lease.owner == self.me, _lease.until < now, _lease.until > now + self._lease_time * 4)
        with self._store.begin() as tx:
            if not new:
                return tx.execute(update(LEASE).where(_lease.name == SCHEDULER, free).values(mine)).rowcount == 1
            with suppress(IntegrityError), tx.savepoint():
                tx.execute(insert(LEASE).values(name=SCHEDULER, **mine))
                return True
        return False


def _held(tx: Transaction) -> Any:
    return tx.execute(select(_lease.owner, _lease.until).where(_lease.name == SCHEDULER)).one_or_none()


def _named(name: str) -> tuple[ColumnElement[bool], ...]:
    return (_row.tenant_id == DEFAULT_TENANT, _row.name == name)


def _missing(name: str) -> ScheduleNotFoundError:
    return ScheduleNotFoundError(f"there is no schedule {name!r}")


def _check_missed(missed: str) -> str:
    if missed not in MISSED:
        raise ScheduleError(f"missed {missed!r} is not known", hint=f"one of {', '.join(MISSED)}")
    return missed


def _digest(given: Mapping[str, str]) -> str:
    return hashlib.sha256(_encode(given)).hexdigest()


def _timing(cron: str | None, every: float | timedelta | str | None, at: datetime | None) -> tuple[str, str]:
    """Return the kind and the expression of what code declares; raise ScheduleError."""
    given = [(kind, value) for kind, value in ((CRON, cron), (INTERVAL, every), (ONCE, at)) if value is not None]
    if len(given) != 1:
        raise ScheduleError("a schedule needs one of `cron`, `every` and `at`")
    ((kind, value),) = given
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ScheduleError(f"at {value.isoformat()} has no time zone", hint="give an aware datetime")
        return kind, value.isoformat()
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return kind, f"{seconds:.6f}".rstrip("0").rstrip(".") if isinstance(seconds, int | float) else seconds


def _view(row: _Row, last_state: str | None) -> ScheduleView:
    upcoming, words, options = [], (row.expression, row.expression), msgspec.json.decode(row.options)
    with suppress(ScheduleError):  # one that cannot be read any more is shown with its error
        words = _wording.describe(*row.timing)
        if row.enabled and row.next_at is not None:
            before = row.next_at - timedelta(microseconds=1)
            upcoming = next_times(*row.timing, before, anchor=row.created_at)
    return ScheduleView(
        name=row.name, kind=row.kind, expression=row.expression, timezone=row.timezone, task=row.task,
        payload=msgspec.json.decode(row.payload), options=options, queue=options.get("queue"), missed=row.missed, enabled=row.enabled,
        next_at=row.next_at if row.enabled else None, last_at=row.last_at, last_job_id=row.last_job_id, last_state=last_state,
        error=row.error, edited=row.edited, declared=row.declared is not None, next=upcoming, text_en=words[0], text_ar=words[1],
    )  # fmt: skip
