"""Backups and restores killed at any moment: every listed backup is whole, and live data are all old or all new."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import servers
from backup_faults import asides, drop_left, file_of, listed_whole, manager, plain, quick_check, run
from rakiza._kernel import SYSTEM_CLOCK
from rakiza.backup import DatabaseBackup
from rakiza.store import Store

Process = Callable[..., servers.Child]
ROWS = 20_000
WORK = """
import sys
from rakiza.backup import DatabaseBackup
backup = DatabaseBackup(sys.argv[1], sys.argv[2], max_backups=3)
print("begin")
if sys.argv[3]:
    backup.restore_backup(sys.argv[3], safety_backup=len(sys.argv) > 4)
else:
    backup.create_backup()
print("done")
"""
WAIT = """
import sys, time
from pathlib import Path
from rakiza.backup import DatabaseBackup
def hook(tx):
    print("ready")
    while not Path(sys.argv[4]).exists():
        time.sleep(0.01)
DatabaseBackup(sys.argv[1], sys.argv[2], restored=[hook]).restore_backup(sys.argv[3], safety_backup=False)
print("done")
"""


def lay(url: str) -> None:
    """Make two tables: one says of which age the data are, in every row."""
    run(url, "create table age (id integer primary key, v integer not null)", "create table item (id integer primary key, t text)")
    with contextlib.closing(Store(url)) as store, store.begin() as tx:
        tx.execute(sa.text("insert into age values (:n, 1)"), [{"n": n} for n in range(2_000)])
        rows = [{"n": n, "t": f"بند رقم {n} " + random.Random(n).randbytes(60).hex()} for n in range(ROWS)]  # noqa: S311 - the same in every run
        tx.execute(sa.text("insert into item values (:n, :t)"), rows)


def age(url: str) -> int:
    """Return the age of the data after checking that they are whole and of one age."""
    if url.startswith("sqlite"):
        assert quick_check(file_of(url)) == "ok"
    with contextlib.closing(Store(url, busy_timeout_seconds=60.0)) as store, store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from item")) == ROWS
        low, high, count = tuple(tx.execute(sa.text("select min(v), max(v), count(*) from age")).one())
    assert (low, count) == (high, 2_000)
    return int(low)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path / "live.db", "backup-killed", lay)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("backup-killed", lay)) as made:
        yield made
        drop_left(made)


@pytest.fixture
def backup(url: str, tmp_path: Path) -> DatabaseBackup:
    return manager(url, tmp_path / "نسخ", max_backups=3)


def killed(python_process: Process, seconds: float, *arguments: str) -> list[str]:
    """Run a piece of work and kill it at a random moment of so many seconds."""
    child = python_process(WORK, *arguments)
    child.wait_for("begin")
    threading.Event().wait(random.uniform(0, seconds))  # noqa: S311 - a moment, not a secret
    return child.kill9()


def seconds_of(python_process: Process, *arguments: str) -> float:
    """Let a piece of work come to its end and return how long it takes."""
    child = python_process(WORK, *arguments)
    child.wait_for("begin")
    began = SYSTEM_CLOCK.monotonic()
    child.wait_for("done")
    return SYSTEM_CLOCK.monotonic() - began


def test_a_killed_backup_is_whole_or_not_listed(url: str, backup: DatabaseBackup, python_process: Process, kills: int) -> None:
    folder = backup.folder.path
    seconds = seconds_of(python_process, url, str(folder), "") * 1.2
    ended, listed = 0, 1
    for _ in range(kills):
        ended += killed(python_process, seconds, url, str(folder), "")[-1] == "done"
        before, listed = listed, listed_whole(backup)
        assert min(before, 3) <= listed <= before + 1, "one that is killed may leave its backup, and those it would have deleted"
        assert age(url) == 1
        left = {path.name.removesuffix(".json") for path in folder.iterdir()} - {".lock", ".changes"}
        assert left == {one.filename for one in backup.list_backups()}
    print(f"{ended} of {kills} ended before the kill")
    backup.create_backup()
    assert listed_whole(backup) == min(3, listed + 1)
    assert backup.drill()
    assert asides(url) == []


@pytest.mark.parametrize("safety", [False, True])
def test_a_killed_restore_leaves_all_old_or_all_new_data(
    url: str, backup: DatabaseBackup, python_process: Process, kills: int, safety: bool
) -> None:
    name, folder = backup.create_backup().filename, backup.folder.path
    backup.pin(name)
    more = ["safety"] if safety else []
    seconds = seconds_of(python_process, url, str(folder), name, *more) * 1.2
    seen = {1: 0, 2: 0}
    for _ in range(max(1, kills // 2)):
        run(url, "update age set v = 2")
        killed(python_process, seconds, url, str(folder), name, *more)
        seen[age(url)] += 1
        listed_whole(backup)
        drop_left_before(url)
    print(f"new and old: {seen}")
    backup.restore_backup(name)
    assert age(url) == 1
    assert asides(url) == []
    assert not list(folder.glob(".tmp-*"))


def drop_left_before(url: str) -> None:
    if url.startswith("postgresql"):
        with plain(url, "postgres") as admin:
            name = sa.make_url(url).database
            for (found,) in admin.execute("select datname from pg_database where starts_with(datname, %s)", [f"{name}_before_"]).fetchall():
                admin.execute(f'drop database "{found}" with (force)')


def test_a_kill_in_the_midst_of_the_swap_leaves_the_live_database_open(postgres_url: str, tmp_path: Path, python_process: Process) -> None:
    lay(postgres_url)
    backup = manager(postgres_url, tmp_path / "نسخ")
    name = backup.create_backup().filename
    run(postgres_url, "update age set v = 2")
    child = python_process(WAIT, postgres_url, str(tmp_path / "نسخ"), name, str(tmp_path / "go"))
    child.wait_for("ready")
    (aside,) = asides(postgres_url)
    with plain(postgres_url, "postgres") as admin, admin.transaction():
        admin.execute(f'alter database "{aside}" connection limit 50')  # the second rename waits for this row
        (tmp_path / "go").touch()
        _until_it_waits(postgres_url)
        child.kill9()
    assert age(postgres_url) == 2
    assert backup.restore_backup(name)
    assert age(postgres_url) == 1
    assert asides(postgres_url) == []
    drop_left(postgres_url)


def _until_it_waits(url: str) -> None:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'alter database % rename to %'"
    with psycopg.connect(sa.make_url(url).set(drivername="postgresql", database="postgres").render_as_string(False), autocommit=True) as watcher:
        for _ in range(3_000):
            if watcher.execute(query).fetchone() != (0,):
                return
            threading.Event().wait(0.01)
    raise AssertionError("the swap does not wait")
