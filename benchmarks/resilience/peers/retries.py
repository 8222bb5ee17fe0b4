"""tenacity (Apache 2.0) and stamina (MIT), and pipelines that people build of them, a breaker and the standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import purgatory
import stamina
import tenacity
from benchmarks.resilience.raw import asemaphore, atimeout
from benchmarks.resilience.side import ATTEMPTS, FAILURES, Side
from circuitbreaker import CircuitBreaker

if TYPE_CHECKING:
    from benchmarks.resilience.side import Awaited


def retry(library: str) -> Any:
    """Return a retry of one of them."""
    if library == "stamina":
        return stamina.retry(on=OSError, attempts=ATTEMPTS)
    wait = tenacity.wait_exponential_jitter(0.1, 5)
    return tenacity.retry(retry=tenacity.retry_if_exception_type(OSError), stop=tenacity.stop_after_attempt(ATTEMPTS), wait=wait)


class Retries(Side):
    """Use a retry alone, or round a breaker, a semaphore and a timeout."""

    def __init__(self, library: str, *, pipeline: bool = False) -> None:
        """Choose them."""
        self.library, self.pipeline = library, pipeline

    def plain(self, open_seconds: float) -> Any:
        """Return a retry."""
        return None if self.pipeline else retry(self.library)

    def awaited(self, open_seconds: float) -> Awaited:
        """Return a retry or the pipeline."""
        if not self.pipeline:
            return retry(self.library)  # type: ignore[no-any-return]
        breaker: Any = CircuitBreaker(failure_threshold=FAILURES, recovery_timeout=open_seconds)
        if self.library == "stamina":
            breaker = purgatory.AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=open_seconds)("bank")
        return lambda function: retry(self.library)(breaker(asemaphore(atimeout(function))))


make = Retries
