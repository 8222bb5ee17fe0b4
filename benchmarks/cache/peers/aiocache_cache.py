"""aiocache (BSD): its memory and its Redis with JSON, as it ships. Only awaited."""

from __future__ import annotations

import functools
from typing import Any

import aiocache
from benchmarks.cache.side import TTL_SECONDS, Side


class AioCache(Side):
    """Awaited calls only; `lock` chooses the decorator that lets one caller load."""

    def __init__(self, *, lock: bool = False, **given: Any) -> None:
        """Choose the decorator."""
        super().__init__(**given)
        self.lock = lock

    async def aopen(self) -> None:
        """Make the cache."""
        place: dict[str, Any] = {}
        if self.url:
            host, port, database = self.address
            from aiocache.serializers import JsonSerializer
            place = {"cache": aiocache.Cache.REDIS, "endpoint": host, "port": port, "db": database, "serializer": JsonSerializer()}
        kept = aiocache.Cache(place.pop("cache", aiocache.Cache.MEMORY), ttl=TTL_SECONDS, **place)
        self.aget, self.aset, self.aclose = kept.get, kept.set, kept.close
        if self.url:
            place["cache"] = aiocache.Cache.REDIS
        decorator = functools.partial(aiocache.cached_stampede, lease=5) if self.lock else aiocache.cached
        self.acached = decorator(ttl=TTL_SECONDS, **place)


make = AioCache
