"""Let callers append for some seconds, and count what was acknowledged inside the measured window."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WARM_SECONDS = 0.25
Figures = dict[str, float]


class Window:
    """Collect appends, of which only those that end between the warm-up and the end count."""

    def __init__(self, seconds: float) -> None:
        """Begin the warm-up now."""
        self.seconds = seconds
        self.opens = time.perf_counter() + WARM_SECONDS
        self.closes = self.opens + seconds

    def figures(self, done: list[tuple[float, float, int]]) -> Figures:
        """Return the rate, the percentiles and everything that was acknowledged, from (start, end, events) of every append."""
        inside = [each for each in done if self.opens <= each[1] < self.closes]
        took = sorted((end - start) * 1000 for start, end, _ in inside)
        return {
            "per_second": sum(events for _, _, events in inside) / self.seconds,
            "p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99),
            "acknowledged": sum(events for _, _, events in done),
        }


def percentile(ordered: list[float], share: float) -> float:
    """Return a percentile of sorted values, 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def threads(callers: int, seconds: float, make: Callable[[], Callable[[], int]]) -> Figures:
    """Run threads, each with an append of its own from `make` that returns its number of events."""
    done: list[list[tuple[float, float, int]]] = [[] for _ in range(callers)]
    failures: list[BaseException] = []
    windows: list[Window] = []
    barrier = threading.Barrier(callers, lambda: windows.append(Window(seconds)))

    def work(mine: list[tuple[float, float, int]]) -> None:
        try:
            append = make()
            barrier.wait()
            while (start := time.perf_counter()) < windows[0].closes:
                events = append()
                mine.append((start, time.perf_counter(), events))
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    workers = [threading.Thread(target=work, args=(mine,)) for mine in done]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    if failures:
        raise next((each for each in failures if not isinstance(each, threading.BrokenBarrierError)), failures[0])
    return windows[0].figures([each for mine in done for each in mine])


async def tasks(callers: int, seconds: float, append: Callable[[], Awaitable[int]]) -> Figures:
    """Run tasks of one event loop."""
    window, done = Window(seconds), list[tuple[float, float, int]]()

    async def work() -> None:
        while (start := time.perf_counter()) < window.closes:
            events = await append()
            done.append((start, time.perf_counter(), events))

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(work())
    return window.figures(done)


def lags(acknowledged: dict[int, float], seen: dict[int, float]) -> Figures:
    """Return the percentiles of the time from an acknowledgement to the follower, both by position; seen earlier counts as 0."""
    missing = acknowledged.keys() - seen.keys()
    if missing:
        raise RuntimeError(f"the follower never saw {len(missing)} of {len(acknowledged)} events")
    took = sorted(max(0.0, seen[position] - at) * 1000 for position, at in acknowledged.items())
    return {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99)}
