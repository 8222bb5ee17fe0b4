"""The one scheduler when processes race, die and stand still: each slot has its one job."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa

import servers
from events_faults import ROUNDS
from patience import until
from rakiza.jobs import Jobs, Registry
from rakiza.store import Store, StoreBusyError

Process = Callable[..., servers.Child]
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
LEASE_SECONDS = 2.0
WORK = """
import sys, threading
from rakiza.jobs import Jobs, JobSettings
from rakiza.store import Store
jobs = Jobs(Store(sys.argv[1], busy_timeout_seconds=60.0), settings=JobSettings(lease_seconds=float(sys.argv[2])))
@jobs.job("نبضة")
def beat(**_): pass
jobs.schedule("كل ثانية", task="نبضة", payload={"رسالة": "مرحبا"}, cron=sys.argv[3])
jobs.start()
print("runs")
try:
    threading.Event().wait()
except KeyboardInterrupt:
    jobs.close()
"""
STEP = timedelta(seconds=1)


@pytest.fixture
def store(jobs_url: str) -> Iterator[Store]:
    made = Store(jobs_url, busy_timeout_seconds=60.0)
    yield made
    made.close()


@pytest.fixture
def jobs(store: Store) -> Iterator[Jobs]:
    made = Jobs(store, registry=Registry())
    yield made
    made.close()


@pytest.fixture
def two(jobs_url: str, store: Store, python_process: Process) -> list[servers.Child]:
    """Two processes that work and schedule on one database."""
    children = [python_process(WORK, jobs_url, str(LEASE_SECONDS), "* * * * * *", env=ENVIRONMENT) for _ in range(2)]
    [child.wait_for("runs") for child in children]
    return children


def slots(store: Store) -> list[datetime]:
    with store.read() as tx:
        found = tx.execute(sa.text("select cast(context as text) from rakiza_jobs_job where task = 'نبضة'")).scalars()
        return sorted(datetime.fromisoformat(msgspec.json.decode(text)["scheduled_for"]) for text in found)


def more(store: Store, number: int) -> None:
    """Wait until so many more slots have fired."""
    had = len(slots(store))
    until(lambda: len(slots(store)) >= had + number)


def whole(store: Store) -> None:
    """Check that every second from the first slot to the last has exactly one job."""
    found = slots(store)
    assert found == [found[0] + STEP * number for number in range(len(found))]


def leader(jobs: Jobs, children: list[servers.Child]) -> tuple[servers.Child, servers.Child]:
    """Return which process leads, and the other one."""
    until(lambda: jobs.schedules.leader() is not None)
    name = str(jobs.schedules.leader())
    one, other = sorted(children, key=lambda child: f":{child.process.pid}:" not in name)
    assert f":{one.process.pid}:" in name
    return one, other


def test_two_processes_fire_each_second_once(store: Store, jobs: Jobs, two: list[servers.Child]) -> None:
    more(store, 4 * ROUNDS)
    whole(store)
    until(lambda: jobs.get_stats()["default"]["done"] >= 4 * ROUNDS)


def test_the_other_goes_on_when_the_leader_is_killed(store: Store, jobs: Jobs, two: list[servers.Child]) -> None:
    first, second = leader(jobs, two)
    more(store, 2 * ROUNDS)
    first.kill9()
    until(lambda: f":{second.process.pid}:" in str(jobs.schedules.leader()))
    more(store, 2 * ROUNDS)
    whole(store)


def test_a_leader_that_stood_still_past_its_lease_doubles_nothing(store: Store, jobs: Jobs, jobs_url: str, two: list[servers.Child]) -> None:
    first, second = leader(jobs, two)
    more(store, 2)
    stand_still(first, jobs_url)
    until(lambda: f":{second.process.pid}:" in str(jobs.schedules.leader()))
    more(store, 2 * ROUNDS)
    first.process.send_signal(signal.SIGCONT)
    more(store, 3 * ROUNDS)
    whole(store)
    assert f":{second.process.pid}:" in str(jobs.schedules.leader())


def stand_still(child: servers.Child, jobs_url: str) -> None:
    """Stop a process at a moment at which it holds no lock: with one it would hold up every writer, whoever that is."""
    impatient = Store(jobs_url, busy_timeout_seconds=0.2)
    rows = "select name from rakiza_jobs_schedule" + ("" if impatient.dialect == "sqlite" else " for update nowait")
    lease = rows.replace("schedule", "lease")
    for _ in range(100):
        child.process.send_signal(signal.SIGSTOP)
        try:
            with impatient.begin() as tx:
                tx.execute(sa.text(rows)).all()
                tx.execute(sa.text(lease)).all()
            break
        except StoreBusyError:
            child.process.send_signal(signal.SIGCONT)
            time.sleep(0.03)
    else:
        raise AssertionError("it holds a lock all the time")
    impatient.close()


def test_a_leader_that_is_told_to_stop_leaves_no_gap(store: Store, jobs: Jobs, two: list[servers.Child]) -> None:
    first, second = leader(jobs, two)
    more(store, 2)
    first.process.send_signal(signal.SIGINT)
    first.finish()
    until(lambda: f":{second.process.pid}:" in str(jobs.schedules.leader()))
    more(store, 2 * ROUNDS)
    whole(store)


def test_a_schedule_of_another_process_is_seen_and_can_be_paused_from_here(store: Store, jobs: Jobs, two: list[servers.Child]) -> None:
    more(store, 1)
    jobs.schedule("آخر", task="نبضة أخرى", every=1)
    count = sa.text("select count(*) from rakiza_jobs_job where task = 'نبضة أخرى'")
    until(lambda: jobs.schedules.get("آخر").last_at is not None)
    jobs.pause_schedule("آخر")
    with store.read() as tx:
        paused_at = tx.scalar(count)
    more(store, 2 * ROUNDS)
    with store.read() as tx:
        assert tx.scalar(count) == paused_at
    whole(store)
