"""Aggregates: state that is nothing but what its events say, and the repository that reads and saves it."""

import copy
import hashlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast, get_origin, get_type_hints

import msgspec
from sqlalchemy import bindparam, select, text

from rakiza._kernel import SYSTEM_CLOCK
from rakiza.errors import NotFoundError
from rakiza.store import StoreError, Transaction, UtcDateTime

from ._core import Event, json_text
from ._types import EVENT_TYPES, EventTypes, Payload
from .errors import EventError, VersionConflictError
from .tables import SNAPSHOT

if TYPE_CHECKING:
    from .service import EventStore

A = TypeVar("A", bound="Aggregate")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])
ATTEMPTS = 5
log = logging.getLogger("rakiza.events")
Data = msgspec.Struct | Payload


def applies(*event_types: str) -> Callable[[F], F]:
    """Let a method change the state for events of these types; it gets the payload (typed when the type is registered) and decides nothing."""

    def mark(method: F) -> F:
        method._applies = event_types  # type: ignore[attr-defined]
        return method

    return mark


def handles(command: type) -> Callable[[F], F]:
    """Let a method decide what a command of this class leads to: it records events or raises."""

    def mark(method: F) -> F:
        method._handles = command  # type: ignore[attr-defined]
        return method

    return mark


class Aggregate:
    """Hold the state of one stream; the annotated fields of a subclass, with their defaults, are the state.

    class Invoice(Aggregate):
        total: Decimal = Decimal(0)

        def pay(self, amount):                      # or @handles(PayInvoice)
            if amount > self.total: raise ValidationError("more than is owed")
            self.record("invoice.paid", {"amount": amount})

        @applies("invoice.paid")
        def _paid(self, data):
            self.total -= Decimal(data["amount"])
    """

    aggregate_type: ClassVar[str] = ""
    """Name of the streams; the class's name when empty."""
    snapshot_every: ClassVar[int] = 0
    """Keep a snapshot each time so many events came; 0 keeps none."""
    schema_version: ClassVar[int] = 1
    """Raise it when the same events lead to another state than before: older snapshots are ignored then."""
    event_types: ClassVar[EventTypes] = EVENT_TYPES
    _appliers: ClassVar[dict[str, str]] = {}
    _handlers: ClassVar[dict[type, str]] = {}
    _fields: ClassVar[dict[str, object]] = {}

    def __init_subclass__(cls) -> None:
        """Collect the methods that apply and handle."""
        cls.aggregate_type = cls.__dict__.get("aggregate_type") or cls.__name__
        cls._appliers, cls._handlers = dict(cls._appliers), dict(cls._handlers)
        for name, member in vars(cls).items():
            for event_type in getattr(member, "_applies", ()):
                cls._appliers[event_type] = name
            if hasattr(member, "_handles"):
                cls._handlers[member._handles] = name

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.version = 0
        self.uncommitted: list[dict[str, object]] = []
        self.handed_in = 0
        """How many of them an open transaction will write."""
        for name in self.state_fields():
            if hasattr(type(self), name):  # a copy each: two invoices must not share one list
                setattr(self, name, copy.deepcopy(getattr(type(self), name)))

    @classmethod
    def state_fields(cls) -> dict[str, object]:
        """Return names and types of the fields that are the state."""
        if "_fields" not in cls.__dict__:
            hints = {name: hint for name, hint in get_type_hints(cls).items() if get_origin(hint) is not ClassVar and hint is not ClassVar}
            cls._fields = {name: hint for name, hint in hints.items() if not name.startswith("_")}
        return cls._fields

    @classmethod
    def schema_hash(cls) -> str:
        """Return what a snapshot must share with the code to be of use."""
        fields = ",".join(f"{name}:{hint}" for name, hint in sorted(cls.state_fields().items()))
        return hashlib.sha256(f"{cls.aggregate_type}/{cls.schema_version}/{fields}".encode()).hexdigest()[:32]

    def handle(self, command: object) -> object:
        """Let the method for the command's class decide; raise EventError when there is none."""
        name = self._handlers.get(type(command))
        if name is None:
            raise EventError(f"{type(self).__name__} handles no {type(command).__name__}", hint="mark a method with @handles(…)")
        return getattr(self, name)(command)

    def record(self, what: str | msgspec.Struct, payload: Mapping[str, object] | None = None, **more: object) -> None:
        """Take a new event: apply it now, keep it to be saved. `what` is an event type with a payload, or a registered Struct."""
        described = self.event_types.describe(what)
        name, version = described or (str(what), self.event_types.version(str(what)))
        given = what if described else payload or {}
        self.apply(_draft(self, name, version, json_text(given, "payload")))  # by way of JSON, so that replay sees the same types
        self.version -= 1
        self.uncommitted.append({"event_type": name, "schema_version": version, "payload": given, **more})

    def apply(self, event: Event) -> None:
        """Change the state by one event; types without a method only count."""
        name = self._appliers.get(event.event_type)
        if name is not None:
            getattr(self, name)(self.event_types.decode(event))
        self.version += 1


def _draft(aggregate: Aggregate, name: str, version: int, text: str) -> Event:
    now = SYSTEM_CLOCK.now()
    return Event(0, "", aggregate.aggregate_type, aggregate.id, 0, "", name, version, text, None, "{}", None, None, None, None, now)


class Repository(Generic[A]):
    """Read and save aggregates of one class; blocks, so on an event loop run it in the pool."""

    def __init__(self, events: "EventStore", kind: type[A]) -> None:
        self._events, self._kind = events, kind
        mine = (
            SNAPSHOT.c.tenant_id == bindparam("tenant"),
            SNAPSHOT.c.aggregate_type == kind.aggregate_type,
            SNAPSHOT.c.aggregate_id == bindparam("id"),
            SNAPSHOT.c.schema_hash == kind.schema_hash(),
        )
        self._snapshot = events.store.compile(select(SNAPSHOT.c.version, SNAPSHOT.c.state).where(*mine))

    def get(self, identity: str | int) -> A:
        """Return the aggregate as it is now; raise NotFoundError when it has no events."""
        return self._found(self._load(str(identity)))

    def find(self, identity: str | int) -> A:
        """Return the aggregate as it is now, a new one when it has no events."""
        return self._load(str(identity))

    def at_version(self, identity: str | int, version: int) -> A:
        """Return the aggregate as it was at a version; raise NotFoundError when it never was."""
        aggregate = self._found(self._load(str(identity), upto=version, snapshot=False))
        if aggregate.version != version:
            raise NotFoundError(f"{self._kind.aggregate_type} {identity} has {aggregate.version} versions, not {version}")
        return aggregate

    def at_time(self, identity: str | int, moment: datetime) -> A:
        """Return the aggregate as it was at an aware moment; raise NotFoundError when it had no events yet, ValueError for a naive time."""
        if moment.tzinfo is None:
            raise ValueError(f"{moment.isoformat()} has no time zone")
        aggregate = self._kind(str(identity))
        for event in self._events.blocking_stream(self._kind.aggregate_type, aggregate.id):
            if event.recorded_at > moment:
                break
            aggregate.apply(event)
        return self._found(aggregate)

    def save(self, aggregate: A, tx: Transaction | None = None, *, metadata: Mapping[str, object] | None = None) -> None:
        """Write what the aggregate recorded, all or nothing; raise VersionConflictError when somebody was faster.

        With `tx` the events are written at the end of that transaction; when it is undone, the aggregate still holds them.
        """
        stream = {"aggregate_type": aggregate.aggregate_type, "aggregate_id": aggregate.id, "metadata": metadata or {}}
        numbered = list(enumerate(aggregate.uncommitted, aggregate.version))[aggregate.handed_in :]
        given = [{**event, **stream, "expected_version": version} for version, event in numbered]
        if not given:
            return
        self._events.blocking_append(given, tx)
        if tx is None:
            self._saved(aggregate, len(given))
        else:
            aggregate.handed_in += len(given)
            tx.after_commit(lambda: self._saved(aggregate, len(given)))
            tx.after_end(lambda: setattr(aggregate, "handed_in", 0))

    def _saved(self, aggregate: A, events: int) -> None:
        before, every = aggregate.version, aggregate.snapshot_every
        aggregate.version += events
        del aggregate.uncommitted[:events]
        if every and before // every != aggregate.version // every:
            self._keep(aggregate)

    def execute(
        self, identity: str | int, decide: Callable[[A], T] | object, *, attempts: int = ATTEMPTS, metadata: Mapping[str, object] | None = None
    ) -> T:
        """Read, let `decide` (or the aggregate, for a command object) record, save; anew when somebody was faster.

        Raises VersionConflictError in the end.
        """
        for attempt in range(1, attempts + 1):
            aggregate = self.find(identity)
            result = cast("T", decide(aggregate) if callable(decide) else aggregate.handle(decide))
            try:
                self.save(aggregate, metadata=metadata)
            except VersionConflictError:
                if attempt == attempts:
                    raise
            else:
                return result
        raise ValueError("attempts must be 1 or more")

    def _found(self, aggregate: A) -> A:
        if aggregate.version == 0:
            raise NotFoundError(f"there is no {self._kind.aggregate_type} {aggregate.id}")
        return aggregate

    def _load(self, identity: str, upto: int = 2**31 - 1, *, snapshot: bool = True) -> A:
        aggregate = self._kind(identity)
        if snapshot and self._kind.snapshot_every:
            self._restore(aggregate)
        for event in self._events.blocking_stream(self._kind.aggregate_type, identity, aggregate.version, upto):
            aggregate.apply(event)
        return aggregate

    def _restore(self, aggregate: A) -> None:
        with self._events.store.read() as tx:
            row = tx.row(self._snapshot, tenant=self._events.tenant(), id=aggregate.id)
        if row is not None:
            state = msgspec.json.decode(row[1])
            for name, hint in aggregate.state_fields().items():
                setattr(aggregate, name, msgspec.convert(state[name], hint, strict=False))
            aggregate.version = int(row[0])

    def _keep(self, aggregate: A) -> None:
        state = json_text({name: getattr(aggregate, name) for name in aggregate.state_fields()}, "state")
        row: dict[str, object] = {"tenant_id": self._events.tenant(), "aggregate_type": self._kind.aggregate_type, "aggregate_id": aggregate.id}
        row |= {"version": aggregate.version, "schema_hash": self._kind.schema_hash(), "state": state, "taken_at": self._events.clock.now()}
        try:
            with self._events.store.begin() as tx:
                tx.execute(_KEEP, row)
        except StoreError:  # the events are saved, and that is what counts
            log.warning("no snapshot of %s %s could be kept", self._kind.aggregate_type, aggregate.id, exc_info=True)


_KEEP = text(
    "insert into rakiza_events_snapshot (tenant_id, aggregate_type, aggregate_id, version, schema_hash, state, taken_at)"
    " values (:tenant_id, :aggregate_type, :aggregate_id, :version, :schema_hash, :state, :taken_at)"
    " on conflict (tenant_id, aggregate_type, aggregate_id) do update"
    " set version = excluded.version, schema_hash = excluded.schema_hash, state = excluded.state, taken_at = excluded.taken_at"
    " where rakiza_events_snapshot.version < excluded.version or rakiza_events_snapshot.schema_hash <> excluded.schema_hash"
).bindparams(bindparam("taken_at", type_=UtcDateTime))
