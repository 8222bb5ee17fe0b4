"""cashews (MIT): memory, Redis, and Redis with copies in the client; it pickles for Redis, as it ships. Only awaited."""

from __future__ import annotations

import functools
from typing import Any

from benchmarks.cache.side import TTL_SECONDS, Side
from cashews import Cache


class Cashews(Side):
    """Awaited calls only; `lock` makes one caller load."""

    def __init__(self, *, client_side: bool = False, lock: bool = False, **given: Any) -> None:
        """Choose copies in the client and a lock round loads."""
        super().__init__(**given)
        self.client_side, self.lock = client_side, lock

    async def aopen(self) -> None:
        """Make the cache and connect."""
        cache = Cache()
        if self.url:
            cache.setup(self.url, **({"client_side": True} if self.client_side else {}))
        else:
            cache.setup("mem://", size=self.capacity)
        await cache.init()
        self.aget, self.aset, self.aclose = cache.get, functools.partial(cache.set, expire=TTL_SECONDS), cache.close
        self.acached = cache(ttl=TTL_SECONDS, lock=self.lock)


make = Cashews
