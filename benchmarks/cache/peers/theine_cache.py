"""theine (BSD): W-TinyLFU whose core is written in Rust."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

from benchmarks.cache.side import TTL_SECONDS, Side
from theine import Cache, Memoize

TTL = dt.timedelta(seconds=TTL_SECONDS)


class Theine(Side):
    """Its memoiser decorates plain functions and coroutine functions."""

    def open(self) -> None:
        """Make the cache."""
        cache: Any = Cache(self.capacity)
        self.get, self.set = cache.get, functools.partial(cache.set, ttl=TTL)
        self.cached = Memoize(self.capacity, TTL)
        self.close = cache.close

    async def aopen(self) -> None:
        """Set the decorator."""
        self.acached = Memoize(self.capacity, TTL)

    def value(self, said: Any) -> Any:
        """Return the value of a pair."""
        return said[0] if said[1] else None


make = Theine
