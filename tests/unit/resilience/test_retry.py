"""Retries: how often, after which pause, within which deadline, and only a share of all calls."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import deadline
from rakiza.errors import RateLimitError, ServiceUnavailableError
from rakiza.resilience import CircuitBreaker, CircuitOpenError, Retry, RetryBudget, policy


class Flaky:
    """Fail so often, then answer."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures, self.error, self.calls = failures, error or OSError("away"), 0

    def __call__(self, answer: str = "تم") -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return answer

    async def later(self, answer: str = "تم") -> str:
        await asyncio.sleep(0)
        return self(answer)


def both(retry: Retry, failures: int, error: Exception | None = None) -> list[tuple[object, int]]:
    """Return how a plain and an async function end that fail so often, and how often they were called."""
    ends: list[tuple[object, int]] = []
    for is_async in (False, True):
        flaky = Flaky(failures, error)
        try:
            end: object = asyncio.run(retry(flaky.later)()) if is_async else retry(flaky.__call__)()
        except Exception as raised:  # noqa: BLE001 - whatever it ends with is compared
            end = raised
        ends.append((end, flaky.calls))
    return ends


def test_it_tries_again_up_to_the_last_attempt() -> None:
    error = OSError("away")
    assert both(Retry(3, base_seconds=0), 2) == [("تم", 3)] * 2
    assert both(Retry(3, base_seconds=0), 3, error) == [(error, 3)] * 2
    assert both(Retry(1), 1, error) == [(error, 1)] * 2


def test_another_error_is_not_tried_again() -> None:
    error = KeyError("a mistake")
    assert both(Retry(3, base_seconds=0), 1, error) == [(error, 1)] * 2


@given(attempt=st.integers(1, 500), base=st.floats(0, 10), most=st.floats(10, 1000))
def test_pauses_grow_to_their_bound_with_full_jitter(attempt: int, base: float, most: float) -> None:
    pause = Retry(1000, base_seconds=base, max_seconds=most).pause(attempt, OSError())
    assert pause is not None
    assert 0 <= pause <= min(most, base * 2.0 ** min(attempt - 1, 60))


@pytest.mark.parametrize(
    "error",
    [ServiceUnavailableError("away", headers={"retry-after": "7"}), RateLimitError(6.5), CircuitOpenError("open", 7.0)],
)
def test_an_error_that_asks_for_a_pause_gets_it(error: Exception) -> None:
    retry = Retry(3, on=(Exception,), base_seconds=0)
    pause = retry.pause(1, error)
    assert pause is not None
    assert 7.0 <= pause <= 7.7
    assert Retry(3, max_seconds=6).pause(1, error) is None
    with deadline(5):
        assert retry.pause(1, error) is None


@pytest.mark.parametrize("given", ["Fri, 27 Nov 2026 10:00:00 GMT", "غدا", None])
def test_what_is_no_number_of_seconds_is_the_usual_pause(given: str | None) -> None:
    error = ServiceUnavailableError("away", headers={"retry-after": given} if given else {})
    assert Retry(3, base_seconds=0).pause(1, error) == 0


def test_who_knows_better_tells_the_pause() -> None:
    pause = Retry(3, base_seconds=0, after=lambda error: 3.0 if isinstance(error, OSError) else None).pause(1, OSError())
    assert pause is not None
    assert 3.0 <= pause <= 3.3


def test_no_pause_is_begun_that_would_outlast_the_deadline() -> None:
    started, retry = time.monotonic(), Retry(3, base_seconds=1000, max_seconds=1000, after=lambda _: 100.0)
    with deadline(50):
        assert [calls for _, calls in both(retry, 1)] == [1, 1]
    assert time.monotonic() - started < 50


def test_a_cancelled_call_and_a_cancelled_pause_end_at_once() -> None:
    async def story() -> None:
        flaky = Flaky(5)
        task = asyncio.create_task(Retry(3, after=lambda _: 20.0)(flaky.later)())
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert flaky.calls == 1

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_budget_refuses_retries_beyond_its_share() -> None:
    budget = RetryBudget(0.2, reserve=10, name="bank")
    retry = Retry(3, base_seconds=0, budget=budget)
    flaky = Flaky(10**9)
    ask = retry(flaky.__call__)
    for _ in range(100):
        with pytest.raises(OSError, match="away"):
            ask()
    assert (budget.calls, budget.retries) == (100, 29)  # ten at first, then a fifth of the 99 calls after the first
    assert budget.refused == 95
    assert flaky.calls == 100 + budget.retries


@given(share=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), reserve=st.integers(1, 5), steps=st.lists(st.booleans(), max_size=200))
def test_a_budget_never_gives_more_than_its_share_and_its_reserve(share: float, reserve: int, steps: list[bool]) -> None:
    budget = RetryBudget(share, reserve=reserve)
    for is_call in steps:
        if is_call:
            budget.deposit()
        else:
            budget.spend()
        assert budget.retries <= reserve + share * budget.calls + 1e-6
    assert budget.retries + budget.refused == steps.count(False)


def test_threads_share_a_budget_exactly() -> None:
    budget, start = RetryBudget(0.0, reserve=100), threading.Barrier(8)

    def spend() -> int:
        start.wait()
        return sum(budget.spend() for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert sum(future.result() for future in [pool.submit(spend) for _ in range(8)]) == 100


def test_an_open_breaker_is_not_hammered() -> None:
    breaker, flaky = CircuitBreaker("bank", min_calls=2), Flaky(10**9)
    with pytest.raises(CircuitOpenError):
        policy(Retry(10, base_seconds=0), breaker)(flaky.__call__)()
    assert flaky.calls == 2


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"base_seconds": -1}, {"base_seconds": 5, "max_seconds": 1}, {"on": (BaseException,)}, {"on": (OSError(),)}]
)
def test_retries_that_cannot_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"retry|kinds of Exception"):
        Retry(**wrong)


@pytest.mark.parametrize("wrong", [{"share": -0.1}, {"share": 1.1}, {"share": float("nan")}, {"reserve": 0}])
def test_a_budget_is_a_share(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="budget"):
        RetryBudget(**wrong)
