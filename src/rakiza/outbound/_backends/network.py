"""The network below httpx: connects to checked addresses only, and no step outlasts the deadline at hand."""

import ssl
from collections.abc import Iterator
from typing import Any, cast

import anyio
import httpcore

from rakiza._kernel import SYSTEM_CLOCK
from rakiza._kernel.context import NEVER, expires_at
from rakiza.outbound._core import Rules

from .lookup import look_up, look_up_later

PIECE, LONGEST_SECONDS = 16_384, 3600.0
"""Bytes sent before the clock is looked at again, as who takes them one by one must not hold us; and the longest step where nothing limits it."""
FAILED = (httpcore.ConnectError, httpcore.ConnectTimeout)
_plain, _plain_later = httpcore.SyncBackend(), httpcore.AnyIOBackend()


def _within(timeout: float | None, ends_at: float = NEVER) -> float:
    """Return the seconds a step may take; raise ReadTimeout when none are left."""
    left = min(ends_at, expires_at()) - SYSTEM_CLOCK.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the deadline has passed")
    return min(left, LONGEST_SECONDS if timeout is None else timeout)


def _turns(addresses: list[str], timeout: float | None) -> Iterator[tuple[str, float]]:
    """Yield each address with its share of the time left: one that does not answer leaves some to the next."""
    end = SYSTEM_CLOCK.monotonic() + _within(timeout)
    for rest, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        yield address, max(0.001, (end - SYSTEM_CLOCK.monotonic()) / rest)


class _Stream:
    """Be a connection of httpcore whose steps end with the deadline at hand, and its reads by `ends_at`."""

    ends_at = NEVER

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Stream(_Stream):
    """Be one that blocks."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return cast("bytes", self._stream.read(max_bytes, _within(timeout, self.ends_at)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.ends_at = NEVER  # another request begins
        for at in range(0, len(buffer), PIECE):
            self._stream.write(buffer[at : at + PIECE], _within(timeout))

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None) -> "Stream":
        return Stream(self._stream.start_tls(ssl_context, server_hostname, _within(timeout)))


class AsyncStream(_Stream):
    """Be one of an event loop."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature, as below
        return cast("bytes", await self._stream.read(max_bytes, _within(timeout, self.ends_at)))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self.ends_at = NEVER  # another request begins
        await self._stream.write(buffer, _within(timeout))

    async def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None) -> "AsyncStream":  # noqa: ASYNC109
        return AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, _within(timeout)))


class Network(httpcore.NetworkBackend):
    """Connect to checked addresses, blocking."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *more: Any, **options: Any) -> Any:
        try:
            addresses = look_up(self._rules, host, port, _within(timeout))
        except OSError as error:
            raise httpcore.ConnectError(f"{host}: {error or 'not found in time'}") from error
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, seconds in _turns(addresses, timeout):
            try:
                return Stream(_plain.connect_tcp(address, port, seconds, *more, **options))
            except FAILED as error:
                failed = error
        raise failed


class AsyncNetwork(httpcore.AsyncNetworkBackend):
    """Connect to checked addresses on an event loop."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def connect_tcp(self, host: str, port: int, timeout: float | None = None, *more: Any, **options: Any) -> Any:  # noqa: ASYNC109
        try:
            with anyio.fail_after(_within(timeout)):
                addresses = await look_up_later(self._rules, host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host}: {error or 'not found in time'}") from error
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, seconds in _turns(addresses, timeout):
            try:
                return AsyncStream(await _plain_later.connect_tcp(address, port, seconds, *more, **options))
            except FAILED as error:
                failed = error
        raise failed
