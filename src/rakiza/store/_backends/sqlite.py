"""SQLite: one writer with `BEGIN IMMEDIATE` behind a fair queue, a bounded set of readers, WAL."""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from rakiza._kernel import SYSTEM_CLOCK
from rakiza._kernel.local import OPEN_FILES
from rakiza._kernel.tasks import FORK_WAIT_SECONDS, around_fork
from rakiza.store.errors import MigrationError, StoreBusyError, StoreError
from rakiza.store.settings import StoreSettings
from rakiza.telemetry import trace_engine

from . import Session, driver_error

MIB = 1024 * 1024
PRAGMAS = ("foreign_keys=on", f"mmap_size={256 * MIB}", "cache_size=-16384", f"journal_size_limit={64 * MIB}", "temp_store=memory")  # cache in KiB
CACHED_STATEMENTS = 512
MIGRATION_WAIT_SECONDS = 600.0
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "glusterfs", "lustre")
log = logging.getLogger("rakiza.store")
Door = tuple[Callable[..., bool], Callable[[], None]]


class FairLock:
    """Let waiters in by the order in which they came."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiters: deque[threading.Lock] = deque()
        self._held = False

    def acquire(self, timeout: float) -> bool:
        """Wait for the turn at most `timeout` seconds; tell whether it came."""
        with self._mutex:
            if not self._held:
                self._held = True
                return True
            gate = threading.Lock()
            gate.acquire()
            self._waiters.append(gate)
        came = False
        try:
            came = gate.acquire(timeout=timeout)
        finally:
            came = came or not self._leave(gate)
        return came

    def release(self) -> None:
        with self._mutex:
            if self._waiters:
                self._waiters.popleft().release()
            else:
                self._held = False

    def _leave(self, gate: threading.Lock) -> bool:
        with self._mutex:
            waiting = gate in self._waiters  # else the turn came between the timeout and here
            if waiting:
                self._waiters.remove(gate)
        return waiting


class SqliteBackend:
    """Keep one writer and at most `pool_size` readers of one file."""

    probe = "select 1 from sqlite_master limit 1"

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        self.path = path
        self._settings = settings
        self._generation = 0
        self._orphans: list[Session] = []
        self._reset()
        around_fork(self._pause, self._resume)
        if kind := network_file_system(path):
            log.warning("the database %s lies on a network file system (%s), which can lose or damage it: move it to a local disk", path, kind)
        # The pool of SQLAlchemy costs more than a keyed read; sessions keep their connection instead.
        self._write_engine = trace_engine(sa.create_engine("sqlite://", creator=self.connect, poolclass=sa.NullPool))
        self.engine = trace_engine(sa.create_engine("sqlite://", creator=lambda: self.connect(query_only=True), poolclass=sa.NullPool))

    def _reset(self) -> None:
        self._turn = FairLock()
        self._slots = threading.BoundedSemaphore(self._settings.pool_size)
        self._idle: list[Session] = []
        self._writer: Session | None = None
        self._paused: dict[int, list[Callable[[], None]]] = {}
        self._quiet: set[int] = set()

    def lend(self) -> AbstractContextManager[sqlite3.Connection]:
        return OPEN_FILES.open(self.path, self.connect)

    def connect(self, query_only: bool = False) -> sqlite3.Connection:
        """Return a connection with every pragma set; make the folder when it is missing."""
        if OPEN_FILES.torn(self.path):
            hint = "fork when no transaction is open, or start processes by `spawn`"
            raise StoreError(f"{self.path} was in use when this process was forked, and cannot be used in it", code="store_forked", hint=hint)
        self._make_folder()
        wait = self._settings.busy_timeout_seconds
        driver = sqlite3.connect(self.path, wait, isolation_level=None, check_same_thread=False, cached_statements=CACHED_STATEMENTS)
        try:
            self._use_wal(driver)
            driver.execute(f"pragma synchronous={'normal' if self._settings.telemetry else 'full'}")
            driver.execute(f"pragma query_only={'on' if query_only else 'off'}")
            for pragma in PRAGMAS:
                driver.execute(f"pragma {pragma}")
        except BaseException:
            driver.close()
            raise
        return driver

    def _use_wal(self, driver: sqlite3.Connection) -> None:
        # Changing the journal mode does not wait for other processes by itself.
        give_up = SYSTEM_CLOCK.monotonic() + self._settings.busy_timeout_seconds
        while True:
            try:
                if driver.execute("pragma journal_mode=wal").fetchone()[0] == "wal":
                    return
                hint = "keep it on a local disk, not on a network file system"
                raise StoreError(f"the database {self.path} cannot use a write-ahead log", code="store_file_system", hint=hint)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or SYSTEM_CLOCK.monotonic() > give_up:
                    raise
            time.sleep(0.01)

    def _make_folder(self) -> None:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            hint = f"create {folder} and make it writable for this user, or set DATABASE_URL"
            raise StoreError(f"the folder {folder} of the database cannot be made: {error.strerror}", code="store_folder", hint=hint) from error

    def open(self, writing: bool) -> Session:
        return self._open_writer() if writing else self._open_reader()

    def _open_writer(self) -> Session:
        if not self._turn.acquire(self._settings.pool_timeout_seconds):
            raise self._late("the one writer", "keep write transactions short: no network, no file work, no waiting inside the block")
        try:
            session = self._writer or Session(self._write_engine.connect(), True, self._generation)
            self._writer = session
            session.driver.execute("begin immediate")
        except BaseException:
            self._turn.release()
            raise
        return session

    def _open_reader(self) -> Session:
        if not self._slots.acquire(timeout=self._settings.pool_timeout_seconds):
            raise self._late(f"one of {self._settings.pool_size} readers", "keep read blocks short, or raise RAKIZA_STORE_POOL_SIZE")
        session = None
        try:
            session = self._idle.pop() if self._idle else Session(self.engine.connect(), False, self._generation)
            session.driver.execute("begin")
        except BaseException:
            if session is not None:
                _close(session)
            self._slots.release()
            raise
        return session

    def _late(self, what: str, hint: str) -> StoreBusyError:
        return StoreBusyError(f"waited {self._settings.pool_timeout_seconds:g} s for {what} of {self.path}", hint=hint)

    def commit(self, session: Session) -> None:
        session.commit()

    def release(self, session: Session, broken: bool) -> None:
        gone = broken or session.generation != self._generation or session.connection.invalidated
        if gone:
            _close(session)
        if session.writing:
            if gone:
                self._writer = None
            self._turn.release()
        else:
            if not gone:
                self._idle.append(session)
            self._slots.release()

    @contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """Open the write transaction with foreign keys unchecked until its end, so that tables can be rebuilt."""
        if not self._turn.acquire(MIGRATION_WAIT_SECONDS):
            raise self._late("the one writer", "another migration seems to hang")
        try:
            with self._write_engine.connect() as connection:
                driver = cast("sqlite3.Connection", connection.connection.driver_connection)
                for statement in (f"pragma busy_timeout={int(MIGRATION_WAIT_SECONDS * 1000)}", "pragma foreign_keys=off", "begin immediate"):
                    driver.execute(statement)
                with connection.begin():
                    yield connection
                    broken = driver.execute("pragma foreign_key_check").fetchone()
                    if broken is not None:
                        raise MigrationError(f"after the migration a row of {broken[0]} points at a missing row of {broken[2]}")
        finally:
            self._turn.release()

    def explain(self, error: BaseException) -> StoreError | None:
        cause = driver_error(error)
        name = getattr(cause, "sqlite_errorname", "")
        if not isinstance(cause, sqlite3.Error) or not name:
            return None
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            waited = self._settings.busy_timeout_seconds
            return StoreBusyError(f"waited {waited:g} s for a writer of another process of {self.path}", hint="end long transactions there")
        for start, (code, what, hint) in _TROUBLE.items():
            if name.startswith(start):
                return StoreError(f"the database {self.path} {what} ({cause})", code=code, hint=hint.format(folder=self.path.parent))
        return None

    def close(self) -> None:
        self._generation += 1
        self._close_idle()
        if self._turn.acquire(self._settings.pool_timeout_seconds):
            self._close_writer()
            self._turn.release()

    def _close_idle(self) -> None:
        while self._idle:
            _close(self._idle.pop())

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            _close(writer)

    def _pause(self) -> None:
        """Let nobody in before a fork and close every connection; without that the child may not use the file."""
        give_up = SYSTEM_CLOCK.monotonic() + FORK_WAIT_SECONDS
        held = self._paused[threading.get_ident()] = list[Callable[[], None]]()
        slots: list[Door] = [(self._slots.acquire, self._slots.release)] * self._settings.pool_size
        doors: list[Door] = [(self._turn.acquire, self._turn.release), *slots, (OPEN_FILES.door.acquire, OPEN_FILES.door.release)]
        for acquire, release in doors:
            if not acquire(timeout=max(0.0, give_up - SYSTEM_CLOCK.monotonic())):
                return
            held.append(release)
        while OPEN_FILES.has(self.path) and SYSTEM_CLOCK.monotonic() < give_up:
            time.sleep(0.001)
        if not OPEN_FILES.has(self.path):
            self._close_idle()
            self._close_writer()
            self._quiet.add(threading.get_ident())

    def _resume(self) -> None:
        self._quiet.discard(threading.get_ident())
        for leave in self._paused.pop(threading.get_ident(), []):
            leave()

    def forget(self) -> None:
        """Keep what connections of the parent there are open and unused: closing one here would end the parent's locks."""
        if threading.get_ident() not in self._quiet:
            OPEN_FILES.tear(self.path)
        self._orphans += self._idle + ([self._writer] if self._writer else [])
        self._generation += 1
        self._reset()


_TROUBLE = {
    "SQLITE_FULL": ("store_disk_full", "is full", "free space on the disk of {folder}; nothing was changed"),
    "SQLITE_READONLY": ("store_read_only", "refuses to be written", "write inside `store.begin()`; make the file and {folder} writable"),
    "SQLITE_CANTOPEN": ("store_cannot_open", "cannot be opened", "make {folder} and the file readable and writable for this user"),
    "SQLITE_NOTADB": ("store_not_a_database", "is not an SQLite database", "give another path in DATABASE_URL, or restore a backup"),
    "SQLITE_CORRUPT": ("store_damaged", "is damaged", "stop the application and restore the latest verified backup"),
    "SQLITE_PROTOCOL": ("store_file_system", "cannot be locked", "keep it on a local disk, not on a network file system"),
    "SQLITE_IOERR": ("store_file_system", "cannot be read or written", "look at the disk of {folder}: full, failing, or a network file system?"),
}


def _close(session: Session) -> None:
    with suppress(sqlite3.Error, sa.exc.SQLAlchemyError):
        session.connection.close()


def network_file_system(path: Path) -> str | None:
    """Return the kind of network file system `path` lies on, none on a local disk."""
    found, kind, place = "", "", path.resolve()
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, mount, name, *_ = line.split(" ")
            if place.is_relative_to(mount) and len(mount) >= len(found):
                found, kind = mount, name
    return kind if kind.startswith(NETWORK_FILE_SYSTEMS) else None
