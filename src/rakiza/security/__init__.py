"""Users, sign-in, web sessions, one-time links, permissions, and the rules for headers and cross-site requests.

    from rakiza.security import MIGRATIONS, Security, SecuritySettings
    from rakiza.store import Store, migrate
    store = Store("var/site.db")
    migrate(store, [MIGRATIONS])
    security = Security(store, SecuritySettings())
    security.create_user("Sara@example.com", "سارة", role="admin", password="سبعة جمال تعبر الوادي")
    token, who = security.sign_in("sara@EXAMPLE.com", "سبعة جمال تعبر الوادي")
    assert who.may("users.manage")
"""

from ._core import (
    COOKIE,
    JSON_CSP,
    JSON_HEADERS,
    base_headers,
    cleared_cookie,
    client_network,
    cross_site,
    html_csp,
    is_local_host,
    session_cookie,
    session_token,
)
from ._password_rules import PasswordProblem, password_problems
from ._profiles import UserCache
from ._roles import Roles
from ._users import User
from .errors import (
    BadCredentialsError,
    EmailTakenError,
    LinkExpiredError,
    NoUserError,
    TooManyAttemptsError,
    WeakPasswordError,
    WrongPasswordError,
)
from .part import MIGRATIONS, part
from .service import Security
from .settings import SecuritySettings

__all__ = [
    "COOKIE",
    "JSON_CSP",
    "JSON_HEADERS",
    "MIGRATIONS",
    "BadCredentialsError",
    "EmailTakenError",
    "LinkExpiredError",
    "NoUserError",
    "PasswordProblem",
    "Roles",
    "Security",
    "SecuritySettings",
    "TooManyAttemptsError",
    "User",
    "UserCache",
    "WeakPasswordError",
    "WrongPasswordError",
    "base_headers",
    "cleared_cookie",
    "client_network",
    "cross_site",
    "html_csp",
    "is_local_host",
    "part",
    "password_problems",
    "session_cookie",
    "session_token",
]
