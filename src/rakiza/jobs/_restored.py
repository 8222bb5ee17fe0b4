"""What a queue does in a database that was brought back from a backup, before anybody works with it: stand still, so that nothing is done twice."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from rakiza.store import Store, Transaction, number_on

from ._core import READY, RETRY, RUNNING
from ._triggers import trigger
from .errors import ScheduleError
from .tables import JOB, LEASE, QUEUE, SCHEDULE, WORKER

HOLD = timedelta(seconds=60)
"""For so long nothing may start: a worker that lives on learns only at its next look that the queues stand still."""
GAP = 1_000
"""So many numbers are left to those who still enqueue in the database of before."""
_job, _queue, _schedule = JOB.c, QUEUE.c, SCHEDULE.c


def restored(tx: Transaction, live: Store, now: datetime) -> None:
    """Pause every queue, put running jobs back, and make up for no schedule whose moment lies in the time that is gone.

    `live` is the database of before: jobs get no number again that it has given, as receivers know jobs by their numbers.
    """
    _put_back(tx, now)
    _pause(tx, now)
    for table in (WORKER, LEASE):
        tx.execute(sa.delete(table))
    _skip_missed(tx, now)
    number_on(tx, live, JOB, gap=GAP)


def _put_back(tx: Transaction, now: datetime) -> None:
    begun = {"worker": None, "started_at": None, "progress": None, "progress_text": None, "cancel_requested": False}
    state = sa.case((_job.errors.is_(None), READY), else_=RETRY)
    tx.execute(sa.update(JOB).where(_job.state == RUNNING).values(state=state, waits_for=None, attempt=_job.attempt - 1, **begun))
    waits = sa.or_(_job.waits_for.is_(None), _job.waits_for.in_(("key", "handler")), sa.and_(_job.waits_for == "time", _job.run_at < now + HOLD))
    tx.execute(sa.update(JOB).where(_job.state.in_((READY, RETRY)), waits).values(waits_for="time", run_at=now + HOLD))


def _pause(tx: Transaction, now: datetime) -> None:
    known = sa.select(_queue.name)
    new = sa.select(_job.queue, sa.true(), sa.literal(now, QUEUE.c.updated_at.type)).where(_job.queue.not_in(known)).distinct()
    tx.execute(sa.insert(QUEUE).from_select(["name", "paused", "updated_at"], new))
    tx.execute(sa.update(QUEUE).values(paused=True, updated_at=now))


def _skip_missed(tx: Transaction, now: datetime) -> None:
    timing = (_schedule.kind, _schedule.expression, _schedule.timezone, _schedule.created_at)
    missed: list[Any] = list(tx.execute(sa.select(_schedule.tenant_id, _schedule.name, *timing).where(_schedule.next_at <= now)))
    for tenant, name, kind, expression, timezone, anchor in missed:
        following = None
        with suppress(ScheduleError):
            following = trigger(kind, expression, timezone, anchor).next_after(now)
        tx.execute(sa.update(SCHEDULE).where(_schedule.tenant_id == tenant, _schedule.name == name).values(next_at=following))
