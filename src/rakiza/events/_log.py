"""The log, its tiles and its seals exactly as they are stored, by the driver's own connection: no type may hide a changed byte."""

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from rakiza.store import Store

from ._canonical import COLUMNS, RawEvent, leaf_data
from ._merkle import HASH_BYTES, TILE, TILE_HEIGHT, Frontier, leaf_hash, perfect_root, split
from .errors import SealError

PAGE = 5_000
_TIME = """to_char({} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_AS_STORED = {
    "payload": "payload::text", "metadata": "metadata::text", "event_id": "event_id::text",
    "recorded_at": _TIME.format("recorded_at"), "sealed_at": _TIME.format("sealed_at"),
}  # fmt: skip


class Seal(NamedTuple):
    """One sealed state of the log: how many events, their root, the signed note, when."""

    size: int
    root: bytes
    note: str
    sealed_at: str


class StoredLog:
    """Read the log of one store; `driver` is a connection of its driver."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.postgresql = store.dialect == "postgresql"
        self._events = f"select {self._columns(COLUMNS)} from rakiza_events_event where position > ? order by position limit ?"  # noqa: S608 - names are ours
        self._seals = f"select {self._columns(Seal._fields)} from rakiza_events_seal"  # noqa: S608 - names are ours

    def _columns(self, names: tuple[str, ...]) -> str:
        return ", ".join(_AS_STORED.get(name, name) if self.postgresql else name for name in names)

    def rows(self, driver: Any, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query whose places are marked by `?`; text that is no UTF-8 comes with surrogates, which no writer stores."""
        try:
            found: list[tuple[Any, ...]] = self.run(driver, sql, *values).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            driver.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            try:
                found = self.run(driver, sql, *values).fetchall()
            finally:
                driver.text_factory = str
        return found

    def run(self, driver: Any, sql: str, *values: object) -> Any:
        """Run a statement whose places are marked by `?`."""
        return driver.execute(sql.replace("?", "%s") if self.postgresql else sql, values)

    def events(self, driver: Any, after: int, limit: int = PAGE) -> list[tuple[Any, ...]]:
        """Return the raw events behind a position, in order."""
        return self.rows(driver, self._events, after, limit)

    def last_seal(self, driver: Any) -> Seal | None:
        """Return the newest seal."""
        found = self.rows(driver, f"{self._seals} order by size desc limit 1")
        return Seal(*found[0]) if found else None

    def seals(self, driver: Any, *, newest: bool = False) -> Iterator[Seal]:
        """Yield every seal by size, rising or the newest first, a page at a time."""
        sql = f"{self._seals} where size {'<' if newest else '>'} ? order by size {'desc' if newest else ''} limit ?"
        after = 2**63 - 1 if newest else -(2**63)
        while page := self.rows(driver, sql, after, PAGE):
            yield from (Seal(*row) for row in page)
            after = page[-1][0]

    def tile(self, driver: Any, level: int, number: int) -> bytes | None:
        """Return the hashes of a full tile, or none."""
        found = self.rows(driver, "select hashes from rakiza_events_tile where level = ? and number = ?", level, number)
        return found[0][0] if found else None

    def whole_tile(self, driver: Any, level: int, number: int) -> bytes:
        """Return the hashes of a full tile; raise SealError when it is missing or damaged."""
        hashes = self.tile(driver, level, number)
        if not isinstance(hashes, bytes) or len(hashes) != TILE * HASH_BYTES:
            raise SealError(f"tile {number} of level {level} is missing or damaged", hint="run `audit verify`")
        return hashes

    def leaves(self, driver: Any, after: int, limit: int = PAGE) -> list[bytes]:
        """Return the leaf hashes of the events that follow without a gap; raise SealError when the next is missing though later ones are there."""
        return [leaf(row) for row in gapless(self.events(driver, after, limit), after)]

    def frontier(self, driver: Any, size: int) -> Frontier:
        """Return the tree of the first `size` events from tiles and the last events; raise SealError when something is missing."""
        edge = [self.leaves(driver, size - size % TILE, size % TILE)]
        while (filled := size >> TILE_HEIGHT * len(edge)) and len(edge[0]) == size % TILE:
            numbers = range(filled - filled % TILE, filled)
            edge.append([perfect_root(split(self.whole_tile(driver, len(edge) - 1, number))) for number in numbers])
        return Frontier(edge)


def leaf(row: RawEvent) -> bytes:
    """Return the leaf hash of a raw event; raise SealError for values no writer stores."""
    try:
        return leaf_hash(leaf_data(row))
    except ValueError as error:
        raise SealError(f"event {row[0]} is damaged: {error}", hint="run `audit verify`") from error


def gapless(page: list[tuple[Any, ...]], after: int) -> list[tuple[Any, ...]]:
    """Return the events up to the first gap; raise SealError when the gap comes first."""
    for index, row in enumerate(page):
        if row[0] != after + 1 + index:
            if not index:
                raise SealError(f"event {after + 1} is missing though event {row[0]} is there", hint="run `audit verify`")
            return page[:index]
    return page
