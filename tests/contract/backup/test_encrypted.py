"""Encrypted backups and the files that go with them, on both databases: who has no key touches nothing."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from backup_faults import change, contents, file_of
from rakiza.backup import DatabaseBackup
from rakiza.backup._attached import Entry
from rakiza.backup._crypt import make_key
from rakiza.backup._drills import FILE
from rakiza.backup.errors import BackupDamagedError, BackupNotFoundError, BackupRefusedError
from rakiza.testing import FrozenClock

Made = Callable[..., DatabaseBackup]
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""What age and the archive of files do is the same beside every database."""


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "key.txt"


@pytest.fixture
def recipient(key: Path) -> str:
    return make_key(key)


@pytest.fixture(params=[False, True], ids=["open", "locked"])
def locked(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "مرفقات"
    (folder / "عقود").mkdir(parents=True)
    (folder / "عقود" / "عقد.pdf").write_bytes(b"%PDF" * 5_000)
    return folder


def refuses(backup: DatabaseBackup, name: str, url: str, match: str) -> None:
    def there() -> list[str]:
        return sorted(path.name for path in backup.folder.path.iterdir() if path.name != FILE)  # a drill is reported however it went

    before, seen = contents(url), there()
    for work in (lambda: backup.restore_backup(name), backup.drill):
        with pytest.raises(BackupRefusedError, match=match) as caught:
            work()
        assert "RAKIZA_BACKUP_IDENTITY_FILE" in str(caught.value.hint)
    assert contents(url) == before
    assert there() == seen
    assert backup.get_backup(name).drilled_at is None


def test_all_comes_back_for_who_has_the_key(made: Made, url: str, recipient: str, key: Path, form: tuple[bool, bool]) -> None:
    before, (text, compress) = contents(url), form
    copy = made(recipients=[recipient], text=text, compress=compress).create_backup()
    assert (copy.encrypted, copy.filename.endswith(f".{copy.kind}.age"), copy.compressed) == (True, True, compress)
    backup = made(recipients=[recipient], identity_file=key)
    assert backup.folder.manifest(copy.filename).encrypted == (recipient,)
    found = backup.verify_backup(copy.filename)
    assert (bool(found), found.deep, found.note, found.rows) == (True, True, "", copy.rows)
    assert backup.drill()
    change(url)
    done = backup.restore_backup(copy.filename)
    assert contents(url) == before
    assert backup.get_backup(done.safety_backup).encrypted
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("backup-")]


def test_without_the_key_it_is_summed_and_no_more(made: Made, url: str, recipient: str, tmp_path: Path) -> None:
    backup = made(recipients=[recipient])
    name = backup.create_backup().filename
    change(url)
    found = backup.verify_backup(name)
    assert (found.ok, found.deep, "its key is not here" in found.note) == (True, False, True)
    refuses(backup, name, url, "its key is not here; nothing was touched")
    make_key(tmp_path / "other")
    other = made(recipients=[recipient], identity_file=tmp_path / "other")
    assert "its key is not here" in other.verify_backup(name).note
    refuses(other, name, url, "and the key in .* is that of age1")


@SQLITE
def test_a_manifest_that_names_another_key_helps_nobody(made: Made, url: str, recipient: str, tmp_path: Path) -> None:
    name = made(recipients=[recipient]).create_backup().filename
    other = made(identity_file=tmp_path / "other")
    for told in ((make_key(tmp_path / "other"),), ()):
        other.folder.change(name, lambda manifest, told=told: msgspec.structs.replace(manifest, encrypted=told))  # type: ignore[misc]
        before = contents(url)
        with pytest.raises(BackupRefusedError, match="another key"):
            other.restore_backup(name, safety_backup=False)
        assert contents(url) == before


@SQLITE
def test_one_that_was_cut_before_it_was_summed_is_refused(made: Made, url: str, recipient: str, key: Path) -> None:
    """The manifest fits: only age can tell."""
    backup = made(recipients=[recipient], identity_file=key, compress=False)
    name = backup.create_backup().filename
    path, before = backup.folder.path / name, contents(url)
    raw = path.read_bytes()
    for length in (0, 40, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:length])
        fields = msgspec.json.decode((path.parent / f"{name}.json").read_bytes())
        sums = {"size": length, "sha256": hashlib.sha256(raw[:length]).hexdigest()}
        (path.parent / f"{name}.json").write_bytes(msgspec.json.encode(fields | sums))
        found = backup.verify_backup(name)
        assert (found.ok, "decrypted" in found.problem) == (False, True)
        with pytest.raises(BackupDamagedError):
            backup.restore_backup(name, safety_backup=False)
        assert contents(url) == before


@SQLITE
def test_files_go_along_and_come_out(made: Made, recipient: str, uploads: Path, tmp_path: Path, locked: bool) -> None:
    backup = made(recipients=[recipient] if locked else [], identity_file=tmp_path / "key.txt", include=[uploads])
    backup.attachments = lambda encrypted: [Entry("configuration/secret", b"locked" if encrypted else b"open")]
    copy = backup.create_backup()
    (part,) = copy.parts
    assert (part.name, part.files, part.passed_over) == (f"{copy.filename.partition('.')[0]}.files.tar.zst{'.age' if locked else ''}", 2, 0)
    assert [one.filename for one in backup.list_backups()] == [copy.filename]
    assert backup.verify_backup(copy.filename).deep
    (uploads / "عقود" / "عقد.pdf").write_text("جديد")
    assert backup.restore_backup(copy.filename)
    assert (uploads / "عقود" / "عقد.pdf").read_text() == "جديد"
    done = backup.extract_files(copy.filename, tmp_path / "out")
    assert (done.files, (tmp_path / "out" / "configuration" / "secret").read_bytes()) == (2, b"locked" if locked else b"open")
    assert (tmp_path / "out" / "files" / str(uploads).lstrip("/") / "عقود" / "عقد.pdf").read_bytes() == b"%PDF" * 5_000
    with pytest.raises(BackupRefusedError, match="holds files already"):
        backup.extract_files(copy.filename, tmp_path / "out")
    if locked:
        with pytest.raises(BackupRefusedError, match="its key is not here"):
            made().extract_files(copy.filename, tmp_path / "none")
        assert not (tmp_path / "none").exists()


@SQLITE
def test_the_files_are_looked_at_deleted_and_let_go_with_their_backup(made: Made, url: str, uploads: Path, clock: FrozenClock) -> None:
    backup = made(include=[uploads], max_backups=2)
    first = backup.create_backup()
    archive = backup.folder.path / first.parts[0].name
    raw = archive.read_bytes()
    for changed in (raw[:-1], raw[:50] + bytes([raw[50] ^ 1]) + raw[51:]):
        archive.write_bytes(changed)
        for deep in (True, False):
            found = backup.verify_backup(first.filename, deep=deep)
            assert (found.ok, archive.name in found.problem) == (False, True)
        with pytest.raises(BackupDamagedError):
            backup.extract_files(first.filename, backup.folder.path / "out")
    assert backup.restore_backup(first.filename, safety_backup=False)  # the database is whole
    archive.write_bytes(raw)
    assert backup.verify_backup(first.filename)
    names = [first.filename]
    for _ in range(2):
        clock.advance(5)
        names.append(backup.create_backup().filename)
    assert [one.filename for one in backup.list_backups()] == [names[2], names[1]]
    assert not archive.exists()
    backup.delete_backup(names[1])
    left = backup.get_backup(names[2])
    assert {path.name for path in backup.folder.path.glob("[!.]*")} == {names[2], f"{names[2]}.json", left.parts[0].name}


@SQLITE
def test_backups_the_database_and_the_key_do_not_go_along(made: Made, url: str, tmp_path: Path, recipient: str, key: Path) -> None:
    (tmp_path / "note").write_text("ملاحظة")
    backup = made(include=[tmp_path], recipients=[recipient], identity_file=key)
    for _ in range(2):
        copy = backup.create_backup()
    assert copy.parts[0].files == 1
    assert file_of(url).parent == tmp_path


@SQLITE
def test_a_backup_without_files_says_so(made: Made, tmp_path: Path) -> None:
    backup = made()
    copy = backup.create_backup()
    assert copy.parts == ()
    with pytest.raises(BackupNotFoundError, match="no files go with"):
        backup.extract_files(copy.filename, tmp_path / "out")
