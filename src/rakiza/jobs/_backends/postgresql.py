"""The queue on PostgreSQL: rows others have locked are skipped, keys are counted under advisory locks."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar

import msgspec

from rakiza.jobs._core import Claimed, NewJob, Settled, Written
from rakiza.store import Transaction

from . import CLAIMED, COLUMNS, SqlBackend, row_of, waits_for

JSON = frozenset({"payload", "context", "errors"})
NAMES = [name.strip() for name in COLUMNS.split(",")]
KINDS = {
    **dict.fromkeys(("run_at", "created_at"), "timestamptz"),
    **dict.fromkeys(("priority", "rescues", "key_limit"), "smallint"),
    **dict.fromkeys(("attempt", "max_attempts", "tries", "pending"), "integer"),
    **dict.fromkeys(("followed", "unique_window", "paced", "cancel_requested"), "boolean"),
    "timeout_seconds": "double precision", "payload": "json", "context": "json",
}
CAST = ", ".join(f"(given.r ->> {number})::{KINDS.get(name, 'text')}" for number, name in enumerate(NAMES))
INSERT = (
    f"insert into rakiza_jobs_job ({COLUMNS}) select {CAST} from json_array_elements(%s::json) with ordinality as given(r, n)"  # noqa: S608 - names of columns
    " order by n on conflict do nothing returning id"
)
INSERT_ONE = f"insert into rakiza_jobs_job ({COLUMNS}) values ({', '.join('%s' for _ in NAMES)}) on conflict do nothing returning id"  # noqa: S608 - names of columns
SETTLE = (
    "update rakiza_jobs_job as job set run_at = given.run_at, attempt = given.after, rescues = given.rescues,"
    " state = case when job.cancel_requested and given.finished_at is null then 'cancelled' else given.state end,"
    " waits_for = case when job.cancel_requested then null else given.waits_for end,"
    " finished_at = case when job.cancel_requested then coalesce(given.finished_at, :now) else given.finished_at end,"
    " result = given.result::json, errors = given.errors::json, cancel_requested = false"
    " from json_to_recordset(cast(:settled as json)) as given(id bigint, attempt integer, state text, run_at timestamptz, waits_for text,"
    " after integer, rescues smallint, finished_at timestamptz, result text, errors text)"
    " where job.id = given.id and job.attempt = given.attempt and job.worker = :worker and job.state = 'running'"
    " returning job.id, job.state, job.followed"
)
LOCK_KEYS = "select pg_advisory_xact_lock(hashtextextended('rakiza_jobs' || k, 0)) from unnest(cast(:texts as text[])) as k"
TRY_KEYS = "select k from unnest(cast(:texts as text[])) as k where not pg_try_advisory_xact_lock(hashtextextended('rakiza_jobs' || k, 0))"
LOCK_QUEUE = "select name from rakiza_jobs_queue where name = :name for update skip locked"


class PostgresqlBackend(SqlBackend):
    """Share the queue with the workers of other processes and machines."""

    words: ClassVar[dict[str, str]] = {
        "ids": "(select unnest(cast(:ids as bigint[])))",
        "texts": "(select unnest(cast(:texts as text[])))",
        "queues": "(select unnest(cast(:queues as text[])))",
        "columns": ", ".join(f"cast({name} as text)" if name in JSON else name for name in CLAIMED.split(", ")),
        "lock": "for update skip locked",
        "wait": "for update",
    }

    def at(self, moment: datetime) -> datetime:
        """Return what a time is stored as."""
        return moment

    def ids(self, values: Iterable[int | str]) -> list[int | str]:
        """Return a list as one parameter."""
        return list(values)

    def insert(self, tx: Transaction, jobs: Sequence[NewJob], now: datetime) -> list[int | None]:
        """Write jobs and return their ids, none for one whose unique key is taken."""
        rows = [row_of(job, job.run_at or now, waits_for(job, now), now) for job in jobs]
        driver = tx.driver_connection
        if len(rows) > 1 and not any(job.unique_key for job in jobs):
            found = driver.execute(INSERT, (msgspec.json.encode(rows).decode(),)).fetchall()
            return [row[0] for row in found]
        return [found[0] if (found := driver.execute(INSERT_ONE, row).fetchone()) else None for row in rows]

    def settle(self, tx: Transaction, worker: str, settled: Sequence[tuple[Claimed, Settled]], now: datetime) -> list[Written]:
        """Write what became of jobs this worker still owns; one that was to stop and did not end is cancelled."""
        given = [
            {"id": job.id, "attempt": job.attempt, "state": to.state, "run_at": to.run_at, "waits_for": to.waits_for, "after": to.attempt}
            | {"rescues": to.rescues, "finished_at": to.finished_at, "result": to.result, "errors": to.errors}
            for job, to in settled
        ]  # one parameter: the driver takes ten arrays apart for longer than the server needs for all the rest
        text = msgspec.json.encode(given).decode()
        return [Written(*row) for row in self.rows(tx, SETTLE, worker=worker, now=now, settled=text)]

    def lock_keys(self, tx: Transaction, keys: Iterable[str]) -> None:
        """Wait until nobody else counts the keys, in one order so that no two wait for each other."""
        self.rows(tx, LOCK_KEYS, texts=sorted(set(keys)))

    def try_keys(self, tx: Transaction, keys: Iterable[str]) -> frozenset[str]:
        """Lock the keys that nobody counts at this moment, and return the others."""
        return frozenset(row[0] for row in self.rows(tx, TRY_KEYS, texts=sorted(set(keys))))

    def lock_queue(self, tx: Transaction, name: str) -> bool:
        """Lock the queue's row so that nobody else counts it; tell whether that went at once."""
        return bool(self.rows(tx, LOCK_QUEUE, name=name))
