"""The request pass as one WSGI layer over the same core."""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from rakiza._kernel import SYSTEM_CLOCK, LoopThread, Request, Response, request_context
from rakiza.errors import AppError, BadRequestError

from ._core import Exchange, PassCore, too_large
from .asgi import next_chunk, read_chunks

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

P = ParamSpec("P")
T = TypeVar("T")
_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_JUDGED = tuple(
    (name if name == "CONTENT_LENGTH" else f"HTTP_{name}", name.replace("_", "-").lower().encode())
    for name in (
        "AUTHORIZATION",
        "CONTENT_LENGTH",
        "COOKIE",
        "FORWARDED",
        "HOST",
        "ORIGIN",
        "SEC_FETCH_SITE",
        "TRACEPARENT",
        "TRANSFER_ENCODING",
        "USER_AGENT",
        "X_API_KEY",
        "X_DEADLINE_MS",
        "X_FORWARDED_FOR",
        "X_FORWARDED_PROTO",
        "X_REAL_IP",
    )
)
STREAM_SECONDS = 60.0
MAX_STREAMS = 2
"""Each holds a thread of the server, of which there are eight by default."""
_CONTENT = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}


class WsgiPass:
    """Wrap a WSGI application: one pass in, the application or a platform route, one pass out."""

    def __init__(
        self,
        app: "WSGIApplication",
        core: PassCore,
        route_of: "Callable[[WSGIEnvironment], str | None]" = lambda _: None,
        propagates: Callable[[], bool] = lambda: False,
    ) -> None:
        self.app = app
        self.route_of = route_of
        self._propagates = propagates
        self.core = core
        self._loop = LoopThread()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Serve one request."""
        core = self.core
        if (start := core.start) is not None:
            start()
        headers = judged_headers(environ)
        peer = environ.get("REMOTE_ADDR", "")
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        exchange = core.enter(environ["REQUEST_METHOD"], path, headers, peer, environ.get("wsgi.url_scheme", "http"))
        answer = _Answer(self, exchange, environ, start_response)
        outside = request_context.get()
        request_context.set(exchange.context)
        try:
            refusal = exchange.refusal or self._identify(exchange, headers, peer)
            if refusal is not None:
                exchange.refusal = refusal
                return answer.respond(core.answer(exchange, refusal))
            if exchange.found is not None:
                return answer.respond(self._platform(exchange, environ, headers))
            return self._application(answer, environ, headers)
        except BaseException as error:
            exchange.error = error
            answer.close()
            raise
        finally:
            # Set back, not reset by a token: the server may go on with the answer in another thread.
            request_context.set(outside)
            if exchange.span is not None:
                exchange.span.detach()

    def _identify(self, exchange: Exchange, headers: dict[bytes, bytes], peer: str) -> AppError | None:
        core = self.core
        credentials = core.credentials(exchange, headers, peer)
        principal = None
        if credentials is not None:
            try:
                principal = core.recall(credentials) or core.authenticate(credentials)
            except AppError as error:  # the store is away: nobody is let in by accident
                return error
        return core.authorise(exchange, principal)

    def _platform(self, exchange: Exchange, environ: "WSGIEnvironment", headers: dict[bytes, bytes]) -> Response:
        core = self.core
        try:
            body = read_body(environ, headers, core.body_limit(exchange))
            query = environ.get("QUERY_STRING", "").encode("latin-1")
            return core.admitted(self._handle(exchange, core.request(exchange, request_headers(environ), query, body)), MAX_STREAMS)
        except Exception as error:  # noqa: BLE001 - border: the request pass
            return core.answer(exchange, error)

    def _handle(self, exchange: Exchange, request: Request) -> Response:
        outcome = exchange.found.route.handler(request)  # type: ignore[union-attr] # only called for a platform route
        if inspect.isawaitable(outcome):
            return self._loop.call(cast("Coroutine[object, object, Response]", outcome))
        return outcome

    def drained(self, chunks: AsyncGenerator[bytes, None]) -> Iterator[bytes]:
        """Yield what an asynchronous stream gives, from the loop's thread, until the platform drains; this holds a thread of the server."""
        self.core.streams += 1
        try:
            end = SYSTEM_CLOCK.monotonic() + STREAM_SECONDS  # WSGI servers do not tell when they stop, and wait for what is open
            while not self.core.draining and SYSTEM_CLOCK.monotonic() < end and (chunk := self._loop.call(next_chunk(chunks))) is not None:
                yield chunk
        finally:
            self.core.streams -= 1
            self._loop.call(chunks.aclose())

    def _application(self, answer: "_Answer", environ: "WSGIEnvironment", headers: dict[bytes, bytes]) -> Iterable[bytes]:
        core, exchange = self.core, answer.exchange
        if b"content-length" not in headers and b"transfer-encoding" in headers:
            environ["wsgi.input"] = _BoundedInput(environ["wsgi.input"], core.body_limit(exchange))
        try:
            return answer.follow(self.app(environ, answer.start))
        except Exception as error:
            exchange.context.route = exchange.context.route or self.route_of(environ)
            if answer.started or self._propagates():
                core.capture(exchange, error)
                raise
            return answer.respond(core.answer(exchange, error))


def judged_headers(environ: "WSGIEnvironment") -> dict[bytes, bytes]:
    """Return the few headers the pass looks at; the others cost time on every request and are read by platform routes only."""
    return {name: environ[key].encode("latin-1") for key, name in _JUDGED if environ.get(key)}


def request_headers(environ: "WSGIEnvironment") -> dict[bytes, bytes]:
    """Return the request's headers as ASGI names them."""
    found: dict[bytes, bytes] = {}
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            found[key[5:].replace("_", "-").lower().encode("latin-1")] = value.encode("latin-1")
        elif key in _CONTENT and value:
            found[_CONTENT[key]] = value.encode("latin-1")
    return found


def read_body(environ: "WSGIEnvironment", headers: dict[bytes, bytes], limit: int) -> bytes:
    """Return the request's body; raise TooLargeError over the limit, BadRequestError when the client left."""
    source: InputStream = environ["wsgi.input"]
    length = headers.get(b"content-length")
    if length is None:
        body = source.read(limit + 1) if environ.get("wsgi.input_terminated") else b""
    else:
        body = source.read(min(int(length), limit + 1))
        if len(body) < min(int(length), limit + 1):
            raise BadRequestError("the client went away before its body had arrived", code="client_disconnected")
    if len(body) > limit:
        raise too_large(limit)
    return body


class _BoundedInput:
    """Refuse to read past the limit of a body of unknown length."""

    def __init__(self, source: "InputStream", limit: int) -> None:
        self._source, self._limit, self._size = source, limit, 0

    def read(self, size: int = -1) -> bytes:
        return self._count(self._source.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self._count(self._source.readline(size))

    def readlines(self, hint: int = -1) -> list[bytes]:
        return [self._count(line) for line in self._source.readlines(hint)]

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _count(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit)
        return data


class _Answer:
    """Add the pass's headers to an answer and close the exchange when its last byte was handed over."""

    __slots__ = ("_body", "_ended", "_environ", "_pass", "_start_response", "exchange", "started")

    def __init__(self, outer: WsgiPass, exchange: Exchange, environ: "WSGIEnvironment", start_response: "StartResponse") -> None:
        self._pass, self.exchange, self._environ, self._start_response = outer, exchange, environ, start_response
        self._body: Iterable[bytes] = ()
        self._ended = False
        self.started = False

    def start(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: "tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None] | None" = None,
        /,
    ) -> Callable[[bytes], object]:
        """Be the `start_response` of the application."""
        self.started = True
        self.exchange.status = int(status[:3])
        if self.exchange.context.route is None:
            self.exchange.context.route = self._pass.route_of(self._environ)
        texts = self._pass.core.text_headers(self.exchange, headers)
        return self._start_response(status, texts, exc_info) if exc_info else self._start_response(status, texts)

    def respond(self, response: Response) -> Iterable[bytes]:
        """Send a neutral response."""
        status = _REASONS.get(response.status, f"{response.status} Unknown")
        self.start(status, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers])
        if self.exchange.context.method == "HEAD":
            return self.follow([])
        if response.file is not None:
            return self.follow(read_chunks(response))
        if isinstance(response.stream, AsyncGenerator):
            return self.follow(self._pass.drained(response.stream))
        return self.follow(response.stream if response.stream is not None else [response.body])

    def follow(self, body: Iterable[bytes]) -> "_Answer":
        """Stand in for the application's iterable until the server closes it."""
        self._body = body
        return self

    def __iter__(self) -> Iterator[bytes]:
        iterator = iter(self._body)
        while (chunk := self._inside(self._next, iterator)) is not None:
            yield chunk
        self._end()

    def _next(self, iterator: Iterator[bytes]) -> bytes | None:
        try:
            return next(iterator, None)
        except Exception as error:
            self._pass.core.capture(self.exchange, error)
            raise

    def _inside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        outside = request_context.get()
        request_context.set(self.exchange.context)
        try:
            return function(*args, **kwargs)
        finally:
            request_context.set(outside)

    def close(self) -> None:
        """End the application's iterable and the exchange."""
        try:
            self._inside(cast("Any", getattr(self._body, "close", bool)))
        finally:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._pass.core.leave(self.exchange)
