"""Traces and metrics: the W3C trace context, the server span of the request pass, counters, gauges and histograms.

    from rakiza.telemetry import Telemetry
    telemetry = Telemetry("noufal")
    imported = telemetry.metrics.counter("boq_items_imported", "Items imported")
    imported.inc(400)
"""

from ._core import OpenSpan, Parent, parse_traceparent
from .part import part
from .service import Metrics, Telemetry
from .settings import TelemetrySettings

__all__ = ["Metrics", "OpenSpan", "Parent", "Telemetry", "TelemetrySettings", "parse_traceparent", "part"]
