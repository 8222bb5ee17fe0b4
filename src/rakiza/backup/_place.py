"""One other place of backups: what is there, taking one there and comparing it, bringing one back."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from rakiza.store.objects import ObjectStorage, StoredObject

from ._core import MANIFEST, Copy, Manifest, Piece, checked_name, moment_of, pieces_of, with_copy
from ._folder import Folder, encode_manifest, read_manifest
from ._streams import BLOCK, Pace, Sink
from .errors import BackupDamagedError, BackupNotFoundError, BackupRefusedError

PLAIN = "db"
"""A kind that is packed no further."""
LARGEST_MANIFEST = 4 * 1024 * 1024


class OffsiteStore:
    """Keep backups in another place: `OffsiteStore("s3://bucket/prefix")`; a backup is there once its manifest is, which is written last.

    Raises StorageError, MissingExtraError as ObjectStorage does.
    """

    def __init__(self, url: str, timeout_seconds: float = 60.0) -> None:
        self._storage = ObjectStorage(url, timeout_seconds)
        self.url, self.folder = self._storage.shown, self._storage.folder

    def list(self) -> list[StoredObject]:
        """Return the names and sizes of whole backups, the newest first; all else that lies there is passed over. Raises StorageError."""
        found = {one.key: one.size for one in self._storage.list()}
        names = [name for name in found if f"{name}{MANIFEST}" in found and _is_name(name)]
        return [StoredObject(name, found[name]) for name in sorted(names, key=lambda name: (moment_of(name), name), reverse=True)]

    def newest(self) -> str:
        """Return the name of the newest backup there; raise BackupNotFoundError, StorageError."""
        found = next(iter(self.list()), None)
        if found is None:
            raise BackupNotFoundError(f"there is no whole backup in {self.url}")
        return found.key

    def manifest(self, filename: str) -> Manifest:
        """Return what a backup there says of itself; raise ValueError for what is no name, BackupNotFoundError, BackupDamagedError, StorageError."""
        checked_name(filename)
        found = self._manifest(filename)
        if found is None:
            raise BackupNotFoundError(f"there is no whole backup {filename} in {self.url}", hint="`backup list --from` tells what is there")
        return found

    def _manifest(self, filename: str) -> Manifest | None:
        key = f"{filename}{MANIFEST}"
        size = self._storage.size(key)
        if size is None:
            return None
        if size > LARGEST_MANIFEST:
            raise BackupDamagedError(f"the manifest of {filename} in {self.url} has {size:,} bytes")
        return read_manifest(b"".join(self._storage.blocks(key, size)), filename)

    def keep(self, folder: Path, manifest: Manifest, pace: Pace) -> None:
        """Take a backup there, read it back and compare, then write its manifest; what is there whole already is only compared.

        Raises BackupRefusedError when another backup of that name is there, BackupDamagedError when other bytes are, StorageError, OSError.
        """
        there = self._manifest(manifest.file)
        if there is not None and there.sha256 != manifest.sha256:
            said = f"{self.url} holds another backup of the name {manifest.file}"
            raise BackupRefusedError(said, hint="give each application a prefix of its own in RAKIZA_BACKUP_OFFSITE")
        for piece in pieces_of(manifest):
            self._take(folder / piece.name, piece, pace)
        if there is None:
            self._storage.create(f"{manifest.file}{MANIFEST}", encode_manifest(msgspec.structs.replace(manifest, copies=())))
            if self._manifest(manifest.file) is None:
                raise BackupDamagedError(f"{self.url} did not keep the manifest of {manifest.file}")

    def _take(self, path: Path, piece: Piece, pace: Pace) -> None:
        if self._storage.size(piece.name) == piece.size and self._same(piece, pace):
            return
        pace.begin("send", piece.size)
        self._storage.upload(piece.name, _whole(_read(path), piece, pace, f"{piece.name} in {path.parent}"), piece.size)
        size = self._storage.size(piece.name)
        if size != piece.size or not self._same(piece, pace):
            told = f"{size or 0:,} bytes instead of {piece.size:,}" if size != piece.size else "other bytes than it was given"
            raise BackupDamagedError(f"{self.url} gives back {told} for {piece.name}")

    def _same(self, piece: Piece, pace: Pace) -> bool:
        pace.begin("compare", piece.size)
        with contextlib.suppress(BackupDamagedError):
            for _ in _whole(self._storage.blocks(piece.name, piece.size), piece, pace, self.url):
                pass
            return True
        return False

    def fetch(self, folder: Folder, filename: str, pace: Pace, now: datetime) -> Manifest:
        """Bring a backup into a folder one works in: beside what is there, compared, and then seen.

        Raises ValueError for what is no name, BackupNotFoundError, BackupDamagedError, BackupRefusedError when another backup of that name is
        here, NoRoomError, StorageError, OSError.
        """
        manifest = self.manifest(filename)
        pieces = pieces_of(manifest)
        here = _here(folder, manifest)
        folder.check_room(sum(piece.size for piece in pieces))
        for piece in pieces:
            if piece.name != Path(piece.name).name or piece.name.startswith("."):
                raise BackupDamagedError(f"the manifest of {filename} in {self.url} names a file that cannot be: {piece.name!r}")
            pace.begin("fetch", piece.size)
            self._fetch(folder.part(piece.name), piece, pace)
        copies = with_copy(here.copies, Copy(self.url, "ok", now))
        folder.commit(folder.part(filename), msgspec.structs.replace(manifest, pinned=here.pinned, copies=copies))
        return folder.manifest(filename)

    def _fetch(self, part: Path, piece: Piece, pace: Pace) -> None:
        size = self._storage.size(piece.name)
        if size != piece.size:
            raise BackupDamagedError(f"{piece.name} in {self.url} has {size or 0:,} bytes where its manifest says {piece.size:,}")
        sink = Sink(part, PLAIN)
        try:
            for block in _whole(self._storage.blocks(piece.name, piece.size), piece, pace, f"{piece.name} in {self.url}"):
                sink.write(block)
            sink.finish()
        finally:
            sink.close()

    def delete(self, filename: str) -> None:
        """Take a backup away there, its manifest first; raise StorageError when the place refuses, which keeps the backup whole."""
        pieces = pieces_of(self.manifest(filename))
        for name in (f"{filename}{MANIFEST}", *(piece.name for piece in reversed(pieces))):
            self._storage.delete(name)


def _is_name(key: str) -> bool:
    try:
        moment_of(key)
    except ValueError:
        return False
    return True


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _whole(blocks: Iterable[bytes], piece: Piece, pace: Pace, where: str) -> Iterator[bytes]:
    """Pass blocks on and count them; raise BackupDamagedError at the end when they are others than the manifest says."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
        pace.add(len(block))
        yield block
    if size != piece.size or digest.hexdigest() != piece.sha256:
        raise BackupDamagedError(f"{where} is damaged: its {size:,} bytes are not those its manifest tells of")


def _here(folder: Folder, manifest: Manifest) -> Manifest:
    """Return what the folder says of the same backup, which may be damaged and is written anew, or else the manifest itself.

    Raises BackupRefusedError when another backup of the name is in the folder.
    """
    try:
        here = folder.manifest(manifest.file)
    except (BackupNotFoundError, BackupDamagedError):
        return manifest
    if here.sha256 != manifest.sha256:
        raise BackupRefusedError(f"{folder.path} holds another backup of the name {manifest.file}", hint="move it away first")
    return here
