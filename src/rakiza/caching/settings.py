"""Settings of the cache."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class CachingSettings(RoomSettings, frozen=True, kw_only=True):
    """Say how much is kept in memory, and how patient the cache is with Redis."""

    room: ClassVar[str] = "caching"
    env: ClassVar[dict[str, str]] = {"use_redis": "USE_REDIS_CACHE"}

    use_redis: bool | None = None
    """Whether values are shared through Redis; by default when Redis has an address. `true` without an address means localhost:6379."""
    ttl_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    """How long a value is fresh when nothing else is said."""
    max_keys: Annotated[int, msgspec.Meta(ge=10)] = 20_000
    """How many values a process keeps in memory."""
    max_bytes: Annotated[int, msgspec.Meta(ge=65_536)] = 64 * 1024 * 1024
    """About how much memory they may take."""
    redis_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    """How long one step of a conversation with Redis may take; after that the answer comes from memory or from the loader."""
    lock_wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 2.0
    """How long to wait for another process that loads the same value before loading it here as well."""
    lock_lease_seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0
    """After how long the lock of a process that loads a value, and may be dead, is free again."""
