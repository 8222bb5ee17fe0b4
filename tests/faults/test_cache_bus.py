"""The cache over the bus of a database: a writer that dies between its commit and Redis, a bus that fails for a moment, names of any kind."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import servers
from cache_faults import GO, PATHS, PATIENT, ask, until, up
from rakiza._kernel import Supervisor
from rakiza._kernel.ports import OwnSignals
from rakiza.bus import Bus
from rakiza.bus.part import MIGRATIONS
from rakiza.caching import CacheManager
from rakiza.store import Store, StoreError, Transaction, migrate

DYING = """
import sys, threading
from pathlib import Path
from rakiza._kernel import Supervisor
from rakiza.bus import Bus
from rakiza.caching import CacheManager
from rakiza.store import Store
store = Store(sys.argv[1])
cache = CacheManager(True, {"url": sys.argv[2]}, signals=Bus(store, Supervisor()))
while cache.state != "redis":
    pass
def hang():
    print("committed")
    threading.Event().wait()
with store.begin() as tx:
    tx.after_commit(hang)
    cache.delete("k:1", tx=tx)
    cache.invalidate_tag("t", tx=tx)
    print("fenced")
    while not Path(sys.argv[3]).exists():
        pass
"""


class Office:
    """A process of the database: its bus and its cache."""

    def __init__(self, url: str, redis_url: str) -> None:
        self.store, self.supervisor = Store(url), Supervisor()
        self.bus = Bus(self.store, self.supervisor)
        self.cache = CacheManager(bool(redis_url), {"url": redis_url} if redis_url else None, settings=PATIENT, signals=self.bus)
        self.supervisor.start()

    def close(self) -> None:
        self.cache.close()
        self.supervisor.stop()
        self.bus.close()
        self.store.close()


@pytest.fixture
def office(database_url: str) -> Iterator[Callable[..., Office]]:
    """Return a function that makes a process of one migrated database."""
    with_tables = Store(database_url)
    migrate(with_tables, [MIGRATIONS])
    with_tables.close()
    made: list[Office] = []

    def build(redis_url: str = "") -> Office:
        made.append(Office(database_url, redis_url))
        return made[-1]

    yield build
    for one in made:
        one.close()


def hears(listening: Office, speaking: Office) -> None:
    """Wait until what one says reaches the other."""
    listening.cache.set("hears:1", 1)

    def heard() -> bool:
        speaking.bus.publish("caching", 'somebody k "hears:1"')
        return listening.cache.get("hears:1") is None

    until(heard)


def test_a_writer_killed_between_commit_and_redis_leaves_nothing_old(
    office: Callable[..., Office], database_url: str, redis_url: str, tmp_path: Path, python_process: Callable[..., servers.Child]
) -> None:
    here, other = office(redis_url), office(redis_url)
    up(here.cache, other.cache)
    hears(here, other)
    child = python_process(DYING, database_url, redis_url, str(tmp_path / "go"), env=PATHS)
    child.wait_for("fenced")
    assert here.cache.get_or_load("k:1", lambda: "قديم") == "قديم"
    assert here.cache.get_or_load("k:2", lambda: "قديم", tags=("t",)) == "قديم"
    (tmp_path / "go").touch()
    child.wait_for("committed")
    child.kill9()
    until(lambda: here.cache.get("k:1") is None and here.cache.get("k:2") is None)
    here.cache.memory.clear()
    assert here.cache.get_or_load("k:1", lambda: "جديد") == "جديد"
    assert here.cache.get_or_load("k:2", lambda: "جديد", tags=("t",)) == "جديد"


@pytest.mark.parametrize("name", ["سطر\nثان", 'q"\\n:\x00', " k t ", "x" * 512, "\U0001f600" * 512])
@pytest.mark.parametrize("inside", [False, True])
def test_names_of_any_kind_reach_the_other_process(name: str, inside: bool, office: Callable[..., Office]) -> None:
    here, there = office(), office()
    hears(there, here)
    there.cache.set(name, 1)
    there.cache.set("k:tagged", 1, tags=(name,))
    if inside:
        with here.store.begin() as tx:
            here.cache.delete(name, tx=tx)
            here.cache.invalidate_tag(name, tx=tx)
    else:
        here.cache.delete(name)
        here.cache.invalidate_tag(name)
    until(lambda: there.cache.get(name) is None and there.cache.get("k:tagged") is None)


def test_what_the_bus_could_not_carry_is_carried_later(office: Callable[..., Office]) -> None:
    here, there = office(), office()
    hears(there, here)
    with here.store.begin() as tx:
        there.cache.set("k:1", 1)
        there.cache.set("k:2", 1)
        publish, failed = here.bus.publish, threading.Event()

        def away(*_: Any, **__: Any) -> None:
            failed.set()
            raise StoreError("the database is away")

        here.bus.publish = away  # type: ignore[method-assign]
        del tx
    here.cache.delete("k:1")
    assert failed.wait(GO)
    here.cache.delete("k:2")
    here.bus.publish = publish  # type: ignore[method-assign]
    until(lambda: there.cache.get("k:1") is None and there.cache.get("k:2") is None)


def test_what_waits_is_told_at_the_end(office: Callable[..., Office]) -> None:
    here, there = office(), office()
    hears(there, here)
    there.cache.set("k:1", 1)
    here.cache._supervisor.stop()
    here.cache.delete("k:1")
    here.cache.close()
    until(lambda: there.cache.get("k:1") is None)


def test_too_much_to_tell_becomes_everything(office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.caching.service.MAX_WAITING", 10)
    here, there = office(), office()
    hears(there, here)
    there.cache.set("k:1", 1)
    here.cache._supervisor.stop()
    for number in range(1, 40):
        here.cache.delete(f"k:{number}")
    there.cache.set("other:1", 1)
    here.cache._send()
    until(lambda: there.cache.get("k:1") is None and there.cache.get("other:1") is None)


def test_messages_that_could_not_be_read_are_not_forgotten(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(sqlite_url)
    migrate(store, [MIGRATIONS])
    here, there = Bus(store, Supervisor()), Bus(store, Supervisor())
    heard: list[str] = []
    hearer = here.hear("news", heard.append, heard.clear)
    here.tell("messages")
    there.publish("news", "١")
    rows = Transaction.rows

    def broken(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(Transaction, "rows", rows)
        raise StoreError("the disk does not answer")

    monkeypatch.setattr(Transaction, "rows", broken)
    here.tell("messages")
    assert heard == []
    here.tell("messages")
    assert heard == ["١"]
    del hearer
    store.close()


def test_a_child_forked_while_messages_are_given_out_hears(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    migrate(store, [MIGRATIONS])
    bus, held, go = Bus(store, Supervisor()), threading.Event(), threading.Event()
    heard: list[str] = []

    def slow(message: str) -> None:
        heard.append(message)
        if message == "slow":
            held.set()
            go.wait(GO)

    hearer = bus.hear("news", slow, lambda: None)
    bus.tell("messages")
    giving = threading.Thread(target=bus.publish, args=("news", "slow"), daemon=True)
    giving.start()
    assert held.wait(GO)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            bus.tell("messages")
            bus.publish("news", "child")
            os.write(writing, b"heard" if heard[-1] == "child" else b"deaf")
        finally:
            os._exit(0)
    os.close(writing)
    timer = threading.Timer(GO, lambda: os.kill(child, 9))
    timer.start()
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() == b"heard"
    os.waitpid(child, 0)
    timer.cancel()
    go.set()
    giving.join(GO)
    del hearer
    store.close()


def test_a_cache_without_a_bus_tells_only_itself(redis_url: str) -> None:
    cache = CacheManager(True, {"url": redis_url}, settings=PATIENT, signals=OwnSignals())
    up(cache)
    cache.set("k:1", 1)
    cache.delete("k:1")
    assert cache.get("k:1") is None
    assert ask(servers.Redis(None, int(redis_url.rpartition(":")[2].partition("/")[0]), Path()), "EXISTS", "rakiza:cache:e:k:1") == 0  # type: ignore[arg-type]
    cache.close()
