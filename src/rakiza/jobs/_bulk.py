"""Do one thing to many jobs, a few hundred a transaction, so that workers never wait long."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from sqlalchemy import select

from rakiza.store import Transaction

from ._browsing import Browser
from ._filters import JobFilter, Number, Place
from .errors import JobStateError
from .service import Jobs
from .tables import JOB

BATCH = 500
COUNTED = 20_000
"""How many jobs a dry run counts at a time."""
Action = Literal["retry", "cancel", "discard", "run"]
MEANT: dict[str, tuple[str, ...]] = {
    "retry": ("failed",),
    "cancel": ("ready", "delayed", "waiting", "retry", "running"),
    "discard": ("failed", "retry"),
    "run": ("delayed", "retry"),
}
"""The states a filter means that names none: nobody wants every job of the past to run again."""


class Bulk(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Say what to do, and to which jobs: those of `ids`, or those of `filter`; `dry_run` only counts."""

    action: Action
    ids: Annotated[list[Number], msgspec.Meta(max_length=10_000)] | None = None
    filter: JobFilter | None = None
    dry_run: bool = False


class Bulked(msgspec.Struct):
    """Count the jobs that were meant, and those that were changed: the state of the others did not allow it."""

    matched: int
    changed: int


class Worklist:
    """Walk through the jobs that are meant."""

    def __init__(self, jobs: Jobs, browser: Browser) -> None:
        self._jobs, self._browser = jobs, browser

    def run(self, asked: Bulk, done: Bulked, tenant: str | None = None) -> None:
        """Do it, and count in `done` as it goes on; raise StoreError, JobStateError."""
        for ids in self._named(asked, tenant) if asked.ids is not None else self._found(asked, tenant):
            done.matched += len(ids)
            if ids and not asked.dry_run:
                done.changed += self._act(asked.action, ids)

    def _act(self, action: Action, ids: list[int]) -> int:
        try:
            return len(self._jobs.engine.act(action, ids))
        except JobStateError:  # one cannot be changed, because another has its unique key now: leave it and take the rest
            return sum(self._act(action, [job_id]) for job_id in ids) if len(ids) > 1 else 0

    def _named(self, asked: Bulk, tenant: str | None) -> Iterator[list[int]]:
        ids = sorted(set(asked.ids or ()))
        for start in range(0, len(ids), BATCH):
            mine = [JOB.c.id.in_(ids[start : start + BATCH])] + ([JOB.c.tenant_id == tenant] if tenant is not None else [])
            with self._jobs.store.read() as tx:
                found = list(tx.execute(select(JOB.c.id).where(*mine)).scalars())
            yield found

    def _found(self, asked: Bulk, tenant: str | None) -> Iterator[list[int]]:
        chosen = asked.filter or JobFilter()
        with self._jobs.store.read() as tx:
            newest = self._browser.newest(tx)
        for state in (chosen.state,) if chosen.state else MEANT[asked.action]:
            yield from self._of_state(msgspec.structs.replace(chosen, state=state), asked, tenant, newest)

    def _of_state(self, chosen: JobFilter, asked: Bulk, tenant: str | None, newest: int) -> Iterator[list[int]]:
        """Yield the ids in batches, each read just before something is done to it; what came later is not meant."""
        after: Place | None = None
        while True:
            with self._jobs.store.read() as tx:
                ids, after = self._batch(tx, chosen, COUNTED if asked.dry_run else BATCH, after, (tenant, newest))
            yield ids
            if after is None:
                return

    def _batch(
        self, tx: Transaction, chosen: JobFilter, size: int, after: Place | None, among: tuple[str | None, int]
    ) -> tuple[list[int], Place | None]:
        found = self._browser.find(tx, chosen, size, after, tenant=among[0], columns=(JOB.c.id,), newest=among[1])
        return [row["id"] for row in found.rows], found.next
