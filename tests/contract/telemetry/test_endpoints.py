"""`/metrics`, `/api/traces` and the event loop's check, the same under ASGI and WSGI."""

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from conftest import without
from rakiza.telemetry import get_tracer
from servers import MissingBinaryError, binary

PARENT = "b7ad6b7169203331"


def filled(host: Callable[..., Any], **telemetry: object) -> Any:
    """Return a host that has answered two requests and failed one."""

    def work() -> None:
        with get_tracer("site").start_as_current_span("حساب", attributes={"project": "فيلا"}) as span, made.platform.store.read() as tx:
            span.add_event("بدأ", {"n": 1})
            tx.execute(sa.text("SELECT 'سر'"))
        if fail:
            raise RuntimeError("عطل")

    made = host(work, **telemetry)
    for number in range(3):
        fail = number == 1
        made.ask(f"/مشروع/{number}", traceparent=f"00-{number + 1:032x}-{PARENT}-01")
    made.platform.tracer.flush()
    return made


def test_the_list_is_newest_first_and_paged(host: Callable[..., Any]) -> None:
    made = filled(host)
    first = made.ask("/api/traces", "limit=2").json()
    rest = made.ask("/api/traces", f"limit=2&cursor={first['next_cursor']}").json()
    items = [*first["items"], *rest["items"]]
    assert [item["trace_id"] for item in items] == [f"{number:032x}" for number in (3, 2, 1)]
    assert rest["next_cursor"] is None
    assert {key: items[1][key] for key in ("name", "method", "route", "status", "spans", "errors")} == {
        "name": "GET /مشروع/{code}",
        "method": "GET",
        "route": "/مشروع/{code}",
        "status": 500,
        "spans": 3,
        "errors": 1,
    }
    assert len(items[1]["request_id"]) == 32
    assert datetime.fromisoformat(items[1]["started_at"]).utcoffset() is not None
    assert 0 < items[1]["duration_ms"] < 60_000


def test_the_list_can_be_narrowed(host: Callable[..., Any]) -> None:
    made = filled(host)
    for query, found in (
        ("errors=true", [2]),
        ("errors=false", [3, 1]),
        ("min_ms=60000", []),
        ("q=%D9%85%D8%B4%D8%B1%D9%88%D8%B9", [3, 2, 1]),
        ("q=100%25", []),
        (f"q={3:032x}", [3]),
        ("route=/other", []),
        ("since=2999-01-01T00:00:00Z", []),
        ("since=2001-01-01T00:00:00", [3, 2, 1]),
        ("limit=1", [3]),
    ):
        items = made.ask("/api/traces", query).json()["items"]
        assert [int(item["trace_id"], 16) for item in items] == found, query
    (item, *_) = made.ask("/api/traces").json()["items"]
    since = (datetime.fromisoformat(item["started_at"]) + timedelta(minutes=1)).isoformat().replace("+", "%2B")
    assert made.ask("/api/traces", f"since={since}").json()["items"] == []  # a long answer ago is not now


def test_what_cannot_be_read_is_refused(host: Callable[..., Any]) -> None:
    made = host()
    for query in ("limit=0", "limit=501", "limit=x", "cursor=abc", "errors=perhaps", "since=yesterday", "min_ms=-1", "min_ms=nan"):
        reply = made.ask("/api/traces", query)
        assert (reply.status, reply.headers["content-type"]) == (422, "application/problem+json"), query


def test_one_trace_is_a_tree_of_spans(host: Callable[..., Any]) -> None:
    made = filled(host)
    shown = made.ask(f"/api/traces/{2:032x}").json()
    assert set(shown) == {"trace_id", "started_at", "duration_ms", "spans"}
    server, internal, statement = shown["spans"]
    assert set(server) >= {"span_id", "parent_id", "name", "kind", "start_ms", "duration_ms", "status", "message", "attributes", "events"}
    assert (server["kind"], server["parent_id"], server["status"], server["start_ms"]) == ("server", PARENT, "error", 0)
    assert server["events"][0]["attributes"]["exception.type"] == "RuntimeError"
    assert (internal["kind"], internal["parent_id"], internal["name"]) == ("internal", server["span_id"], "حساب")
    assert internal["attributes"] == {"project": "فيلا"}
    assert internal["events"][0]["name"] == "بدأ"
    assert 0 <= internal["start_ms"] <= internal["events"][0]["at_ms"] <= shown["duration_ms"]
    assert (statement["kind"], statement["parent_id"]) == ("client", internal["span_id"])
    assert statement["attributes"] == {"db.system.name": "sqlite", "db.query.text": "SELECT ?"}
    assert made.ask("/api/traces/" + "f" * 32).status == 404


def test_the_traces_survive_a_restart(host: Callable[..., Any]) -> None:
    filled(host).platform.shutdown()
    assert len(host().ask("/api/traces").json()["items"]) == 3


def test_only_operators_see_them(host: Callable[..., Any]) -> None:
    made = filled(host)
    for path in ("/api/traces", f"/api/traces/{1:032x}", "/metrics"):
        assert made.ask(path, x_api_key="wrong").status == 401


@pytest.fixture
def promtool() -> str:
    try:
        return binary("promtool", "prometheus")
    except MissingBinaryError as exc:
        without(str(exc))


def test_promtool_accepts_the_text_format(host: Callable[..., Any], promtool: str) -> None:
    reply = filled(host).ask("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run([promtool, "check", "metrics"], input=reply.body, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_both_formats_say_the_same_and_openmetrics_names_traces(host: Callable[..., Any]) -> None:
    made = filled(host)
    text = {family.name: family for family in text_string_to_metric_families(made.ask("/metrics").body.decode())}
    reply = made.ask("/metrics", accept="application/openmetrics-text; version=1.0.0; charset=utf-8,text/plain;q=0.5")
    assert reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in openmetrics(reply.body.decode())}
    for name in ("http_request_duration_seconds", "http_requests_in_flight", "event_loop_lag_seconds", "python_threads", "process_cpu_seconds"):
        assert name in text
        assert name in families
    samples = families["http_request_duration_seconds"].samples
    counted = {(each.labels["route"], each.labels["status"]): each.value for each in samples if each.name.endswith("_count")}
    assert counted["/مشروع/{code}", "200"] == 2
    assert {sample.exemplar.labels["trace_id"] for sample in samples if sample.exemplar} <= {f"{number:032x}" for number in range(1, 4)}
    assert any(sample.exemplar for sample in samples)


def test_the_check_of_the_event_loop_is_optional(host: Callable[..., Any]) -> None:
    made = host()
    made.ask("/مشروع/1")
    checks = {check.name: check for part in made.platform.parts for check in part.checks}
    assert not checks["event_loop"].required
    assert "otlp" not in checks
    assert checks["event_loop"].fn().status == "pass"
    assert made.platform.tracer.loop_lag_seconds is None  # WSGI has no loop, and the one of this ASGI request has ended
