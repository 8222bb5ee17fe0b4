"""Places outside the database that keep signed checkpoints, so that a rewritten or cut-off history is found. The only place that imports obstore."""

import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .errors import MissingExtraError, SealError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

NEWEST_NOTES = 1000
TIMEOUT = "20s"


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
        store, key = self._store(), f"{size:020d}.note"
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError

        try:
            try:
                obstore.put(store, key, note.encode(), mode="create")
            except AlreadyExistsError:
                if obstore.get(store, key).bytes().to_bytes() != note.encode():
                    raise SealError(f"{self._url}/{key} holds another history", hint="run `audit verify`") from None
        except BaseError as error:
            raise SealError(f"{self._url} cannot be written: {error}") from error
        return f"{self._url.rstrip('/')}/{key}"

    def notes(self) -> list[str]:
        """Return the notes by size; raise SealError when the storage fails."""
        store = self._store()
        import obstore
        from obstore.exceptions import BaseError

        try:
            keys = sorted(str(entry["path"]) for page in obstore.list(store) for entry in page)
            return [obstore.get(store, key).bytes().to_bytes().decode(errors="replace") for key in keys[-NEWEST_NOTES:]]
        except BaseError as error:
            raise SealError(f"{self._url} cannot be read: {error}") from error

    def _store(self) -> "ObjectStore":
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise MissingExtraError("offsite") from error
        try:
            if self._url.startswith("file:"):
                return from_url(self._url, mkdir=True)
            return from_url(self._url, client_options={"timeout": TIMEOUT})
        except (BaseError, ValueError) as error:
            raise SealError(f"{self._url} cannot be an anchor: {error}", hint="write s3://bucket/prefix or file:///folder") from error


def _string(line: str) -> str:
    try:
        note = json.loads(line)
    except ValueError:
        return line
    return note if isinstance(note, str) and json.dumps(note, ensure_ascii=False) == line else line
