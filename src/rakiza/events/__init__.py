"""An append-only log of what happened, in one order without gaps, on SQLite and PostgreSQL.

    from rakiza.events import create_event_store

    events = create_event_store("var/demo.db")        # or "postgresql://user:password@host/name"; in a platform: platform.events
    events.append({
        "event_type": "invoice.created", "aggregate_type": "Invoice", "aggregate_id": "INV-2026-00042",
        "payload": {"customer": "شركة البناء", "total": "9545.00"}, "metadata": {"user_id": "u-17"},
    })
    assert [event.event_type for event in events.get_events("Invoice", "INV-2026-00042")] == ["invoice.created"]
    events.close()

`append` blocks and returns where no event loop runs, and is awaited inside one. `append(event, tx)` writes the event at the end of a
business transaction, or not at all. Positions have no gaps and follow the order of commits, so whoever read up to a position has
seen everything before it. A repeated append with the same `event_id` succeeds without a second event.
"""

from ._aggregates import Aggregate, Repository, applies, handles
from ._consumers import Consumer
from ._core import Appended, Condition, Event, Listed, Query
from ._projections import InMemoryProjection, Projection, fold
from ._trail import AuditQuery, AuditRecord, AuditTrail
from ._types import EVENT_TYPES, EventTypes, event_type, upcaster
from .errors import (
    AppendConditionError,
    EventError,
    EventIdTakenError,
    EventsBusyError,
    EventsUnavailableError,
    RebuildRunningError,
    VersionConflictError,
)
from .part import part
from .service import MIGRATIONS, EventStore, caused_by, create_event_store
from .settings import EventSettings

__all__ = [
    "EVENT_TYPES", "MIGRATIONS", "Aggregate", "AppendConditionError", "Appended", "AuditQuery", "AuditRecord", "AuditTrail", "Condition",
    "Consumer", "Event", "EventError", "EventIdTakenError", "EventSettings", "EventStore", "EventTypes", "EventsBusyError",
    "EventsUnavailableError", "InMemoryProjection", "Listed", "Projection", "Query", "RebuildRunningError", "Repository",
    "VersionConflictError", "applies", "caused_by", "create_event_store", "event_type", "fold", "handles", "part", "upcaster",
]
