"""What stays the application's own on every framework, and what the platform does when an application misbehaves."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar, get
from litestar import Response as LitestarResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from rakiza import Platform, integrate
from rakiza._kernel import current
from rakiza.telemetry import get_tracer
from servers import Child

PROBLEM = "application/problem+json"
KEY = "an-operators-key-of-enough-length"
Make = Callable[..., Platform]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Platform] = []

    def make(app: object, **parts: Any) -> Platform:
        platform = integrate(app, {"hub": {"home": str(tmp_path), "name": "site"}, "logs": {"console": False}}, **parts)
        made.append(platform)
        platform.start()
        return platform

    yield make
    for platform in made:
        platform.shutdown()


def ask(app: Any, path: str, method: str = "GET", **more: Any) -> httpx.Response:
    """Send one request to an application of any framework."""
    if isinstance(app, Flask):
        reply = app.test_client().open(path, method=method, data=more.get("content"))
        return httpx.Response(reply.status_code, headers=list(reply.headers), content=reply.data)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://site.example") as client:
            return await client.request(method, path, **more)

    return asyncio.run(send())


def errors(platform: Platform) -> list[dict[str, Any]]:
    path = platform.logs.folder / "site_errors.log"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def flask_app() -> Flask:
    app = Flask("site")

    @app.get("/fails")
    def fails() -> str:
        raise RuntimeError("hunter2")

    return app


def fastapi_app() -> FastAPI:
    app = FastAPI()

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("hunter2")

    return app


def starlette_app() -> Starlette:
    async def fails(_: Request) -> PlainTextResponse:
        raise RuntimeError("hunter2")

    return Starlette(routes=[Route("/fails", fails)])


def litestar_app(**more: Any) -> Litestar:
    @get("/fails")
    async def fails() -> None:
        raise RuntimeError("hunter2")

    return Litestar([fails], logging_config=None, **more)


APPS = {"flask": flask_app, "fastapi": fastapi_app, "starlette": starlette_app, "litestar": litestar_app}


@pytest.fixture(params=list(APPS))
def app(request: pytest.FixtureRequest) -> Any:
    return APPS[request.param]()


def test_what_nobody_foresaw_is_one_problem_and_one_record(app: Any, make: Make) -> None:
    platform = make(app)
    reply = ask(app, "/fails")
    assert (reply.status_code, reply.headers["content-type"]) == (500, PROBLEM)
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert "hunter2" not in reply.text
    assert [line["exception"]["message"] for line in errors(platform)] == ["hunter2"]
    assert platform.errors.total == 1
    assert ask(app, "/nothing").status_code == 404
    assert platform.errors.total == 1


def test_an_application_is_integrated_once(app: Any, make: Make) -> None:
    make(app)
    with pytest.raises(ValueError, match="call integrate\\(\\) once"):
        make(app)


def test_the_pass_of_a_bare_callable_is_not_wrapped_again(make: Make) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        """Answer nothing."""

    platform = make(bare)
    with pytest.raises(ValueError, match="once"):
        make(platform.app)
    assert ask(platform.app, "/silent").json()["code"] == "internal_error"
    assert "without an answer" in errors(platform)[0]["exception"]["message"]


def test_an_applications_own_last_resort_stays(make: Make) -> None:
    flask = flask_app()
    litestar = litestar_app(exception_handlers={Exception: lambda *_: LitestarResponse("ours", status_code=503, media_type="text/plain")})
    flask.register_error_handler(500, lambda _: ("ours", 503))
    starlette = starlette_app()
    starlette.add_exception_handler(500, lambda *_: PlainTextResponse("ours", 503))
    for app in (flask, litestar, starlette):
        make(app)
        assert (ask(app, "/fails").status_code, ask(app, "/fails").text) == (503, "ours")


def test_a_debugger_and_a_test_client_get_the_exception_itself(make: Make) -> None:
    app = flask_app()
    app.testing = True
    platform = make(app)
    with pytest.raises(RuntimeError, match="hunter2"):
        ask(app, "/fails")
    assert platform.errors.total == 1
    assert current() is None


def test_middleware_and_handlers_may_be_added_after_the_call(make: Make) -> None:
    app = starlette_app()
    make(app)
    app.add_exception_handler(RuntimeError, lambda *_: PlainTextResponse("later", 418))
    assert ask(app, "/fails").text == "later"


def test_a_hosts_own_template_stays_its_own_and_is_named(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def mine(_: Request) -> PlainTextResponse:
        return PlainTextResponse("mine")

    @get("/healthz/{name:str}")
    async def mine_too() -> str:
        return "mine"

    flask = Flask("site")
    flask.add_url_rule("/healthz/<name>", view_func=lambda name: "mine", endpoint="mine")
    for app in (Starlette(routes=[Route("/healthz/{name}", mine)]), Litestar([mine_too], logging_config=None, openapi_config=None), flask):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            make(app)
        named = [record.message for record in caplog.records if "stays the application's" in record.message]
        assert named == ["GET /healthz/{component} stays the application's; ours is at /_rakiza/healthz/{component}"]
        assert ask(app, "/healthz/database").text == "mine"
        assert ask(app, "/_rakiza/healthz/database").status_code == 401


def test_the_last_resort_of_a_single_page_application_claims_no_probe(make: Make, tmp_path: Path) -> None:
    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse("page")

    flask = Flask("site")
    flask.add_url_rule("/<path:rest>", view_func=lambda rest: "page", endpoint="page")
    for app in (Starlette(routes=[Mount("/", PlainTextResponse("page"))]), Starlette(routes=[Route("/{rest:path}", page)]), flask):
        make(app)
        assert ask(app, "/livez").text == "ok"
        assert ask(app, "/anything").text == "page"


def test_what_the_application_set_itself_stays(make: Make) -> None:
    async def own(_: Request) -> PlainTextResponse:
        return PlainTextResponse("x", headers={"X-Frame-Options": "SAMEORIGIN", "Cache-Control": "public", "X-Request-ID": "mine"})

    app = Starlette(routes=[Route("/own", own)])
    make(app, web={"protect_application": True})
    headers = ask(app, "/own").headers
    assert [headers.get_list(name) for name in ("x-frame-options", "cache-control", "x-request-id")] == [["SAMEORIGIN"], ["public"], ["mine"]]
    assert headers["cross-origin-opener-policy"] == "same-origin"


def test_not_modified_and_streams_pass_through(make: Make) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number
            await asyncio.sleep(0)

    from starlette.responses import Response, StreamingResponse

    async def same(_: Request) -> Response:
        return Response(status_code=304, headers={"etag": '"1"'})

    async def stream(_: Request) -> StreamingResponse:
        return StreamingResponse(pieces())

    app = Starlette(routes=[Route("/same", same), Route("/stream", stream)])
    make(app)
    same_reply = ask(app, "/same")
    assert (same_reply.status_code, same_reply.content, same_reply.headers["etag"]) == (304, b"", '"1"')
    assert len(same_reply.headers["x-request-id"]) == 32
    assert ask(app, "/stream").text == "012"
    assert ask(app, "/stream", "HEAD").status_code == 200


async def _websocket(app: Any, **headers: str) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "سلام"}, {"type": "websocket.disconnect", "code": 1000}]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in {"host": "site.example", **headers}.items()]
    scope = {"type": "websocket", "path": "/ws", "headers": raw, "query_string": b"", "client": ("1.1.1.1", 1), "scheme": "ws", "root_path": ""}
    await app({**scope, "subprotocols": [], "extensions": {}}, receive, send)
    return sent


def test_a_websocket_passes_and_one_from_another_site_does_not(make: Make) -> None:
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    app = Starlette(routes=[WebSocketRoute("/ws", echo)])
    make(app, web={"protect_application": True})
    cookie = "__Host-sid=abc"
    fine = asyncio.run(_websocket(app, cookie=cookie, origin="https://site.example"))
    assert [message["type"] for message in fine] == ["websocket.accept", "websocket.send"]
    assert fine[1]["text"] == "سلام"
    for foreign in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}, {}):
        assert asyncio.run(_websocket(app, cookie=cookie, **foreign)) == [{"type": "websocket.close", "code": 1008}]


async def _lifespan(app: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return sent


def integrated(app: object, home: Path) -> Platform:
    return integrate(app, {"hub": {"home": str(home), "name": "site"}, "logs": {"console": False}})


def test_the_platform_starts_before_the_application_and_ends_after_it(tmp_path: Path) -> None:
    seen: list[str] = []
    platforms: list[Platform] = []

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        seen.append(f"start {platforms[0].health.ready}")
        yield
        seen.append(f"stop {platforms[0]._running}")

    app = Starlette(lifespan=life)
    platforms.append(integrated(app, tmp_path))
    assert [message["type"] for message in asyncio.run(_lifespan(app))] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert seen == ["start True", "stop True"]
    assert not platforms[0]._running


@pytest.mark.parametrize("speaks", ["raises", "returns"])
def test_an_application_without_lifespan_is_started_and_stopped(speaks: str, tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if speaks == "raises":
            raise RuntimeError("only http")

    platform = integrated(app, tmp_path)
    assert [message["type"] for message in asyncio.run(_lifespan(platform.app))] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not platform._running


def test_an_application_that_does_not_start_leaves_nothing_running(tmp_path: Path) -> None:
    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        raise OSError("no printer")
        yield

    app = Starlette(lifespan=life)
    platform = integrated(app, tmp_path)
    with pytest.raises(OSError, match="no printer"):
        asyncio.run(_lifespan(app))
    assert not platform._running


def test_a_platform_that_does_not_start_says_why(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("must not be asked")

    platform = integrate(app, {"hub": {"home": str(tmp_path)}, "logs": {"console": False}, "store": {"database_url": f"sqlite:///{tmp_path}"}})
    sent = asyncio.run(_lifespan(platform.app))
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert sent[0]["message"]
    platform.shutdown()


def test_a_preloaded_application_works_in_forked_workers(python_process: Callable[..., Child], tmp_path: Path) -> None:
    source = """
import os, sys, json
from flask import Flask
from rakiza import integrate
app = Flask('site')
platform = integrate(app, {'hub': {'home': sys.argv[1], 'name': 'site'}, 'health': {'good_seconds': 0.2}})
platform.security.create_user('sara@example.com', 'سارة')
app.test_client().get('/parent').close()
for number in range(2):
    pid = os.fork()
    if pid == 0:
        import time
        before = [seen.at for seen in platform.health.observations()]
        client = app.test_client()
        assert client.get('/readyz').status_code == 200
        refused = client.post('/api/auth/login', json={'email': 'sara@example.com', 'password': 'a wrong one'})
        refused.close()
        assert refused.status_code == 401
        end = time.monotonic() + 10
        while any(seen.at in before for seen in platform.health.observations()) and time.monotonic() < end: time.sleep(0.02)
        fresh = all(seen.at not in before and seen.result.status != 'fail' for seen in platform.health.observations())
        client.get(f'/child{number}').close()
        platform.shutdown()
        os._exit(0 if fresh else 9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, 'a child failed'
app.test_client().get('/parent-again').close()
platform.shutdown()
print('paths', json.dumps(sorted(json.loads(line)['path'] for line in open(sys.argv[1] + '/logs/site_requests.log'))))
"""
    lines = python_process(source, str(tmp_path / "home"), cwd=tmp_path).finish()
    told = [line for line in lines if line.startswith("paths ")]
    assert told, lines
    assert json.loads(told[0].removeprefix("paths ")) == ["/api/auth/login", "/api/auth/login", "/child0", "/child1", "/parent", "/parent-again"]



@pytest.mark.parametrize("kind", [FastAPI, Starlette])
def test_a_failed_request_is_one_trace_with_all_it_did(make: Make, kind: type[Starlette]) -> None:
    def pay(request: Request) -> None:
        with get_tracer("site").start_as_current_span("صرف الدفعة"), platform.store.read() as tx:
            tx.execute(sa.text("SELECT 7"))
        raise RuntimeError("تعذر الصرف")

    app = kind(routes=[Route("/pay/{number}", pay)])
    platform = make(app, telemetry={"sample_ratio": 0.0}, security={"ops_api_key": KEY})
    trace_id = ask(app, "/pay/12").headers["x-request-id"]
    platform.tracer.flush()
    listed = ask(app, "/api/traces", headers={"x-api-key": KEY}).json()["items"]
    assert [(item["trace_id"], item["spans"], item["status"]) for item in listed] == [(trace_id, 3, 500)]
