"""A disk that is full at any byte, a folder nobody may write, memory that stays small, and a writer that never stops."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import servers
from backup_faults import PAIRS, change, contents, file_of, fill, listed_whole, manager, quick_check, run
from conftest import without
from rakiza.backup.errors import BackupError, NoRoomError
from rakiza.store import Store

Process = Callable[..., servers.Child]
PLACES = 3
MEGABYTE = 1024 * 1024
BOUND = {True: 44 * MEGABYTE, False: 24 * MEGABYTE}
"""Text brought back into SQLite, where the caches of four connections fill, and everything else."""
LIMITED = """
import resource, sys
from rakiza.backup import DatabaseBackup
from rakiza.backup.errors import BackupError
url, folder, name, text, compress, places, most = sys.argv[1:]
backup = DatabaseBackup(url, folder, text=text == "True", compress=compress == "True", max_backups=3)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for number in range(int(places)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most) * number // int(places), hard))
    try:
        if name:
            backup.restore_backup(name, safety_backup=False)
        else:
            backup.create_backup()
        said = "made"
    except BackupError as error:
        said = f"refused {error}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(number, said.replace(chr(10), " "))
"""
MEMORY = """
import resource, sys
import rakiza.store
from rakiza.backup import DatabaseBackup
from rakiza.backup._streams import zstd
zstd()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
backup = DatabaseBackup(sys.argv[1], sys.argv[2], text=sys.argv[3] == "True", compress=sys.argv[4] == "True")
backup._backend.size()
before = peak()
copy = backup.create_backup().filename
assert backup.verify_backup(copy)
backup.restore_backup(copy, safety_backup=False)
print("grew by", peak() - before)
"""
WRITER = """
import sys, time
import sqlalchemy as sa
from rakiza.store import Store
store = Store(sys.argv[1], busy_timeout_seconds=60.0)
number = 0
while True:
    with store.begin() as tx:
        tx.execute(sa.text("update scale set weight = weight + case side when 1 then 7 else -7 end"))
        tx.execute(sa.text("update item set t = upper(t) where id = :n"), {"n": number % 3000})
    number += 1
    if number % 100 == 1:
        print("wrote", number)
    time.sleep(0.001)  # a writer that takes a whole processor proves no more
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path / "live.db", "backup", fill)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("backup", fill)) as made:
        yield made


def limited(python_process: Process, url: str, folder: Path, form: tuple[bool, bool], most: int) -> list[str]:
    """Do the same piece of work with more and more bytes allowed in a file, and return how each ended."""
    child = python_process(LIMITED, url, str(folder), "", *map(str, form), str(PLACES), str(most))
    lines = child.finish(120)
    assert len(lines) == PLACES, lines
    return [line.partition(" ")[2] for line in lines]


@pytest.fixture(params=[0, 1], ids=lambda number: f"format {number}")
def form(request: pytest.FixtureRequest, url: str) -> tuple[bool, bool]:
    return PAIRS["sqlite" if url.startswith("sqlite") else "postgresql"][request.param]


def test_a_backup_on_a_disk_that_gets_full_is_refused_and_the_others_stay(
    url: str, tmp_path: Path, python_process: Process, form: tuple[bool, bool]
) -> None:
    folder = tmp_path / "نسخ"
    backup = manager(url, folder, text=form[0], compress=form[1])
    first = backup.create_backup()
    before = contents(url)
    ends = limited(python_process, url, folder, form, first.size_bytes)
    assert not [end for end in ends if end == "made"]
    assert [one.filename for one in backup.list_backups()] == [first.filename]
    assert sorted(path.name for path in folder.iterdir()) == [".changes", ".lock", first.filename, f"{first.filename}.json"]
    assert contents(url) == before
    assert listed_whole(backup) == 1


@pytest.mark.parametrize("form", PAIRS["sqlite"])
def test_a_restore_on_a_disk_that_gets_full_is_whole_or_not_at_all(
    sqlite_url: str, tmp_path: Path, python_process: Process, form: tuple[bool, bool]
) -> None:
    fill(sqlite_url, 3_000)
    old, folder = contents(sqlite_url), tmp_path / "نسخ"
    backup = manager(sqlite_url, folder, text=form[0], compress=form[1])
    name = backup.create_backup().filename
    size = file_of(sqlite_url).stat().st_size
    for tenths in (2, 8, 16):
        change(sqlite_url)
        new = contents(sqlite_url)
        code = LIMITED.replace("range(int(places))", f"[{tenths}]")
        (end,) = python_process(code, sqlite_url, str(folder), name, *map(str, form), "10", str(size)).finish(120)
        assert contents(sqlite_url) == (old if end.endswith("made") else new), end
        assert "damaged" not in end
        assert quick_check(file_of(sqlite_url)) == "ok"
    assert backup.verify_backup(name)
    backup.restore_backup(name)
    assert contents(sqlite_url) == old


def test_a_check_on_a_full_disk_does_not_call_the_backup_damaged(sqlite_url: str, tmp_path: Path, python_process: Process) -> None:
    fill(sqlite_url, 3_000)
    for text in (False, True):
        backup = manager(sqlite_url, tmp_path / f"نسخ{text}", text=text)
        name = backup.create_backup().filename
        code = LIMITED.replace("backup.restore_backup(name, safety_backup=False)", "print(backup.verify_backup(name).problem)").replace(
            "range(int(places))", "[1]"
        )
        end = python_process(code, sqlite_url, str(tmp_path / f"نسخ{text}"), name, str(text), "True", "2", "300000").finish(60)
        assert len(end) == 1, end
        assert end[0].startswith("1 refused"), end
        assert backup.get_backup(name).verified_at is not None


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Yield a disk of 1 MB."""
    path = tmp_path / "قرص"
    path.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", path], check=False).returncode:
        without("this machine does not let a test mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def test_too_little_room_is_said_before_anything_is_begun(url: str, small: Path) -> None:
    with pytest.raises(NoRoomError, match="MB too few"):
        manager(url, small / "نسخ").create_backup()
    assert sorted(path.name for path in (small / "نسخ").iterdir()) == [".changes", ".lock"]


def test_a_disk_that_is_full_while_a_backup_is_written(url: str, small: Path, form: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    backup = manager(url, small, text=form[0], compress=form[1])
    monkeypatch.setattr(backup.folder, "check_room", lambda wanted: None)  # others write too, after the look
    run(url, "create table ballast (b text)")
    with contextlib.closing(Store(url)) as store, store.begin() as tx:
        tx.execute(sa.text("insert into ballast values (:b)"), [{"b": os.urandom(5_000).hex()} for _ in range(300)])
    for ballast in (0, 600_000, 1_000_000):
        (small / "ballast").write_bytes(bytes(ballast))
        with pytest.raises(BackupError, match=r"full|space"):
            backup.create_backup()
        assert sorted(path.name for path in small.iterdir()) == [".changes", ".lock", "ballast"]
        assert backup.list_backups() == []


def test_a_folder_nobody_may_write(url: str, small: Path) -> None:
    backup = manager(url, small / "نسخ")
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(BackupError, match="cannot be made") as caught:
        backup.create_backup()
    assert "BACKUP_DIR" in str(caught.value.hint)
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    (small / "نسخ").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(BackupError, match="cannot be written"):
        backup.create_backup()
    assert backup.list_backups() == []


@pytest.mark.parametrize("text", [False, True])
def test_memory_does_not_grow_with_the_database(url: str, tmp_path: Path, python_process: Process, text: bool) -> None:
    blob = "blob" if url.startswith("sqlite") else "bytea"
    random = "randomblob(100000)" if url.startswith("sqlite") else "decode(repeat(md5(g::text), 6250), 'hex')"
    numbers = "with recursive n(g) as (select 1 union all select g + 1 from n where g < {0}) {1}" if url.startswith("sqlite") else "{1}"
    source = "n" if url.startswith("sqlite") else "generate_series(1, {0}) g"
    sqlite_text = text and source == "n"
    count = BOUND[sqlite_text] // (200_000 if text else 100_000) * 5 // 4  # of 100 kB, which are 200 kB of text: more than may be in memory
    run(url, f"create table picture (b {blob})", *([] if url.startswith("sqlite") else ["alter table picture alter b set storage external"]))
    run(url, numbers.format(count, f"insert into picture select {random} from {source.format(count)}"))
    child = python_process(MEMORY, url, str(tmp_path / "نسخ"), str(text), str(not sqlite_text), env=servers.NEW_INTERPRETER)
    said = child.wait_for("grew by", 300)
    child.finish(60)
    assert int(said.rpartition(" ")[2]) * 1024 < BOUND[sqlite_text], said


def test_a_writer_that_never_stops_does_not_keep_a_backup_from_its_end(url: str, tmp_path: Path, python_process: Process) -> None:
    run(
        url,
        "create table scale (side integer primary key, weight bigint)",
        "insert into scale values (1, 5), (2, -5)",
        "create table item (id integer primary key, t text)",
    )
    with contextlib.closing(Store(url)) as store, store.begin() as tx:
        tx.execute(sa.text("insert into item values (:n, :t)"), [{"n": n, "t": os.urandom(1_000).hex()} for n in range(3_000)])
    child = python_process(WRITER, url)
    child.wait_for("wrote")
    backup = manager(url, tmp_path / "نسخ")
    copy = backup.create_backup().filename
    child.wait_for("wrote")
    child.kill9()
    assert backup.verify_backup(copy)
    backup.restore_backup(copy, safety_backup=False)
    with contextlib.closing(Store(url)) as store, store.read() as tx:
        assert tx.scalar(sa.text("select sum(weight) from scale")) == 0
        assert tx.scalar(sa.text("select count(*) from item")) == 3_000
