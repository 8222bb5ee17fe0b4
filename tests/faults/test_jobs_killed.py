"""Workers that are killed, stopped for a moment or told to end: no job is lost, and none that was done runs again."""

import signal
from pathlib import Path

import pytest

from events_faults import ROUNDS
from jobs_faults import Journal, Workers, all_done, note_done, put, repeated, sql, states, until, workers_of
from rakiza.jobs import Jobs


def test_workers_killed_in_a_loop_lose_no_job_and_repeat_none_that_was_done(jobs: Jobs, workers: Workers, journal: Journal) -> None:
    told: dict[int, int] = {}
    ids: list[int] = []
    for _ in range(4 * ROUNDS):
        ids += put(jobs, 12) + put(jobs, 4, "busy")
        goal = len(journal.lines("end")) + 10
        pid = workers.start()
        until(lambda goal=goal: len(journal.lines("end")) >= goal)
        note_done(told, jobs, journal)
        workers.kill(pid)
    workers.start()
    until(lambda: all_done(jobs))
    assert set(journal.jobs("end")) == set(ids)
    assert repeated(told, journal) == set()
    assert len(told) > 4 * ROUNDS


def test_all_workers_killed_at_once_lose_no_job(jobs: Jobs, workers: Workers, journal: Journal) -> None:
    ids = put(jobs, 90) + put(jobs, 30, "keyed", key="برج")
    for _ in range(3):
        goal = len(journal.lines("end")) + 15
        pids = [workers.start() for _ in range(3)]
        until(lambda goal=goal: len(journal.lines("end")) >= goal)
        workers.kill(*pids)
    workers.start()
    until(lambda: all_done(jobs))
    assert set(journal.jobs("end")) == set(ids)
    assert len(workers_of(jobs)) == 1


def test_a_dead_process_of_this_machine_is_known_at_once_and_one_of_another_after_its_lease(
    jobs: Jobs, workers: Workers, journal: Journal, tmp_path: Path
) -> None:
    gate = tmp_path / "مفتوح"
    here, there = put(jobs, 2, "hold", gate=str(gate))
    pids = [workers.start(1) for _ in range(2)]
    until(lambda: sorted(journal.jobs("start")) == [here, there])
    with jobs.store.read() as tx:
        owner = jobs.engine.row(tx, "worker", there)
    assert owner is not None
    sql(jobs, "update rakiza_jobs_worker set place = 'elsewhere' where id = :worker", worker=owner[0])
    workers.kill(*pids)
    gate.touch()
    patient = workers.start()  # its lease is long, and yet
    until(lambda: states(jobs) == {here: "done", there: "running"})
    put(jobs, 1)
    until(lambda: sorted(states(jobs).values()) == ["done", "done", "running"])
    workers.kill(patient)
    workers.start(lease_seconds=1.0)
    until(lambda: all_done(jobs))
    assert jobs.get_job(there).attempt == 2
    assert [one.type for one in jobs.failures(there)] == ["WorkerDied"]


def test_a_stop_cuts_nothing_off_that_ends_in_time_and_gives_the_rest_back(jobs: Jobs, workers: Workers, journal: Journal, tmp_path: Path) -> None:
    first, second = tmp_path / "أول", tmp_path / "ثان"
    short = put(jobs, 3, "hold", gate=str(first)) + put(jobs, 3, "deaf", gate=str(first))
    pid = workers.start(6, grace_seconds=60.0)
    until(lambda: len(journal.lines("start")) == 6)
    waiting = put(jobs, 3)
    workers.tell(signal.SIGTERM, pid)
    until(lambda: _stopping(jobs))
    first.touch()
    workers.gone(pid)
    assert sorted(journal.jobs("end")) == short
    assert states(jobs) == {**dict.fromkeys(short, "done"), **dict.fromkeys(waiting, "ready")}
    assert workers_of(jobs) == {}
    long = put(jobs, 2, "hold", gate=str(second)) + put(jobs, 2, "deaf", gate=str(second))
    pid = workers.start(8, grace_seconds=0.5)
    until(lambda: sorted(journal.jobs("start")[6:]) == sorted(waiting + long))
    workers.tell(signal.SIGTERM, pid)
    workers.gone(pid)
    assert [(jobs.get_job(one).state, jobs.get_job(one).attempt) for one in long] == [("ready", 0)] * 4
    second.touch()
    workers.start(8)
    until(lambda: all_done(jobs))
    assert [jobs.get_job(one).result for one in long] == ["المحاولة 1"] * 4


def _stopping(jobs: Jobs) -> bool:
    with jobs.store.read() as tx:
        return any(row[0] for row in tx.driver_connection.execute("select stopping from rakiza_jobs_worker").fetchall())


def test_a_worker_stopped_past_its_lease_loses_its_jobs_and_goes_on(jobs: Jobs, workers: Workers, journal: Journal, tmp_path: Path) -> None:
    gate = tmp_path / "مفتوح"
    ids = put(jobs, 2, "hold", gate=str(gate)) + put(jobs, 2, "deaf", gate=str(gate))
    frozen = workers.start(4, lease_seconds=2.0)
    until(lambda: len(journal.lines("start")) == 4)
    workers.freeze(frozen)
    other = workers.start(8, lease_seconds=2.0)
    until(lambda: len(journal.lines("start")) == 8)
    gate.touch()
    until(lambda: all_done(jobs))
    workers.tell(signal.SIGCONT, frozen)
    until(lambda: set(workers_of(jobs)) == {frozen, other})
    until(lambda: {line.job for line in journal.lines("end") if line.pid == frozen} >= set(ids[2:]))
    workers.tell(signal.SIGTERM, other)
    workers.gone(other)
    later = put(jobs, 10)
    until(lambda: all_done(jobs))
    assert [jobs.get_job(one).result for one in ids] == ["المحاولة 2"] * 4
    assert {line.pid for line in journal.lines("end") if line.job in later} == {frozen}
    assert [jobs.get_job(one).attempt for one in later] == [1] * 10


@pytest.mark.parametrize("by", ["exit", "kill"])
def test_a_job_that_kills_its_process_fails_after_three_and_others_go_on(jobs: Jobs, workers: Workers, journal: Journal, by: str) -> None:
    (killer,) = put(jobs, 1, "die", by=by)
    others = put(jobs, 30)
    pids = [workers.start(1)]
    for _ in range(2):
        workers.gone(*pids)
        pids = [workers.start(1)]
    workers.gone(*pids)
    workers.start(1)
    until(lambda: set(states(jobs).values()) == {"done", "failed"})
    assert jobs.get_job(killer).state == "failed"
    assert journal.jobs("start").count(killer) == 3
    assert {one.type for one in jobs.failures(killer)} == {"WorkerDied"}
    assert set(journal.jobs("end")) == set(others)
