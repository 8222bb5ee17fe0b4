"""One side in a process of its own: `python -m benchmarks.resilience.side MODULE OPTIONS` answers the cases of `cases.py`.

The module's `make(**options)` returns a `Side`. What a library does not have stays None and is not measured.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Plain = Callable[[Callable[[], Any]], Callable[[], Any]]
    Awaited = Callable[[Callable[[], Awaitable[Any]]], Callable[[], Awaitable[Any]]]

FAILURES = 5  # a breaker opens after so many failures, one after the other
OPEN_SECONDS, LEASE_SECONDS = 30.0, 1.0
ATTEMPTS, AT_ONCE, TIMEOUT_SECONDS = 3, 20, 1.0


class Side:
    """Make decorators; every one returned has a state of its own."""

    def plain(self, open_seconds: float) -> Plain | None:
        """Return a decorator of functions."""
        return None

    def awaited(self, open_seconds: float) -> Awaited | None:
        """Return a decorator of coroutine functions."""
        return None


if __name__ == "__main__":
    from benchmarks.resilience import cases  # it imports this module by its name

    turns.serve(functools.partial(cases.answer, functools.partial(importlib.import_module(sys.argv[1]).make, **json.loads(sys.argv[2]))))
