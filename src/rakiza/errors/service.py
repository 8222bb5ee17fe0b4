"""Capture unexpected exceptions: one log line with the stack, a bounded memory of the latest."""

import logging
import threading
from collections import deque
from datetime import datetime

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Clock, current, describe

log = logging.getLogger("rakiza.errors")


class CapturedError(msgspec.Struct, frozen=True):
    """Describe one captured exception."""

    at: datetime
    kind: str
    message: str
    request_id: str
    path: str


class ErrorTracker:
    """Keep the latest unexpected exceptions and log each with its stack."""

    def __init__(self, keep: int = 100, clock: Clock = SYSTEM_CLOCK) -> None:
        self._recent: deque[CapturedError] = deque(maxlen=keep)
        self._clock = clock
        self._lock = threading.Lock()
        self.total = 0

    def capture_exception(self, error: BaseException) -> None:
        """Record `error` with the request it happened in; never raises."""
        context = current()
        request_id, path = (context.request_id, context.path) if context else ("", "")
        message = describe(error)
        with self._lock:
            self.total += 1
            self._recent.append(CapturedError(self._clock.now(), type(error).__name__, message, request_id, path))
        log.error("unexpected %s", type(error).__name__, exc_info=error)

    def recent(self) -> list[CapturedError]:
        """Return the latest captured exceptions, newest first."""
        with self._lock:
            return list(reversed(self._recent))
