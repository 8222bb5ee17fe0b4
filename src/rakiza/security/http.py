"""The endpoints of sign-in and of one's own account, as neutral handlers."""

from typing import Annotated, Literal

import msgspec

from rakiza._kernel import PUBLIC, SIGNED_IN, Principal, Request, Response, Route, json_response
from rakiza._kernel.http import Handler
from rakiza.errors import BadRequestError, ForbiddenError, UnauthorizedError

from ._core import COOKIE, cleared_cookie, is_local_host, session_cookie
from ._users import User
from .errors import wrong_field
from .service import Security

MAX_BODY_BYTES = 64 * 1024
Text = Annotated[str, msgspec.Meta(max_length=1024)]


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Ask for a session by password."""

    email: Text
    password: Text
    totp: Text | None = None

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Login({self.email!r})"


class LinkLogin(msgspec.Struct, forbid_unknown_fields=True):
    """Ask for a session by one-time link."""

    token: Text

    def __repr__(self) -> str:
        """Show no secret."""
        return "LinkLogin()"


class Profile(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Change one's own name or language."""

    name: Text | msgspec.UnsetType = msgspec.UNSET
    locale: Literal["ar", "en"] | msgspec.UnsetType | None = msgspec.UNSET


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """Change one's own password."""

    new: Text
    current: Text | None = None

    def __repr__(self) -> str:
        """Show no secret."""
        return "PasswordChange()"


class Me(msgspec.Struct):
    """Tell the caller who he is."""

    id: str
    name: str
    email: str
    role: str
    permissions: list[str]
    locale: str | None


class Endpoints:
    """Answer `/api/auth/*` and `/api/users/me*`."""

    def __init__(self, security: Security) -> None:
        self._security = security

    async def login(self, request: Request) -> Response:
        """Sign in by password, on the threads kept for hashing."""
        return await self._security.passwords.run(self._login, request)

    def link(self, request: Request) -> Response:
        """Sign in by a one-time link."""
        _require_safe_transport(request)
        body = request.decode(LinkLogin)
        return self._welcome(*self._security.sign_in_by_link(body.token, *_from(request), replaces=request.cookie(COOKIE)))

    def logout(self, request: Request) -> Response:
        """End the session, if any, and take the cookie away."""
        token = request.cookie(COOKIE)
        if token:
            self._security.sign_out(token)
        return Response(status=204, headers=[(b"set-cookie", cleared_cookie())])

    async def me(self, request: Request) -> Response:
        """Return who calls."""
        principal = _caller(request)
        user = await self._security.profile_at_hand(principal) if principal.user_key else None
        return json_response(_me(principal, user))

    def change_me(self, request: Request) -> Response:
        """Change one's own name or language and return the new state."""
        principal = _person(request)
        body = request.decode(Profile)
        name = None if body.name is msgspec.UNSET else body.name
        locale = None if body.locale is msgspec.UNSET else body.locale or ""
        user = self._security.update_user(self._security.get_user(principal), name=name, locale=locale)
        return json_response(_me(principal, user))

    async def password(self, request: Request) -> Response:
        """Change one's own password, on the threads kept for hashing; the session is renewed."""
        return await self._security.passwords.run(self._password, request)

    def _login(self, request: Request) -> Response:
        _require_safe_transport(request)
        body = request.decode(Login)
        if body.totp is not None:
            raise wrong_field("totp", "one-time codes are not set up here; leave totp out", "رموز التحقق غير مفعّلة هنا؛ اترك الحقل فارغا")
        return self._welcome(*self._security.sign_in(body.email, body.password, *_from(request), replaces=request.cookie(COOKIE)))

    def _password(self, request: Request) -> Response:
        _person(request)
        body = request.decode(PasswordChange)
        token = self._security.change_password(request.cookie(COOKIE) or "", body.current, body.new, *_from(request))
        return Response(status=204, headers=[(b"set-cookie", session_cookie(token))])

    def _welcome(self, token: str, principal: Principal) -> Response:
        user = self._security.get_user(principal)
        return json_response(_me(principal, user), headers=[(b"set-cookie", session_cookie(token))])


def routes(security: Security) -> tuple[Route, ...]:
    """Return the routes of sign-in and of one's own account, each with its permission."""
    on = Endpoints(security)
    return (
        _route("POST /api/auth/login", on.login, PUBLIC, "Sign in", (Login, Me)),
        _route("POST /api/auth/link", on.link, PUBLIC, "Sign in by a one-time link", (LinkLogin, Me)),
        _route("POST /api/auth/logout", on.logout, PUBLIC, "Sign out"),
        _route("GET /api/users/me", on.me, SIGNED_IN, "Tell who calls", (None, Me)),
        _route("PATCH /api/users/me", on.change_me, SIGNED_IN, "Change one's own name or language", (Profile, Me)),
        _route("POST /api/users/me/password", on.password, SIGNED_IN, "Change one's own password", (PasswordChange, None)),
    )


def _route(target: str, handler: Handler, permission: str, summary: str, types: tuple[type | None, type | None] = (None, None)) -> Route:
    method, _, path = target.partition(" ")
    takes, gives = types
    return Route(
        method=method,
        path=path,
        handler=handler,
        permission=permission,
        summary=summary,
        max_body_bytes=MAX_BODY_BYTES,
        request_type=takes,
        response_type=gives,
    )


def _me(principal: Principal, user: User | None) -> Me:
    shown = user or principal
    return Me(principal.id, shown.name, shown.email, shown.role, sorted(principal.permissions), user.locale if user else None)


def _caller(request: Request) -> Principal:
    if request.context.principal is None:
        raise UnauthorizedError("sign in first")
    return request.context.principal


def _person(request: Request) -> Principal:
    principal = _caller(request)
    if not principal.user_key:
        raise ForbiddenError("only a signed-in user has an account to change")
    return principal


def _from(request: Request) -> tuple[str, str]:
    return request.context.client, request.header("user-agent")


def _require_safe_transport(request: Request) -> None:
    if request.secure or is_local_host(request.header("host")):
        return
    raise BadRequestError(
        "a browser keeps the session cookie only over HTTPS or on this machine itself",
        code="insecure_transport",
        hint="open the application by https://, or at http://localhost on the machine it runs on; behind a proxy set RAKIZA_WEB_TRUSTED_PROXIES",
        message_ar="لا يحفظ المتصفح جلسة الدخول إلا عبر HTTPS أو على الجهاز نفسه",
    )
