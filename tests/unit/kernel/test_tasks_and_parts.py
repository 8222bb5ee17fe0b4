"""Threads with owners, and the context parts are built in."""

import asyncio
import gc
import logging
import os
import signal
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import (
    SYSTEM_CLOCK,
    Context,
    LoopThread,
    Maintenance,
    Part,
    Pause,
    RequestContext,
    SettingsReader,
    Supervisor,
    WorkerPool,
    current,
    use_context,
)
from rakiza._kernel.tasks import next_due

CONTEXT = RequestContext("طلب", "t" * 32, "s" * 16)


def request_id() -> str | None:
    """Return the id of the request at hand."""
    found = current()
    return found and found.request_id


def test_work_in_the_pool_sees_the_callers_context_and_keeps_its_own_changes() -> None:
    pool = WorkerPool(1)

    async def serve() -> str | None:
        with use_context(CONTEXT):
            return await pool.run(request_id)

    assert asyncio.run(serve()) == "طلب"
    with use_context(CONTEXT):
        assert pool.submit(request_id).result() == "طلب"
    assert pool.submit(request_id).result() is None
    pool.close()


def test_the_pool_is_bounded_and_opens_again_after_a_close() -> None:
    pool = WorkerPool(3)
    gate = threading.Barrier(3, timeout=60)

    def work(_: int) -> str:
        gate.wait()
        return threading.current_thread().name

    assert len({future.result() for future in [pool.submit(work, number) for number in range(9)]}) == 3
    pool.close()
    assert pool.submit(lambda: 7).result() == 7
    pool.close()


def test_the_pool_tells_how_many_of_its_threads_are_at_work() -> None:
    pool = WorkerPool(3)
    gate = threading.Barrier(3, timeout=60)
    seen = [pool.submit(lambda: (gate.wait(), pool.busy)[1]) for _ in range(2)]
    gate.wait()
    assert {future.result() for future in seen} <= {1, 2}
    assert max(future.result() for future in seen) == 2
    pool.close()
    assert pool.busy == 0


def test_the_loop_thread_serves_synchronous_code() -> None:
    loop = LoopThread()

    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return value * 2

    assert loop.call(double(21), timeout_seconds=10) == 42
    with pytest.raises(TimeoutError):
        loop.call(asyncio.sleep(60), timeout_seconds=0.01)
    loop.close()


def test_a_failing_task_goes_on_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    supervisor, enough = Supervisor(), threading.Event()
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        if len(calls) >= 9:
            enough.set()
        raise ValueError("تعذر")

    with caplog.at_level(logging.ERROR):
        supervisor.every("failing", 0.001, fail)
        assert not calls
        supervisor.start()
        assert enough.wait(10)
        supervisor.stop()
    failures = supervisor.failures()["failing"]
    assert failures >= 9
    assert len([record for record in caplog.records if "failing" in record.message]) == failures.bit_length()
    count = len(calls)
    supervisor.stop()
    assert len(calls) == count


def test_a_task_added_late_starts_and_a_name_is_used_once() -> None:
    supervisor, ran = Supervisor(), threading.Event()
    supervisor.start()
    supervisor.every("late", 0.001, ran.set)
    assert ran.wait(10)
    with pytest.raises(ValueError, match="late"):
        supervisor.every("late", 1, ran.set)
    supervisor.stop()


def test_a_woken_task_runs_at_once_and_once_more_for_a_call_while_it_works() -> None:
    supervisor, runs, gate = Supervisor(), threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        runs.release()
        assert gate.acquire(timeout=60)

    task = supervisor.every("hourly", 3600, work)
    task.wake()
    assert not runs.acquire(blocking=False)
    supervisor.start()
    assert runs.acquire(timeout=60)  # was woken before the start
    for _ in range(3):
        task.wake()
    gate.release()
    assert runs.acquire(timeout=60)  # three calls during one run make one more
    gate.release()
    task.wake()
    assert runs.acquire(timeout=60)
    gate.release()
    supervisor.stop()
    task.wake()
    assert not runs.acquire(timeout=0.05)
    supervisor.start()
    task.wake()
    assert runs.acquire(timeout=60)
    gate.release()
    supervisor.stop()
    assert supervisor.failures() == {"hourly": 0}


def test_a_task_that_writes_rests_in_maintenance_and_forgets_no_call() -> None:
    maintenance, wrote, read = Maintenance(), threading.Semaphore(0), threading.Semaphore(0)
    supervisor = Supervisor(maintenance=maintenance)
    maintenance.know(Pause(SYSTEM_CLOCK.now(), "restore"))
    supervisor.every("writes", 3600, wrote.release, writes=True).wake()
    supervisor.every("reads", 0.01, read.release)
    supervisor.start()
    for _ in range(5):
        assert read.acquire(timeout=60)
    assert not wrote.acquire(blocking=False)
    maintenance.know(None)
    assert wrote.acquire(timeout=60)
    maintenance.know(Pause(SYSTEM_CLOCK.now(), "restore"))
    supervisor.stop()
    assert not wrote.acquire(blocking=False)


def test_a_task_that_is_woken_keeps_its_steady_schedule() -> None:
    supervisor, ran, woken = Supervisor(), threading.Semaphore(0), threading.Event()
    task = supervisor.every("steady", 0.2, ran.release)
    supervisor.start()

    def wake_often() -> None:
        while not woken.wait(0.05):
            task.wake()

    waker = threading.Thread(target=wake_often)
    waker.start()
    for _ in range(12):
        assert ran.acquire(timeout=60)
    woken.set()
    waker.join()
    for _ in range(3):  # nobody calls any more
        assert ran.acquire(timeout=60)
    supervisor.stop()


def test_a_task_can_be_woken_in_a_forked_child() -> None:
    supervisor, parent = Supervisor(), os.getpid()
    read_end, write_end = os.pipe()
    task = supervisor.every("hourly", 3600, lambda: None if os.getpid() == parent else os.write(write_end, b"t") and None)
    supervisor.start()
    child = os.fork()
    if child == 0:
        try:
            task.wake()
            task.stop.wait(10)
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        assert answer.read(1) == b"t"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    supervisor.stop()


def test_tasks_of_a_forked_child_begin_after_their_owners_took_new_locks() -> None:
    supervisor, parent = Supervisor(), os.getpid()
    read_end, write_end = os.pipe()
    ready: list[bool] = []

    def owner() -> None:
        if ready == [False]:
            time.sleep(0.2)
            ready.append(True)

    os.register_at_fork(after_in_child=owner)
    supervisor.every("tick", 0.005, lambda: None if os.getpid() == parent else os.write(write_end, b"y" if True in ready else b"n") and None)
    supervisor.start()
    ready.append(False)
    child = os.fork()
    if child == 0:
        try:
            threading.Event().wait(10)
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        assert answer.read(1) == b"y"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    supervisor.stop()
    ready.clear()


def test_tasks_and_pools_live_on_in_a_forked_child() -> None:
    supervisor, pool = Supervisor(), WorkerPool(1)
    read_end, write_end = os.pipe()
    parent = os.getpid()
    supervisor.every("tick", 0.005, lambda: None if os.getpid() == parent else os.write(write_end, b"t") and None)
    supervisor.start()
    assert pool.submit(lambda: 1).result() == 1
    child = os.fork()
    if child == 0:
        try:
            os.write(write_end, str(pool.submit(lambda: 2).result()).encode())
            supervisor._tasks["tick"].stop.wait(0.2)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    supervisor.stop()
    pool.close()
    with os.fdopen(read_end, "rb") as answer:
        written = answer.read()
    assert b"2" in written
    assert b"t" in written


def test_parts_are_added_after_what_they_need() -> None:
    ctx = Context("noufal", SettingsReader(environ={}, dotenv={}))
    with pytest.raises(ValueError, match="'jobs' needs store"):
        ctx.add(Part(name="jobs", service=object(), needs=("store",)))
    ctx.add(Part(name="store", service="the store"))
    ctx.add(Part(name="jobs", service=7, needs=("store",)))
    assert ctx.need("store", str) == "the store"
    assert ctx.has("jobs")
    assert not ctx.has("mail")
    with pytest.raises(ValueError, match="'store' is needed"):
        ctx.need("store", int)
    assert set(ctx.ports.absent()) >= {"audit", "authenticator"}


@given(st.floats(0, 1e6), st.floats(0, 1e5), st.sampled_from([0.05, 0.25, 1.0, 5.0, 3600.0]))
def test_a_task_keeps_to_its_periods_however_long_its_work_takes(due: float, late: float, seconds: float) -> None:
    found = next_due(due, due + late, seconds)
    assert due + late < found + 1e-6
    assert found <= due + late + seconds + 1e-6
    assert abs((found - due) / seconds - round((found - due) / seconds)) < 1e-6


def test_what_was_stopped_is_let_go_of() -> None:
    """The hooks for forked children, which nobody can take back, hold nothing."""

    class Owner:
        def work(self) -> None: ...

    owner, supervisor, pool, loop = Owner(), Supervisor(), WorkerPool(1), LoopThread()
    supervisor.every("hourly", 3600, owner.work)
    supervisor.start()
    assert pool.submit(lambda: 1).result() == 1
    for one in (supervisor.stop, pool.close, loop.close):
        one()
    left = [weakref.ref(one) for one in (owner, supervisor, pool, loop)]
    del owner, supervisor, pool, loop, one
    gc.collect()
    assert [one() for one in left] == [None] * 4
