"""Put policies around a function, one closure for each, made when the function is decorated."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from functools import wraps
from typing import ClassVar, Generic, TypeAlias, TypeVar, cast

from rakiza._kernel import SYSTEM_CLOCK

Call: TypeAlias = Callable[..., object]
AsyncCall: TypeAlias = Callable[..., Awaitable[object]]
Errors: TypeAlias = type[Exception] | Collection[type[Exception]]
F = TypeVar("F", bound=Callable[..., object])
K = TypeVar("K")
FIRST, DEADLINE, RETRY, HEDGE, BREAKER, FREE, LAST = 0, 10, 20, 30, 40, 50, 60


class Policy(ABC):
    """Be one thing done around a call. A policy decorates by itself, or with others in `policy(…)`."""

    rank: ClassVar[int] = FREE
    """Where it must stand among policies of other ranks, the outermost lowest; FREE for anywhere between first and last."""

    @abstractmethod
    def around(self, call: Call, label: str) -> Call:
        """Return the synchronous `call` with this policy around it."""

    @abstractmethod
    def aaround(self, call: AsyncCall, label: str) -> AsyncCall:
        """Return the asynchronous `call` with this policy around it."""

    def beside(self, others: "tuple[Policy, ...]") -> "Policy":
        """Return this policy as it should be among `others`, the outermost first."""
        return self

    def __call__(self, function: F) -> F:
        """Decorate a plain or an `async` function; raise TypeError for a generator."""
        label = f"{function.__module__}.{getattr(function, '__qualname__', 'call')}"
        made = self.aaround(cast("AsyncCall", function), label) if _is_async(function) else self.around(function, label)
        return cast("F", wraps(function)(made))


def _is_async(function: Call) -> bool:
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004 - its own code is asked for
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise TypeError(f"{function!r} is a generator: a policy goes around one call, so decorate the function that makes each item")
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def kinds_of(errors: Errors) -> tuple[type[Exception], ...]:
    """Return kinds of errors as `except` takes them; raise ValueError for what is none, before a failure is hidden by that."""
    kinds = tuple(errors) if isinstance(errors, Collection) else (errors,)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise ValueError(f"name kinds of Exception, as on=(OSError,), not {errors!r}: what cancels a call must not be held up")
    return kinds


class Guard(Policy, Generic[K]):
    """Be a policy that lets a call in by a ticket and takes the ticket back; nothing is held in between but the ticket."""

    now: Callable[[], float] = staticmethod(SYSTEM_CLOCK.monotonic)

    @abstractmethod
    def enter(self) -> K:
        """Return the ticket of a call, waiting in this thread if need be."""

    async def aenter(self) -> K:
        """Return the ticket of a call, waiting in this task if need be."""
        return self.enter()

    def take(self) -> K | None:
        """Return the ticket of a call that need not wait, else none."""
        return self.enter()

    @abstractmethod
    def settle(self, ticket: K, began: float, error: BaseException | None, result: object = None) -> None:
        """Take the ticket of a call back that ended with an error or with a result."""

    def around(self, call: Call, label: str) -> Call:
        """Return `call` behind this guard."""
        enter, now, settle = self.enter, self.now, self.settle

        def guarded(*args: object, **kwargs: object) -> object:
            ticket, began = enter(), now()
            try:
                result = call(*args, **kwargs)
            except BaseException as error:
                settle(ticket, began, error)
                raise
            settle(ticket, began, None, result)
            return result

        return guarded

    def aaround(self, call: AsyncCall, label: str) -> AsyncCall:
        """Return `call` behind this guard."""
        take, now, settle = self.take, self.now, self.settle

        async def guarded(*args: object, **kwargs: object) -> object:
            ticket, began = take() or await self.aenter(), now()
            try:
                result = await call(*args, **kwargs)
            except BaseException as error:  # a cancelled task gives its ticket back as well
                settle(ticket, began, error)
                raise
            settle(ticket, began, None, result)
            return result

        return guarded


class Pipeline(Policy):
    """Be several policies, the first one outermost; made by `policy`."""

    def __init__(self, policies: tuple[Policy, ...]) -> None:
        self.policies = policies

    def around(self, call: Call, label: str) -> Call:
        """Return `call` with every policy around it."""
        for each in reversed(self.policies):
            call = each.around(call, label)
        return call

    def aaround(self, call: AsyncCall, label: str) -> AsyncCall:
        """Return `call` with every policy around it."""
        for each in reversed(self.policies):
            call = each.aaround(call, label)
        return call


def policy(*policies: Policy) -> Pipeline:
    """Return one policy of several, the first one outermost.

    Raises ValueError, with the right order, for one that cannot work: Fallback, Deadline, Retry, Hedge, CircuitBreaker, Timeout from
    the outside in, each but the breaker once. Bulkhead and AdaptiveLimit stand where you like between Fallback and Timeout. Raises
    TypeError for what is no policy.
    """
    strange = next((each for each in policies if not isinstance(each, Policy)), None)
    if strange is not None:
        raise TypeError(f"write policies, as policy(Retry(3), Timeout(1.0)), not {strange!r}")
    flat = tuple(inner for each in policies for inner in (each.policies if isinstance(each, Pipeline) else (each,)))
    for place, each in enumerate(flat):
        wrong = any(later.rank < each.rank for later in flat[place + 1 :] if FREE not in {later.rank, each.rank})
        outside = each.rank == FREE and any(later.rank == FIRST for later in flat[place + 1 :])
        inside = each.rank == FREE and any(earlier.rank == LAST for earlier in flat[:place])
        if wrong or outside or inside:
            right = sorted(flat, key=lambda one: one.rank)
            raise ValueError(f"these policies cannot work in this order; write policy({', '.join(type(one).__name__ for one in right)})")
    for kind in {type(each) for each in flat if each.rank not in {FREE, BREAKER}}:
        if sum(type(each) is kind for each in flat) > 1:
            raise ValueError(f"two {kind.__name__} in one policy would multiply; keep one")
    return Pipeline(tuple(each.beside(flat) for each in flat))
