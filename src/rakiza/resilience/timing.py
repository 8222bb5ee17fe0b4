"""Time limits: of one attempt, and of everything a call does."""

import threading
from asyncio import AbstractEventLoop, CancelledError, Task, current_task, get_running_loop
from contextvars import Token
from datetime import datetime
from time import perf_counter
from typing import ClassVar

import msgspec

from rakiza._kernel import SYSTEM_CLOCK
from rakiza._kernel.context import expires_at, expiry
from rakiza._kernel.tasks import after_fork

from .composition import DEADLINE, LAST, AsyncCall, Call, Policy
from .errors import DeadlineExceededError

MAX_NAMES = 1_000


class Missed(msgspec.Struct):
    """Count the deadlines missed under one name."""

    name: str
    count: int = 0
    last_at: datetime | None = None


class Misses:
    """Count missed deadlines by name, of at most 1,000 names."""

    def __init__(self) -> None:
        self._found: dict[str, Missed] = {}
        self._lock = threading.Lock()
        after_fork(self.forget)

    def note(self, name: str) -> None:
        """Count one."""
        with self._lock:
            missed = self._found.get(name)
            if missed is None:
                name = name if len(self._found) < MAX_NAMES else "other"
                missed = self._found.setdefault(name, Missed(name))
            missed.count += 1
            missed.last_at = SYSTEM_CLOCK.now()

    def all(self) -> list[Missed]:
        """Return what was counted, by name."""
        return sorted(self._found.values(), key=lambda missed: missed.name)

    def forget(self) -> None:
        """Take a new lock in a forked child."""
        self._lock = threading.Lock()


MISSES = Misses()


def no_time_left(name: str) -> DeadlineExceededError:
    """Count a call there was no time for, and return what to raise."""
    MISSES.note(name)
    return DeadlineExceededError(f"{name}: the deadline has passed; the call was not made", tried=False)


class _Alarm:
    """Cancel a task after a while, as `asyncio.timeout` does it (CPython, Lib/asyncio/timeouts.py), at less than half its price."""

    __slots__ = ("_before", "_handle", "_rang", "_task")

    def __init__(self, task: "Task[object]", loop: AbstractEventLoop, seconds: float) -> None:
        self._task, self._before, self._rang = task, task.cancelling(), False
        self._handle = loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._rang = True
        self._task.cancel()

    def end(self) -> bool:
        """Silence it and tell whether it rang and nobody else asked the task to end."""
        self._handle.cancel()
        return self._rang and self._task.uncancel() <= self._before


class _Limit(Policy):
    """Be a time limit: in async functions it cancels, in plain ones it is a value that `time_left()` tells."""

    alarm: bool = True

    def __init__(self, seconds: float, name: str = "") -> None:
        if callable(seconds) or isinstance(seconds, str):
            raise TypeError(f"write {type(self).__name__}(seconds), not {seconds!r}")
        if not seconds > 0:
            raise ValueError(f"{type(self).__name__} takes a number of seconds above 0, not {seconds!r}")
        self.seconds, self.name = seconds, name

    def around(self, call: Call, label: str) -> Call:
        """Return `call` with its time limit as a value; a thread that is at work cannot be stopped, so none is left behind."""
        seconds, name = self.seconds, self.name or label

        def limited(*args: object, **kwargs: object) -> object:
            now, nearest = perf_counter(), expires_at()
            if nearest <= now:
                raise no_time_left(name)
            ends = min(nearest, now + seconds)
            reset = expiry.set(ends)
            try:
                return call(*args, **kwargs)
            finally:
                expiry.reset(reset)
                if perf_counter() > ends:
                    MISSES.note(name)

        return limited

    def aaround(self, call: AsyncCall, label: str) -> AsyncCall:
        """Return `call`, cancelled when its time is over; DeadlineExceededError says so."""
        seconds, name, needs_alarm = self.seconds, self.name or label, self.alarm

        async def limited(*args: object, **kwargs: object) -> object:
            now, nearest = perf_counter(), expires_at()
            if nearest <= now:
                raise no_time_left(name)
            ends = min(nearest, now + seconds)
            reset = expiry.set(ends)
            try:
                if not needs_alarm:
                    return await call(*args, **kwargs)
                task = current_task()
                if task is None:
                    raise RuntimeError("a time limit needs a task of asyncio")
                alarm = _Alarm(task, get_running_loop(), ends - now)
                try:
                    result = await call(*args, **kwargs)
                except BaseException as error:
                    if alarm.end() and isinstance(error, CancelledError):
                        MISSES.note(name)
                        raise DeadlineExceededError(f"{name}: no answer within {ends - now:.3g} s") from error
                    raise
                alarm.end()
                return result
            finally:
                _restore(reset)

        return limited


def _restore(reset: Token[float]) -> None:
    try:
        expiry.reset(reset)
    except ValueError:  # a coroutine nobody finished is closed in another context, which has its own deadline
        return


class Timeout(_Limit):
    """Give one attempt so many seconds, fewer when a deadline ends sooner; stands innermost.

    An async call that takes longer is cancelled and raises DeadlineExceededError. A plain one finds its seconds by `time_left()` and
    hands them to its driver; when none are left, it is not called.
    """

    rank: ClassVar[int] = LAST


class Deadline(_Limit):
    """Give a call with all its attempts and pauses so many seconds, fewer when an outer deadline ends sooner; stands outside Retry."""

    rank: ClassVar[int] = DEADLINE

    def beside(self, others: tuple[Policy, ...]) -> Policy:
        """Return this deadline as a mere value where a Timeout inside cancels in time: one alarm for each attempt is enough."""
        if others[-1].rank != LAST:
            return self
        quiet = Deadline(self.seconds, self.name)
        quiet.alarm = False
        return quiet
