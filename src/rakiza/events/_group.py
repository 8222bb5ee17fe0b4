"""Group commit: while one batch commits, the next one gathers; no timer, no thread for callers that block anyway."""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rakiza._kernel import SYSTEM_CLOCK

from ._core import Append, Appended, Verdict
from .errors import EventsBusyError

if TYPE_CHECKING:
    from .settings import EventSettings

ROOM_POLL_SECONDS = 0.005
log = logging.getLogger("rakiza.events")

Flush = Callable[[Sequence[Append]], Sequence[Verdict]]
Convert = Callable[[list[Appended]], object]


class Ticket:
    """Stand for one append that waits: on a gate for a thread, on a future for a task."""

    __slots__ = ("append", "convert", "future", "gate", "loop", "verdict")

    def __init__(self, append: Append, convert: Convert | None = None) -> None:
        self.append, self.convert = append, convert
        self.verdict: Verdict | None = None
        self.gate: threading.Lock | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[object] | None = None


class GroupCommit:
    """Let the first of the waiting callers commit for all of them; callers on an event loop are served by a thread."""

    def __init__(self, flush: Flush, settings: "EventSettings") -> None:
        self._flush, self._settings = flush, settings
        self.flushes = self.largest = 0
        self.forget()

    def forget(self) -> None:
        """Start anew, in a forked child, with nothing waiting."""
        self._mutex = threading.Lock()
        self._room = threading.Condition(self._mutex)
        self._queue: deque[Ticket] = deque()
        self.waiting = 0
        self._leading = self._closed = False
        self._thread: threading.Thread | None = None
        self._call: queue.SimpleQueue[None] = queue.SimpleQueue()

    def submit(self, append: Append) -> Verdict:
        """Wait until the append is judged and return the verdict; raise EventsBusyError when the queue stays full."""
        ticket = Ticket(append)
        gate = ticket.gate = threading.Lock()
        gate.acquire()
        with self._mutex:
            if not self._fits(append) and not self._room.wait_for(lambda: self._fits(append), self._settings.queue_timeout_seconds):
                raise self._busy()
            lead = self._enqueue(ticket)
        if not lead:
            gate.acquire()  # opened with a verdict, or to lead the next batch
        if ticket.verdict is None:
            self._lead(ticket)
        assert ticket.verdict is not None  # noqa: S101 - a leader ends with its own verdict
        return ticket.verdict

    def submit_from_loop(self, append: Append, loop: asyncio.AbstractEventLoop, convert: Convert) -> "asyncio.Future[object]":
        """Return a future of the converted verdict, waiting for room in the queue without blocking the loop."""
        return self._try(append, loop, convert) or loop.create_task(self._wait_for_room(append, loop, convert))

    async def _wait_for_room(self, append: Append, loop: asyncio.AbstractEventLoop, convert: Convert) -> object:
        give_up = SYSTEM_CLOCK.monotonic() + self._settings.queue_timeout_seconds
        while (future := self._try(append, loop, convert)) is None:
            if SYSTEM_CLOCK.monotonic() > give_up:
                raise self._busy()
            await asyncio.sleep(ROOM_POLL_SECONDS)
        return await future

    def _try(self, append: Append, loop: asyncio.AbstractEventLoop, convert: Convert) -> "asyncio.Future[object] | None":
        ticket = Ticket(append, convert)
        with self._mutex:
            if not self._fits(append):
                return None
            ticket.loop, ticket.future = loop, loop.create_future()
            lead = self._enqueue(ticket)
        if lead:
            self._call_thread()
        return ticket.future

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Wait until what waits is written, then take no more; end the thread."""
        with self._mutex:
            self._room.wait_for(lambda: not self._queue and not self._leading, timeout_seconds)
            self._closed = True
            thread, self._thread = self._thread, None
        if thread is not None:
            self._call.put(None)
            thread.join(timeout_seconds)
            self._closed = False

    def _fits(self, append: Append) -> bool:
        return not self.waiting or self.waiting + len(append.events) <= self._settings.queue_events

    def _busy(self) -> EventsBusyError:
        seconds = self._settings.queue_timeout_seconds
        return EventsBusyError(f"{self.waiting} events wait to be written and none left within {seconds:g} s: the database is slow or away")

    def _enqueue(self, ticket: Ticket) -> bool:
        self._queue.append(ticket)
        self.waiting += len(ticket.append.events)
        lead, self._leading = not self._leading, True
        return lead

    def _call_thread(self) -> None:
        with self._mutex:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, name="rakiza-events", daemon=True)
                self._thread.start()
        self._call.put(None)

    def _serve(self) -> None:
        while True:
            self._call.get()
            if self._closed:
                return
            self._lead(None)

    def _lead(self, ticket: Ticket | None) -> None:
        """Commit batches: a thread until its own append is judged, the thread of the tasks until nothing waits; then pass the lead on."""
        try:
            while self._queue and (ticket is None or ticket.verdict is None):
                self._commit(self._take())
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        with self._mutex:
            heir = self._queue[0] if self._queue else None
            self._leading = heir is not None
            self._room.notify_all()
        if heir is not None and heir.gate is not None:
            heir.gate.release()
        elif heir is not None:
            self._call_thread()

    def _take(self) -> list[Ticket]:
        batch: list[Ticket] = []
        events = 0
        with self._mutex:
            while self._queue and (not batch or events + len(self._queue[0].append.events) <= self._settings.batch_events):
                batch.append(self._queue.popleft())
                events += len(batch[-1].append.events)
        self.flushes, self.largest = self.flushes + 1, max(self.largest, events)
        return batch

    def _commit(self, batch: list[Ticket]) -> None:
        try:
            verdicts: Sequence[Verdict] = self._flush([ticket.append for ticket in batch])
        except BaseException as error:
            failure = error if isinstance(error, Exception) else RuntimeError(f"the thread that wrote the batch ended: {error!r}")
            self._tell(batch, [failure] * len(batch))
            if not isinstance(error, Exception):
                raise
        else:
            self._tell(batch, verdicts)

    def _tell(self, batch: list[Ticket], verdicts: Sequence[Verdict]) -> None:
        futures: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        for ticket, verdict in zip(batch, verdicts, strict=True):
            ticket.verdict = verdict
            if ticket.gate is not None:
                ticket.gate.release()
            elif ticket.loop is not None:
                futures.setdefault(ticket.loop, []).append(ticket)
        for loop, tickets in futures.items():
            try:
                loop.call_soon_threadsafe(_resolve, tickets)  # one wake-up of the loop for the batch
            except RuntimeError:
                log.warning("an event loop ended before %d of its appends were answered; they are written", len(tickets))
        with self._mutex:
            self.waiting -= sum(len(ticket.append.events) for ticket in batch)
            self._room.notify_all()


def _resolve(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        future, verdict, convert = ticket.future, ticket.verdict, ticket.convert
        if future is None or future.done() or verdict is None or convert is None:
            continue
        if isinstance(verdict, Exception):
            future.set_exception(verdict)
        else:
            future.set_result(convert(verdict))
