"""What a side is asked to do. Every answer is proven: wrong values and reads that did not go where they should are errors."""

from __future__ import annotations

import array
import asyncio
import itertools
import math
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.cache import outage
from benchmarks.turns import BATCHES, Figures, Took, abest, best

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.cache.side import Side

Given = dict[str, Any]
KEYS = [f"invoice:{number}" for number in range(1000)]
AT_ONCE = 50
CALLERS, LOAD_SECONDS = 100, 0.05
CROWD, CROWD_LOAD_SECONDS = 25, 0.1
ATTEMPTS = 3
HITS, SETS = ("keyspace_hits:",), ("cmdstat_set:calls=", "cmdstat_setex:calls=", "cmdstat_psetex:calls=")


class SparedError(RuntimeError):
    """Say that calls did not go to Redis: on a busy machine a cache with short patience may have given it up for a moment."""


def invoice(key: str) -> dict[str, Any]:
    """Return an invoice with eight lines."""
    lines = [{"item": f"خرسانة مسلحة C{30 + line}", "quantity": 12.5 + line, "unit": "م³", "price": 415.75, "total": 5196.875} for line in range(8)]
    return {"number": key, "customer": "شركة البناء الحديث", "project": 42, "issued": "2026-11-27", "paid": False, "lines": lines}


def answer(make: Callable[..., Side], case: str, given: Given) -> Figures:
    """Play one case."""
    quick = given.pop("quick", False)
    batches = 2 if quick else BATCHES
    if case in {"hit", "set", "l2"}:
        plain, awaited = CASES[case]
        found = {"sync": _patiently(lambda: plain(make, given, batches)), "async": _patiently(lambda: uvloop.run(awaited(make, given, batches)))}
        return {f"{mode}_{name}": value for mode, figures in found.items() for name, value in figures.items()}
    return OTHERS[case](make, given)


def _patiently(measured: Callable[[], Figures]) -> Figures:
    for _ in range(ATTEMPTS - 1):
        try:
            return measured()
        except SparedError as error:
            print(f"measured again: {error}", flush=True)
    return measured()


def _us(took: Took | None) -> Figures:
    return {"cpu": math.nan, "wall": math.nan} if took is None else {"cpu": took.processor / 1000, "wall": took.wall / 1000}


def _named(**took: Took | None) -> Figures:
    return {f"{name}_{clock}": value for name, each in took.items() for clock, value in _us(each).items()}


def _expect(said: object, key: str) -> None:
    if said != invoice(key):
        raise RuntimeError(f"the value of {key} came back as {str(said)[:120]}")


def _each(call: Callable[[str], Any]) -> Callable[[], int]:
    def batch() -> int:
        for key in KEYS:
            call(key)
        return len(KEYS)

    return batch


def _aeach(call: Callable[[str], Awaitable[Any]]) -> Callable[[], Awaitable[int]]:
    async def batch() -> int:
        for key in KEYS:
            await call(key)
        return len(KEYS)

    return batch


def _loads() -> tuple[list[str], Callable[[str], Any], Callable[[str], Awaitable[Any]]]:
    calls: list[str] = []

    def load(key: str) -> Any:
        calls.append(key)
        return invoice(key)

    async def aload(key: str) -> Any:
        return load(key)

    return calls, load, aload


def _hit(make: Callable[..., Side], given: Given, batches: int) -> Figures:
    side = make(**given)
    side.open()
    got = decorated = None
    if side.get and side.set:
        for key in KEYS:
            side.set(key, invoice(key))
        for key in KEYS:
            _expect(side.value(side.get(key)), key)
        got = best(_each(side.get), batches)
    if side.cached:
        calls, load, _ = _loads()
        function = side.cached(load)
        for key in [*KEYS, *KEYS]:
            _expect(function(key), key)
        decorated = best(_each(function), batches)
        if len(calls) != len(KEYS):
            raise RuntimeError(f"{len(calls)} loads instead of {len(KEYS)}")
    side.close()
    return _named(get=got, cached=decorated)


async def _ahit(make: Callable[..., Side], given: Given, batches: int) -> Figures:
    side = make(**given)
    await side.aopen()
    got = decorated = None
    if side.aget and side.aset:
        for key in KEYS:
            await side.aset(key, invoice(key))
        for key in [*KEYS, *KEYS]:  # a client-side copy is made by the first read
            _expect(side.value(await side.aget(key)), key)
        got = await abest(_aeach(side.aget), batches)
    if side.acached:
        calls, _, load = _loads()
        function = side.acached(load)
        for key in [*KEYS, *KEYS]:
            _expect(await function(key), key)
        decorated = await abest(_aeach(function), batches)
        if len(calls) != len(KEYS):
            raise RuntimeError(f"{len(calls)} loads instead of {len(KEYS)}")
    await side.aclose()
    return _named(get=got, cached=decorated)


def _set(make: Callable[..., Side], given: Given, batches: int) -> Figures:
    side = make(**given)
    side.open()
    took = None
    if (put := side.set) and (get := side.get):
        value, made, before = invoice(KEYS[0]), [0], _redis(side, SETS)
        sets = _each(lambda key: put(key, value))

        def batch() -> int:
            made[0] += len(KEYS)
            return sets()

        took = best(batch, batches)
        _prove(side, SETS, before, made[0])
        _expect(side.value(get(KEYS[5])), KEYS[0])
    side.close()
    return _us(took)


async def _aset(make: Callable[..., Side], given: Given, batches: int) -> Figures:
    side = make(**given)
    await side.aopen()
    took = None
    if (put := side.aset) and (get := side.aget):
        value, made, before = invoice(KEYS[0]), [0], _redis(side, SETS)
        sets = _aeach(lambda key: put(key, value))

        async def batch() -> int:
            made[0] += len(KEYS)
            return await sets()

        took = await abest(batch, batches)
        _prove(side, SETS, before, made[0])
        _expect(side.value(await get(KEYS[5])), KEYS[0])
    await side.aclose()
    return _us(took)


WARM = [f"warm:{number}" for number in range(120)]
RAMP = (1, 2, 4, 8, 16, 32, AT_ONCE)


def _redis(side: Side, names: tuple[str, ...]) -> int:
    """Return the sum of some counters of Redis, of all its clients; 0 for a side in memory."""
    if not side.url:
        return 0
    host, port, _ = side.address
    with socket.create_connection((host, port), 5) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"INFO everything\r\n")
        text = answers.read(int(answers.readline()[1:])).decode()
    found = [text.partition(name)[2].partition("\r\n")[0].partition(",")[0] for name in names]
    return sum(int(each or 0) for each in found)


def _prove(side: Side, names: tuple[str, ...], before: int, made: int) -> None:
    if side.url and (found := _redis(side, names) - before) < made:
        raise SparedError(f"only {found} of {made} calls went to Redis")


def _prove_read(side: Side, before: int, said: list[Any]) -> None:
    _prove(side, HITS, before, len(KEYS))
    if missing := sum(side.value(each) is None for each in said):
        raise SparedError(f"{missing} of {len(said)} values did not come back")
    for each in said:
        _expect(side.value(each), side.value(each)["number"])


def _l2(make: Callable[..., Side], given: Given, batches: int) -> Figures:
    writer, took = make(**given), []
    writer.open()
    if writer.set is None:
        return _named(one=None)
    for key in [*WARM, *KEYS]:
        writer.set(key, invoice(key))
    for _ in range(batches):  # a fresh side each time: its memory knows none of the keys
        side = make(**given)
        side.open()
        get = side.get
        assert get is not None
        for key in WARM[:20]:
            _expect(side.value(get(key)), key)
        before, wall, processor = _redis(side, HITS), time.perf_counter_ns(), time.process_time_ns()
        said = [get(key) for key in KEYS]
        took.append(Took((time.process_time_ns() - processor) / len(KEYS), (time.perf_counter_ns() - wall) / len(KEYS)))
        _prove_read(side, before, said)
        side.close()
    writer.close()
    return _named(one=_smallest(took))


def _smallest(took: list[Took]) -> Took:
    return Took(min(each.processor for each in took), min(each.wall for each in took))


async def _al2(make: Callable[..., Side], given: Given, batches: int) -> Figures:
    writer, one, many = make(**given), list[Took](), list[Took]()
    await writer.aopen()
    if writer.aset is None:
        return _named(one=None, many=None)
    for key in [*WARM, *KEYS]:
        await writer.aset(key, invoice(key))
    for turn in range(2 * batches):
        side = make(**given)
        await side.aopen()
        (one, many)[turn % 2].append(await _read_fresh(side, 1 if turn % 2 == 0 else AT_ONCE))
        await side.aclose()
    await writer.aclose()
    return _named(one=_smallest(one), many=_smallest(many))


async def _read_fresh(side: Side, at_once: int) -> Took:
    get = side.aget
    assert get is not None

    async def reader(keys: list[str]) -> list[Any]:
        return [await get(key) for key in keys]

    warm = iter(WARM)
    for connections in RAMP if at_once > 1 else RAMP[:1]:  # opened by and by: a burst of them would outlast the patience of some
        await asyncio.gather(*(get(key) for key in itertools.islice(warm, connections)))
    before, wall, processor = _redis(side, HITS), time.perf_counter_ns(), time.process_time_ns()
    said = await asyncio.gather(*(reader(KEYS[start::at_once]) for start in range(at_once)))
    took = Took((time.process_time_ns() - processor) / len(KEYS), (time.perf_counter_ns() - wall) / len(KEYS))
    _prove_read(side, before, [each for some in said for each in some])
    return took


CASES = {"hit": (_hit, _ahit), "set": (_set, _aset), "l2": (_l2, _al2)}


def _stampede(make: Callable[..., Side], given: Given) -> Figures:
    side = make(**given)
    side.open()
    loads, threads = [0], math.nan
    if side.cached:
        _together(side.cached(_slow(loads, LOAD_SECONDS)), CALLERS)
        threads = loads[0]
    side.close()
    return {"threads": threads, "tasks": uvloop.run(_atasks(make, given))}


def _slow(loads: list[int], seconds: float) -> Callable[[str], Any]:
    def load(key: str) -> Any:
        loads[0] += 1
        time.sleep(seconds)
        return invoice(key)

    return load


def _aslow(loads: list[int], seconds: float) -> Callable[[str], Awaitable[Any]]:
    async def load(key: str) -> Any:
        loads[0] += 1
        await asyncio.sleep(seconds)
        return invoice(key)

    return load


def _together(function: Callable[[str], Any], callers: int, at: float = 0.0) -> None:
    gate = threading.Barrier(callers)

    def caller(_: int) -> None:
        gate.wait()
        time.sleep(max(0.0, at - time.monotonic()))
        _expect(function("invoice:together"), "invoice:together")

    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(caller, range(callers)))


async def _atogether(function: Callable[[str], Awaitable[Any]], callers: int) -> None:
    async def caller() -> None:
        _expect(await function("invoice:together"), "invoice:together")

    await asyncio.gather(*(caller() for _ in range(callers)))


async def _atasks(make: Callable[..., Side], given: Given) -> float:
    side, loads = make(**given), [0]
    await side.aopen()
    if side.acached:
        await _atogether(side.acached(_aslow(loads, LOAD_SECONDS)), CALLERS)
    await side.aclose()
    return loads[0] or math.nan


def _crowd(make: Callable[..., Side], given: Given) -> Figures:
    """Miss one key with other processes at one moment; tell when the last caller of this process was answered."""
    at, loads = given.pop("at"), [0]
    if given.pop("awaited"):
        return uvloop.run(_acrowd(make, given, at, loads))
    side = make(**given)
    side.open()
    assert side.cached is not None
    if side.get:
        side.get("warm:0")
    _together(side.cached(_slow(loads, CROWD_LOAD_SECONDS)), CROWD, at)
    ended = time.monotonic()
    side.close()
    return {"loads": loads[0], "ended": ended}


async def _acrowd(make: Callable[..., Side], given: Given, at: float, loads: list[int]) -> Figures:
    side = make(**given)
    await side.aopen()
    assert side.acached is not None
    if side.aget:
        await side.aget("warm:0")
    function = side.acached(_aslow(loads, CROWD_LOAD_SECONDS))
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    await _atogether(function, CROWD)
    ended = time.monotonic()
    await side.aclose()
    return {"loads": loads[0], "ended": ended}


def _ratio(make: Callable[..., Side], given: Given) -> Figures:
    """Read a trace through a cache of a given size, and set what it does not have."""
    trace = array.array("I")
    trace.frombytes(Path(given["trace"]).read_bytes())
    names = [f"k:{number}" for number in range(max(trace) + 1)]
    keys = [names[number] for number in trace]
    side = make(capacity=given["capacity"])
    side.open()
    get, put, value, hits = side.get, side.set, side.value, 0
    assert get is not None
    assert put is not None
    start = time.process_time_ns()
    for key in keys:
        if value(get(key)) is None:
            put(key, 1)
        else:
            hits += 1
    took = time.process_time_ns() - start
    side.close()
    return {"hits": 100 * hits / len(keys), "us": took / len(keys) / 1000}


def _ready(make: Callable[..., Side], given: Given) -> Figures:
    """Say that the libraries are imported."""
    make()
    return {}


OTHERS = {"ready": _ready, "stampede": _stampede, "crowd": _crowd, "ratio": _ratio, "fill": outage.fill, "frozen": outage.frozen}
