"""The statements of the queue: one text for both engines, what differs in one file per engine."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from rakiza.jobs._core import JOBS, TIME, Claimed, NewJob, Settled, Written
from rakiza.jobs.tables import IN_LINE, ONE_OF_A_KEY, UNFINISHED
from rakiza.store import Compiled, Store, Transaction, as_utc

CLAIMED = (
    "id, tenant_id, queue, task, payload, context, priority, run_at, attempt, max_attempts, timeout_seconds, rescues,"
    " concurrency_key, key_limit, paced, tags, errors"
)
RUN_AT = 7


CANDIDATES = (
    "select {columns} from rakiza_jobs_job where queue = :queue and {in_line} and not exists"
    " (select 1 from rakiza_jobs_queue where name = :queue and paused) order by priority, run_at, id limit :room {lock}"
)
"""A worker may not have heard of a pause yet, so the statement looks itself."""
TAKE_UNSEEN = (
    "update rakiza_jobs_job set state = 'running', worker = :worker, attempt = attempt + 1, started_at = :now, progress = null,"
    " progress_text = null, paced = :no where id in {ids}"
)
TAKE = f"{TAKE_UNSEEN} and exists (select 1 from rakiza_jobs_worker as mine where mine.id = :worker)"  # noqa: S608 - constants


class SqlBackend(ABC):
    """Run statements written for both engines: `{ids}` and `{texts}` stand for lists given as one parameter, `{lock}` for locks others skip."""

    words: ClassVar[dict[str, str]] = {
        "ids": "(select value from json_each(:ids))",
        "texts": "(select value from json_each(:texts))",
        "queues": "(select value from json_each(:queues))",
        "columns": CLAIMED,
        "lock": "",
        "wait": "",
    }

    def __init__(self, store: Store) -> None:
        self.store = store
        self._compiled: dict[str, Compiled] = {}

    def _statement(self, text: str) -> Compiled:
        found = self._compiled.get(text)
        if found is None:
            words = {**self.words, "in_line": IN_LINE, "unfinished": UNFINISHED, "one_of_a_key": ONE_OF_A_KEY}
            found = self._compiled[text] = self.store.compile(sa.text(text.format_map(words)))
        return found

    def rows(self, tx: Transaction, text: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its raw tuples."""
        return tx.rows(self._statement(text), **parameters)

    def run(self, tx: Transaction, text: str, /, **parameters: Any) -> int:
        """Run a change and return how many rows it touched."""
        return tx.run(self._statement(text), **parameters)

    def claimed(self, row: Sequence[Any]) -> Claimed:
        """Return a job from the columns `CLAIMED`."""
        values = list(row)
        values[RUN_AT] = as_utc(values[RUN_AT])
        return Claimed(*values)

    @abstractmethod
    def at(self, moment: datetime) -> Any:
        """Return what a time is stored as."""

    @abstractmethod
    def ids(self, values: Iterable[int | str]) -> Any:
        """Return a list as one parameter."""

    @abstractmethod
    def insert(self, tx: Transaction, jobs: Sequence[NewJob], now: datetime) -> list[int | None]:
        """Write jobs and return their ids, none for one whose unique key is taken."""

    @abstractmethod
    def settle(self, tx: Transaction, worker: str, settled: Sequence[tuple[Claimed, Settled]], now: datetime) -> list[Written]:
        """Write what became of jobs this worker still owns; one that was to stop and did not end is cancelled."""

    @abstractmethod
    def lock_keys(self, tx: Transaction, keys: Iterable[str]) -> None:
        """Wait until nobody else counts the keys."""

    @abstractmethod
    def try_keys(self, tx: Transaction, keys: Iterable[str]) -> frozenset[str]:
        """Lock the keys that nobody counts at this moment, and return the others."""

    @abstractmethod
    def lock_queue(self, tx: Transaction, name: str) -> bool:
        """Lock the queue's row so that nobody else counts it; tell whether that went at once."""


def waits_for(job: NewJob, now: datetime) -> str | None:
    """Return what a new job waits for before it may stand in line."""
    return JOBS if job.after else TIME if job.run_at is not None and job.run_at > now else None


def row_of(job: NewJob, run_at: Any, waits_for: str | None, now: Any) -> tuple[Any, ...]:
    """Return the columns of a new job in the order of `COLUMNS`."""
    return (
        *(job.tenant, job.queue, job.task, job.payload, job.context, "ready", waits_for, job.priority, run_at, 0, job.max_attempts, job.max_attempts),
        *(job.timeout_seconds, 0, len(job.after), False, job.unique_key, job.unique_for > 0, job.concurrency_key, job.key_limit, False),
        *(job.tags_text, now, False),
    )


COLUMNS = (
    "tenant_id, queue, task, payload, context, state, waits_for, priority, run_at, attempt, max_attempts, tries,"
    " timeout_seconds, rescues, pending, followed, unique_key, unique_window, concurrency_key, key_limit, paced, tags, created_at, cancel_requested"
)


def json_list(values: Iterable[int | str]) -> str:
    """Return a JSON list."""
    return msgspec.json.encode(list(values)).decode()
