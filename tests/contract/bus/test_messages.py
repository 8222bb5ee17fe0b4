"""Messages of the bus: after the commit, in order, in every process of one database, and a loss is told."""

import os
import sys
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
import sqlalchemy as sa

import servers
from rakiza._kernel import Supervisor
from rakiza.bus import Bus
from rakiza.bus._backends.sqlite import KEPT_MESSAGES
from rakiza.bus.part import MIGRATIONS
from rakiza.store import Store, StoreError, migrate

PATHS = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
HEAR = """
import sys, threading
from rakiza._kernel import Supervisor
from rakiza.bus import Bus
from rakiza.store import Store
store, supervisor = Store(sys.argv[1]), Supervisor()
bus = Bus(store, supervisor)
hearer = bus.hear("news", lambda message: print("heard", message), lambda: print("lost"))
supervisor.start()
threading.Event().wait()
"""
SAY = """
import sys
from rakiza._kernel import Supervisor
from rakiza.bus import Bus
from rakiza.store import Store
store = Store(sys.argv[1])
bus = Bus(store, Supervisor())
for message in sys.argv[2:]:
    bus.publish("news", message)
"""


class Heard:
    """Collect what one bus hears."""

    def __init__(self, bus: Bus) -> None:
        self.messages: list[str] = []
        self.lost = 0
        self.changed = threading.Condition()
        self.hearer = bus.hear("news", self._take, self._miss)

    def _take(self, message: str) -> None:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def _miss(self) -> None:
        with self.changed:
            self.lost += 1
            self.changed.notify_all()

    def wait(self, holds: Callable[["Heard"], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: holds(self), 60), (self.messages, self.lost)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    migrate(store, [MIGRATIONS])
    yield store
    store.close()


@pytest.fixture
def make_bus(store: Store) -> Iterator[Callable[[], Bus]]:
    """Return a function that makes a bus with an ear of its own, as each process has one."""
    made: list[tuple[Supervisor, Bus]] = []

    def make() -> Bus:
        supervisor = Supervisor()
        bus = Bus(store, supervisor)
        supervisor.start()
        made.append((supervisor, bus))
        return bus

    yield make
    for supervisor, bus in made:
        supervisor.stop()
        bus.close()


def listening(bus: Bus) -> Heard:
    """Return a hearer that has begun to listen, its first loss forgotten."""
    heard = Heard(bus)
    heard.wait(lambda heard: heard.lost > 0)
    return heard


def test_own_messages_are_heard_when_the_commit_returns_and_never_after_a_rollback(store: Store, make_bus: Callable[[], Bus]) -> None:
    bus = make_bus()
    heard = listening(bus)
    with store.begin() as tx:
        bus.publish("news", "عُدّل البند ٤٢", tx=tx)
        assert heard.messages == []
    assert heard.messages == ["عُدّل البند ٤٢"]
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        bus.publish("news", "undone", tx=tx)
        raise ZeroDivisionError
    bus.publish("news", "after")
    assert heard.messages == ["عُدّل البند ٤٢", "after"]


def test_what_a_savepoint_undoes_is_not_heard(store: Store, make_bus: Callable[[], Bus]) -> None:
    here, there = make_bus(), make_bus()
    heard, far = listening(here), listening(there)
    with store.begin() as tx:
        with pytest.raises(ZeroDivisionError), tx.savepoint():
            here.publish("news", "undone", tx=tx)
            raise ZeroDivisionError
        here.publish("news", "kept", tx=tx)
    assert heard.messages == ["kept"]
    far.wait(lambda far: bool(far.messages))
    assert far.messages == ["kept"]


def test_another_process_hears_everything_once_and_in_order(store: Store, database_url: str, make_bus: Callable[[], Bus]) -> None:
    heard = listening(make_bus())
    with servers.Child(SAY, database_url, *(f"خبر {n}" for n in range(50)), env=PATHS) as speaker:
        assert speaker.finish() == []
    heard.wait(lambda heard: len(heard.messages) == 50)
    assert heard.messages == [f"خبر {n}" for n in range(50)]


def test_a_process_hears_this_one(store: Store, database_url: str, make_bus: Callable[[], Bus]) -> None:
    bus = make_bus()
    with servers.Child(HEAR, database_url, env=PATHS) as child:
        child.wait_for("lost")
        for number in range(20):
            with store.begin() as tx:
                bus.publish("news", f"رسالة {number}", tx=tx)
                bus.publish("other", "not for them", tx=tx)
        child.wait_for("heard رسالة 19")
        heard = [line for line in child.lines if line.startswith("heard")]
    assert heard == [f"heard رسالة {number}" for number in range(20)]


def test_threads_that_publish_at_once_lose_nothing(make_bus: Callable[[], Bus]) -> None:
    here, there = make_bus(), make_bus()
    heard, far = listening(here), listening(there)
    threads = [threading.Thread(target=lambda n=n: [here.publish("news", f"{n}.{m}") for m in range(25)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    far.wait(lambda far: len(far.messages) == 100)
    for messages in (heard.messages, far.messages):
        assert sorted(messages) == sorted(f"{n}.{m}" for n in range(4) for m in range(25))
        assert all([m for m in messages if m.startswith(f"{n}.")] == [f"{n}.{m}" for m in range(25)] for n in range(4))


def test_who_begins_to_hear_is_told_of_the_start_however_fast_the_ear_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = Bus(store, Supervisor())
    watch = bus._watch

    def at_once(topic: str) -> None:
        watch(topic)
        bus.miss(topic)  # as the thread that listens does, when it comes first

    monkeypatch.setattr(bus, "_watch", at_once)
    assert Heard(bus).lost > 0
    bus.close()


def test_a_hearer_that_fails_keeps_nobody_from_hearing(make_bus: Callable[[], Bus], caplog: pytest.LogCaptureFixture) -> None:
    bus = make_bus()
    broken = bus.hear("news", lambda message: 1 / 0, lambda: 1 / 0)
    heard = listening(bus)
    bus.publish("news", "خبر")
    assert heard.messages == ["خبر"]
    assert "a hearer of news failed" in caplog.text
    del broken


def test_too_long_a_message_is_refused(make_bus: Callable[[], Bus]) -> None:
    with pytest.raises(ValueError, match="at most 4000 bytes, this one has 4002"):
        make_bus().publish("news", "ا" * 2001)
    with pytest.raises(ValueError, match="small name"):
        make_bus().publish("No News", "text")


def test_old_messages_are_forgotten_and_whoever_missed_them_is_told(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    migrate(store, [MIGRATIONS])
    supervisor = Supervisor()
    away, bus = Bus(store, supervisor), Bus(store, Supervisor())
    heard = Heard(away)
    away.tell("messages")  # its first look
    assert heard.lost == 1
    with store.begin() as tx:
        for number in range(KEPT_MESSAGES + 600):
            bus.publish("news", str(number), tx=tx)
    with store.read() as tx:
        assert KEPT_MESSAGES <= (tx.scalar(sa.text("select count(*) from rakiza_bus_message")) or 0) < KEPT_MESSAGES + 600
    away.tell("messages")
    assert (heard.lost, heard.messages) == (2, [])
    bus.publish("news", "بعد الغياب")
    away.tell("messages")
    assert heard.messages == ["بعد الغياب"]
    store.close()


def test_a_lost_connection_is_told(postgres_url: str) -> None:
    store = Store(postgres_url)
    migrate(store, [MIGRATIONS])
    supervisor = Supervisor()
    bus = Bus(store, supervisor)
    supervisor.start()
    heard = listening(bus)
    before = heard.lost
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        ours = "datname = current_database() and pid <> pg_backend_pid()"  # other tests listen on the same server
        admin.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%' and {ours}".encode())
    heard.wait(lambda heard: heard.lost > before)
    bus.publish("news", "عاد")
    assert heard.messages == ["عاد"]
    supervisor.stop()
    bus.close()
    store.close()


def test_publishing_without_a_database_says_so(tmp_path: object) -> None:
    store = Store("postgresql://nobody@127.0.0.1:1/none", connect_timeout_seconds=1)
    with pytest.raises(StoreError):
        Bus(store, Supervisor()).publish("news", "text")
    store.close()
