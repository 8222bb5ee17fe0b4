"""What a queue does in a database that came back from a backup."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from rakiza.jobs import Jobs, JobSettings
from rakiza.jobs._restored import GAP, HOLD, restored
from rakiza.jobs._worker import QUEUES_SECONDS
from rakiza.store import Store
from rakiza.testing import FrozenClock


def bring_back(jobs: Jobs, clock: FrozenClock, live: Store | None = None) -> None:
    with jobs.store.begin() as tx:
        restored(tx, live or jobs.store, clock.now())


def test_running_jobs_go_back_and_nothing_starts(jobs: Jobs, clock: FrozenClock, column: Callable[..., list[Any]]) -> None:
    for number in range(3):
        jobs.job(f"task{number}")(lambda: None)
    ids = [jobs.add_job(f"task{number}", queue=queue).id for number, queue in enumerate(("a", "a", "b"))]
    with jobs.store.begin() as tx:
        tx.execute(
            sa.text("update rakiza_jobs_job set state = 'running', attempt = 1, worker = 'gone', started_at = :now where id = :id"),
            {"id": ids[0], "now": clock.now().isoformat() if jobs.store.dialect == "sqlite" else clock.now()},
        )
    bring_back(jobs, clock)
    assert column("state") == ["ready"] * 3
    assert column("waits_for") == ["time"] * 3
    assert column("attempt") == [0, 0, 0]
    assert column("worker") == [None] * 3
    assert all(column("paused", "queue", "name"))
    clock.advance(HOLD.total_seconds() + 1)
    jobs.drain()
    assert column("state") == ["ready"] * 3


def test_a_paused_queue_goes_on_where_it_stood(jobs: Jobs, clock: FrozenClock) -> None:
    done: list[str] = []
    jobs.job("say", queue="a")(lambda word: done.append(word))  # noqa: PLW0108 - arguments of jobs have names
    jobs.add_job("say", {"word": "مرحبا"})
    bring_back(jobs, clock)
    clock.advance(HOLD.total_seconds() + 1)
    jobs.resume("a")
    jobs.drain()
    assert done == ["مرحبا"]


def test_a_schedule_makes_up_for_nothing_that_lies_in_the_time_that_is_gone(jobs: Jobs, clock: FrozenClock, column: Callable[..., list[Any]]) -> None:
    jobs.job("summary")(lambda: None)
    jobs.schedule("hourly", "0 * * * *", task="summary")
    clock.advance(5 * 3600)
    bring_back(jobs, clock)
    jobs.schedules.tick()
    assert column("id") == []
    assert jobs.schedules.get("hourly").next[0] > clock.now()
    clock.advance(3600)
    jobs.schedules.tick()
    assert len(column("id")) == 1


def test_numbers_of_before_are_not_given_again(jobs: Jobs, clock: FrozenClock, tmp_path: Path) -> None:
    later = [jobs.add_job("one").id for _ in range(5)][-1]
    with jobs.store.begin() as tx:
        if jobs.store.dialect == "sqlite":
            tx.execute(sa.text("update sqlite_sequence set seq = 1000 where name = 'rakiza_jobs_job'"))
        else:
            tx.execute(sa.text("select setval(pg_get_serial_sequence('rakiza_jobs_job', 'id'), 1000)"))
    bring_back(jobs, clock)
    assert jobs.add_job("one").id == 1001 + GAP > later


@pytest.mark.parametrize("damage", ["no tables", "no file"])
def test_a_live_database_that_tells_no_number_does_not_hold_a_restore_up(jobs: Jobs, clock: FrozenClock, tmp_path: Path, damage: str) -> None:
    live = Store(str(tmp_path / "live.db"))
    if damage == "no tables":
        live.ping()
    bring_back(jobs, clock, live)
    live.close()
    assert jobs.add_job("one").id


def test_the_hold_is_longer_than_a_worker_needs_to_see_the_pause() -> None:
    assert timedelta(seconds=QUEUES_SECONDS) * 10 < HOLD
    assert JobSettings().poll_seconds * 10 < HOLD.total_seconds()
