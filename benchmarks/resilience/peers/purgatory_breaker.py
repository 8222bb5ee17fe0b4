"""purgatory (BSD): consecutive failures, one factory for each of the two worlds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import purgatory
from benchmarks.resilience.side import FAILURES, Side

if TYPE_CHECKING:
    from benchmarks.resilience.side import Awaited, Plain


class Purgatory(Side):
    """Use its decorators."""

    def plain(self, open_seconds: float) -> Plain:
        """Return a breaker."""
        breaker: Plain = purgatory.SyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=open_seconds)("bank")
        return breaker

    def awaited(self, open_seconds: float) -> Awaited:
        """Return a breaker."""
        breaker: Awaited = purgatory.AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=open_seconds)("bank")
        return breaker


make = Purgatory
