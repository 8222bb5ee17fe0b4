"""PostgreSQL: one connection that LISTENs for all topics; NOTIFY is a hint, so a lost one costs a poll and nothing else."""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from typing import Any

import sqlalchemy as sa

from rakiza._kernel import token
from rakiza.bus.settings import BusSettings
from rakiza.store import Store, StoreError, Transaction

LISTEN_SECONDS = 0.25
PREFIX = "rakiza_"
SEND = sa.select(sa.func.pg_notify(sa.bindparam("channel"), sa.bindparam("payload")))
Receive = Callable[[str, str | None], None]


class NotifyEar:
    """Hold the connection that LISTENs."""

    period_seconds = 0.001

    def __init__(
        self, store: Store, settings: BusSettings, topics: Callable[[], Collection[str]], tell: Callable[[str], None], receive: Receive
    ) -> None:
        self._store, self._settings, self._topics, self._tell, self._receive = store, settings, topics, tell, receive
        self._held = ExitStack()
        self._connection: Any = None
        self._heard: set[str] = set()

    def look(self) -> None:
        try:
            connection = self._listening()
            for signal in connection.notifies(timeout=LISTEN_SECONDS):
                topic = signal.channel.removeprefix(PREFIX)
                if signal.payload:
                    self._receive(topic, signal.payload)
                else:
                    self._tell(topic)
        except (StoreError, self._store.driver_error):
            self.close()
            time.sleep(self._settings.retry_seconds)

    def _listening(self) -> Any:
        if self._connection is None:
            self._connection = self._held.enter_context(self._store.raw_connection())
        for topic in self._topics():
            if topic not in self._heard:
                self._connection.execute(f"listen {PREFIX}{topic}")
                self._heard.add(topic)
                self._tell(topic)  # what came before this moment was not heard
                self._receive(topic, None)
        return self._connection

    def close(self) -> None:
        self._connection = None
        self._heard.clear()
        with suppress(self._store.driver_error):
            self._held.close()

    def forget(self) -> None:
        self._store.leave_to_parent(self._connection)
        self.close()


class NotifyCarrier:
    """Send messages as payloads of NOTIFY, given out in the order of the commits; this process does not wait for its own to come back."""

    def __init__(self, store: Store, deliver: Callable[[str, str], None], miss: Callable[[str], None]) -> None:
        self._store, self._deliver, self._miss = store, deliver, miss
        self.forget()

    def forget(self) -> None:
        """Take a name of its own."""
        self._origin = token(64)

    def begin(self) -> None:
        """Do nothing: the ear listens already."""

    def send(self, topic: str, message: str, tx: Transaction) -> None:
        """Notify within the transaction."""
        tx.row(self._store.compile(SEND), channel=PREFIX + topic, payload=f"{self._origin} {message}")
        tx.after_commit(lambda: self._deliver(topic, message))

    def receive(self, topic: str, said: str | None) -> None:
        """Take a payload; none means that the connection has only now begun to listen."""
        if said is None:
            self._miss(topic)
            return
        origin, _, message = said.partition(" ")
        if origin != self._origin:
            self._deliver(topic, message)
