"""Hedging: when an answer is slow to come, ask once more and take the first."""

import asyncio
from typing import ClassVar

from .composition import HEDGE, AsyncCall, Call, Policy
from .retry import RetryBudget


class Hedge(Policy):
    """Start a further call whenever `after_seconds` pass without an answer, `calls` in all; the first answer counts and the others are cancelled.

    Only for async functions and only for what may be done twice (Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013: hedge after
    the 95th percentile). Further calls count as retries in the `budget`. When every call failed, the error of the first one is raised.
    """

    rank: ClassVar[int] = HEDGE

    def __init__(self, after_seconds: float, *, calls: int = 2, budget: RetryBudget | None = None) -> None:
        """Raise ValueError for a time that is none or fewer than two calls."""
        if not after_seconds >= 0 or calls < 2:
            raise ValueError(f"hedging takes seconds from 0 up and 2 calls or more, not {after_seconds!r} and {calls!r}")
        self.after_seconds, self.calls, self.budget = after_seconds, calls, budget

    def around(self, call: Call, label: str) -> Call:
        """Raise TypeError: a thread that is at work cannot be cancelled."""
        raise TypeError(f"{label} is a plain function: only async calls can be hedged, because the slower one must be cancelled")

    def aaround(self, call: AsyncCall, label: str) -> AsyncCall:
        """Return `call`, made once more when it is slow."""
        if self.budget is not None:
            self.budget.take_name(label)

        async def hedged(*args: object, **kwargs: object) -> object:
            if self.budget is not None:
                self.budget.deposit()
            started: list[asyncio.Future[object]] = [asyncio.ensure_future(call(*args, **kwargs))]
            try:
                while (winner := await self._winner(started)) is None:
                    started.append(asyncio.ensure_future(call(*args, **kwargs)))
                return winner.result()
            finally:
                await _cancel([task for task in started if not task.done()])

        return hedged

    async def _winner(self, started: "list[asyncio.Future[object]]") -> "asyncio.Future[object] | None":
        """Return the first call that has an answer, or the first of all when all have failed; none when another one should start."""
        may_start = len(started) < self.calls
        while running := {task for task in started if not task.done()}:
            done, _ = await asyncio.wait(running, timeout=self.after_seconds if may_start else None, return_when=asyncio.FIRST_COMPLETED)
            good = next((task for task in started if task in done and not task.cancelled() and task.exception() is None), None)
            if good is not None:
                return good
            if not done and may_start:
                if self.budget is None or self.budget.spend():
                    return None
                may_start = False
        return started[0]


async def _cancel(tasks: "list[asyncio.Future[object]]") -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
