"""Try again: a bounded number of times, within the deadline, after a pause with jitter, and only a share of all calls."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from rakiza._kernel import draw, time_left

from ._shelf import Shelf
from .composition import RETRY, AsyncCall, Call, Errors, Policy, kinds_of


class RetryBudget:
    """Let retries be at most a share of the calls, else they make an outage worse.

    A bucket of tokens: each call puts `share` of one in, each retry takes one out; `reserve` tokens are there at first and at most
    (the budget of Finagle, the throttling of gRPC's proposal A6).
    """

    shelf: ClassVar["Shelf[RetryBudget]"] = Shelf()

    def __init__(self, share: float = 0.2, *, reserve: int = 10, name: str = "") -> None:
        """Raise ValueError for a share outside 0 to 1 or a reserve below 1."""
        if not 0 <= share <= 1 or reserve < 1:
            raise ValueError(f"a retry budget is a share from 0 to 1 with a reserve of 1 or more, not {share!r} and {reserve!r}")
        self.share, self.reserve, self.name = share, reserve, name
        self.calls = self.retries = self.refused = 0
        self._tokens = float(reserve)
        self._lock = threading.Lock()
        if name:
            self.shelf.add(self)

    def deposit(self) -> None:
        """Count a call."""
        with self._lock:
            self.calls += 1
            tokens = self._tokens + self.share
            self._tokens = min(self.reserve, tokens)

    def spend(self) -> bool:
        """Take a retry out, and tell whether there was one."""
        with self._lock:
            if self._tokens < 1.0 - 1e-9:  # the floating-point noise of the sum must not refuse a retry that was earned
                self.refused += 1
                return False
            self._tokens -= 1.0
            self.retries += 1
            return True

    def take_name(self, label: str) -> None:
        """Be shown under the name of the first function, when there is no other."""
        if not self.name:
            self.name = label
            self.shelf.add(self)

    def forget(self) -> None:
        """Take a new lock in a forked child."""
        self._lock = threading.Lock()


def asked_wait(error: BaseException) -> float | None:
    """Return the seconds an error asks to wait: its `retry_after_seconds`, or a `retry-after` among its `headers`; none otherwise."""
    seconds = getattr(error, "retry_after_seconds", None)
    headers = getattr(error, "headers", None)
    if seconds is None and isinstance(headers, Mapping):
        seconds = headers.get("retry-after")
    try:
        return max(0.0, float(seconds)) if seconds is not None else None
    except (TypeError, ValueError):  # a date, say: the usual pause does
        return None


class Retry(Policy):
    """Try again after an error of `on`, `attempts` times in all; only for what may be done twice.

    Pauses grow from `base_seconds` to `max_seconds` with full jitter (Brooker, "Exponential Backoff and Jitter", AWS 2015); an error
    that asks for a longer pause gets it. No retry begins that the deadline or the budget does not allow: the error is raised at once.
    """

    rank: ClassVar[int] = RETRY

    def __init__(
        self,
        attempts: int = 3,
        *,
        on: Errors = (OSError,),
        base_seconds: float = 0.1,
        max_seconds: float = 30.0,
        budget: RetryBudget | None = None,
        after: Callable[[BaseException], float | None] = asked_wait,
    ) -> None:
        """Raise ValueError for fewer attempts than one or pauses that are none; `after` tells the seconds an error asks for."""
        if callable(attempts):
            raise TypeError("write Retry(attempts), with brackets")
        if attempts < 1 or not 0 <= base_seconds <= max_seconds:
            raise ValueError(f"retry takes attempts from 1 up and 0 <= base_seconds <= max_seconds, not {attempts}, {base_seconds}, {max_seconds}")
        self.attempts, self.on, self.budget, self.after = attempts, kinds_of(on), budget, after
        self.base_seconds, self.max_seconds = base_seconds, max_seconds

    def pause(self, attempt: int, error: BaseException) -> float | None:
        """Return the seconds to wait after the failure of `attempt` (from 1), taken from the budget; none when it was the last."""
        if attempt >= self.attempts:
            return None
        asked = self.after(error)
        if asked is not None:
            seconds = asked * (1.0 + 0.1 * draw())
        else:
            seconds = draw() * min(self.max_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 60))
        left = time_left()
        if (asked or 0.0) > self.max_seconds or (left is not None and seconds >= left):
            return None
        return seconds if self.budget is None or self.budget.spend() else None

    def around(self, call: Call, label: str) -> Call:
        """Return `call`, tried again in its own thread."""
        on, budget, pause = self.on, self._budget(label), self.pause

        def tried(*args: object, **kwargs: object) -> object:
            attempt = 1
            if budget is not None:
                budget.deposit()
            while True:
                try:
                    return call(*args, **kwargs)
                except on as error:
                    seconds = pause(attempt, error)
                    if seconds is None:
                        raise
                time.sleep(seconds)
                attempt += 1

        return tried

    def aaround(self, call: AsyncCall, label: str) -> AsyncCall:
        """Return `call`, tried again in its own task."""
        on, budget, pause = self.on, self._budget(label), self.pause

        async def tried(*args: object, **kwargs: object) -> object:
            attempt = 1
            if budget is not None:
                budget.deposit()
            while True:
                try:
                    return await call(*args, **kwargs)
                except on as error:
                    seconds = pause(attempt, error)
                    if seconds is None:
                        raise
                await asyncio.sleep(seconds)
                attempt += 1

        return tried

    def _budget(self, label: str) -> RetryBudget | None:
        if self.budget is not None:
            self.budget.take_name(label)
        return self.budget
