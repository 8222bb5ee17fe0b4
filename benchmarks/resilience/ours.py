"""The policies of this project through their public door."""

from __future__ import annotations

from typing import Any

from benchmarks.resilience.side import AT_ONCE, ATTEMPTS, FAILURES, LEASE_SECONDS, TIMEOUT_SECONDS, Side
from rakiza.resilience import Bulkhead, CircuitBreaker, Retry, Timeout, policy

COUNT, SLOW, TIME = "breaker", "slow", "time"


def breaker(open_seconds: float, kind: str = COUNT) -> CircuitBreaker:
    """Return a breaker; with slow calls counted, none is that slow."""
    more: dict[str, Any] = {COUNT: {}, SLOW: {"slow_seconds": 10.0, "slow_rate": 0.5}, TIME: {"time_window_seconds": 30}}[kind]
    return CircuitBreaker("bank", min_calls=FAILURES, open_seconds=open_seconds, lease_seconds=LEASE_SECONDS, **more)


def retry() -> Retry:
    """Return a retry."""
    return Retry(attempts=ATTEMPTS, on=(OSError,))


class Ours(Side):
    """Use one policy, the pipeline of four, or the standard pipeline."""

    def __init__(self, kind: str = COUNT) -> None:
        """Choose it."""
        self.kind = kind

    def plain(self, open_seconds: float) -> Any:
        """Return a decorator."""
        return self.awaited(open_seconds)

    def awaited(self, open_seconds: float) -> Any:
        """Return a decorator."""
        if self.kind == "pipeline":
            return policy(retry(), breaker(open_seconds), Bulkhead("bank", AT_ONCE, queue=50), Timeout(TIMEOUT_SECONDS))
        if self.kind == "resilient":
            from rakiza.resilience import resilient

            return resilient("bank", timeout_seconds=TIMEOUT_SECONDS, total_seconds=5.0, attempts=ATTEMPTS, on=(OSError,), at_once=AT_ONCE, queue=50)
        if self.kind in {COUNT, SLOW, TIME}:
            return breaker(open_seconds, self.kind)
        alone = {"retry": retry, "bulkhead": lambda: Bulkhead("bank", AT_ONCE, queue=50), "timeout": lambda: Timeout(TIMEOUT_SECONDS)}
        return policy(alone[self.kind]())


make = Ours
