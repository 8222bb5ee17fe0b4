"""Tell who changed a line of a bill, when, from what to what, and which import brought it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple, cast

import msgspec
from sqlalchemy import and_, bindparam, select

from noufal._history import Changes
from rakiza._kernel import Principal
from rakiza.events import Event
from rakiza.security import Security
from rakiza.store import as_utc

from .service import BIGGEST_KEY, Bills, no_such_item
from .tables import bill_import, item

DEFAULT_PAGE, MAX_PAGE = 100, 500
PRICED = frozenset({"unit_price"})
Names = Mapping[str, str]


class HistoryChange(msgspec.Struct, frozen=True):
    """Show one field before and after; prices are none for whoever may not see them."""

    field: str
    before: str | None = msgspec.field(name="from")
    after: str | None = msgspec.field(name="to")


class HistoryEntry(msgspec.Struct, frozen=True):
    """Show one change: by an edit (`changed`) or by an import (`imported`), which names its file; version 0 is the line's arrival."""

    version: int
    at: datetime
    by: str
    action: Literal["changed", "imported"]
    source: str | None
    changes: list[HistoryChange]


class HistoryItem(msgspec.Struct, frozen=True):
    """Name the line."""

    id: int
    code: str
    description: str


class ItemHistory(msgspec.Struct, frozen=True):
    """Hold one page of a line's history, the newest first."""

    item: HistoryItem
    entries: list[HistoryEntry]
    next_before: int | None


class _Line(NamedTuple):
    id: int
    code: str
    description: str
    file: str | None
    imported_at: datetime | str | None
    imported_by: str | None
    user_id: str | None


class Timeline:
    """Tell the history of lines."""

    def __init__(self, bills: Bills, security: Security) -> None:
        self._bills, self._security = bills, security
        brought = and_(bill_import.c.id == item.c.import_id, bill_import.c.tenant_id == item.c.tenant_id)
        mine = (item.c.tenant_id == bindparam("tenant"), item.c.project_id == bindparam("project"), item.c.id == bindparam("item"))
        origin = (bill_import.c.file_name, bill_import.c.imported_at, bill_import.c.imported_by, bill_import.c.user_id)
        shown = select(item.c.id, item.c.code, item.c.description, *origin)
        self._line = bills.store.compile(shown.select_from(item.outerjoin(bill_import, brought)).where(*mine))

    def of(self, caller: Principal, code: str, item_id: int, limit: int = DEFAULT_PAGE, before: int | None = None) -> ItemHistory:
        """Return a page of a line's history, entries with versions below `before` if given; raise NotFoundError, ForbiddenError."""
        limit = max(1, min(limit, MAX_PAGE))
        access = self._bills.projects.read_access(caller, code, "boq.read")
        with self._bills.store.read() as tx:
            row = tx.row(self._line, tenant=access.tenant, project=access.project_id, item=item_id) if item_id <= BIGGEST_KEY else None
            if row is None:
                raise no_such_item(item_id)
            events = self._bills.history.of_item(tx, caller, access.code, item_id, limit=limit, before=before)
            names = self._security.names({event.user_id for event in events if event.user_id} | {str(row[-1])})
        line, prices = _Line(*row), access.may("boq.prices")
        entries = [_entry(event, names, prices=prices) for event in events]
        more = events[-1].version if events and events[-1].version > 1 else None
        if more is None and line.imported_at is not None:
            entries.append(_arrival(line, names))
        return ItemHistory(HistoryItem(line.id, line.code, line.description), entries, more)


def _entry(event: Event, names: Names, *, prices: bool) -> HistoryEntry:
    payload = event.payload
    changes = cast("Changes", payload.get("changes") or {})
    shown = [_change(field, values, hidden=field in PRICED and not prices) for field, values in changes.items()]
    by = names.get(event.user_id or "") or cast("str", event.metadata.get("by")) or event.user_id or ""
    action: Literal["changed", "imported"] = "imported" if payload.get("via") == "import" else "changed"
    return HistoryEntry(event.version, event.recorded_at, by, action, cast("str | None", payload.get("file")), shown)


def _change(field: str, values: Mapping[str, str | None], *, hidden: bool) -> HistoryChange:
    return HistoryChange(field, None, None) if hidden else HistoryChange(field, values["from"], values["to"])


def _arrival(line: _Line, names: Names) -> HistoryEntry:
    by = names.get(line.user_id or "") or line.imported_by or ""
    return HistoryEntry(0, as_utc(cast("datetime | str", line.imported_at)), by, "imported", line.file, [])
