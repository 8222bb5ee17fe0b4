"""Settings of resilience."""

from typing import Annotated, ClassVar

import msgspec

from rakiza._kernel import RoomSettings


class ResilienceSettings(RoomSettings, frozen=True, kw_only=True):
    """Say what operators may force and what processes tell one another."""

    room: ClassVar[str] = "resilience"

    longest_force_seconds: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0
    """How long at most an operator may force a circuit breaker open or closed, in seconds."""
    share: bool = True
    """Whether this process tells the others of its database when a breaker made with `shared=True` opens or closes, and follows them."""
