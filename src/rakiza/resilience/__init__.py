"""Resilience: circuit breakers, retries, bulkheads, time limits, fallbacks, hedging and adaptive limits, for plain and async functions.

    from rakiza.resilience import CircuitBreaker, CircuitOpenError, Deadline, Fallback, Retry, Timeout, policy, time_left

    breaker = CircuitBreaker("bank-api", min_calls=2)
    bank = policy(Fallback("محفوظ"), Deadline(5.0), Retry(2, on=(OSError,), base_seconds=0.0), breaker, Timeout(1.0))

    @bank                                              # the first policy is the outermost
    def balance(account: str) -> str:
        assert time_left() <= 1.0                      # hand it to the driver: a thread cannot be stopped
        raise OSError("the bank is away")

    assert balance("SA03") == "محفوظ"
    assert breaker.state == "open"                     # two attempts of two failed
"""

from rakiza._kernel import time_left

from .breaker import CircuitBreaker
from .bulkhead import Bulkhead
from .composition import policy
from .errors import BulkheadFullError, CircuitOpenError, DeadlineExceededError, OverloadedError
from .fallback import Fallback
from .hedging import Hedge
from .limit import AdaptiveLimit
from .part import part
from .registry import registry
from .retry import Retry, RetryBudget
from .service import Resilience
from .settings import ResilienceSettings
from .standard import resilient
from .timing import Deadline, Timeout

__all__ = [
    "AdaptiveLimit",
    "Bulkhead",
    "BulkheadFullError",
    "CircuitBreaker",
    "CircuitOpenError",
    "Deadline",
    "DeadlineExceededError",
    "Fallback",
    "Hedge",
    "OverloadedError",
    "Resilience",
    "ResilienceSettings",
    "Retry",
    "RetryBudget",
    "Timeout",
    "part",
    "policy",
    "registry",
    "resilient",
    "time_left",
]
