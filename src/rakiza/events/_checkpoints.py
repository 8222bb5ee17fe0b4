"""Where followers of the log stand: marks fenced by owner and position, claims that lapse, events set aside; what projections and consumers share."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Select, bindparam, delete, func, insert, or_, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql import ColumnElement

from rakiza._kernel import DEFAULT_TENANT, Clock, Repeating, describe, span_id
from rakiza.store import RolledBackError, Store, StoreError, Transaction, as_utc, utc_text

from ._core import Event
from ._reading import EVERYTHING, MAX_PAGE, Filter, Reader
from .errors import EventError, EventsBusyError, EventsUnavailableError
from .settings import EventSettings
from .tables import CHECKPOINT, DEAD_LETTER

LIVE, REBUILDING, RETIRED = "live", "rebuilding", "retired"
MAX_DEAD_LETTERS = 1_000
MAX_ERROR_CHARACTERS = 1_000
BEATS = 0.3  # of the time after which a claim lapses
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.25, 30.0
LOCK_TIMEOUT = text("set local lock_timeout = '1s'")
log = logging.getLogger("rakiza.events")
_mark, _dead = CHECKPOINT.c, DEAD_LETTER.c
_FIELDS: tuple[Any, ...] = (_mark.projection, _mark.generation, _mark.position, _mark.status, _mark.owner, _mark.seen_at, _mark.error)
_LETTER: tuple[Any, ...] = (_dead.position, _dead.event_id, _dead.event_type, _dead.error, _dead.attempts, _dead.failed_at)


class Checkpoint(NamedTuple):
    """Tell where one generation of a follower stands and who runs it; consumers have the generation 0."""

    name: str
    generation: int
    position: int
    status: str
    owner: str | None
    seen_at: datetime | str
    error: str | None


class FencedError(Exception):
    """Say that somebody else moved the checkpoint, so that nothing of this turn may stand."""


class Ledger:
    """Keep checkpoints, claims and dead letters in the database."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, settings: EventSettings) -> None:
        self.store, self.reader, self.clock, self.settings = store, reader, clock, settings
        self.lapse = timedelta(seconds=settings.takeover_seconds)
        self.forget()
        here = (_mark.tenant_id == DEFAULT_TENANT, _mark.projection == bindparam("name"))
        fence = (_mark.generation == bindparam("number"), _mark.position == bindparam("old"), _mark.owner == bindparam("me"))
        self._rows = store.compile(select(*_FIELDS).where(*here).order_by(_mark.generation))
        self._move = store.compile(update(CHECKPOINT).where(*here, *fence).values(position=bindparam("new"), error=None))
        self._now = store.compile(select(func.clock_timestamp()))

    def forget(self) -> None:
        """Be somebody else in a forked child."""
        self.me = f"{socket.gethostname()}:{os.getpid()}:{span_id()[:8]}"
        self.closing = False
        self._beaten = self.clock.monotonic()

    # -- claims

    def moment(self, tx: Transaction) -> datetime:
        """Return the time claims are judged by: the server's on PostgreSQL, this machine's where the database is a file."""
        return as_utc((tx.row(self._now) or ())[0]) if self.store.dialect == "postgresql" else self.clock.now()

    def claim(self, row: Checkpoint) -> bool:
        """Become the owner when there is none, or none that was heard of lately."""
        with self.store.begin() as tx:
            at = self.moment(tx)
            free = or_(_mark.owner.is_(None), _mark.seen_at < at - self.lapse)
            return tx.execute(update(CHECKPOINT).where(*_one(row), free).values(owner=self.me, seen_at=at)).rowcount == 1

    def alive(self, tx: Transaction, row: Checkpoint) -> bool:
        """Tell whether the owner of a checkpoint was heard of lately."""
        return row.owner is not None and as_utc(row.seen_at) >= self.moment(tx) - self.lapse

    def beat(self) -> None:
        """Say that the owner lives, at most three times in the time after which its claims lapse."""
        now = self.clock.monotonic()
        if now - self._beaten >= self.settings.takeover_seconds * BEATS and not self.closing:
            self._beaten = now
            with self.store.begin() as tx:
                tx.execute(update(CHECKPOINT).where(_mark.owner == self.me).values(seen_at=self.moment(tx)))

    def close(self) -> None:
        """Give every claim back, so that others need not wait for it to lapse."""
        self.closing = True
        with suppress(StoreError), self.store.begin() as tx:
            tx.execute(update(CHECKPOINT).where(_mark.owner == self.me).values(owner=None))

    # -- checkpoints

    def rows(self, name: str) -> list[Checkpoint]:
        """Return the checkpoints of a follower by generation."""
        with self.store.read() as tx:
            return [Checkpoint._make(row) for row in tx.rows(self._rows, name=name)]

    def all_rows(self, tx: Transaction) -> list[Checkpoint]:
        """Return every checkpoint by name and generation."""
        return [Checkpoint._make(row) for row in tx.execute(select(*_FIELDS).order_by(_mark.projection, _mark.generation))]

    def hold_live(self, tx: Transaction, name: str) -> Checkpoint | None:
        """Return the live checkpoint and hold it until the end of the transaction."""
        held = select(*_FIELDS).where(_mark.projection == name, _mark.status == LIVE).with_for_update()
        return next((Checkpoint._make(row) for row in tx.execute(held)), None)

    def add(self, tx: Transaction, name: str, number: int, status: str, position: int = 0) -> Checkpoint:
        """Add a checkpoint of this owner; raise FencedError when somebody else just did."""
        row = Checkpoint(name, number, position, status, self.me, self.moment(tx), None)
        named = {column.name: value for column, value in zip(_FIELDS, row, strict=True)}
        try:
            tx.execute(insert(CHECKPOINT).values(**named))
        except IntegrityError as error:
            raise FencedError from error
        return row

    def move(self, tx: Transaction, row: Checkpoint, to: int) -> Checkpoint:
        """Move a checkpoint from where it was read; raise FencedError when it is not there any more or has another owner."""
        moved = 0 if self.closing else tx.run(self._move, name=row.name, number=row.generation, old=row.position, new=to, me=self.me)
        if moved != 1:
            raise FencedError
        return row._replace(position=to, error=None)

    def set_status(self, tx: Transaction, row: Checkpoint, status: str) -> None:
        """Change what a generation is."""
        tx.execute(update(CHECKPOINT).where(*_one(row)).values(status=status))

    def delete(self, tx: Transaction, row: Checkpoint) -> None:
        """Remove a checkpoint; raise FencedError when somebody else just did."""
        if tx.execute(delete(CHECKPOINT).where(*_one(row))).rowcount != 1:
            raise FencedError

    def note(self, row: Checkpoint, said: str) -> None:
        """Write down what holds a follower up, where the database can still be written."""
        with suppress(StoreError), self.store.begin() as tx:
            tx.execute(update(CHECKPOINT).where(*_one(row), _mark.owner == self.me).values(error=said))

    def page(self, chosen: Filter, after: int, size: int) -> tuple[Sequence[Event], int, bool]:
        """Return the next events, the position they reach (the head when there are no more) and whether there may be more."""
        with self.store.read() as tx:
            head = self.reader.head(tx)
            events = self.reader.page(tx, chosen, after, head, size) if head > after else []
        full = len(events) == size
        return events, events[-1].position if full else max(head, after), full

    # -- dead letters

    def bury(self, tx: Transaction, name: str, event: Event, error: Exception, attempts: int) -> None:
        """Set an event aside; raise EventError when too many are."""
        if tx.scalar(select(func.count()).where(_dead.projection == name)) >= MAX_DEAD_LETTERS:
            hint = "mend the cause, then retry the dead letters or rebuild the projection"
            raise EventError(f"{name} has {MAX_DEAD_LETTERS:,} dead letters and takes no more: {told(error)}", hint=hint) from error
        self.exhume(tx, name, event.position)
        event = event if event.event_id else self.event(event.position)  # a projection may not have fetched it
        given = {"tenant_id": event.tenant, "projection": name, "position": event.position, "event_id": event.event_id}
        given |= {"event_type": event.event_type, "error": told(error), "attempts": attempts, "failed_at": self.clock.now()}
        tx.execute(insert(DEAD_LETTER).values(given))
        log.error("%s set the event %d (%s) aside: %s", name, event.position, event.event_type, told(error))

    def exhume(self, tx: Transaction, name: str, position: int) -> bool:
        """Remove a dead letter; tell whether it was there."""
        return tx.execute(delete(DEAD_LETTER).where(_dead.projection == name, _dead.position == position)).rowcount == 1

    def blame(self, name: str, position: int, error: Exception) -> None:
        """Count one more attempt at a dead letter."""
        with self.store.begin() as tx:
            changed = {"error": told(error), "failed_at": self.clock.now(), "attempts": _dead.attempts + 1}
            tx.execute(update(DEAD_LETTER).where(_dead.projection == name, _dead.position == position).values(changed))

    def letters(self, name: str) -> list[dict[str, Any]]:
        """Return the dead letters of a follower in order of position."""
        with self.store.read() as tx:
            found = tx.execute(select(*_LETTER).where(_dead.projection == name).order_by(_dead.position).limit(MAX_DEAD_LETTERS))
            return [{**row, "failed_at": utc_text(row["failed_at"])} for row in found.mappings()]

    def count_letters(self, tx: Transaction) -> dict[str, int]:
        """Return how many dead letters each follower has."""
        counted: Select[Any] = select(_dead.projection, func.count()).group_by(_dead.projection)
        return {str(name): int(count) for name, count in map(tuple, tx.execute(counted))}

    def hand_over_letters(self, tx: Transaction, name: str, to: str | None) -> None:
        """Put the dead letters of one name in the place of those of another, or drop them."""
        if to is None:
            tx.execute(delete(DEAD_LETTER).where(_dead.projection == name))
            return
        tx.execute(delete(DEAD_LETTER).where(_dead.projection == to))
        tx.execute(update(DEAD_LETTER).where(_dead.projection == name).values(projection=to))

    def event(self, position: int) -> Event:
        """Return one event."""
        with self.store.read() as tx:
            return self.reader.page(tx, EVERYTHING, position - 1, position, 1)[0]

    def is_trouble(self, error: Exception) -> bool:
        """Tell whether an error says nothing against the event or the code: the database is busy, full or away."""
        found = error if isinstance(error, EventsBusyError | EventsUnavailableError) else self.store.explain(error)
        return found is not None and not isinstance(found, RolledBackError)


def told(error: BaseException) -> str:
    """Return what happened as text that every database takes; of a database's error the first line only, because the rest shows data."""
    said = describe(error.orig).partition("\n")[0] if isinstance(error, DBAPIError) and error.orig else describe(error)
    return f"{type(error).__name__}: {said}".replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()[:MAX_ERROR_CHARACTERS]


def pause_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row: doubling, bounded."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20), MAX_PAUSE_SECONDS)


def _one(row: Checkpoint) -> tuple[ColumnElement[bool], ...]:
    return (_mark.tenant_id == DEFAULT_TENANT, _mark.projection == row.name, _mark.generation == row.generation)


class Held(NamedTuple):
    """Remember what holds one generation up, or that somebody else owns it, and until when it pauses."""

    error: Exception | None = None
    failures: int = 0
    until: float = 0.0


class Follower:
    """Follow the log in turns of a page, each generation from its own checkpoint."""

    kind: ClassVar[str]

    def __init__(self, ledger: Ledger, name: str, event_types: Iterable[str], page_events: int) -> None:
        self.ledger, self.name = ledger, name
        self.filter = Filter(event_types=tuple(event_types))
        self.page_events = max(1, min(page_events, MAX_PAGE))
        self.task: Repeating | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew in a forked child."""
        self.lock = threading.Lock()
        self.held: dict[int | None, Held] = {}
        self.reached: dict[int, int] = {}
        self.idle_until = 0.0

    def run(self) -> None:
        """Take one turn, and another at once when there is more to do."""
        if self.turn() and self.task is not None:
            self.task.wake()

    def catch_up(self) -> None:
        """Take turns in this thread until there is nothing to do, or something holds the follower up."""
        self.idle_until = 0.0
        while self.turn():
            self.ledger.beat()

    def turn(self) -> bool:
        """Go one page on wherever this process is the owner and nothing holds it up; tell whether there is more to do."""
        with self.lock:
            if self.ledger.closing or self._waits(None):
                return False
            found: list[Checkpoint] = []
            more = self._guarded(None, lambda: found.extend(self.rows()))
            if found:
                numbers = {None, *(row.generation for row in found)}
                self.held = {number: held for number, held in self.held.items() if number in numbers}
            for row in found:
                if not self._waits(row.generation):
                    more |= self._guarded(row, lambda row=row: self._owns(row) and self.advance(row))  # type: ignore[misc]
            return more

    def _waits(self, number: int | None) -> bool:
        return self.ledger.clock.monotonic() < self.held.get(number, Held()).until

    def _guarded(self, row: Checkpoint | None, work: Callable[[], bool | None]) -> bool:
        number = row.generation if row else None
        try:
            more = bool(work())
        except FencedError:
            return True  # somebody else was faster: look again
        except Exception as error:  # noqa: BLE001 - border: observer hook
            self._hold(row, error)
            return False
        if not self._waits(number):
            self.held.pop(number, None)
        return more

    def _hold(self, row: Checkpoint | None, error: Exception) -> None:
        number = row.generation if row else None
        failures = self.held.get(number, Held()).failures + 1
        pause = pause_seconds(failures)
        self.held[number] = Held(error, failures, self.ledger.clock.monotonic() + pause)
        log.warning("%s is held up and tries again in %g s: %s", self.name, pause, told(error))
        if row is not None and row.error != told(error):
            self.ledger.note(row, told(error))

    def _owns(self, row: Checkpoint) -> bool:
        if row.owner == self.ledger.me or row.status == RETIRED:
            return True
        if self.ledger.claim(row):
            self.reached.pop(row.generation, None)
            raise FencedError  # the owner before may have moved it since it was read
        self.held[row.generation] = Held(until=self.ledger.clock.monotonic() + self.ledger.settings.poll_seconds)
        return False

    def rows(self) -> list[Checkpoint]:
        """Return the checkpoints this process may work on, made when there are none yet."""
        raise NotImplementedError

    def advance(self, row: Checkpoint) -> bool:
        """Go one page on from a checkpoint; tell whether there may be more."""
        raise NotImplementedError

    def retry(self, position: int) -> None:
        """Apply one event that was set aside again and forget that it was; raise what it raises."""
        raise NotImplementedError

    def skips(self, row: Checkpoint, reached: int) -> bool:
        """Tell whether a move past events of no interest may wait: a commit for each of them would cost more than it tells."""
        if reached == row.position and row.error is None:
            return True
        now = self.ledger.clock.monotonic()
        if now < self.idle_until:
            return True
        self.idle_until = now + self.ledger.settings.poll_seconds
        return False
