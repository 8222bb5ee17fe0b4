"""The lag of the event loop, seen from outside while it hangs."""

import asyncio
import threading
import time

import pytest

from rakiza.telemetry import Telemetry
from rakiza.telemetry.part import _loop_check


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("site")


def test_a_loop_that_hangs_is_seen_while_it_hangs_and_fades_when_it_runs_again(telemetry: Telemetry) -> None:
    hangs, seen = threading.Event(), threading.Event()
    during: list[str] = []

    def look() -> None:
        hangs.wait()
        end = time.monotonic() + 20
        while _loop_check(telemetry).status != "warn" and time.monotonic() < end:
            time.sleep(0.01)
        during.append(_loop_check(telemetry).status)
        seen.set()

    async def serve() -> list[float]:
        telemetry.watch_loop(asyncio.get_running_loop())
        telemetry.watch_loop(asyncio.get_running_loop())
        await asyncio.sleep(0.6)
        hangs.set()
        seen.wait(25)
        await asyncio.sleep(0.6)
        return [telemetry.loop_lag_seconds or 0.0, *[await fading() for _ in range(4)]]

    async def fading() -> float:
        await asyncio.sleep(0.3)
        return telemetry.loop_lag_seconds or 0.0

    thread = threading.Thread(target=look)
    thread.start()
    lags = asyncio.run(serve())
    thread.join()
    assert during == ["warn"]
    assert lags[0] > 0.25
    assert lags[-1] < lags[0]
    assert f"event_loop_lag_seconds {telemetry.loop_lag_seconds or 0.0}" in telemetry.metrics.render().decode()


def test_without_a_loop_nothing_is_said(telemetry: Telemetry) -> None:
    assert telemetry.loop_lag_seconds is None
    check = _loop_check(telemetry)
    assert (check.status, check.observed) == ("pass", None)


def test_a_new_loop_takes_the_place_of_an_ended_one(telemetry: Telemetry) -> None:
    async def serve() -> float | None:
        telemetry.watch_loop(asyncio.get_running_loop())
        await asyncio.sleep(0.3)
        return telemetry.loop_lag_seconds

    for _ in range(2):
        assert asyncio.run(serve()) is not None
        assert telemetry.loop_lag_seconds is None
