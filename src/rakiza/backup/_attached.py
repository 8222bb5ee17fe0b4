"""The archive of files that goes with a backup: uploaded files, configuration, seals. Written and read as a stream, never a broken tar."""

import io
import logging
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from ._core import Attached
from ._streams import BLOCK, Pace, Reader, Sink, digest_of
from .errors import BackupDamagedError, BackupError, BackupRefusedError

TOLD = 20
"""How many files that could not be taken are named; all are counted."""
RECORD = 64 * 1024
ARCHIVE = "tar.zst"
log = logging.getLogger("rakiza.backup")


class Entry(NamedTuple):
    """Name what goes into the archive: a file, folder or link, or bytes."""

    name: str
    source: Path | bytes


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """Tell what was taken out of an archive, and which links were not, since they lead out of the folder."""

    folder: str
    files: int
    passed_over: tuple[str, ...] = ()


Missed = Callable[[str, object], None]


def shown(name: str) -> str:
    """Return a file's name as text, also one whose bytes are none."""
    return os.fsencode(name).decode("utf-8", "replace")


def entries(roots: Iterable[Path], left_out: frozenset[Path], missed: Missed) -> Iterator[Entry]:
    """Yield all that is below the roots, whose own links are followed and no others."""
    for root in roots:
        name = f"files/{os.path.normpath(root.absolute()).lstrip('/')}"
        real = Path(os.path.realpath(root))
        if real not in left_out:
            yield Entry(name, real)
            if real.is_dir():
                yield from _below(name, real, left_out, missed)


def _below(name: str, folder: Path, left_out: frozenset[Path], missed: Missed) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as found:
            for one in found:
                path, inside = Path(one.path), f"{name}/{one.name}"
                if path not in left_out:
                    yield Entry(inside, path)
                    if one.is_dir(follow_symlinks=False):
                        yield from _below(inside, path, left_out, missed)
    except OSError as error:
        missed(str(folder), error.strerror)


class Packing:
    """Write one archive; what cannot be taken as it is, is told, counted and passed over, and the rest goes on."""

    def __init__(self, sink: Sink, pace: Pace) -> None:
        self._sink, self._pace = sink, pace
        self.files = self.passed_over = 0

    def missed(self, name: str, why: object) -> None:
        """Count what could not be taken."""
        self.passed_over += 1
        if self.passed_over <= TOLD:
            log.warning("%s is not in the backup as it is: %s", shown(name), why)

    def write(self, found: Iterable[Entry]) -> None:
        """Write it all; raise OSError when the archive cannot be written."""
        target: Any = self._sink
        with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=RECORD) as tar:
            for name, source in found:
                self._add(tar, name, source)
                _forget(tar)

    def _add(self, tar: tarfile.TarFile, name: str, source: Path | bytes) -> None:
        if isinstance(source, bytes):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(source), 0o600
            tar.addfile(info, io.BytesIO(source))
            self.files += 1
            return
        try:
            seen, opened = source.lstat(), -1
            if stat.S_ISREG(seen.st_mode):
                opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            link = os.readlink(source) if stat.S_ISLNK(seen.st_mode) else ""
        except OSError as error:
            self.missed(str(source), error.strerror)
            return
        if opened >= 0:
            self._add_file(tar, name, source, opened)
        elif link or stat.S_ISDIR(seen.st_mode):  # sockets, pipes and devices hold no data
            info = _described(name, seen)
            info.type, info.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.DIRTYPE, "")
            tar.addfile(info)
            self.files += bool(link)

    def _add_file(self, tar: tarfile.TarFile, name: str, source: Path, opened: int) -> None:
        with os.fdopen(opened, "rb") as file:
            before = os.fstat(opened)
            if not stat.S_ISREG(before.st_mode):
                self.missed(str(source), "it is a file no more")
                return
            content: Any = _Announced(file, self._pace)
            tar.addfile(_described(name, before), content)
            after = os.fstat(opened)
        self.files += 1
        if content.lacking or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self.missed(str(source), content.error or "it changed while it was read")


def _forget(tar: Any) -> None:
    tar.members.clear()  # each one that was written or read would stay in memory


def _described(name: str, seen: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = stat.S_IMODE(seen.st_mode), int(seen.st_mtime)
    info.size = seen.st_size if stat.S_ISREG(seen.st_mode) else 0
    return info


class _Announced:
    """Give as many bytes as were announced: what a file lacks meanwhile is zeros, else the archive would be broken from there on."""

    def __init__(self, file: IO[bytes], pace: Pace) -> None:
        self._file, self._pace = file, pace
        self.lacking, self.error = 0, ""

    def read(self, count: int) -> bytes:
        try:
            found = b"" if self.error else self._file.read(count)
        except OSError as error:
            found, self.error = b"", f"it cannot be read: {error.strerror}"
        self.lacking += count - len(found)
        self._pace.add(count)
        return found.ljust(count, b"\0")


def weight(found: Iterable[Entry]) -> int:
    """Return about how many bytes entries have."""
    total = 0
    for _, source in found:
        try:
            total += len(source) if isinstance(source, bytes) else source.lstat().st_size
        except OSError:
            continue  # it is told when it is to be taken
    return total


def attach(name: str, sink: Sink, found: Callable[[Missed], Iterable[Entry]], pace: Pace) -> Attached:
    """Write the archive of a backup and return what the manifest says of it; raise OSError."""
    packing = Packing(sink, pace)
    packing.write(found(packing.missed))
    digest = sink.finish()
    if packing.passed_over:
        log.warning("%d files are not in %s as they are", packing.passed_over, name)
    return Attached(name=name, size=sink.size, sha256=digest, raw_size=sink.raw_size, files=packing.files, passed_over=packing.passed_over)


# -- reading


def check(path: Path, part: Attached, read: Reader | None) -> None:
    """Look at size and SHA-256, and with `read` read the archive to its end; raise BackupDamagedError."""
    size = path.stat().st_size if path.is_file() else -1
    if size != part.size:
        raise BackupDamagedError(f"{part.name} {f'has {size:,} bytes' if size >= 0 else 'is not there'}, its manifest says {part.size:,} bytes")
    if digest_of(path) != part.sha256:
        raise BackupDamagedError(f"{part.name} was changed: its SHA-256 is another than its manifest says")
    files = sum(not member.isdir() for _, member in _members(path, read)) if read is not None else part.files
    if files != part.files:
        raise BackupDamagedError(f"{part.name} holds {files:,} files where its manifest says {part.files:,}")


def _members(path: Path, read: Reader) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield what an archive holds, to the very end of its stream; raise BackupDamagedError."""
    stream: Any = io.BufferedReader(_Blocks(read(path, ARCHIVE)), BLOCK)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            while (member := tar.next()) is not None:
                yield tar, member
                _forget(tar)
        while stream.read(BLOCK):
            continue
    except tarfile.TarError as error:
        raise BackupDamagedError(f"{path.name} is no whole archive: {error}") from error


class _Blocks(io.RawIOBase):
    """Read blocks as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks, self._left = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._left = self._left or memoryview(next(self._blocks, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def extract(path: Path, read: Reader, folder: Path) -> Extracted:
    """Take an archive out into a new or empty folder, wholly or not at all: nothing leads out of it.

    Raises BackupRefusedError for a folder that holds something, BackupDamagedError, BackupError.
    """
    if not hasattr(tarfile, "data_filter"):
        raise BackupError("this Python cannot take files out safely", hint="use Python 3.11.4 or newer")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BackupRefusedError(f"{folder} holds files already, and none is written over", hint="name a new or empty folder")
        try:
            return _extracted(path, read, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except tarfile.TarError as error:
        raise BackupDamagedError(f"{path.name} is no whole archive: {error}") from error
    except OSError as error:
        raise BackupError(f"{path.name} cannot be taken out to {folder}: {error.strerror or error}") from error


def _extracted(path: Path, read: Reader, folder: Path) -> Extracted:
    files, passed_over = 0, []
    for tar, member in _members(path, read):
        try:
            tar.extract(member, folder, filter="data")
            files += not member.isdir()
        except tarfile.FilterError:
            passed_over.append(shown(member.name))
    return Extracted(folder=str(folder), files=files, passed_over=tuple(passed_over))
