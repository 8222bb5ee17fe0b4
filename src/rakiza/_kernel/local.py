"""The one sqlite3 file in which rooms keep their own local history (`telemetry.db`): capped, never in the business database."""

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from .tasks import FORK_WAIT_SECONDS, after_fork, around_fork

T = TypeVar("T")
PAGE_BYTES = 4096
MAX_BYTES = 56 * 1024 * 1024
WAL_BYTES = 4 * 1024 * 1024  # file and log together stay below 64 MB
BUSY_MILLISECONDS = 2_000
MEMORY_KIB = 2_048
log = logging.getLogger(__name__)


class LocalFile:
    """Keep history that may be lost: commits do not wait for the disk, a full or broken file costs rows and never a request."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.dropped = 0
        self._schema: list[str] = []
        self._connection: sqlite3.Connection | None = None
        self._abandoned: list[sqlite3.Connection] = []
        self._opened = 0
        self._lock = threading.RLock()
        self._quiet: set[int] = set()
        around_fork(self._pause, self._resume)
        after_fork(self._forget)

    def declare(self, *statements: str) -> None:
        """Add `CREATE … IF NOT EXISTS` statements, run whenever the file is opened."""
        with self._lock:
            self._schema += statements
            if self._connection is not None:
                for statement in statements:
                    self._connection.execute(statement)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run `work` in one transaction and return what it returns; return none, and count it as dropped, when the file refuses."""
        with self._lock:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
                done = work(connection)
                connection.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
                return None
            except BaseException:
                self._close()  # a connection left inside a transaction would refuse the next one
                raise
            return done

    def read(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        """Return what `work` reads, or `default` when the file cannot be read; blocks while another thread of this process uses the file."""
        with self._lock:
            try:
                return work(self._open())
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
                return default

    def size_bytes(self) -> int:
        """Return the size of the file and the log beside it."""
        found = 0
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            with contextlib.suppress(OSError):
                found += path.stat().st_size
        return found

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode() != self._opened:
            self._close()  # another process has set a broken file aside
        if self._connection is None:
            if OPEN_FILES.torn(self.path):
                raise sqlite3.OperationalError("another thread used it when this process was forked")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_MILLISECONDS / 1000)
            try:
                limits = (f"journal_size_limit={WAL_BYTES}", f"cache_size=-{MEMORY_KIB}", f"max_page_count={self.max_bytes // PAGE_BYTES}")
                for pragma in ("journal_mode=WAL", "synchronous=NORMAL", *limits):
                    connection.execute(f"PRAGMA {pragma}")
                for statement in self._schema:
                    connection.execute(statement)
            except BaseException:
                connection.close()
                raise
            self._connection, self._opened = connection, self._inode()
        return self._connection

    def _give_up(self, error: Exception) -> None:
        self.dropped += 1
        opened, self._opened = self._opened, 0
        self._close()
        if self.dropped & (self.dropped - 1) == 0:
            log.warning("cannot use %s: %s; %d batches of history dropped so far", self.path, error, self.dropped)
        broken = isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        for suffix in ("-wal", "-shm", "") if broken and opened in {0, self._inode()} else ():  # the log must not be applied to a new file
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + suffix).replace(self.path.with_name(f"{self.path.name}.broken{suffix}"))

    def _inode(self) -> int:
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _pause(self) -> None:
        if self._lock.acquire(timeout=FORK_WAIT_SECONDS):
            self._quiet.add(threading.get_ident())
            self._close()

    def _resume(self) -> None:
        if threading.get_ident() in self._quiet:
            self._quiet.remove(threading.get_ident())
            self._lock.release()

    def _forget(self) -> None:
        """Leave the connection to the parent of a fork: SQLite's are not to be carried across."""
        if threading.get_ident() not in self._quiet:
            OPEN_FILES.tear(self.path)
        self._quiet.clear()
        if self._connection is not None:
            self._abandoned.append(self._connection)  # kept, so that no destructor gives back the parent's locks
        self._connection = None
        self._lock = threading.RLock()


class OpenFiles:
    """Know which files of SQLite are open beside stores: a fork waits for them, and which its child must not use because they were open."""

    def __init__(self) -> None:
        self.door = threading.RLock()
        self._open: dict[object, Path] = {}
        self._torn: set[Path] = set()
        after_fork(self._forget)

    @contextlib.contextmanager
    def open(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
        """Lend a connection to a file and close it after the block; wait at the door while a fork is under way."""
        mark = object()
        with self.door:
            connection = connect()
            self._open[mark] = path.resolve()
        try:
            yield connection
        finally:
            connection.close()
            self._open.pop(mark, None)

    def has(self, path: Path) -> bool:
        """Tell whether a file is open."""
        return path.resolve() in list(self._open.values())

    def tear(self, path: Path) -> None:
        """Say that a file was in use when this process was forked, whoever used it."""
        self._torn.add(path.resolve())

    def torn(self, path: Path) -> bool:
        """Tell whether a file was in use when this process was forked: SQLite believes in locks that are the parent's."""
        return path.resolve() in self._torn

    def _forget(self) -> None:
        self.door = threading.RLock()
        self._torn.update(self._open.values())
        self._open = {}


OPEN_FILES = OpenFiles()
