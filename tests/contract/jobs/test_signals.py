"""Workers hear at once of jobs and orders that another process wrote; nobody polls for minutes here."""

import os
import sys
from collections.abc import Callable, Iterator

import pytest

import servers
from rakiza.jobs import Jobs, JobSettings, Registry
from rakiza.store import Store, migrate

Process = Callable[..., servers.Child]
PATHS = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
WORK = """
import sys, threading
from rakiza.jobs import Jobs, JobSettings, Registry, RunningJob
from rakiza.store import Store
jobs = Jobs(Store(sys.argv[1]), settings=JobSettings(poll_seconds=300.0, lease_seconds=3000.0), registry=Registry())
@jobs.job("say")
def say(text: str) -> None:
    print("said", text)
@jobs.job("long")
async def long(job: RunningJob) -> None:
    import asyncio
    print("begun", job.id)
    try:
        await asyncio.sleep(300)
    finally:
        print("ended", job.id)
jobs.start()
print("works")
threading.Event().wait()
"""


@pytest.fixture
def jobs(database_url: str) -> Iterator[Jobs]:
    store = Store(database_url)
    migrate(store, [Jobs.migrations])
    made = Jobs(store, settings=JobSettings(work=False), registry=Registry())
    yield made
    made.close()
    store.close()


def test_jobs_and_orders_of_another_process_are_heard(jobs: Jobs, database_url: str, python_process: Process) -> None:
    held = jobs.add_job("say", {"text": "مؤجل"})
    jobs.pause("default")
    worker = python_process(WORK, database_url, env=PATHS)
    worker.wait_for("works")
    assert jobs.get_job(held.id).state == "ready"
    jobs.resume("default")
    assert worker.wait_for("said") == "said مؤجل"
    jobs.add_job("say", {"text": "مرحبا"})
    assert worker.wait_for("said") == "said مرحبا"
    long = jobs.add_job("long")
    worker.wait_for(f"begun {long.id}")
    jobs.cancel(long.id)
    worker.wait_for(f"ended {long.id}")
