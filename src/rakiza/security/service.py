"""The object users of the security room hold."""

import hmac
import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from contextvars import Context as Variables

from sqlalchemy.exc import IntegrityError

from rakiza._kernel import DEFAULT_TENANT, OPS_READ, SYSTEM_CLOCK, Clock, Credentials, Gcra, Ports, Principal, WorkerPool, current
from rakiza._kernel.tasks import after_fork
from rakiza.errors import UnauthorizedError
from rakiza.store import Store, Transaction

from ._core import FREE_FAILURES, client_network, normal_email, normal_name, well_formed
from ._memory import SessionMemory
from ._password_rules import password_problems
from ._passwords import Passwords
from ._profiles import NoUserCache, UserCache
from ._roles import Roles
from ._sessions import Found, Sessions, Visit
from ._throttle import Throttle
from ._users import Account, User, Users
from .errors import (
    BadCredentialsError,
    EmailTakenError,
    LinkExpiredError,
    NoUserError,
    TooManyAttemptsError,
    WeakPasswordError,
    WrongPasswordError,
    wrong_field,
)
from .settings import SecuritySettings

ADMIN = "admin"
LOCALES = ("ar", "en")
SIGN_IN = "LOGIN"
log = logging.getLogger(__name__)


class Security:
    """Know users, sign them in and tell who calls."""

    def __init__(
        self,
        store: Store,
        settings: SecuritySettings | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        ports: Ports | None = None,
        pool: WorkerPool | None = None,
        product: str = "rakiza",
    ) -> None:
        self.settings = settings = settings or SecuritySettings()
        self.roles = Roles()
        self.passwords = Passwords(settings)
        self._store, self._clock, self._product = store, clock, product
        self._ports, self._pool = ports or Ports(), pool or WorkerPool(1)
        self._users, self._sessions = Users(store, clock), Sessions(store, settings, clock)
        self._profiles: UserCache = NoUserCache()
        self._memory = SessionMemory(settings.session_cache_seconds, settings.session_cache_entries, clock)
        self._throttle = Throttle(settings.login_per_account_per_minute, settings.login_per_ip_per_minute, clock)
        self._seldom = Gcra(1, 60.0)
        self._touching: set[str] = set()
        self._touching_lock = threading.Lock()
        after_fork(self._restart)
        self._key = settings.ops_api_key.encode()
        self._operator = Principal("ops-api-key", "OPS_API_KEY", "", ADMIN, self.roles.permissions(ADMIN), "api_key")
        open_house = settings.environment == "development" and not self._key
        self._reader = Principal("local", "local reader", "", "viewer", frozenset({OPS_READ}), "local") if open_house else None

    # -- users

    def create_user(self, email: str, name: str, role: str = "member", password: str | None = None, locale: str | None = None) -> User:
        """Write a new user and return it; raise ValidationError, WeakPasswordError or EmailTakenError."""
        values = {"email": _email(email), **self._profile(name=name, role=role, locale=locale), "locale": locale, "password_hash": None}
        if password is not None:
            values["password_hash"] = self._new_hash(password, str(values["email"]), name)
        try:
            with self._store.begin() as tx:
                user = self._users.add(tx, _tenant(), values)
                self._audit("user_created", "create", user, {"role": role}, tx)
        except IntegrityError:
            raise EmailTakenError(str(values["email"])) from None
        return user

    def update_user(
        self, user: User, *, name: str | None = None, role: str | None = None, locale: str | None = None, disabled: bool | None = None
    ) -> User:
        """Change what is given of a user and return the new state; a new role counts at once, a disabled user is signed out everywhere.

        An empty `locale` takes the choice back. Raise ValidationError or NoUserError.
        """
        values = self._profile(name=name, role=role, locale=locale)
        if disabled is not None:
            values["disabled_at"] = self._clock.now() if disabled else None
        with self._store.begin() as tx:
            self._change(tx, user, values)
            if disabled:
                self._sessions.end_all(tx, user.key)
            tx.after_commit(lambda: self._memory.forget_user(user.key))
            event = "user_updated" if role is None and disabled is None else "privilege_permissions_changed"
            self._audit(event, "update", user, {"fields": sorted(values)}, tx)
        return self._account(user.tenant, user.key).user

    def set_password(self, user: User, new: str) -> None:
        """Give a user a new password and end all sessions and links of the old one; raise WeakPasswordError."""
        hashed = self._new_hash(new, user.email, user.name)
        with self._store.begin() as tx:
            self._replace_password(tx, user, hashed)

    def find_user(self, email: str) -> User | None:
        """Return the user with this e-mail address in any spelling, or none."""
        account = self._known(_account_key(email))
        return account.user if account else None

    def get_user(self, principal: Principal) -> User:
        """Return the user behind a principal; raise NoUserError for an API key or a user who is gone."""
        return self._account(principal.tenant, principal.user_key).user

    def use_cache(self, cache: UserCache) -> None:
        """Let `profile` read through a cache; an application calls it before the start."""
        self._profiles = cache

    def profile(self, principal: Principal) -> User:
        """Return the user behind a principal, from the application's cache when there is one; raise NoUserError like `get_user`; blocks."""
        return self._profiles.get_or_load(principal.tenant, principal.user_key, lambda: self.get_user(principal))

    async def profile_at_hand(self, principal: Principal) -> User:
        """Return what `profile` does, without a wait for a thread when this process knows it."""
        known = self._profiles.peek(principal.tenant, principal.user_key)
        return known if known is not None else await self._pool.run(self.profile, principal)

    def principal(self, user_id: str) -> Principal:
        """Return who the caller with this id is now, for work that goes on without a request; raise NoUserError for one who is gone or disabled."""
        if self._key and user_id == self._operator.id:
            return self._operator
        account = self._users.account(_tenant(), uuid=user_id)
        if account is None or account.user.disabled:
            raise NoUserError("with this id who may work here")
        return self._principal(account.user)

    def list_users(self) -> list[User]:
        """Return every user by e-mail address."""
        return self._users.all(_tenant())

    def names(self, user_ids: Collection[str]) -> dict[str, str]:
        """Return the display names of the users with these ids, those that are known."""
        return self._users.names(_tenant(), user_ids) if user_ids else {}

    def users_exist(self) -> bool:
        """Tell whether there is any user."""
        return self._users.exist(_tenant())

    def first_admin(self, email: str, password: str | None = None, name: str = "Administrator") -> User | None:
        """Create the first administrator; return none, changing nothing, when there are users already."""
        if self.users_exist():
            return None
        try:
            return self.create_user(email, name, ADMIN, password)
        except EmailTakenError:  # another process was first
            return None

    def define_role(self, name: str, permissions: Iterable[str] = ()) -> None:
        """Add permissions to a role, made when it is new; an application calls it before the start."""
        self.roles.define(name, permissions)
        self._operator = Principal("ops-api-key", "OPS_API_KEY", "", ADMIN, self.roles.permissions(ADMIN), "api_key")
        self._memory.clear()

    def forget_sessions(self) -> None:
        """Look every session up in the database again: it is another one since a restore."""
        self._memory.clear()

    # -- sign-in

    def sign_in(self, email: str, password: str, ip: str = "", device: str = "", *, replaces: str | None = None) -> tuple[str, Principal]:
        """Return a new session's token and who it is; raise BadCredentialsError or TooManyAttemptsError. The session `replaces` ends."""
        key = _account_key(email)
        self._admit(key, ip)
        account = self._known(key)
        usable = account is not None and not account.user.disabled
        right, renewed = self.passwords.verify(password, account.password_hash if account and usable else None)
        if account is None or not right:
            raise self._failed(key, account)
        with self._store.begin() as tx:
            # A password changed or a user disabled while we were hashing must not leave a session behind.
            now_there = self._users.locked(tx, account.user.tenant, account.user.key)
            if now_there is None or now_there.user.disabled or now_there.password_hash != account.password_hash:
                raise BadCredentialsError
            if renewed is not None:
                self._change(tx, account.user, {"password_hash": renewed})
            token = self._open(tx, account.user, Visit("password", ip, device), replaces)
        self._throttle.succeeded(key)
        return token, self._principal(account.user)

    def create_link(self, user: User, minutes: float | None = None) -> str:
        """Return the token of a new one-time sign-in link; only its hash is kept."""
        lifetime = self.settings.link_minutes if minutes is None else minutes
        with self._store.begin() as tx:
            self._audit("authn_token_created", "create", user, {"minutes": lifetime}, tx)
            return self._sessions.make_link(tx, user.tenant, user.key, lifetime)

    def sign_in_by_link(self, token: str, ip: str = "", device: str = "", *, replaces: str | None = None) -> tuple[str, Principal]:
        """Use a one-time link up and return a new session's token and who it is; raise LinkExpiredError or TooManyAttemptsError."""
        self._admit("", ip)
        if not well_formed(token):
            raise LinkExpiredError
        with self._store.begin() as tx:
            used = self._sessions.use_link(tx, token)
            account = self._users.locked(tx, *used) if used else None
            if account is None or account.user.disabled:
                raise LinkExpiredError
            session = self._open(tx, account.user, Visit("link", ip, device), replaces)
        self._throttle.succeeded(_account_key(account.user.email))
        return session, self._principal(account.user)

    def sign_out(self, token: str) -> None:
        """End the session of a token; an unknown one is no error."""
        if not well_formed(token) or self._sessions.find(token) is None:  # garbage must not take the one writer
            return
        with self._store.begin() as tx:
            self._sessions.end(tx, token)
            tx.after_commit(lambda: self._memory.forget(token))

    def revoke_all(self, user: User) -> int:
        """End every session and open link of a user; return how many sessions there were."""
        with self._store.begin() as tx:
            self._profiles.invalidate(tx, user.key)
            tx.after_commit(lambda: self._memory.forget_user(user.key))
            self._audit("authn_token_revoked", "revoke", user, {"all": True}, tx)
            return self._sessions.end_all(tx, user.key)

    def change_password(self, token: str, current_password: str | None, new: str, ip: str = "", device: str = "") -> str:
        """Change one's own password and return the token of the renewed session; every other one ends.

        The current password is not asked for in a session opened by a one-time link.
        Raise WrongPasswordError, WeakPasswordError, TooManyAttemptsError or UnauthorizedError (no such session).
        """
        found = self._sessions.find(token) if well_formed(token) else None
        if found is None:
            raise UnauthorizedError("sign in first")
        account = self._account(found.tenant, found.user_key)
        if found.via != "link":
            self._confirm(account, current_password or "", ip)
        hashed = self._new_hash(new, account.user.email, account.user.name)
        with self._store.begin() as tx:
            self._replace_password(tx, account.user, hashed)
            return self._sessions.open(tx, found.tenant, found.user_key, Visit("password", ip, device))

    # -- who calls (the Authenticator port)

    def recall(self, credentials: Credentials) -> Principal | None:
        """Return the caller when memory alone can tell; never blocks."""
        if credentials.session is not None:
            known = self._memory.get(credentials.session)
            if known is not None:
                return known
        if credentials.api_key is not None:
            return self._by_key(credentials.api_key)
        return self._local(credentials) if credentials.session is None else None

    def authenticate(self, credentials: Credentials) -> Principal | None:
        """Return the caller, reading storage when needed."""
        if credentials.session is not None and well_formed(credentials.session):
            known = self._memory.get(credentials.session) or self._by_session(credentials.session)
            if known is not None:
                return known
        if credentials.api_key is not None:
            operator = self._by_key(credentials.api_key)
            if operator is None:
                self._note_bad_key()
            return operator
        return self._local(credentials)

    # -- upkeep

    def purge(self) -> None:
        """Delete sessions and links that can never be used again."""
        self._sessions.purge()

    def close(self) -> None:
        """End the threads that hash."""
        self.passwords.close()

    # -- inside

    def _restart(self) -> None:
        self._touching, self._touching_lock = set(), threading.Lock()
        for part in (self.roles, self.passwords, self._memory, self._throttle):
            part.restart()

    def _by_session(self, token: str) -> Principal | None:
        generation = self._memory.generation
        found = self._sessions.find(token)
        if found is None:
            return None
        principal = Principal(
            found.user_id, found.name, found.email, found.role, self.roles.permissions(found.role), "user", found.user_key, found.tenant
        )
        now = self._clock.now()
        self._memory.put(token, principal, generation, (found.expires_at - now).total_seconds())
        if (now - found.seen_at).total_seconds() >= self.settings.session_touch_seconds:
            self._touch(found)
        return principal

    def _touch(self, found: Found) -> None:
        with self._touching_lock:
            if found.hash in self._touching:
                return
            self._touching.add(found.hash)
        # A context of its own: the write must not join a transaction that is open where the caller stands.
        future = self._pool.executor.submit(Variables().run, self._sessions.touch, found.hash)
        future.add_done_callback(lambda done: self._touched(found.hash, done))

    def _touched(self, hashed: str, done: "Future[None]") -> None:
        with self._touching_lock:
            self._touching.discard(hashed)
        error = None if done.cancelled() else done.exception()
        if error is not None:
            log.warning("the last use of a session could not be written: %s", error)

    def _by_key(self, key: str) -> Principal | None:
        right = hmac.compare_digest(key.encode("utf-8", "replace"), self._key) if self._key else False
        return self._operator if right else None

    def _note_bad_key(self) -> None:
        context = current()
        self._audit_seldom("authn_login_fail", "api_key", context.client if context else "", {"via": "api_key"})

    def _local(self, credentials: Credentials) -> Principal | None:
        return self._reader if credentials.local and not credentials.writes else None

    def _admit(self, key: str, ip: str) -> None:
        wait = self._throttle.wait(key, ip)
        if wait:
            self._audit_seldom("excess_rate_limit_exceeded", "session", client_network(ip), {"wait_seconds": round(wait)})
            raise TooManyAttemptsError(wait)

    def _failed(self, key: str, account: Account | None) -> BadCredentialsError:
        failures = self._throttle.failed(key)
        user = account.user if account else None
        details = {"method": "password", "success": False, "outcome": "failed", "failures": failures}
        self._audit("authn_login_fail", SIGN_IN, user, details)
        if failures == FREE_FAILURES:
            self._audit("authn_login_lock", SIGN_IN, user, {**details, "outcome": "slowed down"})
        return BadCredentialsError()

    def _confirm(self, account: Account, password: str, ip: str) -> None:
        key = _account_key(account.user.email)
        self._admit(key, ip)
        if not self.passwords.verify(password, account.password_hash)[0]:
            self._failed(key, account)
            raise WrongPasswordError
        self._throttle.succeeded(key)

    def _open(self, tx: Transaction, user: User, visit: Visit, replaces: str | None) -> str:
        if replaces is not None and well_formed(replaces):
            self._sessions.end(tx, replaces)
            tx.after_commit(lambda: self._memory.forget(replaces))
        self._audit("authn_login_success", SIGN_IN, user, {"method": visit.via, "success": True}, tx)
        return self._sessions.open(tx, user.tenant, user.key, visit)

    def _change(self, tx: Transaction, user: User, values: Mapping[str, object]) -> None:
        self._users.change(tx, user, values)
        self._profiles.invalidate(tx, user.key)

    def _replace_password(self, tx: Transaction, user: User, hashed: str) -> None:
        self._change(tx, user, {"password_hash": hashed})
        self._sessions.end_all(tx, user.key)
        tx.after_commit(lambda: self._memory.forget_user(user.key))
        tx.after_commit(lambda: self._throttle.succeeded(_account_key(user.email)))
        self._audit("authn_password_change", "update", user, {}, tx)

    def _new_hash(self, password: str, email: str, name: str) -> str:
        problems = password_problems(password, self.settings.password_min_length, (self._product, email.partition("@")[0], email, name))
        if problems:
            raise WeakPasswordError(problems)
        return self.passwords.hash(password)

    def _profile(self, *, name: str | None, role: str | None, locale: str | None) -> dict[str, object]:
        values: dict[str, object] = {}
        if name is not None:
            values["name"] = _name(name)
        if role is not None:
            if role not in self.roles:
                raise wrong_field("role", f"use one of {', '.join(self.roles.names())}", f"الأدوار المتاحة: {'، '.join(self.roles.names())}")
            values["role"] = role
        if locale is not None:
            if locale not in (*LOCALES, ""):
                raise wrong_field("locale", "use ar or en", "استخدم ar أو en")
            values["locale"] = locale or None
        return values

    def _known(self, key: str) -> Account | None:
        return self._users.account(_tenant(), email=key.partition(" ")[2])

    def _account(self, tenant: str, key: int) -> Account:
        account = self._users.account(tenant, key=key)
        if account is None:
            raise NoUserError("behind these credentials")
        return account

    def _principal(self, user: User) -> Principal:
        return Principal(user.id, user.name, user.email, user.role, self.roles.permissions(user.role), "user", user.key, user.tenant)

    def _audit(self, event: str, action: str, user: User | None, details: Mapping[str, object], tx: Transaction | None = None) -> None:
        resource = "authentication" if action == SIGN_IN else f"user:{user.id}" if user else "user:unknown"
        # Within a request the caller is known to the audit port; at sign-in the user acts on his own account.
        acting = user.id if user and action == SIGN_IN else None
        self._ports.audit.record(event, action, resource, details, user_id=acting, tx=tx)

    def _audit_seldom(self, event: str, resource: str, client: str, details: Mapping[str, object]) -> None:
        """Record what a caller can repeat at no cost once a minute for each caller."""
        if self._seldom.hit((event, client), self._clock.monotonic()) == 0.0:
            self._ports.audit.record(event, "authenticate", resource, details)


def _tenant() -> str:
    context = current()
    return context.tenant if context else DEFAULT_TENANT


def _account_key(email: str) -> str:
    """Return the key an account is counted under: tenant and normalised e-mail address, whatever was typed."""
    try:
        return f"{_tenant()} {normal_email(email)}"
    except ValueError:
        return f"{_tenant()} "


def _email(text: str) -> str:
    try:
        return normal_email(text)
    except ValueError as error:
        raise wrong_field("email", str(error), "البريد الإلكتروني غير صحيح") from None


def _name(text: str) -> str:
    try:
        return normal_name(text)
    except ValueError as error:
        raise wrong_field("name", str(error), "الاسم غير صحيح") from None
