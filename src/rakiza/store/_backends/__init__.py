"""One file per database engine behind one protocol."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from rakiza.store.errors import StoreError


class Session:
    """Hold one connection while a transaction, begun by SQLAlchemy or on the driver, uses it."""

    __slots__ = ("connection", "driver", "generation", "writing")

    def __init__(self, connection: sa.Connection, writing: bool, generation: int = 0) -> None:
        self.connection = connection
        self.driver: Any = connection.connection.driver_connection
        self.writing = writing
        self.generation = generation

    def commit(self) -> None:
        (self.connection if self.connection.in_transaction() else self.driver).commit()

    def rollback(self) -> None:
        (self.connection if self.connection.in_transaction() else self.driver).rollback()


class Backend(Protocol):
    """Open, end and explain transactions on one engine."""

    engine: sa.Engine
    probe: str

    def open(self, writing: bool) -> Session: ...
    def commit(self, session: Session) -> None: ...
    def release(self, session: Session, broken: bool) -> None: ...
    def lend(self) -> AbstractContextManager[Any]: ...
    def migrating(self) -> AbstractContextManager[sa.Connection]: ...
    def explain(self, error: BaseException) -> StoreError | None: ...
    def close(self) -> None: ...
    def forget(self) -> None: ...


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's error inside SQLAlchemy's, or the error itself."""
    return (error.orig or error) if isinstance(error, sa.exc.DBAPIError) else error
