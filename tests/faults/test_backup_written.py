"""A restore while somebody writes all the time: each row whose commit was answered is live, in the safety backup or in the database of before."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import servers
from backup_faults import drop_left, file_of, manager, plain, quick_check, run
from rakiza.backup import DatabaseBackup
from rakiza.backup._streams import blocks
from rakiza.store import Store

Process = Callable[..., servers.Child]
TRIES = 2
WRITER = """
import itertools, sys, time
import sqlalchemy as sa
from rakiza.store import Store, StoreError
store = Store(sys.argv[1], busy_timeout_seconds=60.0)
with open(sys.argv[2], "a", buffering=1) as answered:
    for n in itertools.count(int(sys.argv[3])):
        try:
            with store.begin() as tx:
                tx.execute(sa.text("insert into entry values (:n, 'قيد')"), {"n": n})
        except StoreError:
            continue
        answered.write(f"{n}\\n")
        time.sleep(0.001)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    found: str = f"sqlite:///{tmp_path}/حي.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    run(found, "create table entry (n integer primary key, t text)", "insert into entry values (-1, 'الأول')")
    return found


def numbers(url: str) -> set[int]:
    with contextlib.closing(Store(url)) as store, store.read() as tx:
        return {int(n) for (n,) in tx.execute(sa.text("select n from entry"))}


def answered(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def wait_for(path: Path, count: int) -> None:
    for _ in range(6_000):
        if len(answered(path)) >= count:
            return
        threading.Event().wait(0.01)
    raise AssertionError("nobody writes")


def kept(url: str, backup: DatabaseBackup, safety: str, before: str, tmp_path: Path) -> set[int]:
    """Return the rows of the safety backup, and of the database of before."""
    if before:
        with plain(url, "postgres") as admin:
            admin.execute(f'alter database "{before}" allow_connections true')
        return numbers(sa.make_url(url).set(database=before).render_as_string(hide_password=False))
    copy = tmp_path / "kept.db"
    copy.write_bytes(b"".join(blocks(backup.path_of(safety), "db.zst")))
    return numbers(f"sqlite:///{copy}")


def test_nothing_that_was_answered_is_lost(url: str, tmp_path: Path, python_process: Process) -> None:
    backup = manager(url, tmp_path / "نسخ")
    name = backup.create_backup().filename
    for turn in range(TRIES):
        file = tmp_path / f"answered{turn}"
        writer = python_process(WRITER, url, str(file), str(turn * 1_000_000))
        wait_for(file, 20)
        done = backup.restore_backup(name)
        wait_for(file, len(answered(file)) + 20)
        writer.kill9()
        said, live = set(answered(file)), numbers(url)
        old = kept(url, backup, done.safety_backup, done.before, tmp_path)
        assert said <= live | old
        assert -1 in live & old
        assert said & live, "who writes goes on in the restored data"
        assert not live & old - {-1}, "what is live again is not what was written before"
        assert next(one.filename for one in backup.list_backups() if one.safety) == done.safety_backup
    drop_left(url)


def test_without_a_safety_backup_nothing_of_before_is_kept_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/حي.db"
    run(url, "create table entry (n integer primary key, t text)")
    backup = manager(url, tmp_path / "نسخ")
    name = backup.create_backup().filename
    run(url, "insert into entry values (1, 'يذهب')")
    assert backup.restore_backup(name, safety_backup=False).safety_backup == ""
    assert [one.filename for one in backup.list_backups()] == [name]
    assert numbers(url) == set()


def test_a_backup_of_an_empty_file_is_restored(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/حي.db"
    run(url, "pragma user_version=7")
    backup = manager(url, tmp_path / "نسخ")
    name = backup.create_backup().filename
    run(url, "create table entry (n integer primary key, t text)", "insert into entry values (1, 'يذهب')")
    assert backup.restore_backup(name)
    assert quick_check(file_of(url)) == "ok"
    with contextlib.closing(Store(url)) as store, store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from sqlite_master")) == 0
        assert tx.scalar(sa.text("pragma user_version")) == 7
