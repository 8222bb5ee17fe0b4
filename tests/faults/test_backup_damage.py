"""Backups that were cut or changed: each is refused before live data are touched."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import servers
from backup_faults import FORMATS, asides, contents, drop_left, fill, manager, run
from rakiza.backup import DatabaseBackup
from rakiza.backup._streams import digest_of
from rakiza.backup.errors import BackupDamagedError

STEP = 4
"""Percent between two places."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path / "live.db", "backup", fill)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("backup", fill)) as made:
        yield made
        left = asides(made)
        drop_left(made)
        assert left == []


@pytest.fixture(params=FORMATS, ids=lambda found: "-".join(["text" if found[0] else "snapshot", "packed" if found[1] else "plain"]))
def copied(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> tuple[DatabaseBackup, str]:
    text, compress = request.param
    backup = manager(url, tmp_path / "نسخ", text=text, compress=compress)
    name = backup.create_backup().filename
    run(url, "update supplier set name = 'حي'", "delete from journal where id > 5")
    return backup, name


def refused(backup: DatabaseBackup, name: str, url: str) -> None:
    before = contents(url)
    with pytest.raises(BackupDamagedError) as caught:
        backup.restore_backup(name)
    assert name in str(caught.value)
    assert contents(url) == before
    assert [one.filename for one in backup.list_backups()] == [name]  # no copy of the live data either: nothing was begun
    assert not list(backup.folder.path.glob(".tmp-*"))


def test_one_that_was_cut_is_refused(copied: tuple[DatabaseBackup, str], url: str) -> None:
    backup, name = copied
    raw = (backup.folder.path / name).read_bytes()
    for length in {*(len(raw) * percent // 100 for percent in range(0, 100, STEP)), len(raw) - 1, len(raw) - 8}:
        (backup.folder.path / name).write_bytes(raw[:length])
        refused(backup, name, url)
        found = backup.verify_backup(name)
        assert (found.ok, f"{length:,} bytes" in found.problem) == (False, True)


def test_one_with_a_turned_bit_is_refused(copied: tuple[DatabaseBackup, str], url: str) -> None:
    backup, name = copied
    raw = (backup.folder.path / name).read_bytes()
    for place in {*(len(raw) * percent // 100 for percent in range(0, 100, STEP)), len(raw) - 1}:
        (backup.folder.path / name).write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        refused(backup, name, url)
        assert "SHA-256" in backup.verify_backup(name).problem


def test_one_that_was_cut_before_it_was_summed_is_refused(copied: tuple[DatabaseBackup, str], url: str) -> None:
    """The manifest fits: only what is inside can tell."""
    backup, name = copied
    raw = (backup.folder.path / name).read_bytes()
    for percent in range(0, 100, STEP * 3):
        put(backup.folder.path / name, raw[: len(raw) * percent // 100])
        assert not backup.verify_backup(name)
        _not_restored(backup, name, url)


def test_text_that_was_cut_between_two_statements_is_refused(url: str, tmp_path: Path) -> None:
    ends, backup = b";\n", manager(url, tmp_path / "نسخ", text=True, compress=False)
    name = backup.create_backup().filename
    run(url, "delete from journal where id > 5")
    raw = (backup.folder.path / name).read_bytes()
    places = [place + len(ends) for place in range(len(raw)) if raw.startswith(ends, place)]
    for place in [*places[:: len(places) // 4 + 1], *(place for place in places[-6:] if b"dump complete" not in raw[:place] and place < len(raw))]:
        put(backup.folder.path / name, raw[:place])
        assert not backup.verify_backup(name), place
        _not_restored(backup, name, url)


def _not_restored(backup: DatabaseBackup, name: str, url: str) -> None:
    before = contents(url)
    with pytest.raises(BackupDamagedError):
        backup.restore_backup(name, safety_backup=False)
    assert contents(url) == before


def put(path: Path, raw: bytes) -> None:
    """Write a backup's file, and size and sum into its manifest."""
    path.write_bytes(raw)
    manifest = path.with_name(f"{path.name}.json")
    fields = msgspec.json.decode(manifest.read_bytes())
    manifest.write_bytes(msgspec.json.encode(fields | {"size": len(raw), "sha256": digest_of(path)}))


@pytest.mark.parametrize("inside", [b"", b"\0" * 5_000, "نص ليس نسخة".encode() * 100, b"SQLite format 3\0" + b"\xff" * 5_000, b"PGDMP" + b"\1" * 500])
def test_what_is_no_backup_is_refused(copied: tuple[DatabaseBackup, str], url: str, inside: bytes) -> None:
    backup, name = copied
    put(backup.folder.path / name, inside)
    assert not backup.verify_backup(name)
    _not_restored(backup, name, url)
