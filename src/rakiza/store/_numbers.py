"""Numbers of rows in a database that was brought back from a backup: none is given twice."""

from contextlib import suppress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .errors import StoreError

if TYPE_CHECKING:
    from .service import Store, Transaction


def number_on(tx: "Transaction", live: "Store", table: sa.Table, *, gap: int = 0) -> None:
    """Let the numbers of a table go on behind those that `live`, the database of before, has given, `gap` of them left out.

    A live database that is damaged or empty tells none, and nothing is changed.
    """
    with suppress(StoreError, sa.exc.SQLAlchemyError):
        with live.read() as before:
            given = _last(before, table.name)
        _advance(tx, table.name, given + gap)


def _last(tx: "Transaction", name: str) -> int:
    if tx.store.dialect == "sqlite":
        return int(tx.scalar(sa.text("select seq from sqlite_sequence where name = :name"), {"name": name}) or 0)
    sequence = tx.scalar(sa.text("select pg_get_serial_sequence(:name, 'id')"), {"name": name})
    return int(tx.scalar(sa.text(f"select last_value from {sequence}")) or 0)  # noqa: S608 - the name is the server's


def _advance(tx: "Transaction", name: str, given: int) -> None:
    values = {"name": name, "given": given}
    if tx.store.dialect == "sqlite":
        tx.execute(sa.text("insert into sqlite_sequence (name, seq) select :name, 0 where :name not in (select name from sqlite_sequence)"), values)
        tx.execute(sa.text("update sqlite_sequence set seq = max(seq, :given) where name = :name"), values)
    elif given > _last(tx, name):
        tx.execute(sa.text("select setval(pg_get_serial_sequence(:name, 'id'), :given)"), values)
