"""Call a cache over a Redis that stands still for two seconds."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from benchmarks.turns import Figures

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.cache.side import Side

FROZEN_SECONDS, AFTER_SECONDS = 2.0, 4.0
READ_SECONDS = 0.3  # so long at least a side reads before
SETTLED_SECONDS = 0.7  # after so long a breaker has opened
GAP_SECONDS = 0.005
COLD = 1500
VALUE = {"name": "شركة البناء الحديث", "total": 5196.875}


class Call(NamedTuple):
    """Tell what one call did; times are monotonic seconds."""

    kind: str
    began: float
    took: float
    answer: str  # "value", "nothing" or "error"


def fill(make: Callable[..., Side], given: dict[str, Any]) -> Figures:
    """Put the keys into Redis that will be read."""
    if given.pop("awaited"):
        uvloop.run(_afill(make(**given)))
    else:
        _fill(make(**given))
    return {}


KEYS = ["hot:0", *(f"cold:{number}" for number in range(COLD))]


def _fill(writer: Side) -> None:
    writer.open()
    assert writer.set is not None
    for key in KEYS:
        writer.set(key, VALUE)
    writer.close()


async def _afill(writer: Side) -> None:
    await writer.aopen()
    assert writer.aset is not None
    for key in KEYS:
        await writer.aset(key, VALUE)
    await writer.aclose()


def frozen(make: Callable[..., Side], given: dict[str, Any]) -> Figures:
    """Read a key that was read before, one that lies in Redis only, and write one, again and again; tell how long calls took and what they said."""
    at, awaited = given.pop("at"), given.pop("awaited")
    calls = uvloop.run(_acalls(make, given, at)) if awaited else _calls(make, given, at)
    if calls[0].began > at - READ_SECONDS:
        raise RuntimeError("it was not ready when Redis was stopped: the machine is too busy")
    return _told(calls, at)


def _calls(make: Callable[..., Side], given: dict[str, Any], at: float) -> list[Call]:
    side, found = make(**given), list[Call]()
    side.patient = False
    side.open()
    get, put = side.get, side.set
    assert get is not None
    assert put is not None
    get("hot:0")
    for number in range(10**9):
        for kind, call in _round(number, get, put):
            began = time.monotonic()
            try:
                said = side.value(call())
            except Exception:
                found.append(Call(kind, began, time.monotonic() - began, "error"))
            else:
                found.append(Call(kind, began, time.monotonic() - began, "nothing" if said is None else "value"))
        if time.monotonic() > at + FROZEN_SECONDS + AFTER_SECONDS:
            break
        time.sleep(GAP_SECONDS)
    side.close()
    return found


async def _acalls(make: Callable[..., Side], given: dict[str, Any], at: float) -> list[Call]:
    side, found = make(**given), list[Call]()
    side.patient = False
    await side.aopen()
    get, put = side.aget, side.aset
    assert get is not None
    assert put is not None
    await get("hot:0")
    for number in range(10**9):
        for kind, call in _round(number, get, put):
            began = time.monotonic()
            try:
                said = side.value(await call())
            except Exception:
                found.append(Call(kind, began, time.monotonic() - began, "error"))
            else:
                found.append(Call(kind, began, time.monotonic() - began, "nothing" if said is None else "value"))
        if time.monotonic() > at + FROZEN_SECONDS + AFTER_SECONDS:
            break
        await asyncio.sleep(GAP_SECONDS)
    await side.aclose()
    return found


def _round(number: int, get: Callable[[str], Any], put: Callable[[str, Any], Any]) -> list[tuple[str, Callable[[], Any]]]:
    return [("hot", lambda: get("hot:0")), ("cold", lambda: get(f"cold:{number % COLD}")), ("set", lambda: put(f"new:{number}", VALUE))]


def _told(calls: list[Call], at: float) -> Figures:
    thawed = at + FROZEN_SECONDS
    during = [each for each in calls if each.began < thawed and each.began + each.took > at]
    later = [each.took for each in during if each.began > at + SETTLED_SECONDS]
    hot = [each.answer == "value" and each.began + each.took < thawed for each in during if each.kind == "hot" and each.began > at]
    back = [each.began + each.took - thawed for each in calls if each.kind == "cold" and each.began + each.took > thawed and each.answer == "value"]
    return {
        "longest": 1000 * max(each.took for each in during), "later": 1000 * max(later, default=math.nan), "calls": len(during),
        "errors": sum(each.answer == "error" for each in calls if each.began > at), "hot": 100 * sum(hot) / max(1, len(hot)),
        "back": min(back, default=math.nan),
    }
