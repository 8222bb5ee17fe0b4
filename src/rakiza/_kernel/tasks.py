"""Threads of the platform, each with an owner: the bounded pool for business code, one loop for async code under WSGI, and repeating tasks."""

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar, cast

from .clock import SYSTEM_CLOCK, Clock
from .maintenance import Maintenance

P = ParamSpec("P")
T = TypeVar("T")
POOL_THREADS = 8
REST_SECONDS = 0.5
FORK_WAIT_SECONDS = 1.0
"""How long a fork waits for those who use an SQLite file: what a process has locked in it stands in its memory, and the child would believe it."""
log = logging.getLogger(__name__)


def after_fork(method: Callable[[], None]) -> None:
    """Call a bound method in every forked child, as long as its object lives: the hook, which nobody can take back, does not keep it alive."""
    os.register_at_fork(after_in_child=_living(method))


def around_fork(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call a bound method before this process forks, the latest named first, and another in it afterwards, as long as their objects live."""
    os.register_at_fork(before=_living(before), after_in_parent=_living(after))


def _living(method: Callable[[], None]) -> Callable[[], object]:
    known = weakref.WeakMethod(method)
    return lambda: [found() for found in [known()] if found is not None]


class WorkerPool:
    """Run synchronous business code off the event loop, in a bounded number of threads."""

    def __init__(self, threads: int = POOL_THREADS) -> None:
        self.threads = threads
        self.busy = 0
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        after_fork(self._forget)

    @property
    def executor(self) -> ThreadPoolExecutor:
        """Return the executor, made at first use and made again in a forked child."""
        executor = self._executor
        if executor is None:
            with self._lock:
                executor = self._executor = self._executor or ThreadPoolExecutor(self.threads, "rakiza-worker")
        return executor

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in the pool with the caller's context variables and return what it returns."""
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self.executor, lambda: self._work(lambda: context.run(function, *args, **kwargs)))

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Start `function` in the pool and return its future."""
        context = copy_context()
        return self.executor.submit(lambda: self._work(lambda: context.run(function, *args, **kwargs)))

    def _work(self, call: Callable[[], T]) -> T:
        with self._lock:
            self.busy += 1
        try:
            return call()
        finally:
            with self._lock:
                self.busy -= 1

    def close(self) -> None:
        """Wait for the running work and end the threads."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)

    def _forget(self) -> None:
        self._executor = None
        self.busy = 0
        self._lock = threading.Lock()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def both(pool: WorkerPool, work: Callable[[], T]) -> T:
    """Return what `work` returns; where an event loop runs, a future of it, worked out in the pool."""
    loop = running_loop()
    if loop is None:
        return work()
    context = copy_context()
    return cast("T", loop.run_in_executor(pool.executor, lambda: context.run(work)))


class LoopThread:
    """Serve coroutines from synchronous code by one event loop in a thread of its own (WSGI hosts)."""

    _loop: asyncio.AbstractEventLoop | None
    _thread: threading.Thread | None

    def __init__(self, name: str = "rakiza-loop") -> None:
        self._name = name
        self._forget()
        after_fork(self._forget)

    def call(self, coroutine: Coroutine[object, object, T], timeout_seconds: float | None = None) -> T:
        """Run the coroutine on the loop and wait for its result; cancel it and raise TimeoutError when it takes too long."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout_seconds)
        except TimeoutError:
            future.cancel()
            raise

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop, started at first use."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Cancel what still runs, and end the loop and its thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout_seconds)

    def _forget(self) -> None:
        self._loop = None
        self._thread = None
        self._lock = threading.Lock()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class Repeating:
    """Run one background task; made by `Supervisor.every`."""

    def __init__(self, name: str, seconds: float, work: Callable[[], None], maintenance: Maintenance | None = None) -> None:
        self.name, self.seconds, self.work, self._maintenance = name, seconds, work, maintenance
        self.failures = 0
        self.thread: threading.Thread | None = None
        self.stop, self._called = threading.Event(), threading.Event()

    @property
    def rests(self) -> bool:
        """Tell whether it waits for the end of maintenance; work that waits itself asks again before it writes."""
        return self._maintenance is not None and self._maintenance.on

    def wake(self) -> None:
        """Let the task run at once, once more when it is at work, at its start when it has not started; its steady schedule stays."""
        self._called.set()

    def start(self) -> None:
        """Begin; a forked child begins with events of its own, because the parent's may be locked."""
        self.stop, self._called = threading.Event(), self._called if self.thread is None else threading.Event()
        self.thread = threading.Thread(target=self.run, args=(self.stop,), name=f"rakiza-{self.name}", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Let no further run begin."""
        self.stop.set()
        self._called.set()

    def run(self, stop: threading.Event) -> None:
        """Do the work again and again until the end."""
        due = SYSTEM_CLOCK.monotonic() + self.seconds
        while not stop.is_set():
            woken = self._called.wait(max(0.0, due - SYSTEM_CLOCK.monotonic()))
            while self.rests and not stop.wait(REST_SECONDS):
                pass
            if stop.is_set():
                return
            self._called.clear()  # before the work, so that a call during it is not lost
            try:
                self.work()
            except Exception:
                self.failures += 1
                # The first failure and then powers of two: a task that fails every second must not fill the log.
                if self.failures & (self.failures - 1) == 0:
                    log.exception("background task %s failed %d times", self.name, self.failures)
            now = SYSTEM_CLOCK.monotonic()
            due = due if woken and now < due else next_due(due, now, self.seconds)


def next_due(due: float, now: float, seconds: float) -> float:
    """Return the first moment after `now` that is whole periods after `due`: work that takes time shifts nothing, what was missed is left out."""
    return due + seconds * (max(0, int((now - due) // seconds)) + 1)


class Supervisor:
    """Own the repeating background tasks: start, stop, survive a fork, report failures."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, maintenance: Maintenance | None = None) -> None:
        self._clock, self._maintenance = clock, maintenance
        self._tasks: dict[str, Repeating] = {}
        self._running = self._hooked = False

    def every(self, name: str, seconds: float, work: Callable[[], None], *, writes: bool = False) -> Repeating:
        """Call `work` every `seconds` in a thread of its own, and at once when the returned task is woken; raise ValueError for a name in use.

        Work that `writes` business data waits while they are in maintenance.
        """
        if name in self._tasks:
            raise ValueError(f"a background task named {name!r} is there already")
        task = self._tasks[name] = Repeating(name, seconds, work, self._maintenance if writes else None)
        if self._running:
            task.start()
        return task

    def start(self) -> None:
        """Start every task."""
        if not self._hooked:  # not earlier, so that in a forked child the owners of the tasks take new locks before the tasks run
            self._hooked = True
            after_fork(self._restart)
        if not self._running:
            self._running = True
            for task in self._tasks.values():
                task.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End every task and wait for those at work."""
        self._running = False
        for task in self._tasks.values():
            task.end()
        for task in self._tasks.values():
            if task.thread is not None:
                task.thread.join(timeout_seconds)

    def failures(self) -> dict[str, int]:
        """Return how often each task has failed."""
        return {name: task.failures for name, task in self._tasks.items()}

    def _restart(self) -> None:
        if self._running:
            for task in self._tasks.values():
                task.start()
