"""What this process has of breakers, bulkheads, limits and budgets, and which deadlines were missed."""

from .breaker import CircuitBreaker
from .bulkhead import Bulkhead
from .limit import AdaptiveLimit
from .retry import RetryBudget
from .timing import MISSES


class Registry:
    """Show what is in use in this process: `all()` of each by name, `get(name)` one; a thing nobody holds any more is gone."""

    breakers = CircuitBreaker.shelf
    bulkheads = Bulkhead.shelf
    limits = AdaptiveLimit.shelf
    budgets = RetryBudget.shelf
    missed = MISSES
    observers = CircuitBreaker.observers
    """Called with the breaker and the change after every change of state of any breaker; a failure in one is logged."""


registry = Registry()
