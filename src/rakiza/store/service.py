"""The store: write and read transactions, joined within one context, with work to do after the commit."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, cast

import sqlalchemy as sa

from rakiza._kernel import draw
from rakiza._kernel.tasks import after_fork
from rakiza.telemetry import observed

from ._backends import Backend, Session
from ._compiled import Compiled
from .errors import RolledBackError, StoreConflictError, StoreError
from .settings import StoreSettings

T = TypeVar("T")
MAX_COMPILED = 1024
log = logging.getLogger("rakiza.store")
_open: ContextVar[tuple["Transaction", ...]] = ContextVar("rakiza_store_open", default=())


class Transaction:
    """Run statements in one transaction; made by `store.begin()` and `store.read()`."""

    __slots__ = ("_after", "_before", "_ended", "_failed", "_session", "_store", "_thread", "closed", "writing")

    def __init__(self, store: "Store", session: Session) -> None:
        self._store = store
        self._session = session
        self._thread = threading.get_ident()
        self._before: list[Callable[[], object]] = []
        self._after: list[Callable[[], object]] = []
        self._ended: list[Callable[[], object]] = []
        self._failed: BaseException | None = None
        self.writing = session.writing
        self.closed = False

    @property
    def store(self) -> "Store":
        """Return the store whose transaction this is."""
        return self._store

    @property
    def connection(self) -> sa.Connection:
        """Return SQLAlchemy's connection; raise RuntimeError after the end or from another thread."""
        return self._own().connection

    @property
    def driver_connection(self) -> Any:
        """Return the driver's connection; the transaction on it belongs to the store, so never commit."""
        return self._own().driver

    def _own(self) -> Session:
        if self.closed or self._thread != threading.get_ident():
            raise RuntimeError("the transaction is over" if self.closed else "a transaction belongs to the thread that began it")
        return self._session

    def execute(self, statement: sa.Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None) -> sa.CursorResult[Any]:
        """Run a statement, once or for each of a list of parameters; raise SQLAlchemy's errors."""
        return self._own().connection.execute(statement, parameters)

    def scalar(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """Return the first column of the first row, or none."""
        return self._own().connection.scalar(statement, parameters)

    def rows(self, query: Compiled, **parameters: object) -> list[tuple[Any, ...]]:
        """Run a compiled statement on the driver's cursor and return its raw tuples, none for a statement without rows."""
        cursor = self._cursor(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def row(self, query: Compiled, **parameters: object) -> tuple[Any, ...] | None:
        """Return the first raw tuple, or none."""
        cursor = self._cursor(query, parameters)
        return cast("tuple[Any, ...] | None", cursor.fetchone()) if cursor.description else None

    def run(self, query: Compiled, **parameters: object) -> int:
        """Run a compiled change and return how many rows it touched."""
        return int(self._cursor(query, parameters).rowcount)

    def _cursor(self, query: Compiled, parameters: dict[str, object]) -> Any:
        session = self._own()
        try:
            return observed(self._store.dialect, query.sql, session.driver.execute, query.sql, query.bind(parameters))
        except self._store.driver_error as error:
            raise self._store.wrap(error, query, session) from error

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Guard a block: when it fails, only the block is undone, with what it left to do around the commit, and the transaction goes on."""
        before, after, failed = len(self._before), len(self._after), self._failed
        try:
            with self._own().connection.begin_nested():
                yield
        except BaseException:
            del self._before[before:], self._after[after:]
            self._failed = failed  # a block inside is undone as well
            raise

    def before_commit(self, work: Callable[[], object]) -> None:
        """Call `work` as the last thing in the transaction; a failure in it undoes everything. Raise RuntimeError when reading."""
        self._own()
        if not self.writing:
            raise RuntimeError("only a write transaction commits; use store.begin()")
        self._before.append(work)

    def after_end(self, work: Callable[[], object]) -> None:
        """Call `work` once the outermost block has ended, committed or undone; a failure in it is logged and changes nothing."""
        self._own()
        self._ended.append(work)

    def settle(self) -> None:
        """Do what was left for the end, also what that leaves in turn."""
        while self._before:
            self._before.pop(0)()

    def after_commit(self, work: Callable[[], object]) -> None:
        """Call `work` once the outermost block has committed; a failure in it is logged and changes nothing. Raise RuntimeError when reading."""
        self._own()
        if not self.writing:
            raise RuntimeError("only a write transaction commits; use store.begin()")
        self._after.append(work)


class _Scope:
    __slots__ = ("_outermost", "_store", "_tx", "_writing")

    def __init__(self, store: "Store", writing: bool) -> None:
        self._store = store
        self._writing = writing

    def __enter__(self) -> Transaction:
        joined = self._store.joinable(self._writing)
        self._outermost = joined is None
        self._tx = joined or self._store.start(self._writing)
        return self._tx

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._outermost:
            self._store.finish(self._tx, error)
        elif error is not None and self._writing:
            self._tx._failed = error


class _Explained:
    """Turn errors about the database's state into StoreErrors; holds nothing, so every block may share it."""

    def __init__(self, backend: Backend, kinds: tuple[type[Exception], ...]) -> None:
        self._backend, self._kinds = backend, kinds

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shown = self._backend.explain(error) if isinstance(error, self._kinds) else None
        if shown is not None:
            raise shown from error


class Store:
    """Hold one database: `Store("var/app.db")`, `Store("sqlite:////path/app.db")` or `Store("postgresql://user:password@host/name")`."""

    def __init__(self, url: str, settings: StoreSettings | None = None, *, application: str = "rakiza", **fields: object) -> None:
        """Keep the address; connections open at first use. `fields` are those of StoreSettings. Raise StoreError for an address that cannot work."""
        self.settings = settings or StoreSettings(**fields)  # type: ignore[arg-type]
        parsed = parse_url(url)
        self.url = f"sqlite:///{parsed.database}" if parsed.get_backend_name() == "sqlite" else parsed.render_as_string(hide_password=True)
        self._backend = _backend(parsed, self.settings, application)
        self.dialect: Literal["sqlite", "postgresql"] = "sqlite" if self._backend.engine.dialect.name == "sqlite" else "postgresql"
        self.driver_error: type[Exception] = self._backend.engine.dialect.loaded_dbapi.Error
        self._explained = _Explained(self._backend, (self.driver_error, sa.exc.SQLAlchemyError))
        self._compiled: dict[tuple[sa.Executable, tuple[str, ...]], Compiled] = {}
        self._running: set[Transaction] = set()
        after_fork(self._forget)

    def _forget(self) -> None:
        self._backend.forget()
        self._running.clear()

    @property
    def in_transaction(self) -> bool:
        """Tell whether a write transaction of this context is open."""
        return self.joinable(True) is not None

    @property
    def transactions(self) -> int:
        """Return how many transactions of this process are open, each with a connection of its own."""
        return len(self._running)

    def begin(self) -> AbstractContextManager[Transaction]:
        """Open a write transaction, or join the one this context has open; raise StoreBusyError, StoreUnavailableError or another StoreError."""
        return _Scope(self, True)

    def read(self) -> AbstractContextManager[Transaction]:
        """Open a read transaction (one snapshot on SQLite), or join the one this context has open, so that own writes are seen."""
        return _Scope(self, False)

    def compile(self, statement: sa.Executable, *columns: str) -> Compiled:
        """Return the statement's text and parameter order for this engine, made once per statement object.

        An insert without values takes the names of its `columns`. Raise ValueError for an IN list whose values are still open.
        """
        found = self._compiled.get((statement, columns))
        if found is None:
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.clear()
            found = self._compiled[statement, columns] = Compiled(statement, self._backend.engine.dialect, columns or None)
        return found

    @contextmanager
    def raw_connection(self) -> Iterator[Any]:
        """Lend a connection of the driver of its own, in autocommit mode, outside pool and transactions; closed after the block."""
        with ExitStack() as held:
            with self._explained:
                connection = held.enter_context(self._backend.lend())
            yield connection

    @staticmethod
    def leave_to_parent(connection: Any) -> None:
        """Let the end a forked child has of a raw connection to PostgreSQL lead nowhere: closing it then says no goodbye in the parent's name."""
        if connection is not None and not connection.closed:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, connection.fileno())
            os.close(nowhere)

    @contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """Open the one transaction in which tables may change; other processes that migrate wait. Raise StoreError."""
        with self._explained, self._backend.migrating() as connection:
            yield connection

    def retry(self, work: Callable[[], T], attempts: int = 3) -> T:
        """Call `work` (a whole transaction) again when PostgreSQL undid it for another one's sake; raise StoreConflictError in the end."""
        for attempt in range(1, attempts):
            try:
                return work()
            except StoreConflictError:
                if self.in_transaction:
                    raise
                time.sleep(draw() * 0.02 * 2**attempt)
        return work()

    def explain(self, error: BaseException) -> StoreError | None:
        """Return what an error says about the database's state, none when the statement or its data were wrong."""
        return error if isinstance(error, StoreError) else self._backend.explain(error)

    def ping(self) -> None:
        """Read from the database once; raise StoreError."""
        with self.read() as tx:
            tx.driver_connection.execute(self._backend.probe).fetchall()

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self._backend.close()

    def joinable(self, writing: bool) -> Transaction | None:
        """Return the open transaction of this context and thread that a new block belongs to: a writing one, else for readers a reading one."""
        found = None
        for tx in reversed(_open.get()):
            if tx._store is self and not tx.closed and tx._thread == threading.get_ident():
                if tx.writing:
                    return tx
                found = found or tx
        return None if writing else found

    def start(self, writing: bool) -> Transaction:
        """Open a transaction of its own; raise StoreError."""
        with self._explained:
            tx = Transaction(self, self._backend.open(writing))
        _open.set((*_open.get(), tx))
        self._running.add(tx)
        return tx

    def finish(self, tx: Transaction, error: BaseException | None) -> None:
        """End the transaction: undo it for an error of the block or of a block inside, else commit and run what waits for that."""
        if error is None and tx._failed is None and tx._before:
            try:
                tx.settle()
            except BaseException as late:
                self.finish(tx, late)
                raise
        tx.closed = True
        self._running.discard(tx)
        _open.set(tuple(other for other in _open.get() if other is not tx and not other.closed))
        try:
            if error is not None:
                self._undo(tx)
                if (shown := self._backend.explain(error)) is not None:
                    raise shown from error
                return
            with self._explained:
                self._commit(tx)
            _call_all(tx._after)
        finally:
            _call_all(tx._ended)

    def _commit(self, tx: Transaction) -> None:
        try:
            if tx._failed is not None:
                raise RolledBackError(f"undone, because a block inside failed and its error was swallowed: {tx._failed!r}") from tx._failed
            if tx.writing:
                observed(self.dialect, "COMMIT", self._backend.commit, tx._session)
            else:
                self._backend.commit(tx._session)
        except BaseException:
            self._undo(tx)
            raise
        self._backend.release(tx._session, broken=False)

    def _undo(self, tx: Transaction) -> None:
        broken = True
        try:
            with suppress(self.driver_error, sa.exc.SQLAlchemyError):
                tx._session.rollback()
                broken = False
        finally:
            self._backend.release(tx._session, broken)

    def wrap(self, error: Exception, query: Compiled, session: Session) -> Exception:
        """Return SQLAlchemy's error for one of the driver's, so that callers catch one kind."""
        dialect = self._backend.engine.dialect
        lost = dialect.is_disconnect(cast("Any", error), session.driver, None)
        return cast(
            "Exception",
            sa.exc.DBAPIError.instance(query.sql, None, error, self.driver_error, hide_parameters=True, connection_invalidated=lost, dialect=dialect),
        )


def _call_all(works: Sequence[Callable[[], object]]) -> None:
    for work in works:
        try:
            work()
        except Exception:  # border: observer hook, the transaction is over
            log.exception("work after a transaction failed")


def parse_url(url: str) -> sa.URL:
    """Return the address in SQLAlchemy's form: a plain path is SQLite, `postgres://` is PostgreSQL by psycopg; raise StoreError for others."""
    try:
        parsed = sa.make_url(url.strip()) if "://" in url else sa.URL.create("sqlite", database=url.strip())
    except (sa.exc.ArgumentError, ValueError) as error:
        raise StoreError("the database's address cannot be read", code="store_address", hint=_ADDRESS_HINT) from error
    kind = parsed.get_backend_name()
    if kind in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise StoreError(f"databases of the kind {parsed.drivername!r} are not supported", code="store_address", hint=_ADDRESS_HINT)
    if parsed.database in {None, "", ":memory:"} or parsed.query:
        reason = "an SQLite address takes no options" if parsed.query else "an SQLite database in memory cannot be shared by a writer and readers"
        raise StoreError(reason, code="store_address", hint="give a file: sqlite:////path/file.db")
    return parsed


_ADDRESS_HINT = "write sqlite:////path/file.db or postgresql://user:password@host:5432/name in DATABASE_URL"


def _backend(url: sa.URL, settings: StoreSettings, application: str) -> Backend:
    if url.get_backend_name() == "sqlite":
        from ._backends.sqlite import SqliteBackend

        return SqliteBackend(Path(url.database or "").expanduser().absolute(), settings)
    from ._backends.postgresql import PostgresqlBackend

    return PostgresqlBackend(url, settings, application)
