"""PostgreSQL: copied by pg_dump from a named snapshot, restored by pg_restore into a new database that then takes the name of the live one."""

import contextlib
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from rakiza._kernel import SYSTEM_CLOCK, token
from rakiza.backup._backends import Placed, Restored, Seen, Steps, Undoable
from rakiza.backup._backends.postgresql_likeness import comment_of, dress, likeness, literal
from rakiza.backup._backends.postgresql_tables import PostgresqlTables, quoted
from rakiza.backup._core import Engine
from rakiza.backup._streams import BLOCK, Pace, Reader, Sink, blocks, widen
from rakiza.backup.errors import BackupDamagedError, BackupError, BackupRefusedError
from rakiza.store import Store, StoreError, StoreSettings

CONNECT_SECONDS = 10
TOLD_BYTES = 2_000
EMPTY_SECONDS = 0.05
LOCK_WAIT = "--lock-wait-timeout=300s"
"""Who waits for a lock of a table for longer keeps everybody out who comes behind."""
TRIES = 5
NO_LIMITS = StoreSettings(statement_timeout_seconds=0.0, idle_transaction_timeout_seconds=0.0, connect_timeout_seconds=CONNECT_SECONDS)
"""A role's or a database's limits are for requests: a count over all rows or a long copy would be cut by them."""
IN_USE = "55006"
"""SQLSTATE object_in_use (PostgreSQL documentation, appendix A)."""
BEFORE = re.compile(r"_before_([0-9]{14})_[a-z0-9_]+\Z")
LEFT = re.compile(r"_(?:check|new)_[0-9]{14}_[a-z0-9_]+\Z")
STAMP = "%Y%m%d%H%M%S"
OWN = re.compile(r"_(?:check|new|before)_[0-9]{14}_")
LONGEST_NAME = 63
END = b"PostgreSQL database dump complete"
CLAIM = "hashtextextended(%s, 0)"
VERSION = re.compile(rb"(\d+)(?:\.\d+)?")
PLACES = ("/usr/lib/postgresql", "/usr/pgsql")
"""Where Debian and the packages of the project keep the programs of each version."""


class PostgresqlBackend:
    """Copy one database."""

    engine: Engine = "postgresql"
    keeps_before = True
    files: tuple[Path, ...] = ()

    def __init__(self, url: sa.URL, read: Reader = blocks) -> None:
        self._url, self._read = url, read
        self.name = url.database or ""

    @property
    def server(self) -> str:
        """Return the server's version."""
        with self._connected() as connection:
            return str(connection.execute("show server_version").fetchone()[0])

    def programs(self) -> str:
        """Return the paths of the programs; raise BackupError for one that is missing or too old for the server."""
        with self._connected() as connection:
            version = connection.info.server_version // 10_000
        return ", ".join(self._program(name, version) for name in ("pg_dump", "pg_restore", "psql"))

    def kind(self, text: bool, compress: bool) -> str:
        """Return the kind of file a backup is."""
        return ("sql.gz" if compress else "sql") if text else ("dump.zst" if compress else "dump")

    def size(self) -> int:
        """Return the size of the database; raise BackupError when it is away."""
        with self._connected() as connection:
            return int(connection.execute("select pg_database_size(current_database())").fetchone()[0])

    # -- connections and programs

    @contextlib.contextmanager
    def _connected(self, database: str | None = None) -> Iterator[Any]:
        name = database or self.name
        store = Store(self._url.set(database=name).render_as_string(hide_password=False), NO_LIMITS)
        with contextlib.closing(store), contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(store.raw_connection())
            except StoreError as error:
                raise BackupError(f"the database {name} cannot be reached: {_first_line(error)}") from error
            try:
                yield connection
            except store.driver_error as error:
                raise BackupError(f"the database {name} said: {_first_line(error)}") from error

    def _environment(self, database: str, secrets: IO[bytes]) -> dict[str, str]:
        """Return what a program of PostgreSQL is told: the password in a file without a name, which nobody leaves behind, not as argument."""
        url = self._url
        host = url.host or url.query.get("host") or ""
        told = {"PGHOST": str(host), "PGPORT": str(url.port or url.query.get("port") or ""), "PGUSER": url.username or "", "PGDATABASE": database}
        told |= {f"PG{name.upper()}": str(value) for name, value in url.query.items() if name in {"sslmode", "sslrootcert", "sslcert", "sslkey"}}
        if url.password is not None:
            secret = str(url.password).replace("\\", "\\\\").replace(":", "\\:")
            secrets.write(f"*:*:*:*:{secret}\n".encode())
            told["PGPASSFILE"] = f"/dev/fd/{secrets.fileno()}"
        return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **{name: value for name, value in told.items() if value}}

    def _program(self, name: str, least: int) -> str:
        """Return the path of a program that is new enough for the server; raise BackupError that says which package has it."""
        found = [Path(folder) / name for folder in os.defpath.split(os.pathsep)]
        found += sorted((path for place in PLACES for path in Path(place).parent.glob(f"{Path(place).name}*/**/bin/{name}")), reverse=True)
        seen: list[int] = []
        for path in found:
            if path.is_file() and os.access(path, os.X_OK):
                version = VERSION.search(subprocess.run([path, "--version"], capture_output=True, check=False).stdout)  # noqa: S603
                seen.append(int(version[1]) if version else 0)
                if seen[-1] >= least:
                    return str(path)
        what = f"only {name} {max(seen)}" if seen else f"no {name}"
        raise BackupError(f"this machine has {what}, and the server is PostgreSQL {least}", hint=f"install postgresql-client-{least}")

    @contextlib.contextmanager
    def _running(self, program: Sequence[str], database: str, **pipes: Any) -> "Iterator[tuple[subprocess.Popen[bytes], list[bytes]]]":
        """Run a program and let nothing of it stay behind; its words are read all the while, so that it never waits for us to read them."""
        with tempfile.TemporaryFile(buffering=0) as secrets:
            environment: Mapping[str, str] = self._environment(database, secrets)
            process = subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, pass_fds=[secrets.fileno()], **pipes)  # noqa: S603
            said: list[bytes] = []
            reader = threading.Thread(target=_read, args=(process.stderr, said), daemon=True)
            reader.start()
            try:
                yield process, said
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
                reader.join(5)
                for pipe in (process.stdin, process.stdout, process.stderr):
                    if pipe is not None:
                        with contextlib.suppress(OSError):
                            pipe.close()

    # -- to a file

    def dump(self, sink: Sink, kind: str, scratch: Path, pace: Pace) -> Seen:
        """Write one consistent state and return what it holds: the rows are counted in the very snapshot that is copied."""
        self._sweep()
        with self._connected() as connection:
            version = connection.info.server_version // 10_000
            program = self._program("pg_dump", version)
            connection.execute("begin isolation level repeatable read read only")
            snapshot = str(connection.execute("select pg_export_snapshot()").fetchone()[0])
            form = ["--format=plain"] if kind.startswith("sql") else ["--format=custom", "--compress=0"]
            arguments = [program, *form, "--no-owner", "--no-privileges", f"--snapshot={snapshot}", "--no-password", LOCK_WAIT]
            pace.begin("copy", self.size())
            with self._running(arguments, self.name, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as (process, said):
                widen(process.stdout)
                while process.stdout is not None and (block := process.stdout.read(BLOCK)):
                    sink.write(block)
                    pace.add(len(block))
                if process.wait() != 0:
                    raise BackupError(f"pg_dump ended with {process.returncode}: {_told(said)}")
            pace.begin("count")
            return _look(connection)

    # -- beside the live data

    @contextlib.contextmanager
    def beside(self, file: Path, kind: str, scratch: Path, pace: Pace) -> Iterator[tuple[PostgresqlTables, Seen]]:
        """Bring a backup to life in a database of its own, yield its tables and drop it again; raise BackupDamagedError."""
        with self._claimed("check") as aside:
            seen = self._revive(file, kind, aside, pace)
            with self._connected(aside) as connection:
                yield PostgresqlTables(connection).snapshot(), seen

    @contextlib.contextmanager
    def live(self) -> Iterator[PostgresqlTables]:
        """Yield the tables of the database in one state; raise BackupError when it is away."""
        with self._connected() as connection:
            yield PostgresqlTables(connection).snapshot()

    def is_same(self, other: "PostgresqlBackend") -> bool:
        """Tell whether two addresses name one database."""
        return all(getattr(self._url, part) == getattr(other._url, part) for part in ("host", "port", "database", "query"))

    def named(self, target: str) -> sa.URL:
        """Return the address of another database of this server."""
        return self._url.set(database=target)

    def place(self, file: Path, kind: str, pace: Pace, placed: Placed) -> None:
        """Bring a backup to life as this database, which there is none of yet or which is empty; raise BackupRefusedError for any other."""
        if not self.name or len(self.name.encode()) > LONGEST_NAME or OWN.search(self.name):
            raise BackupRefusedError(f"a database cannot be named {self.name!r} here", hint=f"give a name of at most {LONGEST_NAME} bytes")
        empty = self._is_empty()
        with self._claimed("new") as aside:
            seen = self._revive(file, kind, aside, pace)
            with self._connected(aside) as connection:
                placed(PostgresqlTables(connection), seen)
            with self._connected("postgres") as admin:
                if empty:
                    admin.execute(f"drop database {quoted(self.name)}")  # not by force: who is connected wants it
                admin.execute(f"alter database {quoted(aside)} rename to {quoted(self.name)}")

    def _is_empty(self) -> bool:
        """Tell whether there is a database without tables; raise BackupRefusedError for one that has some."""
        with self._connected("postgres") as admin:
            if admin.execute("select 1 from pg_database where datname = %s", [self.name]).fetchone() is None:
                return False
        with self._connected() as connection:
            if PostgresqlTables(connection).shapes():
                raise BackupRefusedError(f"the database {self.name} is there and not empty", hint="give a new name, or drop it first")
        return True

    # -- from a file

    def inspect(self, file: Path, kind: str, scratch: Path, pace: Pace) -> Seen:
        """Bring a backup to life in a database of its own, look at it and drop it again; raise BackupDamagedError."""
        with self._claimed("check") as aside:
            return self._revive(file, kind, aside, pace)

    @property
    def _stem(self) -> str:
        return self.name.encode()[:30].decode(errors="ignore")  # a name has at most 63 bytes, and letters have up to four

    def _aside(self, what: str) -> str:
        return f"{self._stem}_{what}_{SYSTEM_CLOCK.now():{STAMP}}_{token(24).lower().replace('-', 'x')}"

    @contextlib.contextmanager
    def _claimed(self, what: str) -> Iterator[str]:
        """Yield the name of a database of our own, which is gone at the end unless it was renamed; locked as long as this process lives."""
        self._sweep()
        aside = self._aside(what)
        with self._connected("postgres") as admin:
            admin.execute(f"select pg_advisory_lock({CLAIM})", [aside])
            try:
                yield aside
            finally:
                self._drop(aside)

    def _sweep(self) -> None:
        """Drop the databases aside that killed processes left: nobody holds their locks any more."""
        with contextlib.suppress(BackupError), self._connected("postgres") as admin:
            for (name,) in admin.execute("select datname from pg_database where starts_with(datname, %s)", [self._stem]).fetchall():
                if LEFT.fullmatch(name, len(self._stem)) and admin.execute(f"select pg_try_advisory_lock({CLAIM})", [name]).fetchone() == (True,):
                    self._drop(name)
                    admin.execute(f"select pg_advisory_unlock({CLAIM})", [name])

    def _revive(self, file: Path, kind: str, aside: str, pace: Pace) -> Seen:
        with self._connected("postgres") as admin:
            version = admin.info.server_version // 10_000
            admin.execute(f"create database {quoted(aside)} template template0{likeness(admin, self.name)}")
        if kind.startswith("sql"):
            arguments = [self._program("psql", version), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        else:
            arguments = [self._program("pg_restore", version), "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
            arguments += [f"--dbname={aside}"]
        pace.begin("unpack", file.stat().st_size)
        damaged, tail = "", b""
        with self._running(arguments, aside, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as (process, said):
            widen(process.stdin)
            try:
                with contextlib.suppress(BrokenPipeError):
                    for block in self._read(file, kind):
                        if process.stdin is not None:
                            process.stdin.write(block)
                        pace.add(len(block))
                        tail = (tail + block)[-len(END) * 10 :]
                    if process.stdin is not None:
                        process.stdin.close()
            except BackupDamagedError as error:
                process.kill()
                raise error from None
            if process.wait() != 0:
                damaged = _told(said)
        if not damaged and kind.startswith("sql") and END not in tail:
            damaged = "it ends before its last statement"  # psql takes that for a whole one
        if damaged:
            raise BackupDamagedError(f"{file.name} could not be brought to life: {damaged}")
        pace.begin("check")
        with self._connected(aside) as connection:
            connection.execute("begin isolation level repeatable read read only")
            return _look(connection)

    def _drop(self, database: str) -> None:
        with contextlib.suppress(BackupError), self._connected("postgres") as admin:
            admin.execute(f"drop database if exists {quoted(database)} with (force)")

    def restore(self, file: Path, kind: str, scratch: Path, pace: Pace, steps: Steps) -> Restored:
        """Bring a backup to life in a new database and give it the live one's name; the old data stay under another."""
        with self._claimed("new") as aside:
            seen = self._revive(file, kind, aside, pace)
            with self._connected("postgres") as admin:
                dress(admin, self.name, aside)
            steps.ready(self._address(aside), seen)
            steps.keep()
            return self._swap(aside, pace)

    def _address(self, database: str) -> str:
        return self._url.set(database=database).render_as_string(hide_password=False)

    def _swap(self, aside: str, pace: Pace) -> Restored:
        before = self._aside("before")
        pace.begin("swap")
        with self._connected("postgres") as admin:
            there = admin.execute("select 1 from pg_database where datname = %s", [self.name]).fetchone() is not None
            began = SYSTEM_CLOCK.monotonic()
            with self._emptied(self.name, aside):
                self._rename(admin, aside, before if there else "")
            return Restored(round(SYSTEM_CLOCK.monotonic() - began, 3), before if there else "")

    def _rename(self, admin: Any, aside: str, before: str) -> None:
        """Give the new database the live one's name in one transaction, so that a kill at any moment leaves a live one that can be reached."""
        live, new, old = quoted(self.name), quoted(aside), quoted(before)
        for _ in range(TRIES):
            try:
                with admin.transaction():
                    if before:  # new connections wait from here on, and for those that are there the server waits five seconds
                        admin.execute(f"alter database {live} rename to {old}")
                        admin.execute(f"alter database {old} allow_connections false")
                        admin.execute(f"comment on database {old} is {literal(self._mark)}")
                    admin.execute(f"alter database {new} rename to {live}")
                    return
            except Exception as error:
                if getattr(error, "sqlstate", None) != IN_USE:
                    raise
        raise BackupRefusedError(f"somebody stays connected to {self.name}; it is as it was", hint="stop the application, then restore")

    @contextlib.contextmanager
    def _emptied(self, *databases: str) -> Iterator[None]:
        """End every connection to databases again and again: a rename is refused while anybody is connected."""
        over = threading.Event()

        def empty() -> None:
            with contextlib.suppress(BackupError), self._connected("postgres") as other:
                while not over.is_set():
                    other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = any(%s)", [list(databases)])
                    over.wait(EMPTY_SECONDS)

        thread = threading.Thread(target=empty, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(CONNECT_SECONDS)

    @property
    def _mark(self) -> str:
        return f"{self.name} before a restore"

    def put_aside(self) -> list[Undoable]:
        """Return the databases that restores of this one have taken the place of; their comments say of which one they were."""
        query = "select datname from pg_database where shobj_description(oid, 'pg_database') = %s order by 1"
        with self._connected("postgres") as admin:
            names = [str(name) for (name,) in admin.execute(query, [self._mark]).fetchall()]
        return [Undoable(name, datetime.strptime(match[1], STAMP).replace(tzinfo=UTC)) for name in names if (match := BEFORE.search(name))]

    def let_go(self, database: str) -> None:
        """Drop a database of before, not by force; raise BackupError when somebody is connected to it."""
        with self._connected("postgres") as admin:
            admin.execute(f"drop database if exists {quoted(database)}")

    def damaged(self) -> list[Path]:
        """Return none: what was there before is a database of its own."""
        return []

    def before(self) -> Undoable | None:
        """Return the newest database that a restore of this one has taken the place of."""
        return max(self.put_aside(), key=lambda one: (one.at, one.filename), default=None)

    def undo(self, before: str, pace: Pace, steps: Steps) -> Restored:
        """Give the data of before a restore their name back; those that were restored become data of before."""
        pace.begin("check")
        with self._connected("postgres") as admin:
            said = comment_of(admin, self.name)
            admin.execute(f"alter database {quoted(before)} allow_connections true")
            try:
                steps.ready(self._address(before), None)
                steps.keep()
                done = self._swap(before, pace)
            except BaseException:
                admin.execute(f"alter database {quoted(before)} allow_connections false")
                raise
            admin.execute(f"comment on database {quoted(self.name)} is {literal(said)}")
            return done


def _look(connection: Any) -> Seen:
    query = (
        "select n.nspname, c.relname, exists (select from pg_attribute where attrelid = c.oid and attname = 'version_num' and not attisdropped)"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^(pg_|information_schema$)' order by 1, 2"
    )
    rows: dict[str, int] = {}
    schema: dict[str, str] = {}
    for space, table, versioned in connection.execute(query).fetchall():
        name, known = quoted(space, table), table if space == "public" else f"{space}.{table}"
        rows[known] = int(connection.execute(f"select count(*) from {name}").fetchone()[0])  # noqa: S608 - a quoted name
        if versioned and table.endswith("_version"):
            found = connection.execute(f"select version_num from {name}").fetchone()  # noqa: S608 - the same
            schema |= {known: str(found[0])} if found else {}
    return Seen(rows, schema)


def _read(pipe: "IO[bytes] | None", said: list[bytes]) -> None:
    kept = 0
    while pipe is not None and (line := pipe.readline()):
        if kept < TOLD_BYTES:
            said.append(line)
            kept += len(line)


def _told(said: Sequence[bytes]) -> str:
    return b" ".join(line.strip() for line in said).decode("utf-8", "replace")[:TOLD_BYTES] or "without a word"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
