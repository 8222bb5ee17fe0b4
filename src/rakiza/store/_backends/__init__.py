"""One file per database engine behind one protocol."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from rakiza.store.errors import StoreError


class Session:
    """Hold one connection while a transaction uses it."""

    __slots__ = ("connection", "driver", "generation", "writing")

    def __init__(self, connection: sa.Connection, writing: bool, generation: int = 0) -> None:
        self.connection = connection
        self.driver: Any = connection.connection.driver_connection
        self.writing = writing
        self.generation = generation

    def commit(self) -> None:
        """Commit what SQLAlchemy or the driver began."""
        (self.connection if self.connection.in_transaction() else self.driver).commit()

    def rollback(self) -> None:
        """Undo what SQLAlchemy or the driver began."""
        (self.connection if self.connection.in_transaction() else self.driver).rollback()


class Backend(Protocol):
    """Open, end and explain transactions on one engine."""

    name: str
    engine: sa.Engine
    probe: str

    def open(self, writing: bool) -> Session:
        """Return a session in a new transaction; raise StoreError or the driver's error."""
        ...

    def commit(self, session: Session) -> None:
        """Commit; raise the driver's error or RolledBackError."""
        ...

    def release(self, session: Session, broken: bool) -> None:
        """Take the connection back, or close it when broken."""
        ...

    def connect(self) -> Any:
        """Return a driver's connection of its own, in autocommit mode."""
        ...

    def migrating(self) -> AbstractContextManager[sa.Connection]:
        """Open the one transaction in which tables may change; others that migrate wait."""
        ...

    def explain(self, error: BaseException) -> StoreError | None:
        """Return the error to show for one of the driver's or SQLAlchemy's, none when it is not about the database's state."""
        ...

    def remark(self) -> str | None:
        """Return what an operator should know about the place of the data."""
        ...

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        ...

    def forget(self) -> None:
        """Leave the parent's connections alone in a forked child."""
        ...


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's error inside SQLAlchemy's, or the error itself."""
    return (error.orig or error) if isinstance(error, sa.exc.DBAPIError) else error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0]
