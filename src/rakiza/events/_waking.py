"""Tell followers that the log grew: at once within the process, by NOTIFY or a look at the counter from others; a poll makes up for a lost signal."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from rakiza._kernel import Supervisor
from rakiza.store import Store, StoreError

from ._backends.postgresql import leave_to_parent
from ._reading import Reader

LISTEN_SECONDS = 0.25
RETRY_SECONDS = 0.5
log = logging.getLogger("rakiza.events")


class Growth:
    """Let followers wait for new events."""

    def __init__(self, store: Store, supervisor: Supervisor) -> None:
        self._store, self._supervisor = store, supervisor
        self._wakers: weakref.WeakSet[Waker] = weakref.WeakSet()
        self._watcher: _Head | _Listener | None = None
        self.forget()

    def forget(self) -> None:
        """Take a new lock in a forked child."""
        self._changed = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """Return how often the log grew so far, as far as this process knows."""
        return self._count

    def tell(self) -> None:
        """Wake everybody who waits in this process."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()
            wakers = list(self._wakers)
        for waker in wakers:
            try:
                waker.call()
            except Exception:  # border: the event is written, whatever a follower makes of it
                log.exception("waking a follower failed")

    def wait(self, seen: int, seconds: float) -> bool:
        """Wait until the log grew since it was `seen`, at most so many seconds; tell whether it did."""
        self.watch()
        with self._changed:
            return self._changed.wait_for(lambda: self._count != seen, seconds)

    def on_growth(self, call: Callable[[], object]) -> "Waker":
        """Call `call` (which must not block) whenever the log grew, as long as the returned object lives."""
        self.watch()
        waker = Waker(call)
        with self._changed:
            self._wakers.add(waker)
        return waker

    def watch(self) -> None:
        """Look out for what other processes write, from the first follower on."""
        if self._watcher is None:
            self._watcher = _Listener(self._store, self.tell) if self._store.dialect == "postgresql" else _Head(self._store, self.tell)
            self._supervisor.every("events-growth", self._watcher.period_seconds, self._watcher.look)

    def close(self) -> None:
        """Close the connection that listens; the next look opens one."""
        if self._watcher is not None:
            self._watcher.close()


class Waker:
    """Hold what is to be called when the log grew."""

    __slots__ = ("__weakref__", "call")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call


class _Head:
    """Look at the counter, which says what another process of the same SQLite file has committed."""

    period_seconds = 0.05

    def __init__(self, store: Store, tell: Callable[[], None]) -> None:
        self._store, self._tell, self._reader = store, tell, Reader(store)
        self._seen = -1

    def look(self) -> None:
        with self._store.read() as tx:
            head = self._reader.head(tx)
        if head != self._seen:
            self._seen = head
            self._tell()

    def close(self) -> None:
        pass


class _Listener:
    """Hold a connection that LISTENs; NOTIFY is a hint, so a lost one costs a poll and nothing else."""

    period_seconds = 0.001

    def __init__(self, store: Store, tell: Callable[[], None]) -> None:
        self._store, self._tell = store, tell
        self._held = ExitStack()
        self._connection: Any = None
        self._owner = os.getpid()

    def look(self) -> None:
        try:
            connection = self._listening()
            for _ in connection.notifies(timeout=LISTEN_SECONDS):
                self._tell()
        except (StoreError, self._store.driver_error):
            self.close()
            time.sleep(RETRY_SECONDS)

    def _listening(self) -> Any:
        if self._owner != os.getpid():  # the task was started anew in a forked child
            leave_to_parent(self._connection)
            self.close()
        if self._connection is None:
            self._owner = os.getpid()
            self._connection = self._held.enter_context(self._store.raw_connection())
            self._connection.execute("listen rakiza_events")
            self._tell()  # what came before this moment was not heard
        return self._connection

    def close(self) -> None:
        self._connection = None
        with suppress(self._store.driver_error):
            self._held.close()
