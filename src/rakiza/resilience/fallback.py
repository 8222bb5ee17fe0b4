"""The fallback: what to answer when the call failed."""

import inspect
from collections.abc import Awaitable
from typing import ClassVar, cast

from .composition import FIRST, AsyncCall, Call, Errors, Policy, kinds_of


class Fallback(Policy):
    """Answer with `instead` when the call fails: a value, or a function called with the call's own arguments; stands outermost.

    Inside that function `sys.exception()` tells why. Errors other than `on` go on to the caller.
    """

    rank: ClassVar[int] = FIRST

    def __init__(self, instead: object, *, on: Errors = (Exception,)) -> None:
        self.instead, self.on = instead, kinds_of(on)

    def around(self, call: Call, label: str) -> Call:
        """Return `call` with its fallback; raise TypeError for an async one, which a plain function cannot await."""
        instead, on = self.instead, self.on
        if inspect.iscoroutinefunction(instead):
            raise TypeError(f"{label} is a plain function: its fallback must be one too")

        def answered(*args: object, **kwargs: object) -> object:
            try:
                return call(*args, **kwargs)
            except on:
                return instead(*args, **kwargs) if callable(instead) else instead

        return answered

    def aaround(self, call: AsyncCall, label: str) -> AsyncCall:
        """Return `call` with its fallback, which may be async or plain."""
        instead, on = self.instead, self.on

        async def answered(*args: object, **kwargs: object) -> object:
            try:
                return await call(*args, **kwargs)
            except on:
                found = instead(*args, **kwargs) if callable(instead) else instead
                return await cast("Awaitable[object]", found) if inspect.isawaitable(found) else found

        return answered
