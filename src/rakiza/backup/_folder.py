"""The folder of backups: one worker at a time, nothing half done in sight, a manifest as the last thing written."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ._core import FORMAT, LOCKED, MANIFEST, PART, Manifest, archive_of, checked_name
from .errors import BackupDamagedError, BackupError, BackupNotFoundError, BackupRunningError, NoRoomError

LOCK = ".lock"
CHANGES = ".changes"
"""Held for a moment by who changes or sweeps manifests; a copy is remembered while others are at work in the folder."""
WRITABLE = "name a folder in BACKUP_DIR that the user of this process may write"
SPARE_BYTES = 16 * 1024 * 1024
_decode = msgspec.json.Decoder(Manifest).decode


class Folder:
    """Hold the folder; raises BackupError naming it when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _made(self) -> Path:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BackupError(f"the folder {self.path} cannot be made: {error.strerror or error}", hint=WRITABLE) from error
        return self.path

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Work in the folder alone, over all processes, what an interrupted run left swept away first. Raises BackupRunningError, BackupError."""
        folder = self._made()
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackupError(f"the folder {folder} cannot be written: {error.strerror or error}", hint=WRITABLE) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupRunningError(f"a backup or a restore is at work in {folder}", hint="wait for its end, then try again") from None
            self._sweep()
            yield
        finally:
            os.close(lock)  # and with it the lock, also when the process is killed

    def _sweep(self) -> None:
        with self._changing():
            self._swept()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        lock = os.open(self.path / CHANGES, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _swept(self) -> None:
        for path in list(self.path.glob(f"{PART}*")):
            name = path.name.removeprefix(PART).removesuffix(MANIFEST)
            with contextlib.suppress(OSError):
                if path.suffix == MANIFEST and _is_backup(name) and not (self.path / f"{name}{MANIFEST}").exists():
                    self._unlink(name)  # half written or half deleted; without this file beside it, it is not ours
                path.unlink()

    def _unlink(self, name: str) -> None:
        for one in (name, *_archives(name)):
            (self.path / one).unlink(missing_ok=True)

    def part(self, name: str) -> Path:
        """Return where something unfinished is written."""
        return self.path / f"{PART}{name}"

    def check_room(self, wanted: int) -> None:
        """Raise NoRoomError when the disk has less room than is wanted."""
        free = shutil.disk_usage(self._made()).free
        if free < wanted + SPARE_BYTES:
            lacking = (wanted + SPARE_BYTES - free) / 1024 / 1024
            said = f"{self.path} has {free / 1024 / 1024:,.0f} MB free, {lacking:,.0f} MB too few"
            raise NoRoomError(said, hint="free some room, or name another folder in BACKUP_DIR")

    def commit(self, part: Path, manifest: Manifest) -> None:
        """Let a finished file be seen: its name and those of what goes with it first, the manifest last."""
        self._write(self.part(manifest.file + MANIFEST), manifest)
        for one in manifest.parts:
            self.part(one.name).rename(self.path / one.name)
        part.rename(self.path / manifest.file)
        self.part(manifest.file + MANIFEST).rename(self.path / f"{manifest.file}{MANIFEST}")
        self._settle()

    def change(self, filename: str, change: Callable[[Manifest], Manifest]) -> Manifest:
        """Write a changed manifest in place of the old one, wholly or not at all, also beside one who works in the folder; return it.

        Raises as `manifest` does.
        """
        with self._changing():
            manifest = change(self.manifest(filename))
            self._write(self.part(filename + MANIFEST), manifest)
            self.part(filename + MANIFEST).replace(self.path / f"{filename}{MANIFEST}")
            self._settle()
            return manifest

    @staticmethod
    def _write(path: Path, manifest: Manifest) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(encode_manifest(manifest))
            file.flush()
            os.fsync(file.fileno())

    def _settle(self) -> None:
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def manifests(self) -> list[Manifest]:
        """Return the manifests of all whole backups, the newest first; one that cannot be read is passed over."""
        found: list[Manifest] = []
        for path in self.path.glob(f"*{MANIFEST}") if self.path.is_dir() else ():
            with contextlib.suppress(BackupError, BackupNotFoundError, ValueError):
                found.append(self.manifest(path.name.removesuffix(MANIFEST)))
        return sorted(found, key=lambda one: (one.created_at, one.file), reverse=True)

    def manifest(self, filename: str) -> Manifest:
        """Return the manifest of one backup; raise ValueError for what is no name, BackupNotFoundError, BackupDamagedError."""
        checked_name(filename)
        path = self.path / filename
        if path.is_symlink() or not path.is_file():
            raise BackupNotFoundError(f"there is no backup {filename} in {self.path}")
        try:
            return read_manifest((self.path / f"{filename}{MANIFEST}").read_bytes(), filename)
        except FileNotFoundError:
            raise BackupNotFoundError(f"{filename} has no manifest: it is not a whole backup of ours") from None

    def delete(self, filename: str) -> None:
        """Take a backup away: its manifest first, so that it is never listed without its file, and the next sweep knows a half deleted one."""
        half = self.part(f"{filename}{MANIFEST}")
        with self._changing():
            with contextlib.suppress(FileNotFoundError):
                (self.path / f"{filename}{MANIFEST}").rename(half)
            self._unlink(filename)
            half.unlink(missing_ok=True)
            self._settle()


def encode_manifest(manifest: Manifest) -> bytes:
    """Return a manifest as it is written."""
    return msgspec.json.format(msgspec.json.encode(manifest))


def read_manifest(raw: bytes, filename: str) -> Manifest:
    """Return the manifest of a backup; raise BackupDamagedError for what is none, or one of another backup or version."""
    try:
        manifest = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupDamagedError(f"the manifest of {filename} cannot be read: {error}") from error
    if manifest.format != FORMAT or manifest.file != filename or not {one.name for one in manifest.parts} <= set(_archives(filename)):
        raise BackupDamagedError(f"the manifest of {filename} is of another backup or version")
    return manifest


def _archives(name: str) -> tuple[str, str]:
    return archive_of(name, ""), archive_of(name, LOCKED)


def _is_backup(name: str) -> bool:
    try:
        checked_name(name)
    except ValueError:
        return False
    return True
