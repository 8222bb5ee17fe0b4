"""Clients for outgoing calls, by the settings of the platform."""

from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import msgspec

from rakiza._kernel import service_at_hand

from ._lines import Lines
from .settings import OutboundSettings

if TYPE_CHECKING:
    import aiohttp
    import httpx


class ClientOptions(TypedDict, total=False):
    """Name what a client may have of its own: headers, up to three redirects followed, and fields of OutboundSettings."""

    headers: Mapping[str, str]
    follow_redirects: bool
    total_seconds: float
    attempt_seconds: float
    attempts: int
    at_once: int
    queue: int
    internal_hosts: tuple[str, ...]
    allowed_networks: tuple[str, ...]
    ports: tuple[int, ...]
    ca_file: str


class Outbound:
    """Make clients; those of one name and the same options share their places, their retries and their circuit breakers.

    `name` stands for one kind of call of one service, as `bank-statements`: breakers are by name and host, and one endpoint that fails
    must not close the others. A client is to be kept, and closed at the end. Methods raise ValueError for settings that are none.
    """

    def __init__(self, settings: OutboundSettings | None = None) -> None:
        self.settings = settings or OutboundSettings()
        self._lines: dict[tuple[str, object], Lines] = {}
        self._lock = Lock()

    def http_client(self, name: str, base_url: str = "", **options: Unpack[ClientOptions]) -> "httpx.Client":
        """Return a client of httpx that blocks; raise MissingExtraError."""
        from ._backends import httpx as backend

        return backend.client(**self._known(name, backend.lines, base_url, options))

    def async_http_client(self, name: str, base_url: str = "", **options: Unpack[ClientOptions]) -> "httpx.AsyncClient":
        """Return a client of httpx for one event loop; raise MissingExtraError."""
        from ._backends import httpx as backend

        return backend.async_client(**self._known(name, backend.lines, base_url, options))

    def aiohttp_session(self, name: str, base_url: str = "", **options: Unpack[ClientOptions]) -> "aiohttp.ClientSession":
        """Return a session of aiohttp for the event loop that runs; raise MissingExtraError."""
        from ._backends import aiohttp as backend

        return backend.session(**self._known(name, backend.lines, base_url, options))

    def _known(self, name: str, make: Callable[[str, OutboundSettings], Lines], base_url: str, options: ClientOptions) -> dict[str, Any]:
        given: dict[str, Any] = {"base_url": base_url, "headers": {}, "follow_redirects": False, **options}
        own = {field: given.pop(field) for field in options if field not in {"headers", "follow_redirects"}}
        settings = msgspec.convert({**msgspec.structs.asdict(self.settings), **own}, OutboundSettings)
        with self._lock:
            lines = self._lines.get((name, make))
            if lines is None or lines.settings != settings:
                lines = self._lines[name, make] = make(name, settings)
        return {"shared": lines, **given}


@cache
def _without_platform() -> Outbound:
    return Outbound()


def _at_hand() -> Outbound:
    return service_at_hand("outbound", Outbound) or _without_platform()


def http_client(name: str, base_url: str = "", **options: Unpack[ClientOptions]) -> "httpx.Client":
    """Return a client of httpx that blocks, by the settings of the platform at hand; see `Outbound`."""
    return _at_hand().http_client(name, base_url, **options)


def async_http_client(name: str, base_url: str = "", **options: Unpack[ClientOptions]) -> "httpx.AsyncClient":
    """Return a client of httpx for one event loop, by the settings of the platform at hand; see `Outbound`."""
    return _at_hand().async_http_client(name, base_url, **options)


def aiohttp_session(name: str, base_url: str = "", **options: Unpack[ClientOptions]) -> "aiohttp.ClientSession":
    """Return a session of aiohttp for the event loop that runs, by the settings of the platform at hand; see `Outbound`."""
    return _at_hand().aiohttp_session(name, base_url, **options)
