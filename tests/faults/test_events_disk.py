"""The log when the disk is full or a statement takes too long: nothing acknowledged is lost, the error says why, and it goes on afterwards."""

import os
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

import servers
from events_faults import PATHS, admin, event, gathered, held, in_threads, small_disk, whole
from rakiza.events import EventStore, create_event_store
from rakiza.store import Store, StoreBusyError, StoreError

Process = Callable[..., servers.Child]
LIMITED = """
import os, resource, signal, sys
from events_faults import event, in_threads
from rakiza.events import create_event_store
from rakiza.store import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
events = create_event_store(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())
def write(index):
    try:
        while True:
            say("ack", *(one.event_id for one in events.append_many([event(index, payload={"x": "ش" * 2000})] * 3)))
    except StoreError as error:
        say("told", error.stable_code)
in_threads(4, write)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
say("ack", events.append(event("after")).event_id)
events.close()
"""


def fill(events: EventStore) -> tuple[list[str], list[StoreError]]:
    """Append from four threads until each is told why it cannot go on; return what was acknowledged and the errors."""
    acknowledged: list[str] = []
    errors: list[StoreError] = []

    def write(index: int) -> None:
        try:
            while True:
                given = [event(index, payload={"x": os.urandom(1500).hex()}) for _ in range(3)]
                acknowledged.extend(one.event_id for one in events.append_many(given))
        except StoreError as error:
            errors.append(error)

    in_threads(4, write)
    return acknowledged, errors


def check_and_go_on(url: str, events: EventStore, acknowledged: list[str], errors: list[StoreError], ballast: Path) -> None:
    assert acknowledged
    assert {(one.stable_code, one.status) for one in errors} == {("store_disk_full", 503)}
    assert all("space" in str(one.hint) and one.message_ar for one in errors)
    ballast.unlink()
    acknowledged += [one.event_id for one in events.append_many([event("after"), event("after")])]
    assert sorted(one.event_id for one in whole(url)) == sorted(acknowledged)


def test_a_full_disk_under_sqlite_refuses_appends_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "قرص") as disk:
        url = f"sqlite:///{disk}/log.db"
        events = create_event_store(url)
        acknowledged, errors = fill(events)
        check_and_go_on(url, events, acknowledged, errors, disk / "ballast")
        events.close()


def test_a_full_disk_under_postgresql_refuses_appends_until_there_is_room(postgres_url: str) -> None:
    name = f"small{uuid.uuid4().hex}"
    events = create_event_store(postgres_url)
    with small_disk(servers.run_folder() / name) as disk, admin(postgres_url) as database:
        (disk / "space").mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(disk / "space", servers._database_user())
        database.execute(f"create tablespace {name} location '{disk / 'space'}'".encode())
        try:
            database.execute(f"alter table rakiza_events_event set tablespace {name}".encode())
            acknowledged, errors = fill(events)
            check_and_go_on(postgres_url, events, acknowledged, errors, disk / "ballast")
        finally:
            events.close()
            database.execute(b"alter table rakiza_events_event set tablespace pg_default")
            database.execute(f"drop tablespace {name}".encode())


def test_a_file_that_may_not_grow_is_told_and_nothing_acknowledged_is_lost(sqlite_url: str, python_process: Process) -> None:
    lines = python_process(LIMITED, sqlite_url, env=PATHS).finish(timeout_seconds=60)
    acknowledged = {identity for line in lines if line.startswith("ack") for identity in line.split()[1:]}
    told = [line.split()[1] for line in lines if line.startswith("told")]
    assert len(told) == 4
    assert set(told) <= {"store_disk_full", "store_file_system"}
    assert {one.event_id for one in whole(sqlite_url)} == acknowledged
    assert len(acknowledged) > 3


def test_appends_that_wait_too_long_for_the_lock_are_told_together_and_not_written(postgres_url: str) -> None:
    create_event_store(postgres_url).close()
    store, side = Store(postgres_url, statement_timeout_seconds=0.5), Store(postgres_url)
    events = EventStore(store)
    errors: list[StoreBusyError] = []

    def write(index: int) -> None:
        with pytest.raises(StoreBusyError) as caught:
            events.append(event(index))
        errors.append(caught.value)

    first = threading.Thread(target=write, args=(0,), daemon=True)
    with held(side):
        first.start()
        gathered(events, 1)
        in_threads(7, write)  # a batch of seven behind the first one
        first.join()
    assert events.get_stats()["flushes"] == 2
    assert {(one.stable_code, one.status) for one in errors} == {("store_timeout", 503)}
    assert len(errors) == 8
    assert whole(postgres_url) == []
    assert events.append(event()).position == 1
    events.close()
    store.close()
    side.close()


def test_a_statement_that_an_operator_stops_is_told_and_not_written(postgres_url: str) -> None:
    events, side = create_event_store(postgres_url), Store(postgres_url)
    events.append(event())
    assert events._log._connection is not None  # type: ignore[attr-defined]
    with held(side), admin(postgres_url) as operator:
        errors: list[BaseException] = []

        def write() -> None:
            try:
                events.append(event("stopped"))
            except StoreError as error:
                errors.append(error)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        gathered(events, 1)
        pid = events._log._connection.info.backend_pid  # type: ignore[attr-defined]
        stop = "select pg_cancel_backend(pid) from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        while not operator.execute(stop, [pid]).fetchone():
            assert writer.is_alive()
        writer.join(60)
    assert [one.stable_code for one in errors] == ["store_timeout"]  # type: ignore[attr-defined]
    assert events.append(event("after")).position == 2
    assert len(whole(postgres_url)) == 2
    events.close()
    side.close()


def test_a_full_database_file_refuses_one_append_and_takes_a_smaller_one(sqlite_url: str) -> None:
    events = create_event_store(sqlite_url)
    with events.store.begin() as tx:
        pages = tx.driver_connection.execute("pragma page_count").fetchone()[0]
        tx.driver_connection.execute(f"pragma max_page_count = {pages + 20}")
    with pytest.raises(StoreError) as caught:
        events.append_many([event(payload={"x": "ش" * 20_000}) for _ in range(10)])
    assert caught.value.stable_code == "store_disk_full"
    with pytest.raises(StoreError, match="is full"), events.store.begin() as tx:
        placed = events.append(event("tx", payload={"x": "ش" * 200_000}), tx)
    assert placed.position == 0
    assert events.append(event()).position == 1
    assert len(whole(sqlite_url)) == 1
    events.close()
