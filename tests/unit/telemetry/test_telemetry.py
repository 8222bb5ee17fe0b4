"""Traces and metrics: the header of a trace, spans that carry the log's ids, labels that stay few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from prometheus_client.parser import text_string_to_metric_families

from rakiza._kernel import RequestContext
from rakiza.telemetry import Parent, Telemetry, TelemetrySettings, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
hexes = st.text("0123456789abcdef", min_size=1)


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(TRACE, SPAN, False)),
        (f"cc-{TRACE}-{SPAN}-03-what-comes-later", Parent(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
    ],
)
def test_the_header_of_a_trace(header: str, parent: Parent | None) -> None:
    assert parse_traceparent(header.encode()) == parent


@given(st.binary(max_size=300))
def test_any_bytes_are_a_parent_or_none(header: bytes) -> None:
    parent = parse_traceparent(header)
    assert parent is None or (len(parent.trace_id), len(parent.span_id)) == (32, 16)


def test_the_span_has_the_ids_of_the_log_and_its_children_follow() -> None:
    telemetry = Telemetry("site", TelemetrySettings(sample_ratio=1.0))
    context, parent = telemetry.begin("GET", "/مشروع", "203.0.113.7", f"00-{TRACE}-{SPAN}-01".encode(), trusted=True)
    assert (context.trace_id, parent, context.sampled) == (TRACE, SPAN, True)
    span = telemetry.span(context, "http", parent)
    with telemetry.tracing.provider.get_tracer("database").start_as_current_span("select"):
        pass
    span.detach()
    assert not trace.get_current_span().get_span_context().is_valid
    span.finish(500, "/{name}", ValueError("سبب"))
    server, child = telemetry.tracing.recent()
    assert server.context is not None
    assert (f"{server.context.trace_id:032x}", f"{server.context.span_id:016x}") == (TRACE, context.span_id)
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == SPAN
    assert child.parent is not None
    assert child.parent.span_id == server.context.span_id
    assert dict(server.attributes or {}) == {
        "http.request.method": "GET",
        "url.path": "/مشروع",
        "url.scheme": "http",
        "client.address": "203.0.113.7",
        "http.response.status_code": 500,
        "http.route": "/{name}",
    }
    assert server.status.status_code is trace.StatusCode.ERROR
    assert server.events[0].name == "exception"


def test_outside_a_sampled_request_nothing_is_recorded() -> None:
    telemetry = Telemetry("site")
    with telemetry.tracing.provider.get_tracer("database").start_as_current_span("select") as span:
        assert not span.is_recording()
    assert telemetry.tracing.recent() == []


def test_the_share_of_sampled_requests_follows_the_setting() -> None:
    def sampled(ratio: float) -> int:
        telemetry = Telemetry("site", TelemetrySettings(sample_ratio=ratio))
        return sum(telemetry.begin("GET", "/", "", None, trusted=False)[0].sampled for _ in range(2000))

    assert sampled(0.0) == 0
    assert sampled(1.0) == 2000
    assert 100 < sampled(0.1) < 320  # 7 standard deviations around 200


def test_only_the_latest_spans_are_kept() -> None:
    telemetry = Telemetry("site", TelemetrySettings(sample_ratio=1.0, keep_spans=3))
    for number in range(5):
        context = RequestContext(TRACE, TRACE, SPAN, sampled=True, method="GET", path=f"/{number}")
        span = telemetry.span(context, "http", None)
        span.detach()
        span.finish(200, "/", None)
    assert [dict(span.attributes or {})["url.path"] for span in telemetry.tracing.recent()] == ["/4", "/3", "/2"]


def test_metrics_are_the_text_format_and_labels_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.telemetry.service.MAX_SERIES", 10)
    telemetry = Telemetry("site")
    for number in range(50):
        telemetry.observe("BREW" if number % 2 else "GET", f"/r{number}", 200, 0.01)
    telemetry.metrics.counter("boq_items", "Items imported").inc(400)
    families = {family.name: family for family in text_string_to_metric_families(telemetry.metrics.render().decode())}
    assert families["boq_items"].samples[0].value == 400
    series = {
        (sample.labels["method"], sample.labels["route"])
        for sample in families["http_request_duration_seconds"].samples
        if sample.name == "http_request_duration_seconds_count"
    }
    assert len(series) <= 12
    assert {method for method, _ in series} == {"GET", "OTHER"}
    total = sum(s.value for s in families["http_request_duration_seconds"].samples if s.name == "http_request_duration_seconds_count")
    assert total == 50


def test_a_metric_name_is_used_once() -> None:
    telemetry = Telemetry("site")
    telemetry.metrics.gauge("queue_depth", "Waiting")
    with pytest.raises(ValueError, match="queue_depth"):
        telemetry.metrics.gauge("queue_depth", "Waiting")
