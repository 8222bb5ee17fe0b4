"""One side in a process of its own: `python -m benchmarks.cache.side MODULE OPTIONS` answers the cases of `cases.py`.

The module's `make(**options)` returns a `Side`. A library sets what it has; what stays None is not measured.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks import turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TTL_SECONDS = 300
CAPACITY = 10_000


class Side:
    """Hold one cache of a library, plain and awaited."""

    patient = True
    """Whether to wait longer for Redis than the library ships, where that is less than a second: a busy machine needs it, and it costs nothing."""
    get: Callable[[str], Any] | None = None
    set: Callable[[str, Any], Any] | None = None
    cached: Callable[[Callable[[str], Any]], Callable[[str], Any]] | None = None
    aget: Callable[[str], Awaitable[Any]] | None = None
    aset: Callable[[str, Any], Awaitable[Any]] | None = None
    acached: Callable[[Callable[[str], Awaitable[Any]]], Callable[[str], Awaitable[Any]]] | None = None

    def __init__(self, url: str = "", capacity: int = CAPACITY) -> None:
        """Use a Redis, or memory only when there is no URL; hold at most so many keys in memory."""
        self.url, self.capacity = url, capacity

    @property
    def address(self) -> tuple[str, int, int]:
        """Return host, port and database of the URL."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0, int(parts.path[1:])

    def open(self) -> None:
        """Connect and set the plain calls."""

    async def aopen(self) -> None:
        """Connect and set the awaited calls."""

    def close(self) -> None:
        """Disconnect."""

    async def aclose(self) -> None:
        """Disconnect."""

    def value(self, said: Any) -> Any:
        """Return the value in an answer of `get`, None when there was none."""
        return said


if __name__ == "__main__":
    from benchmarks.cache import cases  # it imports this module by its name

    options = json.loads(sys.argv[2])
    options.pop("redis", None)  # says only that the side is given the address of one
    made = functools.partial(importlib.import_module(sys.argv[1]).make, **options)
    turns.serve(functools.partial(cases.answer, made))
