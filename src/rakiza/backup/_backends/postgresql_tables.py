"""The tables of a PostgreSQL database, row by row in the order of their keys; every value as the text the server writes."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from rakiza._kernel import token
from rakiza.backup._aside import LONG, Key, Row, Shape, Slice

AT_ONCE = 200
"""Rows fetched together; a long value comes as its size and digest."""
ALIKE = ("timezone = 'UTC'", "datestyle = 'ISO, YMD'", "intervalstyle = 'postgres'", "bytea_output = 'hex'", "extra_float_digits = 1")
"""What a role or a database may set otherwise, and two texts of one value would differ by."""
NUMBERS = frozenset({"smallint", "integer", "bigint"})
_COLUMNS = (
    "select n.nspname, c.relname, a.attname, format_type(a.atttypid, null), a.attlen = -1, coalesce(array_position(i.indkey::int2[], a.attnum), -1)"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
    " left join pg_index i on i.indrelid = c.oid and i.indisprimary"
    " where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information_schema$)' order by 1, 2, a.attnum"
)


class PostgresqlTables:
    """Read the tables of one connection in autocommit mode; `snapshot` holds one state."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}
        self._places: dict[str, str] = {}

    def snapshot(self) -> "PostgresqlTables":
        """Begin a transaction that reads one state and writes nothing."""
        self._connection.execute("begin isolation level repeatable read read only")
        for setting in ALIKE:
            self._connection.execute(f"set local {setting}")
        return self

    def shapes(self) -> dict[str, Shape]:
        """Return the tables by name, those outside of `public` with their schema."""
        found: dict[str, tuple[list[str], list[tuple[int, str]]]] = {}
        for space, table, column, kind, varies, place in self._connection.execute(_COLUMNS).fetchall():
            name = table if space == "public" else f"{space}.{table}"
            self._kinds[name, column], self._places[name] = (kind, varies), _quoted(space, table)
            columns, key = found.setdefault(name, ([], []))
            columns.append(column)
            key += [(place, column)] if place >= 0 else []
        return {name: Shape(tuple(columns), tuple(column for _, column in sorted(key))) for name, (columns, key) in found.items()}

    def count(self, table: str, wanted: Slice) -> int:
        """Return how many rows are wanted."""
        where, values = _where(wanted, "=")
        return int(self._run(f"select count(*) from {self._places[table]}{where}", values).fetchone()[0])  # noqa: S608 - its own tables

    def rows(self, table: str, shape: Shape, wanted: Slice) -> Iterator[Row]:
        """Yield rows in the order of their keys, AT_ONCE at a time."""
        where, values = _where(wanted, "=")
        # By `own`, for a bare name would be that of the text beside it, and as texts 10 comes before 9.
        order = ", ".join(f"own.{_quoted(column)}" + ("" if number else '::text collate "C"') for column, number in self._key(table, shape))
        columns = ", ".join(self._shown(table, column, column in shape.key) for column in shape.columns) or "null"
        with self._connection.cursor(name=f"rakiza_{token(12)}") as cursor:
            cursor.itersize = AT_ONCE
            query = f"select {columns} from {self._places[table]} as own{where}{f' order by {order}' if order else ''}"  # noqa: S608 - its own tables
            yield from cursor.execute(query, values)

    def _key(self, table: str, shape: Shape) -> list[tuple[str, bool]]:
        """Return the columns of the key, and whether each is ordered as a number."""
        return [(column, self._kinds[table, column][0] in NUMBERS) for column in shape.key]

    def key(self, table: str, shape: Shape) -> Key:
        """Return what tells the key of a row."""
        places = [(shape.columns.index(column), int if number else str) for column, number in self._key(table, shape)]
        return lambda row: tuple(read(row[place]) for place, read in places)

    def _shown(self, table: str, column: str, whole: bool) -> str:
        text = f"{_quoted(column)}::text"
        if whole or not self._kinds[table, column][1]:
            return text
        digest = f"octet_length({text}) || ' bytes, SHA-256 ' || encode(sha256(convert_to({text}, 'UTF8')), 'hex')"
        return f"case when octet_length({text}) > {LONG} then {digest} else {text} end"

    def keep(self, tables: Collection[str], wanted: Slice) -> None:
        """Drop all other tables and delete all other rows; foreign keys and triggers would refuse that or do more."""
        for name in self.shapes().keys() - set(tables):
            self._run(f"drop table if exists {self._places[name]} cascade")
        where, values = _where(wanted, "is distinct from")
        foreign = "select conrelid::regclass::text, quote_ident(conname) from pg_constraint where contype = 'f' and conparentid = 0"
        for table, constraint in self._run(foreign).fetchall() if wanted.column else ():
            self._connection.execute(f"alter table {table} drop constraint {constraint}")
        for name in tables if wanted.column else ():
            self._run(f"alter table {self._places[name]} disable trigger user")
            self._run(f"delete from {self._places[name]}{where}", values)  # noqa: S608 - its own tables
            self._run(f"alter table {self._places[name]} enable trigger user")

    def _run(self, query: str, values: Sequence[str] = ()) -> Any:
        return self._connection.execute(query, values)  # always with values, so that a doubled percent sign is one


def _where(wanted: Slice, compared: str) -> tuple[str, list[str]]:
    return (f" where {_quoted(wanted.column)}::text {compared} %s", [wanted.value]) if wanted.column else ("", [])


def quoted(*names: str) -> str:
    """Return a name, or one within another, as SQL writes it whatever letters it has."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _quoted(*names: str) -> str:
    """Return a name as a statement that takes values writes it: a percent sign stands for one."""
    return quoted(*names).replace("%", "%%")
