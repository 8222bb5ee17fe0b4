"""Trace decision, server spans and the metrics of the request pass."""

import platform
import threading
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from rakiza._kernel import RequestContext
from rakiza._kernel.ids import sample, span_id, trace_id

from ._core import OpenSpan, method_label, parse_traceparent
from .settings import TelemetrySettings

if TYPE_CHECKING:
    from ._tracing import Tracing

MAX_SERIES = 4_096
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Register and render metrics in the Prometheus text format."""

    content_type = b"text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        GCCollector(self.registry)
        PlatformCollector(self.registry)
        if platform.system() == "Linux":
            ProcessCollector(registry=self.registry)

    def counter(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Counter:
        """Return a new counter; raise ValueError for a name in use."""
        return Counter(name, description, labels, registry=self.registry)

    def gauge(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Gauge:
        """Return a new gauge; raise ValueError for a name in use."""
        return Gauge(name, description, labels, registry=self.registry)

    def histogram(self, name: str, description: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = BUCKETS) -> Histogram:
        """Return a new histogram; raise ValueError for a name in use."""
        return Histogram(name, description, labels, buckets=buckets, registry=self.registry)

    def render(self) -> bytes:
        """Return every metric in the text format 0.0.4."""
        return generate_latest(self.registry)


class Telemetry:
    """Decide what is traced, open server spans and observe requests."""

    def __init__(self, app_name: str, settings: TelemetrySettings | None = None) -> None:
        self.settings = settings or TelemetrySettings()
        self.service_name = self.settings.service_name or app_name
        self.metrics = Metrics()
        self.in_flight = 0
        self._ratio = self.settings.sample_ratio
        self._tracing: Tracing | None = None
        self._lock = threading.Lock()
        self._duration = self.metrics.histogram("http_request_duration_seconds", "Time until the answer was sent", ("method", "route", "status"))
        self._series: dict[tuple[str, str, int], Histogram] = {}
        self.metrics.gauge("http_requests_in_flight", "Requests being answered").set_function(lambda: self.in_flight)

    def begin(self, method: str, path: str, client: str, traceparent: bytes | None, *, trusted: bool) -> tuple[RequestContext, str | None]:
        """Return the context of a new request, the trace decision made, and the id of its parent span, if any.

        The parent's `sampled` flag counts only when it comes through a trusted proxy; else anyone could force a span on every request.
        """
        request_id = trace_id()
        parent = parse_traceparent(traceparent) if traceparent is not None else None
        if parent is None:
            return RequestContext(
                request_id, request_id, span_id(), sampled=sample(self._ratio), client=client, method=method, path=path
            ), None
        sampled = parent.sampled if trusted else sample(self._ratio)
        context = RequestContext(request_id, parent.trace_id, span_id(), sampled=sampled, client=client, method=method, path=path)
        return context, parent.span_id

    def span(self, context: RequestContext, scheme: str, parent_span_id: str | None) -> OpenSpan:
        """Open the server span of a sampled request; the SDK is loaded at the first one."""
        return self.tracing.start(context, scheme, parent_span_id)

    @property
    def tracing(self) -> "Tracing":
        """Return the tracer, made at first use."""
        if self._tracing is None:
            with self._lock:
                if self._tracing is None:
                    from ._tracing import Tracing

                    self._tracing = Tracing(self.service_name, self.settings.keep_spans)
        return self._tracing

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request under its route template, never its raw path."""
        key = (method, route, status)
        series = self._series.get(key)
        if series is None:
            series = self._new_series(key)
        series.observe(seconds)

    def _new_series(self, key: tuple[str, str, int]) -> Histogram:
        method, route, status = key
        if len(self._series) >= MAX_SERIES:
            route = "other"
        series = self._duration.labels(method_label(method), route, str(status))
        if len(self._series) < MAX_SERIES:
            self._series[key] = series
        return series
