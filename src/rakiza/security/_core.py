"""Decisions about requests without I/O: cross-site rule, response headers, session cookie, tokens, back-off."""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from ipaddress import IPv6Address, ip_address

from rakiza._kernel.http import cookie_value

COOKIE = "__Host-sid"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FREE_FAILURES = 5
LOCK_FAILURES = 100
MAX_WAIT_SECONDS = 900.0
LOCK_SECONDS = 86_400.0
MAX_EMAIL = 254
MAX_NAME = 200
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def cross_site(
    method: str,
    headers: Mapping[bytes, bytes],
    *,
    has_session: bool,
    host: bytes,
    websocket: bool = False,
    allowed_hosts: Collection[bytes] = (),
) -> bool:
    """Tell whether to refuse a request as forged by another site: the rule of Go 1.25, and a session cookie with no evidence is refused too.

    `host` is the request's Host; `allowed_hosts` are the external names when a proxy rewrites it. An API key without a session
    is no ambient credential and passes.
    """
    if method in SAFE_METHODS and not websocket:
        return False
    if not has_session and b"x-api-key" in headers:
        return False
    fetch_site = headers.get(b"sec-fetch-site")
    if fetch_site:
        return fetch_site not in {b"same-origin", b"none"}
    origin = headers.get(b"origin")
    if origin:
        named = origin.partition(b"://")[2].lower()  # "null" names no host and is refused
        return not named or (named != host.lower() and named not in allowed_hosts)
    return has_session


_BASE: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    ),
    (b"origin-agent-cluster", b"?1"),
    (b"x-permitted-cross-domain-policies", b"none"),
    (b"x-dns-prefetch-control", b"off"),
)
_CSP = (
    b"default-src 'none'; script-src 'nonce-%b' 'strict-dynamic'; style-src 'self' 'nonce-%b'; img-src 'self'; font-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; "
    b"trusted-types svelte-trusted-html"
)
JSON_CSP = b"default-src 'none'; frame-ancestors 'none'"
JSON_HEADERS: tuple[tuple[bytes, bytes], ...] = ((b"content-security-policy", JSON_CSP), (b"cache-control", b"no-store"))


def base_headers(hsts: bool, preload: bool = False) -> list[tuple[bytes, bytes]]:
    """Return the headers of every page and reply; `hsts` only where HTTPS is served for good, `preload` only when the owner opts in."""
    if not hsts:
        return list(_BASE)
    value = b"max-age=63072000; includeSubDomains" + (b"; preload" if preload else b"")
    return [(b"strict-transport-security", value), *_BASE]


def html_csp(nonce: str) -> bytes:
    """Return the content security policy of a page whose scripts and styles carry `nonce` (scored 135 at the Mozilla Observatory)."""
    raw = nonce.encode("ascii")
    return _CSP % (raw, raw)


def session_cookie(token: str) -> bytes:
    """Return the Set-Cookie value that hands a browser its session."""
    return f"{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Lax".encode("ascii")


def cleared_cookie() -> bytes:
    """Return the Set-Cookie value that takes the session away."""
    return f"{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0".encode("ascii")


def session_token(cookie_header: bytes) -> str | None:
    """Return the session token of a Cookie header, or none when there is none of the right form."""
    value = cookie_value(cookie_header, COOKIE.encode())
    return value if value is not None and well_formed(value) else None


def well_formed(token: str) -> bool:
    """Tell whether `token` has the form of 256 random bits in URL-safe base64, so that garbage costs no query."""
    return _TOKEN.fullmatch(token) is not None


def token_hash(token: str) -> str:
    """Return what is stored of a token: SHA-256 in hex (256 random bits need no slow hash)."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def is_local_host(host: str) -> bool:
    """Tell whether a Host header names this machine, where browsers keep Secure cookies over plain HTTP."""
    name = host.strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback


def client_network(address: str) -> str:
    """Return the key under which an address is counted: itself, or its /64 network for IPv6 (one customer holds at least that)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"


def backoff_seconds(failures: int) -> float:
    """Return how long an account waits after so many failures in a row: nothing, then doubling to 15 minutes, a day from the hundredth on."""
    if failures < FREE_FAILURES:
        return 0.0
    if failures >= LOCK_FAILURES:
        return LOCK_SECONDS
    return min(2.0 ** (failures - FREE_FAILURES), MAX_WAIT_SECONDS)


def normal_email(text: str) -> str:
    """Return the one spelling of an e-mail address (NFKC, casefold); raise ValueError for what is none."""
    email = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.strip()).casefold())
    local, at, domain = email.rpartition("@")
    if not at or not local or not domain or "@" in local or len(email) > MAX_EMAIL:
        raise ValueError("not an e-mail address")
    if any(_unprintable(sign) or sign.isspace() for sign in email):
        raise ValueError("an e-mail address holds no spaces or control characters")
    return email


def normal_name(text: str) -> str:
    """Return a person's name (NFC, outer spaces gone); raise ValueError when empty, too long or with control characters."""
    name = unicodedata.normalize("NFC", text.strip())
    if not name or len(name) > MAX_NAME:
        raise ValueError(f"a name has 1 to {MAX_NAME} characters")
    if any(unicodedata.category(sign) in {"Cc", "Cs"} or sign in _BIDI for sign in name):
        raise ValueError("a name holds no control characters")
    return name


def _unprintable(sign: str) -> bool:
    return unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Co", "Cn"}
