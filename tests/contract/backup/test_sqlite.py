"""What only SQLite can suffer: odd values in text, live files that are broken or held, other page sizes."""

import sqlite3
from pathlib import Path

import pytest

from backup_faults import contents, file_of, fill, manager, quick_check, run
from rakiza.backup._backends import sqlite as backend
from rakiza.backup.errors import BackupError


@pytest.fixture
def url(sqlite_url: str) -> str:
    fill(sqlite_url)
    return sqlite_url


@pytest.mark.parametrize("text", [False, True])
def test_odd_values_and_tables(url: str, folder: Path, text: bool) -> None:
    run(
        url,
        """create table "جدول 'غريب'" (a, "b ""c" text, d generated always as (a), e)""",
        "create table bare (a text primary key, b) without rowid",
    )
    odd = [("قبل\0بعد", 1), (float("inf"), 2), (float("-inf"), 3), (5e-324, 4), (b"\0\xff", 5), (2**63 - 1, 6), ("';\r\n;\n", 7), (None, 8), ("", 9)]
    with sqlite3.connect(file_of(url)) as connection:
        connection.executemany("""insert into "جدول 'غريب'" (a, "b ""c", e) values (?1, ?2, ?1)""", odd)
        connection.executemany("insert into bare values (?, 'قيمة')", [(str(number),) for number in range(3)])
        connection.execute("create virtual table search using fts5(body)")
        connection.execute("insert into search values ('خرسانة مسلحة'), ('حديد تسليح')")
        connection.execute("pragma user_version = 7")
    connection.close()
    backup = manager(url, folder, text=text)
    copy = backup.create_backup()
    assert backup.verify_backup(copy.filename), backup.verify_backup(copy.filename).problem
    run(url, "delete from \"جدول 'غريب'\"", "delete from bare", "delete from search")
    backup.restore_backup(copy.filename, safety_backup=False)
    with sqlite3.connect(file_of(url)) as connection:
        assert connection.execute("""select a, d, e from "جدول 'غريب'" order by rowid""").fetchall() == [(value, value, value) for value, _ in odd]
        assert connection.execute("select count(*), min(b) from bare").fetchone() == (3, "قيمة")
        assert connection.execute("select body from search where search match 'حديد'").fetchall() == [("حديد تسليح",)]
        assert connection.execute("pragma user_version").fetchone() == (7,)
    connection.close()
    assert quick_check(file_of(url)) == "ok"


@pytest.mark.parametrize("broken", ["first bytes", "middle", "schema", "empty"])
def test_a_broken_live_file_is_replaced(url: str, folder: Path, broken: str) -> None:
    before, backup, path = contents(url), manager(url, folder), file_of(url)
    copy = backup.create_backup().filename
    raw = path.read_bytes()
    raw = {
        "first bytes": b"\0" * 4096 + raw[4096:],
        "middle": raw[:4096] + b"\xff" * (len(raw) - 4096),
        "schema": raw[:100] + b"\xff" * 3996 + raw[4096:],
        "empty": b"",
    }[broken]
    path.write_bytes(raw)
    if broken != "empty":
        with pytest.raises(BackupError, match="could not be kept before"):
            backup.restore_backup(copy)
        assert path.read_bytes() == raw
    backup.restore_backup(copy, safety_backup=False)
    assert contents(url) == before
    assert quick_check(path) == "ok"
    kept = [found.read_bytes() for found in path.parent.glob("*.damaged-*") if found.suffix not in {"-wal", "-shm"}]
    assert (raw in kept) is (broken in {"first bytes", "schema"})


def test_a_writer_that_never_ends_is_not_waited_for_for_ever(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup, before = manager(url, folder), contents(url)
    copy = backup.create_backup().filename
    monkeypatch.setattr(backend, "BUSY_SECONDS", 0.2)
    holder = sqlite3.connect(file_of(url), isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(BackupError, match="and is as it was"):
        backup.restore_backup(copy, safety_backup=False)
    holder.execute("rollback")
    holder.close()
    assert contents(url) == before


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_live_file_of_another_page_size(tmp_path: Path, folder: Path, mode: str) -> None:
    path = tmp_path / "صفحات.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (a)")
        connection.execute("insert into t values ('قديم')")
    connection.close()
    backup = manager(str(path), folder)
    copy = backup.create_backup().filename
    path.unlink()
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.execute("pragma page_size = 8192")
        connection.execute(f"pragma journal_mode = {mode}")
        connection.execute("create table u (a)")
    connection.close()
    backup.restore_backup(copy)
    with sqlite3.connect(path) as connection:
        assert connection.execute("select a from t").fetchall() == [("قديم",)]
    connection.close()


def test_a_reader_keeps_what_it_saw(url: str, folder: Path) -> None:
    backup = manager(url, folder)
    copy = backup.create_backup().filename
    run(url, "delete from journal")
    reader = sqlite3.connect(file_of(url), isolation_level=None)
    reader.execute("begin")
    assert reader.execute("select count(*) from journal").fetchone() == (0,)
    backup.restore_backup(copy)
    assert reader.execute("select count(*) from journal").fetchone() == (0,)
    reader.execute("commit")
    assert reader.execute("select count(*) from journal").fetchone() == (40,)
    reader.close()
