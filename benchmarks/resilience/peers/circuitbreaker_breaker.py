"""circuitbreaker (BSD): consecutive failures, one decorator for both worlds."""

from __future__ import annotations

from typing import Any

from benchmarks.resilience.side import FAILURES, Side
from circuitbreaker import CircuitBreaker


class Breaker(Side):
    """Use its decorator."""

    def plain(self, open_seconds: float) -> Any:
        """Return a breaker."""
        return CircuitBreaker(failure_threshold=FAILURES, recovery_timeout=open_seconds)

    awaited = plain


make = Breaker
