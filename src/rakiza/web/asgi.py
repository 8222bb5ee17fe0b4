"""The request pass as one ASGI layer."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator, MutableMapping
from typing import Any

from rakiza._kernel import Credentials, Request, Response, describe, request_context
from rakiza.errors import AppError, BadRequestError, RequestTimeoutError

from ._core import ALREADY, Exchange, PassCore, joined_headers, too_large

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
CHUNK_BYTES = 64 * 1024
MAX_STREAMS = 200
STREAM_SECONDS = 600.0
"""How long one answer without end lasts; browsers open the next by themselves. A server that tells nobody it stops waits no longer."""
STREAM_LOOK_SECONDS = 1.0
"""How soon an answer without end notices that the platform drains."""
SLOWEST_BYTES_PER_SECOND = 1024
log = logging.getLogger(__name__)
_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


def route_template(scope: Scope) -> str | None:
    """Return the template a framework matched: Litestar leaves `path_template`, Starlette and FastAPI leave `route`."""
    template = scope.get("path_template")
    if template is None:
        template = getattr(scope.get("route"), "path", None)
    return template


class AsgiPass:
    """Wrap an ASGI application: one pass in, the application or a platform route, one pass out."""

    def __init__(self, app: App, core: PassCore, stop: Callable[[], None]) -> None:
        self.app = app
        self.core = core
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event: HTTP, WebSocket or lifespan."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        core = self.core
        if (start := core.start) is not None:
            await asyncio.to_thread(start)  # a server without lifespan: the first request starts the platform
            core.telemetry.watch_loop(asyncio.get_running_loop())
        headers = joined_headers(scope["headers"])
        client = scope.get("client")
        peer = client[0] if client else ""
        exchange = core.enter(scope["method"], scope["path"], headers, peer, scope.get("scheme", "http"))
        reset = request_context.set(exchange.context)
        sender = _Sender(core, exchange, send)
        if _has_body(exchange.context.method, headers):
            receive = _Body(receive, sender, core.body_limit(exchange), core.settings.request_timeout_seconds).receive
        try:
            ours = exchange.refusal is not None or exchange.found is not None or exchange.has_session
            if not ours or not await self._answered(exchange, scope, headers, peer, receive, sender):
                await self._application(scope, receive, sender)
        except Exception as error:  # noqa: BLE001 - border: the request pass
            exchange.context.route = exchange.context.route or route_template(scope)
            await self._failed(exchange, receive, sender, error)
        finally:
            request_context.reset(reset)
            if exchange.span is not None:
                exchange.span.detach()
            core.leave(exchange, route_template(scope))

    async def _answered(  # noqa: PLR0917 - what a connection event consists of
        self, exchange: Exchange, scope: Scope, headers: dict[bytes, bytes], peer: str, receive: Receive, sender: "_Sender"
    ) -> bool:
        """Answer a refused request or one of a platform route; tell whether that was it."""
        core = self.core
        if exchange.refusal is None:
            exchange.refusal = await self._identify(exchange, core.credentials(exchange, headers, peer))
        if exchange.refusal is not None:
            await self._respond(sender, core.answer(exchange, exchange.refusal), receive)
        elif exchange.found is not None:
            await self._respond(sender, await self._platform(exchange, scope, headers, receive, sender), receive)
        else:
            return False
        return True

    async def _failed(self, exchange: Exchange, receive: Receive, sender: "_Sender", error: Exception) -> None:
        if not sender.started:
            # An application that lost its body to a limit fails for that reason: the limit is the answer, not a fault.
            await self._respond(sender, self.core.answer(exchange, sender.lost or error), receive)
        elif sender.lost is None:
            self.core.capture(exchange, error)
            if not sender.finished:
                raise error  # the server must cut the connection: half an answer is out

    async def _identify(self, exchange: Exchange, credentials: Credentials | None) -> AppError | None:
        core = self.core
        principal = None
        if credentials is not None:
            principal = core.recall(credentials)
            if principal is None:
                try:
                    principal = await core.pool.run(core.authenticate, credentials)
                except AppError as error:  # the store is away: nobody is let in by accident
                    return error
        return core.authorise(exchange, principal)

    async def _platform(self, exchange: Exchange, scope: Scope, headers: dict[bytes, bytes], receive: Receive, sender: "_Sender") -> Response:
        body = await self._body(receive, sender) if _has_body(exchange.context.method, headers) else b""
        return self.core.admitted(await self._handle(exchange, self.core.request(exchange, headers, scope["query_string"], body)), MAX_STREAMS)

    async def _handle(self, exchange: Exchange, request: Request) -> Response:
        route = exchange.found.route  # type: ignore[union-attr] # only called for a platform route
        if inspect.iscoroutinefunction(route.handler) or route.inline:
            outcome = route.handler(request)
        else:
            outcome = await self.core.pool.run(route.handler, request)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    async def _body(self, receive: Receive, sender: "_Sender") -> bytes:
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise sender.lost or ConnectionError("the server lost the client")
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _application(self, scope: Scope, receive: Receive, sender: "_Sender") -> None:
        await self.app(scope, receive, sender.send)
        if not sender.started:
            raise sender.lost or RuntimeError("the application returned without an answer")

    async def _respond(self, sender: "_Sender", response: Response, receive: Receive) -> None:
        chunks = _chunks(response)
        await sender.send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        if chunks is None or sender.head_only:
            await sender.send({"type": "http.response.body", "body": b"" if sender.head_only else response.body})
            return
        if isinstance(chunks, AsyncGenerator):
            await self._follow(sender, chunks, receive)
            return
        with contextlib.closing(_closable(chunks)) as iterator:
            while (chunk := await self.core.pool.run(next, iterator, None)) is not None:
                await sender.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await sender.send({"type": "http.response.body", "body": b""})

    async def _follow(self, sender: "_Sender", chunks: AsyncGenerator[bytes, None], receive: Receive) -> None:
        """Send an answer without end until the client leaves or the platform drains."""
        gone = asyncio.ensure_future(_left(receive))
        coming = asyncio.ensure_future(next_chunk(chunks))
        self.core.streams += 1
        try:
            end = asyncio.get_running_loop().time() + STREAM_SECONDS
            while not gone.done() and not self.core.draining and asyncio.get_running_loop().time() < end:
                await asyncio.wait({gone, coming}, timeout=STREAM_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    chunk = coming.result()
                    if chunk is None:
                        break
                    await sender.send({"type": "http.response.body", "body": chunk, "more_body": True})
                    coming = asyncio.ensure_future(next_chunk(chunks))
        finally:
            self.core.streams -= 1
            for task in (gone, coming):
                task.cancel()
            await asyncio.wait({gone, coming})
            await chunks.aclose()
        if not gone.done() or gone.cancelled():
            await sender.send({"type": "http.response.body", "body": b""})

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        core = self.core
        if core.start is not None:
            await asyncio.to_thread(core.start)
        if core.settings.protect_application and core.foreign_websocket(joined_headers(scope["headers"])):
            log.warning("a WebSocket that a page of another site opened to %s was refused", scope["path"])
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        try:
            if self.core.start is not None:
                await asyncio.to_thread(self.core.start)
            self.core.telemetry.watch_loop(asyncio.get_running_loop())
        except Exception as error:
            log.exception("the platform did not start")
            await send({"type": "lifespan.startup.failed", "message": describe(error)})
            return
        state = _Lifespan(first, self._stop, receive, send)
        try:
            await self.app(scope, state.receive, state.send)
        except Exception:
            if state.asked:
                await asyncio.to_thread(self._stop)
                raise
        if not state.asked:
            await state.serve_alone()  # the application does not speak lifespan


class _Sender:
    """Add the pass's headers to the start of an answer and notice how far it got."""

    __slots__ = ("_core", "_exchange", "_send", "finished", "head_only", "lost", "started")

    def __init__(self, core: PassCore, exchange: Exchange, send: Send) -> None:
        self._core, self._exchange, self._send = core, exchange, send
        self.started = self.finished = False
        self.lost: AppError | None = None
        self.head_only = exchange.context.method == "HEAD"

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on; the first one gets our headers."""
        if message["type"] == "http.response.start":
            if self.lost is not None:
                return self._replace(self.lost)
            self.started = True
            self._exchange.status = message["status"]
            message = {**message, "headers": self._core.headers(self._exchange, message.get("headers", ()))}
        elif self.lost is not None:
            return _nothing()
        elif not message.get("more_body", False):
            self.finished = True
        return self._send(message)

    async def _replace(self, error: AppError) -> None:
        """Answer for an application that lost its body halfway."""
        response = self._core.answer(self._exchange, error)
        self._exchange.status = response.status
        self.started = self.finished = True
        await self._send({"type": "http.response.start", "status": response.status, "headers": self._core.headers(self._exchange, response.headers)})
        await self._send({"type": "http.response.body", "body": response.body})


async def _nothing() -> None:
    """Swallow a part of an answer that was replaced."""


def _has_body(method: str, headers: dict[bytes, bytes]) -> bool:
    length = headers.get(b"content-length")
    return length != b"0" if length is not None else method not in _BODYLESS or b"transfer-encoding" in headers


class _Body:
    """Let a body through within its size and speed; past either the application sees a disconnect and the client why."""

    __slots__ = ("_began", "_ended", "_limit", "_receive", "_seconds", "_sender", "_size")

    def __init__(self, receive: Receive, sender: _Sender, limit: int, seconds: float) -> None:
        self._receive, self._sender, self._limit, self._seconds = receive, sender, limit, seconds
        self._size = 0
        self._ended = False
        self._began = asyncio.get_running_loop().time()

    async def receive(self) -> Message:
        """Return the next event; after the body's end wait for the client to leave, however long."""
        if self._ended:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._began + self._seconds + self._size / SLOWEST_BYTES_PER_SECOND):
                message = await self._receive()
        except TimeoutError:
            return self._lose(RequestTimeoutError("the body did not arrive in time"))
        if message["type"] == "http.disconnect":
            return self._lose(BadRequestError("the client went away before its body had arrived", code="client_disconnected"))
        self._size += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message if self._size <= self._limit else self._lose(too_large(self._limit))

    def _lose(self, error: AppError) -> Message:
        self._ended = True
        self._sender.lost = error
        return {"type": "http.disconnect"}


def _closable(chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Yield the chunks; closing this closes them when they can be closed, so that a client that left frees a file or a cursor."""
    try:
        yield from chunks
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()


async def _left(receive: Receive) -> None:
    """Wait until the client has gone; what else it sends is of no interest any more."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def next_chunk(chunks: AsyncGenerator[bytes, None]) -> bytes | None:
    """Return what comes next, none at the end."""
    return await anext(chunks, None)


def _chunks(response: Response) -> Iterable[bytes] | AsyncGenerator[bytes, None] | None:
    if response.file is not None:
        return read_chunks(response)
    return response.stream


def read_chunks(response: Response) -> Iterator[bytes]:
    """Yield the file of a response in pieces."""
    if response.file is None:
        return
    with response.file.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


class _Lifespan:
    """Hand the application the event that started the platform, and stop the platform after the application."""

    def __init__(self, first: Message, stop: Callable[[], None], receive: Receive, send: Send) -> None:
        self._first: Message | None = first
        self._stop, self._receive, self._send = stop, receive, send

    @property
    def asked(self) -> bool:
        """Tell whether the application took the first event."""
        return self._first is None

    async def receive(self) -> Message:
        """Return the first event, then those of the server."""
        first, self._first = self._first, None
        return first if first is not None else await self._receive()

    async def send(self, message: Message) -> None:
        """Stop the platform when the application has stopped, or did not start."""
        if message["type"].startswith(("lifespan.shutdown.", "lifespan.startup.failed")):
            await asyncio.to_thread(self._stop)
        await self._send(message)

    async def serve_alone(self) -> None:
        """Speak lifespan for an application that does not."""
        await self._send({"type": "lifespan.startup.complete"})
        await self._receive()
        await self.send({"type": "lifespan.shutdown.complete"})


def config(app: App) -> dict[str, object]:
    """Return no settings: a bare callable has none."""
    return {}


def takes(app: App, method: str, path: str) -> bool:
    """Tell that a bare callable cannot be asked which paths it has."""
    return False


def install(app: App, core: PassCore, start: Callable[[], None], stop: Callable[[], None]) -> AsgiPass:
    """Return the pass around a bare callable; serve it instead of the application. Raises ValueError for one that is such a pass."""
    if isinstance(app, AsgiPass):
        raise ValueError(ALREADY)
    return AsgiPass(app, core, stop)


def handle_errors(app: App) -> None:
    """Do nothing: AppErrors of a bare callable reach the pass."""
