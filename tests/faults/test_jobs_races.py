"""What may happen between two steps of a worker: every job ends all the same, as it was asked to."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

import servers
from events_faults import ANSWER, GHOST, REQUEST, Proxy
from jobs_faults import Journal, all_done, build, migrated, put, sql, states, until
from rakiza.jobs import Jobs, JobStateError, RunningJob
from rakiza.jobs._core import allowance
from rakiza.store import Store, StoreError
from rakiza.testing import FrozenClock


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def second(jobs_url: str, journal: Journal) -> Iterator[Jobs]:
    """Another process's queue, as far as the database can tell."""
    made = build(jobs_url, journal.path, lease_seconds=1.0)
    yield made
    made.close()
    made.store.close()


# -- jobs nobody works on


def test_a_job_whose_worker_has_no_row_is_given_to_others_by_any_live_one(jobs: Jobs, second: Jobs, journal: Journal) -> None:
    """A worker that was stopped amid a claim commits it after it was buried."""
    second.start()
    job = jobs.add_job("note", delay=3600).id
    sql(jobs, "update rakiza_jobs_job set state = 'running', waits_for = null, worker = 'buried', attempt = 1 where id = :id", id=job)
    until(lambda: all_done(jobs))
    assert jobs.get_job(job).attempt == 2


@pytest.mark.parametrize("where", [REQUEST, ANSWER, GHOST])
@pytest.mark.parametrize("commits", [1, 2])
def test_a_worker_whose_commit_is_cut_neither_forgets_what_it_took_nor_repeats_what_it_did(
    postgres_jobs: Jobs, proxied: tuple[Jobs, Proxy], journal: Journal, commits: int, where: str
) -> None:
    jobs, (worker, proxy) = postgres_jobs, proxied
    worker.start()
    put(jobs, 1)
    until(lambda: all_done(jobs))
    until(lambda: not worker.tally.dirty)
    if commits == 1:
        proxy.cut(b"COMMIT", where)  # of the claim
        (job,) = put(jobs, 1)
    else:
        gate = journal.path.with_name("مفتوح")
        (job,) = put(jobs, 1, "hold", gate=str(gate))
        until(lambda: job in journal.jobs("start"))
        proxy.cut(b"COMMIT", where)  # of the outcome
        gate.touch()
    until(lambda: all_done(jobs))
    assert proxy.cuts == 1
    assert journal.jobs("end").count(job) == 1
    assert jobs.get_job(job).attempt == 1


@pytest.fixture
def postgres_jobs(plain_jobs_url: str, journal: Journal) -> Iterator[Jobs]:
    made = build(plain_jobs_url, journal.path)
    yield made
    made.close()
    made.store.close()


@pytest.fixture
def proxied(postgres_jobs: Jobs, plain_jobs_url: str, journal: Journal) -> Iterator[tuple[Jobs, Proxy]]:
    """A worker that hears of new jobs at once and does nothing else, behind a line that can be cut."""
    proxy = Proxy(plain_jobs_url)
    made = build(proxy.url, journal.path, poll_seconds=600.0)
    yield made, proxy
    made.close()
    made.store.close()
    proxy.close()


def test_a_job_one_worker_does_not_know_is_done_by_one_that_has_long_known_it(jobs: Jobs, second: Jobs, jobs_url: str, journal: Journal) -> None:
    from rakiza.jobs import JobSettings, Registry

    stranger = Jobs(Store(jobs_url), settings=JobSettings(poll_seconds=0.05, lease_seconds=3000.0), registry=Registry())
    second.start()
    second.pause("default")
    worker = stranger.start()
    made = jobs.add_job("note", queue="غريب")
    until(lambda: jobs.get_job(made.id).state == "done" or jobs.get_job(made.id).waits_for == "handler")
    stranger.stop()
    stranger.close()
    stranger.store.close()
    until(lambda: jobs.get_job(made.id).state == "done")
    assert not worker.alive


# -- a person asks, and something else happens


@pytest.mark.parametrize("then", ["dies", "fails", "stops"])
def test_a_cancelled_job_does_not_run_again_however_its_attempt_ends(jobs: Jobs, then: str) -> None:
    began, go, ran = threading.Event(), threading.Event(), []

    @jobs.job("deafened")
    def deafened(job: RunningJob) -> None:
        ran.append(job.attempt)
        began.set()
        go.wait(30)
        raise ValueError("تعذر")

    made = jobs.add_job("deafened")
    worker = jobs.start()
    began.wait(30)
    jobs.cancel(made.id)
    if then == "dies":
        jobs.engine.bury([worker.id])
    elif then == "fails":
        go.set()
    else:
        worker.stop(0.0)
    until(lambda: jobs.get_job(made.id).state == "cancelled", "it is not cancelled")
    go.set()
    jobs.stop()
    assert ran == [1]


def test_the_next_of_a_key_comes_into_the_line_when_the_one_before_it_is_cancelled_there(jobs: Jobs, journal: Journal) -> None:
    gate = journal.path.with_name("مفتوح")
    first, second, third = (jobs.add_job("hold", {"gate": str(gate)}, concurrency_key="برج").id for _ in range(3))
    jobs.start()
    until(lambda: [jobs.get_job(one).waits_for for one in (second, third)] == ["key", "key"])
    jobs.pause("default")
    gate.touch()
    until(lambda: jobs.get_job(first).state == "done")
    assert [jobs.get_job(one).waits_for for one in (second, third)] == [None, "key"]
    jobs.cancel(second)
    assert jobs.get_job(third).waits_for is None
    jobs.resume("default")
    until(lambda: jobs.get_job(third).state == "done")


def test_a_job_that_a_person_lets_run_again_is_not_pruned_at_that_moment(jobs: Jobs) -> None:
    made = jobs.add_job("note")
    failed_long_ago(jobs, made.id)
    with jobs.store.begin() as tx:
        assert jobs.engine.act("retry", [made.id], tx=tx) == [made.id]
        pruning = in_thread(jobs.prune)
        pruning.join(0.5)
    pruning.join(30)
    assert states(jobs) == {made.id: "ready"}


def test_a_job_that_is_put_off_while_its_moment_comes_waits_for_the_later_one(jobs: Jobs) -> None:
    made = jobs.add_job("note", delay=3600)
    sql(jobs, "update rakiza_jobs_job set run_at = created_at")

    def promote() -> None:
        with jobs.store.begin() as tx:
            jobs.engine.promote(tx)

    with jobs.store.begin() as tx:
        later = "now() + interval '1 hour'" if jobs.store.dialect == "postgresql" else "'2999-01-01 00:00:00.000000'"
        tx.execute(sa.text(f"update rakiza_jobs_job set run_at = {later}"))
        promoting = in_thread(promote)
        promoting.join(0.5)
    promoting.join(30)
    assert jobs.get_job(made.id).waits_for == "time"


def test_what_waits_for_a_job_that_failed_and_was_pruned_does_not_wait_for_ever(jobs: Jobs) -> None:
    first = jobs.add_job("note")
    after = jobs.add_job("note", after=[first.id])
    failed_long_ago(jobs, first.id)
    assert jobs.prune() == 1
    assert states(jobs) == {after.id: "cancelled"}


def failed_long_ago(jobs: Jobs, job_id: int) -> None:
    at = jobs.engine._sql.at(datetime(2020, 1, 1, tzinfo=UTC))
    sql(jobs, "update rakiza_jobs_job set state = 'failed', finished_at = :at where id = :id", at=at, id=job_id)


# -- the stop


def test_jobs_that_are_being_taken_while_the_worker_stops_are_done_or_given_back(sqlite_jobs: Jobs) -> None:
    jobs = sqlite_jobs
    worker = jobs.start()
    ids = put(jobs, 3)
    until(lambda: all_done(jobs))
    side = Store(str(jobs.store.url))
    with side.begin() as tx:
        tx.driver_connection.execute("update rakiza_jobs_job set state = 'ready', finished_at = null, attempt = 0, worker = null")
        worker._wake.set()
        until(lambda: jobs.store.transactions > 0 or jobs.store._backend._turn._held)  # type: ignore[attr-defined]
        stopping = in_thread(lambda: worker.stop(20.0))
        stopping.join(1.0)
    stopping.join(60)
    side.close()
    assert all(jobs.failures(one) == [] for one in ids)
    assert set(states(jobs).values()) <= {"ready", "done"}
    assert {jobs.get_job(one).attempt for one in ids} <= {0, 1}


@pytest.fixture
def sqlite_jobs(tmp_path: Path, journal: Journal) -> Iterator[Jobs]:
    url = servers.sqlite_copy(tmp_path / "وحيد.db", "jobs", migrated)
    made = build(url, journal.path)
    yield made
    made.close()
    made.store.close()


def test_a_job_that_ends_at_the_moment_of_the_stop_is_done(jobs: Jobs) -> None:
    (job,) = put(jobs, 1)
    worker = jobs.worker()
    with jobs.tally._lock:  # its outcome is being counted
        worker.start()
        until(lambda: states(jobs)[job] != "ready" and not worker.runs)
        stopping = in_thread(lambda: worker.stop(0.0))
        until(worker._stopped.is_set)
        stopping.join(0.5)
    stopping.join(60)
    assert (jobs.get_job(job).state, jobs.get_job(job).attempt) == ("done", 1)


# -- what handlers do


def test_a_coroutine_that_exits_fails_alone(jobs: Jobs) -> None:
    @jobs.job("exits", max_attempts=1)
    async def exits() -> None:
        sys.exit("انتهى")

    made = jobs.add_job("exits")
    jobs.start()
    until(lambda: jobs.get_job(made.id).state == "failed")
    (after,) = put(jobs, 1)
    until(lambda: jobs.get_job(after).state == "done")
    assert [one.type for one in jobs.failures(made.id)] == ["SystemExit"]


def test_a_coroutine_that_is_stopped_before_its_first_step_ends(jobs: Jobs) -> None:
    jobs.job("quick", max_attempts=1, timeout_seconds=1e-6)(_never)
    worker = jobs.start()
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(30)

    worker._execution._loop.loop.call_soon_threadsafe(hold)
    held.wait(30)
    made = jobs.add_job("quick")
    until(lambda: any(run.running.stop is not None for run in worker.runs.values()))
    go.set()
    until(lambda: jobs.get_job(made.id).state == "failed")
    assert worker.runs == {}


async def _never() -> None:
    await asyncio.sleep(3600)


def test_what_a_job_said_is_kept_while_the_database_is_away(jobs: Jobs) -> None:
    made = jobs.add_job("says")

    @jobs.job("says")
    def says(job: RunningJob) -> None:
        job.log("سطر")
        job.progress(70, "سبعون")

    running = RunningJob(_claimed(jobs, made.id))
    says(running)
    said = running.said()
    assert said is not None
    running.log("بعده")
    running.say_again(said)
    again = running.said()
    assert again is not None
    assert (again.progress, [message for _, message in again.lines]) == ((70, "سبعون"), ["سطر", "بعده"])


def _claimed(jobs: Jobs, job_id: int):  # type: ignore[no-untyped-def]
    with jobs.store.begin() as tx:
        job = jobs.engine.claim_one(tx, "reader", job_id)
    assert job is not None
    return job


# -- time


def test_a_rate_goes_on_after_the_clock_jumped_an_hour_ahead_and_back(clock: FrozenClock) -> None:
    _, arrival = allowance(clock.now(), None, 10, 60.0, 10)
    clock.advance(3600)
    allowed, arrival = allowance(clock.now(), arrival, 10, 60.0, 10)
    assert allowed == 10
    clock.advance(-3600)
    assert allowance(clock.now(), arrival, 10, 60.0, 10)[0] == 10


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def test_nobody_buries_a_worker_that_has_just_shown_that_it_lives(jobs: Jobs) -> None:
    (job,) = put(jobs, 1, "hold", gate="/nowhere")
    worker = jobs.start()
    until(lambda: states(jobs)[job] == "running")
    seen = {name: sign for name, _, _, sign in jobs.engine.workers()}
    assert jobs.engine.beat(worker.id, 1, stopping=False)
    assert jobs.engine.bury([worker.id], seen) == 0
    assert states(jobs)[job] == "running"

    def buried() -> bool:  # unless its own heart has beaten meanwhile
        return jobs.engine.bury([worker.id], {name: sign for name, _, _, sign in jobs.engine.workers()}) == 1

    until(buried)
    jobs.stop(0.0)


def test_enqueueing_without_a_database_is_told_clearly(postgres_jobs: Jobs, proxied: tuple[Jobs, Proxy]) -> None:
    worker, proxy = proxied
    proxy.refusing = True
    with pytest.raises(StoreError) as caught:
        worker.add_job("note")
    assert (caught.value.status, caught.value.stable_code) == (503, "store_unavailable")
    assert caught.value.message_ar
    assert states(postgres_jobs) == {}
    with pytest.raises(JobStateError):
        postgres_jobs.cancel(_done(postgres_jobs))


def _done(jobs: Jobs) -> int:
    (job,) = put(jobs, 1)
    jobs.drain()
    return job
