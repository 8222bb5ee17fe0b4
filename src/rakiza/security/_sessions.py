"""Web sessions and one-time links in storage: only hashes of their tokens."""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from sqlalchemy import bindparam, delete, insert, or_, select, update

from rakiza._kernel import Clock, token
from rakiza.store import Store, Transaction, as_utc

from ._core import token_hash
from .settings import SecuritySettings
from .tables import LINK, SESSION, USER

MAX_DEVICE = 200
MAX_IP = 64


class Visit(NamedTuple):
    """Say how and from where a session was opened."""

    via: str
    ip: str
    device: str


class Found(msgspec.Struct, frozen=True):
    """Describe a live session with its user, as one query gives it."""

    hash: str
    via: str
    seen_at: datetime
    expires_at: datetime
    user_key: int
    user_id: str
    tenant: str
    email: str
    name: str
    role: str


class Sessions:
    """Open, find and end sessions; make and use one-time links."""

    def __init__(self, store: Store, settings: SecuritySettings, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._idle = timedelta(minutes=settings.session_idle_minutes)
        self._absolute = timedelta(hours=settings.session_absolute_hours)
        person = (USER.c.id, USER.c.uuid, USER.c.tenant_id, USER.c.email, USER.c.name, USER.c.role)
        live = (SESSION.c.hash == bindparam("hash"), SESSION.c.revoked_at.is_(None), USER.c.disabled_at.is_(None))
        both = select(SESSION.c.via, SESSION.c.seen_at, SESSION.c.expires_at, *person).join(USER, USER.c.id == SESSION.c.user_id)
        self._live = store.compile(both.where(*live))

    def find(self, secret: str) -> Found | None:
        """Return the live session of a token, or none."""
        hashed = token_hash(secret)
        with self._store.read() as tx:
            rows = tx.rows(self._live, hash=hashed)
        if not rows:
            return None
        via, seen_at, expires_at, *user = rows[0]
        found = Found(hashed, via, as_utc(seen_at), as_utc(expires_at), *user)
        now = self._clock.now()
        return found if now < found.expires_at and now - found.seen_at < self._idle else None

    def open(self, tx: Transaction, tenant: str, user_key: int, visit: Visit) -> str:
        """Write a new session and return its token."""
        secret, now = token(), self._clock.now()
        row = {
            "hash": token_hash(secret),
            "tenant_id": tenant,
            "user_id": user_key,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + self._absolute,
            "ip": visit.ip[:MAX_IP],
            "device": "".join(sign for sign in visit.device[:MAX_DEVICE] if sign.isprintable()),
            "via": visit.via,
        }
        tx.execute(insert(SESSION).values(**row))
        return secret

    def touch(self, hashed: str) -> None:
        """Note that the session is in use now."""
        with self._store.begin() as tx:
            tx.execute(update(SESSION).where(SESSION.c.hash == hashed).values(seen_at=self._clock.now()))

    def end(self, tx: Transaction, secret: str) -> bool:
        """Revoke one session; tell whether it was live."""
        one = update(SESSION).where(SESSION.c.hash == token_hash(secret), SESSION.c.revoked_at.is_(None))
        return tx.execute(one.values(revoked_at=self._clock.now())).rowcount == 1

    def end_all(self, tx: Transaction, user_key: int) -> int:
        """Revoke every session and every open link of a user; return how many sessions there were."""
        now = self._clock.now()
        tx.execute(update(LINK).where(LINK.c.user_id == user_key, LINK.c.used_at.is_(None)).values(used_at=now))
        live = update(SESSION).where(SESSION.c.user_id == user_key, SESSION.c.revoked_at.is_(None))
        return tx.execute(live.values(revoked_at=now)).rowcount

    def make_link(self, tx: Transaction, tenant: str, user_key: int, minutes: float) -> str:
        """Write a new one-time link and return its token."""
        secret, now = token(), self._clock.now()
        row = {"hash": token_hash(secret), "tenant_id": tenant, "user_id": user_key, "created_at": now}
        tx.execute(insert(LINK).values(**row, expires_at=now + timedelta(minutes=minutes)))
        return secret

    def use_link(self, tx: Transaction, secret: str) -> tuple[str, int] | None:
        """Use a link up and return the tenant and the key of its user; none when it is used, old or unknown. Of many racing callers one wins."""
        now = self._clock.now()
        fresh = (LINK.c.hash == token_hash(secret), LINK.c.used_at.is_(None), LINK.c.expires_at > now)
        row = tx.execute(update(LINK).where(*fresh).values(used_at=now).returning(LINK.c.tenant_id, LINK.c.user_id)).mappings().one_or_none()
        return None if row is None else (str(row["tenant_id"]), int(row["user_id"]))

    def purge(self) -> int:
        """Delete sessions and links that can never be used again; return how many."""
        now = self._clock.now()
        with self._store.begin() as tx:
            dead = or_(SESSION.c.expires_at <= now, SESSION.c.seen_at <= now - self._idle, SESSION.c.revoked_at.is_not(None))
            gone = tx.execute(delete(SESSION).where(dead)).rowcount
            return gone + tx.execute(delete(LINK).where(or_(LINK.c.expires_at <= now, LINK.c.used_at.is_not(None)))).rowcount
