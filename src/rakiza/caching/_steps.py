"""The steps a lookup is made of, each of which can be done by a thread or on an event loop; the lookup itself is written once, as a generator."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar, cast

from rakiza._kernel import WorkerPool
from rakiza._kernel.tasks import running_loop

from ._backends.redis import AwayError, Command, RedisLevel

T = TypeVar("T")
loading: contextvars.ContextVar[frozenset[str]] = contextvars.ContextVar("rakiza_caching_loading", default=frozenset())


class Step(Protocol):
    """Be one thing to wait for."""

    def now(self) -> object:
        """Do it in this thread."""
        ...

    async def later(self) -> object:
        """Do it on the event loop."""
        ...


Flow = Generator[Step, Any, T]


def run(flow: "Flow[T]") -> T:
    """Do the steps of a flow in this thread and return what it returns."""
    send: Callable[[Any], Step] = flow.send
    given: object = None
    while True:
        try:
            step = send(given)
        except StopIteration as end:
            return cast("T", end.value)
        try:
            send, given = flow.send, step.now()
        except BaseException as error:  # noqa: BLE001 - border: handed to the flow
            send, given = flow.throw, error


async def run_later(flow: "Flow[T]") -> T:
    """Do the steps of a flow on the event loop and return what it returns."""
    send: Callable[[Any], Step] = flow.send
    given: object = None
    while True:
        try:
            step = send(given)
        except StopIteration as end:
            return cast("T", end.value)
        try:
            send, given = flow.send, await step.later()
        except BaseException as error:  # noqa: BLE001 - border: handed to the flow
            send, given = flow.throw, error


class Ask:
    """Ask Redis, in one round trip; the answer is none when it is away."""

    __slots__ = ("commands", "level")

    def __init__(self, level: RedisLevel, *commands: Command) -> None:
        self.level, self.commands = level, commands

    def now(self) -> list[Any] | None:
        try:
            return self.level.ask(self.commands)
        except AwayError:
            return None

    async def later(self) -> list[Any] | None:
        try:
            return await self.level.ask_later(self.commands)
        except AwayError:
            return None


class Load:
    """Call what loads the value of a key, synchronous or not; an asynchronous one cannot be called from a thread."""

    __slots__ = ("call", "key", "pool")

    def __init__(self, key: str, call: Callable[[], object], pool: WorkerPool) -> None:
        self.key, self.call, self.pool = key, call, pool

    def now(self) -> object:
        mark = loading.set(loading.get() | {self.key})
        try:
            value = self.call()
        finally:
            loading.reset(mark)
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise TypeError(f"what loads {self.key!r} is asynchronous: use `await cache.aget_or_load(…)`")
        return value

    async def later(self) -> object:
        mark = loading.set(loading.get() | {self.key})
        try:
            if inspect.iscoroutinefunction(self.call):
                return await self.call()
            value = await self.pool.run(self.call)
            return await cast("Awaitable[object]", value) if inspect.isawaitable(value) else value
        finally:
            with suppress(ValueError):  # a task that is thrown away ends in the context of whoever does it
                loading.reset(mark)


class OwnLoopError(Exception):
    """Say that a thread would wait for a task of the event loop it holds up."""


class Wait(Generic[T]):
    """Wait for a future, at most so many seconds; the answer tells whether it is done. The future itself is never cancelled."""

    __slots__ = ("future", "loop", "seconds")

    def __init__(self, future: "Future[T]", seconds: float | None, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.future, self.seconds, self.loop = future, seconds, loop

    def now(self) -> bool:
        if self.loop is not None and not self.future.done() and self.loop is running_loop():
            raise OwnLoopError
        try:
            self.future.exception(self.seconds)
        except TimeoutError:
            return self.future.done()
        return True

    async def later(self) -> bool:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[None] = loop.create_future()

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(_arrive, arrived)

        self.future.add_done_callback(tell)
        try:
            await asyncio.wait_for(arrived, self.seconds)
        except TimeoutError:
            return self.future.done()
        return True


def _arrive(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class Background:
    """Hold the loads that go on by themselves: some threads, and the tasks, which a loop alone would not keep alive."""

    def __init__(self, threads: int = 8) -> None:
        self.pool = WorkerPool(threads)
        self.free = threading.Semaphore(threads)
        self.tasks: set[asyncio.Task[None]] = set()

    def work(self, flow: "Flow[None]") -> None:
        """Do a flow in a thread and give the thread back."""
        try:
            run(flow)
        finally:
            self.free.release()

    def forget(self) -> None:
        """Have all threads free again in a forked child."""
        self.free = threading.Semaphore(self.pool.threads)


class Spawn:
    """Let a flow go on by itself, in a thread or as a task; the answer is nothing, the flow tells its flight.

    With no thread free it is done at once: loads that wait for each other in a line of one pool would wait forever.
    """

    __slots__ = ("background", "flow")

    def __init__(self, flow: "Flow[None]", background: Background) -> None:
        self.flow, self.background = flow, background

    def now(self) -> None:
        if self.background.free.acquire(blocking=False):
            self.background.pool.submit(self.background.work, self.flow)
        else:
            run(self.flow)

    async def later(self) -> None:
        task = asyncio.get_running_loop().create_task(run_later(self.flow))
        self.background.tasks.add(task)
        task.add_done_callback(self.background.tasks.discard)


