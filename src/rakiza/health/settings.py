"""Settings of the health checks."""

from typing import Annotated, ClassVar
from urllib.parse import quote

import msgspec

from rakiza._kernel import RoomSettings

from ._core import Target, target

Positive = Annotated[float, msgspec.Meta(gt=0)]


class HealthSettings(RoomSettings, frozen=True, kw_only=True):
    """Say what is looked at and how often, and how a shut-down drains."""

    room: ClassVar[str] = "health"
    env: ClassVar[dict[str, str]] = {name: name.upper() for name in ("redis_url", "redis_host", "redis_port", "redis_password")}

    good_seconds: Positive = 5.0
    """Seconds between two looks at a component that is well."""
    bad_seconds: Positive = 1.0
    """Seconds between two looks at a component that is not."""
    failures: Annotated[int, msgspec.Meta(ge=1)] = 2
    """How many bad looks in a row make a component fail that was well; until then it is a warning."""
    drain_seconds: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """Seconds between failing readiness and stopping after SIGTERM; longer than the probe's period."""
    clock_seconds: Positive = 2.0
    """Seconds the clock may jump, or differ from the database's, before it is a warning."""
    redis_url: str = ""
    """Redis to look at, redis:// or rediss:// (TLS)."""
    redis_host: str = ""
    """Host of Redis when no address is given."""
    redis_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 6379
    """Port of Redis when no address is given."""
    redis_password: str = ""
    """Password of Redis when no address is given."""
    redis_required: bool = False
    """Whether readiness goes away with Redis."""
    services: tuple[str, ...] = ()
    """Outside services: `https://bank.example/health` (status below 500) or `tcp://smtp:25`; `bank=https://…` names one, a final `!` requires it."""

    def __post_init__(self) -> None:
        """Raise ValueError for an address that cannot be looked at."""
        names = [one.name for one in self.targets]
        if len(set(names)) < len(names):
            raise ValueError(f"services: two have the same name in {', '.join(names)}; write name=address")

    @property
    def targets(self) -> list[Target]:
        """Return Redis, when there is one, and the outside services."""
        address = self.redis_url or (f"redis://:{quote(self.redis_password, safe='')}@{self.redis_host}:{self.redis_port}" if self.redis_host else "")
        redis = [f"redis={address}" + "!" * self.redis_required] if address else []
        return [target(text) for text in (*redis, *self.services)]
