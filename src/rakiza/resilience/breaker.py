"""The circuit breaker: calls pass until too many fail or are slow, then they are refused for a while, then a few probes decide."""

import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar, Literal, ParamSpec, TypeVar, cast

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Clock

from ._core import CLOSED, HALF_OPEN, OPEN, Change, Machine, Rules, Ticket, Totals
from ._shelf import Shelf
from .composition import BREAKER, Errors, Guard, kinds_of
from .errors import CircuitOpenError, was_tried

P = ParamSpec("P")
T = TypeVar("T")
State = Literal["closed", "open", "half_open"]
MAX_HISTORY = 50
log = logging.getLogger("rakiza.resilience")


class Changed(msgspec.Struct, frozen=True):
    """Record one change of state."""

    at: datetime
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    why: str = ""


class BreakerStats(msgspec.Struct, frozen=True, kw_only=True):
    """Show one breaker; a rate is none while nothing is in the window."""

    name: str
    state: str
    forced: str | None
    forced_until: datetime | None
    reason: str
    since: datetime
    retry_after_seconds: float | None
    failure_rate: float | None
    slow_rate: float | None
    calls_in_window: int
    shared: bool
    thresholds: Rules
    totals: Totals
    history: list[Changed]


class CircuitBreaker(Guard[Ticket]):
    """Refuse calls to what fails too often.

    It opens when of the last `window` calls, or of those of the last `time_window_seconds`, the share `failure_rate` failed or
    `slow_rate` took `slow_seconds` or longer, `min_calls` at least; refuses for `open_seconds`; then lets `probes` calls try, each with
    `lease_seconds` to answer, and closes when all went well. An exception of `record` is a failure, one of `ignore` is nothing, any
    other means that there was an answer; `failed(result)` finds failures among results. No lock is held during a call.
    """

    rank: ClassVar[int] = BREAKER
    shelf: ClassVar["Shelf[CircuitBreaker]"] = Shelf()
    observers: ClassVar[list[Callable[["CircuitBreaker", Change], object]]] = []

    def __init__(
        self,
        name: str,
        *,
        window: int = 100,
        time_window_seconds: int = 0,
        failure_rate: float = 0.5,
        slow_seconds: float = 0.0,
        slow_rate: float = 1.0,
        min_calls: int = 10,
        open_seconds: float = 30.0,
        probes: int = 1,
        lease_seconds: float = 60.0,
        record: Errors = (Exception,),
        ignore: Errors = (),
        failed: Callable[[object], bool] | None = None,
        shared: bool = False,
        quiet: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Raise ValueError for rules by which it could never open or never close, or a name no path can hold; seconds are of `clock.monotonic`.

        No line is logged about a `quiet` one unless an operator forces it: its owner tells what it means.
        """
        if callable(name):
            raise TypeError("write CircuitBreaker(name), with brackets")
        if not name or "/" in name:
            raise ValueError(f"a circuit breaker has a name without a slash, not {name!r}: operators reach it by a path")
        self.quiet = quiet
        self.name, self.shared = name, shared
        self.rules = Rules(
            window=window, time_window_seconds=time_window_seconds, failure_rate=failure_rate, slow_seconds=slow_seconds, slow_rate=slow_rate,
            min_calls=min_calls, open_seconds=open_seconds, probes=probes, lease_seconds=lease_seconds,
        )  # fmt: skip
        self._clock, self.now = clock, clock.monotonic
        self._record, self._ignore, self._failed = kinds_of(record), kinds_of(ignore), failed
        self._machine = Machine(self.rules, self.now())
        self._lock = threading.Lock()
        self._history: deque[Changed] = deque(maxlen=MAX_HISTORY)
        self._since = clock.now()
        self._listeners: list[Callable[[Change], object]] = []
        self.shelf.add(self)

    # -- by hand

    def enter(self) -> Ticket:
        """Return the ticket of a call that may be made; give it to `leave` or `cancel`. Raises CircuitOpenError."""
        machine = self._machine
        era = machine.era
        if era.free:
            return era
        with self._lock:
            now = self.now()
            ticket, wait = machine.enter(now), machine.retry_after(now)
        self._tell()
        if ticket is None:
            raise CircuitOpenError(f"the circuit breaker {self.name} is {machine.era.state}: calls are refused", wait)
        return ticket

    def leave(self, ticket: Ticket, *, failed: bool, seconds: float = 0.0) -> None:
        """Say how the call ended and how long it took."""
        self._leave(ticket, failed, seconds, self.now())

    def cancel(self, ticket: Ticket) -> None:
        """Give the ticket of a call back that neither succeeded nor failed."""
        with self._lock:
            self._machine.cancel(ticket)

    def settle(self, ticket: Ticket, began: float, error: BaseException | None, result: object = None) -> None:
        """Judge how the call ended."""
        if error is None:
            failed = self._failed is not None and self._found_bad(ticket, result)
        elif not isinstance(error, Exception) or isinstance(error, self._ignore) or not was_tried(error):
            self.cancel(ticket)
            return
        else:
            failed = isinstance(error, self._record)
        now = self.now()
        self._leave(ticket, failed, now - began, now)

    def _found_bad(self, ticket: Ticket, result: object) -> bool:
        try:
            return self._failed is not None and self._failed(result)
        except BaseException:
            self.cancel(ticket)
            raise

    def _leave(self, ticket: Ticket, failed: bool, seconds: float, now: float) -> None:
        machine = self._machine
        with self._lock:
            machine.leave(ticket, now, failed, seconds)
        if machine.changes:
            self._tell()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` through the breaker; raise CircuitOpenError when it refuses."""
        return cast("T", self.around(function, self.name)(*args, **kwargs))

    async def acall(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `function` through the breaker; raise CircuitOpenError when it refuses."""
        return cast("T", await self.aaround(function, self.name)(*args, **kwargs))

    # -- looking at it

    @property
    def state(self) -> State:
        """Return the state: `open` until a call comes after `open_seconds`."""
        with self._lock:
            state = self._machine.settle(self.now()).state
        self._tell()
        return OPEN if state is OPEN else HALF_OPEN if state is HALF_OPEN else CLOSED

    @property
    def forced(self) -> Literal["open", "closed"] | None:
        """Return the state an operator has forced, or none."""
        state = self.state
        return state if self._machine.era.forced and state != HALF_OPEN else None

    def stats(self) -> BreakerStats:
        """Return state, window, totals and the last changes."""
        forced = self.forced
        with self._lock:
            now, machine = self.now(), self._machine
            window, era = machine.window, machine.era
            window.advance(now)
            return BreakerStats(
                name=self.name,
                state=era.state,
                forced=forced,
                forced_until=self._clock.now() + timedelta(seconds=era.until - now) if forced else None,
                reason=era.why,
                since=self._since,
                retry_after_seconds=round(machine.retry_after(now), 3) if era.state is not CLOSED else None,
                failure_rate=window.failures / window.count if window.count else None,
                slow_rate=window.slows / window.count if window.count else None,
                calls_in_window=window.count,
                shared=self.shared,
                thresholds=self.rules,
                totals=msgspec.structs.replace(machine.totals),
                history=list(self._history),
            )

    @property
    def totals(self) -> Totals:
        """Return the counts since the start."""
        return self._machine.totals

    def on_change(self, call: Callable[[Change], object]) -> None:
        """Call `call` after every change of state, in the thread that caused it; a failure in it is logged."""
        self._listeners.append(call)

    # -- changing it

    def force_open(self, for_seconds: float = 600.0, reason: str = "") -> None:
        """Refuse every call for so many seconds, then probe; raise ValueError for a time that is none."""
        self._force(OPEN, for_seconds, reason)

    def force_close(self, for_seconds: float = 600.0, reason: str = "") -> None:
        """Let every call pass for so many seconds, whatever fails, then count anew; raise ValueError for a time that is none."""
        self._force(CLOSED, for_seconds, reason)

    def _force(self, state: str, seconds: float, reason: str) -> None:
        if not 0 < seconds < threading.TIMEOUT_MAX:
            raise ValueError(f"a breaker is forced for a number of seconds above 0, not {seconds!r}")
        with self._lock:
            self._machine.force(state, self.now(), seconds, reason or "forced")
        self._tell()

    def reset(self, reason: str = "") -> None:
        """Close, and forget what the window has counted."""
        with self._lock:
            self._machine.force(CLOSED, self.now(), 0.0, reason or "reset")
        self._tell()

    def follow(self, state: State, seconds: float, why: str, *, by_hand: bool = False) -> None:
        """Take over what another process has found, or an operator has said there (`by_hand`): only that ends a state forced here."""
        known = OPEN if state == OPEN else CLOSED
        with self._lock:
            if by_hand:
                self._machine.force(known, self.now(), seconds, why, followed=True)
            else:
                self._machine.follow(known, self.now(), seconds, why)
        self._tell()

    def forget(self) -> None:
        """Take a new lock in a forked child."""
        self._lock = threading.Lock()

    def _tell(self) -> None:
        machine = self._machine
        if not machine.changes:
            return
        with self._lock:
            changes, machine.changes = machine.changes, []
            if changes:
                self._since = self._clock.now()
            self._history.extend(Changed(self._since, change.before, change.after, change.why) for change in changes)
        for change in changes:
            calls: list[Callable[[Change], object]] = [*self._listeners, *(partial(observe, self) for observe in self.observers)]
            for call in calls:
                try:
                    call(change)
                except Exception:  # border: observer hook
                    log.exception("a listener of the circuit breaker %s failed", self.name)
