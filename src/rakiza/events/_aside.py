"""Write for callers on an event loop that neither wait nor see how it ends, in a thread that lives as long as something waits."""

import logging
import threading
from collections import deque
from collections.abc import Callable

MAX_WAITING = 10_000
log = logging.getLogger("rakiza.events")
Given = dict[str, object]


class Aside:
    """Hand what is put here to `work` in order, one by one."""

    def __init__(self, work: Callable[[Given], object]) -> None:
        self._work = work
        self.forget()

    def forget(self) -> None:
        """Leave to the parent of a fork what waits."""
        self._mutex = threading.Lock()
        self._waiting: deque[Given] = deque()
        self._thread: threading.Thread | None = None

    def put(self, given: Given) -> bool:
        """Take something to be written; tell whether there was room. Where no thread can be had, the caller writes."""
        with self._mutex:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting.append(given)
            if self._thread is not None:
                return True
            self._thread = threading.Thread(target=self._run, name="rakiza-events-aside", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None
            else:
                return True
        self._run()
        return True

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Wait until what waits is written."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            with self._mutex:
                if not self._waiting:
                    self._thread = None
                    return
                given = self._waiting.popleft()
            try:
                self._work(given)
            except Exception:  # border: a thread nobody waits for
                log.exception("something was not written")
