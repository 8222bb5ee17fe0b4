"""Histories for tests of the sealed trail: events written as any writer stores them, and a hand that changes rows as a DBA would."""

import functools
import json
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import servers
from rakiza.events import MIGRATIONS
from rakiza.events._canonical import COLUMNS
from rakiza.events._log import StoredLog
from rakiza.store import Store, migrate, utc_text

BEGIN = datetime(2026, 11, 27, 9, tzinfo=UTC)


def make_tables(store: Store) -> None:
    """Create the tables of the log with their guards."""
    migrate(store, [MIGRATIONS])


def lay(url: str) -> None:
    """Create them in a database."""
    store = Store(url)
    make_tables(store)
    store.close()


@contextmanager
def laid(request: pytest.FixtureRequest, folder: Path, name: str, fill: Callable[[str], object]) -> Iterator[str]:
    """Yield the URL of a copy of a database that was filled once for the whole run, of the kind that is the parameter of the fixture."""
    if request.param == "sqlite":
        yield servers.sqlite_copy(folder / "trail.db", name, fill)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template(name, fill)) as url:
        yield url


def events(first: int, count: int) -> list[tuple[object, ...]]:
    """Return raw events, the same for the same positions: Arabic and English, with and without what may be null."""
    return [_event(position) for position in range(first, first + count)]


@functools.cache
def _event(position: int) -> tuple[object, ...]:
    dice = random.Random(position)  # noqa: S311 - the same story every time
    item = {"item": f"بند {position}", "price": str(dice.randint(1, 9999)), "note": "x" * dice.randint(0, 40)}
    payload = json.dumps(item, ensure_ascii=dice.random() < 0.3)

    def maybe(text: str) -> str | None:
        return text if dice.random() < 0.5 else None

    return (
        position, "default", "project", f"فيلا-{position % 7}", position, str(uuid.UUID(int=dice.getrandbits(128))), "price_changed", 1,
        payload, maybe('{"subject":"u-1","fields":{}}'), json.dumps({"ip": "10.0.0.1"}), maybe("sara"), maybe("4bf92f3577b34da6"),
        maybe(str(position - 1)), maybe('["vat"]'), utc_text(BEGIN + timedelta(seconds=position)),
    )  # fmt: skip


def write(store: Store, count: int) -> None:
    """Append events to the log."""
    log = StoredLog(store)
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
        return StoredLog(store).rows(tx.driver_connection, sql, *values)


def change(store: Store, sql: str, *values: object) -> int:
    """Change rows past every guard, as somebody can who owns the database; return how many."""
    log = StoredLog(store)
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
