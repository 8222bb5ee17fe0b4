"""The request pass and its trace: the header, the decision, what is kept at the end, what is counted."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from rakiza.telemetry import BUCKETS, Parent, Telemetry, TelemetrySettings, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01".encode()


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


def test_a_sampled_request_is_kept_with_the_ids_of_the_log_and_its_children(watched: Any) -> None:
    site = watched(sample_ratio=1.0)

    def work() -> None:
        with site.tracer.start_as_current_span("حساب الكميات"):
            trace.get_current_span().set_attribute("project", "فيلا النرجس")

    context = site.answered(work, traceparent=HEADER)
    assert not trace.get_current_span().get_span_context().is_valid
    server, child = site.spans
    assert (server.span_id, server.parent_id, server.kind, server.name) == (context.span_id, SPAN, "server", "GET /{name}")
    assert (child.parent_id, child.kind, child.name, child.scope) == (context.span_id, "internal", "حساب الكميات", "موقع")
    assert child.attributes == {"project": "فيلا النرجس"}
    assert server.attributes == {
        "http.request.method": "GET",
        "http.route": "/{name}",
        "http.response.status_code": 200,
        "url.path": "/مشروع",
        "url.scheme": "http",
        "client.address": "203.0.113.7",
        "request.id": context.request_id,
    }
    assert server.start <= child.start <= child.end <= server.end + 0.001
    assert site.kept[0][0] == TRACE


def test_what_the_handler_says_of_the_server_span_is_kept(watched: Any) -> None:
    site = watched(sample_ratio=1.0)

    def work() -> None:
        span = trace.get_current_span()
        span.set_attribute("project", "برج")
        span.set_status(trace.StatusCode.ERROR, "نقص في المواد")

    site.answered(work)
    (server,) = site.spans
    assert (server.attributes["project"], server.status, server.message) == ("برج", "error", "نقص في المواد")


@pytest.mark.parametrize(("status", "seconds", "kept"), [(200, 0.1, False), (404, 0.1, False), (500, 0.1, True), (503, 0.1, True), (200, 1.0, True)])
def test_an_unsampled_request_is_kept_when_it_fails_or_is_slow(watched: Any, status: int, seconds: float, kept: bool) -> None:
    site = watched(sample_ratio=0.0)
    site.answered(lambda: site.tracer.start_span("جزء").end(), status, seconds)
    assert [span.name for span in site.spans] == (["GET /{name}", "جزء"] if kept else [])


def test_an_exception_is_an_event_of_the_server_span(watched: Any) -> None:
    site = watched(sample_ratio=0.0)
    context = site.begin()

    class BadTextError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    site.telemetry.finish(context, None, "/{name}", 500, 0.01, BadTextError(), secure=True)
    (server,) = site.spans
    assert (server.status, server.attributes["url.scheme"]) == ("error", "https")
    name, _, said = server.events[0]
    assert (name, said["exception.type"], said["exception.message"]) == ("exception", "BadTextError", "<BadTextError whose text cannot be read>")


def test_what_ends_after_the_answer_follows_its_trace(watched: Any) -> None:
    site = watched(sample_ratio=0.0)
    late: list[Any] = []
    for status in (500, 200):
        site.answered(lambda: late.append(site.tracer.start_span("خلفية")), status)
    for span in late:
        span.end()
    assert [span.name for span in site.spans] == ["GET /{name}", "خلفية"]
    assert site.kept[0][0] == site.kept[1][0]


def test_the_share_of_sampled_requests_follows_the_settings(watched: Any) -> None:
    def sampled(**settings: Any) -> int:
        site = watched(**settings)
        return sum(site.begin().sampled for _ in range(2000))

    assert sampled(sample_ratio=0.0) == 0
    assert sampled(sample_ratio=1.0) == 2000
    assert 100 < sampled(sample_ratio=0.1) < 320  # 7 standard deviations around 200
    assert sampled(sample_ratio=0.0, sampler_arg=1.0) == 2000
    assert sampled(sample_ratio=0.0, sampler="always_on") == 2000
    assert sampled(sampler="parentbased_always_off") == 0
    assert sampled(sample_ratio=1.0, disabled=True) == 0


@pytest.mark.parametrize(
    ("sampler", "trusted", "sampled"),
    [("parentbased_always_off", True, True), ("parentbased_always_off", False, False), ("always_off", True, False), ("traceidratio", True, False)],
)
def test_a_parent_counts_only_through_a_trusted_proxy_and_only_when_asked_for(watched: Any, sampler: str, trusted: bool, sampled: bool) -> None:
    context = watched(sampler=sampler, sampler_arg=0.0).begin(traceparent=HEADER, trusted=trusted)
    assert (context.trace_id, context.parent_span_id, context.sampled) == (TRACE, SPAN, sampled)


@pytest.mark.parametrize("settings", [{"disabled": True}, {"sampler": "always_off"}])
def test_switched_off_nothing_is_kept_and_everything_is_counted(watched: Any, settings: dict[str, Any]) -> None:
    site = watched(**settings)
    site.answered(lambda: site.tracer.start_span("جزء").end(), 500, 5.0)
    with site.tracer.start_as_current_span("وظيفة") as span:
        assert not span.is_recording()
    assert site.spans == []
    assert site.telemetry.request_totals()["GET", "/{name}", 500].count == 1


def test_what_waits_is_bounded_and_losses_are_counted(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.telemetry._spans.MAX_WAITING", 5)
    site = watched(sample_ratio=1.0)
    for _ in range(4):
        site.answered(lambda: site.tracer.start_span("جزء").end())
    assert len(site.spans) == 4
    assert (site.telemetry.recorder.kept, site.telemetry.recorder.dropped) == (4, 4)
    site.answered()
    assert len(site.spans) == 5
    rendered = site.telemetry.metrics.render().decode()
    assert "trace_spans_dropped 4.0" in rendered


def test_a_request_keeps_a_bounded_number_of_spans(watched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.telemetry._spans.MAX_SPANS", 7)
    site = watched(sample_ratio=1.0)
    site.answered(lambda: [site.tracer.start_span(f"{number}").end() for number in range(50)])
    assert [span.name for span in site.spans] == ["GET /{name}", *"0123456"]
    assert site.spans[0].attributes["spans.lost"] == 43


def test_labels_stay_few_and_totals_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.telemetry._metrics.MAX_SERIES", 10)
    telemetry = Telemetry("site", TelemetrySettings(sample_ratio=0.0))
    for number in range(50):
        context = telemetry.begin("BREW" if number % 2 else "GET", "/", "", None, trusted=False)
        telemetry.finish(context, None, f"/r{number}", 200, 0.01 * number, None, secure=False)
    telemetry.metrics.counter("boq_items", "Items imported").inc(400)
    families = {family.name: family for family in text_string_to_metric_families(telemetry.metrics.render().decode())}
    assert families["boq_items"].samples[0].value == 400
    samples = [sample for sample in families["http_request_duration_seconds"].samples if sample.name.endswith("_count")]
    assert len(samples) <= 12
    assert {sample.labels["method"] for sample in samples} == {"GET", "OTHER"}
    assert sum(sample.value for sample in samples) == 50
    totals = telemetry.request_totals()
    assert sum(each.count for each in totals.values()) == 50
    assert sum(each.seconds for each in totals.values()) == pytest.approx(0.01 * sum(range(50)))
    assert all(len(each.buckets) == len(BUCKETS) + 1 and each.buckets[-1] == each.count for each in totals.values())


@given(st.lists(st.floats(min_value=0, max_value=20), max_size=40))
def test_buckets_count_what_took_at_most_so_long(durations: list[float]) -> None:
    telemetry = Telemetry("site", TelemetrySettings(sample_ratio=0.0))
    for seconds in durations:
        telemetry.finish(telemetry.begin("GET", "/", "", None, trusted=False), None, "/", 200, seconds, None, secure=False)
    for series in telemetry.request_totals().values():
        assert series.buckets == tuple(sum(seconds <= bound for seconds in durations) for bound in (*BUCKETS, float("inf")))


def test_threads_lose_no_count() -> None:
    telemetry = Telemetry("site", TelemetrySettings(sample_ratio=0.5))

    def work() -> None:
        for _ in range(500):
            context = telemetry.begin("GET", "/", "", None, trusted=False)
            telemetry.finish(context, None, "/", 200, 0.001, None, secure=False)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert telemetry.request_totals()["GET", "/", 200].count == 4000


def test_exemplars_name_the_sampled_trace_only(watched: Any) -> None:
    site = watched(sample_ratio=0.0)
    site.answered(seconds=0.3)
    body, kind = site.telemetry.metrics.negotiated("application/openmetrics-text;version=1.0.0,text/plain;q=0.1")
    assert kind == b"application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert exemplars(body) == {}
    site = watched(sample_ratio=1.0)
    context = site.answered(seconds=0.3)
    body, _ = site.telemetry.metrics.negotiated("application/openmetrics-text")
    assert exemplars(body) == {"0.5": {"trace_id": context.trace_id}}


def exemplars(body: bytes) -> dict[str, dict[str, str]]:
    samples = [sample for family in openmetrics(body.decode()) for sample in family.samples if sample.exemplar]
    return {sample.labels["le"]: sample.exemplar.labels for sample in samples}


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "text/html, application/openmetrics-text;q=0", "تخمين"])
def test_everybody_else_gets_the_text_format(watched: Any, accept: str) -> None:
    _, kind = watched().telemetry.metrics.negotiated(accept)
    assert kind == b"text/plain; version=0.0.4; charset=utf-8"


def test_a_metric_name_is_used_once() -> None:
    telemetry = Telemetry("site")
    telemetry.metrics.gauge("queue_depth", "Waiting")
    with pytest.raises(ValueError, match="queue_depth"):
        telemetry.metrics.gauge("queue_depth", "Waiting")
