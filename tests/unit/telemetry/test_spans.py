"""Spans of user code through the OpenTelemetry API: who is whose parent, what is bounded, what a root outside of requests does."""

import asyncio
import os
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

import laid
from rakiza import build
from rakiza._kernel import current, use_context
from rakiza.telemetry import Telemetry, TelemetrySettings, get_meter, get_tracer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_children_find_their_parents_in_an_unsampled_request(watched: Any) -> None:
    site = watched(sample_ratio=0.0)

    def work() -> None:
        with site.tracer.start_as_current_span("أب"), site.tracer.start_as_current_span("ابن", kind=SpanKind.PRODUCER):
            pass
        site.tracer.start_span("أخ").end()

    context = site.answered(work, 500)
    assert site.named("أب").parent_id == context.span_id
    assert (site.named("ابن").parent_id, site.named("ابن").kind) == (site.named("أب").span_id, "producer")
    assert site.named("أخ").parent_id == context.span_id


def test_a_thread_that_carries_the_context_carries_the_trace(watched: Any) -> None:
    site = watched(sample_ratio=0.0)

    def work() -> None:
        context = current()
        assert context is not None

        def far() -> None:
            with use_context(context), site.tracer.start_as_current_span("خيط"):
                pass

        thread = threading.Thread(target=far)
        thread.start()
        thread.join()

    context = site.answered(work, 500)
    assert site.named("خيط").parent_id == context.span_id


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_root_outside_of_requests_follows_the_ratio(watched: Any, ratio: float) -> None:
    site = watched(sample_ratio=ratio)
    with site.tracer.start_as_current_span("وظيفة") as root, site.tracer.start_as_current_span("خطوة"):
        assert root.is_recording()
        assert root.get_span_context().trace_flags.sampled == bool(ratio)
    assert [span.name for span in site.spans] == (["وظيفة", "خطوة"] if ratio else [])


def test_a_root_in_which_something_failed_is_kept(watched: Any) -> None:
    site = watched(sample_ratio=0.0)
    with site.tracer.start_as_current_span("وظيفة"), pytest.raises(ValueError, match="سبب"), site.tracer.start_as_current_span("خطوة"):
        raise ValueError("سبب")
    step = site.named("خطوة")
    assert (step.status, step.message) == ("error", "ValueError: سبب")
    name, _, said = step.events[0]
    assert (name, said["exception.type"], said["exception.message"]) == ("exception", "ValueError", "سبب")
    assert "test_spans.py" in said["exception.stacktrace"]
    assert site.named("وظيفة").status == "unset"


def test_decorated_functions_get_a_span_for_each_call(watched: Any) -> None:
    site = watched(sample_ratio=1.0)

    @site.tracer.start_as_current_span("متزامن")
    def plain(number: int) -> int:
        return number + 1

    @site.tracer.start_as_current_span("غير متزامن")
    async def later(number: int) -> int:
        await asyncio.sleep(0.01)
        return number + 1

    assert (plain(1), plain(2), asyncio.run(later(3))) == (2, 3, 4)
    assert [span.name for span in site.spans] == ["متزامن", "متزامن", "غير متزامن"]
    slow = site.named("غير متزامن")
    assert slow.end - slow.start >= 0.01


def test_a_remote_parent_is_followed(watched: Any) -> None:
    site = watched(sample_ratio=0.0)
    parent = extract({"traceparent": f"00-{TRACE}-{SPAN}-01"})
    with site.tracer.start_as_current_span("رسالة", context=parent, kind=SpanKind.CONSUMER):
        carrier: dict[str, str] = {}
        inject(carrier)
    (span,) = site.spans
    assert (site.kept[0][0], span.parent_id, span.kind) == (TRACE, SPAN, "consumer")
    assert carrier["traceparent"] == f"00-{TRACE}-{span.span_id}-01"


def test_what_a_span_says_is_bounded_and_can_be_stored(watched: Any) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    site = watched(sample_ratio=1.0)
    with site.tracer.start_as_current_span("س" * 5000, attributes={"first": 1}) as span:
        for number in range(100):
            span.set_attribute(f"k{number}", number)
            span.add_event(f"e{number}", {"half": "\ud800", "n": number})
        span.set_attributes({"first": "ن" * 5000, "k1": [1, "ب"], "k2": 2**80, "k3": Broken(), "k4": None, "k5": "\udc80", "k6": True, "k7": 1.5})
    span.set_attribute("k8", "too late")
    span.add_event("too late")
    (seen,) = site.spans
    assert len(seen.name) == 1024
    assert len(seen.attributes) == 32
    assert len(seen.events) == 16
    assert seen.attributes["first"] == "ن" * 1024
    assert [seen.attributes[f"k{number}"] for number in range(1, 9)] == [["1", "ب"], str(2**80), "<Broken>", "None", "?", True, 1.5, 8]
    assert seen.events[0][2] == {"half": "?", "n": 0}


def test_the_state_of_a_span_follows_the_specification(watched: Any) -> None:
    site = watched(sample_ratio=1.0)
    with site.tracer.start_span("أ", links=[Link(trace.SpanContext(1, 2, True))]) as span:
        span.update_name("ب")
        span.set_status(Status(StatusCode.OK))
        span.set_status(StatusCode.ERROR, "ignored")
    span.end()
    (seen,) = site.spans
    assert (seen.name, seen.status, seen.message) == ("ب", "ok", "")
    assert seen.events[0][0] == "link"
    assert not span.is_recording()


def test_times_can_be_given(watched: Any) -> None:
    site = watched(sample_ratio=1.0)
    span = site.tracer.start_span("ماض", start_time=1_000_000_000 * 10**9)
    span.add_event("وسط", timestamp=1_000_000_001 * 10**9)
    span.end(1_000_000_002 * 10**9)
    (seen,) = site.spans
    assert (seen.start, seen.events[0][1], seen.end) == pytest.approx((1e9, 1e9 + 1, 1e9 + 2), abs=0.01)


def test_tracers_of_the_process_belong_to_the_platform_at_hand(tmp_path: Any) -> None:
    early = trace.get_tracer("library loaded before the platform")
    with get_tracer("nobody").start_as_current_span("لا أحد") as span:
        assert not span.is_recording()
    with pytest.raises(LookupError, match="no platform"):
        get_meter()
    homes = [laid.home(tmp_path / name, "app") for name in ("a", "b")]
    platforms = [build({"hub": {"home": str(home)}, "telemetry": {"sample_ratio": 1.0}}, environ={}) for home in homes]
    kept: list[list[str]] = [[], []]
    for platform, names in zip(platforms, kept, strict=True):
        platform.tracer.outlets.append(lambda traces, names=names: names.extend(span.name for _, records in traces for span in records))
        platform.start()
    try:
        with early.start_as_current_span("خارج"):
            pass
        context = platforms[0].tracer.begin("GET", "/", "", None, trusted=False)
        context.owner = platforms[0].ctx
        with use_context(context), get_tracer("site").start_as_current_span("داخل"):
            assert get_meter() is platforms[0].metrics
        platforms[0].tracer.finish(context, None, "/", 200, 0.01, None, secure=False)
        assert get_meter() is platforms[1].metrics
    finally:
        for platform in platforms:
            platform.shutdown()
    assert kept == [["GET /", "داخل"], ["خارج"]]


def test_an_unused_telemetry_holds_no_thread() -> None:
    before = threading.active_count()
    Telemetry("site", TelemetrySettings(sample_ratio=1.0))
    assert threading.active_count() == before


def test_a_forked_child_leaves_what_waits_to_its_parent() -> None:
    site = Telemetry("x")
    context = site.begin("GET", "/p", "203.0.113.7", None, trusted=False)
    site.finish(context, None, "/p", 500, 0.1, None, secure=False)
    child = os.fork()
    if child == 0:
        os._exit(len(site.recorder.take()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(site.recorder.take()) == 1


def test_numbers_of_other_libraries_are_stored_and_secrets_are_not() -> None:
    class Real(float):
        """Be a number of a library."""

    site = Telemetry("x", TelemetrySettings(sample_ratio=1.0))
    context = site.begin("GET", "/reset/password=hunter2", "203.0.113.7", None, trusted=False)
    span = site.open(context)
    span.set_attribute("total", Real(1.5))
    span.detach()
    site.finish(context, span, "/reset", 500, 0.1, ValueError("postgresql://u:hunter2@db"), secure=False)
    ((_, records),) = site.recorder.take()
    assert type(records[0].attributes["total"]) is float
    assert "hunter2" not in repr(records)


def test_no_request_begins_after_what_it_did() -> None:
    site = Telemetry("x", TelemetrySettings(sample_ratio=1.0))
    context = site.begin("GET", "/p", "203.0.113.7", None, trusted=False)
    with use_context(context):
        site.provider.get_tracer("site").start_span("عمل").end()
    site.finish(context, None, "/p", 200, 0.0, None, secure=False)
    ((_, records),) = site.recorder.take()
    assert [record.kind for record in sorted(records, key=lambda record: record.start)] == ["server", "internal"]
