"""Settings of the store."""

from typing import ClassVar

from rakiza._kernel import RoomSettings


class StoreSettings(RoomSettings, frozen=True, kw_only=True):
    """Say where the business data lives and how long anything may wait for it."""

    room: ClassVar[str] = "store"
    env: ClassVar[dict[str, str]] = {"database_url": "DATABASE_URL"}

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

    def __post_init__(self) -> None:
        """Raise ValueError for a size or a time that cannot work."""
        for name in ("pool_size", "pool_timeout_seconds", "busy_timeout_seconds", "connect_timeout_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
