"""The policies around the calls of one client: what all of them share, and what those to one host have of their own."""

import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from threading import Lock
from typing import TypeVar, cast

from rakiza._kernel import SYSTEM_CLOCK, time_left
from rakiza.resilience import Bulkhead, CircuitBreaker, Deadline, Retry, RetryBudget, Timeout, policy

from ._core import BUSY, retry_after
from .errors import UnsafeAddressError
from .settings import OutboundSettings

MAX_HOSTS = 200
"""Hosts of one client that have a breaker, the latest called: where people name the hosts there is no end of them, and metrics show each."""
DEADLINE_HEADER = "x-deadline-ms"
Errors = tuple[type[Exception], ...]
Run = Callable[..., object]
R = TypeVar("R", bound=Run)
T = TypeVar("T")


class BusyError(Exception):
    """Carry an answer after which the same call may succeed, and the seconds it asks to wait."""

    def __init__(self, answer: object, status: int, retry_after_seconds: float | None) -> None:
        self.answer, self.retry_after_seconds = answer, retry_after_seconds
        super().__init__(f"it answered {status}")


class AwayError(BusyError):
    """Carry an answer that says that the host does not work at the moment."""


async def later(attempt: Callable[[], Awaitable[T]]) -> T:
    """Await what `attempt` returns: the asynchronous `operator.call`."""
    return await attempt()


class Lines:
    """Hold the policies of all clients of one name."""

    def __init__(
        self, name: str, settings: OutboundSettings, *, failures: Errors, ignored: Errors, status: Callable[[object], int], cancels: bool = False
    ) -> None:
        if not name or "/" in name:
            raise ValueError(f"a client has a name without a slash, such as bank-statements, not {name!r}")
        self.name, self.settings, self.rules = name, settings, settings.rules
        self.tls = ssl.create_default_context(cafile=settings.ca_file or None)
        self.shared = policy(Deadline(settings.total_seconds, name), Bulkhead(name, settings.at_once, queue=settings.queue))
        self._retry = Retry(settings.attempts, on=(*failures, BusyError), budget=RetryBudget(settings.retry_share, name=name))
        self._failures, self._ignored, self._status = failures, ignored, status
        self._inner = (Timeout(settings.attempt_seconds, name),) if cancels else ()
        self._hosts: OrderedDict[str, tuple[CircuitBreaker, dict[tuple[Run, bool], Run]]] = OrderedDict()
        self._lock = Lock()

    def to(self, host: str, run: R, *, repeat: bool) -> R:
        """Return `run`, which makes one attempt, with the breaker of `host` around it, and with retries when the call may be repeated."""
        with self._lock:
            if host not in self._hosts:
                self._hosts[host] = self._breaker(host), {}
            self._hosts.move_to_end(host)
            while len(self._hosts) > MAX_HOSTS:
                self._hosts.popitem(last=False)
            breaker, made = self._hosts[host]
            if (run, repeat) not in made:
                made[run, repeat] = policy(*(self._retry,) * repeat, breaker, *self._inner)(run)
            return cast("R", made[run, repeat])

    def _breaker(self, host: str) -> CircuitBreaker:
        ignore = (*self._ignored, UnsafeAddressError)
        record = (*self._failures, AwayError)
        return CircuitBreaker(f"{self.name} {host}", record=record, ignore=ignore, failed=lambda answer: self._status(answer) >= 500)

    def judged(self, answer: T, headers: Mapping[str, str]) -> T:
        """Return an answer; raise BusyError for one after which the same call may succeed."""
        status = self._status(answer)
        if status in BUSY:
            raise (BusyError if status == 429 else AwayError)(answer, status, retry_after(headers.get("retry-after"), SYSTEM_CLOCK.now()))
        return answer

    def told(self, host: str) -> dict[str, str]:
        """Return the header that tells a host of our own for how many milliseconds somebody waits for its answer."""
        left = time_left()
        return {DEADLINE_HEADER: str(int(left * 1000))} if left is not None and self.rules.internal(host) else {}
