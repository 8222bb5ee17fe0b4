"""What happened in each minute, added up in memory and written once a second, for the charts."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime

import sqlalchemy as sa

from rakiza.store import Store, Transaction

from ._core import CANCELLED, DONE, FAILED, RETRY

ADD = sa.text(
    "insert into rakiza_jobs_tally (minute, queue, task, done, failed, retried, cancelled, run_ms, wait_ms)"
    " values (:minute, :queue, :task, :done, :failed, :retried, :cancelled, :run_ms, :wait_ms)"
    " on conflict (minute, queue, task) do update set done = rakiza_jobs_tally.done + excluded.done,"
    " failed = rakiza_jobs_tally.failed + excluded.failed, retried = rakiza_jobs_tally.retried + excluded.retried,"
    " cancelled = rakiza_jobs_tally.cancelled + excluded.cancelled, run_ms = rakiza_jobs_tally.run_ms + excluded.run_ms,"
    " wait_ms = rakiza_jobs_tally.wait_ms + excluded.wait_ms"
)
FORGET = sa.text("delete from rakiza_jobs_tally where minute < :before")
KEEP_MINUTES = 15 * 24 * 60
"""A day more than the longest chart shows."""
COLUMN = {DONE: "done", FAILED: "failed", RETRY: "retried", CANCELLED: "cancelled"}
MAX_ROWS = 1_000
Key = tuple[int, str, str]


class Tally:
    """Count outcomes; what was counted in the last second is lost with the process, which only charts would miss."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now
        self._counts: dict[Key, dict[str, int]] = {}
        self._lock = threading.Lock()
        self.totals = dict.fromkeys(COLUMN.values(), 0)
        """What this process has seen since its start."""
        self.observe: Callable[[str, str, float], object] = lambda kind, state, seconds: None
        """Told of every attempt: the name of its handler, the state it ended in, how many seconds it ran."""

    @property
    def dirty(self) -> bool:
        """Tell whether there is something to write."""
        return bool(self._counts)

    def note(self, queue: str, task: str, state: str, run_seconds: float, wait_seconds: float) -> None:
        """Count one attempt that ended in `state`."""
        column = COLUMN.get(state)
        if column is None:
            return
        key = (int(self._now().timestamp()) // 60, queue, task)
        with self._lock:
            self.totals[column] += 1
            self._add(key, {column: 1, "run_ms": int(run_seconds * 1000), "wait_ms": int(wait_seconds * 1000)})

    def _add(self, key: Key, sums: Mapping[str, int]) -> None:
        row = self._counts.get(key)
        if row is None:
            if len(self._counts) >= MAX_ROWS:
                return
            row = self._counts[key] = dict.fromkeys((*COLUMN.values(), "run_ms", "wait_ms"), 0)
        for name, number in sums.items():
            row[name] += number

    def forget(self) -> None:
        """Leave what was counted to the parent of a fork."""
        self._counts, self._lock = {}, threading.Lock()
        self.totals.update(dict.fromkeys(self.totals, 0))

    def flush(self, tx: Transaction) -> None:
        """Add what was counted to the rows of its minutes and forget those no chart shows; what does not commit waits for the next time."""
        with self._lock:
            counts, self._counts = self._counts, {}
        if not counts:
            return
        tx.after_commit(counts.clear)
        tx.after_end(lambda: self._take_back(counts))
        statement = self._store.compile(ADD)
        for (minute, queue, task), row in sorted(counts.items()):
            tx.run(statement, minute=minute, queue=queue, task=task, **row)
        tx.run(self._store.compile(FORGET), before=max(counts)[0] - KEEP_MINUTES)

    def _take_back(self, counts: Mapping[Key, Mapping[str, int]]) -> None:
        with self._lock:
            for key, sums in counts.items():
                self._add(key, sums)
