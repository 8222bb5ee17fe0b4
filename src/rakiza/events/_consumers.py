"""Consumers: side effects of events, at least once and in order, from a checkpoint of their own; the log is their outbox."""

import inspect
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import ClassVar

import msgspec

from rakiza._kernel import LoopThread

from ._checkpoints import LIVE, Checkpoint, Follower, Ledger
from ._core import Event
from .errors import EventError

Around = Callable[[Event], AbstractContextManager[Event]]
PAGE_EVENTS = 100
TURN_SECONDS = 0.5
NAME = re.compile(r"[a-z][a-z0-9_.:-]{0,99}")


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """Hand every event (of the types, all when empty) to a handler, plain or async, at least once and in order, outside any transaction.

    `event.event_id` is the key by which a receiver knows what it had before. What the handler appends names the event as its cause.
    """

    name: str
    handler: Callable[[Event], Awaitable[object] | object]
    event_types: tuple[str, ...] = ()
    max_attempts: int = 10
    """How often an event may fail, with pauses that double up to half a minute, before it is set aside; trouble of the database does not count."""
    from_now: bool = False
    """Skip what the log holds when the consumer is first seen."""


class ConsumerFollower(Follower):
    """Hand events to a handler one by one; after each the checkpoint moves, so that a crash repeats at most the one at work."""

    kind: ClassVar[str] = "consumer"

    def __init__(self, ledger: Ledger, consumer: Consumer, around: Around, loop: LoopThread) -> None:
        if not NAME.fullmatch(consumer.name):
            raise EventError(f"a consumer cannot be named {consumer.name!r}", hint="use at most 100 small letters, digits and any of . : _ -")
        super().__init__(ledger, consumer.name, consumer.event_types, PAGE_EVENTS)
        self._consumer, self._around, self._loop = consumer, around, loop
        self._failed = (0, 0)

    def rows(self) -> list[Checkpoint]:
        """Return the one checkpoint, made when it is not there yet."""
        rows = [row for row in self.ledger.rows(self.name) if not row.generation]
        if rows:
            return rows
        with self.ledger.store.begin() as tx:
            return [self.ledger.add(tx, self.name, 0, LIVE, self.ledger.reader.head(tx) if self._consumer.from_now else 0)]

    def advance(self, row: Checkpoint) -> bool:
        """Hand over the next events, for half a second at most, so that a stop need not wait for a page."""
        began = self.ledger.clock.monotonic()
        events, reached, full = self.ledger.page(self.filter, row.position, self.page_events)
        for event in events:
            row = self._handle(row, event)
            if self.ledger.clock.monotonic() - began > TURN_SECONDS:
                return True
        if not self.skips(row, reached):
            with self.ledger.store.begin() as tx:
                self.ledger.move(tx, row, reached)
        return full

    def _handle(self, row: Checkpoint, event: Event) -> Checkpoint:
        error, attempts = self._attempt(event), 0
        if error is not None:
            attempts = self._failed[1] + 1 if self._failed[0] == event.position else 1
            self._failed = (event.position, attempts)
            if attempts < self._consumer.max_attempts:
                raise error
        with self.ledger.store.begin() as tx:
            moved = self.ledger.move(tx, row, event.position)
            if error is not None:
                self.ledger.bury(tx, self.name, event, error, attempts)
        self.held.pop(row.generation, None)  # the next event that fails begins with a short pause
        return moved

    def _attempt(self, event: Event) -> Exception | None:
        try:
            self._call(event)
        except Exception as error:
            if self.ledger.is_trouble(error):
                raise
            return error
        return None

    def _call(self, event: Event) -> None:
        with self._around(event):
            answer = self._consumer.handler(event)
            if inspect.isawaitable(answer):
                self._loop.call(_awaited(answer))

    def retry(self, position: int) -> None:
        """Hand one event that was set aside to the handler again and forget that it was; raise what it raises."""
        self._call(self.ledger.event(position))
        with self.ledger.store.begin() as tx:
            self.ledger.exhume(tx, self.name, position)


async def _awaited(answer: Awaitable[object]) -> object:
    return await answer
