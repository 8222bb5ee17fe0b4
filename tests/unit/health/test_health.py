"""Health: what single results add up to, slow and broken components, probes that never wait."""

import asyncio
import threading
import time
from itertools import product

import pytest

from rakiza._kernel import Check, CheckResult
from rakiza.health import Health, HealthSettings, Observation, overall

FAST = HealthSettings(good_seconds=0.01, bad_seconds=0.01)


def seen(status: str, required: bool) -> Observation:
    return Observation(Check(name="x", fn=CheckResult, required=required), CheckResult(status))


@pytest.mark.parametrize(("first", "second"), list(product(("pass", "warn", "fail"), repeat=2)))
@pytest.mark.parametrize("required", [True, False])
def test_only_a_required_component_fails_the_whole(first: str, second: str, required: bool) -> None:
    order = ["pass", "warn", "fail"]
    worst = max(first if required else min(first, "warn", key=order.index), second, key=order.index)
    assert overall([seen(first, required), seen(second, True)]) == worst


def refreshed(health: Health, until: float = 3.0) -> None:
    end = time.monotonic() + until
    while time.monotonic() < end:
        health.refresh()
        if all(one.at is not None for one in health.observations()):
            return
        time.sleep(0.005)


def test_checks_are_looked_at_in_the_background_and_reported() -> None:
    health = Health(FAST)
    health.add_check("disk", lambda: CheckResult("warn", 91, "percent", "nearly full"), required=False)
    health.add_check("printer", CheckResult)
    assert health.report(with_details=False) == {"status": "fail"}
    health.wait()
    assert health.report(with_details=False) == {"status": "warn"}
    details = health.report(with_details=True)["checks"]
    assert isinstance(details, dict)
    assert details["disk"][0]["output"] == "nearly full"
    assert health.ready
    assert health.started
    health.close()


def test_a_check_may_be_a_coroutine() -> None:
    async def later() -> CheckResult:
        await asyncio.sleep(0)
        return CheckResult("pass", 1)

    health = Health(FAST)
    health.add_check("later", later)
    health.wait()
    assert health.ready
    health.close()


def test_an_exception_is_a_failure_in_words_even_when_it_has_none() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    def broken() -> CheckResult:
        raise SilentError

    health = Health(FAST)
    health.add_check("broken", broken)
    health.wait()
    assert not health.ready
    assert "SilentError" in str(health.observations()[0].result.output)
    health.close()


def test_a_hanging_component_fails_and_is_asked_once() -> None:
    release = threading.Event()
    calls: list[int] = []

    def hangs() -> CheckResult:
        calls.append(1)
        release.wait(10)
        return CheckResult()

    health = Health(FAST)
    health.add_check("database", hangs, timeout_seconds=0.05)
    health.refresh()
    time.sleep(0.1)
    start = time.monotonic()
    for _ in range(100):
        health.refresh()
        assert health.report(with_details=False) == {"status": "fail"}
    assert calls == [1]
    assert time.monotonic() - start < 5
    assert "no answer" in str(health.observations()[0].result.output)
    release.set()
    health.close()


def test_a_component_that_recovers_is_well_again() -> None:
    states = iter(["fail", "pass"])
    health = Health(FAST)
    health.add_check("queue", lambda: CheckResult(next(states, "pass")))
    health.wait()
    assert not health.ready
    assert not health.started
    for _ in range(200):
        health.refresh()
        if health.ready:
            break
        time.sleep(0.01)
    assert health.ready
    health.close()


def test_draining_takes_readiness_away_and_keeps_what_was_started() -> None:
    health = Health(FAST)
    health.add_check("fine", CheckResult)
    health.wait()
    assert health.ready
    health.begin_draining()
    assert not health.ready
    assert health.started
    assert health.report(with_details=False) == {"status": "fail"}
    health.close()


def test_a_name_is_used_once() -> None:
    health = Health(FAST)
    health.add_check("disk", CheckResult)
    with pytest.raises(ValueError, match="'disk'"):
        health.add_check("disk", CheckResult)
