"""Look at components in the background; probes only read what was seen."""

import asyncio
import contextlib
import os
import random
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from rakiza._kernel import SYSTEM_CLOCK, Check, CheckResult, Clock, describe

from ._core import Observation, details, overall
from .settings import HealthSettings

THREADS = 4
TICK_SECONDS = 0.25


class _Watched:
    __slots__ = ("due", "seen", "since")

    def __init__(self, check: Check) -> None:
        self.seen = Observation(check, CheckResult("fail", output="not looked at yet"))
        self.due = 0.0
        self.since: float | None = None


class Health:
    """Keep the latest result of every check and answer the probes from memory."""

    def __init__(self, settings: HealthSettings | None = None, clock: Clock = SYSTEM_CLOCK, version: str = "") -> None:
        self.settings = settings or HealthSettings()
        self.version = version
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._started = False
        self._draining = False
        itself = weakref.proxy(self)
        os.register_at_fork(after_in_child=lambda: _forget(itself))

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

    def refresh(self) -> None:
        """Start a look at every component that is due; one at a time each. A look that passes its timeout counts as failed."""
        now = self._clock.monotonic()
        for watched in list(self._watched.values()):
            with self._lock:
                if watched.since is not None:
                    self._expire(watched, now)
                    continue
                if now < watched.due:
                    continue
                watched.since = now
            self._executor.submit(self._look, watched)

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
        """End the threads."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

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

    def report(self, *, with_details: bool, only: str | None = None) -> dict[str, object]:
        """Return the body of `/healthz`; component details only when asked for."""
        seen = [one for one in self.observations() if only is None or one.check.name == only]
        status = "fail" if self._draining else overall(seen)
        body: dict[str, object] = {"status": status}
        if with_details:
            body |= {"version": self.version, "draining": self._draining, "checks": details(seen)}
        return body

    def forget(self) -> None:
        """Leave threads and looks under way to the parent of a fork; the next tick looks anew."""
        self._pool = None
        self._lock = threading.Lock()
        for watched in self._watched.values():
            watched.since, watched.due = None, 0.0

    @property
    def _executor(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, "rakiza-health")
        return self._pool

    def _expire(self, watched: _Watched, now: float) -> None:
        check = watched.seen.check
        if watched.since is not None and now - watched.since > check.timeout_seconds:
            result = CheckResult("fail", output=f"no answer within {check.timeout_seconds:g} s")
            watched.seen = Observation(check, result, self._clock.now(), now - watched.since)

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
        pause = self.settings.good_seconds if result.status == "pass" else self.settings.bad_seconds
        with self._lock:
            watched.seen = Observation(check, result, self._clock.now(), seconds)
            watched.due = self._clock.monotonic() + pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            watched.since = None


def _forget(health: Health) -> None:
    with contextlib.suppress(ReferenceError):  # stopped and gone
        health.forget()


async def _bounded(outcome: Awaitable[CheckResult], seconds: float) -> CheckResult:
    async with asyncio.timeout(seconds):
        return await outcome
