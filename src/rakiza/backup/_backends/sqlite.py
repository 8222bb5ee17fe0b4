"""SQLite: copied through its backup API from a pinned snapshot, and restored by the same API into the live file."""

import contextlib
import glob
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa

from rakiza._kernel import SYSTEM_CLOCK
from rakiza._kernel.local import OPEN_FILES
from rakiza.backup._backends import Placed, Restored, Seen, Steps, Undoable
from rakiza.backup._backends.sqlite_tables import SqliteTables
from rakiza.backup._backends.sqlite_text import END, quoted, statements
from rakiza.backup._core import STAMP, Engine
from rakiza.backup._streams import BLOCK, Pace, Reader, Sink, blocks
from rakiza.backup.errors import BackupDamagedError, BackupError, BackupRefusedError

PAGES = 2_048
BUSY_SECONDS = 30.0
MACHINE_ERRORS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY})
"""What says nothing about a backup but much about the disk."""
TAILS = ("-wal", "-shm", "-journal")
MAGIC = b"SQLite format 3\0"


class SqliteBackend:
    """Copy one file."""

    engine: Engine = "sqlite"
    keeps_before = False
    server: str = sqlite3.sqlite_version

    def __init__(self, path: Path, read: Reader = blocks) -> None:
        self.path, self._read = path, read
        self.files = tuple(path.with_name(path.name + tail) for tail in ("", *TAILS))

    def programs(self) -> str:
        """Return what backups are made with, which is in Python."""
        return "none but Python's own SQLite"

    def kind(self, text: bool, compress: bool) -> str:
        """Return the kind of file a backup is."""
        return ("sql.gz" if compress else "sql") if text else ("db.zst" if compress else "db")

    def size(self) -> int:
        """Return the size of the file and of the log beside it; raise BackupError when there is none."""
        if not self.path.is_file():
            raise BackupError(f"there is no database {self.path}", hint="give the file's path in DATABASE_URL")
        return sum(part.stat().st_size for part in (self.path, self.path.with_name(f"{self.path.name}-wal")) if part.exists())

    # -- to a file

    def dump(self, sink: Sink, kind: str, scratch: Path, pace: Pace) -> Seen:
        """Write one consistent state and return what it holds."""
        try:
            seen = self._snapshot(scratch, pace)
            pace.begin("pack", scratch.stat().st_size)
            if kind.startswith("sql"):
                self._as_text(scratch, sink, pace)
            else:
                with scratch.open("rb") as file:
                    while block := file.read(BLOCK):
                        sink.write(block)
                        pace.add(len(block))
        except sqlite3.Error as error:
            raise BackupError(f"{self.path} could not be copied: {error}") from error
        return seen

    def _snapshot(self, scratch: Path, pace: Pace) -> Seen:
        with _open(self.path) as source, _open(scratch) as copy:
            copy.execute("pragma journal_mode=off")
            copy.execute("pragma synchronous=off")
            source.execute("begin")
            source.execute("select 1 from sqlite_master").fetchone()  # BEGIN alone takes no snapshot, and without one a writer restarts the copy
            page = int(source.execute("pragma page_size").fetchone()[0])
            pace.begin("copy", page * int(source.execute("pragma page_count").fetchone()[0]))
            left = -1

            def step(_: int, remaining: int, total: int) -> None:
                nonlocal left
                pace.add(page * ((total if left < 0 else left) - remaining))
                left = remaining

            source.backup(copy, pages=PAGES, progress=step)
            source.execute("rollback")
            copy.execute("pragma journal_mode=delete")
            return _look(copy)

    @staticmethod
    def _as_text(scratch: Path, sink: Sink, pace: Pace) -> None:
        with _open(scratch) as copy:
            for statement in statements(copy):
                line = f"{statement}\n".encode()
                sink.write(line)
                pace.add(len(line))

    # -- beside the live data

    @contextlib.contextmanager
    def beside(self, file: Path, kind: str, scratch: Path, pace: Pace) -> Iterator[tuple[SqliteTables, Seen]]:
        """Bring a backup to life in a file of its own, yield its tables and take it away again; raise BackupDamagedError."""
        try:
            seen = self._revive(file, kind, scratch, pace)
            with _open(scratch) as side:
                yield SqliteTables(side), seen
        finally:
            _remove(scratch)

    @contextlib.contextmanager
    def live(self) -> Iterator[SqliteTables]:
        """Yield the tables of the database in one state; raise BackupError when it is away or cannot be read."""
        self.size()
        try:
            with _open(self.path) as live:
                live.execute("pragma query_only=on")
                live.execute("begin")
                live.execute("select 1 from sqlite_master").fetchone()
                yield SqliteTables(live)
        except sqlite3.Error as error:
            raise BackupError(f"{self.path} could not be read: {error}") from error

    def is_same(self, other: "SqliteBackend") -> bool:
        """Tell whether two addresses name one file."""
        return self.path.resolve() == other.path.resolve() or (self.path.exists() and other.path.exists() and self.path.samefile(other.path))

    def named(self, target: str) -> sa.URL:
        """Return the address of another file."""
        return sa.URL.create("sqlite", database=str(Path(target).expanduser().absolute()))

    def place(self, file: Path, kind: str, pace: Pace, placed: Placed) -> None:
        """Bring a backup to life as this file, which there is none of yet or which is empty; raise BackupRefusedError for any other."""
        there = [part.name for tail in ("", *TAILS) if (part := self.path.with_name(self.path.name + tail)).exists() and part.stat().st_size]
        if there or self.path.is_symlink():
            found = self.path.with_name((there or [self.path.name])[0])
            raise BackupRefusedError(f"{found} is there already", hint="give a new name, or delete it first")
        side = self.path.with_name(f"{self.path.name}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            seen = self._revive(file, kind, side, pace)
            with _open(side) as connection:
                placed(SqliteTables(connection), seen)
            with side.open("rb") as written:
                os.fsync(written.fileno())
            side.rename(self.path)
        except sqlite3.Error as error:
            raise BackupError(f"{self.path} could not be written: {error}") from error
        finally:
            _remove(side)

    # -- from a file

    def inspect(self, file: Path, kind: str, scratch: Path, pace: Pace) -> Seen:
        """Bring a backup to life aside, look at it and take it away again; raise BackupDamagedError."""
        try:
            return self._revive(file, kind, scratch, pace)
        finally:
            _remove(scratch)

    def _revive(self, file: Path, kind: str, scratch: Path, pace: Pace) -> Seen:
        _remove(scratch)
        pace.begin("unpack", file.stat().st_size)
        try:
            if kind.startswith("sql"):
                self._from_text(file, kind, scratch, pace)
            else:
                with scratch.open("xb") as side:
                    for block in self._read(file, kind):
                        side.write(block)
                        pace.add(len(block))
            return self._checked(file, scratch, pace)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in MACHINE_ERRORS:
                raise BackupError(f"{file.name} could not be brought to life here: {error}") from error
            raise BackupDamagedError(f"{file.name} holds no whole database: {error}") from error

    def _from_text(self, file: Path, kind: str, scratch: Path, pace: Pace) -> None:
        with _open(scratch) as side:
            side.execute("pragma journal_mode=off")
            side.execute("pragma synchronous=off")
            ended = ""
            for statement in _statements(self._read(file, kind)):
                ended = statement.strip()
                side.execute(statement)
                pace.add(len(statement))
            if ended != END:
                raise BackupDamagedError(f"{file.name} ends before its last statement")

    @staticmethod
    def _checked(file: Path, scratch: Path, pace: Pace) -> Seen:
        with scratch.open("rb") as side:
            if side.read(len(MAGIC)) != MAGIC:
                raise BackupDamagedError(f"{file.name} holds no SQLite database")
        pace.begin("check")
        with _open(scratch) as side:
            found = side.execute("pragma integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise BackupDamagedError(f"{file.name} is damaged inside: {found}")
            broken = side.execute("pragma foreign_key_check").fetchone()
            if broken is not None:
                raise BackupDamagedError(f"{file.name} has rows of {broken[0]} that point to nothing in {broken[2]}")
            return _look(side)

    def restore(self, file: Path, kind: str, scratch: Path, pace: Pace, steps: Steps) -> Restored:
        """Bring a backup to life aside and copy it into the live file in one transaction: whoever has it open sees all or nothing."""
        try:
            steps.ready(f"sqlite:///{scratch}", self._revive(file, kind, scratch, pace))
            return self._swap(scratch, pace, steps)
        except sqlite3.Error as error:
            raise BackupError(f"{self.path} could not be written, and is as it was: {error}") from error
        finally:
            _remove(scratch)

    def before(self) -> Undoable | None:
        """Return nothing: a safety backup has the data of before."""

    def undo(self, before: str, pace: Pace, steps: Steps) -> Restored:
        """Refuse."""
        raise BackupError(f"{before} is a backup: restore it")

    def _swap(self, scratch: Path, pace: Pace, steps: Steps) -> Restored:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._is_no_database():
            steps.keep()
            self._move_aside()
        with _open(scratch) as side, _open(self.path) as live, _open(self.path) as watch:
            # Never a rename over a file that somebody has open: its log would be applied to the new one.
            live.execute("pragma journal_mode=wal")
            live.execute("pragma synchronous=normal")  # nobody waits for the disk: cut off before `_settle`, the data of before are there, whole
            _fit(side, live)
            swap = _Swap(watch, steps, pace)
            side.backup(live, pages=swap.first(side), progress=swap.step)
            away = SYSTEM_CLOCK.monotonic() - swap.began
            with contextlib.suppress(sqlite3.OperationalError):
                live.execute("pragma wal_checkpoint(passive)").fetchall()  # keeps no writer away; left to the next writer, he would wait for it
            self._settle()
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk, a reader: the data are in the log, whole
                live.execute("pragma busy_timeout=1000")
                live.execute("pragma wal_checkpoint(truncate)").fetchall()
        return Restored(round(away, 3))

    def _settle(self) -> None:
        """Wait until the log is on the disk; what it holds is the live data already."""
        with contextlib.suppress(FileNotFoundError), self.path.with_name(f"{self.path.name}-wal").open("rb") as log:  # none where WAL cannot be
            os.fsync(log.fileno())

    def _is_no_database(self) -> bool:
        with _open(self.path) as live:
            try:
                live.execute("select count(*) from sqlite_master").fetchone()
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                    raise
                return True
        return False

    def _move_aside(self) -> None:
        """Put a live file aside that is no database, or whose schema cannot be read: nobody works with it, and SQLite would not write into it."""
        for tail in ("", *TAILS):
            part = self.path.with_name(self.path.name + tail)
            if part.exists():
                part.rename(self.path.with_name(f"{self.path.name}.damaged-{SYSTEM_CLOCK.now():{STAMP}}{tail}"))


    def put_aside(self) -> list[Undoable]:
        """Return none: what was there before is a backup."""
        return []

    def let_go(self, database: str) -> None:
        """Do nothing."""

    def damaged(self) -> list[Path]:
        """Return the files that restores moved aside."""
        return sorted(path for path in self.path.parent.glob(f"{glob.escape(self.path.name)}.damaged-*") if not path.name.endswith(TAILS))


class _Swap:
    """Keep the live data, and see to it that nothing is written between that and the copy that takes their place.

    From the first page on the copy holds the lock of whoever writes (SQLite documentation, "Online Backup API"). Whoever wrote before that,
    and after the live data were kept, has moved `data_version`; then they are kept again under the lock.
    """

    def __init__(self, watch: sqlite3.Connection, steps: Steps, pace: Pace) -> None:
        self._watch, self._steps, self._pace = watch, steps, pace
        self.began = 0.0
        self._seen = self._version()
        steps.keep()

    def _version(self) -> int:
        return int(self._watch.execute("pragma data_version").fetchone()[0])

    def first(self, side: sqlite3.Connection) -> int:
        """Return how many pages one step copies: never all, so that there is a moment between the first and the commit."""
        pages = int(side.execute("pragma page_count").fetchone()[0])
        if pages < 2:  # nothing is in it; a page that is free makes it two
            side.execute("create table room (it)")
            side.execute("drop table room")
        self._page = int(side.execute("pragma page_size").fetchone()[0])
        self._pace.begin("swap", self._page * pages)
        return max(1, pages // 4)

    def step(self, status: int, _: int, __: int) -> None:
        """Look after each step; raise when the live file stayed locked for the whole of BUSY_SECONDS: the copy would try for ever."""
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise sqlite3.OperationalError(f"somebody has been writing to it for more than {BUSY_SECONDS:g} seconds")
        if not self.began:
            self.began = SYSTEM_CLOCK.monotonic()
            if self._version() != self._seen:
                self._steps.keep()


def _fit(side: sqlite3.Connection, live: sqlite3.Connection) -> None:
    """Give the side file the live one's page size, which cannot change in a file with a log."""
    pages, size = (int(live.execute(f"pragma {what}").fetchone()[0]) for what in ("page_count", "page_size"))
    if pages and size != int(side.execute("pragma page_size").fetchone()[0]):
        side.execute("pragma journal_mode=delete")
        side.execute(f"pragma page_size={size}")
        side.execute("vacuum")


def _look(connection: sqlite3.Connection) -> Seen:
    query = "select name from sqlite_master where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name"
    names = [str(name) for (name,) in connection.execute(query)]
    rows = {name: int(connection.execute(f"select count(*) from {quoted(name)}").fetchone()[0]) for name in names}  # noqa: S608 - its own tables
    query = "select m.name from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' and c.name = 'version_num'"
    versions = [str(name) for (name,) in connection.execute(query) if name.endswith("_version")]
    schema = {name: str(found[0]) for name in versions if (found := connection.execute(f"select version_num from {quoted(name)}").fetchone())}  # noqa: S608
    return Seen(rows, schema)


def _open(path: Path) -> AbstractContextManager[sqlite3.Connection]:
    return OPEN_FILES.open(path, lambda: sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS))


def _remove(scratch: Path) -> None:
    for tail in ("", *TAILS):
        scratch.with_name(scratch.name + tail).unlink(missing_ok=True)


def _statements(stream: Iterator[bytes]) -> Iterator[str]:
    """Yield the statements of a text dump; raise BackupDamagedError-worthy UnicodeDecodeError for bytes that are no text."""
    rest, pending = b"", ""
    for block in stream:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            pending += line.decode() + "\n"
            if line.endswith(b";") and sqlite3.complete_statement(pending):
                yield pending
                pending = ""
    if (pending + rest.decode()).strip():
        yield pending + rest.decode()
