"""Trace decision, spans and metrics of the request pass; what user code asks for."""

import logging
from collections.abc import Callable, Mapping
from time import perf_counter

from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, SpanKind, StatusCode

from rakiza._kernel import Gcra, RequestContext, current, service_at_hand
from rakiza._kernel.http import OWN_PREFIX
from rakiza._kernel.ids import sample, span_id, trace_id
from rakiza._kernel.tasks import after_fork

from ._core import bounded, parse_traceparent, shown_statement
from ._metrics import LoopWatch, Metrics, RequestDurations
from ._slow import Slow
from ._spans import LightProvider, LightSpan, Plain, Recorder, Trace, earliest
from .settings import TelemetrySettings

SLOW_LINES_A_MINUTE = 30
sql_log = logging.getLogger("rakiza.sql")


class Telemetry:
    """Decide what is traced, keep what was slow or failed, and measure requests."""

    def __init__(self, app_name: str, settings: TelemetrySettings | None = None) -> None:
        self.settings = settings = settings or TelemetrySettings()
        self.service_name = settings.service_name or app_name
        self.metrics = Metrics()
        self.slow = Slow()
        self.in_flight = 0
        self.enabled = not settings.disabled and settings.sampler != "always_off"
        self.recorder = Recorder(settings.ratio)
        self.provider: trace.TracerProvider = LightProvider(lambda: self.recorder) if self.enabled else NoOpTracerProvider()
        self.outlets: list[Callable[[list[Trace]], object]] = []
        """Who is given the kept traces, once a second."""
        self._ratio = settings.ratio
        self._follows = settings.sampler.startswith("parentbased") and self.enabled
        self._slow_seconds = settings.slow_seconds
        self._loop, self._durations = LoopWatch(), RequestDurations()
        requests = self._durations
        self.watch_loop, self._observe, self.request_totals = self._loop.watch, requests.observe, requests.totals
        self._lines = Gcra(SLOW_LINES_A_MINUTE, 60.0)
        metrics = self.metrics
        metrics.registry.register(requests)
        metrics.watch("http_requests_in_flight", "Requests being answered", lambda: self.in_flight)
        metrics.watch("trace_spans_kept", "Spans of requests that were sampled, slow or failed", lambda: self.recorder.kept)
        metrics.watch("trace_spans_dropped", "Spans that found no room to wait in", lambda: self.recorder.dropped)
        metrics.watch("event_loop_lag_seconds", "Longest delay of the event loop of late", lambda: self.loop_lag_seconds or 0.0)

        after_fork(self.forget)

    def forget(self) -> None:
        """Leave to the parent of a fork what waits, its loop and locks its threads may hold; rooms that start later rely on it in their own forks."""
        self.recorder.forget_waiting()
        self._durations.forget()
        self.slow.forget()
        self._loop.forget()
        self.in_flight = 0

    # -- the request pass

    def begin(self, method: str, path: str, client: str, traceparent: bytes | None, *, trusted: bool) -> RequestContext:
        """Return the context of a new request, the trace decision made.

        The parent's `sampled` flag counts only when it comes through a trusted proxy; else anyone could force a span on every request.
        """
        request_id = trace_id()
        parent = parse_traceparent(traceparent) if traceparent is not None else None
        if parent is None:
            return RequestContext(request_id, request_id, span_id(), sampled=sample(self._ratio), client=client, method=method, path=path)
        sampled = parent.sampled if trusted and self._follows else sample(self._ratio)
        context = RequestContext(request_id, parent.trace_id, span_id(), sampled=sampled, client=client, method=method, path=path)
        context.parent_span_id = parent.span_id
        return context

    def open(self, context: RequestContext) -> LightSpan:
        """Open the server span of a sampled request and make it the current one; who opens it calls its `detach`."""
        span = _server_span(context)
        span.attach()
        return span

    def finish(  # noqa: PLR0917 - what is known of an answered request
        self, context: RequestContext, span: LightSpan | None, route: str, status: int, seconds: float, error: BaseException | None, *, secure: bool
    ) -> None:
        """Count one answered request under its route template, never its raw path, and keep its trace when it was sampled, slow or failed."""
        sampled = context.sampled
        self._observe((context.method, route, status), seconds, context.trace_id if sampled else None)
        failed = status >= 500 or error is not None
        if slow := seconds >= self._slow_seconds and not route.startswith(OWN_PREFIX):
            self.slow.add_request(context, route, seconds)
        if context.spans is not None and len(context.spans) >= self.settings.repeated_statements:
            self.slow.add_repeats(context, route, self.settings.repeated_statements)
        if self.enabled and (sampled or slow or failed):
            light = span if span is not None else _server_span(context)
            light.name, light.ended = f"{context.method} {route}", perf_counter()
            light.began = earliest(context, light.ended - seconds)
            self._describe(light, route, status, error, secure)
            self.recorder.keep(context, light)
        elif context.spans is not None:
            self.recorder.forget(context)

    def finish_work(self, context: RequestContext, name: str, seconds: float, error: BaseException | None, said: Mapping[str, Plain]) -> None:
        """Keep the trace of work outside of requests, begun by `begin`, when it was sampled or failed (semantic conventions, "Messaging")."""
        if not self.enabled or not (context.sampled or error is not None):
            self.recorder.forget(context)
            return
        span = LightSpan(context, (context.span_id, context.parent_span_id or ""), name, SpanKind.CONSUMER, "rakiza")
        if error is not None:
            span.record_exception(error)
            span.status = StatusCode.ERROR
        span.ended = perf_counter()
        span.began = earliest(context, span.ended - seconds)
        span.attributes |= said
        self.recorder.keep(context, span)

    @staticmethod
    def _describe(span: LightSpan, route: str, status: int, error: BaseException | None, secure: bool) -> None:
        """Say what the server span was about (OpenTelemetry semantic conventions, "HTTP server")."""
        context, ended, span.ended = span.holder, span.ended, 0.0
        if error is not None:
            span.record_exception(error)
        if status >= 500 or error is not None:
            span.status = StatusCode.ERROR
        span.ended = ended
        http: dict[str, Plain] = {"http.request.method": context.method, "http.route": bounded(route), "http.response.status_code": status}
        url: dict[str, Plain] = {"url.path": bounded(context.path), "url.scheme": "https" if secure else "http"}
        span.attributes |= {**http, **url, "client.address": context.client, "request.id": context.request_id}

    # -- what rooms above and operators read

    @property
    def loop_lag_seconds(self) -> float | None:
        """Return the longest delay of the event loop of late, which fades within seconds; none under WSGI."""
        return self._loop.seconds

    def flush(self) -> None:
        """Hand the kept traces on."""
        if traces := self.recorder.take():
            for outlet in self.outlets:
                outlet(traces)

    def add_slow_statement(self, statement: str, seconds: float) -> None:
        """List and log a statement when it was slower than the setting; at most 30 lines a minute."""
        if seconds >= self.settings.slow_query_seconds:
            context, (_, text) = current(), shown_statement(statement)
            self.slow.add_statement(text, context, seconds)
            if not self._lines.hit("sql", perf_counter()):
                sql_log.warning("slow statement, %.0f ms: %s", seconds * 1000, text)


def _server_span(context: RequestContext) -> LightSpan:
    return LightSpan(context, (context.span_id, context.parent_span_id or ""), context.method, SpanKind.SERVER, "rakiza")


def _recorder_at_hand() -> Recorder | None:
    telemetry = service_at_hand("telemetry", Telemetry)
    return telemetry.recorder if telemetry is not None and telemetry.enabled else None


_AT_HAND = LightProvider(_recorder_at_hand)


def get_tracer(name: str) -> trace.Tracer:
    """Return a tracer whose spans belong to the request at hand, or to the platform started last."""
    return _AT_HAND.get_tracer(name)


def get_meter() -> Metrics:
    """Return the metrics of the platform at hand; raise LookupError when none was started."""
    telemetry = service_at_hand("telemetry", Telemetry)
    if telemetry is None:
        raise LookupError("no platform was started in this process: call integrate() and start it, or use platform.metrics")
    return telemetry.metrics


def serve_opentelemetry() -> None:
    """Be the process's provider of tracers, so that `opentelemetry.trace.get_tracer` works; one that the application set stays."""
    if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        trace.set_tracer_provider(_AT_HAND)
