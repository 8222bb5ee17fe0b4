"""How an application's cache stands between a caller and the row of their user; sessions are never read through it."""

from collections.abc import Callable
from typing import Protocol

from rakiza.store import Transaction

from ._users import User


class UserCache(Protocol):
    """Keep users that were read, each until a change of it commits."""

    def peek(self, tenant: str, key: int) -> User | None:
        """Return a user known without a wait, or none."""
        ...

    def get_or_load(self, tenant: str, key: int, load: Callable[[], User]) -> User:
        """Return the user kept, else what `load` reads and raises; blocks."""
        ...

    def invalidate(self, tx: Transaction, key: int) -> None:
        """Drop a user in every process with the commit of `tx`."""
        ...


class NoUserCache:
    """Keep nobody."""

    def peek(self, tenant: str, key: int) -> User | None:
        """Return none."""
        return None

    def get_or_load(self, tenant: str, key: int, load: Callable[[], User]) -> User:
        """Return what `load` reads."""
        return load()

    def invalidate(self, tx: Transaction, key: int) -> None:
        """Do nothing."""
