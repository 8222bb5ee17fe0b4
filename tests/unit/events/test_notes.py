"""Keys and signed checkpoints."""

import base64
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.events._crypto import secret
from rakiza.events._notes import Checkpoint, PublicKey, Signer, open_note
from rakiza.events.errors import KeyFileError

KEY = base64.b64encode(bytes(range(32))).decode()
SIGNER = Signer("audit.example.sa", key=KEY)
CHECKPOINT = Checkpoint(20_852_163, b"\x01" * 32, b"\x02" * 32, "2026-11-27T09:00:00.000000Z")
NOTE = SIGNER.sign(CHECKPOINT)


def test_a_checkpoint_is_a_signed_note_of_its_lines() -> None:
    lines = NOTE.split("\n")
    assert lines[:6] == [
        "audit.example.sa", "20852163", base64.b64encode(b"\x01" * 32).decode(),
        "previous " + base64.b64encode(b"\x02" * 32).decode(), "time 2026-11-27T09:00:00.000000Z", "",
    ]  # fmt: skip
    assert lines[6].startswith("— audit.example.sa ")
    assert lines[7:] == [""]
    assert SIGNER.open(NOTE) == CHECKPOINT


def test_the_first_checkpoint_has_none_before_it() -> None:
    first = CHECKPOINT._replace(previous=b"")
    assert "previous" not in SIGNER.sign(first)
    assert SIGNER.open(SIGNER.sign(first)) == first


def test_the_key_id_and_the_text_of_a_key_are_those_of_the_specification() -> None:
    # the example key of golang.org/x/mod/sumdb/note
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = PublicKey.parse(text)
    assert (key.name, key.key_id.hex(), str(key)) == ("PeterNeumann", "c74f20a3", text)


@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_note_is_found(at: int, change: int) -> None:
    raw = bytearray(NOTE.encode())
    raw[at] ^= change
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(ValueError, match=r"it is no signed checkpoint|does not fit|no trusted key"):
        SIGNER.open(text)


@given(st.text(max_size=200))
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is no signed checkpoint|no trusted key"):
        SIGNER.open(text)


def test_another_key_counts_only_when_it_is_trusted() -> None:
    other = Signer("audit.example.sa", key=base64.b64encode(b"o" * 32).decode())
    with pytest.raises(ValueError, match="no trusted key"):
        other.open(NOTE)
    assert Signer("audit.example.sa", key=base64.b64encode(b"o" * 32).decode(), trusted=[SIGNER.public]).open(NOTE) == CHECKPOINT
    with pytest.raises(ValueError, match="no trusted key"):
        open_note(NOTE, [])


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "seal.key"
    signer = Signer("a", path=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PublicKey.parse((tmp_path / "keys" / "seal.key.pub").read_text().strip()) == signer.public
    assert Signer("a", path=path).public == signer.public
    assert sorted(os.listdir(path.parent)) == ["seal.key", "seal.key.pub"]


def test_of_many_first_users_one_makes_the_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(secret(tmp_path / "k"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert set(found) == {secret(tmp_path / "k")}


def test_bad_keys_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="holds no key of 32 bytes"):
        secret(path)
    with pytest.raises(KeyFileError, match="the setting holds no key"):
        secret(text="مفتاح")
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="every user of the machine"):
        secret(path)
    with pytest.raises(KeyFileError, match="a key needs a file"):
        secret()
    with pytest.raises(KeyFileError, match="cannot be written"):
        secret(path / "under" / "a file")
    with pytest.raises(KeyFileError, match="cannot name a key"):
        Signer("two words", key=KEY)
    with pytest.raises(KeyFileError, match="is no public key"):
        PublicKey.parse("a+b")
