"""The job at hand as its handler sees it, and what it says about itself until that is written down."""

import math
import threading
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import msgspec

from ._core import Claimed, clean
from .errors import JobCancelled, JobError, JobTimeout

MAX_LOG_LINES = 200
MAX_MESSAGE = 2_000
LEVELS = frozenset({"debug", "info", "warning", "error"})


class Said(NamedTuple):
    """Hold what a job said since it was last asked: its progress, and lines for its log."""

    progress: tuple[int, str | None] | None
    lines: list[tuple[str, str]]


class RunningJob:
    """Show a handler the job it works on.

    `progress(40, "نص")` and `log("…")` are seen on the console within a second; `check()` ends the handler of a job that
    somebody cancelled or whose time is over. A plain function that never calls one of them cannot be stopped; use `run_in="process"`.
    """

    __slots__ = (
        *("_context", "_lines", "_lock", "_logged", "_payload", "_progress", "_raw"),
        *("attempt", "id", "max_attempts", "queue", "stop", "tags", "task", "tenant"),
    )

    def __init__(self, job: Claimed) -> None:
        self.id, self.task, self.queue, self.tenant = job.id, job.task, job.queue, job.tenant
        self.attempt, self.max_attempts = job.attempt, job.max_attempts
        self.tags: tuple[str, ...] = tuple(msgspec.json.decode(job.tags)) if job.tags else ()
        self.stop: JobCancelled | JobTimeout | None = None
        """Why the handler should end: a worker sets it."""
        self._raw, self._payload, self._context = job.payload, None, job.context
        self._progress: tuple[int, str | None] | None = None
        self._lines: list[tuple[str, str]] = []
        self._logged = 0
        self._lock = threading.Lock()

    @property
    def payload(self) -> Mapping[str, Any]:
        """Return the arguments as they were given."""
        if self._payload is None:
            self._payload = msgspec.json.decode(self._raw)
        return self._payload  # type: ignore[return-value]

    data = payload

    @property
    def scheduled_for(self) -> datetime | None:
        """Return which firing of a schedule this is, none for a job that no schedule made."""
        found = msgspec.json.decode(self._context).get("scheduled_for") if self._context else None
        return datetime.fromisoformat(found) if found else None

    @property
    def cancelled(self) -> bool:
        """Tell whether somebody cancelled the job or its time is over."""
        return self.stop is not None

    def check(self) -> None:
        """Raise JobCancelled or JobTimeout when the handler should end."""
        if self.stop is not None:
            raise self.stop

    def progress(self, percent: float, text: str | None = None) -> None:
        """Tell how far the job is, from 0 to 100, and in words what it does; raise JobCancelled or JobTimeout when it should end.

        Raises TypeError for anything but a number and a text, ValueError for a number that is none.
        """
        if isinstance(percent, bool) or not isinstance(percent, Real | Decimal):
            raise TypeError(f"job.progress() takes a number from 0 to 100, not {percent!r}")
        if not math.isfinite(percent):
            raise ValueError(f"job.progress() takes a number from 0 to 100, not {percent}")
        if text is not None:
            _check_text("job.progress() takes as its second argument", text)
        self._progress = (max(0, min(100, int(percent))), clean(text)[:MAX_MESSAGE] if text is not None else None)
        self.check()

    def log(self, message: str, level: str = "info") -> None:
        """Add a line to the job's log, at most 200; raise TypeError for what is no text, JobError for a level there is not."""
        _check_text("job.log() takes", message)
        if not isinstance(level, str) or level not in LEVELS:
            raise JobError(f"{level!r} is no level", hint=f"use one of {', '.join(sorted(LEVELS))}")
        with self._lock:
            self._logged += 1
            if self._logged < MAX_LOG_LINES:
                self._lines.append((level, clean(message)[:MAX_MESSAGE]))
            elif self._logged == MAX_LOG_LINES:
                self._lines.append(("warning", "the log of this job is full"))

    def say_again(self, said: Said) -> None:
        """Take back what could not be written."""
        with self._lock:
            self._progress = self._progress or said.progress
            self._lines = [*said.lines, *self._lines]

    def said(self) -> Said | None:
        """Return what is new, none when nothing is, and forget it."""
        if self._progress is None and not self._lines:
            return None
        with self._lock:
            found = Said(self._progress, self._lines)
            self._progress, self._lines = None, []
        return found


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} a text, not {type(value).__name__}: {str(value)[:100]!r}; say it with an f-string")
