"""Settings of the health checks."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings

from ._core import Target, target

Positive = Annotated[float, msgspec.Meta(gt=0)]


class HealthSettings(RoomSettings, frozen=True, kw_only=True):
    """Say what is looked at and how often, and how a shut-down drains."""

    room: ClassVar[str] = "health"

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
    redis_required: bool = False
    """Whether readiness goes away with Redis."""
    services: tuple[str, ...] = ()
    """Outside services: `https://bank.example/health` (status below 500) or `tcp://smtp:25`; `bank=https://…` names one, a final `!` requires it."""

    def __post_init__(self) -> None:
        """Raise ValueError for an address that cannot be looked at."""
        names = [one.name for one in self.targets()]
        if len(set(names)) < len(names):
            raise ValueError(f"services: two have the same name in {', '.join(names)}; write name=address")

    def targets(self, redis_address: str = "") -> list[Target]:
        """Return Redis, when it has an address, and the outside services."""
        redis = [f"redis={redis_address}" + "!" * self.redis_required] if redis_address else []
        return [target(text) for text in (*redis, *self.services)]
