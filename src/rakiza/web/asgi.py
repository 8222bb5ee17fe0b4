"""The request pass as one ASGI layer."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from rakiza._kernel import Credentials, Request, Response, request_context
from rakiza.errors import AppError, BadRequestError

from ._core import Exchange, PassCore, too_large

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
CHUNK_BYTES = 64 * 1024
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
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        core = self.core
        if core.start is not None:
            await asyncio.to_thread(core.start)  # a server without lifespan: the first request starts the platform
        headers: dict[bytes, bytes] = dict(scope["headers"])
        client = scope.get("client")
        peer = client[0] if client else ""
        exchange = core.enter(scope["method"], scope["path"], headers, peer, scope["scheme"])
        reset = request_context.set(exchange.context)
        sender = _Sender(core, exchange, send)
        try:
            refusal = exchange.refusal
            if refusal is None:
                credentials = core.credentials(exchange, headers, peer)
                if credentials is not None or exchange.found is not None:
                    refusal = await self._identify(exchange, credentials)
            if refusal is not None:
                exchange.refusal = refusal
                await self._respond(sender, core.answer(exchange, refusal))
            elif exchange.found is not None:
                await self._platform(exchange, scope, headers, receive, sender)
            else:
                await self._application(exchange, scope, headers, receive, sender)
        finally:
            request_context.reset(reset)
            core.leave(exchange, route_template(scope))

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

    async def _platform(self, exchange: Exchange, scope: Scope, headers: dict[bytes, bytes], receive: Receive, sender: "_Sender") -> None:
        core = self.core
        try:
            body = b""
            if exchange.context.method not in _BODYLESS or headers.get(b"content-length", b"0") != b"0":
                body = await self._body(exchange, receive)
            response = await self._handle(exchange, core.request(exchange, headers, scope["query_string"], body))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - border: the request pass
            response = core.answer(exchange, error)
        await self._respond(sender, response)

    async def _handle(self, exchange: Exchange, request: Request) -> Response:
        route = exchange.found.route  # type: ignore[union-attr] # only called for a platform route
        if inspect.iscoroutinefunction(route.handler) or route.inline:
            outcome = route.handler(request)
        else:
            outcome = await self.core.pool.run(route.handler, request)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    async def _body(self, exchange: Exchange, receive: Receive) -> bytes:
        limit = self.core.body_limit(exchange)
        parts: list[bytes] = []
        size = 0
        deadline = exchange.context.deadline
        try:
            async with asyncio.timeout(deadline.remaining() if deadline else None):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise BadRequestError("the client went away before its body had arrived", code="client_disconnected")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise too_large(limit)
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise BadRequestError("the body did not arrive in time", code="body_timeout") from None

    async def _application(self, exchange: Exchange, scope: Scope, headers: dict[bytes, bytes], receive: Receive, sender: "_Sender") -> None:
        core = self.core
        if b"content-length" not in headers and b"transfer-encoding" in headers:
            receive = _bounded(receive, sender, core.body_limit(exchange))
        try:
            await self.app(scope, receive, sender.send)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not sender.started:
                # An application that lost its body to the limit fails for that reason: the limit is the answer, not a fault.
                await self._respond(sender, core.answer(exchange, sender.overflow or error))
            elif sender.overflow is None:
                core.capture(exchange, error)
                if not sender.finished:
                    raise  # the server must cut the connection: half an answer is out

    async def _respond(self, sender: "_Sender", response: Response) -> None:
        chunks = _chunks(response)
        await sender.send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        if chunks is None or sender.head_only:
            await sender.send({"type": "http.response.body", "body": b"" if sender.head_only else response.body})
            return
        iterator = iter(chunks)
        while (chunk := await self.core.pool.run(next, iterator, None)) is not None:
            await sender.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await sender.send({"type": "http.response.body", "body": b""})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.core.settings.protect_application and self.core.foreign_websocket(dict(scope["headers"])):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = _Lifespan(self.core, self._stop, receive, send)
        try:
            await self.app(scope, state.receive, state.send)
        except Exception:
            if state.asked:
                raise
            await state.serve_alone()  # the application does not speak lifespan


class _Sender:
    """Add the pass's headers to the start of an answer and notice how far it got."""

    __slots__ = ("_core", "_exchange", "_send", "finished", "head_only", "overflow", "started")

    def __init__(self, core: PassCore, exchange: Exchange, send: Send) -> None:
        self._core, self._exchange, self._send = core, exchange, send
        self.started = self.finished = False
        self.overflow: AppError | None = None
        self.head_only = exchange.context.method == "HEAD"

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one gets our headers."""
        if message["type"] == "http.response.start":
            if self.overflow is not None:
                await self._replace(self.overflow)
                return
            self.started = True
            self._exchange.status = message["status"]
            message = {**message, "headers": self._core.headers(self._exchange, message.get("headers", ()))}
        elif self.overflow is not None:
            return
        elif not message.get("more_body", False):
            self.finished = True
        await self._send(message)

    async def _replace(self, error: AppError) -> None:
        """Answer for an application that lost its oversized body halfway."""
        response = self._core.answer(self._exchange, error)
        self._exchange.status = response.status
        self.started = self.finished = True
        await self._send({"type": "http.response.start", "status": response.status, "headers": self._core.headers(self._exchange, response.headers)})
        await self._send({"type": "http.response.body", "body": response.body})


def _bounded(receive: Receive, sender: _Sender, limit: int) -> Receive:
    """Count a body of unknown length; past the limit the application sees a disconnect and the client a 413."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            sender.overflow = too_large(limit)
            return {"type": "http.disconnect"}
        return message

    return counted


def _chunks(response: Response) -> Iterable[bytes] | None:
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
    """Start the platform before the application and stop it after."""

    def __init__(self, core: PassCore, stop: Callable[[], None], receive: Receive, send: Send) -> None:
        self._core, self._stop, self._receive, self._send = core, stop, receive, send
        self.asked = False

    async def receive(self) -> Message:
        """Start the platform when the server asks the application to start."""
        self.asked = True
        message = await self._receive()
        if message["type"] == "lifespan.startup" and self._core.start is not None:
            await asyncio.to_thread(self._core.start)
        return message

    async def send(self, message: Message) -> None:
        """Stop the platform when the application has stopped."""
        if message["type"].startswith("lifespan.shutdown."):
            await asyncio.to_thread(self._stop)
        await self._send(message)

    async def serve_alone(self) -> None:
        """Speak lifespan for an application that does not."""
        await self.receive()
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
    """Return the pass around a bare callable; serve it instead of the application."""
    return AsgiPass(app, core, stop)


def handle_errors(app: App) -> None:
    """Do nothing: AppErrors of a bare callable reach the pass."""
