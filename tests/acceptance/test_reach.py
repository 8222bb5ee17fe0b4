"""Nothing is built that nobody reaches: on an empty application of either kind every operator route answers and every check has looked."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from rakiza import build
from rakiza._kernel import PUBLIC, Route
from rakiza.hub import ROOMS
from servers import Child, free_port

KEY = "an-operators-key-of-enough-length"
SETTINGS = f"settings = {{'hub': {{'home': sys.argv[2], 'name': 'site'}}, 'security': {{'ops_api_key': '{KEY}'}}}}\n"
APPS = {
    "flask": "from flask import Flask\napp = Flask('site')\nplatform = integrate(app, settings)\n"
    "from werkzeug.serving import make_server\nserver = make_server('127.0.0.1', int(sys.argv[1]), app, threaded=True)\n"
    "print('ready', flush=True)\nserver.serve_forever()\n",
    "asgi": "async def app(scope, receive, send):\n    raise RuntimeError('nothing here')\nplatform = integrate(app, settings)\n"
    "from rakiza.serve import serve_uvicorn\n"
    "serve_uvicorn(platform.app, platform, '127.0.0.1', int(sys.argv[1]), lambda port: print('ready', flush=True))\n",
}


@pytest.fixture(params=list(APPS))
def client(request: pytest.FixtureRequest, python_process: Callable[..., Child], tmp_path: Path) -> Iterator[httpx.Client]:
    port = free_port()
    source = "import sys\nfrom rakiza import integrate\n" + SETTINGS + APPS[request.param]
    python_process(source, str(port), str(tmp_path / "home"), cwd=tmp_path).wait_for("ready")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client


def routes(tmp_path: Path) -> list[Route]:
    platform = build({"hub": {"home": str(tmp_path / "listed")}}, environ={})
    return [route for route in platform.routes() if route.method == "GET" and "{" not in route.path]


def test_every_route_answers_under_both_of_its_paths(client: httpx.Client, tmp_path: Path) -> None:
    listed = routes(tmp_path)
    assert len(listed) >= 15
    unanswered = []
    for route in listed:
        for path in (route.path, "/_rakiza" + route.path):
            with client.stream("GET", path, headers={"x-api-key": KEY}) as answer:
                if answer.status_code not in {200, 308}:
                    unanswered.append(f"{path}: {answer.status_code}")
    assert unanswered == []


def test_nobody_reads_operator_routes_without_a_key(client: httpx.Client, tmp_path: Path) -> None:
    guarded = [route.path for route in routes(tmp_path) if route.permission != PUBLIC]
    assert guarded
    assert {path: client.get(path).status_code for path in guarded} == dict.fromkeys(guarded, 401)


def test_every_check_has_looked_and_every_room_stands(client: httpx.Client, tmp_path: Path) -> None:
    seen = client.get("/healthz", headers={"x-api-key": KEY}).json()["checks"]
    platform = build({"hub": {"home": str(tmp_path / "listed")}}, environ={})
    expected = {check.name for part in platform.parts for check in part.checks}
    assert expected | {"migrations"} <= set(seen)
    assert {name: found[0].get("output") for name, found in seen.items() if "time" not in found[0]} == {}
    assert tuple(part.name for part in platform.parts) == ROOMS


def test_the_metrics_name_the_process_and_its_requests(client: httpx.Client) -> None:
    client.get("/nowhere")
    text = client.get("/metrics", headers={"x-api-key": KEY}).text
    wanted = ["http_request_duration_seconds_bucket", "http_requests_in_flight", "python_gc_collections_total"]
    if sys.platform == "linux":
        wanted.append("process_resident_memory_bytes")
    assert [name for name in wanted if name not in text] == []
