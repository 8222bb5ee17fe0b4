"""What an operator looks through: streams one by one, the types there are. Each step is one look into an index, however long the log."""

from typing import Any

import msgspec
from sqlalchemy import bindparam, func, select, tuple_

from rakiza.store import Store, Transaction, as_utc

from ._core import Stream
from .tables import EVENT

MAX_TYPES = 200
LAST_VERSION = 2**31 - 1
FIRST: Stream = ("", "", "")
_KEY = (EVENT.c.tenant_id, EVENT.c.aggregate_type, EVENT.c.aggregate_id)


class StreamLine(msgspec.Struct):
    """Show a stream by its last event."""

    aggregate_type: str
    aggregate_id: str
    tenant: str
    version: int
    last_type: str
    last_position: int
    last_at: str


class Browser:
    """Go through streams and types."""

    def __init__(self, store: Store) -> None:
        beyond = tuple_(*_KEY, EVENT.c.version) > tuple_(bindparam("tenant"), bindparam("kind"), bindparam("id"), LAST_VERSION)
        following = select(*_KEY).where(beyond).order_by(*_KEY, EVENT.c.version).limit(1)
        starting = EVENT.c.aggregate_id.like(bindparam("pattern"), escape="\\")
        kinds = EVENT.c.aggregate_type == bindparam("only")
        compiled = store.compile
        self._following = {
            (False, False): compiled(following),
            (True, False): compiled(following.where(kinds)),
            (False, True): compiled(following.where(starting)),
            (True, True): compiled(following.where(kinds, starting)),
        }
        mine = (EVENT.c.tenant_id == bindparam("tenant"), EVENT.c.aggregate_type == bindparam("kind"), EVENT.c.aggregate_id == bindparam("id"))
        last = (EVENT.c.version, EVENT.c.event_type, EVENT.c.position, EVENT.c.recorded_at)
        self._last = compiled(select(*last).where(*mine).order_by(EVENT.c.version.desc()).limit(1))
        kind = tuple_(EVENT.c.tenant_id, EVENT.c.aggregate_type) > tuple_(bindparam("tenant"), bindparam("kind"))
        two = (EVENT.c.tenant_id, EVENT.c.aggregate_type)
        self._next_kind = compiled(select(*two).where(kind).order_by(*two).limit(1))
        self._next_type = compiled(select(func.min(EVENT.c.event_type)).where(EVENT.c.event_type > bindparam("after")))

    def streams(self, tx: Transaction, after: Stream, size: int, kind: str | None = None, start: str = "") -> list[StreamLine]:
        """Return the streams that follow one in the order of tenant, aggregate type and id, of one type or whose id starts with a text if wanted."""
        statement = self._following[kind is not None, bool(start)]
        found: list[StreamLine] = []
        given: dict[str, Any] = {"only": kind} if kind is not None else {}
        if start:
            given["pattern"] = start.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        while len(found) < size and (row := tx.row(statement, tenant=after[0], kind=after[1], id=after[2], **given)):
            after = (row[0], row[1], row[2])
            version, event_type, position, at = tx.row(self._last, tenant=after[0], kind=after[1], id=after[2]) or (0, "", 0, "")
            found.append(StreamLine(after[1], after[2], after[0], version, event_type, position, as_utc(at).isoformat()))
        return found

    def aggregate_types(self, tx: Transaction) -> list[str]:
        """Return the aggregate types in the log, at most MAX_TYPES."""
        found: set[str] = set()
        last: tuple[Any, ...] = ("", "")
        while len(found) < MAX_TYPES and (row := tx.row(self._next_kind, tenant=last[0], kind=last[1])):
            found.add(row[1])
            last = row
        return sorted(found)

    def event_types(self, tx: Transaction) -> list[str]:
        """Return the event types in the log, at most MAX_TYPES."""
        found = [""]
        while len(found) <= MAX_TYPES and (row := tx.row(self._next_type, after=found[-1])) and row[0] is not None:
            found.append(row[0])
        return found[1:]
