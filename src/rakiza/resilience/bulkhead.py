"""The bulkhead: so many calls at once, so many more in line, the others refused."""

import asyncio
import threading
from collections import OrderedDict
from typing import ClassVar

from rakiza._kernel import time_left

from ._shelf import Shelf
from .composition import Guard
from .errors import BulkheadFullError
from .timing import no_time_left

SOON_SECONDS = 1.0
EARLY_SECONDS = 0.002
"""A wait that ends so long before the deadline ended because of it: uvloop counts whole milliseconds."""


class _Waiter:
    """Wait in line in a thread or in a task; `granted` is set under the lock by who hands the place over."""

    __slots__ = ("_bell", "_future", "granted")

    def __init__(self, future: "asyncio.Future[None] | None") -> None:
        self.granted = False
        self._future = future
        self._bell = threading.Lock() if future is None else None
        if self._bell is not None:
            self._bell.acquire()

    def wake(self) -> bool:
        """Let it go on; tell whether there was somebody: an event loop may have ended."""
        if self._future is None:
            if self._bell is not None:
                self._bell.release()
            return True
        try:
            self._future.get_loop().call_soon_threadsafe(self._ring)
        except RuntimeError:
            return False
        return True

    def _ring(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def wait(self, seconds: float | None) -> None:
        """Block until it is woken or the seconds are over."""
        if self._bell is not None:
            self._bell.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX))


class Bulkhead(Guard[bool]):
    """Let `limit` calls at once through, `queue` more wait in the order they came; further ones raise BulkheadFullError.

    One bulkhead may guard plain and async functions, of several threads and loops, at the same time. The wait ends with the deadline
    (DeadlineExceededError), and after `wait_seconds` when they are given (BulkheadFullError).
    """

    shelf: ClassVar["Shelf[Bulkhead]"] = Shelf()

    def __init__(self, name: str, limit: int, *, queue: int = 0, wait_seconds: float | None = None) -> None:
        """Raise ValueError for fewer places than one or a queue that is none."""
        if limit < 1 or queue < 0 or (wait_seconds is not None and not wait_seconds > 0):
            raise ValueError(f"a bulkhead has a limit of 1 or more and a queue of 0 or more, not {limit!r} and {queue!r}")
        self.name, self.limit, self.queue, self.wait_seconds = name, limit, queue, wait_seconds
        self.in_use = self.rejected = self.total = 0
        self._line: OrderedDict[_Waiter, None] = OrderedDict()
        self._lock = threading.Lock()
        self.shelf.add(self)

    @property
    def queued(self) -> int:
        """Return how many wait."""
        return len(self._line)

    def take(self) -> bool:
        """Take a place when one is free, and tell whether it was."""
        with self._lock:
            if self.in_use >= self.limit:
                return False
            self.in_use += 1
            self.total += 1
            return True

    def enter(self) -> bool:
        """Take a place, waiting in this thread; `leave` must follow. Raises BulkheadFullError, DeadlineExceededError."""
        if not self.take() and (waiter := self._stand_in_line(None)) is not None:
            try:
                waiter.wait(self._patience())
            except BaseException:  # Ctrl-C
                self._give_up(waiter)
                raise
            self._seated(waiter)
        return True

    async def aenter(self) -> bool:
        """Take a place, waiting in this task; `leave` must follow. Raises BulkheadFullError, DeadlineExceededError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self.take() and (waiter := self._stand_in_line(future)) is not None:
            try:
                await asyncio.wait((future,), timeout=self._patience())
            except BaseException:  # cancelled: a place that was handed over meanwhile goes to the next
                self._give_up(waiter)
                raise
            self._seated(waiter)
        return True

    def leave(self) -> None:
        """Give the place to the first in line, or free it."""
        with self._lock:
            while self._line:
                waiter, _ = self._line.popitem(last=False)
                waiter.granted = True
                if waiter.wake():
                    self.total += 1
                    return
            self.in_use -= 1

    def _stand_in_line(self, future: "asyncio.Future[None] | None") -> _Waiter | None:
        with self._lock:
            if self.in_use < self.limit:  # one became free since the last look
                self.in_use += 1
                self.total += 1
                return None
            if len(self._line) < self.queue:
                waiter = _Waiter(future)
                self._line[waiter] = None
                return waiter
            self.rejected += 1
        raise BulkheadFullError(f"the bulkhead {self.name} is full: {self.limit} calls are at work and {self.queue} wait", SOON_SECONDS)

    def _patience(self) -> float | None:
        left, own = time_left(), self.wait_seconds
        return own if left is None else left if own is None else min(own, left)

    def _seated(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.granted:
                return
            del self._line[waiter]
            self.rejected += 1
        left = time_left()
        if self.wait_seconds is None or (left is not None and left < EARLY_SECONDS):
            raise no_time_left(self.name)
        raise BulkheadFullError(f"the bulkhead {self.name} had no place within {self.wait_seconds:g} s", SOON_SECONDS)

    def _give_up(self, waiter: _Waiter) -> None:
        with self._lock:
            if not waiter.granted:
                del self._line[waiter]
                return
        self.leave()

    def settle(self, ticket: bool, began: float, error: BaseException | None, result: object = None) -> None:
        """Give the place back, however the call ended."""
        self.leave()

    def forget(self) -> None:
        """Start empty in a forked child: who was at work is in the parent."""
        self._lock, self.in_use = threading.Lock(), 0
        self._line.clear()
