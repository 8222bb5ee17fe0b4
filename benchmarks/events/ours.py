"""The event store of this project, through its public door."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import uvloop

from benchmarks.events import load, raw
from benchmarks.events.samples import AGGREGATE, EVENT_TYPE, METADATA, PAYLOAD
from rakiza.events import create_event_store, event_type

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "rakiza_events_event"
event_type(EVENT_TYPE)(raw.Invoice)


def events_of(number: int) -> list[dict[str, Any]]:
    """Return the events of one append."""
    key = uuid4().hex
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
    with closing(raw.sqlite(target) if raw.is_sqlite(target) else raw.postgres(target)) as connection:
        stored, last = connection.execute(statement).fetchone()
    if stored != last:
        raise RuntimeError(f"{stored} events, but the last position is {last}")
    return {"stored": stored}


def fill(target: str, events: int) -> load.Figures:
    """Make a log to read: the rows that appends would have written, and the counter behind them."""
    create_event_store(target).close()
    raw.fill_table(target, TABLE, events)
    with closing(raw.sqlite(target) if raw.is_sqlite(target) else raw.postgres(target)) as connection:
        connection.execute(f"UPDATE rakiza_events_head SET position = {events:d}")
    return proof(target)


def replay(target: str, how: str) -> load.Figures:
    """Read every event once in pages: `read` makes events, `typed` decodes each payload into its registered class too."""
    store = create_event_store(target)
    try:
        start, done, position, total = time.perf_counter(), 0, 0, 0.0
        while page := store.read(position, limit=raw.PAGE, tenant="*"):
            position, done = page[-1].position, done + len(page)
            if how == "typed":
                for event in page:
                    total += float(store.decode(event).total)  # type: ignore[union-attr]
        return {"per_second": done / (time.perf_counter() - start), "read": done}
    finally:
        store.close()


def rebuild(target: str) -> load.Figures:
    """Rebuild a projection that adds up totals by aggregate: a page is folded in memory and written by one statement, as in `raw`."""
    from rakiza.events import Projection

    local = raw.is_sqlite(target)

    class Totals(Projection):
        name = "totals"

        def create(self, tx: Any, table: str) -> None:
            tx.driver_connection.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, events bigint, amount {'real' if local else 'numeric'})")

        def project(self, tx: Any, events: Any, table: str) -> None:
            folded: dict[str, tuple[int, float]] = {}
            for event in events:
                number, amount = folded.get(event.aggregate_id, (0, 0.0))
                folded[event.aggregate_id] = (number + 1, amount + float(store.decode(event).total))
            if local:
                upsert = raw.SQLITE_UPSERT.replace("INTO total", f"INTO {table}")
                tx.driver_connection.executemany(upsert, [(key, *value) for key, value in folded.items()])
            else:
                numbers, amounts = zip(*folded.values(), strict=True)
                upsert = raw.UPSERT.replace("INTO total", f"INTO {table}").replace("total.", f"{table}.")
                tx.driver_connection.execute(upsert, (list(folded), list(numbers), list(amounts)))

    store = create_event_store(target)
    try:
        store.register_projection(Totals())
        store.catch_up("totals")
        start = time.perf_counter()
        store.rebuild_projection("totals")
        took = time.perf_counter() - start
        with closing(raw.sqlite(target) if local else raw.postgres(target)) as connection:
            done = int(connection.execute("SELECT sum(events) FROM p_totals").fetchone()[0])
        return {"per_second": done / took, "read": done}
    finally:
        store.close()


def lag(target: str, appends: int, pause_seconds: float) -> load.Figures:
    """Follow the log with a store of its own, as another process would, so that nothing is told within the process."""
    store, follower = create_event_store(target), create_event_store(target)
    acknowledged: dict[int, float] = {}
    seen: dict[int, float] = {}

    def follow() -> None:
        while len(seen) < appends:
            grown = follower.bus.count("events")
            for event in follower.read(max(seen, default=0)):
                seen[event.position] = time.perf_counter()
            if len(seen) < appends and not follower.bus.wait("events", grown, 5.0):
                return

    follower.start()
    thread = threading.Thread(target=follow)
    thread.start()
    try:
        time.sleep(0.5)  # it listens by then
        for _ in range(appends):
            position = store.append(events_of(1)[0]).position
            acknowledged[position] = time.perf_counter()
            time.sleep(pause_seconds)
        thread.join()
    finally:
        store.close()
        follower.close()
    return load.lags(acknowledged, seen)


CASES: dict[str, Callable[..., load.Figures]] = {"append": append, "fill": fill, "replay": replay, "rebuild": rebuild, "lag": lag}
