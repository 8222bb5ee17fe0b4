"""The event store of this project, through its public door."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import uvloop
from rakiza.events import create_event_store

from benchmarks.events import load
from benchmarks.events.samples import AGGREGATE, EVENT_TYPE, METADATA, PAYLOAD, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 5000
FILL_BATCH = 2000
TABLE = "rakiza_events_event"


def events_of(number: int, aggregate_id: str | None = None) -> list[dict[str, Any]]:
    """Return the events of one append."""
    key = aggregate_id or uuid4().hex
    return [
        {"event_type": EVENT_TYPE, "aggregate_type": AGGREGATE, "aggregate_id": key, "payload": PAYLOAD, "metadata": METADATA}
        for _ in range(number)
    ]


def append(target: str, how: str, callers: int, events: int, seconds: float) -> load.Figures:
    """Append from tasks that await (`tasks`) or from threads that call plainly (`threads`)."""
    store = create_event_store(target)
    try:
        if how == "tasks":
            async def once() -> int:
                if events == 1:
                    await store.append(events_of(1)[0])
                else:
                    await store.append_many(events_of(events))
                return events

            figures = uvloop.run(load.tasks(callers, seconds, once))
        else:
            def plain() -> int:
                if events == 1:
                    store.append(events_of(1)[0])
                else:
                    store.append_many(events_of(events))
                return events

            figures = load.threads(callers, seconds, lambda: plain)
    finally:
        store.close()
    return figures | proof(target)


def proof(target: str) -> load.Figures:
    """Return the number of events in the table; a gap is an error."""
    statement = f"SELECT count(*), coalesce(max(position), 0) FROM {TABLE}"
    with closing(psycopg.connect(target) if target.startswith("postgresql:") else sqlite3.connect(target)) as connection:
        stored, last = connection.execute(statement).fetchone()  # type: ignore[union-attr]
    if stored != last:
        raise RuntimeError(f"{stored} events, but the last position is {last}")
    return {"stored": stored}


def fill(target: str, events: int) -> load.Figures:
    """Make a log to read."""
    store = create_event_store(target)
    try:
        for first in range(0, events // VERSIONS, FILL_BATCH // VERSIONS):
            last = min(events // VERSIONS, first + FILL_BATCH // VERSIONS)
            store.append_many([each for number in range(first, last) for each in events_of(VERSIONS, f"inv-{number}")])
    finally:
        store.close()
    return proof(target)


CASES: dict[str, Callable[..., load.Figures]] = {"append": append, "fill": fill}
