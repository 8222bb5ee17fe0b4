"""Keep groups of errors in the local file: several processes write it, and it survives them."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from rakiza._kernel import LocalFile

from ._core import ITEM, merged

GROUPS = 500
STATES = ("open", "resolved", "ignored", "regressed")
LAST = ("~", "")  # the place after which the newest stands
_TABLE = "CREATE TABLE IF NOT EXISTS errors_group(id TEXT PRIMARY KEY, last_seen TEXT, state TEXT, words TEXT, item BLOB, more BLOB)"
_INDEX = "CREATE INDEX IF NOT EXISTS errors_group_last ON errors_group(last_seen, id, state)"
_GONE = "DELETE FROM errors_group WHERE last_seen < ? OR id IN (SELECT id FROM errors_group ORDER BY last_seen DESC LIMIT -1 OFFSET ?)"
_PAGE = """SELECT item FROM errors_group WHERE (?1 = 'all' OR state = ?1) AND words LIKE ?2 ESCAPE '\\' AND (last_seen, id) < (?3, ?4)
ORDER BY last_seen DESC, id DESC LIMIT ?5"""


class Groups:
    """Read and change what is kept."""

    def __init__(self, local: LocalFile) -> None:
        self._local = local
        local.declare(_TABLE, _INDEX)

    def add(self, found: Iterable[dict[str, Any]], oldest: str) -> list[dict[str, Any]] | None:
        """Add errors, forget groups not seen since `oldest` or beyond the cap; return those resolved that came back, none when the file refuses."""

        def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
            pairs = [(old := _one(db, new["id"]), _put(db, merged(old, new))) for new in found]
            db.execute(_GONE, (oldest, GROUPS))
            return [kept for old, kept in pairs if old and kept["state"] != old["state"]]

        return self._local.write(work)

    def page(self, state: str = "all", q: str = "", limit: int = 50, before: tuple[str, str] = LAST) -> list[dict[str, Any]]:
        """Return groups, the one seen last first, from the place `before` on."""
        words = "%" + q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        return [msgspec.json.decode(item) for (item,) in self._read(_PAGE, state, words, *before, limit)]

    def one(self, key: str) -> dict[str, Any] | None:
        """Return one group with its sample."""
        return self._local.read(lambda db: _one(db, key), None)

    def counts(self) -> dict[str, int]:
        """Return how many groups are in each state."""
        return dict.fromkeys(STATES, 0) | dict(self._read("SELECT state, count(*) FROM errors_group GROUP BY state"))

    def change(self, key: str, state: str, at: str) -> dict[str, Any] | None:
        """Give a group a state and return it; none when there is no such group."""

        def work(db: sqlite3.Connection) -> dict[str, Any] | None:
            kept = _one(db, key)
            return _put(db, kept | {"state": state, "changed_at": at}) if kept else None

        return self._local.write(work)

    def _read(self, sql: str, *values: object) -> list[Any]:
        return self._local.read(lambda db: db.execute(sql, values).fetchall(), [])


def _one(db: sqlite3.Connection, key: str) -> dict[str, Any] | None:
    row = db.execute("SELECT item, more FROM errors_group WHERE id = ?", (key,)).fetchone()
    return msgspec.json.decode(row[0]) | msgspec.json.decode(row[1]) if row else None


def _put(db: sqlite3.Connection, kept: dict[str, Any]) -> dict[str, Any]:
    item, more = ({name: value for name, value in kept.items() if (name in ITEM) is shown} for shown in (True, False))
    words = f"{kept['kind']} {kept['culprit']} {kept['message']}"
    values = (kept["id"], kept["last_seen"], kept["state"], words, msgspec.json.encode(item), msgspec.json.encode(more))
    db.execute("REPLACE INTO errors_group VALUES(?,?,?,?,?,?)", values)
    return kept
