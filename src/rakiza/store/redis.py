"""Connections to Redis with short patience: the only file that imports the driver.

The driver's connections are used without its client, whose way around each command costs more than the command (measured: 30 µs and 20 µs
for a read by a thread, 58 µs and 28 µs on an event loop).
"""

import asyncio
import math
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rakiza._kernel.tasks import after_fork
from rakiza.errors import MissingExtraError
from rakiza.telemetry import observed

if TYPE_CHECKING:
    import redis

MAX_IDLE = 64
"""Connections kept for threads."""
AT_ONCE = 16
"""Connections of one event loop, which has one thread to read them; who comes when all are in use waits for one."""
CONNECT_SECONDS = 1.0
Command = tuple[Any, ...]


class RedisLink:
    """Hold one Redis by its address, for threads and for event loops; every step of a conversation waits at most `timeout_seconds`.

    Raises MissingExtraError without the driver, ValueError for an address that is none.
    """

    def __init__(self, address: str, *, timeout_seconds: float = 0.05) -> None:
        try:
            import redis
            import redis.asyncio
            import redis.backoff
            import redis.retry
        except ImportError as error:
            raise MissingExtraError("redis") from error
        self.timeout_seconds = timeout_seconds
        self.failures: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        """What a call raises when Redis is away or unwell."""
        self._address, self._redis = address, redis
        split = urlsplit(address)
        self.shown = split._replace(netloc=split.netloc.rpartition("@")[2]).geturl()
        """The address without its password."""
        self._sync = redis.ConnectionPool.from_url(address, **self._patience(redis.retry.Retry, timeout_seconds, timeout_seconds))
        # On a loop one alarm covers the whole exchange, so that the driver sets none for each step; nobody waits for a slow connect to end.
        self._async = redis.asyncio.ConnectionPool.from_url(address, **self._patience(redis.asyncio.retry.Retry, None, CONNECT_SECONDS))
        self._forget()
        after_fork(self._forget)

    def _forget(self) -> None:
        """Have no connection, as in a forked child: those there are belong to the parent."""
        self._idle: list[Any] = []
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopConnections] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def _patience(self, retry: Any, seconds: float | None, connect_seconds: float) -> dict[str, Any]:
        # No retries: the caller has a budget, and a circuit breaker to know when to ask again.
        never = retry(self._redis.backoff.NoBackoff(), 0)
        return {"socket_timeout": seconds, "socket_connect_timeout": connect_seconds, "retry": never, "protocol": 2, "driver_info": None}

    # -- for threads

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip and return their answers, an error where a command was refused; raise one of `failures`."""
        packed = pack(commands)
        while True:
            connection, used = (self._idle.pop(), True) if self._idle else (self._sync.connection_class(**self._sync.connection_kwargs), False)
            try:
                answers = observed("redis", commands[0][0], self._exchange, connection, packed, len(commands))
            except self._redis.ConnectionError:
                connection.disconnect()
                if not used:  # one that lay idle may have been closed by a Redis that is well
                    raise
            except BaseException:
                connection.disconnect()
                raise
            else:
                if len(self._idle) < MAX_IDLE:
                    self._idle.append(connection)
                else:
                    connection.disconnect()
                return answers

    def _exchange(self, connection: Any, packed: bytes, count: int) -> list[Any]:
        connection.send_packed_command([packed], check_health=False)
        return [self._answer(connection) for _ in range(count)]

    def _answer(self, connection: Any) -> Any:
        try:
            return connection.read_response(disable_decoding=True)
        except self._redis.ResponseError as error:
            return error

    # -- for event loops

    def room(self) -> asyncio.Semaphore:
        """Return what lets no more tasks of the loop ask at once than it has connections; `run_later` belongs inside."""
        loop = asyncio.get_running_loop()
        own = self._loops.get(loop)
        if own is None:
            own = self._loops[loop] = LoopConnections()
        return own.room

    async def run_later(self, commands: Sequence[Command]) -> list[Any]:
        """Do what `run` does on the event loop."""
        loop = asyncio.get_running_loop()
        own = self._loops[loop]
        await own.open(self.failures)
        packed = pack(commands)
        while True:
            used = bool(own.idle)
            connection = own.idle.pop() if used else await self._connected(loop, own)
            alarm = loop.call_later(self.timeout_seconds, own.abandon, loop, connection)
            try:
                answers = await self._exchange_later(connection, packed, len(commands))
            except self._redis.ConnectionError as error:
                await connection.disconnect(nowait=True)
                if connection in own.abandoned:
                    raise self._redis.TimeoutError("Redis did not answer in time") from error
                if not used:
                    raise
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            else:
                if connection not in own.abandoned:
                    own.idle.append(connection)
                return answers
            finally:
                alarm.cancel()
                own.abandoned.discard(connection)

    async def _connected(self, loop: asyncio.AbstractEventLoop, own: "LoopConnections") -> Any:
        connection: Any = self._async.connection_class(**self._async.connection_kwargs)
        task = own.work(loop, connection.connect())
        done, _ = await asyncio.wait({task}, timeout=self.timeout_seconds)
        if done:
            task.result()
            return connection
        task.add_done_callback(lambda ended: own.idle.append(connection) if not ended.cancelled() and ended.exception() is None else None)
        raise self._redis.TimeoutError("Redis did not take a connection in time")

    async def _exchange_later(self, connection: Any, packed: bytes, count: int) -> list[Any]:
        await connection.send_packed_command([packed], check_health=False)
        answers: list[Any] = []
        for _ in range(count):
            try:
                answers.append(await connection.read_response(disable_decoding=True, timeout=math.inf))
            except self._redis.ResponseError as error:
                answers.append(error)
        return answers

    # -- listening, and the end

    def patient(self, seconds: float) -> "redis.Redis":
        """Return a client of its own that waits longer, for who listens; the caller closes it."""
        return self._redis.Redis.from_url(self._address, **self._patience(self._redis.retry.Retry, seconds, self.timeout_seconds))

    def close(self) -> None:
        """Close the connections for threads; those of a loop end with it."""
        while self._idle:
            with suppress(*self.failures):
                self._idle.pop().disconnect()


class LoopConnections:
    """Hold the connections of one event loop; `asyncio.run` closes them when it ends the loop's asynchronous generators."""

    def __init__(self) -> None:
        self.idle: list[Any] = []
        self.abandoned: set[Any] = set()
        self.room = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._holder: AsyncGenerator[None, None] | None = None

    async def open(self, failures: tuple[type[Exception], ...]) -> None:
        """See to it that the connections are closed with the loop."""
        if self._holder is None:
            self._holder = self._until_the_loop_ends(failures)
            await anext(self._holder)

    async def _until_the_loop_ends(self, failures: tuple[type[Exception], ...]) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            while self.idle:
                with suppress(*failures):
                    await self.idle.pop().disconnect(nowait=True)

    def abandon(self, loop: asyncio.AbstractEventLoop, connection: Any) -> None:
        """Give a connection up that does not answer in time: closing it ends the wait of whoever reads."""
        self.abandoned.add(connection)
        self.work(loop, connection.disconnect(nowait=True))

    def work(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let a coroutine go on by itself, and keep it alive."""
        task = loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def pack(commands: Sequence[Command]) -> bytes:
    """Return commands as Redis reads them (RESP2, arrays of bulk strings); numbers and texts become bytes."""
    parts: list[bytes] = []
    for words in commands:
        parts.append(b"*%d\r\n" % len(words))
        for word in words:
            raw = word if type(word) is bytes else word.encode() if type(word) is str else b"%d" % word
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)
