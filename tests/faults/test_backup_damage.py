"""Backups that were cut or changed: each is refused before live data are touched."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import servers
from backup_faults import PAIRS, asides, contents, drop_left, fill, manager, run
from rakiza.backup import DatabaseBackup
from rakiza.backup._streams import digest_of
from rakiza.backup.errors import BackupDamagedError

STEP = 10
"""Percent between two places."""
INSIDES = (b"", b"\0" * 5_000, "نص ليس نسخة".encode() * 100, b"SQLite format 3\0" + b"\xff" * 5_000, b"PGDMP" + b"\1" * 500)
"""What is no backup."""
Copied = tuple[DatabaseBackup, str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of one database for all tests: none of them may change it."""
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path_factory.mktemp("damage") / "live.db", "backup", fill)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("backup", fill)) as made:
        yield made
        left = asides(made)
        drop_left(made)
        assert left == []


@pytest.fixture(scope="module", params=[0, 1], ids=lambda number: f"format {number}")
def whole(request: pytest.FixtureRequest, url: str, tmp_path_factory: pytest.TempPathFactory) -> Copied:
    """Return a backup of another state than the live one."""
    text, compress = PAIRS[url.partition("+")[0].partition(":")[0]][request.param]
    backup = manager(url, tmp_path_factory.mktemp("damage") / "نسخ", text=text, compress=compress)
    run(url, "update supplier set name = 'قديم' where id = 1")
    name = backup.create_backup().filename
    run(url, "update supplier set name = 'حي' where id = 1")
    return backup, name


@pytest.fixture
def copied(whole: Copied, url: str) -> Iterator[Copied]:
    """Yield the backup, to be damaged; the live data are the same afterwards."""
    backup, name = whole
    before, paths = contents(url), [backup.folder.path / name, backup.folder.path / f"{name}.json"]
    kept = [path.read_bytes() for path in paths]
    yield whole
    for path, raw in zip(paths, kept, strict=True):
        path.write_bytes(raw)
    assert contents(url) == before


def refused(backup: DatabaseBackup, name: str, place: object) -> None:
    with pytest.raises(BackupDamagedError) as caught:
        backup.restore_backup(name)
    assert name in str(caught.value), place
    assert [one.filename for one in backup.list_backups()] == [name], place  # no copy of the live data either: nothing was begun
    assert not list(backup.folder.path.glob(".tmp-*")), place


def test_one_that_was_cut_is_refused(copied: Copied) -> None:
    backup, name = copied
    raw = (backup.folder.path / name).read_bytes()
    for length in {*(len(raw) * percent // 100 for percent in range(0, 100, STEP)), len(raw) - 1, len(raw) - 8}:
        (backup.folder.path / name).write_bytes(raw[:length])
        refused(backup, name, length)
        found = backup.verify_backup(name)
        assert (found.ok, f"{length:,} bytes" in found.problem) == (False, True)


def test_one_with_a_turned_bit_is_refused(copied: Copied) -> None:
    backup, name = copied
    raw = (backup.folder.path / name).read_bytes()
    for place in {*(len(raw) * percent // 100 for percent in range(0, 100, STEP)), len(raw) - 1}:
        (backup.folder.path / name).write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        refused(backup, name, place)
        assert "SHA-256" in backup.verify_backup(name).problem, place


def test_one_that_is_no_backup_and_fits_its_manifest_is_refused(copied: Copied) -> None:
    """The manifest fits: only what is inside can tell."""
    backup, name = copied
    raw = (backup.folder.path / name).read_bytes()
    for inside in (*(raw[: len(raw) * percent // 100] for percent in range(STEP * 4, 100, STEP * 4)), *INSIDES):
        put(backup.folder.path / name, inside)
        assert not backup.verify_backup(name), inside[:100]
        _not_restored(backup, name, inside[:100])


def test_text_that_was_cut_between_two_statements_is_refused(url: str, tmp_path: Path) -> None:
    ends, before, backup = b";\n", contents(url), manager(url, tmp_path / "نسخ", text=True, compress=False)
    name = backup.create_backup().filename
    raw = (backup.folder.path / name).read_bytes()
    places = [place + len(ends) for place in range(len(raw)) if raw.startswith(ends, place)]
    for place in [*places[:: len(places) // 2 + 1], *(place for place in places[-4:] if b"dump complete" not in raw[:place] and place < len(raw))]:
        put(backup.folder.path / name, raw[:place])
        assert not backup.verify_backup(name), place
        _not_restored(backup, name, place)
    assert contents(url) == before


def _not_restored(backup: DatabaseBackup, name: str, place: object) -> None:
    try:
        backup.restore_backup(name, safety_backup=False)
    except BackupDamagedError:
        return
    pytest.fail(f"{place!r} was restored")


def put(path: Path, raw: bytes) -> None:
    """Write a backup's file, and size and sum into its manifest."""
    path.write_bytes(raw)
    manifest = path.with_name(f"{path.name}.json")
    fields = msgspec.json.decode(manifest.read_bytes())
    manifest.write_bytes(msgspec.json.encode(fields | {"size": len(raw), "sha256": digest_of(path)}))
