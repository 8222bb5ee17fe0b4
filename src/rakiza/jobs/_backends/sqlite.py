"""The queue on SQLite: the store's one writer makes locks needless."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rakiza.jobs._core import DONE, Claimed, NewJob, Settled, Written, stopped
from rakiza.store import Transaction, utc_text

from . import COLUMNS, SqlBackend, json_list, row_of, waits_for

PLACES = ", ".join("?" * len(COLUMNS.split(",")))
INSERT = f"insert into rakiza_jobs_job ({COLUMNS}) values ({PLACES}) on conflict do nothing returning id"  # noqa: S608 - names of columns
SETTLE = (
    "update rakiza_jobs_job set state = ?, run_at = ?, waits_for = ?, attempt = ?, rescues = ?, finished_at = ?, result = ?, errors = ?,"
    " cancel_requested = 0 where id = ?"
)
DONE_SETTLE = "update rakiza_jobs_job set state = 'done', finished_at = ?, result = ?, cancel_requested = 0 where id = ?"
OWN = "select id, attempt, cancel_requested, followed from rakiza_jobs_job where worker = :worker and state = 'running'"


class SqliteBackend(SqlBackend):
    """Work on the queue inside the store's write transaction."""

    def at(self, moment: datetime) -> str:
        """Return what a time is stored as."""
        return utc_text(moment)

    def ids(self, values: Iterable[int | str]) -> str:
        """Return a list as one parameter."""
        return json_list(values)

    def insert(self, tx: Transaction, jobs: Sequence[NewJob], now: datetime) -> list[int | None]:
        """Write jobs and return their ids, none for one whose unique key is taken."""
        driver, at = tx.driver_connection, utc_text(now)
        found: list[int | None] = []
        for job in jobs:
            row = driver.execute(INSERT, row_of(job, utc_text(job.run_at) if job.run_at else at, waits_for(job, now), at)).fetchone()
            found.append(row[0] if row else None)
        return found

    def settle(self, tx: Transaction, worker: str, settled: Sequence[tuple[Claimed, Settled]], now: datetime) -> list[Written]:
        """Write what became of jobs this worker still owns; one that was to stop and did not end is cancelled."""
        own = {(job_id, attempt): (stop, followed) for job_id, attempt, stop, followed in self.rows(tx, OWN, worker=worker)}
        kept = [(job, stopped(to, now) if own[job.id, job.attempt][0] else to) for job, to in settled if (job.id, job.attempt) in own]
        driver = tx.driver_connection
        driver.executemany(DONE_SETTLE, [(utc_text(to.finished_at), to.result, job.id) for job, to in kept if to.state == DONE and to.finished_at])
        driver.executemany(SETTLE, [_values(job, to) for job, to in kept if to.state != DONE])
        return [Written(job.id, to.state, bool(own[job.id, job.attempt][1])) for job, to in kept]

    def lock_keys(self, tx: Transaction, keys: Iterable[str]) -> None:
        """Do nothing: there is one writer."""

    def try_keys(self, tx: Transaction, keys: Iterable[str]) -> frozenset[str]:
        """Return the keys others count at this moment: none."""
        return frozenset()

    def lock_queue(self, tx: Transaction, name: str) -> bool:
        """Tell that nobody else counts the queue."""
        return True


def _values(job: Claimed, to: Settled) -> tuple[object, ...]:
    finished = utc_text(to.finished_at) if to.finished_at else None
    return to.state, utc_text(to.run_at), to.waits_for, to.attempt, to.rescues, finished, to.result, to.errors, job.id
