"""A small ERP's database with everything a copy could lose, and processes that back it up and bring it back while they are killed."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from rakiza.backup import DatabaseBackup
from rakiza.store import Store

FORMATS = [(False, True), (False, False), (True, True), (True, False)]
"""Text or not, compressed or not."""
PAIRS = {"sqlite": [(False, True), (True, False)], "postgresql": [(False, False), (True, True)]}
"""The formats for tests in which each must stand once beside each other and beside each database."""
TABLES = ("supplier", "invoice", "journal", "price_version", "yard_version", "رافعة \" ; '")
NAMES = ("شركة الركيزة", "O'Brien; --", 'سطر أول\nسطر ثان;\n"ثالث"', "", "🏗️ نوفل", "C:\\مجلد\\t")
SQLITE = (
    "create table supplier (id integer primary key, name text not null, logo blob, rate double precision)",
    "create table invoice (id integer primary key, net integer not null, total integer generated always as (net * 115 / 100) stored,"
    " supplier_id integer not null references supplier (id), note text)",
    "create table journal (id integer primary key autoincrement, line text)",
    "create index invoice_note on invoice (note) where note is not null",
    "create view owed as select name, sum(total) as total from invoice join supplier on supplier.id = supplier_id group by name",
    "create trigger said after insert on invoice begin insert into journal (line) values ('فاتورة ' || new.id); end",
)
POSTGRESQL = (
    "create table supplier (id integer primary key, name text not null, logo bytea, rate double precision)",
    SQLITE[1],
    "create table journal (id bigint generated always as identity primary key, line text)",
    *SQLITE[3:5],
    "create function say() returns trigger language plpgsql as $$ begin insert into journal (line) values ('فاتورة ' || new.id); return new; end $$",
    "create trigger said after insert on invoice for each row execute function say()",
    'create schema "أرشيف"',
    'create table "أرشيف"."قديم" (id integer)',
    'insert into "أرشيف"."قديم" values (1), (2)',
)
COMMON = (
    "create table price_version (label text)",  # named like a table of revisions, and none
    "create table yard_version (version_num varchar(32) not null)",
    "insert into yard_version values ('0007')",
    """create table "رافعة "" ; '" (name text)""",
    """insert into "رافعة "" ; '" values ('رافعة')""",
)


def fill(url: str, invoices: int = 40) -> None:
    """Make the tables and their rows."""
    store = Store(url)
    with store.begin() as tx:
        for statement in (*(SQLITE if store.dialect == "sqlite" else POSTGRESQL), *COMMON):
            tx.connection.exec_driver_sql(statement)
        suppliers = [
            {"id": n, "name": name, "logo": bytes(range(256)) * (n % 3), "rate": (0.1 + 0.2) * 10.0 ** (n * 50)} for n, name in enumerate(NAMES)
        ]
        tx.execute(sa.text("insert into supplier (id, name, logo, rate) values (:id, :name, :logo, :rate)"), suppliers)
        rows = [{"id": n, "net": n * 101, "supplier": n % len(NAMES), "note": f"ملاحظة {n}" if n % 2 else None} for n in range(invoices)]
        tx.execute(sa.text("insert into invoice (id, net, supplier_id, note) values (:id, :net, :supplier, :note)"), rows)
    store.close()


def contents(url: str) -> dict[str, list[Any]]:
    """Return every row of every table and of the view."""
    store = Store(url)
    names = (*TABLES, "owed")
    with store.read() as tx:
        found = {name: sorted(map(_plain, tx.connection.exec_driver_sql(f"select * from {_quoted(name)}")), key=repr) for name in names}
    store.close()
    return found


def _plain(row: Any) -> tuple[Any, ...]:
    return tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def change(url: str) -> None:
    """Change, add and take away rows, and drop a table."""
    run(
        url,
        "update supplier set name = 'آخر'",
        "delete from invoice where id > 3",
        "drop table yard_version",
        "create table yard_version (version_num text)",
    )


def run(url: str, *statements: str) -> None:
    """Run statements in one transaction."""
    with contextlib.closing(Store(url)) as store, store.begin() as tx:
        for statement in statements:
            tx.connection.exec_driver_sql(statement)


def asides(url: str) -> list[str]:
    """Return the databases of PostgreSQL that a backup or a restore made aside and left."""
    if url.startswith("sqlite"):
        return []
    with plain(url, "postgres") as admin:
        name = sa.make_url(url).database or ""
        rows = admin.execute(
            "select datname from pg_database where starts_with(datname, %s) and datname <> %s", [name.encode()[:30].decode(errors="ignore"), name]
        )
        return [found for (found,) in rows.fetchall() if "_before_" not in found]


def plain(url: str, database: str = "") -> "psycopg.Connection[Any]":
    """Return a plain connection, in autocommit mode."""
    made = sa.make_url(url)
    return psycopg.connect(host=str(made.query["host"]), user=made.username, dbname=database or made.database, autocommit=True)


def drop_left(url: str) -> None:
    """Drop the databases a restore of this one left."""
    if url.startswith("sqlite"):
        return
    name = sa.make_url(url).database or ""
    with plain(url, "postgres") as admin:
        for (found,) in admin.execute(
            "select datname from pg_database where starts_with(datname, %s) and datname <> %s", [f"{name[:30]}", name]
        ).fetchall():
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(found)))


def manager(url: str, folder: Path, **settings: Any) -> DatabaseBackup:
    """Return what backs the database up into a folder."""
    return DatabaseBackup(url, folder, **settings)


def file_of(url: str) -> Path:
    """Return the file of an SQLite address."""
    return Path(sa.make_url(url).database or "")


def quick_check(path: Path) -> str:
    """Return what SQLite says of a file."""
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("pragma integrity_check").fetchone()[0])
    finally:
        connection.close()


def listed_whole(backup: DatabaseBackup) -> int:
    """Return how many backups are listed, each checked against its sum."""
    found = backup.list_backups()
    for one in found:
        said = backup.verify_backup(one.filename, deep=False)
        assert said, said.problem
    return len(found)
