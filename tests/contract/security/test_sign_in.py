"""Sign-in, sessions and links on both engines."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from rakiza._kernel import Credentials, Ports, WorkerPool, token
from rakiza.errors import ValidationError
from rakiza.security import (
    BadCredentialsError,
    EmailTakenError,
    LinkExpiredError,
    NoUserError,
    Security,
    SecuritySettings,
    TooManyAttemptsError,
    User,
    WeakPasswordError,
    WrongPasswordError,
)
from rakiza.security.tables import LINK, SESSION, USER
from rakiza.store import Store
from rakiza.testing import FrozenClock

PASSWORD = "سبعة جمال تعبر الوادي"
OTHER = "green curtains and slow trains"


@pytest.fixture
def sara(security: Security) -> User:
    return security.create_user("Sara@Example.com", "سارة الحربي", role="admin", password=PASSWORD, locale="ar")


def enters(security: Security, password: str = PASSWORD, email: str = "sara@example.com") -> str:
    return security.sign_in(email, password, "203.0.113.5", "Firefox")[0]


def known(security: Security, session: str) -> bool:
    by_storage = security.authenticate(Credentials(session=session)) is not None
    assert (security.recall(Credentials(session=session)) is not None) == by_storage
    return by_storage


def test_a_user_signs_in_by_any_spelling_of_the_address(security: Security, sara: User, trail: Any) -> None:
    session, who = security.sign_in("  SARA@example.COM", PASSWORD, "203.0.113.5", "Firefox")
    assert (who.id, who.name, who.email, who.role, who.kind) == (sara.id, "سارة الحربي", "sara@example.com", "admin", "user")
    assert who.may("users.manage")
    assert security.recall(Credentials(session=session)) is None
    assert security.authenticate(Credentials(session=session)) == who
    assert security.recall(Credentials(session=session)) == who


def test_what_a_browser_says_of_itself_is_kept_short_and_printable(security: Security, sara: User, store: Store) -> None:
    security.sign_in("sara@example.com", PASSWORD, "203.0.113.5", "Fire\x00fox\n" + "x" * 5000)
    with store.read() as tx:
        (device,) = tx.execute(sa.select(SESSION.c.device)).one()
    assert device.startswith("Firefoxxx")
    assert len(device) <= 200


def test_the_password_has_one_spelling(security: Security, sara: User) -> None:
    security.set_password(sara, "ｇｒｅｅｎ curtains of café Rim")
    assert enters(security, "green curtains of cafe\u0301 Rim")


def test_wrong_password_and_unknown_or_disabled_user_get_the_same_reply(security: Security, sara: User) -> None:
    security.create_user("link@example.com", "خالد")
    off = security.create_user("off@example.com", "فهد", password=PASSWORD)
    security.update_user(off, disabled=True)
    replies = set()
    for email, password in (
        ("sara@example.com", OTHER),
        ("nobody@example.com", OTHER),
        ("off@example.com", PASSWORD),
        ("link@example.com", ""),
        ("no address", OTHER),
        ("", ""),
    ):
        with pytest.raises(BadCredentialsError) as caught:
            security.sign_in(email, password)
        replies.add((caught.value.detail, caught.value.stable_code, caught.value.status))
    assert len(replies) == 1


def test_tokens_and_passwords_are_not_in_the_database(security: Security, sara: User, store: Store) -> None:
    session, link = enters(security), security.create_link(sara)
    with store.read() as tx:
        stored = repr([tuple(row) for table in (USER, SESSION, LINK) for row in tx.execute(sa.select(table))])
    assert session not in stored
    assert link not in stored
    assert PASSWORD not in stored
    assert "$argon2id$v=19$" in stored


def test_guessing_is_slowed_down_for_known_and_unknown_accounts_alike(security: Security, sara: User, clock: FrozenClock) -> None:
    for email in ("sara@example.com", "nobody@example.com"):
        for number in range(5):
            with pytest.raises(BadCredentialsError):
                security.sign_in(email, f"guess {number}", f"203.0.113.{number}")
        with pytest.raises(TooManyAttemptsError) as caught:
            security.sign_in(email, PASSWORD, "203.0.113.99")
        assert int(caught.value.headers["retry-after"]) >= 1
        assert caught.value.stable_code == "too_many_attempts"
    clock.advance(60)
    assert enters(security)
    with pytest.raises(BadCredentialsError):
        enters(security, OTHER)


def test_an_address_is_slowed_down_across_accounts(security: Security, sara: User) -> None:
    for number in range(30):
        with pytest.raises(BadCredentialsError):
            security.sign_in(f"user{number}@example.com", "guess", "203.0.113.5")
    with pytest.raises(TooManyAttemptsError):
        enters(security)
    with pytest.raises(TooManyAttemptsError):
        security.sign_in_by_link(token(), "203.0.113.5")
    assert security.sign_in("sara@example.com", PASSWORD, "203.0.113.6")


def test_sign_ins_are_audited_by_their_owasp_names(security: Security, sara: User, trail: Any) -> None:
    enters(security)
    for _ in range(5):
        with pytest.raises(BadCredentialsError):
            enters(security, OTHER)
    with pytest.raises(TooManyAttemptsError):
        enters(security, OTHER)
    assert trail.events == ["user_created", "authn_login_success", *["authn_login_fail"] * 5, "authn_login_lock", "excess_rate_limit_exceeded"]
    assert trail.records[1].user_id == sara.id
    assert PASSWORD not in repr([vars(record) for record in trail.records])
    assert OTHER not in repr([vars(record) for record in trail.records])


def test_a_sign_in_renews_the_session(security: Security, sara: User) -> None:
    old = enters(security)
    assert known(security, old)
    new, _ = security.sign_in("sara@example.com", PASSWORD, replaces=old)
    assert new != old
    assert not known(security, old)
    assert known(security, new)


def test_a_session_planted_by_an_attacker_is_never_taken_up(security: Security, sara: User) -> None:
    planted = token()
    session, _ = security.sign_in("sara@example.com", PASSWORD, replaces=planted)
    assert session != planted
    assert not known(security, planted)


def test_signing_out_is_seen_at_once(security: Security, sara: User) -> None:
    one, two = enters(security), enters(security)
    assert known(security, one)
    assert known(security, two)
    security.sign_out(one)
    assert not known(security, one)
    assert known(security, two)
    security.sign_out(one)
    security.sign_out(token())
    security.sign_out("no token")


def test_revoking_all_disabling_and_role_changes_are_seen_at_once(security: Security, sara: User) -> None:
    one, two = enters(security), enters(security)
    assert known(security, one)
    assert known(security, two)
    changed = security.update_user(sara, role="viewer")
    who = security.authenticate(Credentials(session=one))
    assert who is not None
    assert (who.role, who.permissions, changed.version) == ("viewer", {"ops.read"}, 2)
    assert security.revoke_all(sara) == 2
    assert not known(security, one)
    assert not known(security, two)
    three = enters(security)
    assert known(security, three)
    security.update_user(sara, disabled=True)
    assert not known(security, three)
    security.update_user(sara, disabled=False)
    assert not known(security, three)
    assert enters(security)


def test_a_revocation_that_is_undone_with_its_transaction_did_not_happen(security: Security, sara: User, store: Store) -> None:
    session = enters(security)

    def give_up() -> None:
        with store.begin():
            security.sign_out(session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        give_up()
    assert known(security, session)


def test_another_process_sees_a_sign_out_after_the_cache_time(security: Security, sara: User, store: Store, clock: FrozenClock) -> None:
    other = Security(store, security.settings, clock=clock)
    session = enters(security)
    assert known(other, session)
    security.sign_out(session)
    clock.advance(security.settings.session_cache_seconds + 1)
    assert other.recall(Credentials(session=session)) is None
    assert other.authenticate(Credentials(session=session)) is None


def test_an_idle_session_ends(security: Security, sara: User, clock: FrozenClock) -> None:
    session = enters(security)
    clock.advance(29 * 60)
    other = enters(security)
    clock.advance(61)
    assert not known(security, session)
    assert known(security, other)


def settled(security: Security, pool: WorkerPool) -> None:
    pool.close()  # waits for the write in the background; the pool opens again by itself


def test_use_keeps_a_session_alive_but_not_beyond_its_absolute_end(security: Security, sara: User, clock: FrozenClock, pool: WorkerPool) -> None:
    session = enters(security)
    for _ in range(35):
        clock.advance(20 * 60)
        assert known(security, session)
        settled(security, pool)
    clock.advance(20 * 60)
    assert not known(security, session)


def test_the_last_use_is_written_once_a_minute(security: Security, sara: User, clock: FrozenClock, pool: WorkerPool, store: Store) -> None:
    def seen() -> object:
        settled(security, pool)
        with store.read() as tx:
            return tx.execute(sa.select(SESSION.c.seen_at)).scalar_one()

    session = enters(security)
    first = seen()
    clock.advance(50)
    assert known(security, session)
    assert seen() == first
    clock.advance(10)
    assert known(security, session)
    assert seen() == clock.now()


def test_a_changed_password_ends_every_other_session_and_link(security: Security, sara: User) -> None:
    mine, other, link = enters(security), enters(security), security.create_link(sara)
    assert known(security, other)
    with pytest.raises(WrongPasswordError):
        security.change_password(mine, OTHER, OTHER)
    with pytest.raises(WrongPasswordError):
        security.change_password(mine, None, OTHER)
    with pytest.raises(WeakPasswordError):
        security.change_password(mine, PASSWORD, "noufal sara noufal sara")
    renewed = security.change_password(mine, PASSWORD, OTHER)
    assert known(security, renewed)
    assert not known(security, mine)
    assert not known(security, other)
    with pytest.raises(LinkExpiredError):
        security.sign_in_by_link(link)
    with pytest.raises(BadCredentialsError):
        enters(security)
    assert enters(security, OTHER)


def test_guessing_the_current_password_is_slowed_down_too(security: Security, sara: User) -> None:
    session = enters(security)
    for _ in range(5):
        with pytest.raises(WrongPasswordError):
            security.change_password(session, "a guess", OTHER)
    with pytest.raises(TooManyAttemptsError):
        security.change_password(session, PASSWORD, OTHER)


def test_a_link_signs_in_once_and_lets_a_password_be_set(security: Security, clock: FrozenClock) -> None:
    user = security.create_user("khalid@example.com", "خالد")
    link = security.create_link(user)
    session, who = security.sign_in_by_link(link, "203.0.113.5", "Firefox")
    assert who.id == user.id
    with pytest.raises(LinkExpiredError):
        security.sign_in_by_link(link)
    renewed = security.change_password(session, None, OTHER)
    assert enters(security, OTHER, "khalid@example.com")
    with pytest.raises(WrongPasswordError):
        security.change_password(renewed, None, PASSWORD)


def test_a_link_dies_of_age_and_with_its_user(security: Security, sara: User, clock: FrozenClock) -> None:
    old = security.create_link(sara, minutes=10)
    clock.advance(601)
    for bad in (old, token(), "", "'; drop table x; --", "ا" * 43):
        with pytest.raises(LinkExpiredError):
            security.sign_in_by_link(bad)
    link = security.create_link(sara)
    security.update_user(sara, disabled=True)
    with pytest.raises(LinkExpiredError):
        security.sign_in_by_link(link)


def test_of_racing_callers_one_uses_the_link(security: Security, sara: User, store: Store) -> None:
    for _ in range(3):
        link, gate = security.create_link(sara), threading.Barrier(8)

        def use(link: str = link, gate: threading.Barrier = gate) -> bool:
            gate.wait()
            try:
                security.sign_in_by_link(link)
            except LinkExpiredError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            assert sum(future.result() for future in [threads.submit(use) for _ in range(8)]) == 1
    with store.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(SESSION)).scalar_one() == 3


def test_racing_password_change_and_sign_in_leave_no_session_of_the_old_password(security: Security, sara: User) -> None:
    gate = threading.Barrier(2)

    def enter() -> str | None:
        gate.wait()
        try:
            return enters(security)
        except BadCredentialsError:
            return None

    with ThreadPoolExecutor(1) as thread:
        for number in range(10):
            future = thread.submit(enter)
            gate.wait()
            security.set_password(sara, f"{OTHER} {number}")
            session = future.result()
            assert session is None or not known(security, session)
            security.set_password(sara, PASSWORD)


def test_hashes_are_renewed_when_parameters_change(security: Security, sara: User, store: Store, clock: FrozenClock) -> None:
    stronger = Security(store, SecuritySettings(argon2_memory_kib=16, argon2_time=2), clock=clock)
    assert enters(stronger)
    with store.read() as tx:
        assert "$m=16,t=2,p=1$" in tx.execute(sa.select(USER.c.password_hash)).scalar_one()
    assert enters(stronger)


def test_users_are_written_with_their_rules(security: Security, sara: User) -> None:
    with pytest.raises(EmailTakenError):
        security.create_user("SARA@EXAMPLE.COM", "أخرى")
    bad: list[Callable[[], object]] = [
        lambda: security.create_user("no address", "x"),
        lambda: security.create_user("a@example.com", " "),
        lambda: security.create_user("a@example.com", "x", role="emperor"),
        lambda: security.create_user("a@example.com", "x", locale="fr"),
        lambda: security.update_user(sara, name="a\u202eb"),
    ]
    for attempt in bad:
        with pytest.raises(ValidationError) as caught:
            attempt()
        assert caught.value.errors
        assert caught.value.message_ar
    with pytest.raises(WeakPasswordError) as weak:
        security.create_user("khalid@example.com", "خالد", password="password password")
    assert weak.value.stable_code == "weak_password"
    assert [user.email for user in security.list_users()] == ["sara@example.com"]
    assert security.update_user(sara, locale="").locale is None
    assert security.find_user("Sara@example.com") is not None
    assert security.find_user("nobody@example.com") is None


def test_the_first_administrator_is_made_once(security: Security) -> None:
    assert not security.users_exist()
    first = security.first_admin("admin@localhost", PASSWORD)
    assert first is not None
    assert first.role == "admin"
    assert security.first_admin("other@localhost", PASSWORD) is None
    assert len(security.list_users()) == 1


def test_what_cannot_be_used_again_is_purged(security: Security, sara: User, clock: FrozenClock, store: Store) -> None:
    security.sign_out(enters(security))
    enters(security)
    security.create_link(sara, minutes=1)
    clock.advance(31 * 60)
    live = enters(security)
    security.create_link(sara)
    security.purge()
    with store.read() as tx:
        counts = [tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in (SESSION, LINK, USER)]
    assert counts == [1, 1, 1]
    assert known(security, live)


def test_an_application_adds_roles(security: Security) -> None:
    security.define_role("member", {"projects.read"})
    security.define_role("admin", {"projects.create"})
    security.create_user("m@example.com", "مهندس", password=OTHER)
    _, who = security.sign_in("m@example.com", OTHER)
    assert who.permissions == {"projects.read"}


KEY = "k3y-of-the-operator-0123456789"


def test_the_operator_key_is_an_administrator(store: Store, trail: Any) -> None:
    ports = Ports()
    ports.audit = trail
    security = Security(store, SecuritySettings(ops_api_key=KEY, environment="development"), ports=ports)
    security.define_role("admin", {"projects.create"})
    who = security.recall(Credentials(api_key=KEY, writes=True))
    assert who is not None
    assert (who.kind, who.role, who.may("projects.create"), who.user_key) == ("api_key", "admin", True, 0)
    assert KEY not in repr(who)
    for wrong in ("", KEY[:-1], KEY + "x", "مفتاح", "\udcff"):
        assert security.recall(Credentials(api_key=wrong, local=True)) is None
        assert security.authenticate(Credentials(api_key=wrong)) is None
    assert trail.events == ["authn_login_fail"]
    assert security.authenticate(Credentials(local=True)) is None


def test_without_a_key_development_reads_from_this_machine_only(store: Store) -> None:
    open_house = Security(store, SecuritySettings(environment="development"))
    who = open_house.recall(Credentials(local=True))
    assert who is not None
    assert (who.kind, who.permissions) == ("local", {"ops.read"})
    assert open_house.authenticate(Credentials(local=True, session="stale")) == who
    assert open_house.authenticate(Credentials(local=True, writes=True)) is None
    assert open_house.authenticate(Credentials(local=False)) is None
    assert open_house.authenticate(Credentials(api_key="")) is None
    assert Security(store, SecuritySettings()).authenticate(Credentials(local=True)) is None


def test_work_that_goes_on_without_a_request_has_the_rights_of_now(store: Store, security: Security) -> None:
    user = security.create_user("later@example.com", "سعاد", "viewer")
    caller = security.principal(user.id)
    assert (caller.id, caller.name, caller.user_key, caller.role, caller.kind) == (user.id, "سعاد", user.key, "viewer", "user")
    assert caller.permissions == security.roles.permissions("viewer")
    user = security.update_user(user, role="operator")
    assert security.principal(user.id).permissions == security.roles.permissions("operator")
    security.update_user(user, disabled=True)
    for identity in (user.id, "ops-api-key", "nobody", ""):
        with pytest.raises(NoUserError):
            security.principal(identity)
    with_key = Security(store, SecuritySettings(ops_api_key=KEY))
    assert with_key.principal("ops-api-key").kind == "api_key"
    with_key.close()
