"""The cache: memory in front of Redis, which may be absent, die, freeze and come back without any caller noticing.

    from rakiza.caching import CacheManager, cached

    cache = CacheManager(use_redis=False)              # in a platform: platform.cache; with Redis: use_redis=True, redis_config={…}
    cache.set("user:123", {"name": "أحمد", "role": "Admin"}, ttl=300)
    assert cache.get("user:123")["name"] == "أحمد"

    @cached(ttl=600, key_prefix="project", tags=lambda number: (f"owner:{number % 2}",), manager=cache)
    def project(number: int) -> dict:
        return {"number": number, "name": "فيلا النرجس"}

    assert project(42) == project(number=42)           # one call of the function
    cache.delete("project:42")                         # its key; cache.invalidate_tag("owner:0") forgets by tag
    project.clear_cache()
    cache.close()

Values are plain data, or anything msgspec knows when its type is given or annotated; what would not come back as it went in is refused.
An invalidation reaches every process: with `tx=` after the commit of that transaction.
"""

from rakiza._kernel import attach

from ._decorator import CachedFunction, cache_at_hand, cached
from ._etag import conditional, etag
from .errors import CacheValueError
from .part import part
from .service import CacheManager
from .settings import CachingSettings

__all__ = [
    "CacheManager", "CacheValueError", "CachedFunction", "CachingSettings", "cache_at_hand", "cached", "conditional", "etag", "init_cache",
    "part",
]


def init_cache(app: object) -> CacheManager:
    """Give `app` the cache and return it."""
    return attach(app, "caching", CacheManager)
