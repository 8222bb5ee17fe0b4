"""pybreaker (BSD): consecutive failures; its awaited calls need tornado and are not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pybreaker
from benchmarks.resilience.side import FAILURES, Side

if TYPE_CHECKING:
    from benchmarks.resilience.side import Plain


class PyBreaker(Side):
    """Plain calls only."""

    def plain(self, open_seconds: float) -> Plain:
        """Return a breaker."""
        breaker: Plain = pybreaker.CircuitBreaker(fail_max=FAILURES, reset_timeout=open_seconds)
        return breaker


make = PyBreaker
