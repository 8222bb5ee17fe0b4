"""SQLite: look whether another connection committed, and only then ask each topic whether it was meant."""

import ctypes
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from rakiza._kernel import SYSTEM_CLOCK
from rakiza._kernel.tasks import FORK_WAIT_SECONDS, around_fork
from rakiza.bus.settings import BusSettings
from rakiza.bus.tables import MESSAGE
from rakiza.store import Store, StoreError, Transaction

if TYPE_CHECKING:
    from rakiza.bus.service import Bus

QUIET_SECONDS = 0.2
AWAKE_SECONDS = 1.0  # a commit is seen after its pages were written and the disk has said so
NEXT_SECONDS = 0.25  # what was written may belong to the commit after the one that is seen
PAUSES_SECONDS = (0.0005, 0.0005, 0.001, 0.002, 0.004)  # a commit mostly follows its pages within a few milliseconds
IN_MODIFY = 0x2
MESSAGES = "messages"
KEPT_MESSAGES = 4_096
"""A process that was away for more of them is told that it has missed some."""
PRUNE_EVERY = 256
Look = Callable[[Transaction], object]
log = logging.getLogger("rakiza.bus")


class FileEar:
    """Compare the data version of a connection that never writes, every few milliseconds while somebody writes to the file."""

    def __init__(self, store: Store, settings: BusSettings, probes: Mapping[str, Look], tell: Callable[[str], None]) -> None:
        self._store, self._settings, self._probes, self._tell = store, settings, probes, tell
        self.period_seconds = settings.look_seconds
        self._orphans: list[ExitStack] = []
        self._failing: set[str] = set()
        self._begin()
        around_fork(self._pause, self._resume)

    def _begin(self) -> None:
        self._held = ExitStack()
        self._connection: Any = None
        self._path: Path | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None
        self._answers: dict[str, object] = {}
        self._writes = Writes()
        self._awake_until = 0.0
        self._mutex, self._paused = threading.RLock(), set[int]()

    def look(self) -> None:
        wrote = self._writes.wait(0.0 if SYSTEM_CLOCK.monotonic() < self._awake_until else QUIET_SECONDS)
        with self._mutex:
            if wrote:
                self._awake_until = SYSTEM_CLOCK.monotonic() + AWAKE_SECONDS
            try:
                version = self._version()
                for pause in PAUSES_SECONDS if wrote and self._writes.works else ():
                    if version != self._seen:
                        break
                    time.sleep(pause)
                    version = self._version()
                if version is not None and (version != self._seen or self._probes.keys() - self._answers.keys()):
                    self._ask()
                    self._seen = version
                    self._awake_until = SYSTEM_CLOCK.monotonic() + NEXT_SECONDS if wrote else 0.0
            except (StoreError, sa.exc.SQLAlchemyError, self._store.driver_error):
                self.close()
                time.sleep(self._settings.retry_seconds)

    def _version(self) -> int | None:
        file = _identity(self._path)
        if self._connection is not None and file != self._file:  # deleted or replaced: the connection reads a file nobody sees
            self.close()
        if self._connection is None and (self._path is None or file is not None):
            self._open()
        return None if self._connection is None else int(self._connection.execute("pragma data_version").fetchone()[0])

    def _open(self) -> None:
        self._connection = self._held.enter_context(self._store.raw_connection())
        self._connection.execute("pragma busy_timeout=0")
        self._path = Path(self._connection.execute("pragma database_list").fetchone()[2])
        self._connection.execute("pragma data_version").fetchone()  # from here on the file of the log exists
        self._file, self._seen = _identity(self._path), None
        self._writes.watch(self._path.with_name(self._path.name + "-wal"))

    def _ask(self) -> None:
        with self._store.read() as tx:
            answers = {topic: self._answer(topic, look, tx) for topic, look in list(self._probes.items())}
        for topic, answer in answers.items():
            if topic not in self._answers or self._answers[topic] != answer:
                self._answers[topic] = answer
                self._tell(topic)

    def _answer(self, topic: str, look: Look, tx: Transaction) -> object:
        try:
            answer = look(tx)
        except Exception:  # border: observer hook
            if topic not in self._failing:
                self._failing.add(topic)
                log.exception("the probe of %s failed", topic)
            return None
        self._failing.discard(topic)
        return answer

    def close(self) -> None:
        with self._mutex:
            self._disconnect()
            self._writes.close()

    def _disconnect(self) -> None:
        self._connection = None
        with suppress(self._store.driver_error):
            self._held.close()

    def _pause(self) -> None:
        if self._mutex.acquire(timeout=FORK_WAIT_SECONDS):
            self._paused.add(threading.get_ident())
            self._disconnect()

    def _resume(self) -> None:
        if threading.get_ident() in self._paused:
            self._paused.remove(threading.get_ident())
            self._mutex.release()

    def forget(self) -> None:
        self._orphans.append(self._held)  # closing it here would end the parent's locks
        self._writes.close()
        self._begin()


def _identity(path: Path | None) -> tuple[int, int] | None:
    with suppress(OSError):
        if path is not None:
            found = path.stat()
            return found.st_dev, found.st_ino
    return None


class Writes:
    """Tell whether anybody wrote to a file, from Linux's inotify; elsewhere the answer is always yes."""

    def __init__(self) -> None:
        self._file: int | None = None

    @property
    def works(self) -> bool:
        """Tell whether the answers mean anything."""
        return self._file is not None

    def watch(self, path: Path) -> None:
        """Watch a file that exists."""
        self.close()
        libc = ctypes.CDLL(None)
        if not hasattr(libc, "inotify_init1"):
            return
        file = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if file >= 0:
            self._file = file
            if libc.inotify_add_watch(file, os.fsencode(path), IN_MODIFY) < 0:
                self.close()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for a write and tell whether there was one since the last call."""
        if self._file is None:
            return True
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
        with suppress(OSError):
            os.read(self._file, 4096)
        return True

    def close(self) -> None:
        """Watch nothing."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


class TableCarrier:
    """Keep the newest messages in a table, numbered without gaps by the one writer there is; every process reads what it has not seen."""

    def __init__(self, bus: "Bus") -> None:
        self._bus, self._store = bus, bus._store
        self._listener: object = None
        self.forget()

    def forget(self) -> None:
        """Take a new lock, which a thread of the parent may hold for ever, and begin with a loss."""
        self._seen: int | None = None
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Look at the table whenever its newest number changes."""
        with self._lock:
            if self._listener is None:
                self._bus.probe(MESSAGES, lambda tx: tx.row(self._store.compile(NEWEST)))
                self._listener = self._bus.on(MESSAGES, self._look)

    def send(self, topic: str, message: str, tx: Transaction) -> None:
        """Write the message, and now and then forget those nobody reads any more."""
        number = (tx.row(self._store.compile(INSERT), topic=topic, body=message) or (0,))[0]
        if number % PRUNE_EVERY == 0:
            tx.run(self._store.compile(PRUNE), upto=number - KEPT_MESSAGES)
        self._bus.announce(MESSAGES, tx)

    def receive(self, topic: str, said: str | None) -> None:
        """Do nothing: no ear of a file hears content."""

    def _look(self) -> None:
        with self._lock:  # held while they are given out: in order, each once
            seen = self._seen
            with self._store.read() as tx:
                newest = (tx.row(self._store.compile(NEWEST)) or (0,))[0] or 0
                rows = tx.rows(self._store.compile(UNSEEN), seen=seen) if seen is not None and newest > seen else []
            self._seen = newest
            if seen is None or newest < seen or (rows and rows[0][0] != seen + 1):
                self._bus.miss()
                return
            for _, topic, body in rows:
                self._bus.deliver(topic, body)


INSERT = sa.insert(MESSAGE).values(topic=sa.bindparam("topic"), body=sa.bindparam("body")).returning(MESSAGE.c.id)
PRUNE = sa.delete(MESSAGE).where(MESSAGE.c.id <= sa.bindparam("upto"))
NEWEST = sa.select(sa.func.max(MESSAGE.c.id))
UNSEEN = sa.select(MESSAGE.c.id, MESSAGE.c.topic, MESSAGE.c.body).where(MESSAGE.c.id > sa.bindparam("seen")).order_by(MESSAGE.c.id)
