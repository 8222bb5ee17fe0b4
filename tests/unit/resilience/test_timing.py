"""Time limits: the meaning of `asyncio.timeout` for async functions, a value for plain ones."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context

import pytest

from rakiza._kernel import deadline, time_left
from rakiza.resilience import Bulkhead, CircuitBreaker, Deadline, DeadlineExceededError, Retry, Timeout, policy, registry

Body = Callable[[], Awaitable[object]]
Limited = Callable[[float, Body], Awaitable[object]]


async def by_asyncio(seconds: float, body: Body) -> object:
    async with asyncio.timeout(seconds):
        return await body()


async def by_us(seconds: float, body: Body) -> object:
    return await Timeout(seconds)(body)()


async def quick() -> str:
    return "done"


async def yields() -> str:
    await asyncio.sleep(0)
    return "done"


async def hangs() -> None:
    await asyncio.sleep(3600)


async def swallows() -> str:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return "swallowed"
    return "never"


async def turns_it_into_another() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise KeyError("another") from None


async def fails() -> None:
    raise KeyError("own")


async def raises_timeout() -> None:
    raise TimeoutError


async def cancels_itself() -> None:
    raise asyncio.CancelledError


async def is_late() -> str:
    threading.Event().wait(0.02)  # the loop comes to the alarm only when the call is over
    await asyncio.sleep(0)
    return "late"


async def is_asked_to_end_meanwhile() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.sleep(3600)


async def is_asked_to_end_at_the_alarm() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.005, task.cancel)
    threading.Event().wait(0.02)
    await asyncio.sleep(3600)


def within(limited: Limited, seconds: float, body: Body) -> Body:
    async def inner() -> object:
        return await limited(seconds, body)

    return inner


async def outcome(limited: Limited, body: Callable[[Limited], Body]) -> tuple[object, int]:
    """Return what a task with a limit of 5 ms ends with, and how often it is still asked to end."""
    left: list[int] = []

    async def work() -> object:
        task = asyncio.current_task()
        assert task is not None
        try:
            return await limited(0.005, body(limited))
        except BaseException as error:  # noqa: BLE001 - whatever it ends with is compared
            return "timeout" if isinstance(error, TimeoutError) else type(error)
        finally:
            left.append(task.cancelling())

    return await asyncio.create_task(work()), left[0]


BODIES: dict[str, Callable[[Limited], Body]] = {
    **{
        each.__name__: (lambda _, each=each: each)  # type: ignore[misc]
        for each in (
            *(quick, yields, hangs, swallows, turns_it_into_another, fails, raises_timeout, cancels_itself, is_late),
            *(is_asked_to_end_meanwhile, is_asked_to_end_at_the_alarm),
        )
    },
    "inner_first": lambda limited: within(limited, 0.001, hangs),
    "outer_first": lambda limited: within(limited, 60.0, hangs),
    "inner_swallowed": lambda limited: within(limited, 60.0, swallows),
    "three_deep": lambda limited: within(limited, 60.0, within(limited, 60.0, hangs)),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_async_limit_means_what_asyncio_timeout_means(name: str) -> None:
    ours, theirs = (asyncio.run(outcome(limited, BODIES[name])) for limited in (by_us, by_asyncio))
    assert ours == theirs


def test_a_call_that_takes_too_long_is_cancelled_and_says_what_took_how_long() -> None:
    before = {missed.name: missed.count for missed in registry.missed.all()}
    with pytest.raises(DeadlineExceededError, match=r"bank: no answer within 0\.005 s") as late:
        asyncio.run(Timeout(0.005, name="bank")(hangs)())
    assert isinstance(late.value, TimeoutError)
    assert (late.value.status, late.value.tried, late.value.code) == (504, True, "deadline_exceeded")
    assert "المهلة" in late.value.message_ar
    missed = next(missed for missed in registry.missed.all() if missed.name == "bank")
    assert missed.count == before.get("bank", 0) + 1
    assert missed.last_at is not None


def test_a_plain_function_is_told_its_time_and_not_called_without_any() -> None:
    told: list[float | None] = []

    @policy(Deadline(60.0), Timeout(10.0))
    def ask() -> None:
        told.append(time_left())

    ask()
    with deadline(5):
        ask()
    with pytest.raises(DeadlineExceededError, match="not made") as late, deadline(0):
        ask()
    assert not late.value.tried
    assert [left is not None and above < left <= above + 1 for left, above in zip(told, (9, 4), strict=True)] == [True, True]
    assert time_left() is None


def test_an_async_function_is_not_called_without_time() -> None:
    called = []

    async def ask() -> None:
        called.append(time_left())

    async def story() -> None:
        with deadline(0):
            for each in (Timeout(1.0), Deadline(1.0), policy(Deadline(1.0), Timeout(1.0))):
                with pytest.raises(DeadlineExceededError):
                    await each(ask)()
        await policy(Deadline(5.0), Timeout(1.0))(ask)()

    asyncio.run(story())
    assert len(called) == 1
    assert 0.0 < called[0] <= 1.0


def test_a_plain_call_that_came_too_late_is_counted_and_its_answer_kept() -> None:
    slow = Timeout(0.001, name="slow disk")(lambda: threading.Event().wait(0.01))
    threads = threading.active_count()
    assert slow() is False
    assert any(missed.name == "slow disk" for missed in registry.missed.all())
    assert threading.active_count() == threads


def test_the_total_holds_for_attempts_pauses_and_the_line_together() -> None:
    breaker, full = CircuitBreaker("bank"), Bulkhead("bank", 1, queue=1)
    tries = []

    async def bad() -> None:
        tries.append(1)
        raise OSError

    async def story() -> None:
        pipeline = policy(Deadline(0.05), Retry(1000, base_seconds=0.01), breaker, full, Timeout(10.0))
        with pytest.raises(OSError):  # noqa: PT011 - the call's own error: no pause was left
            await pipeline(bad)()
        full.enter()
        with pytest.raises(DeadlineExceededError):
            await pipeline(bad)()
        full.leave()
        with pytest.raises(DeadlineExceededError):
            await pipeline(hangs)()

    asyncio.run(asyncio.wait_for(story(), 60))
    assert 1 <= len(tries) < 1000


def test_a_deadline_of_the_caller_ends_an_attempt_sooner() -> None:
    async def story() -> None:
        with deadline(0.005):
            await Timeout(60.0)(hangs)()

    with pytest.raises(DeadlineExceededError):
        asyncio.run(asyncio.wait_for(story(), 60))


def test_a_deadline_without_a_timeout_inside_cancels_by_itself() -> None:
    with pytest.raises(DeadlineExceededError):
        asyncio.run(asyncio.wait_for(policy(Deadline(0.005), Retry(2), CircuitBreaker("bank"))(hangs)(), 60))


def test_tasks_that_a_call_starts_inherit_its_time() -> None:
    async def told() -> float | None:
        return time_left()

    async def ask() -> float | None:
        return await asyncio.create_task(told())

    left = asyncio.run(Timeout(10.0)(ask)())
    assert left is not None
    assert 9 < left <= 10


def test_an_async_limit_needs_a_task() -> None:
    async def story() -> None:
        failed = asyncio.get_running_loop().create_future()

        def without_a_task() -> None:
            try:
                Timeout(1.0)(yields)().send(None)
            except RuntimeError as error:
                failed.set_result(str(error))

        asyncio.get_running_loop().call_soon(without_a_task)
        assert "needs a task" in await failed

    asyncio.run(story())


def test_a_call_nobody_finished_disturbs_no_deadline_of_another_context() -> None:
    async def story() -> None:
        coroutine = Timeout(10.0)(hangs)()
        task = asyncio.get_running_loop().create_task(coroutine, context=copy_context())
        await asyncio.sleep(0)
        with deadline(60):
            inner = task.get_coro()
            with pytest.raises(RuntimeError, match="closing"):
                inner.throw(RuntimeError("closing"))
            left = time_left()
            assert left is not None
            assert 30 < left <= 60
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(story())


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
@pytest.mark.parametrize("kind", [Timeout, Deadline])
def test_a_limit_is_a_time(kind: type[Timeout], seconds: float) -> None:
    with pytest.raises(ValueError, match=kind.__name__):
        kind(seconds)
