"""The standard pipeline by name."""

from .breaker import CircuitBreaker
from .bulkhead import Bulkhead
from .composition import Errors, Pipeline, Policy, policy
from .fallback import Fallback
from .retry import Retry, RetryBudget
from .timing import Deadline, Timeout


def resilient(
    name: str,
    *,
    timeout_seconds: float = 1.0,
    total_seconds: float = 5.0,
    attempts: int = 3,
    on: Errors = (OSError,),
    at_once: int = 20,
    queue: int = 50,
    fallback: object = None,
) -> Pipeline:
    """Decorate with fallback, deadline, retry, circuit breaker, bulkhead and attempt timeout.

    Functions of one name share breaker, bulkhead and budget. Raises ValueError when another function of that name has another `at_once` or `queue`.
    """
    if callable(name):
        raise TypeError("write @resilient(name), with brackets")
    with CircuitBreaker.shelf.making:
        breaker = CircuitBreaker.shelf.get(name) or CircuitBreaker(name)
        bulkhead = Bulkhead.shelf.get(name) or Bulkhead(name, at_once, queue=queue)
        budget = RetryBudget.shelf.get(name) or RetryBudget(name=name)
    if (bulkhead.limit, bulkhead.queue) != (at_once, queue):
        found = f"at_once={bulkhead.limit}, queue={bulkhead.queue}"
        raise ValueError(f"there is a bulkhead {name!r} with {found}; functions of one name share it, so give the same numbers")
    retry = Retry(attempts, on=on, budget=budget)
    inner: tuple[Policy, ...] = (Deadline(total_seconds, name), retry, breaker, bulkhead, Timeout(timeout_seconds, name))
    return policy(*inner) if fallback is None else policy(Fallback(fallback), *inner)
