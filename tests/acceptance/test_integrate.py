"""One call gives an application of any framework the whole platform; proven over real sockets."""

import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from rakiza import build, integrate
from rakiza._kernel import SettingsError
from rakiza.hub import ROOMS
from servers import Child, free_port

KEY = "an-operators-key-of-enough-length"
SETTINGS = f"""
settings = {{'hub': {{'home': sys.argv[2], 'name': 'site'}}, 'security': {{'ops_api_key': '{KEY}'}}, 'health': {{'drain_seconds': 1.0}}}}
"""
APPS = {
    "flask": """
from flask import Flask, Response
app = Flask('site')
@app.get('/hello/<name>')
def hello(name): return {'name': name}
@app.get('/fails')
def fails(): raise RuntimeError('hunter2')
@app.get('/conflict')
def conflict(): raise ConflictError('someone was faster')
@app.get('/metrics')
def mine(): return 'mine'
""",
    "fastapi": """
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
app = FastAPI()
@app.get('/hello/{name}')
def hello(name: str): return {'name': name}
@app.get('/fails')
async def fails(): raise RuntimeError('hunter2')
@app.get('/conflict')
async def conflict(): raise ConflictError('someone was faster')
@app.get('/metrics', response_class=PlainTextResponse)
async def mine(): return 'mine'
""",
    "starlette": """
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
async def hello(request): return JSONResponse({'name': request.path_params['name']})
async def fails(request): raise RuntimeError('hunter2')
async def conflict(request): raise ConflictError('someone was faster')
async def mine(request): return PlainTextResponse('mine')
app = Starlette(routes=[Route('/hello/{name}', hello), Route('/fails', fails), Route('/conflict', conflict), Route('/metrics', mine)])
""",
    "litestar": """
from litestar import Litestar, get
@get('/hello/{name:str}')
async def hello(name: str) -> dict[str, str]: return {'name': name}
@get('/fails')
async def fails() -> None: raise RuntimeError('hunter2')
@get('/conflict')
async def conflict() -> None: raise ConflictError('someone was faster')
@get('/metrics', media_type='text/plain')
async def mine() -> str: return 'mine'
app = Litestar([hello, fails, conflict, mine], logging_config=None)
""",
    "asgi": """
import json as js
async def app(scope, receive, send):
    if scope['type'] != 'http': raise RuntimeError('only http')
    path = scope['path']
    if path == '/fails': raise RuntimeError('hunter2')
    if path == '/conflict': raise ConflictError('someone was faster')
    body = js.dumps({'name': path.rpartition('/')[2]}).encode()
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'application/json')]})
    await send({'type': 'http.response.body', 'body': body})
""",
}
SERVE = {
    "asgi": """
from rakiza.serve import serve_uvicorn
serve_uvicorn(platform.app, platform, '127.0.0.1', int(sys.argv[1]), lambda port: print('ready', flush=True))
""",
    "wsgi": """
from werkzeug.serving import make_server
server = make_server('127.0.0.1', int(sys.argv[1]), app, threaded=True)
print('ready', flush=True)
server.serve_forever()
""",
}
START = "import sys\nfrom rakiza import integrate\nfrom rakiza.errors import ConflictError\n"


class Site:
    """An application of one framework that serves on a free port."""

    def __init__(self, child: Child, port: int, home: Path) -> None:
        self.child, self.home, self.port = child, home, port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def lines(self, kind: str, at_least: int = 0) -> list[dict[str, object]]:
        """Return the lines of a log file, once there are enough: some are written just after the answer."""
        end = time.monotonic() + 30
        while len(found := self._lines(kind)) < at_least and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def _lines(self, kind: str) -> list[dict[str, object]]:
        path = self.home / "logs" / f"site{kind}.log"
        return [json.loads(line) for line in path.read_bytes().split(b"\n") if line] if path.exists() else []


@pytest.fixture(params=list(APPS))
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(framework: str, python_process: Callable[..., Child], tmp_path: Path) -> Iterator[Site]:
    source = START + SETTINGS + APPS[framework] + "\nplatform = integrate(app, settings)\nplatform.setup_error_handlers()\n"
    source += SERVE["wsgi" if framework == "flask" else "asgi"]
    port = free_port()
    child = python_process(source, str(port), str(tmp_path / "home"), cwd=tmp_path)
    child.wait_for("ready")
    served = Site(child, port, tmp_path / "home")
    yield served
    served.client.close()


def test_the_whole_platform_stands_around_the_application(site: Site, framework: str) -> None:
    hello = site.client.get("/hello/سارة")
    assert hello.status_code == 200
    assert hello.json() == {"name": "سارة"}
    assert len(hello.headers["x-request-id"]) == 32
    assert hello.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in hello.headers
    assert [site.client.get(path).text for path in ("/livez", "/readyz", "/startupz")] == ["ok", "ready", "started"]
    assert site.client.get("/_rakiza/livez").text == "ok"
    health = site.client.get("/healthz", headers={"x-api-key": KEY}).json()
    assert health["status"] in {"pass", "warn"}
    assert {"database", "logs", "sign_in"} <= set(health["checks"])
    assert site.client.post("/api/auth/login", json={"email": "a@example.com", "password": "wrong password"}).status_code == 401

    fails = site.client.get("/fails")
    assert fails.status_code == 500
    assert fails.headers["content-type"] == "application/problem+json"
    assert fails.json()["request_id"] == fails.headers["x-request-id"]
    assert "hunter2" not in fails.text
    errors = site.lines("_errors", 1)
    assert len(errors) == 1
    assert errors[0]["request_id"] == fails.headers["x-request-id"]
    conflict = site.client.get("/conflict")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "conflict")
    assert conflict.headers["content-type"].startswith("application/problem+json")

    ours = "/metrics" if framework == "asgi" else "/_rakiza/metrics"
    metrics = site.client.get(ours, headers={"authorization": f"Bearer {KEY}"}).text
    template = {"flask": "/hello/<name>", "asgi": "unmatched"}.get(framework, "/hello/{name}")
    assert f'http_request_duration_seconds_count{{method="GET",route="{template}",status="200"}} 1.0' in metrics
    if framework != "asgi":
        assert site.client.get("/metrics").text == "mine"
        named = [line["message"] for line in site.lines("") if "stays the application's" in str(line["message"])]
        assert len(named) <= 1
    paths = ["/hello/سارة", "/api/auth/login", "/fails", "/conflict", *(["/metrics"] if framework != "asgi" else [])]
    logged = [line["path"] for line in site.lines("_requests", len(paths))]
    assert sorted(map(str, logged)) == sorted(paths)  # and none of a probe; each thread writes its line after the answer
    ids = [site.client.get("/hello/x").headers["x-request-id"] for _ in range(5)]
    assert len(set(ids)) == 5, "requests on one connection have ids of their own"


@pytest.mark.parametrize("framework", ["starlette"], indirect=True)
def test_a_slow_body_holds_nobody_up_and_sigterm_takes_readiness_away_before_the_end_and_a_second_one_ends_at_once(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port)) as slow:
        slow.sendall(b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert site.client.get("/hello/x").status_code == 200
    assert site.client.get("/readyz").status_code == 200
    site.child.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 30
    while site.client.get("/readyz").status_code == 200 and time.monotonic() < end:
        time.sleep(0.02)
    assert site.client.get("/readyz").status_code == 503
    assert site.client.get("/hello/x").status_code == 200
    site.child.process.send_signal(signal.SIGTERM)
    site.client.close()
    site.child.finish()
    assert site.child.process.returncode in {0, -signal.SIGTERM}


def test_a_taken_port_is_one_clear_line(python_process: Callable[..., Child], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        source = "import sys; from noufal.cli import main; sys.argv = ['noufal', 'serve', '--port', sys.argv[1]]; main()"
        lines = python_process(source, str(port), env={"NOUFAL_HOME": str(tmp_path)}, cwd=tmp_path).finish()
    assert [line for line in lines if line.startswith("error: ")] == [lines[-1]]
    assert f"127.0.0.1:{port}" in lines[-1]
    assert "--port" in lines[-1]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RAKIZA_WEB_RATE_LIMIT_PER_MINUT", "10", "did you mean 'RAKIZA_WEB_RATE_LIMIT_PER_MINUTE'"),
        ("RAKIZA_WEB_RATE_LIMIT_PER_MINUTE", "many", "RAKIZA_WEB_RATE_LIMIT_PER_MINUTE"),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL"),
        ("DATABASE_URL", "mysql://x/y", "sqlite:////path/file.db"),
        ("OPS_API_KEY", "short", "OPS_API_KEY"),
        ("NOUFAL_ADMIN_MAIL", "a@example.com", "did you mean 'NOUFAL_ADMIN_EMAIL'"),
    ],
)
def test_wrong_settings_stop_the_start_and_name_the_field(
    python_process: Callable[..., Child], tmp_path: Path, name: str, value: str, said: str
) -> None:
    source = "import sys; from noufal.cli import main; sys.argv = ['noufal', 'health']; main()"
    child = python_process(source, env={"NOUFAL_HOME": str(tmp_path), name: value}, cwd=tmp_path)
    lines = child.finish()
    assert child.process.returncode == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert said in lines[0]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"lgos": {"level": "DEBUG"}}, "did you mean 'logs'"),
        ({"lgos": True}, "did you mean 'logs'"),
        ({"lgos": False}, "there is no part 'lgos' to switch off; the parts are errors, logs"),
        ({"mail": "لا"}, "mail='لا' says nothing of a part"),
        ({"errors": False}, "the pass around an application needs the part 'errors', which is switched off or absent: leave it on"),
        ({"store": False}, "the part 'bus' needs the part 'store'"),
    ],
)
def test_a_part_nobody_knows_is_refused_when_it_is_named(tmp_path: Path, part: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        integrate(FastAPI(), {"hub": {"home": str(tmp_path)}}, **part)


def test_two_platforms_live_in_one_process(tmp_path: Path) -> None:
    first, second = (build({"hub": {"home": str(tmp_path / name), "name": name}, "logs": {"console": False}}, environ={}) for name in ("a", "b"))
    first.start()
    second.start()
    first.security.create_user("sara@example.com", "سارة")
    assert first.security.users_exist()
    assert not second.security.users_exist()
    first.shutdown()
    second.shutdown()


def test_a_part_can_be_switched_off_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        """Do nothing."""

    platform = integrate(app, {"hub": {"home": str(tmp_path)}}, security=False)
    assert [part.name for part in platform.parts] == [room for room in ROOMS if room != "security"]
    assert "authenticator" in platform.ctx.ports.absent()
    with pytest.raises(SettingsError, match="'sekurity'"):
        integrate(app, {"hub": {"home": str(tmp_path)}}, sekurity=False)
    with pytest.raises(ValueError, match="already"):
        platform.wrap(app)
    with pytest.raises(TypeError, match="cannot integrate int"):
        integrate(5)
