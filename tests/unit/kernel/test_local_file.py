"""The file of local history: capped, shared, never in the way."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from rakiza._kernel import LocalFile
from rakiza._kernel.local import PAGE_BYTES
from servers import Child

TABLE = "CREATE TABLE IF NOT EXISTS notes_line (text TEXT)"


def lines(file: LocalFile) -> list[str]:
    return file.read(lambda db: [text for (text,) in db.execute("SELECT text FROM notes_line ORDER BY rowid")], [])


def add(file: LocalFile, text: str) -> int | None:
    return file.write(lambda db: db.execute("INSERT INTO notes_line VALUES (?)", (text,)).rowcount)


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    file = LocalFile(tmp_path / "deep" / "telemetry.db")
    file.declare(TABLE)
    assert add(file, "صب القواعد") == 1
    file.close()
    again = LocalFile(tmp_path / "deep" / "telemetry.db")
    assert lines(again) == ["صب القواعد"]
    assert again.size_bytes() > 0


def test_a_full_file_costs_rows_and_raises_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = LocalFile(tmp_path / "telemetry.db", max_bytes=32 * PAGE_BYTES)
    file.declare(TABLE)
    kept = [add(file, "x" * 10_000) for _ in range(40)]
    assert kept[0] == 1
    assert kept[-1] is None
    assert file.dropped == kept.count(None)
    assert (tmp_path / "telemetry.db").stat().st_size <= 32 * PAGE_BYTES
    assert sum("cannot use" in record.message for record in caplog.records) <= file.dropped.bit_length()
    file.write(lambda db: db.execute("DELETE FROM notes_line"))
    assert add(file, "مكان من جديد") == 1


def test_a_failure_of_the_writer_itself_is_raised_and_undone(tmp_path: Path) -> None:
    file = LocalFile(tmp_path / "telemetry.db")
    file.declare(TABLE)

    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO notes_line VALUES ('half')")
        raise KeyError("half")

    with pytest.raises(KeyError):
        file.write(half)
    assert add(file, "whole") == 1
    assert lines(file) == ["whole"]


def test_a_broken_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    path.write_bytes(b"no database at all " * 500)
    file = LocalFile(path)
    file.declare(TABLE)
    assert add(file, "lost") is None
    assert add(file, "kept") == 1
    assert lines(file) == ["kept"]
    assert path.with_name("telemetry.db.broken").exists()


def test_an_unwritable_folder_gives_the_default(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    file = LocalFile(tmp_path / "file" / "telemetry.db")
    file.declare(TABLE)
    assert add(file, "nowhere") is None
    assert file.read(lambda db: db.execute("SELECT 1").fetchone(), None) is None
    assert file.dropped == 2


def test_a_forked_child_writes_through_a_connection_of_its_own(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    source = f"""
import os, sys
from pathlib import Path
from rakiza._kernel import LocalFile
file = LocalFile(Path(sys.argv[1]) / "telemetry.db")
file.declare({TABLE!r})
write = lambda text: file.write(lambda db: db.execute("INSERT INTO notes_line VALUES (?)", (text,)))
write("parent")
child = os.fork()
if child == 0:
    write("child")
    os._exit(0)
os.waitpid(child, 0)
write("parent again")
print("done", flush=True)
"""
    child = python_process(source, str(tmp_path))
    child.wait_for("done")
    file = LocalFile(tmp_path / "telemetry.db")
    assert lines(file) == ["parent", "child", "parent again"]


def test_two_users_of_a_broken_file_go_on_in_the_same_new_one(tmp_path: Path) -> None:
    first, second = (LocalFile(tmp_path / "telemetry.db") for _ in range(2))
    for file in (first, second):
        file.declare(TABLE)
        assert add(file, "before") == 1
    with (tmp_path / "telemetry.db").open("r+b") as raw:
        raw.write(b"\xff" * 4096)
    (tmp_path / "telemetry.db-wal").unlink(missing_ok=True)
    first.close()
    second.close()
    for _ in range(2):
        for file in (first, second):
            add(file, "after")
    assert lines(first) == lines(second)
    assert lines(first)[-1] == "after"
