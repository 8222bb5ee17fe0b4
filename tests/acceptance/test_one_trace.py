"""One trace, one id: browser, web, database, outgoing call; seen in the console, at a collector, in the log files."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from otlp import Receiver
from servers import Child, free_port

KEY = "an-operators-key-of-enough-length"
TRACE = "0af7651916cd43dd8448eb211c80319c"
BROWSER = "b7ad6b7169203331"
APP = """
import sys
import httpx
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from rakiza import integrate
from rakiza.serve import serve_uvicorn
from rakiza.telemetry import get_tracer, trace_httpx

bank = trace_httpx(httpx.Client(base_url=sys.argv[3]))

def page(request):
    return HTMLResponse("<!doctype html><html lang=ar><title>دفعات</title><h1>دفعات</h1>")

def pay(request):
    with get_tracer("site").start_as_current_span("دفعة المقاول"):
        with platform.store.read() as tx:
            rows = tx.execute(sa.text("SELECT 7 AS total")).scalar()
        answer = bank.get("/transfer?token=hunter2").json()
    if request.query_params.get("fail"):
        raise RuntimeError("تعذر التحويل")
    return JSONResponse({"rows": rows, "bank": answer})

app = Starlette(routes=[Route("/", page), Route("/pay/{number}", pay)])
settings = {"hub": {"home": sys.argv[2], "name": "site"}, "security": {"ops_api_key": sys.argv[4]}}
settings["telemetry"] = {"sample_ratio": float(sys.argv[5])}
platform = integrate(app, settings)
serve_uvicorn(app, platform, "127.0.0.1", int(sys.argv[1]), lambda port: print("ready", flush=True))
"""


class Bank:
    """Another service: it keeps the headers of what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        itself = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                itself.asked.append({name.lower(): value for name, value in self.headers.items()})
                body = b'{"paid": true}'
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


class Site:
    """The application between the browser and the bank, with an exporter to a collector."""

    def __init__(self, address: str, home: Path, bank: Bank, collector: Receiver) -> None:
        self.address, self.home, self.bank, self.collector = address, home, bank, collector
        self.client = httpx.Client(base_url=address, headers={"x-api-key": KEY}, timeout=60)

    def trace(self, trace_id: str, spans: int) -> dict[str, Any]:
        """Return a trace of the local history once it has so many spans."""
        end = time.monotonic() + 15
        while time.monotonic() < end:
            found = self.client.get(f"/api/traces/{trace_id}")
            if found.status_code == 200 and len(found.json()["spans"]) >= spans:
                return found.json()
            time.sleep(0.05)
        raise AssertionError(f"the trace {trace_id} has not come: {found.status_code} {found.text}")

    def lines(self, kind: str, trace_id: str) -> list[dict[str, Any]]:
        path = self.home / "logs" / f"site{kind}.log"
        lines = [json.loads(line) for line in path.read_text().split("\n") if line] if path.exists() else []
        return [line for line in lines if line["trace_id"] == trace_id]


@pytest.fixture
def ratio() -> float:
    return 1.0


@pytest.fixture
def site(python_process: Callable[..., Child], tmp_path: Path, ratio: float) -> Iterator[Site]:
    bank = Bank()
    with Receiver() as collector:
        port = free_port()
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_SERVICE_NAME": "مدفوعات"}
        env["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment.name=test"
        child = python_process(APP, str(port), str(tmp_path / "home"), bank.address, KEY, str(ratio), env=env, cwd=tmp_path)
        child.wait_for("ready")
        site = Site(f"http://127.0.0.1:{port}", tmp_path / "home", bank, collector)
        yield site
        site.client.close()
        bank.server.shutdown()
        bank.server.server_close()


def tree(trace: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return kind and parent's kind or id by the name of each span."""
    kinds = {span["span_id"]: span["name"] for span in trace["spans"]}
    return {span["name"]: (span["kind"], kinds.get(span["parent_id"], span["parent_id"])) for span in trace["spans"]}


def test_one_id_from_the_browser_to_the_bank(site: Site, chromium_address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(chromium_address)
        page = browser.new_page()
        page.goto(site.address)
        call = "([trace, span]) => fetch('/pay/12', {headers: {traceparent: `00-${trace}-${span}-01`}}).then(answer => answer.json())"
        assert page.evaluate(call, [TRACE, BROWSER]) == {"rows": 7, "bank": {"paid": True}}
        local = site.trace(TRACE, 4)
        seen = in_the_console(site, browser)
        browser.close()

    shape = tree(local)
    assert shape["GET /pay/{number}"] == ("server", BROWSER)
    assert shape["دفعة المقاول"] == ("internal", "GET /pay/{number}")
    clients = {name: parent for name, (kind, parent) in shape.items() if kind == "client"}
    assert set(clients.values()) == {"دفعة المقاول"}
    assert len(clients) >= 2

    call_out = next(span for span in local["spans"] if "http.request.method" in span["attributes"] and span["kind"] == "client")
    assert site.bank.asked[0]["traceparent"] == f"00-{TRACE}-{call_out['span_id']}-01"
    assert "hunter2" not in json.dumps(local)

    spans = site.collector.wait_for(TRACE, len(local["spans"]))
    assert {span.span_id.hex() for span in spans} == {span["span_id"] for span in local["spans"]}
    assert {span.span_id.hex(): span.parent_span_id.hex() for span in spans} == {
        span["span_id"]: span["parent_id"] or "" for span in local["spans"]
    }
    assert {(each["service.name"], each["deployment.environment.name"]) for each in site.collector.resources} == {("مدفوعات", "test")}
    for name in ("GET /pay/{number}", "دفعة المقاول", "SELECT"):
        assert name in seen
    (line,) = site.lines("_requests", TRACE)
    assert line["path"] == "/pay/12"
    assert line["span_id"] == next(span["span_id"] for span in local["spans"] if span["kind"] == "server")


def in_the_console(site: Site, browser: Browser) -> str:
    """Return what an operator reads on the page of the trace."""
    page = browser.new_page(locale="ar", extra_http_headers={"x-api-key": KEY})
    page.goto(f"{site.address}/console/traces/{TRACE}")
    page.get_by_text("دفعة المقاول").first.wait_for()
    return page.locator("main").inner_text()


@pytest.mark.parametrize("ratio", [0.0])
def test_a_request_nobody_chose_is_kept_whole_when_it_fails(site: Site) -> None:
    fine = site.client.get("/pay/1")
    failed = site.client.get("/pay/2?fail=yes")
    assert (fine.status_code, failed.status_code) == (200, 500)
    trace_id = site.lines("_errors", failed.headers["x-request-id"])[0]["trace_id"]
    kept = site.trace(trace_id, 4)
    assert {span["kind"] for span in kept["spans"]} == {"server", "internal", "client"}
    server = next(span for span in kept["spans"] if span["kind"] == "server")
    assert server["status"] == "error"
    assert site.bank.asked[0]["traceparent"].endswith("-00")
    assert site.client.get(f"/api/traces/{fine.headers['x-request-id']}").status_code == 404
    listed = site.client.get("/api/traces?errors=true").json()["items"]
    assert [item["trace_id"] for item in listed] == [trace_id]
