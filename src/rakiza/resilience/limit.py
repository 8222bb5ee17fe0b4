"""The adaptive limit: as many calls at once as what is called can answer without slowing down; more are shed."""

import threading
from typing import ClassVar

from ._core import Gradient
from ._shelf import Shelf
from .composition import Guard
from .errors import OverloadedError, was_tried


class AdaptiveLimit(Guard[bool]):
    """Shed calls (OverloadedError) beyond a limit that grows while answers are as fast as ever and shrinks when they slow down.

    The rule is the gradient of Netflix's concurrency-limits (Gradient2Limit); a call that ran out of time shrinks the limit at once
    (AIMD, its AIMDLimit). Other errors say nothing about the load.
    """

    shelf: ClassVar["Shelf[AdaptiveLimit]"] = Shelf()

    def __init__(self, name: str, *, start: int = 20, least: int = 1, most: int = 200, tolerance: float = 1.5) -> None:
        """Raise ValueError unless 1 <= least <= start <= most; latencies up to `tolerance` times the usual one do not count as slower."""
        if not 1 <= least <= start <= most or not tolerance >= 1:
            raise ValueError(f"an adaptive limit takes 1 <= least <= start <= most and a tolerance from 1, not {least}, {start}, {most}, {tolerance}")
        self.name, self.in_flight, self.shed, self.total = name, 0, 0, 0
        self.gradient = Gradient(start, least, most, tolerance)
        self._lock = threading.Lock()
        self.shelf.add(self)

    @property
    def limit(self) -> int:
        """Return how many calls may be at work now."""
        return int(self.gradient.limit)

    def enter(self) -> bool:
        """Count a call in; raise OverloadedError when there are too many."""
        with self._lock:
            if self.in_flight < int(self.gradient.limit):
                self.in_flight += 1
                self.total += 1
                return True
            self.shed += 1
        wait = max(1.0, self.gradient.usual_seconds)
        raise OverloadedError(f"{self.name} answers too slowly for more than {self.limit} calls at once; this one was shed", wait)

    def settle(self, ticket: bool, began: float, error: BaseException | None, result: object = None) -> None:
        """Learn from an answer, or from a call that ran out of time."""
        seconds = self.now() - began
        with self._lock:
            if error is None:
                self.gradient.answered(seconds, self.in_flight)
            elif isinstance(error, TimeoutError) and was_tried(error):
                self.gradient.dropped()
            self.in_flight -= 1

    def forget(self) -> None:
        """Start empty in a forked child: who was at work is in the parent."""
        self._lock, self.in_flight = threading.Lock(), 0
