"""Places outside the database that keep signed checkpoints, so that a rewritten or cut-off history is found."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from rakiza.store import StorageError
from rakiza.store.objects import ObjectStorage

from .errors import SealError

NEWEST_NOTES = 1000
TIMEOUT_SECONDS = 20.0


class Anchor(Protocol):
    """Keep signed checkpoints where the database's administrator cannot change them."""

    @property
    def name(self) -> str:
        """Name the place, the same in every run."""
        ...

    def put(self, size: int, note: str) -> str:
        """Keep a note and return a receipt that tells where; doing it twice does no harm. Raise OSError or SealError."""
        ...

    def notes(self) -> list[str]:
        """Return what is kept, the newest NEWEST_NOTES in order, damaged ones as they are; raise OSError or SealError."""
        ...


class FileAnchor:
    """Append signed checkpoints to a file, one JSON string a line; best on a disk of another owner or a write-once medium."""

    def __init__(self, path: str | Path, name: str = "file") -> None:
        self.name, self._path = name, Path(path)

    def put(self, size: int, note: str) -> str:
        """Append the note and wait for the disk; nothing written before is touched."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            torn = end and os.pread(file.fileno(), 1, end - 1) != b"\n"
            file.write((b"\n" if torn else b"") + json.dumps(note, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            return f"{self._path}:{end}"

    def notes(self) -> list[str]:
        """Return the notes; a line cut short by a crash and written whole right after it is passed over."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().decode(errors="replace").removesuffix("\n").split("\n")
        following = [*lines[1:], ""]
        whole = [line for line, after in zip(lines, following, strict=True) if not line or line == after or not after.startswith(line)]
        return [_string(line) for line in whole[-NEWEST_NOTES:]]


class ObjectAnchor:
    """Write each checkpoint as an object of its own, never over another; give the bucket an object lock."""

    def __init__(self, url: str, name: str = "objects") -> None:
        """Take an address such as `s3://bucket/prefix` or `file:///folder`; credentials come as the storage's own clients take them."""
        self.name, self._url = name, url

    def put(self, size: int, note: str) -> str:
        """Write the note under its size; raise SealError when another note stands there or the storage fails."""
        key = f"{size:020d}.note"
        with _sealing():
            storage = self._storage()
            if not storage.create(key, note.encode()) and self._read(storage, key, storage.size(key) or 0) != note.encode():
                raise SealError(f"{storage.shown}/{key} holds another history", hint="run `audit verify`")
            return f"{storage.shown}/{key}"

    def notes(self) -> list[str]:
        """Return the notes by size; raise SealError when the storage fails."""
        with _sealing():
            storage = self._storage()
            found = sorted(storage.list())[-NEWEST_NOTES:]
            return [self._read(storage, key, size).decode(errors="replace") for key, size in found]

    def _storage(self) -> ObjectStorage:
        try:
            return ObjectStorage(self._url, TIMEOUT_SECONDS, make_folder=True)
        except StorageError as error:
            raise SealError(f"RAKIZA_EVENTS_ANCHOR_URL cannot be an anchor: {error.detail}", hint=error.hint) from error

    @staticmethod
    def _read(storage: ObjectStorage, key: str, size: int) -> bytes:
        return b"".join(storage.blocks(key, size))


@contextlib.contextmanager
def _sealing() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise SealError(error.detail, hint=error.hint) from error


def _string(line: str) -> str:
    try:
        note = json.loads(line)
    except ValueError:
        return line
    return note if isinstance(note, str) and json.dumps(note, ensure_ascii=False) == line else line
