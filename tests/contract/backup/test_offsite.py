"""Backups in other places: one suite for S3, Azure Blob and a folder, as real processes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import servers
from backup_faults import change, contents, fill, run
from object_stores import Buckets
from rakiza.backup import BackupDamagedError, BackupNotFoundError, BackupRefusedError, DatabaseBackup, RetentionPolicy
from rakiza.backup._place import OffsiteStore
from rakiza.store import StorageError
from rakiza.store.objects import ObjectStorage
from rakiza.testing import FrozenClock

Made = Callable[..., DatabaseBackup]
OLD = "backup_20260101_000000.db"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the address of a filled database: what is taken elsewhere is a file, of whichever kind of database."""
    return servers.sqlite_copy(tmp_path / "مشروع.db", "backup", fill)


@pytest.fixture
def storage(place_url: str) -> ObjectStorage:
    return ObjectStorage(place_url)


def read(storage: ObjectStorage, key: str) -> bytes:
    return b"".join(storage.blocks(key, storage.size(key) or 0))


def write(storage: ObjectStorage, key: str, data: bytes) -> None:
    storage.upload(key, [data], len(data))


def flip(storage: ObjectStorage, key: str) -> None:
    raw = bytearray(read(storage, key))
    raw[len(raw) // 2] ^= 1
    write(storage, key, bytes(raw))


def keys(storage: ObjectStorage) -> list[str]:
    return sorted(one.key for one in storage.list())


def test_a_backup_is_taken_there_and_an_empty_machine_gets_its_data_back(
    made: Made, url: str, place_url: str, storage: ObjectStorage, tmp_path: Path
) -> None:
    backup = made(offsite=[place_url])
    copy = backup.create_backup()
    [there] = copy.copies
    assert (there.url, there.state, there.error, "?" in there.url) == (storage.shown, "ok", "", False)
    assert keys(storage) == [copy.filename, f"{copy.filename}.json"]
    before = contents(url)

    empty = f"sqlite:///{tmp_path / 'آلة جديدة' / 'مشروع.db'}"
    fresh = DatabaseBackup(empty, tmp_path / "آلة جديدة" / "نسخ")
    fetched = fresh.fetch_backup("newest", place_url)
    assert (fetched.filename, fetched.rows, fetched.copies[0].state) == (copy.filename, copy.rows, "ok")
    assert fresh.verify_backup(fetched.filename)
    fresh.restore_backup(fetched.filename)
    assert contents(empty) == before


def test_what_is_there_whole_is_not_sent_again_and_what_is_damaged_is_mended(made: Made, place_url: str, storage: ObjectStorage) -> None:
    backup, steps = made(offsite=[place_url]), set[str]()
    name = backup.create_backup().filename
    backup.told = lambda progress: steps.add(progress.step)
    assert backup.offsite.copy(name, storage.shown).state == "ok"
    assert steps == {"compare"}
    flip(storage, name)
    assert backup.offsite.copy(name, storage.shown).state == "ok"
    assert (steps, read(storage, name)) == ({"compare", "send"}, (backup.folder.path / name).read_bytes())


class Flipping(ObjectStorage):
    """Give back other bytes than were sent."""

    def upload(self, key: str, blocks: Iterator[bytes], size: int) -> None:  # type: ignore[override]
        super().upload(key, blocks, size)
        raw = bytearray(b"".join(self.blocks(key, size)))
        raw[0] ^= 1
        super().upload(key, [bytes(raw)], size)


def test_a_bit_that_is_other_there_is_seen_and_the_backup_is_not_listed(
    made: Made, place_url: str, storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rakiza.backup._place.ObjectStorage", Flipping)
    backup = made(offsite=[place_url])
    copy = backup.create_backup()
    assert [(one.state, "other bytes than it was given" in one.error) for one in copy.copies] == [("failed", True)]
    assert (backup.offsite.standing()[0].failed, OffsiteStore(place_url).list()) == (1, [])
    monkeypatch.undo()


def test_a_backup_that_is_damaged_there_is_not_brought_back(made: Made, place_url: str, storage: ObjectStorage, tmp_path: Path) -> None:
    name = made(offsite=[place_url]).create_backup().filename
    fresh, whole = DatabaseBackup(f"sqlite:///{tmp_path / 'new.db'}", tmp_path / "new"), read(storage, name)
    flip(storage, name)
    with pytest.raises(BackupDamagedError, match="not those its manifest tells of"):
        fresh.fetch_backup(name, place_url)
    write(storage, name, whole[:-1])
    with pytest.raises(BackupDamagedError, match=f"{len(whole) - 1:,} bytes where its manifest says"):
        fresh.fetch_backup(name, place_url)
    storage.delete(name)
    with pytest.raises(BackupDamagedError, match="has 0 bytes"):
        fresh.fetch_backup(name, place_url)
    write(storage, name, whole)
    manifest = json.loads(read(storage, f"{name}.json"))
    for raw in (b"", b"{}", "هذا ليس بيانا".encode(), json.dumps(manifest | {"file": "other_20260101_000000.db"}).encode(), b"\xff" * 100):
        write(storage, f"{name}.json", raw)
        with pytest.raises(BackupDamagedError, match="manifest"):
            fresh.fetch_backup(name, place_url)
    assert fresh.list_backups() == []
    assert not [path.name for path in fresh.folder.path.iterdir() if "backup_" in path.name and ".tmp-" not in path.name]


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "نسخة.db", "backup_20260101_000000.db.json", "backup_20260101_000000.db\n", ".lock", ""]
)
def test_a_name_that_is_none_is_refused(backup: DatabaseBackup, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a backup"):
        backup.fetch_backup(name, tmp_path.as_uri())


def test_odd_keys_are_passed_over(made: Made, place_url: str, storage: ObjectStorage) -> None:
    odd = [
        "صورة.png",
        "backup_20260101_000000.db",
        "backup_20269999_000000.db",
        "backup_20269999_000000.db.json",
        "sub/backup_20260101_000000.db.json",
    ]
    for key in (*odd, "backup_20260102_000000.db.json", "a b&c=d%20e+f.json"):
        write(storage, key, b"odd")
    backup = made(offsite=[place_url])
    name = backup.create_backup().filename
    assert [one.key for one in OffsiteStore(place_url).list()] == [name]
    with pytest.raises(BackupNotFoundError, match="no whole backup"):
        backup.fetch_backup(OLD, place_url)


def test_another_backup_of_the_same_name_is_never_written_over(made: Made, url: str, place_url: str, tmp_path: Path, clock: FrozenClock) -> None:
    first = made(offsite=[place_url]).create_backup()
    change(url)
    other = DatabaseBackup(url, tmp_path / "other", offsite=[place_url], clock=clock)
    copy = other.create_backup()
    assert copy.filename == first.filename
    assert [(one.state, "holds another backup of the name" in one.error) for one in copy.copies] == [("failed", True)]
    with pytest.raises(BackupRefusedError, match="holds another backup"):
        other.fetch_backup(first.filename, place_url)


def test_a_damaged_backup_here_is_mended_from_there(made: Made, place_url: str) -> None:
    backup = made(offsite=[place_url])
    name = backup.create_backup().filename
    path = backup.folder.path / name
    path.write_bytes(path.read_bytes()[:-5])
    assert not backup.verify_backup(name)
    backup.pin(name)
    assert backup.fetch_backup(name, place_url).pinned
    assert backup.verify_backup(name)


def test_a_backup_damaged_here_is_not_taken_there(made: Made, place_url: str, storage: ObjectStorage) -> None:
    backup = made()
    name = backup.create_backup().filename
    path = backup.folder.path / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    later = made(offsite=[place_url])
    later.spread()
    assert [(one.state, "is damaged" in one.error) for one in later.get_backup(name).copies] == [("failed", True)]
    assert keys(storage) == []


def test_the_policy_holds_there_too_but_not_for_pinned_ones_and_those_of_others(
    made: Made, url: str, place_url: str, tmp_path: Path, clock: FrozenClock
) -> None:
    other = DatabaseBackup(url, tmp_path / "other", offsite=[place_url], clock=clock, app="other", max_backups=1)
    foreign = other.create_backup("foreign").filename
    backup, names = made(offsite=[place_url], policy=RetentionPolicy(last=2)), []
    for _ in range(4):
        clock.advance(60)
        names.append(backup.create_backup().filename)
        if len(names) == 1:
            backup.pin(names[0])
    assert [one.key for one in OffsiteStore(place_url).list()] == [names[3], names[2], names[0], foreign]
    keeping = made(offsite=[place_url], policy=RetentionPolicy(last=1), offsite_delete=False)
    clock.advance(60)
    last = keeping.create_backup().filename
    assert [one.key for one in OffsiteStore(place_url).list()] == [last, names[3], names[2], names[0], foreign]


def test_what_has_no_copy_yet_is_taken_along_and_safety_backups_stay_here(made: Made, url: str, tmp_path: Path, clock: FrozenClock) -> None:
    place = tmp_path / "قرص بعيد"
    backup = made(offsite=[place.as_uri()])
    first = backup.create_backup()
    assert [(one.state, "no folder" in one.error) for one in first.copies] == [("failed", True)]
    place.mkdir()
    clock.advance(60)
    backup.restore_backup(first.filename)
    clock.advance(60)
    second = backup.create_backup()
    assert [one.copies[0].state for one in (backup.get_backup(first.filename), second)] == ["ok", "ok"]
    assert {path.name for path in place.iterdir()} == {f"{one.filename}{tail}" for one in (first, second) for tail in ("", ".json")}
    assert [one.copies for one in backup.list_backups() if one.safety] == [()]


def test_two_places_are_told_apart_and_one_that_fails_does_not_keep_the_other(made: Made, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    backup = made(offsite=[(tmp_path / "missing").as_uri(), (tmp_path / "a").as_uri()])
    assert [one.state for one in backup.create_backup().copies] == ["failed", "ok"]
    with pytest.raises(StorageError, match="name one place"):
        _ = made(offsite=["s3://a/b", "s3://a/b/?region=x"]).offsite.places


def test_a_place_that_refuses_to_delete_keeps_all_and_says_so_once(
    made: Made, buckets: Buckets, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = buckets.make()
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    buckets.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    backup, names = made(offsite=[buckets.url(bucket)], max_backups=1), []
    caplog.set_level("INFO", "rakiza.backup")
    for _ in range(3):
        names.append(backup.create_backup())
        clock.advance(60)
    assert [one.state for made in names for one in made.copies] == ["ok"] * 3
    assert len(buckets.keys(bucket)) == 6
    [said] = [one.message for one in caplog.records if "would let go" in one.message]
    assert said.startswith(f"s3://{bucket} keeps backups")
    assert said.endswith(f"failed for key {names[0].filename}.json: Access Denied (code: AccessDenied)")


def test_a_bucket_with_an_object_lock_keeps_what_our_own_keys_delete(made: Made, url: str, buckets: Buckets, clock: FrozenClock) -> None:
    bucket = buckets.make(ObjectLockEnabledForBucket=True)
    backup = made(offsite=[buckets.url(bucket)], max_backups=1)
    first = backup.create_backup().filename
    clock.advance(60)
    run(url, "delete from invoice")
    backup.create_backup()
    assert first not in buckets.keys(bucket)
    found = buckets.client.list_object_versions(Bucket=bucket)
    assert first in {one["Key"] for one in found["Versions"]}
    for one in found["DeleteMarkers"]:  # what the owner of the bucket does after a theft of the keys
        buckets.client.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
    assert backup.fetch_backup(first, buckets.url(bucket)).rows > 0
