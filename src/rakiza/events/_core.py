"""Pure decisions of the log: what an event is, how it is checked and written as text, and which appends of a batch may stand."""

import difflib
import math
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Self, TypeVar
from uuid import UUID

import msgspec

from rakiza._kernel import DEFAULT_TENANT, uuid7_text
from rakiza.store import as_utc

from .errors import EventError, EventIdTakenError, VersionConflictError

T = TypeVar("T")
TOPIC = "events"
"""The topic on which the bus tells that the log grew; on PostgreSQL the function that appends says it itself."""
MAX_NAME_CHARACTERS = 200
MAX_TAGS = 1_000
MAX_DEPTH = 100
MAX_APPEND_CHARACTERS = 16 * 1024 * 1024
"""An append holds the lock of the log while it is written: seconds at this size."""
FIELDS = frozenset(
    {"event_type", "aggregate_type", "aggregate_id", "payload", "metadata", "expected_version", "event_id", "schema_version", "tags"}
    | {"tenant", "user_id", "correlation_id", "causation_id", "subject", "personal"}
)
_NUMBERS = frozenset({int, UUID})
_PLAIN = frozenset({str, int, bool, type(None), UUID, datetime})
_encode = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode
_decode = msgspec.json.Decoder().decode
_in_order = msgspec.json.Encoder(order="sorted").encode
_object = msgspec.json.Decoder(dict[str, object]).decode

Stream = tuple[str, str, str]
"""Tenant, aggregate type and aggregate id."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """Show one recorded event; the texts are exactly what is stored, `payload` and `metadata` decode them."""

    position: int
    tenant: str
    aggregate_type: str
    aggregate_id: str
    version: int
    event_id: str
    event_type: str
    schema_version: int
    payload_text: str
    sealed: str | None
    metadata_text: str
    user_id: str | None
    correlation_id: str | None
    causation_id: str | None
    tags_text: str | None
    recorded: datetime | str

    @property
    def payload(self) -> dict[str, object]:
        """Return the payload decoded anew: Decimal, datetime and UUID come back as text; `store.decode(event)` gives types."""
        return _object(self.payload_text)

    @property
    def metadata(self) -> dict[str, object]:
        """Return the metadata decoded anew."""
        return _object(self.metadata_text)

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tags."""
        return tuple(_decode(self.tags_text)) if self.tags_text else ()

    @property
    def recorded_at(self) -> datetime:
        """Return the aware UTC time at which the event was written; clocks step, so the order is that of `position`."""
        return as_utc(self.recorded)

    @property
    def stream(self) -> Stream:
        """Return tenant, aggregate type and aggregate id."""
        return (self.tenant, self.aggregate_type, self.aggregate_id)


class NewEvent(msgspec.Struct, gc=False):
    """Hold an event ready to be written, checked and encoded."""

    tenant: str
    aggregate_type: str
    aggregate_id: str
    event_id: str
    event_type: str
    schema_version: int
    payload: str
    sealed: str | None
    metadata: str
    user_id: str | None
    correlation_id: str | None
    causation_id: str | None
    tags: tuple[str, ...]
    expected: int | None
    repeated: bool
    """The id may be stored already: the caller gave it, or the outcome of an earlier attempt is unknown."""

    @property
    def stream(self) -> Stream:
        """Return tenant, aggregate type and aggregate id."""
        return (self.tenant, self.aggregate_type, self.aggregate_id)

    @property
    def tags_text(self) -> str | None:
        """Return the tags as the text that is stored, none when there are none."""
        return _encode(self.tags).decode() if self.tags else None


class Query(msgspec.Struct, frozen=True):
    """Match events that have one of the types (any when empty) and all of the tags."""

    event_types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class Condition(msgspec.Struct, frozen=True):
    """Let an append stand only when no event after position `after` matches (a dynamic consistency boundary)."""

    fail_if_match: Query
    after: int = 0


class Append(NamedTuple):
    """Hold the events that are written together or not at all."""

    events: tuple[NewEvent, ...]
    condition: Condition | None = None


class Appended(msgspec.Struct, gc=False):
    """Tell where an event stands in the log: position and version are 0 until the transaction it belongs to has committed.

    `duplicate` says that it stood there before. It may be awaited, so that one call serves code with and without an event loop.
    """

    position: int
    version: int
    event_id: str
    duplicate: bool = False

    def __await__(self) -> Generator[None, None, Self]:
        """Return itself."""
        yield from ()
        return self


class Listed(list[T]):
    """Hold several results; it may be awaited as one may."""

    def __await__(self) -> Generator[None, None, Self]:
        """Return itself."""
        yield from ()
        return self


Verdict = list[Appended] | Exception
Row = tuple[int, int, NewEvent]
"""Position, version and the event to be inserted."""


class Origin(NamedTuple):
    """Hold what an event takes from the work at hand when it is not said."""

    tenant: str = DEFAULT_TENANT
    user_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


def new_event(given: Mapping[str, object], origin: Origin, limit: int) -> NewEvent:
    """Check and encode what a caller hands in; raise EventError naming the field."""
    if not given.keys() <= FIELDS:
        raise _unknown_field(min(given.keys() - FIELDS, key=str))
    metadata = given.get("metadata") or {}
    if type(metadata) is not dict and not isinstance(metadata, Mapping):
        raise EventError(f"metadata must be a mapping, got {type(metadata).__name__}")
    event_id, tags, causes = given.get("event_id"), given.get("tags"), metadata.get
    payload, notes = json_text(given.get("payload", {}), "payload"), json_text(metadata, "metadata") if metadata else "{}"
    check_size(payload + notes, limit)
    return NewEvent(
        _name(given.get("tenant", origin.tenant), "tenant"),
        _name(given.get("aggregate_type"), "aggregate_type"),
        _name(_as_text(given.get("aggregate_id")), "aggregate_id"),
        uuid7_text() if event_id is None else _uuid(event_id),
        _name(given.get("event_type"), "event_type"),
        _count(given.get("schema_version", 1), "schema_version", 1),
        payload,
        None,
        notes,
        _optional(given.get("user_id", causes("user_id", origin.user_id)), "user_id"),
        _optional(given.get("correlation_id", causes("correlation_id", origin.correlation_id)), "correlation_id"),
        _optional(given.get("causation_id", causes("causation_id", origin.causation_id)), "causation_id"),
        _tags(tags) if tags else (),
        None if given.get("expected_version") is None else _count(given["expected_version"], "expected_version", 0),
        event_id is not None,
    )


def check_size(text: str, limit: int) -> None:
    """Raise EventError for an event whose texts together have more than `limit` bytes."""
    if len(text) > limit // 4 and (size := len(text.encode())) > limit:  # four bytes a character at most
        hint = "keep files in storage and their address in the event, or raise RAKIZA_EVENTS_MAX_EVENT_BYTES"
        raise EventError(f"the event has {size:,} bytes, at most {limit:,} are allowed", code="event_too_large", hint=hint)


def check_append(events: Sequence[NewEvent]) -> None:
    """Raise EventError for an append that would hold the log for too long."""
    size = sum(len(event.payload) + len(event.metadata) + len(event.sealed or "") for event in events)
    if size > MAX_APPEND_CHARACTERS:
        said = f"the append has {size:,} characters in {len(events)} events, at most {MAX_APPEND_CHARACTERS:,} are allowed"
        raise EventError(said, code="event_too_large", hint="append it in several pieces")


def _unknown_field(name: object) -> EventError:
    near = difflib.get_close_matches(str(name), FIELDS, 1)
    meant = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(sorted(FIELDS))}"
    return EventError(f"an event has no field {name!r}", hint=meant)


def _as_text(value: object) -> object:
    return str(value) if type(value) in _NUMBERS else value


def _name(value: object, field: str) -> str:
    if type(value) is str and 0 < len(value) <= MAX_NAME_CHARACTERS and value.isprintable():
        return value
    if value is None:
        raise EventError(f"{field} is missing")
    if type(value) is not str or not value:
        raise EventError(f"{field} must be a text that is not empty, got {value!r}")
    raise EventError(f"{field} must have at most {MAX_NAME_CHARACTERS} characters, all printable, got {value[:50]!r}")


def _optional(value: object, field: str) -> str | None:
    return None if value is None or value == "" else _name(_as_text(value), field)


def _count(value: object, field: str, least: int) -> int:
    if type(value) is not int or not least <= value < 2**31 - 1:
        meaning = "; 0 means the stream must be new, nothing means any version" if field == "expected_version" else ""
        raise EventError(f"{field} must be a whole number from {least}, got {value!r}{meaning}")
    return value


def _uuid(value: object) -> str:
    try:
        return str(value if isinstance(value, UUID) else UUID(str(value)))
    except ValueError:
        raise EventError(f"event_id must be a UUID, got {value!r}", hint="leave it out, or make one with uuid.uuid4()") from None


def _tags(value: object) -> tuple[str, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence | set | frozenset) or len(value) > MAX_TAGS:
        raise EventError(f"tags must be a list of at most {MAX_TAGS} texts, got {type(value).__name__}")
    return tuple(sorted({_name(one, "a tag") for one in value}))


def json_text(value: object, field: str) -> str:
    """Return a mapping or Struct as the JSON text that is stored; raise EventError naming what JSON cannot say."""
    if type(value) is not dict and not isinstance(value, Mapping | msgspec.Struct):
        raise EventError(f"{field} must be a mapping or a msgspec Struct, got {type(value).__name__}")
    try:
        _refuse_silent_loss(value, (field,), 0)
        return _encode(value).decode()
    except (TypeError, OverflowError, RecursionError, UnicodeEncodeError, ValueError) as error:
        raise EventError(f"{field} cannot be written as JSON: {error}") from error


Place = tuple[object, ...]
"""Where in a document: a key or a number, and the place it is in; made into text only for an error."""


def _refuse_silent_loss(value: object, place: Place, depth: int) -> None:
    """Raise EventError for what JSON has no word for and encoders change without saying so."""
    kind = type(value)
    if depth > MAX_DEPTH:
        raise EventError(f"{_path(place)[:MAX_NAME_CHARACTERS]}… is nested more than {MAX_DEPTH} deep")
    if kind is dict or isinstance(value, Mapping):
        for key, inner in value.items():  # type: ignore[attr-defined] # a mapping, told the quick way first
            if type(inner) not in _PLAIN:
                _refuse_silent_loss(inner, (key, place), depth + 1)
    elif kind is list or isinstance(value, list | tuple):
        for number, inner in enumerate(value):  # type: ignore[arg-type]
            if type(inner) not in _PLAIN:
                _refuse_silent_loss(inner, (number, place), depth + 1)
    elif isinstance(value, msgspec.Struct):
        _refuse_silent_loss(msgspec.structs.asdict(value), place, depth)
    else:
        _refuse_value(value, place)


def _refuse_value(value: object, place: Place) -> None:
    if isinstance(value, set | frozenset):
        raise EventError(f"{_path(place)} is a set, which has no order in JSON", hint="give a sorted list")
    if isinstance(value, float) and not math.isfinite(value):
        raise EventError(f"{_path(place)} is {value}, which JSON cannot say", hint="leave it out or give None")
    if isinstance(value, bytes | bytearray | memoryview):
        raise EventError(f"{_path(place)} is bytes, which JSON cannot say", hint="give text, for example base64")


def _path(place: Place) -> str:
    if len(place) == 1:
        return str(place[0])
    key, outer = place
    return f"{_path(outer)}[{key}]" if isinstance(key, int) else f"{_path(outer)}.{key}"  # type: ignore[arg-type]


class Stored(NamedTuple):
    """Hold what is compared when an event's id is stored already."""

    position: int
    version: int
    same: tuple[object, ...]


def content(event: NewEvent) -> tuple[object, ...]:
    """Return what two events with one id must share to be the same event."""
    return (event.stream, event.event_type, event.schema_version, _plain(event.payload), event.tags)


def stored_content(stream: Stream, event_type: str, schema_version: int, payload: str, tags: str | None) -> tuple[object, ...]:
    """Return the same of an event that is stored."""
    return (stream, event_type, schema_version, _plain(payload), tuple(_decode(tags)) if tags else ())


def _plain(payload: str) -> bytes:
    return _in_order(_decode(payload))  # as text, because Python takes true, 1 and 1.0 for the same


def decide(
    appends: Sequence[Append], head: int, versions: dict[Stream, int], stored: dict[tuple[str, str], Stored]
) -> tuple[list[Verdict], list[Row]]:
    """Return a verdict for each append and the rows of those that stand, numbered from `head` on without a gap.

    `versions` holds the last version of each stream named, `stored` the events whose id may be there already (by tenant
    and id); both are brought up to date, so that a batch is judged as if its appends had come one after the other.
    """
    verdicts: list[Verdict] = []
    rows: list[Row] = []
    for append in appends:
        try:
            verdict, made = _judge(append, head + len(rows), versions, stored)
        except (VersionConflictError, EventIdTakenError) as error:
            verdicts.append(error)
            continue
        verdicts.append(verdict)
        rows += made
        for position, version, event in made:
            versions[event.stream] = version
            if event.repeated:
                stored[event.tenant, event.event_id] = Stored(position, version, content(event))
    return verdicts, rows


def _judge(append: Append, head: int, versions: dict[Stream, int], stored: dict[tuple[str, str], Stored]) -> tuple[list[Appended], list[Row]]:
    if stored and any(known := [stored.get((event.tenant, event.event_id)) if event.repeated else None for event in append.events]):
        return _repeated(append, known), []
    rows: list[Row] = []
    placed: list[Appended] = []
    latest: dict[Stream, int] = {}
    for position, event in enumerate(append.events, head + 1):
        stream = event.stream
        version = latest.get(stream, versions.get(stream, 0))
        if event.expected is not None and event.expected != version:
            raise VersionConflictError(f"{event.aggregate_type} {event.aggregate_id}", event.expected, version)
        latest[stream] = version + 1
        rows.append((position, version + 1, event))
        placed.append(Appended(position, version + 1, event.event_id))
    if len(rows) > 1 and len({(event.tenant, event.event_id) for event in append.events}) < len(rows):
        raise EventIdTakenError("two events of one append have the same event_id", hint="give each event an id of its own")
    return placed, rows


def _repeated(append: Append, known: Sequence[Stored | None]) -> list[Appended]:
    for event, found in zip(append.events, known, strict=True):
        if found is None or found.same != content(event):
            where = f"; it is at position {found.position}" if found else ""
            lacking = "belongs to an append of which only a part is stored" if found is None else "is stored already with other content"
            raise EventIdTakenError(f"the event {event.event_id} {lacking}{where}", hint="give a new event a new event_id")
    return [Appended(one.position, one.version, event.event_id, True) for event, one in zip(append.events, known, strict=True) if one]
