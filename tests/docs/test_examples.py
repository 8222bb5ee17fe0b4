"""Every example starts under a real server, answers, and stops."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
BIN = Path(sys.executable).parent
NAMES = ("asgi_app", "fastapi_app", "flask_app", "litestar_app", "starlette_app")
KEY = "a-key-of-an-operator-in-a-test"


def test_every_example_is_tried() -> None:
    assert tuple(sorted(path.stem for path in EXAMPLES.glob("*.py"))) == NAMES


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _command(name: str, port: int) -> list[str]:
    if name == "flask_app":
        return [str(BIN / "granian"), "--interface", "wsgi", "--blocking-threads", "4", "--port", str(port), "flask_app:app"]
    return [str(BIN / "rakiza"), "serve", f"{name}:app", "--port", str(port)]


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.fixture(params=NAMES)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, Path, subprocess.Popen[bytes]]]:
    """Serve the example and give its port, its folder and its process."""
    port = _free_port()
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": str(EXAMPLES), "OPS_API_KEY": KEY, "HOME": str(tmp_path)}
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(_command(request.param, port), cwd=tmp_path, env=environment, stdout=output, stderr=output)
        try:
            _wait(port, process, tmp_path / "output")
            yield port, tmp_path, process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, output.read_text()
        try:
            if get(port, "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready in 30 s: {output.read_text()}")


def test_example_answers_and_stops(served: tuple[int, Path, subprocess.Popen[bytes]]) -> None:
    port, home, process = served
    status, headers, body = get(port, "/projects/VILLA-01")
    assert (status, json.loads(body)) == (200, {"code": "VILLA-01", "name": "فيلا النرجس"})
    assert headers["x-request-id"]
    assert headers["x-content-type-options"] == "nosniff"

    status, headers, body = get(port, "/projects/VILLA-09")
    problem = json.loads(body)
    assert (status, headers["content-type"].partition(";")[0]) == (404, "application/problem+json")
    assert (problem["code"], problem["message_ar"]) == ("not_found", "لا يوجد مشروع VILLA-09")
    assert problem["request_id"] == headers["x-request-id"]

    assert get(port, "/metrics")[0] == 401
    status, _, metrics = get(port, "/metrics", {"X-API-Key": KEY})
    assert status == 200
    assert b"http_request_duration_seconds" in metrics

    process.send_signal(signal.SIGINT)
    assert process.wait(20) in {0, 128 + signal.SIGINT}
    assert (home / "var" / "app.db").is_file()
