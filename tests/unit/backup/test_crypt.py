"""Encrypted streams: what flows in flows out for who has the key, and neither side ever waits for one that failed."""

import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rakiza.backup._crypt import SECRET, Keys, make_key
from rakiza.backup._streams import Sink, blocks, digest_of
from rakiza.backup.errors import BackupDamagedError, BackupError, BackupRefusedError

KINDS = ("db", "db.zst", "sql.gz")
CHUNK = 64 * 1024
REFUSED = (BackupDamagedError, BackupRefusedError)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    file = tmp_path_factory.mktemp("مفاتيح") / "key.txt"
    return Keys([make_key(file)], file)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("backup-")] == []


def written(path: Path, kind: str, pieces: list[bytes], keys: Keys) -> Sink:
    path.unlink(missing_ok=True)
    sink = Sink(path, kind, keys)
    for piece in pieces:
        sink.write(piece)
    assert sink.finish() == digest_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    return sink


def read(keys: Keys, path: Path, kind: str) -> Iterator[bytes]:
    return blocks(path, kind, keys.unlocked)


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(max_size=5_000), max_size=8), times=st.sampled_from([1, 40]))
def test_bytes_come_back(tmp_path: Path, keys: Keys, kind: str, pieces: list[bytes], times: int) -> None:
    path = tmp_path / "نسخة.age"
    sink = written(path, kind, pieces * times, keys)
    assert b"".join(read(keys, path, kind)) == b"".join(pieces * times)
    assert (sink.raw_size, sink.size) == (sum(map(len, pieces)) * times, path.stat().st_size)
    assert path.read_bytes().startswith(b"age-encryption.org/v1\n")


@pytest.mark.parametrize("kind", KINDS)
def test_one_cut_or_changed_anywhere_is_refused(tmp_path: Path, keys: Keys, kind: str) -> None:
    path = tmp_path / "قص.age"
    written(path, kind, [hashlib.sha256(str(number).encode()).digest() * 3 for number in range(1_500)], keys)
    raw = path.read_bytes()
    header = raw.index(b"\n---") + 60
    ends = set(range(header, len(raw), CHUNK + 16)) | {len(raw) - 1, len(raw) - 17}
    for place in sorted({*range(0, header, 7), *range(header, len(raw), 4_999), *ends}):
        for changed in (raw[:place], raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]):
            path.write_bytes(changed)
            with pytest.raises(REFUSED):
                list(read(keys, path, kind))
    path.write_bytes(raw + b"\0")
    with pytest.raises(REFUSED):
        list(read(keys, path, kind))


def test_another_key_and_none_open_nothing(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "نسخة.age"
    written(path, "db", [b"data"], keys)
    make_key(tmp_path / "other")
    with pytest.raises(BackupRefusedError, match="another key") as caught:
        list(read(Keys((), tmp_path / "other"), path, "db"))
    assert "RAKIZA_BACKUP_IDENTITY_FILE" in str(caught.value.hint)
    with pytest.raises(BackupRefusedError, match="its key is not here"):
        list(read(Keys(keys.recipients), path, "db"))
    with pytest.raises(BackupRefusedError, match=r"and the key in .* is that of age1"):
        Keys((), tmp_path / "other").check("نسخة", keys.recipients)
    assert [one.opens(keys.recipients) for one in (keys, Keys((), tmp_path / "other"), Keys(keys.recipients))] == [True, False, False]
    assert Keys().opens(())


def test_each_of_two_keys_opens_what_is_for_both(tmp_path: Path, keys: Keys) -> None:
    both = Keys([*keys.recipients, make_key(tmp_path / "second")])
    written(tmp_path / "x.age", "db.zst", [b"data"], both)
    for file in (tmp_path / "second", *keys.files):
        assert b"".join(read(Keys((), file), tmp_path / "x.age", "db.zst")) == b"data"


@pytest.mark.parametrize("text", ["", "# تعليق فقط\n", SECRET + "XX\n", "age1abc"])
def test_a_file_without_a_key_is_said(tmp_path: Path, keys: Keys, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(BackupRefusedError, match="holds no secret key"):
        Keys((), tmp_path / "key").check("نسخة", keys.recipients)
    with pytest.raises(BackupRefusedError, match="cannot be read"):
        Keys((), tmp_path / "none").check("نسخة", keys.recipients)


def test_who_reads_may_stop_anywhere(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "نسخة.age"
    written(path, "db", [os.urandom(3 * 1024 * 1024)], keys)
    for count in (0, 1, 2):
        reading = read(keys, path, "db")
        for _ in range(count):
            next(reading)
        reading.close()


@pytest.mark.parametrize("block", [100, 3 * 1024 * 1024])
def test_a_full_disk_is_said_to_who_writes(keys: Keys, block: int) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        stage = keys.lock(full.write)
        assert stage is not None
        with pytest.raises(OSError, match="No space left"):
            for _ in range(100_000):
                stage.write(bytes(block))
        stage.close()


def test_a_full_disk_is_said_at_the_end_too(keys: Keys) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        stage = keys.lock(full.write)
        assert stage is not None
        stage.write(b"little")
        with pytest.raises(OSError, match="No space left"):
            stage.finish()


def test_who_writes_may_give_up(tmp_path: Path, keys: Keys) -> None:
    sink = Sink(tmp_path / "x", "db.zst", keys)
    sink.write(b"half")
    sink.close()


def test_a_recipient_that_is_none_is_named_and_a_secret_is_not_shown(tmp_path: Path, keys: Keys) -> None:
    with pytest.raises(ValueError, match="recipient 2 is 'age1wrong', no public key"):
        Keys([*keys.recipients, "age1wrong"])
    make_key(tmp_path / "key")
    secret = (tmp_path / "key").read_text().splitlines()[-1]
    for text in (secret, secret.lower(), f"'{secret}'"):
        with pytest.raises(ValueError, match="recipient 1 is a secret key") as caught:
            Keys([text])
        assert secret[20:].lower() not in str(caught.value).lower()


def test_a_key_is_its_owners_and_never_written_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "key"
    public = make_key(file)
    assert (file.stat().st_mode & 0o777, public in file.read_text()) == (0o600, True)
    before = file.read_bytes()
    with pytest.raises(BackupRefusedError, match="there already"):
        make_key(file)
    assert file.read_bytes() == before
    with pytest.raises(BackupError, match="cannot be written"):
        make_key(tmp_path / "none" / "key")
    with caplog.at_level(logging.WARNING):
        Keys((), file)
        assert caplog.messages == []
        file.chmod(0o640)
        Keys((), file)
    assert "others may read" in caplog.text
