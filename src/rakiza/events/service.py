"""The event store: append, read, follow."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from rakiza._kernel import DEFAULT_TENANT, SYSTEM_CLOCK, Clock, Migrations, Supervisor, WorkerPool, both, current, running_loop
from rakiza._kernel.tasks import after_fork
from rakiza.bus import Bus
from rakiza.store import Store, StoreError, StoreUnavailableError, Transaction, migrate, utc_text

from ._backends import Log
from ._checkpoints import Ledger
from ._consumers import Consumer
from ._core import TOPIC, Append, Appended, Condition, Event, Listed, NewEvent, Origin, Verdict, check_append, check_size, new_event
from ._followers import Followers
from ._group import GroupCommit
from ._projections import Projection
from ._reading import ALL_TENANTS, EVERYTHING, MAX_PAGE, Filter, Reader
from ._types import EVENT_TYPES, EventTypes, Payload
from .errors import EventError, EventsUnavailableError, VersionConflictError
from .settings import EventSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._personal import PersonalData
    from ._trail import AuditTrail

T = TypeVar("T")
MIGRATIONS = Migrations("rakiza.events.migrations", "rakiza_events")
RETRY_PAUSE_SECONDS = 0.1
log = logging.getLogger("rakiza.events")
cause: ContextVar[Event | None] = ContextVar("rakiza_events_cause", default=None)
"""The event whose handling the work at hand is: what that work appends names it as its cause."""


@contextmanager
def caused_by(event: Event) -> "Iterator[Event]":
    """Let what is appended in the block carry the event as its cause, its correlation and its tenant."""
    reset = cause.set(event)
    try:
        yield event
    finally:
        cause.reset(reset)


class EventStore:
    """Keep an append-only log of what happened, in one order without gaps."""

    def __init__(
        self,
        store: Store,
        settings: EventSettings | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        supervisor: Supervisor | None = None,
        pool: WorkerPool | None = None,
        types: EventTypes = EVENT_TYPES,
        personal: "PersonalData | None" = None,
        bus: Bus | None = None,
    ) -> None:
        self.store, self.clock, self.types, self.personal = store, clock, types, personal
        self.settings = settings or EventSettings()
        self.supervisor = supervisor or Supervisor(clock)
        self.pool = pool or WorkerPool()
        self.reader = Reader(store)
        self.bus = bus or Bus(store, self.supervisor)
        self.bus.probe(TOPIC, self.reader.head)
        self.followers = Followers(Ledger(store, self.reader, clock, self.settings), self.bus, self.supervisor, caused_by)
        self.appended = self.conflicts = 0
        self.trail: AuditTrail | None = None
        self._owns_store, self._owns_bus = False, bus is None
        self._log = _log_of(store)
        self._group = GroupCommit(self._flush, self.settings)
        after_fork(self.forget)

    # -- writing

    def append(self, event: Mapping[str, object], tx: Transaction | None = None, *, condition: Condition | None = None) -> Appended:
        """Write one event and return where it stands: blocks, or is awaited where an event loop runs.

        Keys: `event_type aggregate_type aggregate_id payload metadata`, and if wanted `expected_version` (of the stream before
        the event; 0 = new), `event_id` (a repeated one with the same content succeeds), `personal` (fields sealed under the key of
        `subject`, to be erased one day), `tags schema_version tenant user_id correlation_id causation_id`.
        With `tx` the event is written at the end of that transaction, or not at all.
        Raises EventError, VersionConflictError, EventIdTakenError, AppendConditionError, EventsBusyError, StoreError.
        """
        return self._submit([event], tx, condition, _one)

    def append_many(
        self, events: Iterable[Mapping[str, object]], tx: Transaction | None = None, *, condition: Condition | None = None
    ) -> Listed[Appended]:
        """Write several events, of one stream or of many, all or none; raise what `append` raises."""
        given = list(events)
        return self._submit(given, tx, condition, Listed) if given else Listed()

    def _submit(
        self, given: Sequence[Mapping[str, object]], tx: Transaction | None, condition: Condition | None, convert: Callable[[list[Appended]], T]
    ) -> T:
        if tx is not None:
            return convert(self._append_in(tx, self._made(given, condition, tx)))
        self._refuse_inside()
        loop = running_loop()
        if loop is None:
            return convert(_outcome(self._group.submit(self._made(given, condition))))
        if any(event.get("personal") for event in given):
            return cast("T", loop.create_task(self._submit_sealed(given, condition, convert)))
        return cast("T", self._group.submit_from_loop(self._made(given, condition), loop, convert))

    async def _submit_sealed(
        self, given: Sequence[Mapping[str, object]], condition: Condition | None, convert: Callable[[list[Appended]], T]
    ) -> object:
        append = await self.pool.run(self._made, given, condition)  # a subject's key may have to be read or made
        return await self._group.submit_from_loop(append, asyncio.get_running_loop(), convert)

    def _made(self, given: Sequence[Mapping[str, object]], condition: Condition | None = None, tx: Transaction | None = None) -> Append:
        made = Append(tuple(self._new(event, tx) for event in given), condition)
        check_append(made.events)
        return made

    def blocking_append(self, events: Sequence[Mapping[str, object]], tx: Transaction | None = None) -> list[Appended]:
        """Do what `append_many` does, but block also where an event loop runs: for code that was sent to the pool."""
        if tx is not None:
            return self._append_in(tx, self._made(events, tx=tx))
        self._refuse_inside()
        return _outcome(self._group.submit(self._made(events)))

    def _refuse_inside(self) -> None:
        """Raise EventError where a transaction is open: who leads would write the appends of all into it, and its end is not known."""
        if self.store.in_transaction:
            hint = "hand the transaction over: append(event, tx)"
            raise EventError("a transaction is open here, and an append of its own would wait for it", code="event_in_transaction", hint=hint)

    def _new(self, given: Mapping[str, object], tx: Transaction | None = None) -> NewEvent:
        described = self.types.describe(given.get("payload"))
        if described is not None:
            given = {"event_type": described[0], "schema_version": described[1], **given}
        event, personal = new_event(given, origin(), self.settings.max_event_bytes), given.get("personal")
        if personal:
            event.sealed = self._sealed(event, personal, given.get("subject"), tx)
            check_size(event.payload + event.metadata + event.sealed, self.settings.max_event_bytes)
        return event

    def _sealed(self, event: NewEvent, fields: object, subject: object, tx: Transaction | None) -> str:
        if not isinstance(fields, Mapping) or not isinstance(subject, str) or not subject:
            raise EventError("personal fields must be a mapping, and `subject` must say whose they are", hint='subject="user:<id>", never a name')
        if self.personal is None:
            raise EventError("personal fields need the keys of a platform", hint="pass `personal=` to EventStore, or leave the fields out")
        return self.personal.seal_fields(tx or self.store, event.tenant, subject, event.event_id, fields)

    def personal_fields(self, event: Event) -> dict[str, object]:
        """Return the personal fields of an event, each none once its subject is erased; blocks."""
        if event.sealed is None or self.personal is None:
            return {}
        return dict(self.personal.open_fields(event.tenant, event.event_id, event.sealed))

    def _append_in(self, tx: Transaction, append: Append) -> list[Appended]:
        if tx.store is not self.store:
            raise EventError("the transaction is one of another database than the log's", hint="open it with `events.store.begin()`")
        receipts = [Appended(0, 0, event.event_id) for event in append.events]
        found: list[Appended] = []

        def write() -> None:
            (verdict,) = self._log.write_in(tx, [append], self.clock.now())
            found.extend(_outcome(verdict))

        def place() -> None:
            for receipt, one in zip(receipts, found, strict=True):
                receipt.position, receipt.version, receipt.duplicate = one.position, one.version, one.duplicate
            self._written(len(receipts))

        # Last of all, so that the counter every append waits for is held for the commit only.
        tx.before_commit(write)
        tx.after_commit(place)
        return receipts

    def _written(self, events: int) -> None:
        self.appended += events
        self.bus.tell(TOPIC)

    def _flush(self, batch: Sequence[Append]) -> Sequence[Verdict]:
        verdicts = self._write(batch)
        if written := sum(len(verdict) for verdict in verdicts if isinstance(verdict, list)):
            self._written(written)
        self.conflicts += sum(isinstance(verdict, VersionConflictError) for verdict in verdicts)
        return verdicts

    def _write(self, batch: Sequence[Append], give_up: float | None = None) -> list[Verdict]:
        give_up = SYSTEM_CLOCK.monotonic() + self.settings.retry_seconds if give_up is None else give_up
        try:
            return self._write_surely(batch, give_up)
        except StoreError as error:
            return _one_for_each(error, len(batch))
        except Exception as error:  # noqa: BLE001 - border: the group commit
            if len(batch) > 1:
                return [verdict for append in batch for verdict in self._write([_repeatable(append)], give_up)]
            return [error]

    def _write_surely(self, batch: Sequence[Append], give_up: float) -> list[Verdict]:
        """Write, and write again with ids looked up first while the outcome of an attempt is unknown."""
        attempted = batch
        while True:
            try:
                return self._log.write(attempted, self.clock.now())
            except StoreUnavailableError as error:
                lost = error
            attempted = [_repeatable(append) for append in batch]
            self._log.close()
            if SYSTEM_CLOCK.monotonic() > give_up:
                return [EventsUnavailableError(f"the database was lost during an append: {lost}", _ids(append)) for append in batch]
            time.sleep(RETRY_PAUSE_SECONDS)

    # -- reading

    def get_events(self, aggregate_type: str, aggregate_id: str | int, from_version: int = 0, *, tenant: str | None = None) -> Listed[Event]:
        """Return the events of one stream with versions above `from_version`; blocks, or is awaited where an event loop runs."""
        stream = (tenant or origin().tenant, aggregate_type, str(aggregate_id))
        return self._answer(lambda tx: self.reader.stream(tx, stream, from_version))

    def read(
        self, after_position: int = 0, *, limit: int = 500, backwards: bool = False, before_position: int | None = None, **filters: object
    ) -> Listed[Event]:
        """Return at most `limit` (up to 5,000) events in order of position, newest first when `backwards`.

        Filters: `event_types aggregate_type aggregate_id correlation_id user_id tag since until`, and `tenant` (that of the
        work at hand when not said, `"*"` for all). Raises EventError for a filter there is not.
        """
        chosen, size = self.filter(**filters), max(1, min(limit, MAX_PAGE))
        upto = 2**63 - 1 if before_position is None else before_position - 1
        return self._answer(lambda tx: self.reader.page(tx, chosen, after_position, upto, size, backwards=backwards))

    def blocking_stream(
        self, aggregate_type: str, aggregate_id: str, after: int = 0, upto: int = 2**31 - 1, *, tenant: str | None = None
    ) -> Listed[Event]:
        """Return the events of a stream with versions above `after` up to `upto`; blocks also where an event loop runs."""
        with self.store.read() as tx:
            return self.reader.stream(tx, (tenant or self.tenant(), aggregate_type, aggregate_id), after, upto)

    def at(self, position: int) -> Event | None:
        """Return the event at a position, or none; blocks."""
        with self.store.read() as tx:
            return next(iter(self.reader.page(tx, EVERYTHING, position - 1, position, 1)), None)

    def decode(self, event: Event) -> msgspec.Struct | Payload:
        """Return the payload in the class registered for its type, lifted to the current schema version; as it is when the type is unknown."""
        return self.types.decode(event)

    @staticmethod
    def on_loop() -> bool:
        """Tell whether an event loop runs in this thread."""
        return running_loop() is not None

    @staticmethod
    def placed(event: Mapping[str, object]) -> dict[str, object]:
        """Return an event with what it takes from the work at hand, to be appended elsewhere."""
        here = origin()
        taken = {"tenant": here.tenant, "user_id": here.user_id, "correlation_id": here.correlation_id, "causation_id": here.causation_id}
        return {**taken, **event}

    @staticmethod
    def tenant() -> str:
        """Return the tenant of the work at hand."""
        return origin().tenant

    @staticmethod
    def filter(**filters: object) -> Filter:
        """Return a filter; raise EventError for a name or a type there is not, and for a time that cannot be or has no zone."""
        if "event_types" in filters and isinstance(filters["event_types"], str):
            filters["event_types"] = (filters["event_types"],)
        filters.setdefault("tenant", origin().tenant)
        try:
            chosen = msgspec.convert(filters, Filter)
            unknown = filters.keys() - set(Filter.__struct_fields__)
            for moment in (chosen.since, chosen.until):
                _ = moment and utc_text(moment)
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            raise EventError(f"a filter does not fit: {error}") from None
        if unknown:
            raise EventError(f"events have no filter {unknown.pop()!r}", hint=f"the filters are {', '.join(Filter.__struct_fields__)}")
        return msgspec.structs.replace(chosen, tenant=None) if chosen.tenant == ALL_TENANTS else chosen

    def head(self) -> int:
        """Return the position of the last event, which is also how many there are; blocks."""
        with self.store.read() as tx:
            return self.reader.head(tx)

    @property
    def waiting(self) -> int:
        """Return how many events wait to be written in this process."""
        return self._group.waiting

    def get_stats(self) -> dict[str, int]:
        """Return the head of the log and what this process has done: events appended, conflicts, commits, the largest batch, what waits; blocks."""
        return {
            "head": self.head(),
            "waiting": self.waiting,
            "capacity": self.settings.queue_events,
            "appended": self.appended,
            "conflicts": self.conflicts,
            "flushes": self._group.flushes,
            "largest_batch": self._group.largest,
        }

    def _answer(self, work: Callable[[Transaction], Listed[Event]]) -> Listed[Event]:
        def read() -> Listed[Event]:
            with self.store.read() as tx:
                return work(tx)

        return both(self.pool, read)

    # -- following

    def register_projection(self, projection: Projection) -> None:
        """Keep a projection up to date from the start on; raise EventError for a name that cannot be a table's or is taken."""
        self.followers.add(projection)

    def register_consumer(self, consumer: Consumer) -> None:
        """Hand events to a consumer from the start on; raise EventError for a name that cannot be or is taken."""
        self.followers.add(consumer)

    def catch_up(self, name: str | None = None) -> int:
        """Follow the log to its end now and return how many events are left; blocks, or is awaited where an event loop runs."""
        return both(self.pool, lambda: self.followers.catch_up(name))

    def rebuild_projection(self, name: str, *, wait: bool = True) -> int:
        """Build a projection anew beside the one that serves, switch readers over at its end, and return the number of the new generation.

        Without `wait` it is built in the background; `projections()` tells how far it is. Blocks, or is awaited where an event
        loop runs. Raises NotFoundError, EventError, RebuildRunningError and what holds the building up.
        """
        return both(self.pool, lambda: self.followers.rebuild(name, wait=wait))

    def projections(self) -> list[dict[str, object]]:
        """Tell where every projection and consumer of the database stands; blocks, or is awaited where an event loop runs."""
        return both(self.pool, self.followers.states)

    def lag(self) -> int:
        """Return how many events the slowest projection or consumer of this database has still to see; blocks."""
        return max((cast("int", state["lag"]) for state in self.followers.states()), default=0)

    def dead_letters(self, name: str) -> list[dict[str, object]]:
        """Return the events a projection or consumer set aside; blocks, or is awaited where an event loop runs."""
        return both(self.pool, lambda: self.followers.ledger.letters(name))

    def retry_dead_letters(self, name: str, positions: Sequence[int] | None = None) -> dict[str, int]:
        """Apply what was set aside again, all or some, and return how many were `retried` and `resolved`; blocks, or is awaited."""
        return both(self.pool, lambda: self.followers.retry(name, positions))

    # -- life

    def start(self) -> None:
        """Begin what runs in the background, for a store without a platform."""
        self.followers.open()
        self.supervisor.start()

    def close(self) -> None:
        """End the followers, write what waits, then close the connections."""
        if self._owns_store:
            self.supervisor.stop()
        self.followers.close()
        if self.trail is not None:
            self.trail.close()
        self._group.close()
        self._log.close()
        if self._owns_bus:
            self.bus.close()
        if self._owns_store:
            self.store.close()
            self.pool.close()

    def forget(self) -> None:
        """Leave to the parent of a fork what waits and what is open."""
        self._group.forget()
        self._log.forget()
        self.followers.forget()
        if self.trail is not None:
            self.trail.forget()


def create_event_store(database_url: str, settings: EventSettings | None = None, **fields: object) -> EventStore:
    """Open the event store of a database of its own and bring its tables up to date; `close()` ends it.

    `fields` are those of EventSettings. Raises StoreError for an address that cannot work and MigrationError.
    """
    store = Store(database_url)
    migrate(store, [MIGRATIONS])
    events = EventStore(store, settings or EventSettings(**fields))  # type: ignore[arg-type]
    events._owns_store = True
    return events


def _log_of(store: Store) -> Log:
    if store.dialect == "sqlite":
        from ._backends.sqlite import SqliteLog

        return SqliteLog(store)
    from ._backends.postgresql import PostgresqlLog

    return PostgresqlLog(store)


def origin() -> Origin:
    """Return what an event takes from the work at hand: the event that caused it, else the request."""
    context, parent = current(), cause.get()
    tenant = context.tenant if context is not None else DEFAULT_TENANT
    user_id = context.principal.id if context is not None and context.principal is not None else None
    correlation = context.trace_id if context is not None else None
    if parent is None:
        return Origin(tenant, user_id, correlation, None)
    return Origin(parent.tenant, user_id or parent.user_id, parent.correlation_id or correlation, parent.event_id)


def _one(found: list[Appended]) -> Appended:
    return found[0]


def _outcome(verdict: Verdict) -> list[Appended]:
    if isinstance(verdict, Exception):
        raise verdict
    return verdict


def _one_for_each(error: StoreError, number: int) -> list[Verdict]:
    # One instance raised in many threads would carry the stack of all of them.
    copies: list[Verdict] = [copy(error) for _ in range(number)]
    for one in copies:
        one.__cause__ = error.__cause__  # type: ignore[union-attr]
    return copies


def _ids(append: Append) -> list[str]:
    return [event.event_id for event in append.events]


def _repeatable(append: Append) -> Append:
    return append._replace(events=tuple(msgspec.structs.replace(event, repeated=True) for event in append.events))
