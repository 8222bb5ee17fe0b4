"""Maintenance while live data become others: said by the process that restores, seen by every process of the platform."""

import contextlib
import fcntl
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from rakiza._kernel import Context, Pause
from rakiza.errors import AppError

TOPIC = "maintenance"
MARK = ".maintenance"
"""A file of the folder, locked as long as maintenance lasts: a killed process leaves the file and not the lock."""
LOOK_SECONDS = 0.5
LIFE_SECONDS = 15.0
"""So long is believed what another machine said last; it says so again every third of it."""


HOST = socket.gethostname()


class Announcer:
    """Know for this process whether there is maintenance, and say so to the others when it is this one that restores.

    Processes of this machine see the mark. On PostgreSQL there may be others: they hear it again and again; on SQLite nothing is published,
    for that would be written into the very file that is to stay as it is.
    """

    def __init__(self, folder: Path, ctx: Context, *, publishes: bool) -> None:
        self._path, self._ctx, self._publishes = folder / MARK, ctx, publishes
        self._own: Pause | None = None
        self._heard: Pause | None = None
        self._until = self._said = 0.0
        self._hearer = ctx.ports.signals.hear(TOPIC, self._hear, self._lose)
        ctx.supervisor.every("maintenance", LOOK_SECONDS, self.look)

    @contextlib.contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Let nobody write for the block; a folder that cannot be written is told by the work itself."""
        self._own = Pause(self._ctx.clock.now(), what)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                mark = stack.enter_context(self._path.open("w+b"))
                stack.callback(self._path.unlink, missing_ok=True)
                fcntl.flock(mark, fcntl.LOCK_EX)  # those who look hold it for an instant
                mark.write(msgspec.json.encode(self._own))
                mark.flush()
            self.look()
            try:
                yield
            finally:
                self._own, self._said = None, 0.0
        self._say(None)
        self.look()

    def look(self) -> None:
        """See what is so now, and say again what this process has said."""
        now = self._ctx.clock.monotonic()
        if self._own is not None and now >= self._said + LIFE_SECONDS / 3:
            self._said = now
            self._say(self._own)
        self._ctx.maintenance.know(self._own or self._marked() or (self._heard if now < self._until else None))

    def _marked(self) -> Pause | None:
        with contextlib.suppress(OSError, msgspec.DecodeError), self._path.open("rb") as mark:
            return msgspec.json.decode(mark.read(), type=Pause) if _is_locked(mark) else None
        return None

    def _say(self, pause: Pause | None) -> None:
        if self._publishes:
            try:
                self._ctx.ports.signals.publish(TOPIC, msgspec.json.encode((HOST, pause)).decode())
            except AppError as error:  # the database may change hands at this moment
                logging.getLogger("rakiza.backup").info("other machines were not told of maintenance: %s", error.detail)

    def _hear(self, message: str) -> None:
        host, pause = msgspec.json.decode(message, type=tuple[str, Pause | None])
        if host != HOST:  # whose mark is seen here
            self._heard, self._until = pause, self._ctx.clock.monotonic() + LIFE_SECONDS
            self.look()

    def _lose(self) -> None:
        self._heard = None  # what is still so is said again


def _is_locked(mark: IO[bytes]) -> bool:
    try:
        fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
