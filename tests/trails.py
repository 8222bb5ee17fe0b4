"""Histories for tests of the sealed trail: events written as any writer stores them, and a hand that changes rows as a DBA would."""

import json
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from rakiza.events._canonical import COLUMNS
from rakiza.events._log import Log
from rakiza.store import Store, utc_text

TABLES = """
create table rakiza_events_head (shard smallint primary key, position bigint not null);
create table rakiza_events_event (position bigint primary key, tenant_id text not null, aggregate_type text not null, aggregate_id text not null,
  version integer not null, event_id UUID not null, event_type text not null, schema_version integer not null, payload JSON not null, sealed text,
  metadata JSON not null, user_id text, correlation_id text, causation_id text, tags text, recorded_at TIME not null,
  unique (tenant_id, aggregate_type, aggregate_id, version), unique (tenant_id, event_id));
create table rakiza_events_seal (size bigint primary key, root BYTES not null, note text not null, sealed_at TIME not null);
create table rakiza_events_tile (level smallint, number bigint, hashes BYTES not null, primary key (level, number));
create table rakiza_events_anchor (size bigint, name text, receipt text not null, anchored_at TIME not null, primary key (size, name));
create table rakiza_events_subject (tenant_id text, subject text, wrapped_key BYTES, created_at TIME not null, erased_at TIME,
  primary key (tenant_id, subject));
insert into rakiza_events_head values (0, 0)
"""
KINDS = {
    "sqlite": {"UUID": "text", "JSON": "text", "TIME": "text", "BYTES": "blob"},
    "postgresql": {"UUID": "uuid", "JSON": "json", "TIME": "timestamptz", "BYTES": "bytea"},
}
BEGIN = datetime(2026, 11, 27, 9, tzinfo=UTC)


def make_tables(store: Store) -> None:
    """Create the tables of the log."""
    text = TABLES
    for word, kind in KINDS[store.dialect].items():
        text = text.replace(word, kind)
    with store.begin() as tx:
        for statement in text.split(";"):
            tx.driver_connection.execute(statement)


def events(first: int, count: int) -> list[tuple[object, ...]]:
    """Return raw events, the same for the same positions: Arabic and English, with and without what may be null."""
    rows: list[tuple[object, ...]] = []
    for position in range(first, first + count):
        dice = random.Random(position)  # noqa: S311 - the same story every time
        item = {"item": f"بند {position}", "price": str(dice.randint(1, 9999)), "note": "x" * dice.randint(0, 40)}
        payload = json.dumps(item, ensure_ascii=dice.random() < 0.3)
        maybe = lambda text: text if dice.random() < 0.5 else None  # noqa: B023, E731
        rows.append((
            position, "default", "project", f"فيلا-{position % 7}", position, str(uuid.UUID(int=dice.getrandbits(128))), "price_changed", 1,
            payload, maybe('{"subject":"u-1","fields":{}}'), json.dumps({"ip": "10.0.0.1"}), maybe("sara"), maybe("4bf92f3577b34da6"),
            maybe(str(position - 1)), maybe('["vat"]'), utc_text(BEGIN + timedelta(seconds=position)),
        ))  # fmt: skip
    return rows


def write(store: Store, count: int) -> None:
    """Append events to the log."""
    log = Log(store)
    mark = "%s" if log.postgresql else "?"
    with store.begin() as tx:
        driver = tx.driver_connection
        [(head,)] = log.rows(driver, "select position from rakiza_events_head")
        places = ", ".join([mark] * len(COLUMNS))
        driver.cursor().executemany(f"insert into rakiza_events_event ({', '.join(COLUMNS)}) values ({places})", events(head + 1, count))
        log.run(driver, "update rakiza_events_head set position = ?", head + count)


def query(store: Store, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    with store.read() as tx:
        return Log(store).rows(tx.driver_connection, sql, *values)


def change(store: Store, sql: str, *values: object) -> int:
    """Change rows past every guard, as somebody can who owns the database; return how many."""
    log = Log(store)
    with guards_off(store) as driver:
        return int(log.run(driver, sql, *values).rowcount)


@contextmanager
def guards_off(store: Store) -> Iterator[object]:
    """Yield a driver's connection in a transaction without triggers."""
    with store.begin() as tx:
        driver = tx.driver_connection
        if store.dialect == "postgresql":
            driver.execute("set local session_replication_role = replica")
        else:
            for (name,) in driver.execute("select name from sqlite_master where type = 'trigger' and name like 'rakiza_events_%'").fetchall():
                driver.execute(f"drop trigger {name}")
        yield driver
