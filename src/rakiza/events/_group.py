"""Group commit: while one batch commits, the next one gathers; no timer, no thread for callers that block anyway."""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rakiza._kernel import SYSTEM_CLOCK

from ._core import Append, Appended, NewEvent, Verdict
from .errors import EventsBusyError, EventsUnavailableError

if TYPE_CHECKING:
    from .settings import EventSettings

ROOM_POLL_SECONDS = 0.005
PLACE_CHARACTERS = 8_192
"""An event takes one place in batch and queue, and another for each so many characters: that bounds both in bytes too."""
log = logging.getLogger("rakiza.events")

Flush = Callable[[Sequence[Append]], Sequence[Verdict]]
Convert = Callable[[list[Appended]], object]


class Ticket:
    """Stand for one append that waits: on a gate for a thread, on a future for a task."""

    __slots__ = ("append", "convert", "future", "gate", "loop", "places", "verdict")

    def __init__(self, append: Append, convert: Convert | None = None) -> None:
        self.append, self.convert = append, convert
        self.places = sum(map(_places, append.events))
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
        self._batch: list[Ticket] = []
        self.waiting = self._taken = 0
        self._leader: Ticket | None = None
        self._server = Ticket(Append(()))
        self._thread: threading.Thread | None = None
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def submit(self, append: Append) -> Verdict:
        """Wait until the append is judged and return the verdict; raise EventsBusyError when the queue stays full."""
        ticket = Ticket(append)
        gate = ticket.gate = threading.Lock()
        gate.acquire()
        try:
            lead = self._put(ticket)
            while ticket.verdict is None:
                if lead:
                    self._lead(ticket)
                else:
                    gate.acquire()  # opened with a verdict, or because nobody leads
                    lead = ticket.verdict is None and self._claim(ticket)
            self._leave(ticket)
        except BaseException:  # a signal's exception may come anywhere, also while leaving
            self._leave(ticket)
            raise
        return ticket.verdict

    def _put(self, ticket: Ticket) -> bool:
        with self._mutex:
            if not self._fits(ticket) and not self._room.wait_for(lambda: self._fits(ticket), self._settings.queue_timeout_seconds):
                raise self._busy()
            return self._enqueue(ticket)

    def _claim(self, ticket: Ticket) -> bool:
        with self._mutex:
            self._leader = self._leader or ticket
            return self._leader is ticket

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
            if not self._fits(ticket):
                return None
            ticket.loop, ticket.future = loop, loop.create_future()
            lead = self._enqueue(ticket)
        if lead:
            self._call_thread()
        return ticket.future

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Wait until what waits is written, then end the thread; what is appended later starts another."""
        with self._mutex:
            self._room.wait_for(lambda: not self._queue and self._leader is None, timeout_seconds)
            thread, self._thread = self._thread, None
            self._calls.put(False)
        if thread is not None:
            thread.join(timeout_seconds)

    def _fits(self, ticket: Ticket) -> bool:
        return not self._taken or self._taken + ticket.places <= self._settings.queue_events

    def _busy(self) -> EventsBusyError:
        seconds = self._settings.queue_timeout_seconds
        return EventsBusyError(f"{self.waiting} events wait to be written and none left within {seconds:g} s: the database is slow or away")

    def _enqueue(self, ticket: Ticket) -> bool:
        """Queue the ticket and tell whether nobody leads; a thread then does."""
        self._queue.append(ticket)
        self.waiting += len(ticket.append.events)
        self._taken += ticket.places
        if self._leader is not None:
            return False
        if ticket.gate is not None:
            self._leader = ticket
        return True

    def _call_thread(self) -> None:
        with self._mutex:
            try:
                self._start_thread()
            except RuntimeError as error:
                self._thread = None
                log.warning("no thread for the log (%s): the caller writes for all", error)
            else:
                if self._calls.empty():  # else a call is there that the thread will still hear
                    self._calls.put(True)
                return
        self._serve_once()

    def _start_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._calls = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._serve, args=(self._calls,), name="rakiza-events", daemon=True)
            self._thread.start()

    def _serve(self, calls: "queue.SimpleQueue[bool]") -> None:
        while calls.get():
            self._serve_once()

    def _serve_once(self) -> None:
        try:
            if self._claim(self._server):
                self._lead(None)
        except BaseException:
            log.exception("writing a batch was stopped")
        self._leave(self._server)

    def _lead(self, ticket: Ticket | None) -> None:
        """Commit batches: a thread until its own append is judged, the thread of the tasks until nothing waits."""
        while self._queue and (ticket is None or ticket.verdict is None):
            batch = self._take()
            try:
                verdicts: Sequence[Verdict] = self._flush([each.append for each in batch])
            except Exception as error:  # noqa: BLE001 - border: the group commit
                verdicts = [error] * len(batch)
            self._tell(batch, verdicts)

    def _leave(self, ticket: Ticket) -> None:
        """Give up the lead and wake the next; answer what an interrupted leader left, take back what an interrupted caller left waiting."""
        if ticket.verdict is not None and self._leader is not ticket and (self._leader or not self._queue):
            return
        with self._mutex:
            if ticket in self._queue:
                self._queue.remove(ticket)
                self._count()
            if self._leader is ticket:
                self._answer_left()
                self._leader = None
            first = self._queue[0] if self._queue and self._leader is None else None
            self._room.notify_all()
        if first is not None and first.gate is None:
            self._call_thread()
        elif first is not None and first.gate is not None and first.gate.locked():
            first.gate.release()

    def _answer_left(self) -> None:
        if left := [each for each in self._batch if each not in self._queue]:
            self._answer(left, [EventsUnavailableError("the thread that wrote the batch was stopped", _ids(each)) for each in left])
        if self._batch:
            self._batch = []
            self._count()

    def _count(self) -> None:
        waiting = (*self._queue, *self._batch)
        self.waiting, self._taken = sum(len(ticket.append.events) for ticket in waiting), sum(ticket.places for ticket in waiting)

    def _take(self) -> list[Ticket]:
        events = places = 0
        with self._mutex:
            batch: list[Ticket] = []
            self._batch = batch
            while self._queue and (not batch or places + self._queue[0].places <= self._settings.batch_events):
                batch.append(self._queue[0])
                ticket = self._queue.popleft()
                events, places = events + len(ticket.append.events), places + ticket.places
        self.flushes, self.largest = self.flushes + 1, max(self.largest, events)
        return batch

    def _tell(self, batch: list[Ticket], verdicts: Sequence[Verdict]) -> None:
        self._answer(batch, verdicts)
        with self._mutex:
            self.waiting -= sum(len(ticket.append.events) for ticket in batch)
            self._taken -= sum(ticket.places for ticket in batch)
            self._batch = []
            self._room.notify_all()

    def _answer(self, batch: list[Ticket], verdicts: Sequence[Verdict]) -> None:
        futures: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        for ticket, verdict in zip(batch, verdicts, strict=True):
            ticket.verdict = ticket.verdict or verdict
            if ticket.gate is not None:
                if ticket.gate.locked():
                    ticket.gate.release()
            elif ticket.loop is not None:
                futures.setdefault(ticket.loop, []).append(ticket)
        for loop, tickets in futures.items():
            try:
                loop.call_soon_threadsafe(_resolve, tickets)  # one wake-up of the loop for the batch
            except RuntimeError:
                log.warning("an event loop ended before %d of its appends were answered; they are written", len(tickets))


def _places(event: NewEvent) -> int:
    return 1 + (len(event.payload) + len(event.metadata) + len(event.sealed or "")) // PLACE_CHARACTERS


def _ids(ticket: Ticket) -> list[str]:
    return [event.event_id for event in ticket.append.events]


def _resolve(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        future, verdict, convert = ticket.future, ticket.verdict, ticket.convert
        if future is None or future.done() or verdict is None or convert is None:
            continue
        if isinstance(verdict, Exception):
            future.set_exception(verdict)
        else:
            future.set_result(convert(verdict))
