"""The tables of an SQLite database, row by row in the order of their keys."""

import sqlite3
from collections.abc import Collection, Iterator
from typing import Any

from rakiza.backup._aside import Key, Row, Shape, Slice
from rakiza.backup._backends.sqlite_text import quoted


class SqliteTables:
    """Read the tables of one connection, which holds one state; the tables behind virtual ones are left out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")

    def shapes(self) -> dict[str, Shape]:
        """Return the tables by name."""
        query = "select name from pragma_table_list where schema = 'main' and type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name"
        found: dict[str, Shape] = {}
        for (name,) in self._connection.execute(query).fetchall():
            columns = self._connection.execute("select name, pk from pragma_table_info(?)", [name]).fetchall()
            key = sorted((place, column) for column, place in columns if place)
            found[str(name)] = Shape(tuple(column for column, _ in columns), tuple(column for _, column in key))
        return found

    def count(self, table: str, wanted: Slice) -> int:
        """Return how many rows are wanted."""
        where, values = _where(wanted, "=")
        return int(self._connection.execute(f"select count(*) from {quoted(table)}{where}", values).fetchone()[0])  # noqa: S608 - its own tables

    def rows(self, table: str, shape: Shape, wanted: Slice) -> Iterator[Row]:
        """Return rows in the order of their keys, one at a time."""
        where, values = _where(wanted, "=")
        order = ", ".join(f"{quoted(column)} collate binary" for column in shape.key)
        columns = ", ".join(map(quoted, shape.columns)) or "null"
        query = f"select {columns} from {quoted(table)}{where}{f' order by {order}' if order else ''}"  # noqa: S608 - its own tables
        return self._connection.execute(query, values)

    def key(self, table: str, shape: Shape) -> Key:
        """Return what tells the key of a row."""
        places = [shape.columns.index(column) for column in shape.key]
        return lambda row: tuple(_ranked(row[place]) for place in places)

    def keep(self, tables: Collection[str], wanted: Slice) -> None:
        """Drop all other tables and delete all other rows; triggers would refuse that or do more, and views would miss what they show."""
        execute = self._connection.execute
        execute("pragma foreign_keys=off")
        for kind, name in execute("select type, name from sqlite_master where type in ('trigger', 'view')").fetchall():
            execute(f"drop {kind} if exists {quoted(name)}")
        query = "select name from pragma_table_list where schema = 'main' and type in ('table', 'virtual') and name not like 'sqlite\\_%' escape '\\'"
        for (name,) in execute(f"{query} order by type = 'table'").fetchall():
            if name not in tables:
                execute(f"drop table {quoted(name)}")
        where, values = _where(wanted, "is not")
        for name in tables if wanted.column else ():
            execute(f"delete from {quoted(name)}{where}", values)  # noqa: S608 - its own tables
        execute("vacuum")


def _where(wanted: Slice, compared: str) -> tuple[str, list[str]]:
    return (f" where cast({quoted(wanted.column)} as text) {compared} ?", [wanted.value]) if wanted.column else ("", [])


def _ranked(value: Any) -> tuple[int, Any]:
    """Return what sorts a value as SQLite does: NULL, numbers, texts by their bytes, blobs (sqlite.org/datatype3.html, 4.1)."""
    if isinstance(value, str):
        return 2, value.encode("utf-8", "surrogateescape")
    return (0, 0) if value is None else (3, value) if isinstance(value, bytes) else (1, value)
