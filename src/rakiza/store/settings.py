"""Settings of the store."""

from typing import Annotated, ClassVar
from urllib.parse import quote, urlsplit

import msgspec

from rakiza._kernel import RoomSettings


class StoreSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where the business data lives and how long anything may wait for it."""

    room: ClassVar[str] = "store"
    env: ClassVar[dict[str, str]] = {
        name: name.upper() for name in ("database_url", "redis_url", "redis_host", "redis_port", "redis_db", "redis_password")
    }

    database_url: str = ""
    """`sqlite:////path/file.db` or `postgresql://user:password@host/name`; empty means the file `<home>/<app>.db`."""
    pool_size: int = 10
    """How many connections a process keeps: readers on SQLite (the one writer comes on top), all of them on PostgreSQL."""
    pool_timeout_seconds: float = 10.0
    """How long a caller waits for the writer or for a free connection."""
    statement_timeout_seconds: float = 30.0
    """PostgreSQL stops a statement after this time; 0 lets it run."""
    idle_transaction_timeout_seconds: float = 60.0
    """PostgreSQL ends a transaction that does nothing for this time; 0 lets it wait."""
    connect_timeout_seconds: int = 5
    """How long opening a connection to PostgreSQL may take."""
    pool_recycle_seconds: int = 1800
    """A PostgreSQL connection older than this is opened anew."""
    busy_timeout_seconds: float = 10.0
    """How long SQLite waits for a writer of another process."""
    telemetry: bool = False
    """SQLite only: commit without waiting for the disk (`synchronous=NORMAL`); a power cut loses the last commits. Never for business data."""

    redis_url: str = ""
    """Redis for what processes share: `redis://`, `rediss://` (TLS) or `unix://`; none when empty and no host is given."""
    redis_host: str = ""
    """Host of Redis when no address is given."""
    redis_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 6379
    """Port of Redis when no address is given."""
    redis_db: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Number of the database of Redis when no address is given."""
    redis_password: str = ""
    """Password of Redis when no address is given."""

    @property
    def redis_address(self) -> str:
        """Return the address of Redis, empty when there is none."""
        if self.redis_url or not self.redis_host:
            return self.redis_url
        secret = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"redis://{secret}{host}:{self.redis_port}/{self.redis_db}"

    def __post_init__(self) -> None:
        """Raise ValueError for an address, a size or a time that cannot work."""
        if self.redis_url and urlsplit(self.redis_url).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError(f"redis_url must begin with redis://, rediss:// or unix://, not {self.redis_url.partition(':')[0]!r}")
        for name in ("pool_size", "pool_timeout_seconds", "busy_timeout_seconds", "connect_timeout_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
