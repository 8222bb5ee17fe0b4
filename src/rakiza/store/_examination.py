"""What would hurt the database in production."""

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from rakiza._kernel import Clock, Finding, judged

from ._backends.sqlite import MIB, network_file_system
from .service import Store

GIB = 1024 * MIB
FULL_SHARE = 0.8
HELD_BYTES = GIB
OLD_TRANSACTIONS, OLDEST_TRANSACTIONS = 1_000_000_000, 1_600_000_000
"""Autovacuum acts from 200 million on and gives up everything else at 1.6 billion (`vacuum_failsafe_age`); at 2.1 the server stops."""
SERVER_ENDS = 2012
"""PostgreSQL N gets corrections until November of the year N + 2012: five years (postgresql.org/support/versioning)."""
UNSYNCED = "a power cut loses or breaks data: in postgresql.conf set {} = on and reload"
_FACTS = sa.text(
    "select current_setting('server_version') as server, current_setting('server_version_num')::int / 10000 as major,"
    " current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,"
    " current_setting('synchronous_commit') as synchronous_commit,"
    " (select reset_val from pg_settings where name = 'TimeZone') as timezone,"
    " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as places,"
    " (select count(*) from pg_stat_activity where datname is not null) as taken,"
    " (select max(age(datfrozenxid)) from pg_database) as age, pg_is_in_recovery() as standby"
)
_SLOT = sa.text(
    "select slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint as held from pg_replication_slots"
    " where not active and restart_lsn is not null order by held desc limit 1"
)


def examine(store: Store, clock: Clock, deep: bool) -> Iterator[Finding]:
    """Yield what is wrong or well with the database; raise StoreError when it is away."""
    yield from _sqlite(store, deep) if store.dialect == "sqlite" else _postgresql(store, clock)


def _sqlite(store: Store, deep: bool) -> Iterator[Finding]:
    path = Path(store.url.removeprefix("sqlite:///"))
    with store.raw_connection() as connection:
        synchronous = connection.execute("pragma synchronous").fetchone()[0]
        damage = connection.execute("pragma quick_check(1)").fetchone()[0] if deep else "ok"
    kind = network_file_system(path)
    where = f"{path} lies on {f'a network file system ({kind})' if kind else 'a disk of this machine'}"
    yield judged("sqlite_place", bool(kind), where, "locks do not hold there and data get damaged: move it to a local disk, or take PostgreSQL")
    yield judged("sqlite_synchronous", synchronous < 2, f"synchronous is {synchronous}", "a power cut loses commits: unset RAKIZA_STORE_TELEMETRY")
    version = sqlite3.sqlite_version
    yield judged("sqlite_version", not reset_is_safe(sqlite3.sqlite_version_info), f"SQLite {version}", RESET, "warn")
    size, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    room = f"{free / GIB:,.1f} GB are free beside a database of {size / GIB:,.2f} GB"
    yield judged("sqlite_room", free < 2 * size + 64 * MIB, room, "a restore takes twice the database for a while: make room", "warn")
    if deep:
        yield judged("sqlite_pages", damage != "ok", f"quick_check says {damage}", "stop the application and restore the latest verified backup")


RESET = "below 3.51.3 (3.50.7, 3.44.6) two checkpoints at once may, very rarely, damage a file (sqlite.org/wal.html#walresetbug): take a newer Python"


def reset_is_safe(version: tuple[int, ...]) -> bool:
    """Tell whether an SQLite has the correction of the WAL-reset bug."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def _postgresql(store: Store, clock: Clock) -> Iterator[Finding]:
    with store.read() as tx:
        facts = dict(tx.execute(_FACTS).mappings().one())
        slot = None if facts["standby"] else tx.execute(_SLOT).first()
    yield from server_findings(facts, store.settings.pool_size, clock.now().date())
    held = int(slot.held) if slot else 0
    seen = f"{slot.slot_name} holds {held / GIB:,.1f} GB of WAL and nobody reads it" if slot else "no replication slot waits for a reader"
    mend = f"the disk fills: start its reader, or select pg_drop_replication_slot('{slot.slot_name if slot else ''}')"
    yield judged("postgresql_slots", held > HELD_BYTES, seen, mend)


def server_findings(facts: dict[str, Any], pool_size: int, today: date) -> Iterator[Finding]:
    """Yield what the settings and figures of a server mean."""
    end = date(facts["major"] + SERVER_ENDS, 11, 14)
    mend = "take a newer version: `backup create` here, `backup restore` there"
    yield judged("postgresql_version", today > end, f"PostgreSQL {facts['server']}, corrections until {end:%Y-%m}", mend, "warn")
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if facts[name] == "off"]
    yield judged("postgresql_durability", bool(off), f"off: {', '.join(off) or 'nothing'}", UNSYNCED.format(" = on, ".join(off)))
    seen = f"{facts['taken']} of {facts['places']} connections are taken; every process of ours takes up to {pool_size}"
    tight = facts["taken"] + pool_size > facts["places"] or facts["taken"] > FULL_SHARE * facts["places"]
    yield judged("postgresql_connections", tight, seen, "lower RAKIZA_STORE_POOL_SIZE, raise max_connections, or put pgbouncer between", "warn")
    mend = "other tools show other times than ours: alter database … set timezone to 'UTC'"
    yield judged("postgresql_timezone", facts["timezone"] not in {"UTC", "Etc/UTC", "GMT"}, f"timezone is {facts['timezone']}", mend, "warn")
    mend = "the server stops at 2.1 billion: end old transactions and prepared ones, then vacuum (freeze) the oldest database"
    old = facts["age"] > OLD_TRANSACTIONS
    seen = f"the oldest row is {facts['age']:,} transactions old"
    yield judged("postgresql_wraparound", old, seen, mend, "fail" if facts["age"] > OLDEST_TRANSACTIONS else "warn")
