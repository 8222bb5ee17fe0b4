"""Signed checkpoints of the tree as C2SP notes (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), and the key that signs them."""

import base64
import binascii
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ._crypto import SECRET_BYTES, SigningSecret, secret, signed_by, write_once
from .errors import KeyFileError

ED25519 = b"\x01"
KEY_ID_BYTES = 4
SIGNATURE_BYTES = 64


class Checkpoint(NamedTuple):
    """Say which tree stood at which time: its size, its root, and the root of the seal before (empty for the first)."""

    size: int
    root: bytes
    previous: bytes
    time: str


class PublicKey(NamedTuple):
    """Name an Ed25519 key."""

    name: str
    key: bytes

    @property
    def key_id(self) -> bytes:
        """Return the four bytes that stand before a signature."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(ED25519 + self.key)}"

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """Return the key of its text form `name+id+key`; raise KeyFileError."""
        name, _, rest = text.partition("+")
        try:
            key = cls(name, base64.b64decode(rest.partition("+")[2], validate=True)[1:])
        except (binascii.Error, ValueError):
            key = cls(name, b"")
        if len(key.key) != SECRET_BYTES or str(key) != text:
            raise KeyFileError(f"{text!r} is no public key of the form name+id+base64")
        return key


class Signer:
    """Sign checkpoints; `public` is the key's public half, `trusted` all keys whose signatures count."""

    def __init__(self, name: str, *, path: Path | None = None, key: str = "", trusted: Iterable[PublicKey] = ()) -> None:
        """Take the key of a setting (base64), else of the file, made at first use with `<path>.pub` beside it; raise KeyFileError."""
        if not name or not name.isprintable() or "+" in name or " " in name:
            raise KeyFileError(f"{name!r} cannot name a key", hint="take the application's host name, without blanks and plus signs")
        self._secret = SigningSecret(secret(path, key))
        self.public = PublicKey(name, self._secret.public)
        self.trusted = (self.public, *trusted)
        if path is not None and not key:
            write_once(path.with_name(path.name + ".pub"), f"{self.public}\n".encode(), 0o644)

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the checkpoint as a signed note."""
        text = checkpoint_text(self.public.name, checkpoint)
        return f"{text}\n— {self.public.name} {_base64(self.public.key_id + self._secret.sign(text.encode()))}\n"

    def open(self, note: str) -> Checkpoint:
        """Return the checkpoint of a note a trusted key has signed; raise ValueError for anything else."""
        return open_note(note, self.trusted)


def checkpoint_text(origin: str, checkpoint: Checkpoint) -> str:
    """Return the lines that are signed."""
    size, root, previous, time = checkpoint
    return f"{origin}\n{size}\n{_base64(root)}\n" + (f"previous {_base64(previous)}\n" if previous else "") + f"time {time}\n"


def open_note(note: str, trusted: Iterable[PublicKey]) -> Checkpoint:
    """Return the checkpoint of a note that is byte for byte what one of the keys signed; raise ValueError saying what is wrong."""
    text, _, signature = note.partition("\n\n")
    origin, size, root, *extensions = [*text.split("\n"), "", ""]
    lines = dict(line.partition(" ")[::2] for line in extensions)
    try:
        raw = base64.b64decode(signature.rstrip("\n").rpartition(" ")[2], validate=True)
        checkpoint = Checkpoint(int(size), base64.b64decode(root), base64.b64decode(lines.get("previous", "")), lines.get("time", ""))
    except ValueError:
        raise ValueError("it is no signed checkpoint") from None
    signed = checkpoint_text(origin, checkpoint)
    for key in trusted:
        if key.name == origin and key.key_id == raw[:KEY_ID_BYTES]:
            if f"{signed}\n— {origin} {_base64(raw)}\n" != note or not signed_by(key.key, signed.encode(), raw[KEY_ID_BYTES:]):
                raise ValueError("its signature does not fit its text")
            return checkpoint
    raise ValueError("no trusted key signed it")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
