"""Append lines to a file that several processes share and rotate by size: at once, or buffered for at most one flush interval."""

import contextlib
import fcntl
import functools
import gzip
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Generic, TypeVar

from rakiza._kernel import SYSTEM_CLOCK

T = TypeVar("T")
Render = Callable[[logging.LogRecord], bytes]
Wanted = Callable[[logging.LogRecord], bool]
log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.05
MAX_BUFFERED_LINES = 100_000
LOCK_PAUSE_SECONDS = 0.0002
LOCK_TRIES = 20_000  # about five seconds; after that lines are appended without the lock until it is free
MAX_LINE_BYTES = 4 * 1024 * 1024
BLOCK_BYTES = 256 * 1024
OURS = b'{"timestamp":'
GZIP = b"\x1f\x8b"


class FileWriter:
    """Write lines at once; rotate `x.log` to `x.log.1` … when it would pass `max_bytes`. Never raises on a full or missing disk.

    Every process holds the lock of the live file while it appends, so that the file can be rotated, and half a line of a killed
    process or a full disk cut off, without touching what another is writing.
    """

    def __init__(self, path: Path, max_bytes: int, backup_count: int) -> None:
        self.path, self.max_bytes, self.backup_count = path, max_bytes, backup_count
        self.dropped, self._told = 0, 1
        self.reason, self.failed_at = "", float("-inf")
        self._descriptor: int | None = None
        self.forget()

    def forget(self) -> None:
        """Take new locks in a forked child, and a descriptor of its own: the lock of an inherited one would be the parent's as well."""
        self._lock = threading.RLock()  # a signal handler may log while its thread writes
        self._identity, self._end, self._gave_up = (0, 0), -1, False
        self._close()

    def write(self, data: bytes) -> bool:
        """Append whole lines; return false, and count those dropped, when the disk refuses."""
        with self._lock:
            try:
                while data:
                    data = data[self._append(data) :]
            except OSError as error:
                self._refused(error, data.count(b"\n"))
                self._close()
            return not data

    def write_durably(self, data: bytes) -> None:
        """Append lines and return when they are on the disk."""
        with self._lock:
            try:
                if self.write(data) and self._descriptor is not None:
                    os.fsync(self._descriptor)
            except OSError as error:
                self._refused(error, data.count(b"\n"))

    def complain(self) -> None:
        """Say that lines were dropped, once for every doubling; never from within a write, whose locks other handlers may wait for."""
        if self.dropped >= self._told:
            self._told = 2 * self.dropped
            log.warning("cannot write %s: %s; %d lines dropped so far", self.path, self.reason, self.dropped)

    def close(self) -> None:
        with self._lock:
            self._close()

    def compress(self) -> None:
        """Compress the newest rotated file that is not yet. Its lines stand in exactly one file at every moment, whenever the process dies."""
        source = next((path for path in map(self._numbered, range(1, self.backup_count + 1)) if path.exists()), None)
        part = self.path.with_name(f".{self.path.name}.gz")
        private = functools.partial(os.open, mode=0o640)
        if source is None or shutil.disk_usage(self.path.parent).free < self.max_bytes:
            return
        with contextlib.suppress(OSError), open(part, "ab", opener=private) as raw:  # refused when another process is at it
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(raw.fileno()), part.stat()):  # else another process has just finished with it
                raw.truncate(0)
                self._replace(_packed(source, raw), part)
            fcntl.flock(raw, fcntl.LOCK_UN)

    def _replace(self, status: os.stat_result, part: Path) -> None:
        """Put the packed file in the place of the plain one, wherever rotations moved it, and name it after what it is."""
        with self._lock:
            descriptor, _, locked = self._live()
            for plain, packed in map(self._forms, range(1, self.backup_count + 1) if locked else ()):
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(plain.stat(), status):
                        if part.stat().st_size:
                            part.replace(plain)  # one step: before it the plain lines stand there, after it the packed ones
                        plain.rename(packed)
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _refused(self, error: OSError, lines: int) -> None:
        self.dropped += lines
        self.reason, self.failed_at = error.strerror or str(error), SYSTEM_CLOCK.monotonic()

    def _append(self, data: bytes) -> int:
        """Write as many whole lines as the file takes and return their length; zero when it was rotated instead."""
        descriptor, size, locked = self._live()
        if not locked:
            return os.write(descriptor, data)
        try:
            if size != self._end:  # not as this process left it
                size = _mended(descriptor, size)
            length = len(data)
            if size + length > self.max_bytes:
                length = data.rfind(b"\n", 0, max(0, self.max_bytes - size)) + 1
                if not length and size:
                    self._shift()
                    return 0
                length = length or data.find(b"\n") + 1 or len(data)  # a line longer than a file has one of its own
            written = _write(descriptor, data[:length], size)
            self._end = size + written
            return written
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _live(self) -> tuple[int, int, bool]:
        """Return the descriptor of the live file, its size, and whether we hold its lock."""
        while True:
            if self._descriptor is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
                status = os.fstat(self._descriptor)
                self._identity, self._end = (status.st_dev, status.st_ino), -1
            locked = _locked(self._descriptor, 1 if self._gave_up else LOCK_TRIES)
            self._gave_up = not locked
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(self.path)
                if (status.st_dev, status.st_ino) == self._identity:
                    return self._descriptor, status.st_size, locked
            self._close()  # another process has rotated it meanwhile, or somebody removed it

    def _shift(self) -> None:
        """Make room for number 1 and give it to the live file; a killed rotation left a gap, which is filled first."""
        numbers = range(1, self.backup_count + 1)
        gap = next((number for number in numbers if not any(path.exists() for path in self._forms(number))), 0)
        for oldest in () if gap else self._forms(self.backup_count):
            oldest.unlink(missing_ok=True)
        for number in range((gap or self.backup_count) - 1, 0, -1):
            for old, new in zip(self._forms(number), self._forms(number + 1), strict=True):
                with contextlib.suppress(FileNotFoundError):
                    old.replace(new)
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _forms(self, number: int) -> tuple[Path, Path]:
        return self._numbered(number), self._numbered(number).with_suffix(f".{number}.gz")

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _locked(descriptor: int, tries: int) -> bool:
    """Wait for the other processes; false when one was stopped while it wrote or the file system has no locks."""
    for _ in range(tries):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
        except OSError:
            return False
        else:
            return True
    return False


def _mended(descriptor: int, size: int) -> int:
    """Cut off the half line a killed process left at the end, end one that is none of ours, and return the size."""
    end = os.pread(descriptor, MAX_LINE_BYTES, max(0, size - MAX_LINE_BYTES)) if size and os.pread(descriptor, 1, size - 1) != b"\n" else b"\n"
    half = end[end.rfind(b"\n") + 1 :]
    if half and OURS.startswith(half[: len(OURS)]):
        os.ftruncate(descriptor, size - len(half))
    return size - len(half) if OURS.startswith(half[: len(OURS)]) else size + os.write(descriptor, b"\n")


def _write(descriptor: int, data: bytes, size: int) -> int:
    """Append all of `data` to a file of `size` bytes; when the disk fills up, keep its whole lines and return their length."""
    done = 0
    try:
        while done < len(data):
            done += os.write(descriptor, data[done:] if done else data)
    except OSError:
        done = data.rfind(b"\n", 0, done) + 1
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size + done)
        if not done:
            raise
    return done


def _packed(source: Path, raw: IO[bytes]) -> os.stat_result:
    """Compress a file, unless it is already, and return which one it was; the name in the head says it as well, for a search."""
    with source.open("rb") as plain:
        status = os.fstat(plain.fileno())
        if os.pread(plain.fileno(), 2, 0) != GZIP:
            with gzip.GzipFile(f"{status.st_ino}.log", "wb", fileobj=raw) as packed:
                shutil.copyfileobj(plain, packed, BLOCK_BYTES)
            raw.flush()
            os.utime(raw.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(raw.fileno())
        return status


class BufferedWriter(Generic[T]):
    """Collect lines and write them together; a killed process loses at most FLUSH_SECONDS of them."""

    def __init__(self, target: FileWriter, encode: Callable[[list[T]], bytes], max_lines: int = MAX_BUFFERED_LINES) -> None:
        self.target, self._encode, self._max_lines = target, encode, max_lines
        self.overflow = 0
        self.forget()

    def forget(self) -> None:
        """Drop what was collected before a fork: the parent writes it."""
        self._lines: list[T] = []
        self._flushing = threading.Lock()

    def add(self, line: T) -> None:
        lines = self._lines
        if len(lines) < self._max_lines:
            lines.append(line)
        else:
            self.overflow += 1

    def flush(self, *, wait: bool = True) -> None:
        if self._flushing.acquire(wait):
            try:
                taken = self._lines[:]
                if taken:
                    del self._lines[: len(taken)]  # the list is never swapped under a thread that adds to it
                    self.target.write(self._encoded(taken))
            finally:
                self._flushing.release()


    def _encoded(self, lines: list[T]) -> bytes:
        """Return the lines as bytes; one that cannot be said is dropped by itself, and nobody who logs hears of it."""
        try:
            return self._encode(lines)
        except Exception:  # noqa: BLE001 - border: observer hook
            if len(lines) == 1:
                self.overflow += 1
                return b""
            return b"".join(self._encoded([line]) for line in lines)


class FileHandler(logging.Handler):
    """Bring records of the standard logging to files, each to those whose levels it fits; it is rendered once."""

    def __init__(self, outputs: list[tuple[range, FileWriter]], render: Render, wanted: Wanted, on_error: Callable[[], None]) -> None:
        super().__init__()
        self._outputs, self._render, self._wanted, self._on_error = outputs, render, wanted, on_error

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a writer's own complaint is not written to the same disk."""
        if record.name != __name__ and self._wanted(record):
            line, level = self._render(record), record.levelno
            for levels, writer in self._outputs:
                if level in levels:
                    writer.write(line)
            if level >= logging.ERROR:
                self._on_error()
