"""Event types: their classes and schema versions, and the pure functions that lift what an older version wrote."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from ._core import Event
from .errors import EventError

S = TypeVar("S", bound=type[msgspec.Struct])
Payload = dict[str, object]
Lift = Callable[[Payload], Payload]


class Kind(NamedTuple):
    """Hold one event type as the code knows it now."""

    struct: type[msgspec.Struct]
    version: int
    decoder: "msgspec.json.Decoder[msgspec.Struct]"


class EventTypes:
    """Know event types by their stable names, never by the path of a class."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._names: dict[type, str] = {}
        self._lifts: dict[tuple[str, int], Lift] = {}

    def event_type(self, name: str, version: int = 1) -> Callable[[S], S]:
        """Make a msgspec Struct the payload of the event type `name`; raise ValueError for a name in use."""

        def register(struct: S) -> S:
            if name in self._kinds and self._kinds[name].struct.__qualname__ != struct.__qualname__:
                raise ValueError(f"the event type {name!r} is {self._kinds[name].struct.__name__} already")
            self._kinds[name] = Kind(struct, version, msgspec.json.Decoder(struct))
            self._names[struct] = name
            return struct

        return register

    def upcaster(self, name: str, from_version: int) -> Callable[[Lift], Lift]:
        """Lift a payload of `from_version` to the next version by a pure function."""

        def register(lift: Lift) -> Lift:
            self._lifts[name, from_version] = lift
            return lift

        return register

    def describe(self, payload: object) -> tuple[str, int] | None:
        """Return name and version of the event type a payload belongs to, or none."""
        name = self._names.get(type(payload))
        return None if name is None else (name, self._kinds[name].version)

    def version(self, name: str) -> int:
        """Return the current schema version of an event type, 1 for an unknown one."""
        kind = self._kinds.get(name)
        return kind.version if kind else 1

    def names(self) -> list[str]:
        """Return the names of the known event types."""
        return sorted(self._kinds)

    def decode(self, event: Event) -> msgspec.Struct | Payload:
        """Return the payload in its class, lifted to the current version; as it is when the type, or a newer version of it, is unknown.

        Raises EventError for a payload that does not fit its class or lacks an upcaster.
        """
        kind = self._kinds.get(event.event_type)
        if kind is None or event.schema_version > kind.version:
            return event.payload
        try:
            if event.schema_version == kind.version:
                return kind.decoder.decode(event.payload_text)
            return msgspec.convert(self.lift(event.event_type, event.schema_version, event.payload), kind.struct)
        except msgspec.ValidationError as error:
            where = f"the event at position {event.position} ({event.event_type}, version {event.schema_version})"
            hint = "write an upcaster for the version it was written with"
            raise EventError(f"{where} does not fit {kind.struct.__name__}: {error}", hint=hint) from error

    def lift(self, name: str, version: int, payload: Mapping[str, object]) -> Payload:
        """Return a payload of an older version as the current version has it; raise EventError when a step is missing."""
        lifted = dict(payload)
        for step in range(version, self.version(name)):
            lift = self._lifts.get((name, step))
            if lift is None:
                raise EventError(f"{name} has no upcaster from version {step} to {step + 1}", hint=f"@upcaster({name!r}, from_version={step})")
            lifted = lift(lifted)
        return lifted

    def older_versions(self) -> list[tuple[str, int]]:
        """Return every type and older version that may stand in a log: each needs a golden file."""
        return [(name, version) for name, kind in sorted(self._kinds.items()) for version in range(1, kind.version)]


EVENT_TYPES = EventTypes()
event_type = EVENT_TYPES.event_type
upcaster = EVENT_TYPES.upcaster
