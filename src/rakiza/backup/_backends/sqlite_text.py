"""SQLite as SQL text: what `iterdump` of the standard library writes, whole also for odd names, zero bytes, infinities and generated columns."""

import sqlite3
from collections.abc import Iterator

END = "COMMIT;"
_VALUE = (
    "case when typeof({0}) = 'text' and instr({0}, char(0)) then 'CAST(' || quote(cast({0} as blob)) || ' AS TEXT)'"
    " when typeof({0}) = 'real' and abs({0}) = 9e999 then iif({0} > 0, '9e999', '-9e999') else quote({0}) end"
)
"""`quote` ends a text at its first zero byte, and writes an infinity as a name."""
_SCHEMA = "INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql) VALUES('table',{0},{0},0,{1});"


def statements(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the statements that make the database anew, the last one END."""
    yield "PRAGMA foreign_keys=OFF;"
    yield "BEGIN TRANSACTION;"
    query = "select name, type, sql from sqlite_master where sql is not null order by type <> 'table', name = 'sqlite_sequence', rowid"
    found = [(str(name), str(kind), str(sql)) for name, kind, sql in connection.execute(query)]
    counted = any("AUTOINCREMENT" in sql.upper() for _, _, sql in found)
    for name, kind, sql in found:
        if kind == "table" and (counted or name != "sqlite_sequence"):  # which stays when the last table that has a counter goes
            yield from _table(connection, name, sql)
    for name, kind, sql in found:
        if kind != "table" and not name.startswith("sqlite_"):
            yield f"{sql};"
    virtual = [(name, sql) for name, kind, sql in found if kind == "table" and _is_virtual(sql)]
    if virtual:
        yield "PRAGMA writable_schema=ON;"
        yield from (_SCHEMA.format(_text(name), _text(sql)) for name, sql in virtual)
        yield "PRAGMA writable_schema=OFF;"
    for pragma in ("user_version", "application_id"):
        yield f"PRAGMA {pragma}={connection.execute(f'pragma {pragma}').fetchone()[0]};"
    yield END


def _table(connection: sqlite3.Connection, name: str, sql: str) -> Iterator[str]:
    if name == "sqlite_sequence":
        yield "DELETE FROM sqlite_sequence;"
    elif name.startswith("sqlite_") or _is_virtual(sql):
        return  # statistics are made anew by ANALYZE; the tables behind a virtual one hold its rows
    else:
        yield f"{sql};"
    known = connection.execute("select name from pragma_table_xinfo(?) where hidden = 0", [name])
    columns = [quoted(str(column)) for (column,) in known]
    begin = f"INSERT INTO {quoted(name)}({','.join(columns)}) VALUES("
    values = " || ',' || ".join(_VALUE.format(column) for column in columns)
    for (row,) in connection.execute(f"select {values} from {quoted(name)}"):  # noqa: S608 - its own tables
        yield f"{begin}{row});"


def _is_virtual(sql: str) -> bool:
    return sql.upper().startswith("CREATE VIRTUAL TABLE")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
