"""The statements alone: a table, one transaction that settles what was claimed and claims the next, jobs called one after the other.

No retries, limits, heartbeats or rescue: it is the limit of a queue that claims as many jobs at once as it runs.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.jobs.journal import payload
from benchmarks.jobs.side import CONCURRENCY, Side

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_SECONDS = 0.01  # of SQLite, which tells nobody
TABLE = """CREATE TABLE job (
    id {key}, queue text NOT NULL, task text NOT NULL, payload text NOT NULL, state text NOT NULL DEFAULT 'ready',
    priority smallint NOT NULL DEFAULT 0, run_at double precision NOT NULL, attempt int NOT NULL DEFAULT 0,
    worker text, finished_at double precision)"""
INDEX = "CREATE INDEX in_line ON job (queue, priority, run_at, id) WHERE state = 'ready'"
INSERT = "INSERT INTO job (queue, task, payload, run_at) VALUES ('bench', 'job', {mark}, {mark})"
CLAIM = (
    "UPDATE job SET state = 'running', attempt = attempt + 1, worker = 'w' WHERE id IN (SELECT id FROM job WHERE state = 'ready' AND queue = 'bench' "
    f"AND run_at <= {{mark}} ORDER BY priority, run_at, id LIMIT {CONCURRENCY} {{lock}}) RETURNING id, payload, priority, run_at"
)
SETTLE = "UPDATE job SET state = 'done', finished_at = {mark} WHERE id {of} AND worker = 'w'"
UNFINISHED = "SELECT count(*) FROM job WHERE state <> 'done'"


class Raw(Side):
    """Use one connection."""

    key, mark, lock, of = "integer PRIMARY KEY", "?", "", "IN (SELECT value FROM json_each(?))"
    connection: Any
    version: Any = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        yield
        self.connection.execute("COMMIT")

    async def open(self) -> None:
        """Connect, in WAL mode with full synchronisation."""
        self.connection = sqlite3.connect(self.url, isolation_level=None, timeout=10)
        give_up = time.monotonic() + 10
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError:  # this change does not wait for the other process by itself
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.01)
        self.connection.execute("PRAGMA synchronous=FULL")

    async def prepare(self) -> None:
        """Make the table."""
        self.connection.execute(TABLE.format(key=self.key))
        self.connection.execute(INDEX)

    async def put(self, job: dict[str, Any]) -> None:
        """Insert one row."""
        await self.put_many([job])

    async def put_many(self, jobs: list[dict[str, Any]]) -> None:
        """Insert rows in one transaction."""
        with self.transaction():
            self.connection.executemany(INSERT.format(mark=self.mark), [(json.dumps(job, ensure_ascii=False), job["put"]) for job in jobs])

    async def work(self, stop: asyncio.Event) -> None:
        """Settle and claim in one transaction, and run what was claimed."""
        claim, settle = CLAIM.format(mark=self.mark, lock=self.lock), SETTLE.format(mark=self.mark, of=self.of)
        done: list[int] = []
        while done or not stop.is_set():
            now = payload(0)["put"]
            with self.transaction():
                if done:
                    self.connection.execute(settle, (now, self.ids(done)))
                rows = self.connection.execute(claim, (now,)).fetchall()
            done = [row[0] for row in rows]
            for _, text, *_ in sorted(rows, key=lambda row: (row[2], row[3], row[0])):
                job = json.loads(text)
                await self.journal.awaited(job["number"], job["put"])  # type: ignore[union-attr]
            await (asyncio.sleep(0) if rows else self.told(stop))

    def ids(self, numbers: list[int]) -> object:
        """Return ids as the driver takes them."""
        return json.dumps(numbers)

    async def told(self, stop: asyncio.Event) -> None:
        """Wait for new rows: another connection's commit changes the version."""
        while (version := self.connection.execute("PRAGMA data_version").fetchone()) == self.version and not stop.is_set():  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(POLL_SECONDS)
        self.version = version

    async def left(self) -> int:
        """Count what is not done."""
        return int(self.connection.execute(UNFINISHED).fetchone()[0])

    async def close(self) -> None:
        """Disconnect."""
        self.connection.close()


class RawPostgres(Raw):
    """The same on PostgreSQL, where writers tell listeners."""

    key, mark, lock, of = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "%s", "FOR UPDATE SKIP LOCKED", "= ANY(%s)"

    async def open(self) -> None:
        """Connect; a worker listens on a second connection."""
        self.connection = psycopg.connect(self.url, autocommit=True)
        if self.journal:
            self._ear = await psycopg.AsyncConnection.connect(self.url, autocommit=True)
            await self._ear.execute("LISTEN job")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block in one transaction."""
        with self.connection.transaction():
            yield

    async def put(self, job: dict[str, Any]) -> None:
        """Insert one row in one statement and one round trip, as a driver can."""
        self.connection.execute("WITH put AS (" + INSERT.format(mark="%s") + ") SELECT pg_notify('job', '')",
                                (json.dumps(job, ensure_ascii=False), job["put"]))

    async def put_many(self, jobs: list[dict[str, Any]]) -> None:
        """Insert rows in one transaction and notify once."""
        with self.transaction(), self.connection.cursor() as cursor:
            cursor.executemany(INSERT.format(mark=self.mark), [(json.dumps(job, ensure_ascii=False), job["put"]) for job in jobs])
            cursor.execute("NOTIFY job")

    def ids(self, numbers: list[int]) -> object:
        """Return ids as the driver takes them."""
        return numbers

    async def told(self, stop: asyncio.Event) -> None:
        """Wait for a notification."""
        async for _ in self._ear.notifies(timeout=0.5, stop_after=1):
            pass

    async def close(self) -> None:
        """Disconnect both."""
        self.connection.close()
        if self.journal:
            await self._ear.close()


def make(url: str, journal: Any) -> Raw:
    """Return the side of a database."""
    return (RawPostgres if url.startswith("postgresql:") else Raw)(url, journal)
