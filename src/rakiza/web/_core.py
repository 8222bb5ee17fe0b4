"""The decisions of the request pass, the same under ASGI and WSGI; no I/O, no framework."""

import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from rakiza._kernel import PUBLIC, Authenticator, Context, Credentials, Gcra, Principal, Request, RequestContext, Response, Route
from rakiza._kernel.http import OWN_PREFIX, PROBLEM, cookie_value
from rakiza.errors import (
    AppError,
    ErrorTracker,
    ForbiddenError,
    MethodNotAllowedError,
    RateLimitError,
    ServiceUnavailableError,
    TooLargeError,
    UnauthorizedError,
    from_validation,
    problem,
    unexpected,
)
from rakiza.health import Health
from rakiza.logs import Logs
from rakiza.security import COOKIE, JSON_CSP, base_headers, client_network, cross_site, is_local_host
from rakiza.telemetry import LightSpan, Telemetry

from ._router import Match, Router
from .settings import WebSettings

Text = TypeVar("Text", str, bytes)
_Pairs: TypeAlias = tuple[tuple[Text, Text], ...]
_SESSION = COOKIE.encode()
_LIGHT = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"strict-origin-when-cross-origin"))
_DEFAULTS = ((b"content-security-policy", JSON_CSP), (b"cache-control", b"no-store"))
UNMATCHED = "unmatched"
READS = frozenset({"GET", "HEAD", "OPTIONS"})
MAINTENANCE: dict[str, Any] = {
    "detail": "the data are being brought back from a backup; nothing can be written for a moment", "code": "maintenance",
    "message_ar": "تُستعاد البيانات الآن من نسخة احتياطية، ولا يمكن الحفظ قبل انتهاء ذلك", "hint": "try again in a moment",
    "headers": {"retry-after": "5"},
}  # fmt: skip
ALREADY = "this application stands inside a platform already; call integrate() once and keep what it returns"
_FIELD = re.compile(r"\{[^}]*\}")
_EXAMPLES = ("1", "x", "01890a5d-ac96-774b-bcce-b302099a8057")
log = logging.getLogger(__name__)


limit_key = lru_cache(maxsize=4096)(client_network)


@lru_cache(maxsize=4096)
def is_loopback(address: str) -> bool:
    """Tell whether the address is one of this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == ""  # a unix socket has no address


def client_address(peer: str, headers: Mapping[bytes, bytes], trusted_proxies: int) -> str:
    """Return the address of the client: the peer, or what the outermost trusted proxy saw."""
    if not trusted_proxies:
        return peer
    hops = [hop for hop in headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",") if hop.strip()]
    return (forwarded_address(hops[-trusted_proxies]) if len(hops) >= trusted_proxies else None) or peer


def time_given(headers: Mapping[bytes, bytes], seconds: float) -> float:
    """Return the seconds a request has: `x-deadline-ms`, what its caller has left, shortens them and never lengthens."""
    given = headers.get(b"x-deadline-ms", b"")
    return min(seconds, int(given) / 1000) if given.isdigit() and len(given) < 19 else seconds


@lru_cache(maxsize=4096)
def forwarded_address(hop: str) -> str | None:
    """Return the address of one hop without its port, or none for what is no address."""
    text = hop.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def joined_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name; those that came several times joined as HTTP joins them (RFC 9110, section 5.3; cookies by RFC 9113, 8.2.3)."""
    found = dict(raw)
    if len(found) == len(raw):
        return found
    found.clear()
    for name, value in raw:
        found[name] = found[name] + (b"; " if name == b"cookie" else b", ") + value if name in found else value
    return found


class _OwnHeaders(Generic[Text]):
    """Hold the headers of the pass as one interface writes them, built once."""

    def __init__(self, write: Callable[[bytes], Text]) -> None:
        def written(pairs: Iterable[tuple[bytes, bytes]]) -> "_Pairs[Text]":
            return tuple((write(name), write(value)) for name, value in pairs)

        self._light: _Pairs[Text] = written(_LIGHT)
        self._full: dict[bool, _Pairs[Text]] = {
            False: written((*base_headers(hsts=False), *_DEFAULTS)),
            True: written((*base_headers(hsts=True), *_DEFAULTS)),
        }
        self._request_id: Text = write(b"x-request-id")
        self._names = frozenset((self._request_id, *(name for name, _ in self._light + self._full[True])))

    def added(self, own: Iterable[tuple[Text, Text]], exchange: "Exchange", *, light: bool, request_id: Text) -> list[tuple[Text, Text]]:
        """Return the answer's own headers, then ours that it does not set itself."""
        result = list(own)
        names = {name.lower() for name, _ in result}
        ours: _Pairs[Text] = self._light if light else self._full[exchange.secure]
        result += ours if self._names.isdisjoint(names) else tuple((name, value) for name, value in ours if name not in names)
        if self._request_id not in names:
            result.append((self._request_id, request_id))
        return result


class Exchange:
    """Follow one request from its arrival to the end of its answer."""

    __slots__ = ("agent", "context", "error", "found", "has_session", "quiet", "refusal", "secure", "span", "start", "status")

    def __init__(self, context: RequestContext, start: float, *, secure: bool) -> None:
        self.context = context
        self.start = start
        self.secure = secure
        self.status = 500
        self.agent = ""
        self.error: BaseException | None = None
        self.found: Match | None = None
        self.has_session = False
        self.quiet = False
        self.refusal: AppError | None = None
        self.span: LightSpan | None = None


class PassCore:
    """Hold what all requests share and decide what happens to each."""

    def __init__(
        self,
        settings: WebSettings,
        ctx: Context,
        routes: Iterable[Route],
        start: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self.pool = ctx.pool
        self.telemetry = ctx.need("telemetry", Telemetry)
        self.logs = ctx.need("logs", Logs)
        self.errors = ctx.need("errors", ErrorTracker)
        self.health = ctx.need("health", Health) if ctx.has("health") else None
        self.router = Router(routes)
        self.start: Callable[[], None] | None = start
        self.streams = 0
        self.platform: object = None
        """Who owns this core; held, because an application that took single rooms by `init_…` holds nothing else."""
        self._ctx = ctx
        self._now = ctx.clock.monotonic
        self._maintenance = ctx.maintenance
        self._authenticator: Authenticator = ctx.ports.authenticator
        self._limit = Gcra(settings.rate_limit_per_minute, 60.0)
        self._told = Gcra(1, 60.0)
        self._hosts = tuple(host.encode() for host in settings.allowed_hosts)
        self._bytes_headers = _OwnHeaders(bytes)
        self._text_headers = _OwnHeaders(bytes.decode)

    @property
    def draining(self) -> bool:
        """Tell whether answers without end should end now."""
        return self.health is not None and self.health.draining

    def admitted(self, response: Response, most_streams: int) -> Response:
        """Return the response; raise ServiceUnavailableError for one without end when there are `most_streams` already."""
        if isinstance(response.stream, AsyncGenerator) and self.streams >= most_streams:
            raise ServiceUnavailableError("too many streams are open", hint="close another page that follows something", headers={"retry-after": "5"})
        return response

    # -- on the way in

    def enter(self, method: str, path: str, headers: dict[bytes, bytes], peer: str, scheme: str) -> Exchange:
        """Open the exchange: ids, trace decision, route, rate limit, cross-site rule, body size. A refusal is kept in it, not raised."""
        start = self._now()
        settings, proxies = self.settings, self.settings.trusted_proxies
        client = client_address(peer, headers, proxies) if proxies else peer
        secure = scheme in {"https", "wss"} or (proxies > 0 and headers.get(b"x-forwarded-proto") == b"https")
        context = self.telemetry.begin(method, path, client, headers.get(b"traceparent"), trusted=proxies > 0)
        context.expires_at = start + (time_given(headers, settings.request_timeout_seconds) if proxies else settings.request_timeout_seconds)
        context.owner = self._ctx
        exchange = Exchange(context, start, secure=secure)
        exchange.agent = headers.get(b"user-agent", b"").decode("utf-8", "replace")
        exchange.has_session = _SESSION in headers.get(b"cookie", b"")
        self._route(exchange, method, path)
        if exchange.refusal is None:
            exchange.refusal = self._refuse(exchange, method, headers)
        if context.sampled and not exchange.quiet:
            exchange.span = self.telemetry.open(context)
        self.telemetry.in_flight += 1
        return exchange

    def _route(self, exchange: Exchange, method: str, path: str) -> None:
        found = self.router.find(method, path)
        if isinstance(found, Match):
            exchange.found = found
            exchange.context.route = found.route.path
            exchange.quiet = found.route.quiet
            if path.startswith(OWN_PREFIX):
                exchange.context.sampled = False  # kept all the same when it fails
        elif found is not None:
            allowed = ", ".join(sorted(found))
            exchange.refusal = MethodNotAllowedError(f"{path} takes {allowed}", headers={"allow": allowed})

    def _refuse(self, exchange: Exchange, method: str, headers: dict[bytes, bytes]) -> AppError | None:
        found = exchange.found
        if found is None or not found.route.quiet or found.route.permission != PUBLIC:  # keys are not to be guessed where nobody counts
            wait = self._limit.hit(limit_key(exchange.context.client), exchange.start)
            if wait:
                self._tell_once_a_minute(exchange.context.client, exchange.start)
                return RateLimitError(wait)
        guarded = found is not None or self.settings.protect_application
        if guarded and cross_site(method, headers, has_session=exchange.has_session, host=headers.get(b"host", b""), allowed_hosts=self._hosts):
            return ForbiddenError("this write did not come from the application's own pages", code="cross_site")
        if self._maintenance.on and method not in READS and not (found is not None and found.route.always):
            return ServiceUnavailableError(**MAINTENANCE)
        length = headers.get(b"content-length")
        return self._too_large(length, self.body_limit(exchange)) if length is not None else None

    def _tell_once_a_minute(self, client: str, now: float) -> None:
        if not self._told.hit(limit_key(client), now):
            log.warning("excess_rate_limit_exceeded: %s sends more than %d requests a minute", client, self._limit.limit)

    def foreign_websocket(self, headers: dict[bytes, bytes]) -> bool:
        """Tell whether another site's page opens this WebSocket with our user's cookie."""
        has_session = _SESSION in headers.get(b"cookie", b"")
        host = headers.get(b"host", b"")
        return cross_site("GET", headers, has_session=has_session, host=host, websocket=True, allowed_hosts=self._hosts)

    def body_limit(self, exchange: Exchange) -> int:
        """Return the largest body in bytes this exchange may have."""
        return exchange.found.route.max_body_bytes if exchange.found else self.settings.max_body_bytes

    @staticmethod
    def _too_large(length: bytes, limit: int) -> AppError | None:
        if not length.isdigit() or (len(length) < 19 and int(length) <= limit):
            return None
        return too_large(limit)

    def credentials(self, exchange: Exchange, headers: dict[bytes, bytes], peer: str) -> Credentials | None:
        """Return what the request shows to prove who calls; none when there is nothing to look at."""
        found = exchange.found
        if found is None:
            return Credentials(session=cookie_value(headers[b"cookie"], _SESSION)) if exchange.has_session else None
        key = _api_key(headers)
        if found.route.permission == PUBLIC and key is None and not exchange.has_session:
            return None
        method = exchange.context.method
        forwarded = b"x-forwarded-for" in headers or b"forwarded" in headers or b"x-real-ip" in headers
        return Credentials(
            session=cookie_value(headers.get(b"cookie", b""), _SESSION),
            api_key=key,
            # The Host must be local too: else a page whose name was bound to 127.0.0.1 afterwards would read as the local reader.
            local=not forwarded and is_loopback(peer) and is_local_host(headers.get(b"host", b"").decode("latin-1")),
            writes=method not in READS,
        )

    def recall(self, credentials: Credentials) -> Principal | None:
        """Return the caller when memory can tell; never blocks."""
        return self._authenticator.recall(credentials)

    def authenticate(self, credentials: Credentials) -> Principal | None:
        """Return the caller; reads storage."""
        return self._authenticator.authenticate(credentials)

    @staticmethod
    def authorise(exchange: Exchange, principal: Principal | None) -> AppError | None:
        """Return the refusal of a platform route, or none; the caller becomes part of the context."""
        context, found = exchange.context, exchange.found
        if principal is not None:
            context.principal = principal
            context.tenant = principal.tenant
        if found is None or found.route.permission == PUBLIC:
            return None
        if principal is None:
            return UnauthorizedError("sign in first", hint="sign in at /console/sign-in, or send the header X-API-Key")
        if not principal.may(found.route.permission):
            return ForbiddenError(f"this needs the permission {found.route.permission}")
        return None

    @staticmethod
    def request(exchange: Exchange, headers: dict[bytes, bytes], query: bytes, body: bytes) -> Request:
        """Return what the handler of a platform route gets."""
        context, found = exchange.context, exchange.found
        params = found.params if found else {}
        return Request(context.method, context.path, headers, context, query_string=query, body=body, params=params, secure=exchange.secure)

    # -- on the way out

    def answer(self, exchange: Exchange, error: BaseException) -> Response:
        """Return the problem+json answer to an exception; what nobody foresaw is captured and its text kept back."""
        if isinstance(error, msgspec.DecodeError):  # the parent of ValidationError
            error = from_validation(error)
        if not isinstance(error, AppError):
            self.capture(exchange, error)
            error = unexpected(exchange.context.request_id)
        elif error.status >= 500:
            self.errors.capture_exception(error)  # one warning line and no group
        headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()]
        return Response(problem(error, exchange.context.request_id), error.status, headers, content_type=PROBLEM)

    def capture(self, exchange: Exchange, error: BaseException) -> None:
        """Record an exception nobody foresaw."""
        exchange.error = error
        self.errors.capture_exception(error)

    def headers(self, exchange: Exchange, own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return an ASGI answer's headers with ours added; what the application set itself stays as it is."""
        return self._bytes_headers.added(own, exchange, light=self._is_light(exchange), request_id=exchange.context.request_id.encode())

    def text_headers(self, exchange: Exchange, own: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Do the same for a WSGI answer."""
        return self._text_headers.added(own, exchange, light=self._is_light(exchange), request_id=exchange.context.request_id)

    def _is_light(self, exchange: Exchange) -> bool:
        return exchange.found is None and exchange.refusal is None and not self.settings.protect_application

    def leave(self, exchange: Exchange, route: str | None = None) -> None:
        """Close the exchange: span, metric, access line."""
        telemetry, context = self.telemetry, exchange.context
        telemetry.in_flight -= 1
        if exchange.quiet:
            return
        seconds = self._now() - exchange.start
        label = context.route or route or UNMATCHED
        telemetry.finish(context, exchange.span, label, exchange.status, seconds, exchange.error, secure=exchange.secure)
        self.logs.access(context, exchange.status, seconds, exchange.agent)


def too_large(limit: int) -> AppError:
    """Return the refusal of a body over `limit` bytes."""
    return TooLargeError(f"the body is larger than {limit} bytes", hint="send less, or ask for the limit to be raised")


def _api_key(headers: dict[bytes, bytes]) -> str | None:
    key = headers.get(b"x-api-key")
    if key is None:
        scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
        key = value.strip() if scheme.lower() == b"bearer" else None
    return key.decode("latin-1") if key else None


def with_prefix(routes: Iterable[Route], taken: Callable[[str, str], bool]) -> tuple[list[Route], list[Route]]:
    """Return every route under `/_rakiza` and, where the host does not have the path, under its own name; and those the host has."""
    kept: list[Route] = []
    conflicts: list[Route] = []
    for route in routes:
        kept.append(msgspec.structs.replace(route, path=OWN_PREFIX + route.path))
        if any(taken(route.method, path) for path in _examples(route.path)):
            conflicts.append(route)
        else:
            kept.append(route)
    return kept, conflicts


def _examples(path: str) -> Iterator[str]:
    """Yield paths the template matches: a host's own template may take only numbers, or only words."""
    for value in _EXAMPLES if "{" in path else ("",):
        yield _FIELD.sub(value, path)
