"""Traces and metrics: the W3C trace context, spans that cost little, client calls, counters, gauges and histograms.

    from rakiza.telemetry import Telemetry
    telemetry = Telemetry("noufal")
    imported = telemetry.metrics.counter("boq_items_imported", "Items imported")
    imported.inc(400)
"""

from ._clients import ClientHeaders, client_span, observed, trace_engine, trace_httpx, trace_redis
from ._core import Parent, parse_traceparent
from ._metrics import BUCKETS, Metrics, RequestTotals
from ._slow import RepeatedStatement, Slow, SlowRequest, SlowStatement
from ._spans import LightSpan
from .part import part
from .service import Telemetry, get_meter, get_tracer
from .settings import TelemetrySettings

__all__ = [
    "BUCKETS", "ClientHeaders", "LightSpan", "Metrics", "Parent", "RepeatedStatement", "RequestTotals", "Slow", "SlowRequest", "SlowStatement",
    "Telemetry", "TelemetrySettings", "client_span", "get_meter", "get_tracer", "observed", "parse_traceparent", "part", "trace_engine",
    "trace_httpx", "trace_redis",
]
