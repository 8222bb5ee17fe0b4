"""nopanic (MIT): every policy for both worlds."""

from __future__ import annotations

from typing import Any

import nopanic
from benchmarks.resilience.side import AT_ONCE, ATTEMPTS, FAILURES, TIMEOUT_SECONDS, Side


def breaker(open_seconds: float, *, slow: bool = False) -> Any:
    """Return a breaker; with slow calls counted, none is that slow."""
    more = {"slow_call_duration": 10.0, "slow_call_threshold": 0.5} if slow else {}
    return nopanic.circuit_breaker(min_calls=FAILURES, reset_timeout=open_seconds, **more)


def retry() -> Any:
    """Return a retry."""
    return nopanic.retry(ATTEMPTS, OSError)


def bulkhead() -> Any:
    """Return a bulkhead."""
    return nopanic.bulkhead(AT_ONCE)


def timeout() -> Any:
    """Return a timeout."""
    return nopanic.timeout(TIMEOUT_SECONDS)


class NoPanic(Side):
    """Use one policy, or the pipeline of four."""

    def __init__(self, policy: str) -> None:
        """Choose it."""
        self.policy = policy

    def plain(self, open_seconds: float) -> Any:
        """Return a decorator."""
        return self.awaited(open_seconds) if self.policy != "pipeline" else None

    def awaited(self, open_seconds: float) -> Any:
        """Return a decorator."""
        if self.policy == "pipeline":
            return nopanic.compose(retry(), breaker(open_seconds), bulkhead(), timeout())
        if self.policy in {"breaker", "slow"}:
            return breaker(open_seconds, slow=self.policy == "slow")
        return {"retry": retry, "bulkhead": bulkhead, "timeout": timeout}[self.policy]()


make = NoPanic
