"""Read the log: by stream, type, correlation, tag, user and time, forwards and backwards, in keyset pages."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import starmap
from typing import Any

import msgspec
from sqlalchemy import Select, Text, bindparam, exists, null, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.sql import ColumnElement

from rakiza.store import Compiled, Store, Transaction

from ._core import Event, Listed, Stream
from .tables import EVENT, HEAD, TAG

MAX_PAGE = 5_000
ALL_TENANTS = "*"
_ALWAYS = frozenset({"position", "event_type", "schema_version"})
_AS_TEXT = frozenset({"payload", "metadata", "event_id", "recorded_at"})  # what the driver would make objects of, each time
COLUMNS = tuple(sql_cast(column, Text).label(column.name) if column.name in _AS_TEXT else column for column in EVENT.c)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Say which events to read; what is not said matches everything."""

    tenant: str | None = None
    event_types: tuple[str, ...] = ()
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    correlation_id: str | None = None
    user_id: str | None = None
    tag: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    columns: tuple[str, ...] = ()
    """The only columns to be fetched, by the names of the table; the others are none, which is faster. Empty fetches all."""

    def selected(self) -> list[ColumnElement[Any]]:
        """Return what to select."""
        wanted = _ALWAYS.union(self.columns) if self.columns else frozenset(column.name for column in EVENT.c)
        return [shown if column.name in wanted else null().label(column.name) for column, shown in zip(EVENT.c, COLUMNS, strict=True)]

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions on the event table, their values as parameters named like the fields."""
        found: list[ColumnElement[bool]] = []
        found += [column == bindparam(name) for name, column in _EQUAL.items() if getattr(self, name) is not None]
        if self.tenant is not None:
            # Only a stream's index may be entered by the tenant: else a page would be all of a tenant's events, sorted.
            tenant = EVENT.c.tenant_id if self.aggregate_id is not None else EVENT.c.tenant_id.concat("")
            found.append(tenant == bindparam("tenant"))
        if self.event_types:
            found.append(EVENT.c.event_type.in_([bindparam(f"type_{n}") for n in range(len(self.event_types))]))
        if self.tag is not None:
            found.append(exists().where(TAG.c.tenant_id == EVENT.c.tenant_id, TAG.c.tag == bindparam("tag"), TAG.c.position == EVENT.c.position))
        if self.since is not None:
            found.append(EVENT.c.recorded_at >= bindparam("since", type_=EVENT.c.recorded_at.type))
        if self.until is not None:
            found.append(EVENT.c.recorded_at < bindparam("until", type_=EVENT.c.recorded_at.type))
        return found

    def values(self) -> dict[str, object]:
        """Return the parameters of the conditions."""
        given = {name: getattr(self, name) for name in (*_EQUAL, *_OTHERS) if getattr(self, name) is not None}
        return given | {f"type_{n}": name for n, name in enumerate(self.event_types)}

    def shape(self) -> tuple[object, ...]:
        """Return what two filters with the same statement share."""
        return (*(getattr(self, name) is None for name in (*_EQUAL, *_OTHERS)), len(self.event_types), self.columns)


_EQUAL: dict[str, Any] = {
    "aggregate_type": EVENT.c.aggregate_type,
    "aggregate_id": EVENT.c.aggregate_id,
    "correlation_id": EVENT.c.correlation_id,
    "user_id": EVENT.c.user_id,
}
_OTHERS = ("tenant", "tag", "since", "until")
EVERYTHING = Filter()


class Reader:
    """Read events by the driver's own rows; statements are compiled once for each shape of a question."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._statements: dict[tuple[object, ...], Select[Any]] = {}
        self._head = store.compile(select(HEAD.c.position).where(HEAD.c.shard == 0))
        mine = (EVENT.c.tenant_id == bindparam("tenant"), EVENT.c.aggregate_type == bindparam("kind"), EVENT.c.aggregate_id == bindparam("id"))
        within = (EVENT.c.version > bindparam("after"), EVENT.c.version <= bindparam("upto"))
        self._stream = store.compile(select(*COLUMNS).where(*mine, *within).order_by(EVENT.c.version).limit(bindparam("size")))

    def head(self, tx: Transaction) -> int:
        """Return the position of the last event, 0 when there is none."""
        return int((tx.row(self._head) or (0,))[0])

    def stream(self, tx: Transaction, stream: Stream, after: int = 0, upto: int = 2**31 - 1) -> Listed[Event]:
        """Return the events of a stream with versions above `after` up to `upto`."""
        found: Listed[Event] = Listed()
        tenant, kind, identity = stream
        while True:
            rows = tx.rows(self._stream, tenant=tenant, kind=kind, id=identity, after=after, upto=upto, size=MAX_PAGE)
            found += starmap(Event, rows)
            if len(rows) < MAX_PAGE:
                return found
            after = found[-1].version

    def page(self, tx: Transaction, chosen: Filter, after: int, upto: int, size: int, *, backwards: bool = False) -> Listed[Event]:
        """Return at most `size` matching events with positions above `after` up to `upto`, newest first when `backwards`."""
        return Listed(starmap(Event, self.rows(tx, chosen, after, upto, size, backwards=backwards)))

    def rows(self, tx: Transaction, chosen: Filter, after: int, upto: int, size: int, *, backwards: bool = False) -> list[tuple[Any, ...]]:
        """Return the same as raw rows in the order of Event's fields."""
        statement = self._statement(chosen, backwards)
        return tx.rows(statement, after=after, upto=upto, size=size, **chosen.values())

    def _statement(self, chosen: Filter, backwards: bool) -> Compiled:
        key = (backwards, *chosen.shape())
        statement = self._statements.get(key)
        if statement is None:
            within = (EVENT.c.position > bindparam("after"), EVENT.c.position <= bindparam("upto"), *chosen.conditions())
            order = EVENT.c.position.desc() if backwards else EVENT.c.position
            statement = self._statements[key] = select(*chosen.selected()).where(*within).order_by(order).limit(bindparam("size"))
        return self._store.compile(statement)

    def pages(self, chosen: Filter = EVERYTHING, after: int = 0, size: int = MAX_PAGE) -> Iterator[Sequence[Event]]:
        """Yield the matching events from `after` to the head of now in pages, each read in a transaction of its own."""
        with self._store.read() as tx:
            head = self.head(tx)
        while after < head:
            with self._store.read() as tx:
                found = self.page(tx, chosen, after, head, size)
            if found:
                yield found
            after = found[-1].position if len(found) == size else head
