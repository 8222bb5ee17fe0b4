"""A process that is told to stop: readiness goes first, requests are served on, then it ends; on uvicorn and on granian."""

import http.client
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import servers

Process = Callable[..., servers.Child]
APP = """
import asyncio
from fastapi import FastAPI
from rakiza import integrate
app = FastAPI()
@app.get('/slow')
async def slow():
    await asyncio.sleep(1.0)
    return {'name': 'سارة'}
@app.get('/hello')
def hello(): return {'name': 'سارة'}
platform = integrate(app, {'hub': {'home': 'home'}, 'health': {'drain_seconds': 2.0}, 'logs': {'console': False}})
"""
SERVE = """
import sys
sys.path.insert(0, '.')
from rakiza.serve import serve_target
serve_target('site_app:app', sys.argv[1], '127.0.0.1', int(sys.argv[2]))
"""


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def wait_ready(port: int) -> None:
    for _ in range(600):
        try:
            if get(port, "/readyz") == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("not ready")


@pytest.fixture
def serve(python_process: Process, tmp_path: Path) -> Callable[[str], tuple[servers.Child, int]]:
    (tmp_path / "site_app.py").write_text(APP, encoding="utf-8")

    def start(server: str) -> tuple[servers.Child, int]:
        port = servers.free_port()
        child = python_process(SERVE, server, str(port), cwd=tmp_path, env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
        wait_ready(port)
        return child, port

    return start


def test_uvicorn_fails_readiness_first_serves_on_and_ends(serve: Callable[[str], tuple[servers.Child, int]]) -> None:
    child, port = serve("uvicorn")
    child.process.send_signal(signal.SIGTERM)
    while get(port, "/readyz") == 200:
        time.sleep(0.01)
    assert get(port, "/livez") == 200
    assert get(port, "/hello") == 200
    assert get(port, "/slow") == 200
    assert get(port, "/readyz") == 503
    child.finish()
    assert child.process.returncode == 0


def test_granian_ends_what_it_serves(serve: Callable[[str], tuple[servers.Child, int]]) -> None:
    child, port = serve("granian")
    child.process.send_signal(signal.SIGTERM)
    child.finish()
    assert child.process.returncode == 0
    with pytest.raises(OSError, match="refused"):
        get(port, "/readyz")
