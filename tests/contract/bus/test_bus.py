"""Signals within a process and between processes of one database, when connections are lost, files replaced and processes forked."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

import servers
from rakiza._kernel import Supervisor
from rakiza.bus import Bus, BusSettings
from rakiza.bus._backends.sqlite import Writes
from rakiza.store import Store, Transaction

Process = Callable[..., servers.Child]
PATHS = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
TABLE = sa.table("note", sa.column("id"), sa.column("topic"), sa.column("text"))
NEWEST = sa.text("select max(id) from note where topic = :topic")
OPEN = """
import os, sys, threading
import sqlalchemy as sa
from rakiza._kernel import Supervisor
from rakiza.bus import Bus
from rakiza.store import Store
store, supervisor = Store(sys.argv[1]), Supervisor()
bus = Bus(store, supervisor)
for topic in ("orders", "mail"):
    bus.probe(topic, lambda tx, topic=topic: tx.scalar(sa.text("select max(id) from note where topic = :topic"), {"topic": topic}))
def write(number, topic):
    with store.begin() as tx:
        tx.execute(sa.text("insert into note values (:id, :topic, 'طلب')"), {"id": number, "topic": topic})
        bus.announce(topic, tx)
"""
LISTEN = (
    OPEN
    + """
listeners = [bus.on(topic, lambda topic=topic: print("heard", topic)) for topic in ("orders", "mail")]
supervisor.start()
threading.Event().wait()
"""
)
WRITE = (
    OPEN
    + """
for number, topic in enumerate(sys.argv[2:]):
    write(100 + number, topic)
"""
)
FORK = (
    OPEN
    + """
listener = bus.on("orders", lambda: None)
supervisor.start()
bus.wait("orders", 0, 30)
session = bus._ear._connection
ready, told = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    grandchild = os.fork()  # as a daemon does
    if grandchild:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    while bus._ear._connection is None:
        bus.wait("orders", bus.count("orders"), 0.05)
    bus.wait("orders", bus.count("orders"), 0.5)  # the first look of the child is over
    seen = bus.count("orders")
    os.write(ready[1], b"x")
    assert bus.wait("orders", seen, 30), "the child does not hear the parent"
    seen = bus.count("orders")
    write(2, "orders")
    assert bus.count("orders") > seen, "the child does not hear itself"
    supervisor.stop(); bus.close()
    os.write(told[1], b"x")
    sys.exit(0)
os.read(ready[0], 1)
write(1, "orders")
os.read(told[0], 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
seen = bus.count("orders")
writer = os.fork()
if writer == 0:
    write(3, "orders")
    os._exit(0)
heard = bus.wait("orders", seen, 30)
print("child", code, "heard", heard, "same session", bus._ear._connection is session, "failures", supervisor.failures())
supervisor.stop(); bus.close()
"""
)
LOCK = """
import sqlite3, sys
holder = sqlite3.connect(sys.argv[1], isolation_level=None)
holder.execute("pragma locking_mode=exclusive")
holder.execute("insert into note values (50, 'orders', 'محجوز')")
print("locked")
sys.stdin.read()
"""


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = Store(database_url, busy_timeout_seconds=0.2)
    with made.begin() as tx:
        tx.execute(sa.text("create table note (id integer primary key, topic text, text text)"))
    yield made
    made.close()


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    made.stop()


@pytest.fixture
def bus(store: Store, supervisor: Supervisor) -> Iterator[Bus]:
    made = Bus(store, supervisor, BusSettings(retry_seconds=0.05))
    for topic in ("orders", "mail"):
        made.probe(topic, newest(topic))
    yield made
    supervisor.stop()
    made.close()


def newest(topic: str) -> Callable[[Transaction], object]:
    return lambda tx: tx.scalar(NEWEST, {"topic": topic})


def write(tx: Transaction, number: int, topic: str = "orders") -> None:
    tx.execute(TABLE.insert().values(id=number, topic=topic, text="طلب جديد"))


def hears(bus: Bus, topic: str, seen: int, times: int = 1) -> None:
    """Wait for signals that must come; a test that waits in vain fails."""
    while bus.count(topic) < seen + times:
        assert bus.wait(topic, bus.count(topic), 30), "no signal came"


def test_listeners_are_called_as_long_as_they_live(bus: Bus) -> None:
    heard: list[str] = []
    first, second = bus.on("orders", lambda: heard.append("طلبات")), bus.on("mail", lambda: heard.append("بريد"))
    bus.tell("orders")
    bus.tell("mail")
    assert heard == ["طلبات", "بريد"]
    assert (bus.count("orders"), bus.count("mail"), bus.count("nobody")) == (1, 1, 0)
    del first
    gc.collect()
    bus.tell("orders")
    bus.tell(second.topic)
    assert heard == ["طلبات", "بريد", "بريد"]


def test_a_listener_that_fails_does_not_keep_others_from_hearing(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ArithmeticError("تعذر")

    heard: list[int] = []
    listeners = [bus.on("orders", call) for call in (broken, lambda: heard.append(1), broken)]
    bus.tell("orders")
    assert heard == [1]
    assert [record.getMessage() for record in caplog.records] == ["a listener of orders failed"] * (len(listeners) - 1)


@pytest.mark.parametrize("topic", ["", "Orders", "طلبات", "a b", "x; drop table note", "1st", "a" * 49])
def test_a_topic_is_a_small_name(bus: Bus, store: Store, topic: str) -> None:
    with pytest.raises(ValueError, match="a topic is a small name"):
        bus.on(topic, lambda: None)
    with pytest.raises(ValueError, match="a topic is a small name"), store.begin() as tx:
        bus.announce(topic, tx)


def test_a_transaction_tells_each_topic_once_after_its_commit(bus: Bus, store: Store) -> None:
    counts: list[tuple[int, int]] = []
    with store.begin() as tx:
        for number in range(50):
            write(tx, number)
            bus.announce("orders", tx)
            bus.announce("mail", tx)
        counts.append((bus.count("orders"), bus.count("mail")))
    counts.append((bus.count("orders"), bus.count("mail")))
    assert counts == [(0, 0), (1, 1)]


def test_what_is_undone_is_not_told(bus: Bus, store: Store) -> None:
    with pytest.raises(ArithmeticError), store.begin() as tx:
        bus.announce("orders", tx)
        raise ArithmeticError
    with store.begin() as tx:
        with pytest.raises(ArithmeticError), tx.savepoint():
            bus.announce("orders", tx)
            raise ArithmeticError
        bus.announce("mail", tx)
    assert (bus.count("orders"), bus.count("mail")) == (0, 1)
    with store.begin() as tx:
        with pytest.raises(ArithmeticError), tx.savepoint():
            bus.announce("orders", tx)
            raise ArithmeticError
        bus.announce("orders", tx)
    assert bus.count("orders") == 1
    with store.read() as tx, pytest.raises(RuntimeError, match="only a write transaction"):
        bus.announce("orders", tx)


def test_whoever_waits_is_woken_and_told_whether_something_came(bus: Bus, supervisor: Supervisor) -> None:
    assert not bus.wait("orders", 0, 0.01)
    task = supervisor.every("teller", 60, lambda: bus.tell("orders"))
    supervisor.start()
    task.wake()
    assert bus.wait("orders", 0, 30)
    assert bus.wait("orders", -1, 0)


def test_another_process_is_heard_on_the_topic_it_wrote_for(bus: Bus, supervisor: Supervisor, database_url: str, python_process: Process) -> None:
    heard: list[str] = []
    listeners = [bus.on(topic, partial(heard.append, topic)) for topic in ("orders", "mail")]
    supervisor.start()
    for topic in ("orders", "mail"):
        hears(bus, topic, 0)  # what came before the first look was not heard, so everybody looks once
    heard.clear()
    python_process(WRITE, database_url, "mail", env=PATHS).finish()
    hears(bus, "mail", 1)
    python_process(WRITE.replace("100", "200"), database_url, "orders", env=PATHS).finish()
    hears(bus, "orders", 1)
    assert heard.index("mail") < heard.index("orders")
    assert len(listeners) == 2


def test_this_process_is_heard_by_another_one(bus: Bus, store: Store, database_url: str, python_process: Process) -> None:
    child = python_process(LISTEN, database_url, env=PATHS)
    child.wait_for("heard mail")
    with store.begin() as tx:
        write(tx, 1, "orders")
        bus.announce("orders", tx)
    child.wait_for("heard orders")
    with store.begin() as tx:
        write(tx, 2, "mail")
        bus.announce("mail", tx)
    child.wait_for("heard mail")


def test_a_topic_that_comes_late_is_heard(bus: Bus, supervisor: Supervisor, database_url: str, python_process: Process) -> None:
    first = bus.on("orders", lambda: None)
    supervisor.start()
    hears(bus, "orders", 0)
    heard: list[int] = []
    second = bus.on("mail", lambda: heard.append(1))
    bus.probe("mail", newest("mail"))
    python_process(WRITE, database_url, "mail", env=PATHS).finish()
    hears(bus, "mail", 0)
    assert heard
    assert (first.topic, second.topic) == ("orders", "mail")


def test_a_bus_may_be_closed_and_started_anew(bus: Bus, supervisor: Supervisor, database_url: str, python_process: Process) -> None:
    listener = bus.on("orders", lambda: None)
    for number in (100, 200):
        seen = bus.count("orders")  # before the start, whose signal may come at once
        supervisor.start()
        hears(bus, listener.topic, seen)
        seen = bus.count("orders")
        python_process(WRITE.replace("100", str(number)), database_url, "orders", env=PATHS).finish()
        hears(bus, "orders", seen)
        supervisor.stop()
        bus.close()
        if number == 100:
            python_process(WRITE.replace("100", "150"), database_url, "orders", env=PATHS).finish()
    assert supervisor.failures()["bus"] == 0


def test_a_forked_child_hears_and_leaves_the_parents_connection_alone(store: Store, database_url: str, python_process: Process) -> None:
    lines = python_process(FORK, database_url, env=PATHS).finish(timeout_seconds=90)
    # A file of SQLite is closed before the fork and opened again: the child would believe in the locks of the parent's connection.
    assert lines[-1] == f"child 0 heard True same session {store.dialect == 'postgresql'} failures {{'bus': 0}}"


# -- PostgreSQL


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[tuple[Store, Supervisor, Bus]]:
    store, supervisor = Store(postgres_url), Supervisor()
    bus = Bus(store, supervisor, BusSettings(retry_seconds=0.05))
    with store.begin() as tx:
        tx.execute(sa.text("create table note (id integer primary key, topic text, text text)"))
    yield store, supervisor, bus
    supervisor.stop()
    bus.close()
    store.close()


LISTENING = sa.text("select pid from pg_stat_activity where datname = current_database() and query like 'listen rakiza_%'")


def test_one_notify_for_each_topic_of_a_transaction(on_postgres: tuple[Store, Supervisor, Bus]) -> None:
    store, _, bus = on_postgres
    with store.raw_connection() as listening:
        listening.execute("listen rakiza_orders")
        listening.execute("listen rakiza_mail")
        with pytest.raises(ArithmeticError), store.begin() as tx:
            bus.announce("orders", tx)
            raise ArithmeticError
        with store.begin() as tx:
            for number in range(20):
                write(tx, number)
                bus.announce("orders", tx)
                bus.announce("mail", tx)
        assert [signal.channel for signal in listening.notifies(timeout=30, stop_after=2)] == ["rakiza_orders", "rakiza_mail"]
        assert list(listening.notifies(timeout=0)) == []


def test_one_connection_listens_for_all_topics(on_postgres: tuple[Store, Supervisor, Bus]) -> None:
    store, supervisor, bus = on_postgres
    listeners = [bus.on(f"topic_{number}", lambda: None) for number in range(5)]
    supervisor.start()
    for listener in listeners:
        hears(bus, listener.topic, 0)
    with store.read() as tx:
        assert len(tx.execute(LISTENING).fetchall()) == 1


def test_a_lost_connection_is_opened_anew_and_everybody_looks(on_postgres: tuple[Store, Supervisor, Bus], python_process: Process) -> None:
    store, supervisor, bus = on_postgres
    listeners = [bus.on(topic, lambda: None) for topic in ("orders", "mail")]
    supervisor.start()
    for listener in listeners:
        hears(bus, listener.topic, 0)
    for number in (300, 400):
        seen = {listener.topic: bus.count(listener.topic) for listener in listeners}
        with store.begin() as tx:
            (pid,) = tx.execute(LISTENING).scalars()
            tx.execute(sa.text("select pg_terminate_backend(:pid)"), {"pid": pid})
        for topic, count in seen.items():
            hears(bus, topic, count)
        heard = bus.count("mail")
        url = store._backend.engine.url.render_as_string(hide_password=False)
        python_process(WRITE.replace("100", str(number)), url, "mail", env=PATHS).finish()
        hears(bus, "mail", heard)
    assert supervisor.failures()["bus"] == 0


# -- SQLite


@pytest.fixture
def on_sqlite(sqlite_url: str) -> Iterator[tuple[Store, Bus]]:
    store = Store(sqlite_url, busy_timeout_seconds=0.2)
    with store.begin() as tx:
        tx.execute(sa.text("create table note (id integer primary key, topic text, text text)"))
    bus = Bus(store, Supervisor(), BusSettings(retry_seconds=0.01))
    yield store, bus
    bus.close()
    store.close()


def look(bus: Bus) -> None:
    assert bus._ear is not None
    bus._ear.look()


def test_probes_are_asked_only_when_something_was_committed(on_sqlite: tuple[Store, Bus]) -> None:
    store, bus = on_sqlite
    asked: list[str] = []

    def asking(topic: str) -> Callable[[Transaction], object]:
        def ask(tx: Transaction) -> object:
            asked.append(topic)
            return newest(topic)(tx)

        return ask

    listener = bus.on("orders", lambda: None)
    bus.probe("orders", asking("orders"))
    for _ in range(3):
        look(bus)
    assert (asked, bus.count(listener.topic)) == (["orders"], 1)
    with store.begin() as tx:
        write(tx, 1, "mail")
    for _ in range(3):
        look(bus)
    assert (asked, bus.count("orders")) == (["orders"] * 2, 1)
    bus.probe("mail", asking("mail"))
    look(bus)
    assert bus.count("mail") == 1
    with store.begin() as tx:
        write(tx, 2, "orders")
    look(bus)
    assert (bus.count("orders"), bus.count("mail")) == (2, 1)


def test_a_probe_that_fails_is_logged_once_and_keeps_no_other_from_being_asked(
    on_sqlite: tuple[Store, Bus], caplog: pytest.LogCaptureFixture
) -> None:
    store, bus = on_sqlite
    listener = bus.on("orders", lambda: None)
    bus.probe("broken", lambda tx: tx.scalar(sa.text("select 1 from nowhere")))
    bus.probe("orders", newest("orders"))
    for number in range(3):
        look(bus)
        with store.begin() as tx:
            write(tx, number)
    look(bus)
    assert bus.count(listener.topic) == 4
    assert [record.getMessage() for record in caplog.records] == ["the probe of broken failed"]


def test_a_file_that_is_locked_deleted_or_replaced_is_heard_again(
    on_sqlite: tuple[Store, Bus], sqlite_url: str, tmp_path: Path, python_process: Process
) -> None:
    store, bus = on_sqlite
    path = tmp_path / "test.db"
    listener = bus.on("orders", lambda: None)
    bus.probe("orders", newest("orders"))
    store.close()
    child = python_process(LOCK.replace("sys.stdin.read()", "import threading; threading.Event().wait()"), str(path))
    child.wait_for("locked")
    look(bus)
    assert bus.count(listener.topic) == 0
    child.kill9()
    look(bus)
    assert bus.count("orders") == 1

    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    with other.begin() as tx:
        tx.execute(sa.text("create table note (id integer primary key, topic text, text text)"))
    other.close()
    store.close()
    for file in tmp_path.glob("test.db*"):
        file.unlink()
    look(bus)
    look(bus)
    assert not path.exists(), "a database that was deleted was made anew"
    (tmp_path / "other.db").rename(path)
    look(bus)
    seen = bus.count("orders")
    python_process(WRITE, sqlite_url, "orders", env=PATHS).finish()
    look(bus)
    assert bus.count("orders") == seen + 1


def test_a_write_to_the_file_is_noticed_and_doubt_is_taken_for_one(tmp_path: Path) -> None:
    writes, file = Writes(), tmp_path / "ملف.db-wal"
    assert writes.wait(0)
    writes.watch(file)
    assert writes.wait(0), "where nothing can be watched, somebody may have written"
    file.write_bytes(b"")
    writes.watch(file)
    if sys.platform == "linux":
        assert not writes.wait(0)
    with file.open("ab") as opened:
        opened.write("كتابة".encode())
    assert writes.wait(30)
    writes.close()
    assert writes.wait(0)
