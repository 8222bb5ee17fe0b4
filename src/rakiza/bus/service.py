"""The bus: tell listeners of this and of other processes that something happened on a topic, and carry short messages."""

import logging
import re
import threading
import weakref
from collections.abc import Callable
from typing import cast

import sqlalchemy as sa

from rakiza._kernel import Supervisor, UnitOfWork
from rakiza._kernel.tasks import after_fork
from rakiza.store import Store, Transaction

from ._backends import Carrier, Ear
from .settings import BusSettings

TOPIC = re.compile(r"[a-z][a-z0-9_]{0,47}")
MAX_MESSAGE_BYTES = 4_000
"""PostgreSQL's NOTIFY carries less than 8,000."""
log = logging.getLogger("rakiza.bus")


class Listener:
    """Hold what is called for a topic; it is called as long as this object lives."""

    __slots__ = ("__weakref__", "call", "topic")

    def __init__(self, topic: str, call: Callable[[], object]) -> None:
        self.topic, self.call = topic, call


class Hearer:
    """Hold what is called with each message of a topic, and when messages may have been missed."""

    __slots__ = ("__weakref__", "call", "lost", "topic")

    def __init__(self, topic: str, call: Callable[[str], object], lost: Callable[[], object]) -> None:
        self.topic, self.call, self.lost = topic, call, lost


class Bus:
    """Carry signals without content, of which a lost one costs its listener a poll, and short messages, of which a loss is told."""

    def __init__(self, store: Store, supervisor: Supervisor, settings: BusSettings | None = None) -> None:
        """Hear nothing of other processes before the first listener comes and the supervisor runs."""
        self.settings = settings or BusSettings()
        self._store, self._supervisor = store, supervisor
        self._changed = threading.Condition()
        self._counts: dict[str, int] = {}
        self._listeners: dict[str, weakref.WeakSet[Listener]] = {}
        self._probes: dict[str, Callable[[Transaction], object]] = {}
        self._settled: dict[Transaction, set[str]] = {}
        self._hearers: dict[str, weakref.WeakSet[Hearer]] = {}
        self._ear: Ear | None = None
        self._carrier: Carrier = self._make_carrier()
        self._notify = sa.select(sa.func.pg_notify(sa.bindparam("channel"), sa.literal_column("''")))
        after_fork(self.forget)

    # -- hearing

    def on(self, topic: str, call: Callable[[], object]) -> Listener:
        """Call `call`, which must not block, whenever something was told on the topic, as long as the returned object lives.

        Raises ValueError for a topic that is not a small name.
        """
        listener = Listener(topic, call)
        self._watch(topic)
        with self._changed:
            self._listeners[topic].add(listener)
        return listener

    def count(self, topic: str) -> int:
        """Return how often something was told on the topic, as far as this process knows."""
        return self._counts.get(topic, 0)

    def wait(self, topic: str, seen: int, seconds: float) -> bool:
        """Wait until the count of the topic is not `seen` any more, at most so many seconds; tell whether it is so."""
        self._watch(topic)
        with self._changed:
            return self._changed.wait_for(lambda: self.count(topic) != seen, seconds)

    def probe(self, topic: str, look: Callable[[Transaction], object]) -> None:
        """Say how to see in a SQLite file that another process wrote for the topic: the answer is another one than before.

        Without a probe a topic hears only of its own process there; PostgreSQL needs none.
        """
        self._probes[topic] = look

    def hear(self, topic: str, call: Callable[[str], object], lost: Callable[[], object]) -> Hearer:
        """Call `call`, which must not block, with every message of the topic, in the order of the commits, as long as the returned object lives.

        `lost` is called when messages may have been missed: at the start, and when the database was away. Raises ValueError as `on` does.
        """
        hearer = Hearer(_checked(topic), call, lost)
        with self._changed:  # before anybody watches, so that it is told of the start
            self._hearers.setdefault(topic, weakref.WeakSet()).add(hearer)
        self._watch(topic)
        self._carrier.begin()
        return hearer

    # -- telling

    def publish(self, topic: str, message: str, *, tx: UnitOfWork | None = None) -> None:
        """Give every process of this database a message, once the transaction has committed; without one, or the one at hand, in its own; blocks.

        This process has heard it when the commit returns. Raises ValueError for more than 4,000 bytes, StoreError.
        """
        _checked(topic)
        if len(message.encode()) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, this one has {len(message.encode())}: send where to look instead")
        if tx is not None:
            self._carrier.send(topic, message, cast("Transaction", tx))
            return
        with self._store.begin() as own:
            self._carrier.send(topic, message, own)

    def deliver(self, topic: str, message: str) -> None:
        """Give a message to the hearers of this process; a failure in one is logged."""
        self._each(topic, lambda hearer: hearer.call(message))

    def miss(self, topic: str | None = None) -> None:
        """Tell the hearers of a topic, or all, that messages may have been missed."""
        for name in [topic] if topic else list(self._hearers):
            self._each(name, lambda hearer: hearer.lost())

    def _each(self, topic: str, call: Callable[[Hearer], object]) -> None:
        with self._changed:
            hearers = list(self._hearers.get(topic, ()))
        for hearer in hearers:
            try:
                call(hearer)
            except Exception:  # border: observer hook
                log.exception("a hearer of %s failed", topic)

    def tell(self, topic: str) -> None:
        """Wake the listeners of this process; a failure in one is logged."""
        with self._changed:
            self._counts[topic] = self.count(topic) + 1
            self._changed.notify_all()
            listeners = list(self._listeners.get(topic, ()))
        for listener in listeners:
            try:
                listener.call()
            except Exception:  # border: observer hook
                log.exception("a listener of %s failed", topic)

    def announce(self, topic: str, tx: Transaction) -> None:
        """Tell the listeners of every process once the transaction has committed; said often, it is told once."""
        # At the end of the transaction, so that what a savepoint undoes is not counted as told.
        checked = _checked(topic)
        tx.before_commit(lambda: self._settle(checked, tx))

    def _settle(self, topic: str, tx: Transaction) -> None:
        if tx not in self._settled:
            self._settled[tx] = set()
            tx.after_end(lambda: self._settled.pop(tx, None))
        if topic not in self._settled[tx]:
            self._settled[tx].add(topic)
            tx.after_commit(lambda: self.tell(topic))
            if self._store.dialect == "postgresql":
                tx.row(self._store.compile(self._notify), channel=f"rakiza_{topic}")

    # -- life

    def close(self) -> None:
        """Close the connection that listens; the next look opens one."""
        if self._ear is not None:
            self._ear.close()

    def forget(self) -> None:
        """Take a new lock in a forked child and leave the connection to the parent."""
        self._changed = threading.Condition()
        self._settled.clear()
        self._carrier.forget()
        if self._ear is not None:
            self._ear.forget()

    def _watch(self, topic: str) -> None:
        with self._changed:
            self._listeners.setdefault(_checked(topic), weakref.WeakSet())
            if self._ear is None:
                self._ear = self._make_ear()
                self._supervisor.every("bus", self._ear.period_seconds, self._ear.look)

    def _make_ear(self) -> Ear:
        if self._store.dialect == "postgresql":
            from ._backends.postgresql import NotifyEar

            return NotifyEar(self._store, self.settings, lambda: list(self._listeners), self.tell, self._receive)
        from ._backends.sqlite import FileEar

        return FileEar(self._store, self.settings, self._probes, self.tell)

    def _receive(self, topic: str, said: str | None) -> None:
        self._carrier.receive(topic, said)

    def _make_carrier(self) -> Carrier:
        if self._store.dialect == "postgresql":
            from ._backends.postgresql import NotifyCarrier

            return NotifyCarrier(self._store, self.deliver, self.miss)
        from ._backends.sqlite import TableCarrier

        return TableCarrier(self)


def _checked(topic: str) -> str:
    if not TOPIC.fullmatch(topic):
        raise ValueError(f"a topic is a small name of letters, digits and underscores, not {topic!r}")
    return topic
