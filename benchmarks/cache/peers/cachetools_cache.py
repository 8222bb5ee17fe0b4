"""cachetools (MIT): an LRU, and a cache with a TTL; a lock where threads share it, as its guide shows."""

from __future__ import annotations

import threading
from typing import Any

import cachetools
from benchmarks.cache.side import TTL_SECONDS, Side


class CacheTools(Side):
    """Use a mapping of the library; `lock` is "", "lock" or "condition"."""

    def __init__(self, *, ttl: bool, lock: str, **given: Any) -> None:
        """Choose the mapping and how it is guarded."""
        super().__init__(**given)
        self.ttl, self.lock = ttl, lock

    def open(self) -> None:
        """Make the mapping."""
        def made() -> Any:
            return cachetools.TTLCache(self.capacity, TTL_SECONDS) if self.ttl else cachetools.LRUCache(self.capacity)

        kept, guard = made(), threading.RLock()

        def get(key: str) -> Any:
            with guard:
                return kept.get(key)

        def put(key: str, value: Any) -> None:
            with guard:
                kept[key] = value

        self.get, self.set = (get, put) if self.lock else (kept.get, kept.__setitem__)
        keywords = {"": {}, "lock": {"lock": threading.RLock()}, "condition": {"condition": threading.Condition()}}[self.lock]
        self.cached = cachetools.cached(made(), **keywords)


make = CacheTools
