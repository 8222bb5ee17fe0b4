"""A platform without a framework that is asked as a server would ask it, under ASGI and under WSGI."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import laid
from rakiza import build
from rakiza.hub import Platform
from rakiza.web import PassCore
from rakiza.web.asgi import AsgiPass
from rakiza.web.wsgi import WsgiPass

KEY = "an-operators-key-of-enough-length"


class Reply:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class Host:
    """One platform around an application whose work a test gives."""

    def __init__(self, kind: str, home: Path, work: Callable[[], object], **telemetry: object) -> None:
        settings: dict[str, dict[str, object]] = {"hub": {"home": str(laid.home(home)), "name": "site"}, "security": {"ops_api_key": KEY}}
        self.platform: Platform = build({**settings, "telemetry": {"sample_ratio": 1.0, **telemetry}}, environ={})
        self.core = PassCore(self.platform.web, self.platform.ctx, self.platform.routes(), self.platform.start)
        self.platform._core = self.core
        self.work, self.kind = work, kind
        self.asgi = AsgiPass(self._asgi, self.core, self.platform.shutdown)
        self.wsgi = WsgiPass(self._wsgi, self.core, lambda _: "/مشروع/{code}")

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/مشروع/{code}"
        self.work()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def _wsgi(self, environ: Any, start_response: Any) -> list[bytes]:
        self.work()
        start_response("200 OK", [])
        return [b"{}"]

    def ask(self, path: str, query: str = "", **headers: str) -> Reply:
        sent = {"host": "site.example", "x-api-key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return (self._ask_asgi if self.kind == "asgi" else self._ask_wsgi)(path, query, sent)

    def _ask_asgi(self, path: str, query: str, headers: dict[str, str]) -> Reply:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": path, "headers": raw, "client": ("203.0.113.7", 1), "scheme": "http"}
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.asgi({**scope, "query_string": query.encode()}, receive, send))
        found = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))

    def _ask_wsgi(self, path: str, query: str, headers: dict[str, str]) -> Reply:
        environ: dict[str, Any] = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": path.encode().decode("latin-1"), "QUERY_STRING": query, "REMOTE_ADDR": "203.0.113.7"}
        seen: list[Any] = []

        def start(status: str, found: list[tuple[str, str]], exc_info: object = None) -> None:
            seen[:] = [int(status[:3]), dict(found)]

        answer = self.wsgi({**environ, "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http"}, start)
        body = b"".join(answer)
        answer.close()  # type: ignore[attr-defined]
        return Reply(seen[0], seen[1], body)


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(kind: str, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Return a function that makes a host; the platforms are shut down at the end."""
    made: list[Host] = []

    def make(work: Callable[[], object] = lambda: None, **telemetry: object) -> Host:
        made.append(Host(kind, tmp_path, work, **telemetry))
        return made[-1]

    yield make
    for each in made:
        each.platform.shutdown()
