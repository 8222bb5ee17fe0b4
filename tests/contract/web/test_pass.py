"""The request pass: one suite over ASGI and WSGI; what a client sees, what is logged, what is counted."""

import asyncio
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import laid
from rakiza import Platform, build
from rakiza._kernel import PUBLIC, Request, Response, Route, current, json_response, time_left
from rakiza.errors import ConflictError
from rakiza.hub import Platform as HubPlatform
from rakiza.web import PassCore
from rakiza.web.asgi import AsgiPass
from rakiza.web.wsgi import WsgiPass

KEY = "an-operators-key-of-enough-length"
SECRET = "the password is hunter2"


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    times: dict[str, int] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)


class Host:
    """An application without a framework behind the pass, driven without a server."""

    def __init__(self, kind: str, home: Path, **web: object) -> None:
        given = {"hub": {"home": str(laid.home(home)), "name": "site"}, "security": {"ops_api_key": KEY}, "web": web, "logs": {"console": False}}
        given["telemetry"] = {"sample_ratio": 1.0}
        self.platform: HubPlatform = build(given, environ={})
        self.seen: list[str] = []
        self.kept: list[Any] = []
        self.platform.tracer.outlets.append(self.kept.extend)
        routes = [*self.platform.routes(), *self._routes()]
        self.core = PassCore(self.platform.web, self.platform.ctx, routes, self.platform.start)
        self.platform._core = self.core
        self.kind = kind
        self.asgi = AsgiPass(self._asgi_app, self.core, self.platform.shutdown)
        self.wsgi = WsgiPass(self._wsgi_app, self.core, lambda environ: environ.get("site.route"))

    def spans(self) -> list[Any]:
        """Return the spans kept so far, oldest first."""
        self.platform.tracer.flush()
        return [span for _, records in self.kept for span in records]

    def _routes(self) -> list[Route]:
        def echo(request: Request) -> Response:
            return json_response({"path": request.path, "query": request.query, "params": request.params, "size": len(request.body)})

        async def later(request: Request) -> Response:
            await asyncio.sleep(0)
            return json_response({"request": current().request_id if current() else None})

        def left(_: Request) -> Response:
            return json_response(time_left())

        def fails(_: Request) -> Response:
            raise RuntimeError(SECRET)

        def conflict(_: Request) -> Response:
            raise ConflictError("someone was faster", extra={"current": {"version": 2}})

        def pieces(_: Request) -> Response:
            return Response(stream=(b"%d" % number for number in range(5)), content_type=b"text/plain")

        def typed(request: Request) -> Response:
            return json_response(request.decode(dict[str, int]))

        def route(method: str, path: str, handler: Any, permission: str = PUBLIC, limit: int = 1000) -> Route:
            return Route(method=method, path=path, handler=handler, permission=permission, max_body_bytes=limit)

        return [
            route("GET", "/t/echo", echo),
            route("POST", "/t/echo", echo),
            route("GET", "/t/item/{name}", echo),
            route("GET", "/t/rest/{rest:path}", echo),
            route("GET", "/t/later", later),
            route("GET", "/t/left", left),
            route("GET", "/t/fails", fails),
            route("GET", "/t/conflict", conflict),
            route("GET", "/t/pieces", pieces),
            route("POST", "/t/typed", typed),
            route("GET", "/t/secret", echo, "ops.read"),
        ]

    async def _asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.seen.append(path)
        if path == "/app/fails":
            raise RuntimeError(SECRET)
        if path == "/app/conflict":
            raise ConflictError("someone was faster")
        body = b""
        if scope["method"] == "POST":
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError("client left")
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
        scope["path_template"] = "/app/{name}"
        scope["path"] = "/rewritten"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        if path == "/app/breaks":
            raise RuntimeError(SECRET)
        await send({"type": "http.response.body", "body": b"hello " + str(len(body)).encode()})

    def _wsgi_app(self, environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.seen.append(path)
        if path == "/app/fails":
            raise RuntimeError(SECRET)
        if path == "/app/conflict":
            raise ConflictError("someone was faster")
        body = environ["wsgi.input"].read() if environ["REQUEST_METHOD"] == "POST" else b""
        environ["site.route"] = "/app/{name}"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello " + str(len(body)).encode()]

    def ask(self, method: str, path: str, *, body: bytes = b"", chunked: bool = False, peer: str = "203.0.113.7", **headers: str) -> Reply:
        """Send one request; header names have `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("host", "site.example")
        if body and not chunked:
            named["content-length"] = str(len(body))
        if chunked:
            named["transfer-encoding"] = "chunked"
        path, _, query = path.partition("?")
        if self.kind == "asgi":
            return asyncio.run(self._ask_asgi(method, path, query=query, headers=named, body=body, peer=peer))
        return self._ask_wsgi(method, path, query=query, headers=named, body=body, peer=peer)

    async def _ask_asgi(self, method: str, path: str, *, query: str, headers: dict[str, str], body: bytes, peer: str) -> Reply:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw, "scheme": "http"}
        scope["client"] = (peer, 5)
        half = len(body) // 2
        parts = ((body[:half], True), (body[half:], False))
        waiting = [{"type": "http.request", "body": part, "more_body": more} for part, more in parts]
        sent: list[Any] = []

        async def receive() -> Any:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.asgi(scope, receive, send)
        assert current() is None, "a context variable outlived its request"
        own = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return Reply(sent[0]["status"], dict(own), content, {name: [one for one, _ in own].count(name) for name, _ in own})

    def _ask_wsgi(self, method: str, path: str, *, query: str, headers: dict[str, str], body: bytes, peer: str) -> Reply:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path.encode().decode("latin-1"), "QUERY_STRING": query}
        environ |= {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{key}"] = value
        started: list[Any] = []

        def start_response(status: str, answered: list[tuple[str, str]], exc_info: Any = None) -> None:
            started.append((status, answered))

        iterable = self.wsgi(environ, start_response)
        content = b"".join(iterable)
        iterable.close()
        assert current() is None, "a context variable outlived its request"
        own = [(name.lower(), value) for name, value in started[-1][1]]
        return Reply(int(started[-1][0][:3]), dict(own), content, {name: [one for one, _ in own].count(name) for name, _ in own})

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """Return the lines of one log file."""
        self.platform.logs.flush()
        path = self.platform.logs.folder / f"site{kind}.log"
        return [json.loads(line) for line in path.read_bytes().split(b"\n") if line] if path.exists() else []

    def traces(self) -> list[dict[str, Any]]:
        """Return what the local history keeps."""
        return self.ask("GET", "/api/traces", x_api_key=KEY).json()["items"]

    def count(self, route: str, status: int, method: str = "GET") -> float:
        """Return how many requests the metric counted."""
        labels = {"method": method, "route": route, "status": str(status)}
        return self.platform.metrics.registry.get_sample_value("http_request_duration_seconds_count", labels) or 0.0


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(kind: str, tmp_path: Path) -> Iterator[Host]:
    host = Host(kind, tmp_path)
    host.platform.start()
    yield host
    host.platform.shutdown()


def started(kind: str, home: Path, **web: object) -> Host:
    host = Host(kind, home, **web)
    host.platform.start()
    return host


def test_the_application_answers_with_ids_and_the_light_headers(host: Host) -> None:
    reply = host.ask("GET", "/app/hello", user_agent="Mozilla")
    assert (reply.status, reply.body) == (200, b"hello 0")
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert "content-security-policy" not in reply.headers
    assert set(reply.times.values()) == {1}
    line = host.lines("_requests")[-1]
    assert list(line) == [
        "timestamp",
        "method",
        "path",
        "status_code",
        "response_time_ms",
        "user_id",
        "ip_address",
        "user_agent",
        "request_id",
        "trace_id",
        "span_id",
        "tenant",
    ]
    assert (line["method"], line["path"], line["status_code"]) == ("GET", "/app/hello", 200)
    assert (line["ip_address"], line["user_agent"], line["request_id"]) == ("203.0.113.7", "Mozilla", reply.headers["x-request-id"])
    assert host.count("/app/{name}", 200) == 1
    span = host.spans()[-1]
    assert span.span_id == line["span_id"]
    assert span.attributes["http.route"] == "/app/{name}"


def test_with_protection_the_application_gets_the_full_headers_and_the_cross_site_rule(kind: str, tmp_path: Path) -> None:
    host = started(kind, tmp_path, protect_application=True)
    reply = host.ask("GET", "/app/hello")
    assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-frame-options"] == "DENY"
    assert "strict-transport-security" not in reply.headers
    refused = host.ask("POST", "/app/hello", body=b"x", cookie="__Host-sid=abc", sec_fetch_site="cross-site")
    assert (refused.status, refused.json()["code"]) == (403, "cross_site")
    assert host.seen == ["/app/hello"]
    assert host.ask("POST", "/app/hello", body=b"x", cookie="__Host-sid=abc", sec_fetch_site="same-origin").status == 200
    host.platform.shutdown()


def test_platform_routes_stand_before_the_application(host: Host) -> None:
    reply = host.ask("GET", "/t/echo?q=%D8%A8%D8%A7%D8%A8&n=1&n=2")
    assert reply.json() == {"path": "/t/echo", "query": {"q": "باب", "n": "2"}, "params": {}, "size": 0}
    assert host.ask("GET", "/t/item/باب").json()["params"] == {"name": "باب"}
    assert host.ask("GET", "/t/rest/a/b/c").json()["params"] == {"rest": "a/b/c"}
    assert host.seen == []
    assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert host.count("/t/item/{name}", 200) == 1
    assert host.lines("_requests")[-2]["path"] == "/t/item/باب"


def test_a_coroutine_handler_is_served(host: Host) -> None:
    reply = host.ask("GET", "/t/later")
    assert reply.status == 200
    if host.kind == "asgi":
        assert reply.json()["request"] == reply.headers["x-request-id"]


def test_a_wrong_method_names_the_right_ones(host: Host) -> None:
    reply = host.ask("DELETE", "/t/echo")
    assert (reply.status, reply.headers["allow"], reply.json()["code"]) == (405, "GET, POST", "method_not_allowed")


def test_head_has_the_headers_and_no_body(host: Host) -> None:
    reply = host.ask("HEAD", "/t/echo")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"] == "application/json"


def test_an_unforeseen_exception_shows_its_request_id_and_nothing_else(host: Host) -> None:
    for number, path in enumerate(("/t/fails", "/app/fails"), 1):
        reply = host.ask("GET", path)
        assert (reply.status, reply.headers["content-type"]) == (500, "application/problem+json")
        assert reply.json()["request_id"] == reply.headers["x-request-id"]
        assert SECRET not in reply.body.decode()
        errors = host.lines("_errors")
        assert len(errors) == number
        assert errors[-1]["exception"]["message"] == SECRET
        assert errors[-1]["request_id"] == reply.headers["x-request-id"]
    assert host.platform.errors.total == 2
    assert [line["status_code"] for line in host.lines("_requests")] == [500, 500]


def test_an_expected_error_is_problem_json_and_not_captured(host: Host) -> None:
    reply = host.ask("GET", "/t/conflict")
    problem = reply.json()
    assert (reply.status, problem["code"], problem["current"]) == (409, "conflict", {"version": 2})
    assert problem["message_ar"] == "عُدّل العنصر من مكان آخر"
    assert host.ask("GET", "/app/conflict").status == 409
    assert host.platform.errors.total == 0


def test_what_breaks_half_way_is_cut_not_completed(kind: str, host: Host) -> None:
    if kind == "asgi":
        with pytest.raises(RuntimeError, match="hunter2"):
            host.ask("GET", "/app/breaks")
        assert host.platform.errors.total == 1
        assert host.platform.tracer.in_flight == 0


def test_a_body_is_typed(host: Host) -> None:
    for body, status, code in ((b"{", 400, "malformed_json"), (b'{"a": "x"}', 422, "validation_failed"), (b'{"a": 1}', 200, None)):
        reply = host.ask("POST", "/t/typed", body=body)
        assert (reply.status, reply.json().get("code")) == (status, code), body


def test_a_body_over_the_limit_is_refused(kind: str, tmp_path: Path) -> None:
    host = started(kind, tmp_path, max_body_bytes=100)
    for chunked in (False, True):
        assert host.ask("POST", "/t/echo", body=b"x" * 1000, chunked=chunked).json()["size"] == 1000, chunked
        assert host.ask("POST", "/t/echo", body=b"x" * 1001, chunked=chunked).status == 413, chunked
        assert host.ask("POST", "/app/x", body=b"x" * 100, chunked=chunked).body == b"hello 100", chunked
        reply = host.ask("POST", "/app/x", body=b"x" * 101, chunked=chunked)
        assert (reply.status, reply.json()["code"]) == (413, "too_large"), chunked
    assert host.platform.errors.total == 0
    host.platform.shutdown()


def test_a_stream_comes_whole(host: Host) -> None:
    assert host.ask("GET", "/t/pieces").body == b"01234"


def test_too_many_requests_are_told_when_to_come_back_and_are_counted(kind: str, tmp_path: Path) -> None:
    host = started(kind, tmp_path, rate_limit_per_minute=3)
    assert [host.ask("GET", "/app/x").status for _ in range(4)] == [200, 200, 200, 429]
    reply = host.ask("GET", "/app/x")
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json()["code"] == "rate_limited"
    assert host.ask("GET", "/app/x", peer="203.0.113.8").status == 200
    assert host.ask("GET", "/livez").status == 200
    assert [line["status_code"] for line in host.lines("_requests")] == [200, 200, 200, 429, 429, 200]
    assert [host.ask("GET", "/app/x", peer=f"2001:db8::{part:x}").status for part in range(4)][-1] == 429
    host.platform.shutdown()


def test_forwarding_headers_count_only_behind_trusted_proxies(kind: str, tmp_path: Path) -> None:
    bare = started(kind, tmp_path / "bare")
    bare.ask("GET", "/app/x", x_forwarded_for="198.51.100.1")
    assert bare.lines("_requests")[-1]["ip_address"] == "203.0.113.7"
    bare.platform.shutdown()
    host = started(kind, tmp_path / "proxied", trusted_proxies=1)
    reply = host.ask("GET", "/t/echo", x_forwarded_for="10.0.0.1, 198.51.100.1", x_forwarded_proto="https")
    assert host.lines("_requests")[-1]["ip_address"] == "198.51.100.1"
    assert reply.headers["strict-transport-security"].startswith("max-age=63072000")
    host.platform.shutdown()


def test_what_a_trusted_caller_has_left_only_shortens_the_deadline(kind: str, tmp_path: Path) -> None:
    host = started(kind, tmp_path, trusted_proxies=1, request_timeout_seconds=20.0)
    for told, above, up_to in (
        ("1500", 0.0, 1.5),
        ("0", -1.0, 0.0),
        *((text, 5.0, 20.0) for text in ("99999999", "-5", "1e3", "١٢", "9" * 40)),
    ):
        left = host.ask("GET", "/t/left", x_deadline_ms=told.encode().decode("latin-1")).json()
        assert above < left <= up_to, told
    host.platform.shutdown()


def test_a_strangers_deadline_is_not_heard(kind: str, tmp_path: Path) -> None:
    host = started(kind, tmp_path, request_timeout_seconds=20.0)
    left = host.ask("GET", "/t/left", x_deadline_ms="5").json()
    host.platform.shutdown()
    assert 5 < left <= 20


def test_a_trace_goes_on_and_a_stranger_cannot_force_spans(kind: str, tmp_path: Path) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    host = started(kind, tmp_path)
    host.ask("GET", "/app/x", traceparent=parent)
    line = host.lines("_requests")[-1]
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["request_id"] != line["trace_id"]
    assert host.spans()[-1].parent_id == "b7ad6b7169203331"
    host.platform.tracer._ratio = 0.0
    before = len(host.spans())
    host.ask("GET", "/app/x", traceparent=parent)
    assert len(host.spans()) == before
    host.platform.shutdown()


def test_operator_routes_ask_for_the_key(host: Host) -> None:
    assert host.ask("GET", "/t/secret").status == 401
    assert host.ask("GET", "/t/secret", x_api_key="wrong").status == 401
    assert host.ask("GET", "/t/secret", x_api_key=KEY).status == 200
    assert host.ask("GET", "/metrics", authorization=f"Bearer {KEY}").status == 200
    assert host.ask("GET", "/t/secret", peer="127.0.0.1").status == 401
    assert "checks" not in host.ask("GET", "/healthz").json()
    assert "database" in host.ask("GET", "/healthz", x_api_key=KEY).json()["checks"]


def test_probes_answer_and_leave_no_trace(host: Host) -> None:
    assert [host.ask("GET", path).body for path in ("/livez", "/readyz", "/startupz")] == [b"ok", b"ready", b"started"]
    assert host.lines("_requests") == []
    host.platform.health.begin_draining()
    assert host.ask("GET", "/readyz").status == 503
    assert host.ask("GET", "/livez").status == 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=st.text(max_size=30), agent=st.text(st.characters(max_codepoint=255), max_size=30), method=st.sampled_from(["GET", "POST", "BREW", ""]))
def test_whatever_comes_every_line_is_json_and_labels_are_bounded(host: Host, path: str, agent: str, method: str) -> None:
    reply = host.ask(method, "/" + path.replace("?", ""), user_agent=agent, traceparent=agent)
    assert reply.status < 600
    assert "x-request-id" in reply.headers
    assert host.lines("_requests")[-1]["user_agent"] == agent.encode("latin-1").decode("utf-8", "replace")
    samples = (sample for metric in host.platform.metrics.registry.collect() for sample in metric.samples)
    methods = {sample.labels["method"] for sample in samples if "method" in sample.labels}
    assert methods <= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"}


def test_a_platform_is_one_type() -> None:
    assert Platform is HubPlatform


def test_the_consoles_own_polling_is_no_traffic_worth_a_trace(host: Host) -> None:
    poll = Route(method="GET", path="/_rakiza/t/poll", handler=lambda _: json_response({}), permission=PUBLIC)
    host.core.router.add([poll])
    assert [host.ask("GET", path).status for path in ("/t/echo", "/_rakiza/t/poll")] == [200, 200]
    host.platform.tracer.flush()
    assert [item["route"] for item in host.traces()] == ["/t/echo"]


def test_keys_are_not_to_be_guessed_where_nothing_is_logged(kind: str, tmp_path: Path) -> None:
    host = started(kind, tmp_path, rate_limit_per_minute=3)
    guesses = [host.ask("GET", "/metrics", x_api_key=f"guess-{number}-that-is-long-enough").status for number in range(4)]
    assert guesses == [401, 401, 401, 429]
    assert [host.ask("GET", "/livez").status for _ in range(5)] == [200] * 5
    host.platform.shutdown()
