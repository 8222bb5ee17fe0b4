"""The platform's view of resilience: what is in use, forced states with an audit record, log lines, transitions shared with other processes."""

import logging
import threading
from collections.abc import Callable
from typing import Literal

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, CheckResult, Ports, token
from rakiza._kernel.tasks import after_fork
from rakiza._kernel.text import describe
from rakiza.errors import NotFoundError, ValidationError

from ._core import HALF_OPEN, OPEN, Change, Gradient
from ._shelf import Named
from .breaker import BreakerStats, CircuitBreaker
from .registry import registry
from .settings import ResilienceSettings
from .timing import Missed

TOPIC = "resilience"
log = logging.getLogger("rakiza.resilience")


class Transition(msgspec.Struct, frozen=True):
    """Tell other processes that a breaker has opened or closed, or that an operator said so."""

    origin: str
    name: str
    state: Literal["open", "closed"]
    seconds: float
    by_hand: bool
    why: str


class Overview(msgspec.Struct, frozen=True):
    """Show everything in use."""

    breakers: list[BreakerStats]
    bulkheads: list[dict[str, object]]
    limits: list[dict[str, object]]
    budgets: list[dict[str, object]]
    deadlines: dict[str, list[Missed]]


class Resilience:
    """Show the process-wide registry to operators and to other processes."""

    registry = registry
    _waiting: dict[str, tuple[Change, float]]

    def __init__(self, settings: ResilienceSettings | None = None, ports: Ports | None = None) -> None:
        """Watch nothing before `start`."""
        self.settings, self._ports = settings or ResilienceSettings(), ports or Ports()
        self._hearing: object = None
        self.forget()
        self.wake: Callable[[], object] = lambda: None
        """Called when there is something for `publish` to do; the call must not block."""
        after_fork(self.forget)

    # -- looking

    def overview(self) -> Overview:
        """Return breakers, bulkheads, limits, budgets and missed deadlines, each by name."""
        return Overview(
            [breaker.stats() for breaker in registry.breakers.all()],
            [_row(one, "limit", "in_use", "queued", "rejected", "total") | {"queue_limit": one.queue} for one in registry.bulkheads.all()],
            [_row(one, "limit", "in_flight", "shed", "total") | _learnt(one.gradient) for one in registry.limits.all()],
            [_row(one, "share", "calls", "retries", "refused") for one in registry.budgets.all()],
            {"missed": registry.missed.all()},
        )

    def breaker(self, name: str) -> CircuitBreaker:
        """Return a breaker by its name; raise NotFoundError."""
        found = registry.breakers.get(name)
        if found is None:
            raise NotFoundError(f"there is no circuit breaker {name!r} in this process", message_ar="لا يوجد قاطع دارة بهذا الاسم")
        return found

    def look(self) -> CheckResult:
        """Warn while a breaker refuses calls."""
        bad = sorted({breaker.name for breaker in registry.breakers.every() if breaker.state == OPEN})
        return CheckResult("warn" if bad else "pass", len(bad), "open", f"open: {', '.join(bad)}" if bad else None)

    # -- by hand

    def force(self, name: str, state: Literal["open", "closed"], for_seconds: float = 600.0, reason: str = "") -> BreakerStats:
        """Force a breaker open or closed for a while, with an audit record; raise NotFoundError, ValidationError for a time too long."""
        breaker, longest = self.breaker(name), self.settings.longest_force_seconds
        if not 0 < for_seconds <= longest:
            arabic = f"المدة بالثواني أكبر من 0 وأقصاها {longest:g}"
            raise ValidationError(f"for_seconds must be above 0 and at most {longest:g}, not {for_seconds:g}", message_ar=arabic)
        details = {"for_seconds": for_seconds, "reason": reason}
        if state == OPEN:
            self._ports.audit.record("breaker.open", "OPEN", f"breaker:{name}", details)
            for each in _all_of(name):
                each.force_open(for_seconds, reason)
        else:
            self._ports.audit.record("breaker.close", "CLOSE", f"breaker:{name}", details)
            for each in _all_of(name):
                each.force_close(for_seconds, reason)
        return breaker.stats()

    def reset(self, name: str, reason: str = "") -> BreakerStats:
        """Close a breaker with nothing counted, with an audit record; raise NotFoundError."""
        breaker = self.breaker(name)
        self._ports.audit.record("breaker.reset", "RESET", f"breaker:{name}", {"reason": reason})
        for each in _all_of(name):
            each.reset(reason)
        return breaker.stats()

    # -- life

    def start(self) -> None:
        """Log the changes of every breaker, and share those of the shared ones."""
        registry.observers.append(self._changed)
        if self.settings.share:
            # What gets lost costs a few calls: the own breaker opens by itself.
            self._hearing = self._ports.signals.hear(TOPIC, self._heard, lambda: None)

    def stop(self) -> None:
        """Tell and hear nothing any more."""
        self._hearing = None
        if self._changed in registry.observers:
            registry.observers.remove(self._changed)

    def _changed(self, breaker: CircuitBreaker, change: Change) -> None:
        level = logging.WARNING if change.after.endswith(OPEN) else logging.INFO
        where = " in another process" if change.followed else ""
        if not breaker.quiet or (change.by_hand and change.seconds):
            log.log(level, "circuit breaker %s: %s -> %s (%s)%s", breaker.name, change.before, change.after, change.why, where)
        if breaker.shared and self.settings.share and not change.followed and change.after != HALF_OPEN:
            with self._lock:
                self._waiting[breaker.name] = change, SYSTEM_CLOCK.monotonic()
            self.wake()

    def publish(self) -> None:
        """Tell the other processes the latest change of every shared breaker; blocks. What fails is tried again by the next call."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        while waiting:
            name, (change, at) = next(iter(waiting.items()))
            left = max(0.0, change.seconds - (SYSTEM_CLOCK.monotonic() - at)) if change.seconds else 0.0
            try:
                if left or not change.seconds:
                    said = Transition(self._origin, name, "open" if change.after.endswith(OPEN) else "closed", left, change.by_hand, change.why)
                    self._ports.signals.publish(TOPIC, msgspec.json.encode(said).decode())
            except BaseException:
                with self._lock:
                    self._waiting = waiting | self._waiting
                raise
            del waiting[name]

    def _heard(self, message: str) -> None:
        try:
            said = msgspec.json.decode(message, type=Transition)
        except msgspec.DecodeError as error:  # another version of the platform, say
            log.warning("a message about a circuit breaker could not be read: %s", describe(error))
            return
        if said.origin == self._origin:
            return
        for breaker in _all_of(said.name):
            if breaker.shared:
                breaker.follow(said.state, said.seconds, said.why, by_hand=said.by_hand)

    def forget(self) -> None:
        """Be another process in a forked child, with nothing to tell."""
        self._lock, self._waiting, self._origin = threading.Lock(), {}, token()


def _all_of(name: str) -> list[CircuitBreaker]:
    """Return every breaker of a name: whoever makes a second one hides the first, and both guard calls."""
    return [breaker for breaker in registry.breakers.every() if breaker.name == name]


def _row(one: Named, *fields: str) -> dict[str, object]:
    return {"name": one.name} | {field: getattr(one, field) for field in fields}


def _learnt(gradient: Gradient) -> dict[str, object]:
    least, most = gradient.bounds
    return {"min": least, "max": most, "latency_ms": round(gradient.usual_seconds * 1000, 3) or None}
