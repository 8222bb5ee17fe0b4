"""Capture unexpected errors: one log line with the stack, a group in the local file, an event for Sentry when there is one."""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rakiza._kernel import SYSTEM_CLOCK, CheckResult, Clock, LocalFile, Redactor, SettingsError, current, describe, service_at_hand
from rakiza._kernel.tasks import after_fork

from ._capture import Crumbs, finished, in_app, noted
from ._core import group, merged
from ._groups import Groups
from ._sentry import Sentry
from ._tree import AppError
from .settings import ErrorSettings

QUEUE, SENT_PER_GROUP = 1000, 10
FLUSH_SECONDS = 1.0
Scrub = Callable[[Any], Any]
log = logging.getLogger("rakiza.errors")


class ErrorTracker:
    """Group unexpected errors; capturing never raises and never waits for disk or network."""

    def __init__(
        self, settings: ErrorSettings | None = None, local: LocalFile | None = None, clock: Clock = SYSTEM_CLOCK, scrub: Scrub | None = None
    ) -> None:
        self._scrub: Scrub = scrub or Redactor().nested
        self.settings = settings or ErrorSettings()
        self.groups = Groups(local or LocalFile(Path(":memory:")))
        self.crumbs = Crumbs()
        self.total = self.dropped = self._told = 0
        self._clock = clock
        self._sentry: Sentry | None = None
        self._closed = False
        self._queue: deque[dict[str, Any]] = deque(maxlen=QUEUE)
        self._lock = threading.Lock()
        self.init_sentry(self.settings.sentry_dsn)
        after_fork(self._forget)

    def _forget(self) -> None:
        """Leave what waits to the parent of a fork."""
        self._queue, self._lock = deque(maxlen=QUEUE), threading.Lock()

    def init_sentry(self, dsn: str, environment: str = "", release: str = "") -> None:
        """Send errors to Sentry from now on, when there is a DSN; raise SettingsError for one that cannot be read or without `sentry-sdk`."""
        self._of_app = {"release": release or self.settings.release, "environment": environment or self.settings.environment}
        self._dsn = dsn
        self._sentry = Sentry(dsn, **self._of_app, scrub=self._scrub) if dsn else None

    def capture_exception(self, error: BaseException) -> None:
        """Record `error` with the request it happened in, once; one that callers are told about (AppError) is a warning line and no group."""
        if isinstance(error, AppError):
            log.warning("%s %s: %s%s", error.status, error.stable_code, error.detail, f" ({describe(error.__cause__)})" if error.__cause__ else "")
        elif self._take(error, "error"):
            log.error("unexpected %s", type(error).__name__, exc_info=error)

    def capture_message(self, text: str, level: str = "error") -> None:
        """Record a message like an error, grouped by its words without numbers, ids and quoted texts."""
        self._take(None, logging.getLevelName(_number(level)).lower(), text)
        log.log(_number(level), "%s", text)

    def look(self) -> CheckResult:
        """Warn when errors could not be kept or sent since the last look."""
        lost = self.dropped + (self._sentry.lost if self._sentry else 0)
        fresh, self._told = lost - self._told, lost
        return CheckResult("warn" if fresh else "pass", lost, "errors", f"{fresh} errors could not be kept or sent" if fresh else None)

    def now(self) -> str:
        """Return the time as it is kept."""
        return self._clock.now().isoformat()

    def flush(self) -> None:
        """Fold what was captured into the groups."""
        with self._lock:
            batch = [self._queue.popleft() for _ in range(len(self._queue))]
            found: dict[str, dict[str, Any]] = {}
            for seen in batch:
                kept = group(seen, in_app, self._scrub)
                found[kept["id"]] = kept = merged(found.get(kept["id"]), kept)
                if self._sentry is not None and kept["count"] <= SENT_PER_GROUP:
                    self._sentry.send(kept["id"], finished(seen, self._scrub))
            folded = [kept | {"sample": finished(kept["sample"], self._scrub)} for kept in found.values()]
            oldest = self._clock.now() - timedelta(days=self.settings.keep_days)
            back = self.groups.add(folded, oldest.isoformat()) if batch else []
        self.dropped += len(batch) if back is None else 0
        for kept in back or []:
            log.warning("the error %s (%s in %s) was resolved and is back", kept["id"], kept["kind"], kept["culprit"])

    def start(self) -> None:
        """Remember log records from now on."""
        logging.getLogger().addHandler(self.crumbs)
        if self._dsn and self._closed:
            self._sentry = Sentry(self._dsn, **self._of_app, scrub=self._scrub)
        self._closed = False

    def close(self) -> None:
        """Fold what is left and give Sentry a last, bounded time."""
        logging.getLogger().removeHandler(self.crumbs)
        self.flush()
        if self._sentry is not None:
            self._sentry.close()
        self._closed = True

    def _take(self, error: BaseException | None, level: str, text: str = "") -> bool:
        """Queue what was seen; tell whether this error is new to this request."""
        try:
            context = current()
            key = context.request_id if context is not None else threading.get_ident()
            marks = error.__dict__ if error is not None else {}
            if marks.get("_rakiza_captured") == key:
                return False
            marks["_rakiza_captured"] = key
            self.total += 1
            self.dropped += len(self._queue) == QUEUE
            more = {"at": self.now(), "level": level, "breadcrumbs": self.crumbs.of(key), **self._of_app}
            self._queue.append(noted(error, text, with_email=self.settings.send_email, **more))
        except Exception:  # noqa: BLE001 - border: observer hook
            self.dropped += 1
        return True


def _number(level: str) -> int:
    return logging.getLevelNamesMapping().get(level.upper(), logging.ERROR)


def capture_exception(error: BaseException | None = None) -> None:
    """Record `error`, or the one being handled, with the platform at hand; without a platform it is only logged. Never raises."""
    error, tracker = error if error is not None else sys.exception(), service_at_hand("errors", ErrorTracker)
    if error is not None and tracker is not None:
        tracker.capture_exception(error)
    elif error is not None:
        log.error("unexpected %s", type(error).__name__, exc_info=error)


def capture_message(text: str, level: str = "error") -> None:
    """Record a message with the platform at hand; without a platform it is only logged. Never raises."""
    tracker = service_at_hand("errors", ErrorTracker)
    if tracker is not None:
        tracker.capture_message(text, level)
    else:
        log.log(_number(level), "%s", text)


def init_sentry(dsn: str, environment: str = "", release: str = "") -> None:
    """Let the platform at hand send errors to Sentry; nothing happens without a DSN. Raise SettingsError when there is no platform yet."""
    tracker = service_at_hand("errors", ErrorTracker)
    if tracker is not None:
        tracker.init_sentry(dsn, environment, release)
    elif dsn:
        raise SettingsError("init_sentry needs a running platform: call integrate(app) first, or give integrate(app, sentry={'dsn': …})")
