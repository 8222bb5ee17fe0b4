"""The raw drivers: the limit of this disk and this driver, without order, checks or objects."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import psycopg

from benchmarks.events import load
from benchmarks.events.samples import AGGREGATE, CORRELATION, EVENT_TYPE, METADATA_TEXT, PAYLOAD_TEXT, USER, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 5000
RECORDED_AT = "2026-11-27T09:00:00.000000Z"
COLUMNS = (
    "tenant_id, aggregate_type, aggregate_id, version, event_id, event_type, schema_version, payload, sealed, metadata, user_id, correlation_id, "
    "causation_id, tags, recorded_at"
)
KEYS = "UNIQUE (tenant_id, aggregate_type, aggregate_id, version), UNIQUE (tenant_id, event_id)"
POSTGRES_TABLE = f"""CREATE TABLE event (position bigserial PRIMARY KEY, tenant_id text NOT NULL, aggregate_type text NOT NULL,
 aggregate_id text NOT NULL, version int NOT NULL, event_id uuid NOT NULL, event_type text NOT NULL, schema_version int NOT NULL,
 payload json NOT NULL, sealed text, metadata json NOT NULL, user_id text, correlation_id text, causation_id text, tags text,
 recorded_at timestamptz NOT NULL, {KEYS});
 CREATE INDEX ON event (correlation_id); CREATE INDEX ON event USING brin (recorded_at)"""
SQLITE_TABLE = f"""CREATE TABLE event (position INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, aggregate_type TEXT NOT NULL,
 aggregate_id TEXT NOT NULL, version INTEGER NOT NULL, event_id TEXT NOT NULL, event_type TEXT NOT NULL, schema_version INTEGER NOT NULL,
 payload TEXT NOT NULL, sealed TEXT, metadata TEXT NOT NULL, user_id TEXT, correlation_id TEXT, causation_id TEXT, tags TEXT,
 recorded_at TEXT NOT NULL, {KEYS}); CREATE INDEX event_correlation ON event (correlation_id)"""
POSTGRES_ONE = f"INSERT INTO event ({COLUMNS}) VALUES ({', '.join(['%s'] * 14)}, now()) RETURNING position"
POSTGRES_MANY = (
    f"INSERT INTO event ({COLUMNS}) SELECT %s, %s, %s, u.v, u.e, %s, 1, u.p, NULL, u.m, %s, %s, NULL, NULL, now() "
    "FROM unnest(%s::int[], %s::uuid[], %s::json[], %s::json[]) AS u(v, e, p, m) RETURNING position"
)
SQLITE_ONE = f"INSERT INTO event ({COLUMNS}) VALUES ({', '.join('?' * 15)})"
SQLITE_FILL = f"INSERT INTO {{table}} (position, {COLUMNS}) VALUES ({', '.join('?' * 16)})"
POSTGRES_FILL = (
    f"INSERT INTO {{table}} (position, {COLUMNS}) SELECT g + 1, 'default', %s, 'inv-' || (g / {VERSIONS}), g %% {VERSIONS} + 1, md5(g::text)::uuid, "
    "%s, 1, %s::json, NULL, %s::json, %s, %s, NULL, NULL, now() FROM generate_series(0, %s - 1) g ORDER BY g"
)
NARROW = "position, aggregate_id, version, event_type, payload{0}, metadata{0}"
WIDE = (
    "position, tenant_id, aggregate_type, aggregate_id, version, event_id, event_type, schema_version, payload{0}, sealed, metadata{0}, user_id, "
    "correlation_id, causation_id, tags, recorded_at"
)
UPSERT = (
    "INSERT INTO total SELECT * FROM unnest(%s::text[], %s::bigint[], %s::numeric[]) ON CONFLICT (id) DO UPDATE SET "
    "events = total.events + excluded.events, amount = total.amount + excluded.amount"
)
SQLITE_UPSERT = (
    "INSERT INTO total VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET events = events + excluded.events, amount = amount + excluded.amount"
)


class Invoice(msgspec.Struct):
    """Hold the one field that the projection adds up."""

    total: str


DECODE = msgspec.json.Decoder(Invoice).decode


def postgres(url: str) -> psycopg.Connection[Any]:
    """Connect; every statement commits and is prepared."""
    return psycopg.connect(url, autocommit=True, prepare_threshold=1)


def sqlite(path: str) -> sqlite3.Connection:
    """Open the file as the project does: WAL and full synchronisation."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def is_sqlite(target: str) -> bool:
    """Tell a file from a server."""
    return not target.startswith("postgresql:")


def create(target: str) -> None:
    """Make the table."""
    if is_sqlite(target):
        with closing(sqlite(target)) as connection:
            connection.executescript(SQLITE_TABLE)
    else:
        with postgres(target) as connection:
            connection.execute(POSTGRES_TABLE)


def postgres_append(target: str, events: int) -> Callable[[], int]:
    """Return an append on a connection of its own: one INSERT, committed by itself."""
    cursor = postgres(target).cursor()
    versions = list(range(1, events + 1))

    def one() -> int:
        cursor.execute(POSTGRES_ONE, ("default", AGGREGATE, uuid4().hex, 1, uuid4(), EVENT_TYPE, 1, PAYLOAD_TEXT, None, METADATA_TEXT, USER,
                                      CORRELATION, None, None))
        return 1

    def many() -> int:
        cursor.execute(POSTGRES_MANY, ("default", AGGREGATE, uuid4().hex, EVENT_TYPE, USER, CORRELATION, versions, [uuid4() for _ in versions],
                                       [PAYLOAD_TEXT] * events, [METADATA_TEXT] * events))
        return events

    return one if events == 1 else many


def sqlite_rows(aggregate_id: str, events: int) -> list[tuple[object, ...]]:
    """Return the rows of one append."""
    return [("default", AGGREGATE, aggregate_id, version, str(uuid4()), EVENT_TYPE, 1, PAYLOAD_TEXT, None, METADATA_TEXT, USER, CORRELATION,
             None, None, RECORDED_AT) for version in range(1, events + 1)]


def sqlite_append(target: str, events: int) -> Callable[[], int]:
    """Return an append on a connection of its own: BEGIN IMMEDIATE, INSERT, COMMIT."""
    connection = sqlite(target)

    def append() -> int:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(SQLITE_ONE, sqlite_rows(uuid4().hex, events))
        connection.execute("COMMIT")
        return events

    return append


def append(target: str, callers: int, events: int, seconds: float) -> load.Figures:
    """Append from threads."""
    create(target)
    make = sqlite_append if is_sqlite(target) else postgres_append
    return load.threads(callers, seconds, lambda: make(target, events)) | {"stored": count(target)}


def count(target: str) -> int:
    """Return the number of events."""
    with closing(sqlite(target) if is_sqlite(target) else postgres(target)) as connection:
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


def fill(target: str, events: int) -> load.Figures:
    """Make a log to read, and the tables of the projection."""
    create(target)
    fill_table(target, "event", events)
    tables = "CREATE TABLE total (id text PRIMARY KEY, events bigint, amount {}); CREATE TABLE mark (position bigint)"
    if is_sqlite(target):
        with closing(sqlite(target)) as connection:
            connection.executescript(tables.format("real"))
    else:
        with postgres(target) as connection:
            connection.execute(tables.format("numeric"))
    return {"stored": count(target)}


def fill_table(target: str, table: str, events: int) -> None:
    """Write events into a table with these columns."""
    if is_sqlite(target):
        with closing(sqlite(target)) as connection:
            connection.execute("BEGIN")
            for first in range(0, events, VERSIONS):
                rows = enumerate(sqlite_rows(f"inv-{first // VERSIONS}", VERSIONS), first + 1)
                connection.executemany(SQLITE_FILL.format(table=table), [(position, *row) for position, row in rows])
            connection.execute("COMMIT")
    else:
        with postgres(target) as connection:
            values = (AGGREGATE, EVENT_TYPE, PAYLOAD_TEXT, METADATA_TEXT, USER, CORRELATION, events)
            connection.execute(POSTGRES_FILL.format(table=table), values)
            connection.execute(f"VACUUM ANALYZE {table}")


def pages(connection: Any, columns: str, mark: str, cast: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield pages of rows by key."""
    statement = f"SELECT {columns.format(cast)} FROM event WHERE position > {mark} ORDER BY position LIMIT {PAGE}"
    position = 0
    while rows := connection.execute(statement, (position,)).fetchall():
        position = rows[-1][0]
        yield rows


def replay(target: str, how: str) -> load.Figures:
    """Read every event once: `narrow` and `wide` fetch, `decoded` decodes the payload of the narrow rows as well."""
    local = is_sqlite(target)
    with closing(sqlite(target) if local else postgres(target)) as connection:
        start, done, total = time.perf_counter(), 0, 0.0
        for rows in pages(connection, WIDE if how == "wide" else NARROW, "?" if local else "%s", "" if local else "::text"):
            done += len(rows)
            if how == "decoded":
                for row in rows:
                    total += float(DECODE(row[4]).total)
        return {"per_second": done / (time.perf_counter() - start), "read": done}


def rebuild(target: str) -> load.Figures:
    """Add up totals by aggregate with the checkpoint in the transaction, in batches, as one would by hand."""
    local = is_sqlite(target)
    mark = "?" if local else "%s"
    with closing(sqlite(target) if local else postgres(target)) as connection:
        connection.execute("DELETE FROM total") if local else connection.execute("TRUNCATE total")
        connection.execute("DELETE FROM mark")
        connection.execute("INSERT INTO mark VALUES (0)")
        start, done = time.perf_counter(), 0
        for rows in pages(connection, NARROW, mark, "" if local else "::text"):
            connection.execute("BEGIN")
            folded = fold(rows)
            if local:
                connection.executemany(SQLITE_UPSERT, [(key, *value) for key, value in folded.items()])
            else:
                values = list(folded.values())
                connection.execute(UPSERT, (list(folded), [each[0] for each in values], [each[1] for each in values]))
            connection.execute(f"UPDATE mark SET position = {mark}", (rows[-1][0],))
            connection.execute("COMMIT")
            done += len(rows)
        return {"per_second": done / (time.perf_counter() - start), "read": done}


def fold(rows: list[tuple[Any, ...]]) -> dict[str, tuple[int, float]]:
    """Return the number and the sum of each aggregate in a page."""
    folded: dict[str, tuple[int, float]] = {}
    for row in rows:
        events, amount = folded.get(row[1], (0, 0.0))
        folded[row[1]] = (events + 1, amount + float(DECODE(row[4]).total))
    return folded


def lag(target: str, appends: int, pause_seconds: float) -> load.Figures:
    """Follow a PostgreSQL log by LISTEN and NOTIFY, one connection each."""
    create(target)
    acknowledged: dict[int, float] = {}
    seen: dict[int, float] = {}
    ready = threading.Event()

    def follow() -> None:
        with postgres(target) as connection, postgres(target) as hints:
            hints.execute("LISTEN event")
            ready.set()
            statement = "SELECT position FROM event WHERE position > %s ORDER BY position"
            while len(seen) < appends and any(True for _ in hints.notifies(timeout=5, stop_after=1)):
                for row in connection.execute(statement, (max(seen, default=0),)).fetchall():
                    seen[row[0]] = time.perf_counter()

    follower = threading.Thread(target=follow)
    follower.start()
    ready.wait()
    with postgres(target) as connection:
        for _ in range(appends):
            values = ("default", AGGREGATE, uuid4().hex, 1, uuid4(), EVENT_TYPE, 1, PAYLOAD_TEXT, None, METADATA_TEXT, USER, CORRELATION, None, None)
            with connection.transaction():
                connection.execute("NOTIFY event")
                row = connection.execute(POSTGRES_ONE, values).fetchone()
            acknowledged[row[0]] = time.perf_counter()
            time.sleep(pause_seconds)
    follower.join()
    return load.lags(acknowledged, seen)


CASES: dict[str, Callable[..., load.Figures]] = {"append": append, "fill": fill, "replay": replay, "rebuild": rebuild, "lag": lag}
