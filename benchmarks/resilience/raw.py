"""The floor: the bare call, a semaphore and `asyncio.timeout` of the standard library."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any

from benchmarks.resilience.side import AT_ONCE, TIMEOUT_SECONDS, Side

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.resilience.side import Awaited, Plain


class Bare(Side):
    """Change nothing."""

    def plain(self, open_seconds: float) -> Plain:
        """Return the function itself."""
        return lambda function: function

    def awaited(self, open_seconds: float) -> Awaited:
        """Return the function itself."""
        return lambda function: function


class Semaphore(Side):
    """Hold a semaphore during the call."""

    def plain(self, open_seconds: float) -> Plain:
        """Decorate a function."""
        places = threading.Semaphore(AT_ONCE)

        def decorator(function: Callable[[], Any]) -> Callable[[], Any]:
            @functools.wraps(function)
            def call() -> Any:
                with places:
                    return function()

            return call

        return decorator

    def awaited(self, open_seconds: float) -> Awaited:
        """Decorate a coroutine function."""
        return asemaphore


def asemaphore(function: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """Hold a semaphore during the call."""
    places = asyncio.Semaphore(AT_ONCE)

    @functools.wraps(function)
    async def call() -> Any:
        async with places:
            return await function()

    return call


def atimeout(function: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """End the call after its time."""
    @functools.wraps(function)
    async def call() -> Any:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await function()

    return call


class Timeout(Side):
    """End the call after its time."""

    def awaited(self, open_seconds: float) -> Awaited:
        """Decorate a coroutine function."""
        return atimeout


SIDES = {each.__name__: each for each in (Bare, Semaphore, Timeout)}


def make(kind: str) -> Side:
    """Return one of them."""
    return SIDES[kind]()
