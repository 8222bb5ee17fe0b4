"""The store when processes die, race, or lose their disk or server."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import servers
from events_faults import admin
from rakiza.store import Migrations, Store, StoreError, StoreUnavailableError, current, migrate

Process = Callable[..., servers.Child]
COUNT = """
import sys, sqlalchemy as sa
from rakiza.store import Store
store = Store(sys.argv[1], busy_timeout_seconds=60.0)
print("ready")
for _ in range(int(sys.argv[2])):
    with store.begin() as tx:
        held = tx.scalar(sa.text("select held from box" + ("" if store.dialect == "sqlite" else " for update")))
        tx.execute(sa.text("update box set held = :held"), {"held": held + 1})
store.close()
print("done")
"""
DIE = """
import sys, sqlalchemy as sa
from rakiza.store import Store
store = Store(sys.argv[1])
number = 0
while True:
    number += 1
    with store.begin() as tx:
        tx.execute(sa.text("update box set held = held + 1"))
        for _ in range(20):
            tx.execute(sa.text("insert into slip (number) values (:number)"), {"number": number})
    print("committed", number)
"""
MIGRATE = """
import os, sys, time
import alembic.command
from rakiza.store import Migrations, Store, migrate
store = Store(sys.argv[1])
print("ready")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
print("was", migrate(store, [Migrations("yard_migrations", "yard")])[0].current)
store.close()
"""
SCRIPT = '''"""Migrate."""
import time
import sqlalchemy as sa
from alembic import op
revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create."""
    op.create_table("yard_crane", sa.Column("name", sa.Text))
    op.execute("insert into yard_crane values ('رافعة')")
    print("halfway", flush=True)
    time.sleep({seconds})
'''


@pytest.fixture(params=["sqlite", "postgresql"])
def durable_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database that keeps what it committed; once for each kind."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "durable_postgres_url"))


def make_box(url: str) -> Store:
    """Return a store with a box that holds 0 and no slips."""
    store = Store(url)
    with store.begin() as tx:
        tx.execute(sa.text("create table box (held bigint not null)"))
        tx.execute(sa.text("create table slip (number bigint not null)"))
        tx.execute(sa.text("insert into box values (0)"))
    return store


def test_four_processes_write_without_a_locked_error_and_lose_nothing(database_url: str, python_process: Process) -> None:
    store = make_box(database_url)
    children = [python_process(COUNT, database_url, "80") for _ in range(4)]
    assert [child.finish(timeout_seconds=120)[-1] for child in children] == ["done"] * 4
    with store.read() as tx:
        assert tx.scalar(sa.text("select held from box")) == 320
    store.close()


def test_a_killed_writer_leaves_whole_transactions(durable_url: str, kill9: Callable[..., list[str]]) -> None:
    store = make_box(durable_url)
    for round_ in range(2):
        with store.begin() as tx:
            tx.execute(sa.text("update box set held = 0"))
            tx.execute(sa.text("delete from slip"))
        lines = kill9(DIE, f"committed {7 + round_}", durable_url)
        seen = int(lines[-1].split()[1])
        with store.begin() as tx:  # waits until the server has noticed the end of the killed one
            held, slips = tx.scalar(sa.text("select held from box")), tx.scalar(sa.text("select count(*) from slip"))
        assert held >= seen
        assert slips == held * 20
    store.close()


def yard(tmp_path: Path, seconds: float) -> dict[str, str]:
    """Write the package of one slow migration; return the environment that finds it."""
    folder = tmp_path / "yard_migrations"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / "0001_crane.py").write_text(SCRIPT.format(seconds=seconds))
    return {"PYTHONPATH": str(tmp_path)}


def test_processes_that_start_together_migrate_once(database_url: str, python_process: Process, tmp_path: Path) -> None:
    env, gate = yard(tmp_path, 0.5), tmp_path / "go"
    children = [python_process(MIGRATE, database_url, str(gate), env=env) for _ in range(3)]
    for child in children:
        child.wait_for("ready")
    gate.touch()
    outputs = [child.finish() for child in children]
    assert [lines[-1].split()[0] for lines in outputs] == ["was"] * 3
    assert sum("halfway" in lines for lines in outputs) == 1
    store = Store(database_url)
    with store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from yard_crane")) == 1
    store.close()


def test_a_migration_killed_halfway_is_finished_by_the_next_start(
    durable_url: str, python_process: Process, kill9: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    rooms = [Migrations("yard_migrations", "yard")]
    kill9(MIGRATE, "halfway", durable_url, "/", env=yard(tmp_path, 30))
    store = Store(durable_url)
    assert current(store, rooms)[0].current is None
    yard(tmp_path, 0)
    migrate(store, rooms)
    with store.read() as tx:
        assert tx.scalar(sa.text("select name from yard_crane")) == "رافعة"
    assert not current(store, rooms)[0].behind
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_and_undone(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    try:
        store = make_box(f"{disk}/قاعدة.db")
        with pytest.raises(StoreError) as caught, store.begin() as tx:
            tx.execute(sa.text("insert into slip with recursive n(i) as (select 1 union all select i + 1 from n where i < 500000) select i from n"))
        assert caught.value.stable_code == "store_disk_full"
        assert str(disk) in (caught.value.hint or "")
        with store.read() as tx:
            assert tx.scalar(sa.text("select count(*) from slip")) == 0
        store.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_database_is_told_and_the_next_transaction_works(sqlite_url: str) -> None:
    store = make_box(sqlite_url)
    with pytest.raises(StoreError) as caught, store.begin() as tx:
        tx.driver_connection.execute("pragma max_page_count = 8")
        tx.execute(sa.text("insert into slip with recursive n(i) as (select 1 union all select i + 1 from n where i < 99999) select i from n"))
    assert caught.value.stable_code == "store_disk_full"
    with store.begin() as tx:
        tx.driver_connection.execute("pragma max_page_count = 100000")
        tx.execute(sa.text("insert into slip values (1)"))
    store.close()


AS_NOBODY = """
import os, sys, sqlalchemy as sa
from rakiza.store import Store, StoreError
import rakiza.store._backends.sqlite
warm = Store(sys.argv[2]); warm.ping(); warm.close()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with Store(sys.argv[1]).begin() as tx:
        tx.execute(sa.text("create table t (a int)"))
except StoreError as error:
    print("told", error.stable_code, "|", error.detail, "|", error.hint)
"""


@pytest.mark.parametrize("kind", ["file", "folder", "missing folder"])
def test_a_place_that_cannot_be_written_is_named(kind: str, python_process: Process) -> None:
    folder = servers.new_folder("locked")
    path = folder / "deeper" / "x.db" if kind == "missing folder" else folder / "x.db"
    if kind == "file":
        make_box(str(path)).close()
        path.chmod(0o444)
    folder.chmod(0o555)
    line = python_process(AS_NOBODY, str(path), str(servers.run_folder() / f"{folder.name}.db")).wait_for("told")
    assert line.split()[1] == {"file": "store_read_only", "folder": "store_cannot_open", "missing folder": "store_folder"}[kind]
    assert str(folder) in line.split("|")[1]
    assert "writable" in line.split("|")[2]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "تقرير.pdf"
    path.write_bytes(b"%PDF-1.7 " * 200)
    with pytest.raises(StoreError) as caught:
        Store(str(path)).ping()
    assert caught.value.stable_code == "store_not_a_database"
    assert str(path) in caught.value.detail
    with pytest.raises(StoreError):
        Store(str(tmp_path)).ping()  # a folder


def test_a_stopped_server_is_told_and_its_return_needs_no_help(tmp_path: Path) -> None:
    try:
        folder = servers.new_folder("own")
        servers._start_postgres(folder, servers.COMMON)
    except servers.MissingBinaryError as error:
        pytest.skip(str(error))
    control = [str(servers.postgres_binaries() / "pg_ctl"), "-D", str(folder / "data")]
    store = make_box(servers.Postgres(str(folder)).url("postgres"))
    with pytest.raises(StoreUnavailableError) as caught, store.begin() as tx:
        tx.execute(sa.text("update box set held = 1"))
        servers._as_database_user([*control, "-m", "immediate", "stop"])
        tx.execute(sa.text("update box set held = 2"))
    assert (caught.value.status, caught.value.stable_code) == (503, "store_unavailable")
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        store.ping()
    servers._as_database_user([*control, "-w", "-o", f"-k {folder} -c listen_addresses=''", "-l", str(folder / "log"), "start"])
    with store.read() as tx:
        assert tx.rows(store.compile(sa.select(sa.literal_column("held")).select_from(sa.table("box")))) == [(0,)]
    servers._as_database_user([*control, "-w", "-m", "fast", "-o", f"-k {folder} -c listen_addresses=''", "-l", str(folder / "log"), "restart"])
    with store.begin() as tx:  # the idle connection of before died unseen
        tx.execute(sa.text("update box set held = 3"))
    store.close()
    servers._as_database_user([*control, "-m", "immediate", "stop"])


def test_the_raw_path_tells_a_lost_server_too(postgres_url: str) -> None:
    store = make_box(postgres_url)
    query = store.compile(sa.select(sa.literal_column("held")).select_from(sa.table("box")))
    killer = Store(postgres_url)
    with pytest.raises(StoreUnavailableError), store.read() as tx:
        tx.rows(query)
        with killer.begin() as other:
            other.execute(sa.text("select pg_terminate_backend(:pid)"), {"pid": tx.driver_connection.info.backend_pid})
        tx.rows(query)
    with store.read() as tx:
        assert tx.rows(query) == [(0,)]
    store.close()
    killer.close()


def test_a_server_that_ends_every_new_connection_is_told_as_a_lost_one(postgres_url: str) -> None:
    store = make_box(postgres_url)
    engine = store._backend.engine
    with admin(postgres_url) as killer:

        def end(pid: int) -> None:
            killer.execute("select pg_terminate_backend(%s, 10000)", [pid])

        def end_new(driver: psycopg.Connection[object], _record: object) -> None:
            end(driver.info.backend_pid)

        with store.read() as tx:
            idle = tx.driver_connection.info.backend_pid
        end(idle)
        sa.event.listen(engine, "connect", end_new)
        for block in (store.begin, store.read):
            with pytest.raises(StoreUnavailableError), block() as tx:
                tx.execute(sa.text("update box set held = 1"))
        with pytest.raises(StoreUnavailableError):
            store.ping()
        sa.event.remove(engine, "connect", end_new)
    with store.begin() as tx:
        tx.execute(sa.text("update box set held = 4"))
    store.close()


def test_a_forked_child_opens_its_own_connections(database_url: str) -> None:
    store = make_box(database_url)
    store.ping()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with store.begin() as tx:
                tx.execute(sa.text("update box set held = held + 1"))
            os.write(write_end, b"fine")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        assert answer.read() == b"fine"
    with store.begin() as tx:
        tx.execute(sa.text("update box set held = held + 1"))
        assert tx.scalar(sa.text("select held from box")) == 2
    store.close()


FORK = """
import os, sys, threading, time
from rakiza.store import Store, StoreError
import sqlalchemy as sa
url, seconds, how = sys.argv[1], float(sys.argv[2]), sys.argv[3]
store, other, held = Store(url), Store(url), threading.Event()

def use():
    ways = {"read": store.read, "write": store.begin, "beside": store.raw_connection, "another store": other.read}
    with ways[how]() as tx:
        if how == "beside":
            tx.execute("begin")
            tx.execute("select held from box").fetchall()
        else:
            tx.execute(sa.text("update box set held = held" if how == "write" else "select held from box"))
        held.set()
        time.sleep(seconds)

thread = threading.Thread(target=use)
thread.start()
held.wait()
(from_child, to_parent), (from_parent, to_child) = os.pipe(), os.pipe()
child = os.fork()
if not child:
    try:
        with store.read() as tx:
            before = tx.scalar(sa.text("select held from box"))
            os.write(to_parent, b"reads\\n")
            os.read(from_parent, 1)
            assert store.dialect == "postgresql" or tx.scalar(sa.text("select held from box")) == before
        with store.begin() as tx:
            tx.execute(sa.text("update box set held = held + 1"))
        os.write(to_parent, b"wrote\\n")
    except StoreError as error:
        os.write(to_parent, f"{error.stable_code}: {error.hint}\\n".encode())
    finally:
        os._exit(0)
os.close(to_parent)
thread.join()
told = os.fdopen(from_child)
print(told.readline(), end="")
with store.begin() as tx:
    tx.execute(sa.text("update box set held = held + 10"))
with store.raw_connection() as driver:
    if store.dialect == "sqlite":
        driver.execute("pragma busy_timeout=0")
        print("the log is kept for a reader:", bool(driver.execute("pragma wal_checkpoint(truncate)").fetchone()[0]))
os.write(to_child, b"x")
print(told.readline(), end="")
os.waitpid(child, 0)
with store.read() as tx:
    print("held", tx.scalar(sa.text("select held from box")))
"""


@pytest.mark.parametrize("how", ["read", "write", "beside", "another store"])
def test_a_child_forked_while_a_thread_uses_the_database_locks_for_itself(
    database_url: str, how: str, python_process: Callable[..., servers.Child]
) -> None:
    make_box(database_url).close()
    lines = python_process(FORK, database_url, "0.2", how).finish()
    kept = ["the log is kept for a reader: True"] if database_url.startswith("sqlite") else []
    assert lines == ["reads", *kept, "wrote", "held 11"]


@pytest.mark.parametrize("how", ["read", "beside", "another store"])
def test_a_child_forked_in_the_midst_of_a_long_transaction_refuses_the_file_and_says_what_to_do(
    sqlite_url: str, how: str, python_process: Callable[..., servers.Child]
) -> None:
    make_box(sqlite_url).close()
    lines = python_process(FORK, sqlite_url, "3", how).finish()
    told = "store_forked: fork when no transaction is open, or start processes by `spawn`"
    assert lines == [told, "the log is kept for a reader: False", "held 10"]
