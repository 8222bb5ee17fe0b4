"""PostgreSQL through psycopg 3 and SQLAlchemy's pool."""

import select
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event

from rakiza.store.errors import RolledBackError, StoreBusyError, StoreConflictError, StoreError, StoreUnavailableError
from rakiza.store.settings import StoreSettings
from rakiza.telemetry import trace_engine

from . import Session, driver_error

try:
    import psycopg
    from psycopg.pq import TransactionStatus
except ImportError as missing:
    raise StoreError("PostgreSQL needs the driver psycopg", code="store_driver", hint='pip install "rakiza[postgres]"') from missing

MIGRATION_LOCK = 0x72616B697A61  # "rakiza" in ASCII: the advisory lock all its processes agree on
AWAY = ("08", "57P")  # SQLSTATE classes: connection exception, operator intervention (PostgreSQL documentation, appendix A)


class PostgresqlBackend:
    """Keep a pool of `pool_size` connections."""

    probe = "select 1"

    def __init__(self, url: sa.URL, settings: StoreSettings, application: str) -> None:
        self._settings = settings
        self.where = f"{url.host or url.query.get('host') or 'localhost'}:{url.port or 5432}/{url.database}"
        pool = {"pool_timeout": settings.pool_timeout_seconds, "pool_recycle": settings.pool_recycle_seconds, "pool_use_lifo": True}
        options = {"connect_timeout": settings.connect_timeout_seconds, "application_name": application}
        self.engine = trace_engine(sa.create_engine(url, pool_size=settings.pool_size, max_overflow=0, connect_args=options, **pool))
        self._reading = self.engine.execution_options(postgresql_readonly=True)
        event.listen(self.engine, "connect", self._prepare)
        event.listen(self.engine, "checkout", _drop_if_hung_up)

    def _prepare(self, driver: "psycopg.Connection[Any]", record: Any) -> None:
        settings = self._settings
        autocommit, driver.autocommit = driver.autocommit, True
        driver.execute(
            "select set_config('statement_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false),"
            " set_config('timezone', 'UTC', false)",
            [str(int(settings.statement_timeout_seconds * 1000)), str(int(settings.idle_transaction_timeout_seconds * 1000))],
        )
        driver.autocommit = autocommit
        record.info["new"] = True

    def open(self, writing: bool) -> Session:
        return Session((self.engine if writing else self._reading).connect(), writing)

    def commit(self, session: Session) -> None:
        """Commit; raise RolledBackError when an earlier error was swallowed, which PostgreSQL itself would answer with a silent rollback."""
        if session.driver.info.transaction_status == TransactionStatus.INERROR:
            raise RolledBackError(
                "a statement of this transaction failed and its error was swallowed", hint="guard a statement that may fail by `tx.savepoint()`"
            )
        session.commit()

    def release(self, session: Session, broken: bool) -> None:
        if (broken or session.driver.closed) and not session.connection.invalidated:
            session.connection.invalidate()
        session.connection.close()

    def lend(self) -> "AbstractContextManager[psycopg.Connection[Any]]":
        lent = self.engine.raw_connection()
        driver = cast("psycopg.Connection[Any]", lent.driver_connection)
        lent.detach()  # closed by its user, and its place in the pool is free at once
        driver.autocommit = True
        return closing(driver)

    @contextmanager
    def migrating(self) -> Iterator[sa.Connection]:
        """Open a transaction that holds the advisory lock of migrations and has no time limit."""
        with self.engine.begin() as connection:
            connection.execute(sa.text("set local statement_timeout = 0"))
            connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            yield connection

    def explain(self, error: BaseException) -> StoreError | None:
        if isinstance(error, sa.exc.TimeoutError):
            waited = f"waited {self._settings.pool_timeout_seconds:g} s for one of {self._settings.pool_size} connections to {self.where}"
            return StoreBusyError(waited, hint="keep transactions short, or raise RAKIZA_STORE_POOL_SIZE")
        cause = driver_error(error)
        if not isinstance(cause, psycopg.Error):
            return None
        state, text = cause.sqlstate or "", str(cause).strip().partition("\n")[0]
        if state in _TROUBLE:
            kind, code, what, hint = _TROUBLE[state]
            return kind(f"{what} at {self.where} ({text})", code=code, hint=hint)
        lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
        if lost or state.startswith(AWAY) or (not state and isinstance(cause, psycopg.OperationalError)):
            hint = "is the server running, and are address, user and password in DATABASE_URL right?"
            return StoreUnavailableError(f"PostgreSQL at {self.where} cannot be reached ({text})", hint=hint)
        return None

    def close(self) -> None:
        self.engine.dispose()

    def forget(self) -> None:
        self.engine.dispose(close=False)


_TROUBLE: dict[str, tuple[type[StoreError], str, str, str]] = {
    "40001": (StoreConflictError, "store_conflict", "another transaction came first", "try again: `store.retry(...)`"),
    "40P01": (StoreConflictError, "store_conflict", "two transactions waited for each other", "try again: `store.retry(...)`"),
    "55P03": (StoreBusyError, "store_busy", "a row is locked by another transaction", "try again"),
    "57014": (StoreBusyError, "store_timeout", "a statement took too long", "narrow the query, or raise RAKIZA_STORE_STATEMENT_TIMEOUT_SECONDS"),
    "53100": (StoreError, "store_disk_full", "the disk is full", "free space on the server"),
    "53300": (StoreUnavailableError, "store_unavailable", "too many connections", "lower RAKIZA_STORE_POOL_SIZE or raise max_connections"),
    "25006": (StoreError, "store_read_only", "the transaction may only read", "write inside `store.begin()`; is this a standby server?"),
}


def _drop_if_hung_up(driver: "psycopg.Connection[Any]", record: Any, _fairy: object) -> None:
    # An idle connection has something to read when the server hung up: one system call instead of a round trip.
    # A new one is not looked at: after a second hang-up SQLAlchemy raises an error about its own use, the first statement one of the driver's.
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN | select.POLLHUP)
    if not record.info.pop("new", False) and poll.poll(0):
        raise sa.exc.DisconnectionError
