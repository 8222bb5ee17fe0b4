"""What stands in the folder of backups, which others may touch too."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

import servers
from backup_faults import contents, fill
from rakiza.backup import DatabaseBackup
from rakiza.backup.errors import BackupDamagedError, BackupNotFoundError, BackupRefusedError
from rakiza.testing import FrozenClock

Made = Callable[..., DatabaseBackup]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the address of a filled database: the folder is the same for every kind."""
    return servers.sqlite_copy(tmp_path / "مشروع.db", "backup", fill)


def test_the_newest_stay_and_the_pinned(made: Made, clock: FrozenClock) -> None:
    backup = made(max_backups=2)
    first = backup.create_backup().filename
    assert backup.pin(first).pinned
    for _ in range(4):
        clock.advance(60)
        backup.create_backup()
    assert [one.timestamp for one in backup.list_backups()] == [
        clock.now(),
        clock.now() - timedelta(seconds=60),
        clock.now() - timedelta(seconds=240),
    ]
    with pytest.raises(BackupRefusedError, match="pinned"):
        backup.delete_backup(first)
    assert not backup.pin(first, False).pinned
    assert backup.delete_backup(first)
    assert first not in [one.filename for one in backup.list_backups()]


def test_how_long_it_took_is_kept(backup: DatabaseBackup, clock: FrozenClock, folder: Path) -> None:
    backup.told = lambda progress: clock.advance(2.5 if not progress.done_bytes else 0.0)
    copy = backup.create_backup()
    assert copy.seconds in {5.0, 7.5}  # its steps: copy, pack or count
    assert backup.list_backups()[0].seconds == copy.seconds
    path = folder / f"{copy.filename}.json"
    fields = msgspec.json.decode(path.read_bytes())
    del fields["seconds"]  # as one of before
    path.write_bytes(msgspec.json.encode(fields))
    assert backup.list_backups()[0].seconds == 0.0


def test_two_of_the_same_second(backup: DatabaseBackup) -> None:
    names = [backup.create_backup().filename for _ in range(3)]
    assert [name.partition(".")[0] for name in names] == [f"backup_20260101_000000{tail}" for tail in ("", "_2", "_3")]
    assert {one.filename for one in backup.list_backups()} == set(names)


def test_the_last_good_one_stays(backup: DatabaseBackup, clock: FrozenClock, folder: Path) -> None:
    first = backup.create_backup().filename
    with pytest.raises(BackupRefusedError, match="last good"):
        backup.delete_backup(first)
    clock.advance(1)
    second = backup.create_backup().filename
    spoil(folder / second)
    assert not backup.verify_backup(second)
    with pytest.raises(BackupRefusedError, match="last good"):
        backup.delete_backup(first)
    assert backup.get_backup_stats()["newest_good"] == backup.get_backup(first).timestamp
    assert backup.delete_backup(second)


def spoil(path: Path) -> None:
    """Turn one bit round in the middle."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    path.write_bytes(raw)


def test_a_damaged_one_pushes_no_good_one_out(made: Made, clock: FrozenClock, folder: Path) -> None:
    first, second = made(max_backups=5).create_backup().filename, ""
    for _ in range(3):
        clock.advance(1)
        second = made(max_backups=5).create_backup().filename
        spoil(folder / second)
        assert not made().verify_backup(second)
    few = made(max_backups=1)
    with few.folder.working():
        few._rotate()
    assert {one.filename for one in few.list_backups()} == {first, second}


def test_a_drill_is_remembered(backup: DatabaseBackup, clock: FrozenClock, folder: Path) -> None:
    with pytest.raises(BackupNotFoundError):
        backup.drill()
    name = backup.create_backup().filename
    assert backup.get_backup_stats()["drilled_at"] is None
    clock.advance(60)
    assert backup.drill()
    assert (backup.get_backup(name).drilled_at, backup.get_backup_stats()["drilled_at"]) == (clock.now(), clock.now())
    spoil(folder / name)
    found = backup.drill()
    assert not found
    assert "SHA-256" in found.problem
    assert backup.get_backup(name).drilled_at is None


def test_stats(backup: DatabaseBackup, clock: FrozenClock) -> None:
    assert backup.get_backup_stats() | {"backups": []} == {
        "total_backups": 0, "total_size_mb": 0, "oldest_backup": None, "newest_backup": None, "backups": [], "newest_good": None, "drilled_at": None,
    }  # fmt: skip
    old = backup.create_backup()
    clock.advance(3600)
    new = backup.create_backup("manual")
    stats = backup.get_backup_stats()
    assert (stats["total_backups"], stats["oldest_backup"], stats["newest_backup"]) == (2, old.timestamp, new.timestamp)
    assert stats["total_size_mb"] == round((old.size_bytes + new.size_bytes) / 1024 / 1024, 2)
    assert [row["filename"] for row in stats["backups"]] == [new.filename, old.filename]  # type: ignore[attr-defined]


def test_what_others_put_into_the_folder_stays_and_is_not_listed(backup: DatabaseBackup, folder: Path) -> None:
    backup.create_backup()
    for name in ("أرشيف.txt", "backup_20250101_020000.sql.gz", "old_20250101_020000.db", "notes.json", "x_20250101_020000.db.json"):
        (folder / name).write_text("محتوى")
    (folder / "dir_20250101_020000.db").mkdir()
    (folder / ".tmp-half").write_text("interrupted")
    backup.create_backup()
    assert len(backup.list_backups()) == 2
    assert not (folder / ".tmp-half").exists()
    assert {path.name for path in folder.iterdir()} >= {"أرشيف.txt", "backup_20250101_020000.sql.gz", "old_20250101_020000.db", "notes.json"}
    for name in ("backup_20250101_020000.sql.gz", "dir_20250101_020000.db"):
        with pytest.raises(BackupNotFoundError):
            backup.restore_backup(name)


def test_a_link_is_no_backup(backup: DatabaseBackup, folder: Path, tmp_path: Path) -> None:
    copy = backup.create_backup().filename
    link = copy.replace("backup", "link")
    (tmp_path / "secret").write_text("سر")
    (folder / link).symlink_to(tmp_path / "secret")
    shutil.copy(folder / f"{copy}.json", folder / f"{link}.json")
    for call in (backup.verify_backup, backup.restore_backup, backup.path_of):
        with pytest.raises(BackupNotFoundError):
            call(link)
    assert [one.filename for one in backup.list_backups()] == [copy]


def test_the_manifest_of_another_file_is_no_manifest(backup: DatabaseBackup, folder: Path, url: str, clock: FrozenClock) -> None:
    copy = backup.create_backup().filename
    clock.advance(1)
    other = backup.create_backup().filename
    shutil.copy(folder / f"{copy}.json", folder / f"{other}.json")
    before = contents(url)
    for call in (backup.verify_backup, backup.restore_backup):
        with pytest.raises(BackupDamagedError, match="of another backup"):
            call(other)
    assert contents(url) == before
    assert [one.filename for one in backup.list_backups()] == [copy]


@pytest.mark.parametrize("wrong", ["", "{", "[]", "\x00", "{}", '{"format": 1}', "\udcff", "naive", "newer"])
def test_a_manifest_nobody_can_read_hides_its_backup_and_no_other(backup: DatabaseBackup, folder: Path, clock: FrozenClock, wrong: str) -> None:
    good = backup.create_backup().filename
    clock.advance(1)
    bad = backup.create_backup().filename
    path = folder / f"{bad}.json"
    fields = msgspec.json.decode(path.read_bytes())
    if wrong == "naive":
        wrong = msgspec.json.encode(fields | {"created_at": "2026-01-01T00:00:00"}).decode()
    elif wrong == "newer":
        wrong = msgspec.json.encode(fields | {"format": 2}).decode()
    path.write_bytes(wrong.encode("utf-8", "surrogateescape"))
    assert [one.filename for one in backup.list_backups()] == [good]
    with pytest.raises(BackupDamagedError):
        backup.restore_backup(bad)
    clock.advance(1)
    backup.create_backup()
    assert backup.delete_backup(bad)
    assert not path.exists()


def test_only_the_plain_prefix_is_a_copy_made_before_a_restore(backup: DatabaseBackup) -> None:
    assert [backup.create_backup(prefix).safety for prefix in ("before_restore", "before_restore_of_mine", "nightly")] == [True, False, False]
