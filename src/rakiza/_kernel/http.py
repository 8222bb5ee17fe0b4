"""Neutral request, response and route: what the platform's own endpoints are written against, under ASGI and WSGI alike."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from .context import RequestContext

T = TypeVar("T")
JSON = b"application/json"
PROBLEM = b"application/problem+json"
OWN_PREFIX = "/_rakiza"
"""Where every platform route stands as well; the console's own polling comes this way and counts as nobody's traffic."""
MAX_BODY_BYTES = 1024 * 1024
_encode = msgspec.json.Encoder().encode


class Request:
    """Show a handler what came in; the body is already read."""

    __slots__ = ("body", "context", "headers", "method", "params", "path", "query_string", "secure")

    def __init__(
        self,
        method: str,
        path: str,
        headers: dict[bytes, bytes],
        context: RequestContext,
        *,
        query_string: bytes = b"",
        body: bytes = b"",
        params: dict[str, str] | None = None,
        secure: bool = False,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.context = context
        self.query_string = query_string
        self.body = body
        self.params = params or {}
        self.secure = secure

    @property
    def query(self) -> dict[str, str]:
        """Return the query's fields; the last one of a name wins."""
        return dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True))

    def header(self, name: str, default: str = "") -> str:
        """Return the header `name` (any case) as text."""
        value = self.headers.get(name.lower().encode())
        return default if value is None else value.decode("latin-1")

    def cookie(self, name: str) -> str | None:
        """Return the value of the cookie `name`, or none."""
        return cookie_value(self.headers.get(b"cookie", b""), name.encode())

    def decode(self, kind: type[T]) -> T:
        """Read the JSON body as `kind`; raise msgspec.ValidationError or msgspec.DecodeError."""
        try:
            return msgspec.json.decode(self.body or b"{}", type=kind)
        except (UnicodeDecodeError, RecursionError) as error:  # what the decoder lets through; the sender's doing all the same
            raise msgspec.DecodeError(str(error)) from None

    def decode_query(self, kind: type[T]) -> T:
        """Read the query as `kind`, texts converted; raise msgspec.ValidationError."""
        return msgspec.convert(self.query, kind, strict=False)


def cookie_value(header: bytes, name: bytes) -> str | None:
    """Return the value of cookie `name` in a Cookie header, or none."""
    if name not in header:
        return None
    for pair in header.split(b";"):
        key, _, value = pair.strip().partition(b"=")
        if key == name:
            return value.decode("latin-1")
    return None


class Response:
    """Carry a status, headers and either bytes, a file or a stream of bytes; an asynchronous stream may wait long and holds no thread under ASGI."""

    __slots__ = ("body", "file", "headers", "status", "stream")

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        content_type: bytes = JSON,
        stream: Iterable[bytes] | AsyncGenerator[bytes, None] | None = None,
        file: Path | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.stream = stream
        self.file = file
        self.headers = list(headers)
        if status != 204:
            self.headers.append((b"content-type", content_type))
        if stream is None and file is None and status != 204:
            self.headers.append((b"content-length", str(len(body)).encode()))


def json_response(data: object, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
    """Return `data` (anything msgspec encodes) as JSON."""
    return Response(_encode(data), status, headers)


Handler = Callable[[Request], Response | Awaitable[Response]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Bind a method and a path such as `/api/backup/delete/{filename}` to a handler and the permission it asks for.

    `{name}` matches one segment, `{name:path}` the rest. A handler that never blocks says `inline` and runs on the loop.
    """

    method: str
    path: str
    handler: Handler
    permission: str
    summary: str = ""
    inline: bool = False
    quiet: bool = False
    """Leave it out of access log, metrics and traces (probes)."""
    always: bool = False
    """Answer also while the data of the platform are about to be others (`Maintenance`)."""
    max_body_bytes: int = MAX_BODY_BYTES
    request_type: type | None = None
    response_type: type | None = None
