"""Policies together: their order, fallbacks, hedging, the adaptive limit, the standard pipeline."""

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from rakiza.resilience import (
    AdaptiveLimit,
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitOpenError,
    Deadline,
    DeadlineExceededError,
    Fallback,
    Hedge,
    OverloadedError,
    Retry,
    RetryBudget,
    Timeout,
    policy,
    registry,
    resilient,
)

ORDER = ("Fallback", "Deadline", "Retry", "Hedge", "CircuitBreaker", "Timeout")


def make(name: str) -> object:
    kinds = {
        "Fallback": lambda: Fallback(None),
        "Deadline": lambda: Deadline(1.0),
        "Retry": Retry,
        "Hedge": lambda: Hedge(1.0),
        "CircuitBreaker": lambda: CircuitBreaker("bank"),
        "Timeout": lambda: Timeout(1.0),
        "Bulkhead": lambda: Bulkhead("bank", 1),
        "AdaptiveLimit": lambda: AdaptiveLimit("bank"),
    }
    return kinds[name]()


@pytest.mark.parametrize("chosen", [each for size in (1, 2, 3) for each in itertools.permutations(ORDER, size)])
def test_exactly_the_orders_that_work_are_taken(chosen: tuple[str, ...]) -> None:
    right = sorted(chosen, key=ORDER.index)
    if list(chosen) == right:
        assert [type(each).__name__ for each in policy(*map(make, chosen)).policies] == right
    else:
        with pytest.raises(ValueError, match=rf"write policy\({', '.join(right)}\)"):
            policy(*map(make, chosen))


@pytest.mark.parametrize("free", ["Bulkhead", "AdaptiveLimit"])
def test_a_limit_stands_anywhere_between_fallback_and_timeout(free: str) -> None:
    for place in range(1, 4):
        chosen = ["Fallback", "Retry", "Timeout"]
        chosen.insert(place, free)
        if place == 3:
            with pytest.raises(ValueError, match="Timeout"):
                policy(*map(make, chosen))
        else:
            policy(*map(make, chosen))
    with pytest.raises(ValueError, match="Fallback"):
        policy(make(free), make("Fallback"))
    policy(make(free), make(free), make("CircuitBreaker"), make("CircuitBreaker"))


@pytest.mark.parametrize("twice", ["Fallback", "Deadline", "Retry", "Hedge", "Timeout"])
def test_the_same_twice_is_refused(twice: str) -> None:
    with pytest.raises(ValueError, match=f"two {twice}"):
        policy(make(twice), make(twice))


def test_policies_nest() -> None:
    inner = policy(CircuitBreaker("bank"), Timeout(1.0))
    assert len(policy(Retry(), inner).policies) == 3
    with pytest.raises(ValueError, match="Retry, CircuitBreaker, Timeout"):
        policy(inner, Retry())
    assert policy()(lambda: 7)() == 7


def away() -> str:
    raise OSError("away")


async def away_later() -> str:
    raise OSError("away")


def test_a_fallback_answers_with_a_value_or_by_a_function_that_sees_the_call_and_the_error() -> None:
    def last_known(account: str) -> tuple[str, str]:
        return account, str(sys.exception())

    async def later(account: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        return last_known(account)

    def ask(account: str) -> str:
        raise OSError("away")

    async def ask_later(account: str) -> str:
        raise OSError("away")

    assert Fallback("محفوظ")(away)() == "محفوظ"
    assert asyncio.run(Fallback("محفوظ")(away_later)()) == "محفوظ"
    assert Fallback(last_known)(ask)("SA03") == ("SA03", "away")
    assert asyncio.run(Fallback(last_known)(ask_later)("SA03")) == ("SA03", "away")
    assert asyncio.run(Fallback(later)(ask_later)("SA03")) == ("SA03", "away")
    assert Fallback("محفوظ")(lambda: "fresh")() == "fresh"


def test_a_fallback_is_for_its_errors_only() -> None:
    for kind in (KeyError, KeyboardInterrupt):

        def fails(kind: type[BaseException] = kind) -> None:
            raise kind

        with pytest.raises(kind):
            Fallback(0, on=(OSError,))(fails)()
    with pytest.raises(TypeError, match="plain function"):
        Fallback(away_later)(away)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Fallback(0)(cancelled)())


class Racers:
    """Start calls that end when told, and remember what became of each."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Future[str]] = []
        self.ends: dict[int, str] = {}

    async def run(self) -> str:
        number = len(self.gates)
        self.gates.append(asyncio.get_running_loop().create_future())
        try:
            answer = await self.gates[number]
        except BaseException as error:
            self.ends[number] = type(error).__name__
            raise
        self.ends[number] = "answered"
        return answer

    async def started(self, count: int) -> None:
        while len(self.gates) < count:  # noqa: ASYNC110 - calls come by themselves
            await asyncio.sleep(0.001)


def test_the_first_answer_counts_and_the_losers_are_cancelled() -> None:
    async def story() -> None:
        racers = Racers()
        task = asyncio.create_task(Hedge(0.001, calls=3)(racers.run)())
        await racers.started(3)
        await asyncio.sleep(0.01)
        assert len(racers.gates) == 3
        racers.gates[1].set_result("second")
        assert await task == "second"
        assert racers.ends == {0: "CancelledError", 1: "answered", 2: "CancelledError"}

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_quick_answer_needs_no_second_call() -> None:
    async def story() -> None:
        racers = Racers()
        task = asyncio.create_task(Hedge(60.0)(racers.run)())
        await racers.started(1)
        racers.gates[0].set_result("first")
        assert (await task, len(racers.gates)) == ("first", 1)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_failure_waits_for_the_others_and_the_first_error_is_raised_when_all_fail() -> None:
    async def story() -> None:
        for last in ("answers", "fails"):
            racers = Racers()
            task = asyncio.create_task(Hedge(0.001)(racers.run)())
            await racers.started(2)
            racers.gates[1].set_exception(KeyError("second"))
            await asyncio.sleep(0.005)
            assert not task.done()
            if last == "answers":
                racers.gates[0].set_result("first")
                assert await task == "first"
            else:
                racers.gates[0].set_exception(OSError("first"))
                with pytest.raises(OSError, match="first"):
                    await task

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_cancelled_hedge_leaves_nothing_at_work() -> None:
    async def story() -> None:
        racers = Racers()
        task = asyncio.create_task(Hedge(0.001)(racers.run)())
        await racers.started(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert racers.ends == {0: "CancelledError", 1: "CancelledError"}
        assert len(asyncio.all_tasks()) == 1 + 1  # this one, and the one that waits for it

    asyncio.run(asyncio.wait_for(story(), 60))


def test_hedges_are_paid_from_the_budget() -> None:
    async def story() -> None:
        budget = RetryBudget(0.0, reserve=1, name="hedges")
        hedge = Hedge(0.001, budget=budget)
        for expected in (2, 1):
            racers = Racers()
            task = asyncio.create_task(hedge(racers.run)())
            await racers.started(expected)
            await asyncio.sleep(0.01)
            assert len(racers.gates) == expected
            racers.gates[0].set_result("first")
            assert await task == "first"
        assert (budget.calls, budget.retries, budget.refused) == (2, 1, 1)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_plain_functions_are_not_hedged() -> None:
    with pytest.raises(TypeError, match="only async"):
        Hedge(1.0)(away)
    for wrong in ({"after_seconds": -1.0}, {"after_seconds": 1.0, "calls": 1}):
        with pytest.raises(ValueError, match="hedging"):
            Hedge(**wrong)  # type: ignore[arg-type]


def test_the_adaptive_limit_sheds_what_is_too_much() -> None:
    limit, gate = AdaptiveLimit("bank", start=2), threading.Event()
    entered = threading.Semaphore(0)

    @limit
    def work() -> None:
        entered.release()
        assert gate.wait(60)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work) for _ in range(2)]
        for _ in futures:
            assert entered.acquire(timeout=60)
        with pytest.raises(OverloadedError, match="bank") as shed:
            work()
        gate.set()
        for future in futures:
            future.result()
    assert (shed.value.status, shed.value.retry_after_seconds >= 1.0) == (503, True)
    assert (limit.in_flight, limit.shed, limit.total) == (0, 1, 2)


def test_the_adaptive_limit_shrinks_when_calls_run_out_of_time_and_other_errors_say_nothing() -> None:
    limit = AdaptiveLimit("bank", start=20)

    async def fails() -> None:
        raise OSError

    async def hangs() -> None:
        await asyncio.sleep(3600)

    async def story() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - any will do
            await limit(fails)()
        assert limit.limit == 20
        with pytest.raises(DeadlineExceededError):
            await policy(limit, Timeout(0.001))(hangs)()
        assert limit.limit == 18
        task = asyncio.create_task(limit(hangs)())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert (limit.limit, limit.in_flight) == (18, 0)

    asyncio.run(story())
    with pytest.raises(ValueError, match="adaptive limit"):
        AdaptiveLimit("bank", start=5, least=6)


def test_the_standard_pipeline_by_name() -> None:
    calls = []

    @resilient("the bank of this test", on=(OSError,), attempts=2, fallback="محفوظ")
    def balance() -> str:
        calls.append(1)
        raise OSError("away")

    @resilient("the bank of this test")
    async def pay() -> str:
        return "paid"

    assert balance() == "محفوظ"
    assert len(calls) == 2
    for _ in range(10):
        balance()
    breaker = registry.breakers.get("the bank of this test")
    assert breaker is not None
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError):
        asyncio.run(pay())
    breaker.reset()
    assert asyncio.run(pay()) == "paid"
    bulkhead = registry.bulkheads.get("the bank of this test")
    assert bulkhead is not None
    assert (bulkhead.limit, bulkhead.queue, bulkhead.in_use) == (20, 50, 0)
    with pytest.raises(ValueError, match="at_once=20, queue=50"):
        resilient("the bank of this test", at_once=5)


def test_every_policy_serves_plain_and_async_functions() -> None:
    async def later(number: int) -> int:
        return number

    for name in ("Fallback", "Deadline", "Retry", "CircuitBreaker", "Timeout", "Bulkhead", "AdaptiveLimit"):
        assert make(name)(lambda number: number)(7) == 7  # type: ignore[operator]
        assert asyncio.run(make(name)(later)(7)) == 7  # type: ignore[operator]
    assert asyncio.run(make("Hedge")(later)(7)) == 7  # type: ignore[operator]


def test_a_full_bulkhead_outside_the_retry_is_not_tried_again() -> None:
    full = Bulkhead("bank", 1)
    full.enter()
    with pytest.raises(BulkheadFullError):
        policy(full, Retry(3, base_seconds=0))(away)()
    assert full.rejected == 1


WHAT_TAKES_ERRORS = {
    "Retry": lambda on: Retry(2, on=on, base_seconds=0.0),
    "Fallback": lambda on: Fallback("محفوظ", on=on),
    "CircuitBreaker.record": lambda on: CircuitBreaker("bank", record=on),
    "CircuitBreaker.ignore": lambda on: CircuitBreaker("bank", ignore=on),
    "resilient": lambda on: resilient("مصرف", on=on),
}


@pytest.mark.parametrize("kind", WHAT_TAKES_ERRORS)
@pytest.mark.parametrize("on", [OSError, (OSError,), [OSError], frozenset({OSError})])
def test_kinds_of_errors_may_be_one_or_several(kind: str, on: object) -> None:
    calls: list[int] = []

    def fails() -> str:
        calls.append(1)
        raise OSError("the bank is away")

    guarded = WHAT_TAKES_ERRORS[kind](on)(fails)  # type: ignore[no-untyped-call]
    if kind == "Fallback":
        assert guarded() == "محفوظ"
    else:
        with pytest.raises(OSError, match="the bank is away"):
            guarded()
    assert len(calls) == {"Retry": 2, "resilient": 3}.get(kind, 1)


@pytest.mark.parametrize("kind", WHAT_TAKES_ERRORS)
@pytest.mark.parametrize("on", [5, (5,), "OSError", ("OSError",), (BaseException,), KeyboardInterrupt, OSError("no kind")])
def test_what_is_no_kind_of_error_is_refused_when_the_policy_is_made(kind: str, on: object) -> None:
    with pytest.raises(ValueError, match="kinds of Exception"):
        WHAT_TAKES_ERRORS[kind](on)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("make", "mends"),
    [
        (lambda: resilient(len), r"write @resilient\(name\)"),  # type: ignore[arg-type]
        (lambda: Timeout(len), r"write Timeout\(seconds\)"),  # type: ignore[arg-type]
        (lambda: Deadline("5"), r"write Deadline\(seconds\)"),  # type: ignore[arg-type]
        (lambda: policy(len), r"policy\(Retry\(3\), Timeout\(1\.0\)\)"),  # type: ignore[arg-type]
        (lambda: policy(Retry), r"policy\(Retry\(3\), Timeout\(1\.0\)\)"),  # type: ignore[arg-type]
        (lambda: Retry(len), r"write Retry\(attempts\)"),  # type: ignore[arg-type]
        (lambda: CircuitBreaker(len), r"write CircuitBreaker\(name\)"),  # type: ignore[arg-type]
    ],
)
def test_a_forgotten_bracket_is_refused_with_what_to_write(make: Callable[[], object], mends: str) -> None:
    with pytest.raises(TypeError, match=mends):
        make()
