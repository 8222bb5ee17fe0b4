"""Commands for users: create, set a password, list."""

import sys
from collections.abc import Callable
from getpass import getpass

import msgspec

from rakiza._kernel import Command

from ._users import User
from .errors import NoUserError
from .service import Security


def commands(security: Security) -> tuple[Command, ...]:
    """Return the commands of the security room."""
    return (
        Command("user create", lambda: _create(security), "Create a user and show a one-time sign-in link token"),
        Command("user set-password", lambda: _set_password(security), "Give a user a new password and sign him out everywhere"),
        Command("user list", lambda: _list(security), "List the users"),
    )


def _create(security: Security) -> Callable[..., None]:
    def create(email: str, name: str = "", role: str = "member", locale: str = "", password: bool = False) -> None:
        """Create a user; without --password a one-time sign-in token is shown instead. A password is typed or piped in, never an argument."""
        secret = _ask_password() if password else None
        user = security.create_user(email, name or email.partition("@")[0], role, secret, locale or None)
        _say(f"created {user.email} ({user.role})")
        if secret is None:
            token = security.create_link(user)
            _say(f"one-time sign-in, good for {security.settings.link_minutes} minutes, in the console: /console/sign-in#token={token}")
            _say(f"or on the application's own page, where it has one: /sign-in#token={token}")

    return create


def _set_password(security: Security) -> Callable[..., None]:
    def set_password(email: str) -> None:
        """Give a user a new password, typed or piped in, and sign him out everywhere."""
        user = security.find_user(email)
        if user is None:
            raise NoUserError(email)
        security.set_password(user, _ask_password())
        _say(f"the password of {user.email} is changed; all sessions have ended")

    return set_password


def _list(security: Security) -> Callable[..., None]:
    def list_users(json: bool = False) -> None:
        """List the users; --json for a script."""
        users = security.list_users()
        if json:
            _say(msgspec.json.encode([_shown(user) for user in users]).decode())
            return
        for user in users:
            _say("\t".join((user.email, user.name, user.role, "disabled" if user.disabled else "active")))

    return list_users


def _shown(user: User) -> dict[str, object]:
    fields = ("id", "email", "name", "role", "locale", "disabled", "has_password", "created_at")
    return {name: getattr(user, name) for name in fields}


def _ask_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass("New password: ")
    if getpass("Once more: ") != first:
        raise SystemExit("the two passwords differ")
    return first


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
