"""Look a host up once and give its addresses only when all of them may be called; who connects uses these and asks for none again."""

import asyncio
import logging
import socket
from collections.abc import Collection
from concurrent.futures import Future

from rakiza._kernel import WorkerPool
from rakiza.outbound._core import Rules, address_of
from rakiza.outbound.errors import UnsafeAddressError

log = logging.getLogger("rakiza.outbound")
_pool = WorkerPool(8)
"""Threads that look names up: the C library cannot be told when to give up, so nobody waits in it himself."""


def _asked(host: str, port: int) -> "Future[list[str]]":
    """Return what the name will be; an address is what it says and needs no thread."""
    if address_of(host) is None:
        return _pool.submit(lambda: [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
    known: Future[list[str]] = Future()
    known.set_result([host])
    return known


def checked(rules: Rules, host: str, port: int, found: Collection[str]) -> list[str]:
    """Return the addresses of a host that may be called; log a refusal, whose answer does not tell the address, and raise it."""
    try:
        return rules.checked(host, port, found)
    except UnsafeAddressError as refused:
        log.warning("%s; %s", refused, refused.remedy)
        raise


def look_up(rules: Rules, host: str, port: int, timeout_seconds: float) -> list[str]:
    """Return the addresses of `host` to connect to; raise UnsafeAddressError, OSError for an unknown name, TimeoutError; blocks."""
    asked = _asked(host, port)
    try:
        return checked(rules, host, port, asked.result(timeout_seconds))
    finally:
        asked.cancel()  # one that waits for a thread; one that has it ends by itself


async def look_up_later(rules: Rules, host: str, port: int) -> list[str]:
    """Do the same on an event loop, for as long as the caller waits."""
    found: list[str] = await asyncio.wrap_future(_asked(host, port))
    return checked(rules, host, port, found)
