"""Outgoing HTTP calls: clients of httpx and aiohttp that end in time, try again where they may, and reach no address inside by mistake.

    from rakiza.outbound import UnsafeAddressError, http_client

    with http_client("partners", attempts=2) as partners:    # in a platform: platform.outbound.http_client("partners")
        try:
            partners.get("http://localhost/فاتورة")          # a host that somebody else has named
        except UnsafeAddressError as refused:
            assert refused.kind == "loopback"

Each call has a total deadline, a place among those at once, retries when it may be repeated, a circuit breaker for its host, and a limit
for each attempt; it carries the trace on. The address is checked after the name was looked up, and connected to without asking again.
"""

from .errors import UnsafeAddressError
from .part import part
from .service import ClientOptions, Outbound, aiohttp_session, async_http_client, http_client
from .settings import OutboundSettings

__all__ = [
    "ClientOptions", "Outbound", "OutboundSettings", "UnsafeAddressError", "aiohttp_session", "async_http_client", "http_client", "part",
]
