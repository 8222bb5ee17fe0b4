"""The breaker around real calls: threads, tasks, cancelled and hung probes, what counts as a failure, forced states."""

import asyncio
import inspect
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from rakiza.resilience import Bulkhead, CircuitBreaker, CircuitOpenError, DeadlineExceededError, Timeout, policy, registry
from rakiza.resilience._core import Change
from rakiza.testing import FrozenClock

CALLERS = 50


class AwayError(Exception):
    """The guarded service is away."""


def away() -> None:
    raise AwayError


def opened(clock: FrozenClock, **given: object) -> CircuitBreaker:
    """Return a breaker whose time to refuse is over: the next callers are probes."""
    breaker = CircuitBreaker("bank", **{"min_calls": 1, "open_seconds": 10.0, "lease_seconds": 5.0, "clock": clock} | given)  # type: ignore[arg-type]
    with pytest.raises(AwayError):
        breaker.call(away)
    assert breaker.state == "open"
    clock.advance(10)
    return breaker


class Crowd:
    """Fifty threads that all want through at once; those let in wait until told."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker, self.inside, self.gate = breaker, threading.Semaphore(0), threading.Event()
        self.start, self.pool = threading.Barrier(CALLERS), ThreadPoolExecutor(CALLERS)
        self.refused = threading.Semaphore(0)
        self.futures = [self.pool.submit(self.come) for _ in range(CALLERS)]

    def come(self) -> bool:
        self.start.wait()
        try:
            self.breaker.call(self.work)
        except CircuitOpenError:
            self.refused.release()
            return False
        return True

    def work(self) -> None:
        self.inside.release()
        assert self.gate.wait(60)

    def wait_for(self, admitted: int) -> None:
        """Wait until all others are refused: if one too many had got in, this would not end."""
        for _ in range(CALLERS - admitted):
            assert self.refused.acquire(timeout=60)
        for _ in range(admitted):
            assert self.inside.acquire(timeout=60)

    def end(self) -> int:
        self.gate.set()
        let_in = sum(future.result() for future in self.futures)
        self.pool.shutdown()
        return let_in


@pytest.mark.parametrize("probes", [1, 3])
def test_half_open_admits_exactly_the_probes_of_fifty_threads(probes: int) -> None:
    breaker = opened(FrozenClock(), probes=probes)
    crowd = Crowd(breaker)
    crowd.wait_for(probes)
    assert crowd.end() == probes
    assert breaker.state == "closed"


@pytest.mark.parametrize("probes", [1, 3])
def test_after_hung_probes_exactly_as_many_again_and_the_late_answers_say_nothing(probes: int) -> None:
    clock = FrozenClock()
    breaker = opened(clock, probes=probes)
    hung = Crowd(breaker)
    hung.wait_for(probes)
    clock.advance(5)
    second = Crowd(breaker)
    second.wait_for(probes)
    assert hung.end() == probes
    assert breaker.state == "half_open"
    assert breaker.stats().totals.late == probes
    assert second.end() == probes
    assert breaker.state == "closed"


def test_one_breaker_serialises_nobody() -> None:
    breaker, meeting = CircuitBreaker("bank"), threading.Barrier(10)
    with ThreadPoolExecutor(10) as pool:  # each call ends only when all ten are inside
        assert len({future.result() for future in [pool.submit(breaker.call, meeting.wait, 60) for _ in range(10)]}) == 10


def test_half_open_admits_exactly_the_probes_of_fifty_tasks_also_after_cancelled_hung_and_late_ones() -> None:
    async def wave(breaker: CircuitBreaker, gate: asyncio.Event) -> tuple[list[asyncio.Task[object]], int]:
        inside = 0

        @breaker
        async def call() -> None:
            nonlocal inside
            inside += 1
            await gate.wait()

        tasks = [asyncio.create_task(call()) for _ in range(CALLERS)]
        await asyncio.sleep(0)
        return tasks, inside

    async def story() -> None:
        clock = FrozenClock()
        breaker, gate, late = opened(clock, probes=2), asyncio.Event(), asyncio.Event()
        tasks, inside = await wave(breaker, gate)
        assert inside == 2
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, asyncio.CancelledError) for each in ended) == 2
        hung, inside = await wave(breaker, late)  # the cancelled ones gave their places back
        assert (inside, breaker.state) == (2, "half_open")
        clock.advance(5)
        good, inside = await wave(breaker, gate)  # the hung ones lost theirs
        assert inside == 2
        late.set()
        await asyncio.gather(*hung, return_exceptions=True)
        assert (breaker.state, breaker.stats().totals.late) == ("half_open", 2)
        gate.set()
        await asyncio.gather(*good, return_exceptions=True)
        assert breaker.state == "closed"

    asyncio.run(story())


def test_a_late_success_closes_nothing_and_a_late_failure_opens_nothing() -> None:
    clock = FrozenClock()
    breaker = CircuitBreaker("bank", min_calls=1, open_seconds=10, clock=clock)
    early, other = breaker.enter(), breaker.enter()
    breaker.leave(breaker.enter(), failed=True)
    breaker.leave(early, failed=False)
    assert breaker.state == "open"
    clock.advance(10)
    breaker.leave(breaker.enter(), failed=False)
    breaker.leave(other, failed=True)
    assert (breaker.state, breaker.stats().totals.late) == ("closed", 2)


def test_refusal_says_when_to_come_again() -> None:
    clock = FrozenClock()
    breaker = CircuitBreaker("bank", min_calls=1, open_seconds=10, clock=clock)
    with pytest.raises(AwayError):
        breaker.call(away)
    clock.advance(2.5)
    with pytest.raises(CircuitOpenError, match="bank is open") as refused:
        breaker.call(away)
    assert (refused.value.retry_after_seconds, refused.value.headers, refused.value.status) == (7.5, {"retry-after": "8"}, 503)
    assert "الخدمة" in refused.value.message_ar


class MissingError(AwayError):
    """What was asked for is not there: the service answered."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AwayError(), "failed"),
        (MissingError(), "ignored"),
        (KeyError(), "succeeded"),
        (KeyboardInterrupt(), "ignored"),
        (asyncio.CancelledError(), "ignored"),
    ],
)
def test_what_an_exception_counts_as(error: BaseException, expected: str) -> None:
    def fails() -> None:
        raise error

    async def afails() -> None:
        raise error

    breaker = CircuitBreaker("bank", record=(AwayError,), ignore=(MissingError,))
    for call in (lambda: breaker.call(fails), lambda: asyncio.run(breaker.acall(afails)), lambda: asyncio.run(breaker(afails)()), breaker(fails)):
        with pytest.raises(type(error)):
            call()
    totals = breaker.stats().totals
    assert {name: getattr(totals, name) for name in ("failed", "ignored", "succeeded")} == {"failed": 0, "ignored": 0, "succeeded": 0} | {expected: 4}


def test_a_result_may_be_a_failure_and_a_judge_that_fails_gives_the_ticket_back() -> None:
    clock = FrozenClock()
    breaker = opened(clock, failed=lambda result: result["status"] >= 500)  # type: ignore[index]
    with pytest.raises(TypeError):
        breaker.call(lambda: None)
    assert breaker.call(lambda: {"status": 200}) == {"status": 200}
    assert breaker.state == "closed"
    breaker.call(lambda: {"status": 503})
    assert breaker.state == "open"


def test_slow_calls_open_it() -> None:
    clock = FrozenClock()
    breaker = CircuitBreaker("bank", slow_seconds=2.0, slow_rate=0.5, min_calls=2, clock=clock)
    breaker.call(clock.advance, 1.9)
    assert (breaker.state, breaker.stats().slow_rate) == ("closed", 0.0)
    breaker.call(clock.advance, 2)
    assert breaker.state == "open"
    assert breaker.stats().totals.slow == 1
    assert breaker.stats().reason == "slow_calls"


def test_a_call_that_another_policy_refused_says_nothing_about_the_service() -> None:
    breaker, full = CircuitBreaker("bank"), Bulkhead("bank", 1)
    full.enter()
    with pytest.raises(Exception, match="full"):
        policy(breaker, full)(away)()

    def too_late() -> None:
        threading.Event().wait(0.01)
        policy(breaker, Timeout(1.0))(away)()

    with pytest.raises(DeadlineExceededError):
        Timeout(0.001)(too_late)()
    assert (breaker.stats().totals.ignored, breaker.stats().totals.failed) == (2, 0)


def test_forced_states_end_by_themselves() -> None:
    clock = FrozenClock()
    breaker = CircuitBreaker("bank", min_calls=1, clock=clock)
    breaker.force_open(60, "صيانة")
    stats = breaker.stats()
    assert (stats.state, stats.forced, stats.reason, stats.forced_until) == ("open", "open", "صيانة", clock.now() + timedelta(seconds=60))
    assert stats.retry_after_seconds == 60
    with pytest.raises(CircuitOpenError):
        breaker.enter()
    clock.advance(60)
    assert (breaker.state, breaker.forced) == ("half_open", None)
    breaker.force_close(60)
    for _ in range(3):
        with pytest.raises(AwayError):
            breaker.call(away)
    assert (breaker.state, breaker.forced, breaker.stats().failure_rate) == ("closed", "closed", 1.0)
    clock.advance(60)
    assert (breaker.state, breaker.forced, breaker.stats().calls_in_window) == ("closed", None, 0)
    with pytest.raises(AwayError):
        breaker.call(away)
    assert breaker.state == "open"
    breaker.reset("الخدمة عادت")
    assert (breaker.state, breaker.stats().reason) == ("closed", "الخدمة عادت")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_nothing_is_forced_without_an_end(seconds: float) -> None:
    breaker = CircuitBreaker("bank")
    with pytest.raises(ValueError, match="number of seconds"):
        breaker.force_open(seconds)
    assert breaker.state == "closed"


def test_changes_are_told_in_order_and_a_listener_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    clock, told = FrozenClock(), []

    def fails(_: Change) -> None:
        raise RuntimeError("a bad listener")

    breaker = CircuitBreaker("bank", min_calls=1, open_seconds=10, clock=clock)
    breaker.on_change(fails)
    breaker.on_change(lambda change: told.append((change.before, change.after, breaker.state)))
    with pytest.raises(AwayError):
        breaker.call(away)
    clock.advance(10)
    breaker.call(int)
    assert told == [("closed", "open", "open"), ("open", "half_open", "half_open"), ("half_open", "closed", "closed")]
    assert [(each.before, each.after, each.why) for each in breaker.stats().history][-1] == ("half_open", "closed", "probes_succeeded")
    assert [record.getMessage() for record in caplog.records] == ["a listener of the circuit breaker bank failed"] * 3


def test_the_history_is_bounded() -> None:
    breaker = CircuitBreaker("bank")
    for _ in range(60):
        breaker.reset()
    assert len(breaker.stats().history) == 50


def test_a_decorated_function_looks_like_itself() -> None:
    breaker = CircuitBreaker("bank")

    @breaker
    async def pay(amount: int, to: str = "") -> int:
        """Pay."""
        return amount

    @breaker
    def check(amount: int) -> int:
        return amount

    class Bank:
        @breaker
        def ask(self, amount: int) -> int:
            return amount + 1

    class Later:
        async def __call__(self, amount: int) -> int:
            return amount

    assert inspect.iscoroutinefunction(pay)
    assert not inspect.iscoroutinefunction(check)
    assert (pay.__name__, pay.__doc__, list(inspect.signature(pay).parameters)) == ("pay", "Pay.", ["amount", "to"])
    assert (asyncio.run(pay(5, to="x")), check(7), Bank().ask(1), asyncio.run(breaker(Later())(3))) == (5, 7, 2, 3)
    assert breaker.stats().totals.succeeded == 4


def test_generators_are_refused_because_the_work_would_come_after_the_call() -> None:
    def items() -> object:
        yield 1

    async def aitems() -> object:
        yield 1

    for each in (items, aitems):
        with pytest.raises(TypeError, match="generator"):
            CircuitBreaker("bank")(each)


def test_the_registry_shows_what_somebody_holds() -> None:
    breaker = CircuitBreaker("a breaker of this test")
    assert registry.breakers.get("a breaker of this test") is breaker
    assert breaker in registry.breakers.all()
    del breaker
    assert registry.breakers.get("a breaker of this test") is None


@pytest.mark.parametrize("name", ["", "https://bank.example"])
def test_a_name_is_one_an_operator_can_write_into_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="slash"):
        CircuitBreaker(name)


def test_things_come_and_go_while_others_look() -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for number in range(50):
                CircuitBreaker(f"short-lived {number}")

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(come_and_go) for _ in range(2)]
        for _ in range(300):
            registry.breakers.all()
        stop.set()
        for future in futures:
            future.result()


def in_child(work: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_inherits_no_lock() -> None:
    breaker, bulkhead = CircuitBreaker("bank"), Bulkhead("bank", 1)
    bulkhead.enter()
    guarded = policy(breaker, bulkhead)(lambda: True)
    with breaker._lock, bulkhead._lock:
        assert in_child(guarded)


def test_a_forked_child_inherits_no_lock_of_what_a_second_one_of_its_name_hides() -> None:
    hidden, shown = CircuitBreaker("bank"), CircuitBreaker("bank")
    hidden_places, places = Bulkhead("bank", 1), Bulkhead("bank", 1)
    assert (registry.breakers.get("bank"), registry.bulkheads.get("bank")) == (shown, places)
    guarded = policy(hidden, hidden_places)(lambda: True)
    with hidden._lock, hidden_places._lock:
        assert in_child(lambda: all(lock.acquire(timeout=1) for lock in (hidden._lock, hidden_places._lock)))
    assert guarded()
