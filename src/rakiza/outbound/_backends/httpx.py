"""Clients of httpx with the standard pipeline around every call."""

import operator
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Any, TypeVar, cast

from rakiza._kernel import deadline, time_left
from rakiza._kernel.context import expires_at
from rakiza.errors import MissingExtraError
from rakiza.outbound._core import may_repeat
from rakiza.outbound._lines import DEADLINE_HEADER, BusyError, Lines, R, later
from rakiza.outbound.settings import OutboundSettings
from rakiza.resilience import DeadlineExceededError
from rakiza.telemetry import trace_httpx

try:
    import httpcore
    import httpx

    from .network import AsyncNetwork, Network
except ImportError as error:
    raise MissingExtraError("outbound") from error

FAILURES = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)
IGNORED = (httpx.PoolTimeout,)
"""A pool of our own that is full says nothing about the host."""
COMMON: dict[str, Any] = {"max_redirects": 3, "trust_env": False}
C = TypeVar("C", httpx.Client, httpx.AsyncClient)


def lines(name: str, settings: OutboundSettings) -> Lines:
    """Return the policies of clients of httpx."""
    return Lines(name, settings, failures=FAILURES, ignored=IGNORED, status=lambda answer: cast("httpx.Response", answer).status_code)


def client(shared: Lines, **options: Any) -> httpx.Client:
    """Return a client that blocks."""
    made = httpx.Client(transport=_Transport(shared), timeout=shared.settings.attempt_seconds, **COMMON, **options)
    send = made.send

    def sent(request: httpx.Request, **options: Any) -> httpx.Response:
        with _told(shared.name):
            return send(request, **options)

    return _with(made, shared.shared(sent))


def async_client(shared: Lines, **options: Any) -> httpx.AsyncClient:
    """Return a client for an event loop."""
    made = httpx.AsyncClient(transport=_AsyncTransport(shared), timeout=shared.settings.attempt_seconds, **COMMON, **options)
    send = made.send

    async def sent(request: httpx.Request, **options: Any) -> httpx.Response:
        with _told(shared.name):
            return await send(request, **options)

    return _with(made, shared.shared(sent))


def _with(made: C, send: object) -> C:
    cast("Any", made).send = send
    return trace_httpx(made)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raise DeadlineExceededError where it was not an attempt but the whole call that took too long."""
    try:
        yield
    except httpx.TimeoutException as error:
        if time_left() != 0.0:
            raise
        raise DeadlineExceededError(f"{name}: no whole answer within the time there was") from error


def _line(shared: Lines, request: httpx.Request, run: R) -> R:
    kept = isinstance(request.stream, httpx.ByteStream)
    return shared.to(request.url.netloc.decode(), run, repeat=may_repeat(request.method, request.headers, kept=kept))


def _prepared(shared: Lines, request: httpx.Request) -> httpx.Request:
    """Tell an attempt how long it may take, and the host when it is one of ours."""
    left = time_left() or 0.0
    limits = {step: left if given is None else min(left, given) for step, given in request.extensions.get("timeout", {}).items()}
    request.extensions = {**request.extensions, "timeout": limits}
    request.headers.pop(DEADLINE_HEADER, None)
    request.headers.update(shared.told(request.url.host))
    return request


def _bounded(answer: httpx.Response) -> httpx.Response:
    """Let the body end when the call must, wherever it is read."""
    answer.extensions["network_stream"].ends_at = expires_at()
    return answer


class _Transport(httpx.HTTPTransport):
    """Be httpx's own transport on our network; httpx takes none as an argument, hence the bound on its version in `pyproject.toml`."""

    def __init__(self, shared: Lines) -> None:
        super().__init__(verify=shared.tls, trust_env=False)
        self._shared, network = shared, Network(shared.rules)
        self._pool = httpcore.ConnectionPool(shared.tls, None, shared.settings.at_once, network_backend=network)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make the call; raise what httpx raises, UnsafeAddressError, CircuitOpenError."""
        shared, send = self._shared, super().handle_request
        with ExitStack() as held:

            def attempt() -> httpx.Response:
                held.close()  # the answer of the attempt before
                with deadline(shared.settings.attempt_seconds):
                    answer = send(_prepared(shared, request))
                held.callback(answer.close)
                return shared.judged(answer, answer.headers)

            try:
                answer = _line(shared, request, operator.call)(attempt)
            except BusyError as busy:
                answer = cast("httpx.Response", busy.answer)
            held.pop_all()
        return _bounded(answer)


class _AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self, shared: Lines) -> None:
        super().__init__(verify=shared.tls, trust_env=False)
        self._shared, network = shared, AsyncNetwork(shared.rules)
        self._pool = httpcore.AsyncConnectionPool(shared.tls, None, shared.settings.at_once, network_backend=network)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make the call; raise what httpx raises, UnsafeAddressError, CircuitOpenError."""
        shared, send = self._shared, super().handle_async_request
        async with AsyncExitStack() as held:

            async def attempt() -> httpx.Response:
                await held.aclose()  # the answer of the attempt before
                with deadline(shared.settings.attempt_seconds):
                    answer = await send(_prepared(shared, request))
                held.push_async_callback(answer.aclose)
                return shared.judged(answer, answer.headers)

            try:
                answer = await _line(shared, request, later)(attempt)
            except BusyError as busy:
                answer = cast("httpx.Response", busy.answer)
            held.pop_all()
        return _bounded(answer)
