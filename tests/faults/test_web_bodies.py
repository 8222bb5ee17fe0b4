"""Bodies that come slowly, without end or not at all, on real sockets; who runs an application by its name."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from servers import Child, free_port

APPS = {
    "starlette": """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def take(request): return JSONResponse({'size': len(await request.body())})
app = Starlette(routes=[Route('/take', take, methods=['POST'])])
""",
    "fastapi": """
from fastapi import FastAPI, Request
app = FastAPI()
@app.post('/take')
async def take(request: Request): return {'size': len(await request.body())}
""",
    "litestar": """
from litestar import Litestar, Request, post
@post('/take', status_code=200)
async def take(request: Request) -> dict[str, int]: return {'size': len(await request.body())}
app = Litestar([take], logging_config=None)
""",
    "asgi": """
import json
async def app(scope, receive, send):
    if scope['type'] != 'http': return
    size, more = 0, True
    while more:
        message = await receive()
        if message['type'] == 'http.disconnect': return
        size, more = size + len(message['body']), message['more_body']
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'application/json')]})
    await send({'type': 'http.response.body', 'body': json.dumps({'size': size}).encode()})
""",
}
SERVE = """
import sys
from rakiza import integrate
from rakiza.serve import serve_uvicorn
settings = {'hub': {'home': sys.argv[2], 'name': 'site'}, 'web': {'request_timeout_seconds': 0.5, 'max_body_bytes': 100_000}}
platform = integrate(app, settings)
serve_uvicorn(platform.app, platform, '127.0.0.1', int(sys.argv[1]), lambda port: print('ready', flush=True))
"""


@pytest.fixture(scope="module", params=list(APPS))
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port, folder = free_port(), tmp_path_factory.mktemp("site")
    with Child(APPS[request.param] + SERVE, str(port), str(folder / "home"), cwd=folder) as child:
        child.wait_for("ready")
        yield port
    errors = folder / "home/logs/site_errors.log"
    assert not errors.exists() or errors.read_text() == ""


def send(port: int, *pieces: bytes) -> tuple[int, dict[str, object]]:
    """Send the pieces on a connection of their own and read the whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while b"}" not in answer:
            part = connection.recv(65536)
            assert part, answer
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])


def head(path: str, length: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: site\r\ncontent-type: application/json\r\n{length}\r\n\r\n".encode()


@pytest.mark.parametrize("path", ["/take", "/api/auth/login"])
def test_a_body_that_does_not_arrive_is_given_up_and_others_are_served(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as other:
        other.sendall(head(path, "content-length: 100") + b"{")
        assert httpx.post(f"http://127.0.0.1:{port}/take", content=b"x" * 10).json() == {"size": 10}
    status, problem = send(port, head(path, "content-length: 100"), b"{")
    assert (status, problem["code"]) == (408, "body_timeout")


def test_a_body_without_end_is_refused_at_the_limit(port: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (1000, b"x" * 1000)
    assert send(port, head("/take", "transfer-encoding: chunked"), *[chunk] * 90, b"0\r\n\r\n") == (200, {"size": 90_000})
    status, problem = send(port, head("/take", "transfer-encoding: chunked"), *[chunk] * 101)
    assert (status, problem["code"]) == (413, "too_large")


def test_a_client_that_leaves_is_no_fault(port: int) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as leaving:
            leaving.sendall(head("/api/auth/login", "content-length: 100") + b"{")
    assert httpx.get(f"http://127.0.0.1:{port}/livez").text == "ok"


FLASK = """
from flask import Flask
from rakiza import integrate
app = Flask('site')
integrate(app, {'hub': {'home': 'home', 'name': 'site'}})
@app.get('/hello')
def hello(): return {'name': 'سارة'}
"""


def test_a_flask_application_is_served_by_its_name_and_said_when_it_cannot(python_process: Callable[..., Child], tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(FLASK)
    source = "import sys; from rakiza.cli import main; sys.argv[0] = 'rakiza'; main()"

    def told(*arguments: str) -> list[str]:
        return python_process(source, "serve", *arguments, cwd=tmp_path).finish()

    assert told("site_app:none")[-1].startswith("error: cannot serve 'site_app:none'")
    assert "use --server granian" in told("site_app:app", "--server", "uvicorn")[-1]
    port = free_port()
    child = python_process(source, "serve", "site_app:app", "--port", str(port), cwd=tmp_path)
    with httpx.Client(transport=httpx.HTTPTransport(retries=8), base_url=f"http://127.0.0.1:{port}") as client:
        assert client.get("/hello").json() == {"name": "سارة"}
        assert client.get("/readyz").text == "ready"
    child.process.terminate()
    child.finish()
