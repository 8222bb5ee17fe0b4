"""The queue when its database is killed, held up, full, or cut off at a commit: workers come back, and nothing is lost or done twice."""

import contextlib
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import servers
from events_faults import ANSWER, GHOST, PATHS, REQUEST, Cluster, Proxy, admin, small_disk
from jobs_faults import Journal, Nursery, Workers, all_done, build, migrated, note_done, put, repeated, states, until, workers_of
from rakiza._kernel import SYSTEM_CLOCK
from rakiza.jobs import Jobs, JobSettings, Registry
from rakiza.jobs.part import look
from rakiza.store import Store, StoreError, StoreUnavailableError

ENQUEUE = """
import os, sys
from pathlib import Path
from jobs_faults import build, put
jobs = build(sys.argv[1], Path(sys.argv[2]))
while True:
    os.write(1, f"ack {' '.join(map(str, put(jobs, 3)))}\\n".encode())
"""


# -- PostgreSQL dies


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Yield a server that these tests may kill."""
    try:
        made = Cluster()
    except servers.MissingBinaryError as error:
        pytest.skip(str(error))
    yield made
    made.stop()


class Enqueuer:
    """Puts jobs into the line until it is told to end, whatever the database does; only StoreErrors are expected."""

    def __init__(self, url: str, journal: Journal) -> None:
        """Begin at once."""
        self.jobs = build(url, journal.path)
        self.acknowledged: list[int] = []
        self.refused: list[StoreError] = []
        self.failure: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._done.wait(0.005):
                try:
                    self.acknowledged.append(self.jobs.add_job("note", {"key": "برج", "seconds": 0.005}).id)
                except StoreError as error:
                    self.refused.append(error)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.failure = error

    def more(self, number: int) -> None:
        """Return when so many jobs more were acknowledged."""
        goal = len(self.acknowledged) + number
        until(lambda: self.failure is not None or len(self.acknowledged) >= goal)
        assert self.failure is None

    def finish(self) -> None:
        """End it."""
        self._done.set()
        self._thread.join(60)
        assert self.failure is None


@pytest.fixture
def besieged(cluster: Cluster, nursery: Nursery, journal: Journal) -> Iterator[tuple[Enqueuer, Workers]]:
    with cluster.postgres.database() as url:
        migrated(url)
        workers, enqueuer = Workers(nursery, url, journal.path), Enqueuer(url, journal)
        pids = [workers.start() for _ in range(2)]
        until(lambda: {line.pid for line in journal.lines("end")} == set(pids))
        yield enqueuer, workers
        workers.close()
        with contextlib.suppress(AssertionError):
            enqueuer.finish()
        enqueuer.jobs.close()
        enqueuer.jobs.store.close()


def test_a_database_killed_while_jobs_are_put_in_and_run_loses_and_repeats_none(
    cluster: Cluster, besieged: tuple[Enqueuer, Workers], journal: Journal
) -> None:
    enqueuer, workers = besieged
    told: dict[int, int] = {}
    for _ in range(2):
        enqueuer.more(15)
        until(lambda: len(journal.lines("end")) > len(told) + 10)
        note_done(told, enqueuer.jobs, journal)
        cluster.kill9()
        cluster.start()
    enqueuer.more(5)
    enqueuer.finish()
    _all_is_well(enqueuer, workers, journal, told)
    assert enqueuer.refused


def test_backends_that_are_ended_lose_and_repeat_nothing(besieged: tuple[Enqueuer, Workers], journal: Journal) -> None:
    enqueuer, workers = besieged
    told: dict[int, int] = {}
    for round_ in range(4):
        enqueuer.more(8)
        note_done(told, enqueuer.jobs, journal)
        with admin(str(enqueuer.jobs.store._backend.engine.url.render_as_string(hide_password=False))) as looking:
            others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            if round_ % 4 < 3:
                looking.execute(f"select pg_terminate_backend(pid) {others}".encode())
            else:
                row = looking.execute(f"select pid {others} limit 1".encode()).fetchone()
                os.kill(row[0] if row else 0, signal.SIGKILL)  # the server takes all down with it, and starts again
    enqueuer.more(5)
    enqueuer.finish()
    _all_is_well(enqueuer, workers, journal, told)


def _all_is_well(enqueuer: Enqueuer, workers: Workers, journal: Journal, told: dict[int, int]) -> None:
    jobs, pids = enqueuer.jobs, workers.pids
    until(lambda: all_done(jobs), "jobs are left")
    found = states(jobs)
    assert found.keys() >= set(enqueuer.acknowledged)
    assert len(found) <= len(enqueuer.acknowledged) + len(enqueuer.refused)
    assert set(journal.jobs("end")) == found.keys()
    assert repeated(told, journal) == set()
    assert set(workers_of(jobs)) == set(pids)
    assert all(one.status == 503 and one.message_ar for one in enqueuer.refused)
    workers.tell(signal.SIGTERM, *pids)
    workers.gone(*pids)
    assert workers_of(jobs) == {}


# -- the database is held up, the clock jumps


def test_live_workers_are_not_taken_for_dead_while_the_database_is_held_up(jobs: Jobs, workers: Workers, journal: Journal, tmp_path: Path) -> None:
    gate = tmp_path / "مفتوح"
    (job,) = put(jobs, 1, "hold", gate=str(gate))
    pids = [workers.start(2, lease_seconds=1.0) for _ in range(2)]
    until(lambda: set(workers_of(jobs)) == set(pids) and journal.jobs("start") == [job])
    before = workers_of(jobs)
    with jobs.store.begin() as tx:
        if jobs.store.dialect == "postgresql":
            tx.driver_connection.execute("lock table rakiza_jobs_worker")
        time.sleep(3.0)  # far longer than the lease
    _beaten(jobs, 3)
    assert workers_of(jobs) == before
    gate.touch()
    until(lambda: all_done(jobs))
    assert (jobs.get_job(job).attempt, journal.jobs("start")) == (1, [job])


def _beaten(jobs: Jobs, times: int) -> None:
    """Return when every worker has shown so often that it lives."""
    for _ in range(times):
        before = {worker: sign for worker, _, _, sign in jobs.engine.workers()}
        until(lambda before=before: all(before.get(worker) != sign for worker, _, _, sign in jobs.engine.workers()))


class JumpingClock:
    """The clock of the machine, set forward and back."""

    def __init__(self) -> None:
        """Begin with the right time."""
        self.off = timedelta()

    def now(self) -> datetime:
        return SYSTEM_CLOCK.now() + self.off

    @staticmethod
    def monotonic() -> float:
        return SYSTEM_CLOCK.monotonic()


def test_live_workers_are_not_taken_for_dead_when_the_clock_jumps(jobs_url: str, jobs: Jobs, journal: Journal, tmp_path: Path) -> None:
    gate, clock = tmp_path / "مفتوح", JumpingClock()
    (job,) = put(jobs, 1, "hold", gate=str(gate))
    both = [build(jobs_url, journal.path, clock=clock, lease_seconds=1.0) for _ in range(2)]
    ids = {one.start().id for one in both}
    until(lambda: journal.jobs("start") == [job])
    for off in (3600, 0, -3600, 0):
        clock.off = timedelta(seconds=off)
        _beaten(jobs, 3)
        assert {worker for worker, *_ in jobs.engine.workers()} == ids
        made = both[0].add_job("note", {"seconds": 0.0})
        until(lambda made=made: jobs.get_job(made.id).state == "done")
    gate.touch()
    until(lambda: all_done(jobs))
    assert jobs.get_job(job).attempt == 1
    for one in both:
        one.close()
        one.store.close()


# -- a handler that nobody can stop


def test_a_thread_that_does_not_listen_is_told_of_keeps_its_place_and_starts_once(
    jobs_url: str, jobs: Jobs, journal: Journal, tmp_path: Path
) -> None:
    gate = tmp_path / "مفتوح"
    working = build(jobs_url, journal.path, lease_seconds=1.0, grace_seconds=0.1)
    deaf = jobs.add_job("deaf", {"gate": str(gate)}, timeout_seconds=0.1).id
    worker = working.start(concurrency=1)
    until(lambda: journal.jobs("start") == [deaf])
    (waiting,) = put(jobs, 1)
    until(lambda: look(working).status == "warn")
    assert "run_in='process'" in str(look(working).output)
    _beaten(jobs, 6)
    assert states(jobs) == {deaf: "running", waiting: "ready"}
    assert len(worker.runs) == 1
    gate.touch()
    until(lambda: all_done(jobs))
    assert look(working).status == "pass"
    assert journal.jobs("start") == [deaf, waiting]
    working.close()
    working.store.close()


# -- the disk is full


def test_a_full_disk_refuses_jobs_and_the_worker_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "قرص") as disk:
        url = f"sqlite:///{disk}/jobs.db"
        migrated(url)
        _fill_and_go_on(url, disk / "ballast", 5)


def test_a_full_disk_under_postgresql_refuses_jobs_and_the_worker_goes_on(postgres_url: str) -> None:
    name = f"jobsdisk{uuid.uuid4().hex}"
    migrated(postgres_url)
    with small_disk(servers.run_folder() / name) as disk, admin(postgres_url) as database:
        (disk / "space").mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(disk / "space", servers._database_user())
        database.execute(f"create tablespace {name} location '{disk / 'space'}'".encode())
        try:
            database.execute(f"alter table rakiza_jobs_job set tablespace {name}".encode())
            _fill_and_go_on(postgres_url, disk / "ballast", 15_000)
        finally:
            database.execute(b"alter table rakiza_jobs_job set tablespace pg_default")
            database.execute(f"drop tablespace {name}".encode())


def _fill_and_go_on(url: str, ballast: Path, size: int) -> None:
    """Fill the disk with jobs of a size whose later changes find room where the ballast was."""
    jobs = Jobs(Store(url), settings=JobSettings(poll_seconds=0.05, lease_seconds=5.0, backoff_seconds=0.0), registry=Registry())
    seen: list[int] = []
    jobs.job("large")(lambda job, text: seen.append(job.id))
    acknowledged = [jobs.add_job("large", {"text": "أول"}).id]
    jobs.pause("default")
    worker = jobs.start()
    with pytest.raises(StoreError) as caught:
        while True:
            acknowledged.append(jobs.add_job("large", {"text": "نص" + os.urandom(size).hex()}).id)
    assert (caught.value.stable_code, caught.value.status) == ("store_disk_full", 503)
    assert caught.value.message_ar
    assert list(states(jobs)) == acknowledged
    with pytest.raises(StoreError):
        jobs.add_jobs({"task": "large", "payload": {"text": os.urandom(15_000).hex()}} for _ in range(30))
    assert list(states(jobs)) == acknowledged
    ballast.unlink()
    jobs.resume("default")
    until(lambda: all_done(jobs))
    assert sorted(set(seen)) == acknowledged
    assert worker.alive
    jobs.close()
    jobs.store.close()


# -- a commit of which nobody knows


@pytest.mark.parametrize("where", [REQUEST, ANSWER, GHOST])
def test_a_job_of_a_transaction_that_is_cut_at_its_commit_may_be_put_in_again(plain_jobs_url: str, journal: Journal, where: str) -> None:
    proxy = Proxy(plain_jobs_url)
    jobs = build(proxy.url, journal.path)
    jobs.add_job("note")
    with pytest.raises(StoreUnavailableError), jobs.store.begin() as tx:
        jobs.add_job("note", {"key": "فاتورة-7"}, unique="فاتورة-7", tx=tx)
        proxy.cut(b"COMMIT", where)
    if where == GHOST:
        until(lambda: len(states(jobs)) == 2)
    with jobs.store.begin() as tx:
        again = jobs.add_job("note", {"key": "فاتورة-7"}, unique="فاتورة-7", tx=tx)
    assert (again.id in {2, 3}, again.duplicate) == (True, where != REQUEST)
    assert len(states(jobs)) == 2
    jobs.drain()
    assert all_done(jobs)
    assert sorted(journal.jobs("end")) == sorted(states(jobs))
    jobs.close()
    jobs.store.close()
    proxy.close()


def test_a_process_killed_while_it_puts_jobs_in_leaves_those_it_was_told_of(
    jobs_url: str, jobs: Jobs, journal: Journal, kill9: Callable[..., list[str]]
) -> None:
    acknowledged: set[int] = set()
    for _ in range(2):
        for line in kill9(ENQUEUE, "ack", jobs_url, str(journal.path), env=PATHS):
            word, *ids = line.split()
            acknowledged |= {int(one) for one in ids} if word == "ack" and len(ids) == 3 else set()
    assert acknowledged <= states(jobs).keys()
    assert len(states(jobs)) % 3 == 0
    jobs.drain()
    assert all_done(jobs)
