"""Encrypted backups with files, killed at any moment and on a disk that gets full: nothing half made is listed or stays."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import servers
from backup_faults import contents, fill, listed_whole, manager
from rakiza._kernel import SYSTEM_CLOCK
from rakiza.backup import DatabaseBackup
from rakiza.backup._crypt import make_key

Process = Callable[..., servers.Child]
ROUNDS = 4
MEGABYTE = 1024 * 1024
BEGIN = """
import resource, sys
from pathlib import Path
from rakiza.backup import DatabaseBackup
from rakiza.backup.errors import BackupError
url, folder, recipient, key, include = sys.argv[1:6]
backup = DatabaseBackup(url, folder, recipients=[recipient], identity_file=key, include=[include], max_backups=3)
"""
WORK = BEGIN + 'print("begin")\nbackup.create_backup()\nprint("done")\n'
LIMITED = BEGIN + """
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for most in map(int, sys.argv[6:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        backup.create_backup()
        print("made")
    except BackupError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        print("refused", str(error).replace(chr(10), " "))
"""
MEMORY = BEGIN + """
from rakiza.backup._streams import zstd
import rakiza.store, tarfile, pyrage
zstd()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
backup._backend.size()
before = peak()
name = backup.create_backup().filename
assert backup.verify_backup(name).deep
backup.extract_files(name, Path(folder) / "out")
print("grew by", peak() - before)
"""


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "مرفقات"
    folder.mkdir()
    for number in range(100):
        (folder / f"صورة {number}.jpg").write_bytes(random.Random(number).randbytes(5_000))  # noqa: S311 - the same in every run
    return folder


@pytest.fixture
def given(sqlite_url: str, tmp_path: Path, uploads: Path) -> list[str]:
    fill(sqlite_url, 1_000)
    return [sqlite_url, str(tmp_path / "نسخ"), make_key(tmp_path / "key"), str(tmp_path / "key"), str(uploads)]


@pytest.fixture
def backup(given: list[str]) -> DatabaseBackup:
    return manager(given[0], Path(given[1]), recipients=[given[2]], identity_file=given[3], include=[given[4]], max_backups=3)


def whole(backup: DatabaseBackup) -> None:
    """Check that the folder holds what is listed and nothing else."""
    found = backup.list_backups()
    names = {name for one in found for name in (one.filename, f"{one.filename}.json", *(part.name for part in one.parts))}
    assert {path.name for path in backup.folder.path.iterdir()} - {".lock", ".changes"} == names
    assert all(len(one.parts) == 1 for one in found)
    listed_whole(backup)


def test_one_killed_at_any_moment_is_whole_or_gone(given: list[str], backup: DatabaseBackup, python_process: Process) -> None:
    child = python_process(WORK, *given)
    child.wait_for("begin")
    began = SYSTEM_CLOCK.monotonic()
    child.wait_for("done")
    seconds, ended = (SYSTEM_CLOCK.monotonic() - began) * 1.2, 0
    for _ in range(ROUNDS):
        child = python_process(WORK, *given)
        child.wait_for("begin")
        threading.Event().wait(random.uniform(0, seconds))  # noqa: S311 - a moment, not a secret
        ended += child.kill9()[-1] == "done"
        with backup.folder.working():
            pass  # what the next one who works here does first
        whole(backup)
    print(f"{ended} of {ROUNDS} ended before the kill")
    backup.create_backup()
    whole(backup)
    assert backup.drill()


def test_a_disk_that_gets_full_leaves_nothing(given: list[str], backup: DatabaseBackup, python_process: Process) -> None:
    first = backup.create_backup()
    before, large = contents(given[0]), first.parts[0].size
    sizes = (0, 100, 70_000, first.size_bytes - 5_000, large // 2, large - 5_000)  # the header of age has a random length
    lines = python_process(LIMITED, *given, *map(str, sizes)).finish(60)
    assert [line.partition(" ")[0] for line in lines] == ["refused"] * len(sizes), lines
    assert [one.filename for one in backup.list_backups()] == [first.filename]
    whole(backup)
    assert contents(given[0]) == before


def test_memory_does_not_grow_with_the_files(given: list[str], uploads: Path, python_process: Process) -> None:
    (uploads / "large").write_bytes(random.Random(1).randbytes(MEGABYTE) * 36)  # noqa: S311 - the same in every run
    (uploads / "many").mkdir()
    for number in range(2_000):
        (uploads / "many" / str(number)).touch()
    said = python_process(MEMORY, *given, env=servers.NEW_INTERPRETER).wait_for("grew by", 120)
    assert int(said.rpartition(" ")[2]) * 1024 < 24 * MEGABYTE, said
