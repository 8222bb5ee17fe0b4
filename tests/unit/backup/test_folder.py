"""The folder: what is seen in it after each step of a commit and of a deletion, and who may work in it."""

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import msgspec
import pytest

import servers
from rakiza.backup._core import Attached, Copy, Manifest, archive_of, with_copy
from rakiza.backup._folder import Folder
from rakiza.backup.errors import BackupDamagedError, BackupError, BackupNotFoundError, BackupRunningError, NoRoomError

NAME = "backup_20260101_000000.db"
HOLD = """
import sys, time
from pathlib import Path
from rakiza.backup._folder import Folder
with Folder(Path(sys.argv[1])).working():
    print("held")
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "نسخ")


def manifest(name: str = NAME) -> Manifest:
    return Manifest(
        file=name,
        engine="sqlite",
        kind="db",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        size=4,
        sha256="",
        raw_size=4,
        rows={"فاتورة": 1},
        schema={},
        parts=(Attached(name=archive_of(name, ""), size=5, sha256="", raw_size=5, files=1),),
    )


def commit(folder: Folder, name: str = NAME) -> None:
    with folder.working():
        folder.part(name).write_text("data")
        folder.part(archive_of(name, "")).write_text("files")
        folder.commit(folder.part(name), manifest(name))


class StoppedError(Exception):
    """Stand for a kill between two steps."""


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("work", ["commit", "delete", "change"])
def test_killed_after_any_step_a_backup_is_there_wholly_or_not_at_all(folder: Folder, monkeypatch: pytest.MonkeyPatch, work: str, step: int) -> None:
    if work != "commit":
        commit(folder)
    left = [step]

    def counted(name: str) -> None:
        real = getattr(Path, name)

        def call(path: Path, *given: object, **named: object) -> object:
            if left[0] == 0:
                raise StoppedError
            left[0] -= 1
            return real(path, *given, **named)

        monkeypatch.setattr(Path, name, call)

    with folder.working():
        folder.part(NAME).write_text("data")
        folder.part(archive_of(NAME, "")).write_text("files")
        for name in ("rename", "replace", "unlink"):
            counted(name)
        with contextlib.suppress(StoppedError):
            {
                "commit": lambda: folder.commit(folder.part(NAME), manifest()),
                "delete": lambda: folder.delete(NAME),
                "change": lambda: folder.change(NAME, lambda one: one),
            }[work]()
        monkeypatch.undo()
    seen = [one.file for one in folder.manifests()]
    assert seen == ([NAME] if (folder.path / f"{NAME}.json").exists() else [])
    with folder.working():
        pass
    assert [one.file for one in folder.manifests()] == seen
    whole = [NAME, f"{NAME}.json", archive_of(NAME, "")]
    assert sorted(path.name for path in folder.path.iterdir()) == sorted([".changes", ".lock", *(whole if seen else [])])


def test_one_at_a_time_over_threads_and_processes(folder: Folder, python_process: "type[servers.Child]") -> None:
    with folder.working(), pytest.raises(BackupRunningError, match="at work"), folder.working():
        pass
    child = python_process(HOLD, str(folder.path))
    child.wait_for("held")
    with pytest.raises(BackupRunningError), folder.working():
        pass
    child.kill9()
    with folder.working():
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "نسخ"):
        with pytest.raises(BackupError, match="cannot be made") as caught, Folder(path).working():
            pass
        assert "BACKUP_DIR" in str(caught.value.hint)
        assert Folder(path).manifests() == []


def test_a_lock_that_cannot_be_opened_is_an_error_of_the_folder(folder: Folder) -> None:
    (folder.path / ".lock").mkdir(parents=True)
    with pytest.raises(BackupError, match="cannot be written"), folder.working():
        pass


def test_room_is_asked_for_beforehand(folder: Folder) -> None:
    folder.check_room(0)
    with pytest.raises(NoRoomError, match="MB too few"):
        folder.check_room(2**60)


def test_a_file_without_a_manifest_is_no_backup(folder: Folder) -> None:
    commit(folder)
    os.unlink(folder.path / f"{NAME}.json")
    with pytest.raises(BackupNotFoundError, match="no manifest"):
        folder.manifest(NAME)
    assert folder.manifests() == []


def test_a_manifest_without_its_file_is_no_backup(folder: Folder) -> None:
    commit(folder)
    (folder.path / NAME).unlink()
    assert folder.manifests() == []


@pytest.mark.parametrize("locked", ["", ".age"])
def test_what_goes_with_a_backup_is_no_backup(folder: Folder, locked: str) -> None:
    commit(folder, NAME)
    with pytest.raises(ValueError, match="is no name of a backup"):
        folder.manifest(archive_of(NAME, locked))
    (folder.path / f"{archive_of(NAME, locked)}.json").write_bytes((folder.path / f"{NAME}.json").read_bytes())
    assert [one.file for one in folder.manifests()] == [NAME]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "backup_20260101_000001.files.tar.zst", "", ".lock"])
def test_a_manifest_that_names_files_of_others_is_refused(folder: Folder, name: str) -> None:
    commit(folder)
    path = folder.path / f"{NAME}.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest(), parts=(msgspec.structs.replace(manifest().parts[0], name=name),))))
    with pytest.raises(BackupDamagedError, match="of another backup"):
        folder.manifest(NAME)


def test_what_two_change_in_a_manifest_is_both_there_also_beside_one_at_work(folder: Folder) -> None:
    commit(folder)

    def add(one: Manifest, url: str) -> Manifest:
        return msgspec.structs.replace(one, copies=with_copy(one.copies, Copy(url, "ok")))

    other = Thread(target=lambda: folder.change(NAME, lambda one: add(one, "s3://b")))

    def first(one: Manifest) -> Manifest:
        other.start()
        other.join(0.3)  # it waits for us; were it let in, its change would be lost
        return add(one, "s3://a")

    with folder.working():
        folder.change(NAME, first)
        other.join()
    assert [one.url for one in folder.manifest(NAME).copies] == ["s3://a", "s3://b"]
