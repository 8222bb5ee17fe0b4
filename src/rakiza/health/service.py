"""Look at components in the background; probes only read what was seen."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

from rakiza._kernel import SYSTEM_CLOCK, Check, CheckResult, Clock, describe, draw
from rakiza._kernel.tasks import after_fork

from ._core import Observation, details, groups, overall, settled
from .settings import HealthSettings

TICK_SECONDS, CLOSE_SECONDS = 0.25, 0.5


class _Watched:
    __slots__ = ("bad", "due", "seen", "since")

    def __init__(self, check: Check) -> None:
        self.seen = Observation(check, CheckResult("fail", output="not looked at yet"))
        self.due = 0.0
        self.bad = 0
        self.since: float | None = None


class Health:
    """Keep the latest result of every check and answer the probes from memory."""

    def __init__(self, settings: HealthSettings | None = None, clock: Clock = SYSTEM_CLOCK, version: str = "") -> None:
        self.settings = settings or HealthSettings()
        self.version = version
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()
        self._started = False
        self._draining = False
        after_fork(self.forget)

    def add_check(
        self, name: str, fn: Callable[[], CheckResult | Awaitable[CheckResult]], *, required: bool = True, timeout_seconds: float = 2.0
    ) -> None:
        """Watch a component from now on; raise ValueError for a name in use."""
        self.watch(Check(name=name, fn=fn, required=required, timeout_seconds=timeout_seconds))

    def watch(self, check: Check) -> None:
        """Watch the component of `check`; raise ValueError for a name in use."""
        with self._lock:
            if check.name in self._watched:
                raise ValueError(f"a health check named {check.name!r} is there already")
            self._watched[check.name] = _Watched(check)

    def remove_check(self, name: str) -> None:
        """Stop watching a component; raise ValueError for a name that is not there."""
        with self._lock:
            if self._watched.pop(name, None) is None:
                raise ValueError(f"there is no health check named {name!r}")

    def refresh(self) -> None:
        """Start a look at every component that is due, each in a thread of its own, so that those that hang hold up no other.

        There is never more than one look at a component. One that passes its timeout counts as failed.
        """
        now = self._clock.monotonic()
        for watched in list(self._watched.values()):
            with self._lock:
                if watched.since is not None:
                    self._expire(watched, now)
                    continue
                if now < watched.due:
                    continue
                watched.since = now
            threading.Thread(target=self._look, args=(watched,), name=f"rakiza-health-{watched.seen.check.name}", daemon=True).start()

    def wait(self, timeout_seconds: float = 3.0) -> None:
        """Look at everything once and wait for it, at most `timeout_seconds`."""
        self.refresh()
        end = self._clock.monotonic() + timeout_seconds
        while self._clock.monotonic() < end and any(watched.seen.at is None for watched in self._watched.values()):
            time.sleep(0.005)

    def begin_draining(self) -> None:
        """Fail readiness from now on, so that balancers send nobody here any more."""
        self._draining = True

    @property
    def draining(self) -> bool:
        """Tell whether a shut-down has begun."""
        return self._draining

    def close(self) -> None:
        """Wait a moment for looks under way; one that hangs holds up no end of the process."""
        end = self._clock.monotonic() + CLOSE_SECONDS
        while self._clock.monotonic() < end and any(watched.since is not None for watched in self._watched.values()):
            time.sleep(0.005)

    @property
    def ready(self) -> bool:
        """Tell whether requests should come here."""
        fine = not self._draining and overall(self.observations()) != "fail"
        self._started = self._started or fine
        return fine

    @property
    def started(self) -> bool:
        """Tell whether readiness was reached once."""
        return self._started or self.ready

    def observations(self) -> list[Observation]:
        """Return the latest result of every check."""
        return [watched.seen for watched in list(self._watched.values())]

    def report(self, *, with_details: bool, only: str = "", group: str = "") -> dict[str, object]:
        """Return the body of `/healthz`; component details only when asked for.

        A group is `required`, `optional` or a component type; raise KeyError for a component or a group that has none.
        """
        seen = [one for one in self.observations() if only in {"", one.check.name} and group in {"", *groups(one.check)}]
        if not seen and (only or group):
            raise KeyError(only or group)
        status = "fail" if self._draining else overall(seen)
        body: dict[str, object] = {"status": status}
        if with_details:
            body |= {"version": self.version, "draining": self._draining, "checks": details(seen)}
        return body

    def forget(self) -> None:
        """Leave threads and looks under way to the parent of a fork; the next tick looks anew."""
        self._lock = threading.Lock()
        for watched in self._watched.values():
            watched.since, watched.due = None, 0.0

    def _expire(self, watched: _Watched, now: float) -> None:
        check = watched.seen.check
        if watched.since is not None and now - watched.since > check.timeout_seconds and now >= watched.due:
            self._record(watched, CheckResult("fail", output=f"no answer within {check.timeout_seconds:g} s"), now - watched.since)

    def _look(self, watched: _Watched) -> None:
        check = watched.seen.check
        start = self._clock.monotonic()
        try:
            outcome = check.fn()
            result = asyncio.run(_bounded(outcome, check.timeout_seconds)) if isinstance(outcome, Awaitable) else outcome
        except Exception as error:  # noqa: BLE001 - border: observer hook
            result = CheckResult("fail", output=f"{type(error).__name__}: {describe(error)}")
        seconds = self._clock.monotonic() - start
        if seconds > check.timeout_seconds:
            result = CheckResult("fail", output=f"answered only after {seconds:.1f} s")
        with self._lock:
            self._record(watched, result, seconds)
            watched.since = None

    def _record(self, watched: _Watched, result: CheckResult, seconds: float) -> None:
        watched.bad = watched.bad + 1 if result.status == "fail" else 0
        shown = settled(watched.seen, result, watched.bad, self.settings.failures)
        watched.seen = Observation(watched.seen.check, shown, self._clock.now(), seconds)
        pause = self.settings.good_seconds if result.status == "pass" else self.settings.bad_seconds
        watched.due = self._clock.monotonic() + pause * (0.8 + 0.4 * draw())


async def _bounded(outcome: Awaitable[CheckResult], seconds: float) -> CheckResult:
    async with asyncio.timeout(seconds):
        return await outcome
