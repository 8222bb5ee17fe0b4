"""What the ERP keeps of its answers for a while, and how the commit of a change drops it in every process."""

from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from rakiza.caching import CacheManager
from rakiza.security import User
from rakiza.store import Store, Transaction

T = TypeVar("T")
USER_SECONDS = 300.0


class ReadCache(Protocol):
    """Keep answers under keys, each with the tags that drop it."""

    def peek(self, key: str, kind: type[T]) -> T | None:
        """Return what is kept in this process, or none; never blocks."""
        ...

    def get_or_load(self, key: str, kind: type[T], load: Callable[[], T], *, ttl: float, tags: tuple[str, ...], shared: bool = True) -> T:
        """Return what is kept, else what `load` reads in a transaction of its own, kept for `ttl` seconds; blocks.

        What decides who somebody is or what they may do is not `shared`: nobody who can write to Redis may grant it.
        """
        ...

    def invalidate(self, tx: Transaction, tag: str) -> None:
        """Drop, with the commit of `tx` and in every process, what carries the tag."""
        ...


class NoReadCache:
    """Keep nothing, where the part `caching` or the part `bus` is switched off."""

    def peek(self, key: str, kind: type[T]) -> T | None:
        """Return none."""
        return None

    def get_or_load(self, key: str, kind: type[T], load: Callable[[], T], *, ttl: float, tags: tuple[str, ...], shared: bool = True) -> T:
        """Return what `load` reads."""
        return load()

    def invalidate(self, tx: Transaction, tag: str) -> None:
        """Do nothing."""


class PlatformReadCache:
    """Keep answers in the platform's cache."""

    def __init__(self, manager: CacheManager, store: Store) -> None:
        self._manager, self._store = manager, store

    def peek(self, key: str, kind: type[T]) -> T | None:
        """Return what is kept in this process, or none; never blocks."""
        entry = self._manager.at_hand(key, self._manager.codec(kind).schema)
        return cast("T", entry.value) if entry is not None else None

    def get_or_load(self, key: str, kind: type[T], load: Callable[[], T], *, ttl: float, tags: tuple[str, ...], shared: bool = True) -> T:
        """Return what is kept, else what `load` reads; inside a transaction always that."""
        # Its own writes must be seen, and what it shows may be old by now or never be committed: nothing is read or kept.
        if self._store.joinable(writing=False) is not None:
            return load()
        return self._manager.get_or_load(key, load, type=kind, ttl=ttl, tags=tags, shared=shared)

    def invalidate(self, tx: Transaction, tag: str) -> None:
        """Drop what carries the tag."""
        self._manager.invalidate_tag(tag, tx=tx)


class UserReads:
    """Let `security` read profiles through the cache."""

    def __init__(self, cache: ReadCache) -> None:
        self._cache = cache

    def peek(self, tenant: str, key: int) -> User | None:
        """Return the user this process keeps, or none; never blocks."""
        return self._cache.peek(f"user:{tenant}:{key}", User)

    def get_or_load(self, tenant: str, key: int, load: Callable[[], User]) -> User:
        """Return the user kept, else what `load` reads; blocks."""
        return self._cache.get_or_load(f"user:{tenant}:{key}", User, load, ttl=USER_SECONDS, tags=(user_tag(key),), shared=False)

    def invalidate(self, tx: Transaction, key: int) -> None:
        """Drop the user with the commit of `tx`."""
        self._cache.invalidate(tx, user_tag(key))


def project_tag(tenant: str, code: str) -> str:
    """Return the tag of what is kept of a project: its bill's sums and who may act on it."""
    return f"project:{tenant}:{code}"


def user_tag(key: int) -> str:
    """Return the tag of what is kept of a user: the profile and the places in projects."""
    return f"user:{key}"
