"""Projections: tables folded from the log, a batch and its checkpoint in one transaction, rebuilt beside the old ones, switched in one moment."""

import re
import time
from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

import msgspec
from sqlalchemy import text

from rakiza.store import Transaction

from ._checkpoints import LIVE, LOCK_TIMEOUT, REBUILDING, RETIRED, Checkpoint, FencedError, Follower, Held, Ledger, log, told
from ._core import Event
from ._reading import MAX_PAGE
from .errors import EventError, RebuildRunningError

S = TypeVar("S")
PROBE = text("select 1")
GENERATIONS = 10_000
WAIT_SECONDS = 0.02
PATIENCE = 5
"""How often the database may be in trouble before a caller who waits for a rebuild is told."""
NAME = re.compile(r"(?!.*_[0-9]+$)[a-z][a-z0-9_]{0,39}")


class Projection:
    """Fold events into a table of your own: subclass, name it, and say how a table is made and how an event changes it.

    Readers use the view `p_<name>`. Keep no state between calls: a batch that fails is undone and repeated. Raise `version` when
    `create` or the folding changes: processes with the new code then rebuild beside the old table, which serves until the switch.
    """

    name: str = ""
    version: int = 0
    event_types: tuple[str, ...] = ()
    """The types that matter, all when empty."""
    columns: tuple[str, ...] = ()
    """The columns of the event that matter, such as `("aggregate_id", "payload")`: a rebuild fetches nothing else. All when empty."""
    batch_events: int = MAX_PAGE
    """How many events one transaction takes at most, up to 5,000."""
    max_attempts: int = 3
    """How often an event may fail before it is set aside."""

    def create(self, tx: Transaction, table: str) -> None:
        """Make the table of one generation under this name (and others under names that begin with it)."""
        raise NotImplementedError

    def drop(self, tx: Transaction, table: str) -> None:
        """Remove what `create` made."""
        tx.execute(text(f"drop table if exists {table}"))

    def show(self, tx: Transaction, view: str, table: str) -> None:
        """Let the view show this generation."""
        tx.execute(text(f"drop view if exists {view}"))
        tx.execute(text(f"create view {view} as select * from {table}"))  # noqa: S608 - both names are checked

    def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
        """Change the table by a batch of events; fold them first and write once, where speed matters."""
        for event in events:
            self.handle(tx, event, table)

    def handle(self, tx: Transaction, event: Event, table: str) -> None:
        """Change the table by one event."""
        raise NotImplementedError

    def committed(self, events: Sequence[Event]) -> None:
        """Follow a live commit, for example by a signal: never called in a rebuild, and lost in a crash; what must happen belongs in a consumer."""


class InMemoryProjection(Generic[S]):
    """Fold events into a value without a database: for tests, and for looking back at a moment."""

    event_types: tuple[str, ...] = ()

    def initial(self) -> S:
        """Return the value before the first event."""
        raise NotImplementedError

    def apply(self, state: S, event: Event) -> S:
        """Return the value after an event."""
        raise NotImplementedError


def fold(projection: InMemoryProjection[S], events: Iterable[Event], upto_position: int | None = None) -> S:
    """Return the value after the events (in order of position, each taken once) up to a position."""
    state, seen = projection.initial(), 0
    for event in events:
        if seen < event.position and (upto_position is None or event.position <= upto_position):
            seen = event.position
            if not projection.event_types or event.event_type in projection.event_types:
                state = projection.apply(state, event)
    return state


class ProjectionFollower(Follower):
    """Keep the generations of one projection: the live one up to date, the next one built beside it, the old one dropped."""

    kind: ClassVar[str] = "projection"

    def __init__(self, ledger: Ledger, projection: Projection) -> None:
        if not NAME.fullmatch(projection.name):
            hint = "use at most 40 small letters, digits and underscores that do not end in a number, for it becomes the name of a table"
            raise EventError(f"a projection cannot be named {projection.name!r}", hint=hint)
        super().__init__(ledger, projection.name, projection.event_types, projection.batch_events)
        self.filter = msgspec.structs.replace(self.filter, columns=tuple(projection.columns))
        self.projection = projection

    def table(self, row: Checkpoint) -> str:
        """Return the name of a generation's table."""
        return f"p_{self.name}_{row.generation}"

    def rows(self) -> list[Checkpoint]:
        """Return the checkpoints of this version of the projection and those to be dropped."""
        rows = self.ledger.rows(self.name)
        live = max((_version(row) for row in rows if row.status == LIVE), default=-1)
        if live < self.projection.version and not any(row.status == REBUILDING and _version(row) >= self.projection.version for row in rows):
            self._create(rows, LIVE if live < 0 else REBUILDING)
            rows = self.ledger.rows(self.name)
        return [row for row in rows if row.status == RETIRED or _version(row) == self.projection.version]

    def _create(self, rows: Sequence[Checkpoint], status: str) -> Checkpoint:
        first = self.projection.version * GENERATIONS
        number = max((row.generation for row in rows if _version(row) == self.projection.version), default=first) + 1
        with self.ledger.store.begin() as tx:
            row = self.ledger.add(tx, self.name, number, status)
            for other in rows:
                if other.status == REBUILDING:
                    self.ledger.set_status(tx, other, RETIRED)
            self.projection.create(tx, self.table(row))
            if status == LIVE:
                self.projection.show(tx, f"p_{self.name}", self.table(row))
        self.reached.pop(number, None)
        return row

    def advance(self, row: Checkpoint) -> bool:
        """Fold the next page into the generation's table; switch to a rebuilt one that has reached the head; drop an old one."""
        if row.status == RETIRED:
            return self._drop(row)
        self._refuse_moved_back(row)
        events, reached, full = self.ledger.page(self.filter, row.position, self.page_events)
        if events or not self.skips(row, reached):
            row = self._write(row, reached, events)
        if row.status == REBUILDING and not full:
            return self._switch(row)
        if events and row.status == LIVE:
            self.projection.committed(events)
        return full

    def _refuse_moved_back(self, row: Checkpoint) -> None:
        known = self.reached.get(row.generation, 0)
        if row.position < known:
            said = f"the checkpoint of {self.name} was moved back from {known} to {row.position}, so its events would count twice"
            raise EventError(said, hint=f"rebuild it: events.rebuild_projection({self.name!r})")

    def _write(self, row: Checkpoint, reached: int, events: Sequence[Event]) -> Checkpoint:
        try:
            with self.ledger.store.begin() as tx:
                moved = self.ledger.move(tx, row, reached)
                if events:
                    self.projection.project(tx, events, self.table(row))
        except Exception as error:
            if isinstance(error, FencedError) or self.ledger.is_trouble(error):
                raise
            log.warning("%s takes %d events one by one: %s", self.name, len(events), told(error))
            moved = self._write_one_by_one(row, reached, events)
        self.reached[row.generation] = reached
        return moved

    def _write_one_by_one(self, row: Checkpoint, reached: int, events: Sequence[Event]) -> Checkpoint:
        with self.ledger.store.begin() as tx:
            moved = self.ledger.move(tx, row, reached)
            self._take_each(tx, row, events)
        return moved

    def _take_each(self, tx: Transaction, row: Checkpoint, events: Sequence[Event]) -> None:
        for event in events:
            error = self._try(tx, event, self.table(row))
            if error is not None:
                self.ledger.bury(tx, self._letters(row), event, error, self.projection.max_attempts)

    def _try(self, tx: Transaction, event: Event, table: str) -> Exception | None:
        found: Exception | None = None
        for _ in range(self.projection.max_attempts):
            try:
                with tx.savepoint():
                    self.projection.project(tx, [event], table)
                    tx.execute(PROBE)  # PostgreSQL refuses it after an error that was swallowed
            except Exception as error:
                if self.ledger.is_trouble(error):
                    raise
                found = error
            else:
                return None
        return found

    def _letters(self, row: Checkpoint) -> str:
        return self.name if row.status == LIVE else f"{self.name}#{row.generation}"

    def _switch(self, row: Checkpoint) -> bool:
        """Let readers see a rebuilt generation that is as far as the live one, in one transaction."""
        with self.ledger.store.begin() as tx:
            self._bound_waiting(tx)
            live = self.ledger.hold_live(tx, self.name)
            upto = max(row.position, live.position if live else 0)
            events = self.ledger.reader.page(tx, self.filter, row.position, upto, self.page_events)
            if len(events) == self.page_events:
                return True  # the live one, run elsewhere, is far ahead again
            self.ledger.move(tx, row, upto)
            self._take_each(tx, row, events)
            if live:
                self.ledger.set_status(tx, live, RETIRED)
                self.held.pop(live.generation, None)
            self.ledger.set_status(tx, row, LIVE)
            self.ledger.hand_over_letters(tx, self._letters(row), self.name)
            self.projection.show(tx, f"p_{self.name}", self.table(row))
        self.reached[row.generation] = upto
        return True

    def _bound_waiting(self, tx: Transaction) -> None:
        if self.ledger.store.dialect == "postgresql":  # who waits for an exclusive lock makes every later reader wait too
            tx.execute(LOCK_TIMEOUT)

    def _drop(self, row: Checkpoint) -> bool:
        with self.ledger.store.begin() as tx:
            self._bound_waiting(tx)
            self.ledger.delete(tx, row)
            self.ledger.hand_over_letters(tx, self._letters(row), None)
            self.projection.drop(tx, self.table(row))
        self.reached.pop(row.generation, None)
        return False

    def rebuild(self) -> int:
        """Begin to build the next generation and return its number; raise RebuildRunningError while one is being built."""
        with self.lock:
            self.rows()
            rows = self.ledger.rows(self.name)
            with self.ledger.store.read() as tx:
                for row in rows:
                    if row.status == REBUILDING and row.error is None and self.ledger.alive(tx, row):
                        raise RebuildRunningError(self.name)
            try:
                return self._create(rows, REBUILDING).generation
            except FencedError:
                raise RebuildRunningError(self.name) from None

    def finish(self, number: int) -> None:
        """Build in this thread until readers see the generation; raise what holds it up, and EventError when another took its place."""
        while True:
            more = self.turn()
            self.ledger.beat()
            row = next((row for row in self.ledger.rows(self.name) if row.generation == number and row.status != RETIRED), None)
            if row is None or self.ledger.closing:
                raise EventError(f"the rebuild of {self.name} was given up for another one or left to others")
            if row.status == LIVE:
                self.turn()
                return
            held = self.held.get(number, Held())
            if held.error and (held.failures > PATIENCE or not self.ledger.is_trouble(held.error)):
                raise held.error
            if not more:
                time.sleep(WAIT_SECONDS)

    def retry(self, position: int) -> None:
        """Fold one event that was set aside into the live table and forget that it was; raise what it raises."""
        event = self.ledger.event(position)
        with self.ledger.store.begin() as tx:
            live = self.ledger.hold_live(tx, self.name)
            if live is None or _version(live) != self.projection.version:
                raise EventError(f"{self.name} is kept by another version of the program", hint="retry there")
            if self.ledger.exhume(tx, self.name, position):
                self.projection.project(tx, [event], self.table(live))


def _version(row: Checkpoint) -> int:
    return row.generation // GENERATIONS
