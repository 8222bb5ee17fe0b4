"""What one room may ask of another without importing it. The hub hands the real ones in; null objects stand in for absent rooms."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import msgspec

PUBLIC = "public"
SIGNED_IN = "signed-in"
OPS_READ = "ops.read"
OPS_WRITE = "ops.write"
OPS_ADMIN = "ops.admin"


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

    __slots__ = ("audit", "authenticator", "people")

    def __init__(self) -> None:
        self.audit: Audit = NoAudit()
        self.authenticator: Authenticator = NoAuthenticator()
        self.people: People = NoPeople()

    def absent(self) -> tuple[str, ...]:
        """Return the names of the ports nobody serves."""
        missing = {"audit": isinstance(self.audit, NoAudit), "authenticator": isinstance(self.authenticator, NoAuthenticator)}
        return tuple(name for name, none in missing.items() if none)
