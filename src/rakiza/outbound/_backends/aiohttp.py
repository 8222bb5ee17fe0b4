"""Sessions of aiohttp with the standard pipeline around every call."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

from rakiza.errors import MissingExtraError
from rakiza.outbound._core import Rules, address_of, may_repeat
from rakiza.outbound._lines import DEADLINE_HEADER, BusyError, Lines, later
from rakiza.outbound.settings import OutboundSettings
from rakiza.telemetry import client_span

from .lookup import checked, look_up_later

try:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult
except ImportError as error:
    raise MissingExtraError("aiohttp") from error

FAILURES = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
TRIED_AGAIN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""After these a session itself would send the call once more, past the pipeline."""
Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]


def lines(name: str, settings: OutboundSettings) -> Lines:
    """Return the policies of sessions of aiohttp."""
    return Lines(name, settings, failures=FAILURES, ignored=(), status=lambda answer: cast("aiohttp.ClientResponse", answer).status, cancels=True)


def session(shared: Lines, base_url: str, headers: Mapping[str, str], *, follow_redirects: bool) -> aiohttp.ClientSession:
    """Return a session; call it where its event loop runs."""
    total, told = aiohttp.ClientTimeout(total=shared.settings.total_seconds), aiohttp.TraceConfig()
    if not follow_redirects:
        told.on_request_redirect.append(_refuse)
    given: dict[str, Any] = {"headers": headers, "middlewares": (_pipeline(shared),), "timeout": total, "trace_configs": [told]}
    return aiohttp.ClientSession(base_url or None, connector=_Connector(shared), **given)


async def _refuse(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams) -> None:
    """End a call that is redirected: a session follows unless each call says otherwise."""
    params.response.close()
    why = "redirects are not followed: pass allow_redirects=False to see them"
    raise aiohttp.TooManyRedirects(params.response.request_info, (params.response,), message=why)


class _Resolver(AbstractResolver):
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of a host that may be called."""
        found = [(text, socket.AF_INET6 if ":" in text else socket.AF_INET) for text in await look_up_later(self._rules, host, port)]
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [ResolveResult(hostname=host, host=text, port=port, family=kind, proto=0, flags=flags) for text, kind in found]

    async def close(self) -> None:
        """Hold nothing."""


class _Connector(aiohttp.TCPConnector):
    """Connect to checked addresses only, those written in a URL too, which no resolver sees."""

    def __init__(self, shared: Lines) -> None:
        super().__init__(resolver=_Resolver(shared.rules), limit=shared.settings.at_once, ssl=shared.tls)
        self._rules = shared.rules

    async def connect(self, req: aiohttp.ClientRequest, *more: Any, **options: Any) -> Any:
        for url in filter(None, (req.url, req.proxy)):
            if address_of(host := url.host or "") is not None:
                checked(self._rules, host, url.port or 0, [host])
        return await super().connect(req, *more, **options)


def _pipeline(shared: Lines) -> Callable[[aiohttp.ClientRequest, Handler], Awaitable[aiohttp.ClientResponse]]:
    @shared.shared
    async def piped(req: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        kept = not req.body or isinstance(req.body, aiohttp.BytesPayload)
        line = shared.to(req.url.host_port_subcomponent or "", later, repeat=may_repeat(req.method, req.headers, kept=kept))
        with client_span(req.method, str(req.url)) as told, ExitStack() as held:

            async def attempt() -> aiohttp.ClientResponse:
                held.close()  # the answer of the attempt before
                req.headers.popall(DEADLINE_HEADER, None)
                req.headers.update({**told, **shared.told(req.url.raw_host or "")})
                answer = await handler(req)
                held.callback(answer.close)
                return shared.judged(answer, answer.headers)

            try:
                answer = await line(attempt)
            except BusyError as busy:
                answer = cast("aiohttp.ClientResponse", busy.answer)
            except aiohttp.ClientConnectorError:
                raise
            except TRIED_AGAIN as error:
                raise aiohttp.ClientConnectionError(str(error)) from error
            held.pop_all()
            told.status = answer.status
        return answer

    return piped
