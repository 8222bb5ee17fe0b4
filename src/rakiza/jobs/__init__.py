"""Work for later: a durable job queue in the database of the business rows, and the one scheduler.

    from rakiza.jobs import Jobs, job
    from rakiza.store import Store, migrate

    @job("report:send", max_attempts=3)
    def send_report(to: str, month: int) -> str:
        return f"تقرير الشهر {month} إلى {to}"

    store = Store("var/jobs.db")
    migrate(store, [Jobs.migrations])
    jobs = Jobs(store)
    receipt = jobs.add_job("report:send", {"to": "sara@example.com", "month": 11})
    jobs.drain()
    assert jobs.get_job(receipt.id).result == "تقرير الشهر 11 إلى sara@example.com"
    jobs.close()
    store.close()

A handler is an async function (it runs on the loop of the worker), a plain one (in a thread), or a plain one with `run_in="process"`.
Its arguments are checked against its signature where the job is enqueued. A job is done at least once: its id is the key by which
a receiver knows what it had before. A handler ends in success, in an exception (another attempt after a growing pause), or in
`Retry(after=…)`, `Snooze(seconds)`, `Cancel("why")`.
"""

from ._at_hand import QueueManager, add_job, get_queue, job, jobs_at_hand, queue_manager
from ._core import Backoff, Enqueued
from ._definitions import Definition, Options, Registry
from ._engine import Engine, QueueRow
from ._execution import Around
from ._queue import Queue
from ._running import RunningJob
from ._schedules import Schedules, ScheduleView
from ._triggers import Trigger, trigger
from ._worker import Worker
from .errors import (
    Cancel,
    JobArgumentsError,
    JobCancelled,
    JobError,
    JobFailedError,
    JobStateError,
    JobTimeout,
    Retry,
    ScheduleError,
    ScheduleNotFoundError,
    Snooze,
)
from .part import part
from .service import Jobs, JobView
from .settings import JobSettings

__all__ = [
    "Around", "Backoff", "Cancel", "Definition", "Engine", "Enqueued", "JobArgumentsError", "JobCancelled", "JobError", "JobFailedError",
    "JobSettings", "JobStateError", "JobTimeout", "JobView", "Jobs", "Options", "Queue", "QueueManager", "QueueRow",
    "Registry", "Retry", "RunningJob", "ScheduleError", "ScheduleNotFoundError", "ScheduleView", "Schedules", "Snooze",
    "Trigger", "Worker", "add_job", "get_queue", "job", "jobs_at_hand", "part", "queue_manager", "trigger",
]
