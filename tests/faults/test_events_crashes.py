"""The log when the application or PostgreSQL is killed, stopped for a moment or moved to another cluster: what was acknowledged is there, once."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import servers
from events_faults import PATHS, ROUNDS, Cluster, admin, event, in_threads, join, program, three, threes, whole
from rakiza.events import EventStore, create_event_store
from rakiza.store import Store, StoreUnavailableError

Process = Callable[..., servers.Child]
WRITE = """
import itertools, os, sys
from events_faults import in_threads, three
from rakiza.events import create_event_store
events, start = create_event_store(sys.argv[1]), int(sys.argv[2])
def write(index):
    for number in itertools.count(start):
        if index % 2:
            with events.store.begin() as tx:
                events.append_many(three(index, number), tx)
        else:
            events.append_many(three(index, number))
        os.write(1, f"ack {index} {number}\\n".encode())
in_threads(4, write)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def durable_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database that keeps what it committed; once for each kind."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "durable_postgres_url"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Yield a younger server that these tests may kill."""
    try:
        made = Cluster()
    except servers.MissingBinaryError as error:
        pytest.skip(str(error))
    yield made
    made.stop()


def test_an_application_killed_under_load_leaves_what_it_acknowledged_and_may_be_repeated(durable_url: str, kill9: Callable[..., list[str]]) -> None:
    create_event_store(durable_url).close()
    acknowledged: dict[str, list[int]] = {str(index): [] for index in range(4)}
    for round_ in range(2 * ROUNDS):
        start = max((numbers[-1] for numbers in acknowledged.values() if numbers), default=-1) + 1
        for line in kill9(WRITE, f"ack {round_ % 4} {start + 12}", durable_url, str(start), env=PATHS):
            if line.startswith("ack ") and len(line.split()) == 3:
                acknowledged[line.split()[1]].append(int(line.split()[2]))
        _settled(durable_url)
        found = threes(durable_url)
        for writer, numbers in acknowledged.items():
            assert set(numbers) <= set(found.get(writer, ()))
            assert len(found.get(writer, ())) == len(set(found.get(writer, ())))
    events = create_event_store(durable_url)
    for writer, numbers in acknowledged.items():
        last = max(numbers, default=-1)
        for number in (max(last, 0), last + 1):  # the last one told, and the one that may have been written untold
            placed = events.append_many(three(writer, number))
            assert all(one.duplicate for one in placed) == (number in found[writer])
    events.close()
    assert all(len(numbers) == len(set(numbers)) for numbers in threes(durable_url).values())


def _settled(url: str) -> None:
    """Wait until the server has noticed the end of the killed one."""
    store = Store(url)
    with store.begin() as tx:
        tx.execute(sa.text("update rakiza_events_head set position = position"))
    store.close()


class Load:
    """Eight writers that go on until told to end, three events an append, half of them in transactions of their own making."""

    def __init__(self, url: str) -> None:
        """Begin at once."""
        self.events = create_event_store(url, retry_seconds=120)
        self.acknowledged: dict[str, list[int]] = {str(index): [] for index in range(8)}
        self.repeated = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=in_threads, args=(8, self._write), daemon=True)
        self._thread.start()

    def _write(self, index: int) -> None:
        number = 0
        while not self._done.is_set():
            if index % 2 == 0:
                self.events.append_many(three(index, number))
            elif not self._in_transaction(index, number):
                continue
            self.acknowledged[str(index)].append(number)
            number += 1

    def _in_transaction(self, index: int, number: int) -> bool:
        try:
            with self.events.store.begin() as tx:
                placed = self.events.append_many(three(index, number), tx)
        except StoreUnavailableError:
            self._done.wait(0.05)
            return False
        self.repeated += placed[0].duplicate
        return True

    def more(self, number: int) -> None:
        """Return when every writer has been acknowledged so many appends more."""
        goals = {writer: len(numbers) + number for writer, numbers in self.acknowledged.items()}
        pause = threading.Event()
        for _ in range(60_000):
            if not self._thread.is_alive() or all(len(self.acknowledged[writer]) >= goal for writer, goal in goals.items()):
                break
            pause.wait(0.002)
        assert self._thread.is_alive(), "a writer failed"
        assert all(len(self.acknowledged[writer]) >= goal for writer, goal in goals.items()), "a writer does not go on"

    def finish(self) -> None:
        """End the writers."""
        self._done.set()
        join([self._thread])
        self.events.close()


@pytest.fixture
def load(cluster: Cluster) -> Iterator[tuple[Load, str]]:
    with cluster.postgres.database() as url:
        made = Load(url)
        yield made, url
        with contextlib.suppress(AssertionError):
            made.finish()


def test_a_database_killed_under_load_keeps_every_acknowledged_append_once(cluster: Cluster, load: tuple[Load, str]) -> None:
    writers, url = load
    for _ in range(2 * ROUNDS):
        writers.more(5)
        cluster.kill9()
        cluster.start()
        writers.more(2)
    writers.finish()
    found = threes(url)
    for writer, numbers in writers.acknowledged.items():
        assert numbers == list(range(len(numbers)))
        assert found[writer][: len(numbers)] == numbers
        assert len(found[writer]) <= len(numbers) + 1


def test_a_backend_that_is_killed_restarts_the_server_and_loses_nothing(cluster: Cluster, load: tuple[Load, str]) -> None:
    writers, url = load
    writers.more(3)
    for _ in range(2 * ROUNDS):
        with admin(url) as looking:
            row = looking.execute("select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGKILL)
        writers.more(3)
    writers.finish()
    found = threes(url)
    assert all(found[writer][: len(numbers)] == numbers for writer, numbers in writers.acknowledged.items())


def test_a_database_stopped_for_a_moment_loses_nothing(cluster: Cluster, load: tuple[Load, str]) -> None:
    writers, url = load
    for _ in range(2 * ROUNDS):
        writers.more(3)
        cluster.signal_all(signal.SIGSTOP)
        try:
            threading.Event().wait(0.3)
        finally:
            cluster.signal_all(signal.SIGCONT)
        writers.more(1)
    writers.finish()
    assert threes(url) == writers.acknowledged


# -- moved


def test_a_log_moved_to_a_younger_cluster_goes_on_where_it_was(durable_postgres_url: str, cluster: Cluster, tmp_path: Path) -> None:
    with admin(durable_postgres_url) as source:
        source.execute("set synchronous_commit = off")
        source.execute("do $$ begin for i in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$")
        old = source.execute("select pg_current_xact_id()::text::bigint").fetchone()
    events = create_event_store(durable_postgres_url)
    events.append_many([event(number % 7, tags=["موقع"]) for number in range(60)])
    events.close()
    kept, dump = whole(durable_postgres_url), tmp_path / "dump"
    info = sa.make_url(durable_postgres_url)
    subprocess.run([program("pg_dump"), "-Fc", "-f", dump, "-h", str(info.query["host"]), "-U", "postgres", str(info.database)], check=True)
    with cluster.postgres.database() as url:
        restore = ["-h", str(cluster.folder), "-U", "postgres", "--exit-on-error", "-d", str(sa.make_url(url).database)]
        subprocess.run([program("pg_restore"), *restore, dump], check=True)
        with admin(url) as young, cluster.postgres.database() as elsewhere, admin(elsewhere) as idle:
            new = young.execute("select pg_current_xact_id()::text::bigint").fetchone()
            assert old is not None and new is not None and old[0] > new[0]  # noqa: PT018
            idle.execute("begin")
            idle.execute("create table writes_for_long (n int)")  # held open: visibility by transaction numbers would wait for it
            _goes_on(url, kept)


def _goes_on(url: str, kept: list) -> None:
    """Read, follow and append in a copy of a log."""
    assert whole(url) == kept
    events = create_event_store(url)
    followed = [one.position for one in events.read(after_position=len(kept) // 2)]
    placed = [events.append(event("new")).position, *(one.position for one in events.append_many([event("new"), event(0)]))]
    with events.store.begin() as tx:
        last = events.append(event("new"), tx)
    followed += [one.position for one in events.read(after_position=followed[-1])]
    assert [*placed, last.position] == [len(kept) + 1, len(kept) + 2, len(kept) + 3, len(kept) + 4]
    assert followed == list(range(len(kept) // 2 + 1, len(kept) + 5))
    again = event(kept[0].aggregate_id, event_id=kept[0].event_id, tags=list(kept[0].tags))
    assert (events.append(again).position, events.append(again).duplicate) == (1, True)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), events.store.begin() as tx:
        tx.execute(sa.text("delete from rakiza_events_event"))
    events.close()
    assert whole(url)[: len(kept)] == kept


def test_a_log_copied_while_it_is_written_goes_on_in_the_copy(sqlite_url: str, tmp_path: Path) -> None:
    events, done = create_event_store(sqlite_url), threading.Event()
    events.append(event())

    def write(index: int) -> None:
        number = 0
        while not done.is_set():
            events.append_many(three(index, number))
            number += 1

    writers = threading.Thread(target=in_threads, args=(4, write), daemon=True)
    writers.start()
    source, target = sqlite3.connect(sqlite_url.removeprefix("sqlite:///")), sqlite3.connect(tmp_path / "نسخة.db")
    _grown(events, 50)
    source.backup(target, pages=20, sleep=0.001)
    _grown(events, 50)
    done.set()
    join([writers])
    source.close()
    target.close()
    copy = f"sqlite:///{tmp_path / 'نسخة.db'}"
    kept = whole(copy)
    assert whole(sqlite_url)[: len(kept)] == kept
    assert len(kept) >= 50
    _goes_on(copy, kept)
    events.close()


def _grown(events: EventStore, number: int) -> None:
    goal, pause = events.head() + number, threading.Event()
    for _ in range(30_000):
        if events.head() >= goal:
            return
        pause.wait(0.002)
    raise AssertionError("the log does not grow")
