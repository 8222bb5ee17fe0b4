"""Loads at work: one for each key in this process, and none whose result an invalidation has overtaken is kept."""

import asyncio
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future

from rakiza._kernel.tasks import running_loop


class AbandonedError(Exception):
    """Say that whoever loaded was cancelled, so that somebody else must."""


class Flight:
    """Be one load: everybody who wants the value waits for `future`."""

    __slots__ = ("begun", "future", "key", "loop", "spoiled", "tags")

    def __init__(self, key: str, tags: Collection[str]) -> None:
        self.key, self.tags = key, tags
        self.future: Future[object] = Future()
        self.spoiled = self.begun = False
        self.loop: asyncio.AbstractEventLoop | None = None
        """On which it is a task: synchronous code there would wait for itself."""


class Flights:
    """Know the loads of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.epoch = 0
        """How many invalidations there were."""
        self._flights: dict[str, Flight] = {}

    def join(self, key: str, tags: Collection[str]) -> tuple[Flight, bool]:
        """Return the load of a key, and whether somebody has to do it: it is new, or waits for a thread or a loop that may never come."""
        with self.lock:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = Flight(key, tags)
            return flight, not flight.begun

    def begin(self, flight: Flight) -> bool:
        """Tell whether the caller is the first who does the load."""
        with self.lock:
            first, flight.begun = not flight.begun, True
        if first:
            flight.loop = running_loop()
        return first

    def __contains__(self, key: str) -> bool:
        """Tell whether the key is being loaded."""
        return key in self._flights

    def land(self, flight: Flight, keep: Callable[[], object] | None = None) -> None:
        """End a load; `keep` is called unless an invalidation has overtaken it."""
        with self.lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            if keep is not None and not flight.spoiled:
                keep()

    def keep_since(self, epoch: int, keep: Callable[[], object]) -> None:
        """Call `keep` unless something was invalidated since then."""
        with self.lock:
            if self.epoch == epoch:
                keep()

    def spoil(self, holds: Callable[[Flight], bool], forget: Callable[[], object]) -> None:
        """Let the results of some loads be kept by nobody, and `forget` what is in memory, as one step; who comes later loads anew."""
        with self.lock:
            self.epoch += 1
            for flight in [flight for flight in self._flights.values() if holds(flight)]:
                flight.spoiled = True
                del self._flights[flight.key]
            forget()

    def forget(self) -> None:
        """Leave the loads to the parent of a fork."""
        self.lock = threading.Lock()
        self._flights = {}
