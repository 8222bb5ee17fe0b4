"""Append bytes to a file that is rotated by size: at once, or buffered for at most one flush interval."""

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.05
MAX_BUFFERED_LINES = 100_000


class FileWriter:
    """Write lines at once; rotate `x.log` to `x.log.1` … when it would pass `max_bytes`. Never raises on a full or missing disk."""

    def __init__(self, path: Path, max_bytes: int, backup_count: int) -> None:
        self.path, self.max_bytes, self.backup_count = path, max_bytes, backup_count
        self.dropped = 0
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def write(self, data: bytes) -> bool:
        """Append `data`; return false, and count it as dropped, when the disk refuses."""
        with self._lock:
            try:
                self._rotate_if_needed(len(data))
                self._write_all(data)
            except OSError as error:
                self.dropped += data.count(b"\n")
                self._close()
                if self.dropped & (self.dropped - 1) == 0:
                    log.warning("cannot write %s: %s; %d lines dropped so far", self.path, error.strerror, self.dropped)
                return False
            return True

    def sync(self) -> None:
        """Force what was written onto the disk."""
        with self._lock, contextlib.suppress(OSError):
            if self._descriptor is not None:
                os.fsync(self._descriptor)

    def forget(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may hold the old one."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        with self._lock:
            self._close()

    def _open(self) -> int:
        if self._descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        return self._descriptor

    def _write_all(self, data: bytes) -> None:
        descriptor = self._open()
        view = memoryview(data)
        while view:
            written = os.write(descriptor, view)
            view = view[written:]

    def _rotate_if_needed(self, coming: int) -> None:
        descriptor = self._open()
        size = os.fstat(descriptor).st_size  # other processes of this application append to the same file
        if size == 0 or size + coming <= self.max_bytes:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._is_live(descriptor):  # else another process has rotated it meanwhile
                self._shift()
        finally:
            self._close()

    def _is_live(self, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        return False  # somebody removed the live file

    def _shift(self) -> None:
        for number in range(self.backup_count - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self.path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None


class BufferedWriter(Generic[T]):
    """Collect lines and write them together; a killed process loses at most FLUSH_SECONDS of them."""

    def __init__(self, target: FileWriter, encode: Callable[[list[T]], bytes], max_lines: int = MAX_BUFFERED_LINES) -> None:
        self.target = target
        self._encode = encode
        self._lines: list[T] = []
        self._max_lines = max_lines
        self._overflow = 0
        self._flushing = threading.Lock()

    @property
    def dropped(self) -> int:
        """Return how many lines were lost to a full buffer or disk."""
        return self._overflow + self.target.dropped

    def add(self, line: T) -> None:
        """Take a line; never blocks."""
        lines = self._lines
        if len(lines) < self._max_lines:
            lines.append(line)
        else:
            self._overflow += 1

    def flush(self) -> None:
        """Write what was collected."""
        with self._flushing:
            taken = self._lines[:]
            if taken:
                del self._lines[: len(taken)]  # the list is never swapped under a thread that adds to it
                self.target.write(self._encode(taken))

    def forget(self) -> None:
        """Drop what was collected before a fork: the parent writes it."""
        self._lines = []
        self._flushing = threading.Lock()
        self.target.forget()


class FileHandler(logging.Handler):
    """Bring records of the standard logging to a FileWriter."""

    def __init__(self, writer: FileWriter, level: int) -> None:
        super().__init__(level)
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a writer's own complaint is not written to the same file."""
        if record.name == __name__:
            return
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - border: observer hook
            self.handleError(record)  # a record that cannot be rendered must not hurt whoever logged it
        else:
            self.writer.write(line + b"\n")

    def close(self) -> None:
        """Close the file."""
        self.writer.close()
        super().close()
