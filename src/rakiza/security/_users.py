"""Users in storage."""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, RowMapping, insert, select, update

from rakiza._kernel import Clock, uuid7
from rakiza.store import Store, Transaction

from .tables import USER


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Describe a user; `key` stays inside the house, `id` may leave it."""

    key: int
    id: str
    tenant: str
    email: str
    name: str
    role: str
    locale: str | None
    disabled: bool
    has_password: bool
    created_at: datetime
    updated_at: datetime
    version: int


class Account(msgspec.Struct, frozen=True):
    """Join a user with the stored hash of the password."""

    user: User
    password_hash: str | None

    def __repr__(self) -> str:
        """Show the user and never the hash."""
        return f"Account({self.user.id})"


class Users:
    """Read and write rows of users."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def account(self, tenant: str, *, email: str | None = None, key: int | None = None, uuid: str | None = None) -> Account | None:
        """Return the account with this normalised e-mail address, id or key, or none."""
        wanted = USER.c.email == email if email is not None else USER.c.uuid == uuid if uuid is not None else USER.c.id == key
        with self._store.read() as tx:
            return self._one(tx, tenant, wanted)

    def locked(self, tx: Transaction, tenant: str, key: int) -> Account | None:
        """Return the account and keep others from changing it until the transaction ends."""
        return self._one(tx, tenant, USER.c.id == key, lock=True)

    @staticmethod
    def _one(tx: Transaction, tenant: str, wanted: ColumnElement[bool], lock: bool = False) -> Account | None:
        query = select(USER).where(USER.c.tenant_id == tenant, wanted)
        row = tx.execute(query.with_for_update() if lock else query).mappings().one_or_none()
        return None if row is None else Account(_user(row), row["password_hash"])

    def all(self, tenant: str) -> list[User]:
        """Return every user of the tenant by e-mail address."""
        with self._store.read() as tx:
            rows = tx.execute(select(USER).where(USER.c.tenant_id == tenant).order_by(USER.c.email)).mappings().all()
        return [_user(row) for row in rows]

    def names(self, tenant: str, uuids: Collection[str]) -> dict[str, str]:
        """Return the names of the users with these ids."""
        with self._store.read() as tx:
            wanted = select(USER.c.uuid, USER.c.name).where(USER.c.tenant_id == tenant, USER.c.uuid.in_(uuids))
            return {row.uuid: row.name for row in tx.execute(wanted)}

    def exist(self, tenant: str) -> bool:
        """Tell whether the tenant has a user."""
        with self._store.read() as tx:
            return tx.execute(select(USER.c.id).where(USER.c.tenant_id == tenant).limit(1)).first() is not None

    def add(self, tx: Transaction, tenant: str, values: Mapping[str, object]) -> User:
        """Write a new user and return it."""
        now = self._clock.now()
        row = {"tenant_id": tenant, "uuid": str(uuid7(self._clock)), "created_at": now, "updated_at": now, "version": 1, **values}
        made = tx.execute(insert(USER).values(**row).returning(USER.c.id)).scalar_one()
        return _user({"disabled_at": None, **row, "id": made})

    def change(self, tx: Transaction, user: User, values: Mapping[str, object]) -> None:
        """Write new values of a user and count the version up."""
        changed = {**values, "updated_at": self._clock.now(), "version": USER.c.version + 1}
        tx.execute(update(USER).where(USER.c.tenant_id == user.tenant, USER.c.id == user.key).values(**changed))


def _user(row: Mapping[str, object] | RowMapping) -> User:
    return msgspec.convert(
        {
            **{name: row[name] for name in ("email", "name", "role", "locale", "created_at", "updated_at", "version")},
            "key": row["id"],
            "id": row["uuid"],
            "tenant": row["tenant_id"],
            "disabled": row["disabled_at"] is not None,
            "has_password": row["password_hash"] is not None,
        },
        User,
    )
