"""What one room may ask of another without importing it. The hub hands the real ones in; null objects stand in for absent rooms."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Protocol

import msgspec

PUBLIC = "public"
SIGNED_IN = "signed-in"
OPS_READ = "ops.read"
OPS_WRITE = "ops.write"
OPS_ADMIN = "ops.admin"
RESTORED = "restored"
"""The topic on which is told that the database is another one than before."""


class Principal(msgspec.Struct, frozen=True):
    """Name who calls: a signed-in user, an API key or a loopback reader in development."""

    id: str
    name: str
    email: str
    role: str
    permissions: frozenset[str]
    kind: str
    user_key: int = 0
    tenant: str = "default"

    def may(self, permission: str) -> bool:
        """Tell whether the caller holds `permission`."""
        return permission in {PUBLIC, SIGNED_IN} or permission in self.permissions


class Credentials(msgspec.Struct, frozen=True):
    """Carry what a request shows to prove who calls."""

    session: str | None = None
    api_key: str | None = None
    local: bool = False
    """The peer is a loopback address and no forwarding header was sent."""
    writes: bool = False


class Authenticator(Protocol):
    """Turn credentials into a principal."""

    def recall(self, credentials: Credentials) -> "Principal | None":
        """Return the principal when memory alone can tell; never blocks."""
        ...

    def authenticate(self, credentials: Credentials) -> "Principal | None":
        """Return the principal, reading storage when needed; blocks."""
        ...


class UnitOfWork(Protocol):
    """Take what is to be done once a transaction has committed."""

    def after_commit(self, work: Callable[[], object]) -> None:
        """Call `work` after the commit."""
        ...


class Audit(Protocol):
    """Record that somebody did something."""

    def record(
        self,
        event_type: str,
        action: str,
        resource: str,
        details: Mapping[str, object] | None = None,
        user_id: str | None = None,
        *,
        tx: UnitOfWork | None = None,
    ) -> None:
        """Write one audit record, with `tx` only if that transaction commits; the request context gives what is not said."""
        ...


AuditSink = Callable[[Mapping[str, object], UnitOfWork | None], None]
"""Take one audit record, its keys those of the audit file, and the transaction it belongs to."""


class People(Protocol):
    """Name users by their ids."""

    def names(self, user_ids: Collection[str]) -> Mapping[str, str]:
        """Return the display names of those who are known; blocks."""
        ...


class Enqueuer(Protocol):
    """Put work into the job queue."""

    def enqueue(
        self, task: str, payload: Mapping[str, object], *, tx: UnitOfWork | None = None, delay_seconds: float = 0.0, unique: str | None = None
    ) -> int:
        """Write a job, with `tx` only if that transaction commits, and return its id; blocks."""
        ...


class Mailer(Protocol):
    """Send mail in the background."""

    def send(
        self,
        to: Collection[str],
        subject: str = "",
        text: str = "",
        *,
        html: str | None = None,
        template: str | None = None,
        data: Mapping[str, str | int | float | bool] | None = None,
        tx: UnitOfWork | None = None,
    ) -> None:
        """Leave a message, or a template filled with `data`, with the queue, with `tx` only if that transaction commits; blocks."""
        ...


class Signals(Protocol):
    """Carry short messages between the processes of one platform."""

    def publish(self, topic: str, message: str, *, tx: UnitOfWork | None = None) -> None:
        """Give every process a message, with `tx` only if that transaction commits; blocks."""
        ...

    def hear(self, topic: str, call: Callable[[str], object], lost: Callable[[], object]) -> object:
        """Call `call` with every message and `lost` when some may have been missed, as long as the returned object lives."""
        ...


class OwnSignals:
    """Reach nobody but this process."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Callable[[str], object]]] = {}

    def publish(self, topic: str, message: str, *, tx: UnitOfWork | None = None) -> None:
        """Give the message to this process, with `tx` after its commit."""
        for call in self._calls.get(topic, ()):
            if tx is None:
                call(message)
            else:
                tx.after_commit(partial(call, message))

    def hear(self, topic: str, call: Callable[[str], object], lost: Callable[[], object]) -> object:
        """Call `call` with every message; none is ever missed."""
        self._calls.setdefault(topic, []).append(call)
        return call


class NoEnqueuer:
    """Have no queue."""

    def enqueue(
        self, task: str, payload: Mapping[str, object], *, tx: UnitOfWork | None = None, delay_seconds: float = 0.0, unique: str | None = None
    ) -> int:
        """Raise LookupError: work that must not be lost is not silently dropped."""
        raise LookupError(f"there is no job queue for {task!r}: the part jobs is switched off")


class NoMailer:
    """Send nothing."""

    def send(
        self,
        to: Collection[str],
        subject: str = "",
        text: str = "",
        *,
        html: str | None = None,
        template: str | None = None,
        data: Mapping[str, str | int | float | bool] | None = None,
        tx: UnitOfWork | None = None,
    ) -> None:
        """Do nothing."""


class NoPeople:
    """Know nobody's name."""

    def names(self, user_ids: Collection[str]) -> Mapping[str, str]:
        """Return nothing."""
        return {}


class NoAuthenticator:
    """Know nobody."""

    def recall(self, credentials: Credentials) -> Principal | None:
        """Return none."""
        return None

    def authenticate(self, credentials: Credentials) -> Principal | None:
        """Return none."""
        return None


class NoAudit:
    """Keep no record."""

    def record(
        self,
        event_type: str,
        action: str,
        resource: str,
        details: Mapping[str, object] | None = None,
        user_id: str | None = None,
        *,
        tx: UnitOfWork | None = None,
    ) -> None:
        """Do nothing."""


class Ports:
    """Hold the ports of one platform; an absent one is a null object listed in `absent`."""

    __slots__ = ("audit", "authenticator", "mailer", "people", "queue", "signals")

    def __init__(self) -> None:
        self.audit: Audit = NoAudit()
        self.authenticator: Authenticator = NoAuthenticator()
        self.people: People = NoPeople()
        self.queue: Enqueuer = NoEnqueuer()
        self.mailer: Mailer = NoMailer()
        self.signals: Signals = OwnSignals()

    def absent(self) -> tuple[str, ...]:
        """Return the names of the ports nobody serves."""
        missing = {"audit": isinstance(self.audit, NoAudit), "authenticator": isinstance(self.authenticator, NoAuthenticator)}
        missing |= {"mailer": isinstance(self.mailer, NoMailer), "queue": isinstance(self.queue, NoEnqueuer)}
        return tuple(name for name, none in missing.items() if none)
