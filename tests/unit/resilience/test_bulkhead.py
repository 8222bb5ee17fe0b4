"""The bulkhead: places, the line, fairness, deadlines; threads and tasks of several loops at one bulkhead."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from patience import until
from rakiza._kernel import deadline
from rakiza.resilience import Bulkhead, BulkheadFullError, DeadlineExceededError


def test_threads_wait_in_line_and_pass_in_the_order_they_came() -> None:
    bulkhead, order = Bulkhead("bank", 1, queue=5), []
    bulkhead.enter()

    def work(number: int) -> None:
        bulkhead.enter()
        order.append(number)
        bulkhead.leave()

    threads = []
    for number in range(5):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        threads.append(thread)
        until(lambda number=number: bulkhead.queued == number + 1)
    with pytest.raises(BulkheadFullError, match="bank is full") as full:
        bulkhead.enter()
    assert (full.value.retry_after_seconds, full.value.status) == (1.0, 503)
    bulkhead.leave()
    for thread in threads:
        thread.join(60)
    assert order == [0, 1, 2, 3, 4]
    assert (bulkhead.in_use, bulkhead.queued, bulkhead.rejected, bulkhead.total) == (0, 0, 1, 6)


def test_tasks_wait_in_line_and_pass_in_the_order_they_came() -> None:
    async def story() -> list[int]:
        bulkhead, order = Bulkhead("bank", 2, queue=10), []

        @bulkhead
        async def work(number: int) -> None:
            order.append(number)
            assert bulkhead.in_use <= 2
            await asyncio.sleep(0.001)

        ended = await asyncio.gather(*(work(number) for number in range(14)), return_exceptions=True)
        assert sum(isinstance(each, BulkheadFullError) for each in ended) == 2
        assert (bulkhead.in_use, bulkhead.queued) == (0, 0)
        return order

    assert asyncio.run(story()) == list(range(12))


def test_never_more_than_the_limit_of_threads_and_loops_together() -> None:
    bulkhead, lock = Bulkhead("bank", 3, queue=1000), threading.Lock()
    now = most = done = 0

    def inside(step: int) -> None:
        nonlocal now, most, done
        with lock:
            now, done = now + step, done + (step > 0)
            most = max(most, now)

    @bulkhead
    def plain() -> None:
        inside(1)
        threading.Event().wait(0.0005)
        inside(-1)

    @bulkhead
    async def task() -> None:
        inside(1)
        await asyncio.sleep(0.0005)
        inside(-1)

    async def loop() -> None:
        await asyncio.gather(*(task() for _ in range(50)))

    def thread() -> None:
        for _ in range(25):
            plain()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(thread) for _ in range(4)] + [pool.submit(lambda: asyncio.run(loop())) for _ in range(4)]:
            future.result(120)
    assert (done, now) == (300, 0)
    assert 1 <= most <= 3
    assert (bulkhead.in_use, bulkhead.queued, bulkhead.total) == (0, 0, 300)


@given(steps=st.lists(st.sampled_from(["start", "end", "cancel first", "cancel last", "run"]), max_size=40))
def test_whatever_is_cancelled_no_place_is_lost_and_none_is_doubled(steps: list[str]) -> None:
    async def story() -> None:
        bulkhead, inside, gates = Bulkhead("bank", 2, queue=3), set(), {}

        @bulkhead
        async def work(number: int) -> None:
            inside.add(number)
            try:
                await gates[number].wait()
            finally:
                inside.discard(number)

        tasks: list[asyncio.Task[None]] = []
        for step in steps:
            alive = [number for number, task in enumerate(tasks) if not task.done()]
            if step == "start":
                gates[len(tasks)] = asyncio.Event()
                tasks.append(asyncio.create_task(work(len(tasks))))
            elif step == "end" and alive:
                gates[alive[0]].set()
            elif step.startswith("cancel") and alive:
                tasks[alive[0 if step.endswith("first") else -1]].cancel()
            else:
                await asyncio.sleep(0)
            assert len(inside) <= bulkhead.in_use <= 2
            assert bulkhead.queued <= 3
        for gate in gates.values():
            gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (bulkhead.in_use, bulkhead.queued) == (0, 0)

    asyncio.run(story())


@pytest.mark.parametrize("rounds", range(6))
def test_a_place_handed_to_one_that_is_just_being_cancelled_goes_to_the_next(rounds: int) -> None:
    async def story() -> None:
        bulkhead = Bulkhead("bank", 1, queue=2)
        bulkhead.enter()
        first, second = (asyncio.create_task(bulkhead.aenter()) for _ in range(2))
        await asyncio.sleep(0)
        bulkhead.leave()
        for _ in range(rounds):
            await asyncio.sleep(0)
        if first.cancel():
            await asyncio.wait_for(second, 60)
            assert first.cancelled()
        assert (bulkhead.in_use, bulkhead.queued) == (1, 0 if second.done() else 1)
        second.cancel()
        await asyncio.wait({first, second})

    asyncio.run(story())


@pytest.mark.parametrize("own", [None, 60.0])
def test_the_wait_ends_with_the_deadline(own: float | None) -> None:
    bulkhead = Bulkhead("bank", 1, queue=1, wait_seconds=own)
    bulkhead.enter()
    with pytest.raises(DeadlineExceededError) as late, deadline(0.01):
        bulkhead.enter()
    assert not late.value.tried

    async def wait() -> None:
        with deadline(0.01):
            await bulkhead.aenter()

    with pytest.raises(DeadlineExceededError):
        asyncio.run(wait())
    assert (bulkhead.queued, bulkhead.in_use, bulkhead.rejected) == (0, 1, 2)
    bulkhead.leave()
    assert bulkhead.take()


@pytest.mark.parametrize("own", [None, 60.0])
def test_a_loop_that_wakes_a_little_early_ends_the_wait_by_the_deadline_all_the_same(own: float | None) -> None:
    bulkhead = Bulkhead("bank", 1, queue=1, wait_seconds=own)
    bulkhead.enter()

    async def wait() -> None:
        for _ in range(100):
            with pytest.raises(DeadlineExceededError), deadline(0.0011):  # uvloop counts whole milliseconds
                await bulkhead.aenter()

    uvloop.run(wait())


def test_the_wait_ends_after_its_own_time() -> None:
    bulkhead = Bulkhead("bank", 1, queue=1, wait_seconds=0.01)
    bulkhead.enter()
    with pytest.raises(BulkheadFullError, match=r"no place within 0\.01 s"):
        bulkhead.enter()
    with pytest.raises(BulkheadFullError):
        asyncio.run(bulkhead.aenter())


def test_a_place_does_not_go_to_a_loop_that_has_ended() -> None:
    bulkhead = Bulkhead("bank", 1, queue=2)
    bulkhead.enter()
    loop = asyncio.new_event_loop()
    task = loop.create_task(bulkhead.aenter())
    loop.run_until_complete(asyncio.sleep(0))
    assert bulkhead.queued == 1
    coroutine = task.get_coro()
    task._log_destroy_pending = False  # type: ignore[attr-defined] # it is left behind on purpose
    loop.close()
    thread = threading.Thread(target=bulkhead.enter)
    thread.start()
    until(lambda: bulkhead.queued == 2)
    bulkhead.leave()
    thread.join(60)
    assert (bulkhead.queued, bulkhead.in_use) == (0, 1)
    bulkhead.leave()
    assert bulkhead.in_use == 0
    del task
    with pytest.raises(RuntimeError, match="closed"):
        coroutine.throw(RuntimeError("closed"))


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 1, "queue": -1}, {"limit": 1, "wait_seconds": 0.0}, {"limit": 1, "wait_seconds": float("nan")}]
)
def test_a_bulkhead_has_places(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="bulkhead"):
        Bulkhead("bank", **wrong)


def test_an_error_gives_the_place_back() -> None:
    bulkhead = Bulkhead("bank", 1)

    @bulkhead
    def fails() -> None:
        raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fails()
    assert bulkhead.in_use == 0
