"""Compress and check what flows into and out of a backup, a block at a time; a stream that was cut is an error."""

import contextlib
import fcntl
import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast

from rakiza._kernel import SYSTEM_CLOCK
from rakiza.errors import MissingExtraError

from ._core import Progress
from ._crypt import Keys
from .errors import BackupDamagedError

BLOCK = 1024 * 1024
ZSTD_LEVEL = 1
"""Half the processor time of level 3: an archive of pg_dump gets a little smaller, an SQLite file a few percent larger (`benchmarks/backup`)."""
GZIP_LEVEL = 6
Told = Callable[[Progress], object]
Reader = Callable[[Path, str], Iterator[bytes]]
"""Yields a backup of a kind as it was before it was packed."""


class Packer(Protocol):
    """Compress block by block."""

    def compress(self, data: bytes, /) -> bytes:
        """Return what is ready."""
        ...

    def flush(self) -> bytes:
        """Return the rest."""
        ...


class Plain:
    """Compress nothing."""

    def compress(self, data: bytes, /) -> bytes:
        """Return the block."""
        return data

    def flush(self) -> bytes:
        """Return nothing."""
        return b""


class Gzip:
    """Compress to the format of gzip."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)

    def compress(self, data: bytes, /) -> bytes:
        """Return what is ready."""
        return self._packer.compress(data)

    def flush(self) -> bytes:
        """Return the rest."""
        return self._packer.flush()


def zstd() -> Any:
    """Return the module for zstd; raise MissingExtraError. Never `zstandard`, whose readers take a cut stream for a whole one."""
    try:
        from compression import zstd as found  # type: ignore[import-not-found,unused-ignore]  # from Python 3.14 on
    except ImportError:
        try:
            from backports import zstd as found
        except ImportError as error:
            raise MissingExtraError("backup") from error
    return found


def packer(kind: str) -> Packer:
    """Return what compresses a kind of backup; raise MissingExtraError."""
    if kind.endswith(".zst"):
        module = zstd()
        option = module.CompressionParameter
        beside = min(1, option.nb_workers.bounds()[1])  # a thread of the library packs while this one reads, sums and writes
        options = {option.compression_level: ZSTD_LEVEL, option.checksum_flag: 1, option.nb_workers: beside}
        return cast("Packer", module.ZstdCompressor(options=options))
    return Gzip() if kind.endswith(".gz") else Plain()


def opened(raw: IO[bytes], kind: str) -> IO[bytes]:
    """Read a stream decompressed; a cut or changed one raises EOFError, OSError or an error of zstd while it is read."""
    if kind.endswith(".zst"):
        return cast("IO[bytes]", zstd().open(raw, "rb"))
    return cast("IO[bytes]", gzip.open(raw, "rb")) if kind.endswith(".gz") else raw


def blocks(path: Path, kind: str, unlocked: Callable[[Path], IO[bytes]] = lambda path: path.open("rb")) -> Iterator[bytes]:
    """Yield a backup decompressed, block by block; raise BackupDamagedError when it is cut or changed, and what `unlocked` raises."""
    try:
        with unlocked(path) as raw, opened(raw, kind) as stream:
            while block := stream.read(BLOCK):
                yield block
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise BackupDamagedError(f"{path.name} cannot be read to its end: {error or type(error).__name__}") from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise BackupDamagedError(f"{path.name} cannot be decompressed: {error}") from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        forget(file)
        return digest


def forget(file: IO[bytes]) -> None:
    """Let the system drop what it holds in memory of a file that is on the disk: the room is the database's, and the next look is at the disk."""
    with contextlib.suppress(AttributeError, OSError):  # not every system has it
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold a block, where the system allows it, so that neither end waits for the other so often."""
    with contextlib.suppress(AttributeError, OSError):
        if pipe is not None:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, BLOCK)


class Sink:
    """Write a backup's file: compressed, encrypted where there are keys, summed, and on the disk before it is closed."""

    def __init__(self, path: Path, kind: str, keys: Keys | None = None) -> None:
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
        self._packer, self._digest = packer(kind), hashlib.sha256()
        self.raw_size = self.size = 0
        self._lock = keys.lock(self._store) if keys is not None else None

    def write(self, block: bytes) -> None:
        """Take one block; raise OSError, of a full disk for example."""
        self.raw_size += len(block)
        self._put(self._packer.compress(block))

    def _put(self, packed: bytes) -> None:
        if packed and self._lock is not None:
            self._lock.write(packed)
        elif packed:
            self._store(packed)

    def _store(self, block: bytes) -> None:
        self._file.write(block)
        self._digest.update(block)
        self.size += len(block)

    def finish(self) -> str:
        """Write the rest, wait for the disk and return the SHA-256."""
        self._put(self._packer.flush())
        if self._lock is not None:
            self._lock.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        forget(self._file)
        self._file.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let go of the file, finished or not: what a full disk did not take is said already."""
        if self._lock is not None:
            self._lock.close()
        with contextlib.suppress(OSError):
            self._file.close()


class Pace:
    """Tell how far a step is, at most ten times a second, and keep it slower than a limit."""

    def __init__(self, told: Told | None, megabytes_a_second: float = 0.0) -> None:
        self._told, self._limit = told, megabytes_a_second * 1024 * 1024
        self._next = 0.0

    def begin(self, step: str, total: int = 0) -> None:
        """Begin a step of so many bytes, 0 when nobody knows."""
        self._step, self._total, self._done, self._began, self._next = step, total, 0, SYSTEM_CLOCK.monotonic(), 0.0
        self._tell()

    def add(self, count: int) -> None:
        """Count bytes done, and sleep when that was too fast."""
        self._done += count
        if self._limit:
            ahead = self._done / self._limit - (SYSTEM_CLOCK.monotonic() - self._began)
            if ahead > 0:
                time.sleep(min(ahead, 1.0))
        if SYSTEM_CLOCK.monotonic() >= self._next:
            self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            seconds = SYSTEM_CLOCK.monotonic() - self._began
            self._next = SYSTEM_CLOCK.monotonic() + 0.1
            self._told(Progress(step=self._step, done_bytes=self._done, total_bytes=self._total, seconds=round(seconds, 3)))
