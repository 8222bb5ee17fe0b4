"""A cache an application gives stands between a caller and the row of their user; every write of the row drops it, and sessions never see it."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from rakiza._kernel import Credentials, Principal, WorkerPool
from rakiza.security import NoUserError, Security, SecuritySettings, User
from rakiza.store import Store, Transaction

OLD, NEW = "سبعة جمال تعبر الوادي", "ثمانية خيول تسبق الريح"
Write = Callable[[Security, User], object]


class Kept:
    """Keep users in a dictionary, and never let one go but for a committed write."""

    def __init__(self) -> None:
        self.users: dict[tuple[str, int], User] = {}
        self.threads: list[int] = []

    def peek(self, tenant: str, key: int) -> User | None:
        return self.users.get((tenant, key))

    def get_or_load(self, tenant: str, key: int, load: Callable[[], User]) -> User:
        self.threads.append(threading.get_ident())
        return self.users.get((tenant, key)) or self.users.setdefault((tenant, key), load())

    def invalidate(self, tx: Transaction, key: int) -> None:
        tx.after_commit(lambda: [self.users.pop(known) for known in list(self.users) if known[1] == key])


@pytest.fixture
def kept(security: Security) -> Kept:
    kept = Kept()
    security.use_cache(kept)
    return kept


@pytest.fixture
def sara(security: Security) -> User:
    return security.create_user("sara@example.com", "سارة الحربي", "admin", OLD)


def caller(user: User) -> Principal:
    return Principal(user.id, user.name, user.email, user.role, frozenset(), "user", user.key, user.tenant)


def change_own_password(security: Security, user: User) -> None:
    security.change_password(security.sign_in(user.email, OLD)[0], OLD, NEW)


def renew_the_hash(security: Security, user: User) -> None:
    """Sign in where hashes have other parameters now."""
    security.passwords.close()
    security.passwords = type(security.passwords)(SecuritySettings(argon2_memory_kib=16, argon2_time=1))
    security.sign_in(user.email, OLD)


WRITERS: dict[str, Write] = {
    "name": lambda security, user: security.update_user(user, name="سارة القحطاني"),
    "role": lambda security, user: security.update_user(user, role="viewer"),
    "locale": lambda security, user: security.update_user(user, locale="en"),
    "disabled": lambda security, user: security.update_user(user, disabled=True),
    "enabled": lambda security, user: security.update_user(user, disabled=False),
    "set_password": lambda security, user: security.set_password(user, NEW),
    "change_password": change_own_password,
    "renewed_hash": renew_the_hash,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_write_of_a_user_drops_the_profile(security: Security, kept: Kept, sara: User, name: str) -> None:
    before = security.profile(caller(sara))
    assert kept.peek(sara.tenant, sara.key) == before == sara
    WRITERS[name](security, sara)
    fresh = security.get_user(caller(sara))
    assert fresh.version > before.version
    assert security.profile(caller(sara)) == fresh


def test_the_end_of_all_sessions_drops_the_profile(security: Security, kept: Kept, sara: User) -> None:
    security.profile(caller(sara))
    security.revoke_all(sara)
    assert kept.users == {}


def test_a_write_that_is_undone_drops_nothing(security: Security, kept: Kept, sara: User, store: Store) -> None:
    security.profile(caller(sara))
    with pytest.raises(ZeroDivisionError), store.begin():
        security.update_user(sara, name="لا أحد")
        raise ZeroDivisionError
    assert security.profile(caller(sara)) == sara == security.get_user(caller(sara))


def test_a_known_profile_needs_no_thread(security: Security, kept: Kept, sara: User) -> None:
    async def both() -> list[User]:
        return [await security.profile_at_hand(caller(sara)) for _ in range(2)]

    assert asyncio.run(both()) == [sara, sara]
    assert len(kept.threads) == 1
    assert kept.threads != [threading.get_ident()]


def test_somebody_who_is_gone_is_not_kept(security: Security, kept: Kept, sara: User) -> None:
    gone = caller(sara)
    nobody = Principal("x", "x", "x", "member", frozenset(), "user", sara.key + 1, sara.tenant)
    with pytest.raises(NoUserError):
        security.profile(nobody)
    assert kept.users == {}
    assert security.profile(gone) == sara


def test_sessions_never_come_from_the_cache(store: Store, pool: WorkerPool, kept: Kept, security: Security, sara: User) -> None:
    security.profile(caller(sara))
    other = Security(store, SecuritySettings(argon2_memory_kib=8, argon2_time=1, session_cache_seconds=0), pool=pool)
    other.use_cache(kept)
    token, _ = other.sign_in(sara.email, OLD)
    other.profile(caller(sara))
    assert other.authenticate(Credentials(session=token)) is not None
    with store.begin() as tx:  # somebody disables the user behind the back of every process
        tx.connection.exec_driver_sql("update rakiza_security_user set disabled_at = created_at")
    assert kept.peek(sara.tenant, sara.key) is not None
    assert other.authenticate(Credentials(session=token)) is None
    other.close()
