"""The cache of this project through its public door as it ships, but for how many keys it may keep and how long it waits for Redis."""

from __future__ import annotations

import asyncio
import functools

from benchmarks.cache.side import TTL_SECONDS, Side
from rakiza.caching import CacheManager, CachingSettings, cached


class Ours(Side):
    """Use one manager for plain and awaited calls."""

    def open(self) -> None:
        """Make the cache and connect."""
        host, port, database = self.address if self.url else ("", 0, 0)
        address = {"host": host, "port": port, "db": database}
        patience = {"redis_timeout_seconds": 1.0} if self.patient else {}
        settings = CachingSettings(max_keys=self.capacity, **patience)
        cache = CacheManager(bool(self.url), address if self.url else None, settings=settings)
        self.get, self.set = cache.get, functools.partial(cache.set, ttl=TTL_SECONDS)
        self.aget, self.aset = cache.aget, functools.partial(cache.aset, ttl=TTL_SECONDS)
        self.cached = self.acached = cached(ttl=TTL_SECONDS, manager=cache)
        self.close = cache.close  # type: ignore[method-assign]

    async def aopen(self) -> None:
        """Make the cache and connect."""
        await asyncio.to_thread(self.open)

    async def aclose(self) -> None:
        """Disconnect."""
        await asyncio.to_thread(self.close)


make = Ours
