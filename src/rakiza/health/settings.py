"""Settings of the health checks."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class HealthSettings(RoomSettings, frozen=True, kw_only=True):
    """Say how often components are looked at and how a shut-down drains."""

    room: ClassVar[str] = "health"

    good_seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """Seconds between two looks at a component that is well."""
    bad_seconds: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Seconds between two looks at a component that is not."""
    drain_seconds: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    """Seconds between failing readiness and stopping after SIGTERM; longer than the probe's period."""
