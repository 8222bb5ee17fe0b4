"""dogpile.cache (MIT): a region in memory, or in Redis with its lock for all processes; values are pickled for Redis, as it ships."""

from __future__ import annotations

from typing import Any

from benchmarks.cache.side import TTL_SECONDS, Side
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE


class Dogpile(Side):
    """Plain calls only."""

    def open(self) -> None:
        """Make the region."""
        backend, arguments = "dogpile.cache.memory", {}
        if self.url:
            backend = "dogpile.cache.redis"
            arguments = {"url": self.url, "redis_expiration_time": 2 * TTL_SECONDS, "distributed_lock": True, "thread_local_lock": False}
        region = make_region().configure(backend, expiration_time=TTL_SECONDS, arguments=arguments)
        self.get, self.set, self.cached = region.get, region.set, region.cache_on_arguments()

    def value(self, said: Any) -> Any:
        """Return the value, or None for its mark."""
        return None if said is NO_VALUE else said


make = Dogpile
