"""What a side is asked to do: calls that succeed, timed; and calls at the moments at which breakers go wrong, counted."""

from __future__ import annotations

import asyncio
import functools
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.resilience.side import FAILURES, LEASE_SECONDS, OPEN_SECONDS
from benchmarks.turns import BATCHES, Figures, Took, abest, best

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.resilience.side import Awaited, Plain, Side

CALLS = 1000
SHORT_OPEN_SECONDS, PROBE_SECONDS = 0.2, 0.1
CALLERS, THREADS, LATER_CALLS = 50, 10, 5


class BrokenError(Exception):
    """Fail a call."""


def answer(make: Callable[[], Side], case: str, given: dict[str, Any]) -> Figures:
    """Play one case."""
    return correctness(make()) if case == "correctness" else timed(make(), 2 if given["quick"] else BATCHES)


def timed(side: Side, batches: int) -> Figures:
    """Return the nanoseconds of processor time of a call that succeeds at once."""
    plain = side.plain(OPEN_SECONDS)
    sync = best(functools.partial(_calls, plain(_work)), batches) if plain else None
    return {"sync": math.nan if sync is None else sync.processor, "async": uvloop.run(_atimed(side, batches))}


def _work() -> int:
    return 1


async def _awork() -> int:
    return 1


def _calls(function: Callable[[], Any]) -> int:
    for _ in range(CALLS):
        function()
    return CALLS


async def _atimed(side: Side, batches: int) -> float:
    decorator = side.awaited(OPEN_SECONDS)
    if decorator is None:
        return math.nan
    function = decorator(_awork)
    if await function() != 1:
        raise RuntimeError("the answer was lost")

    async def calls() -> int:
        for _ in range(CALLS):
            await function()
        return CALLS

    took: Took = await abest(calls, batches)
    return took.processor


def correctness(side: Side) -> Figures:
    """Count who is let through at the moments at which it matters."""
    plain = functools.partial(side.plain, SHORT_OPEN_SECONDS)
    found = dict.fromkeys(("probes", "aprobes", "hung", "cancelled", "late", "parallel"), math.nan)
    if plain():
        found |= {"probes": _half_open(_some(plain())), "hung": _hung(_some(plain())), "late": _late(_some(side.plain(OPEN_SECONDS))),
                  "parallel": _parallel(_some(plain()))}
    if side.awaited(SHORT_OPEN_SECONDS):
        found |= uvloop.run(_atasks(side))
    return found


def _some(decorator: Plain | None) -> Plain:
    assert decorator is not None
    return decorator


class Function:
    """Be the function behind a breaker: do what the case says, and count the calls let through."""

    def __init__(self) -> None:
        """Begin by failing."""
        self.does: Callable[[], Any] = self.fail
        self.adoes: Callable[[], Awaitable[Any]] = self.afail
        self.through = 0

    def fail(self) -> None:
        """Fail."""
        raise BrokenError

    async def afail(self) -> None:
        """Fail."""
        raise BrokenError

    def call(self) -> Any:
        """Be called."""
        self.through += 1
        return self.does()

    async def acall(self) -> Any:
        """Be called."""
        self.through += 1
        return await self.adoes()


def _tripped(decorator: Plain) -> tuple[Function, Callable[[], Any]]:
    """Return a function whose breaker is open, and the guarded call."""
    inner = Function()
    guarded = decorator(lambda: inner.call())
    _trip(inner, guarded)
    return inner, guarded


def _trip(inner: Function, guarded: Callable[[], Any]) -> None:
    for _ in range(2 * FAILURES):
        with suppress(Exception):
            guarded()
    before = inner.through
    with suppress(Exception):
        guarded()
    if inner.through != before:
        raise RuntimeError(f"the breaker did not open after {2 * FAILURES} failures")
    inner.through = 0


def _quietly(call: Callable[[], Any]) -> None:
    with suppress(Exception):
        call()


def _half_open(decorator: Plain) -> float:
    inner, guarded = _tripped(decorator)
    inner.does = functools.partial(time.sleep, PROBE_SECONDS)
    time.sleep(1.3 * SHORT_OPEN_SECONDS)
    gate = threading.Barrier(CALLERS)

    def caller(_: int) -> None:
        gate.wait()
        _quietly(guarded)

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(caller, range(CALLERS)))
    return inner.through


def _hung(decorator: Plain) -> float:
    """Let a probe hang, and count who is let through after the lease of ours."""
    inner, guarded = _tripped(decorator)
    go = threading.Event()
    inner.does = go.wait
    time.sleep(1.3 * SHORT_OPEN_SECONDS)
    probe = threading.Thread(target=_quietly, args=(guarded,), daemon=True)
    probe.start()
    time.sleep(1.2 * LEASE_SECONDS)
    inner.does, inner.through = _work, 0
    later = [threading.Thread(target=_quietly, args=(guarded,), daemon=True) for _ in range(LATER_CALLS)]
    for each in later:
        each.start()
        each.join(0.2)  # a breaker that holds its lock during the call lets these wait
    through = inner.through
    go.set()
    for each in [probe, *later]:
        each.join(5)
    return through


def _late(decorator: Plain) -> float:
    """Let a call that began before the breaker opened succeed after it, and count who is let through then."""
    inner, go = Function(), threading.Event()
    guarded = decorator(lambda: inner.call())
    inner.does = go.wait
    slow = threading.Thread(target=_quietly, args=(guarded,), daemon=True)
    slow.start()
    while not inner.through:
        time.sleep(0.01)
    inner.does = inner.fail
    threading.Timer(1.0, go.set).start()  # where the slow call holds the lock, the breaker opens only after it
    _trip(inner, guarded)
    slow.join()
    inner.does = _work
    for _ in range(LATER_CALLS):
        _quietly(guarded)
    return inner.through


def _parallel(decorator: Plain) -> float:
    """Return the milliseconds that ten threads take for a call of 100 ms each."""
    guarded = decorator(lambda: time.sleep(PROBE_SECONDS))
    gate = threading.Barrier(THREADS + 1)

    def caller(_: int) -> None:
        gate.wait()
        guarded()

    with ThreadPoolExecutor(THREADS) as pool:
        done = pool.map(caller, range(THREADS))
        gate.wait()
        start = time.monotonic()
        list(done)
        return 1000 * (time.monotonic() - start)


async def _atasks(side: Side) -> Figures:
    return {"aprobes": await _ahalf_open(_asome(side)), "cancelled": await _cancelled(_asome(side))}


def _asome(side: Side) -> Awaited:
    decorator = side.awaited(SHORT_OPEN_SECONDS)
    assert decorator is not None
    return decorator


async def _atripped(decorator: Awaited) -> tuple[Function, Callable[[], Awaitable[Any]]]:
    inner = Function()

    async def call() -> Any:
        return await inner.acall()

    guarded = decorator(call)
    for _ in range(2 * FAILURES):
        await _aquietly(guarded)
    before = inner.through
    await _aquietly(guarded)
    if inner.through != before:
        raise RuntimeError(f"the breaker did not open after {2 * FAILURES} failures")
    inner.through = 0
    await asyncio.sleep(1.3 * SHORT_OPEN_SECONDS)
    return inner, guarded


async def _aquietly(call: Callable[[], Awaitable[Any]]) -> None:
    with suppress(Exception):
        await call()


async def _ahalf_open(decorator: Awaited) -> float:
    inner, guarded = await _atripped(decorator)
    inner.adoes = functools.partial(asyncio.sleep, PROBE_SECONDS)
    await asyncio.gather(*(_aquietly(guarded) for _ in range(CALLERS)))
    return inner.through


async def _cancelled(decorator: Awaited) -> float:
    """Cancel a probe, and count who is let through after it."""
    inner, guarded = await _atripped(decorator)
    inner.adoes = functools.partial(asyncio.sleep, 60)
    probe = asyncio.create_task(_aquietly(guarded))
    await asyncio.sleep(0.05)
    probe.cancel()
    with suppress(asyncio.CancelledError):
        await probe
    inner.adoes, inner.through = _awork, 0
    await asyncio.sleep(1.3 * SHORT_OPEN_SECONDS)  # some open again after a probe that was cancelled
    for _ in range(LATER_CALLS):
        await _aquietly(guarded)
    return inner.through
