"""What the benchmark tells the Python peers, and the exporter that counts their spans instead of sending them."""

import os

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from prometheus_client import Counter

ENVIRONMENT = os.environ  # noqa: TID251  a peer knows nothing of the project's settings
LOG_FILE = ENVIRONMENT.get("PEER_LOG", "peer_requests.log")
LIMIT = f"{ENVIRONMENT.get('PEER_LIMIT', '1000000000')} per minute"
RATIO = float(ENVIRONMENT.get("PEER_RATIO", "1"))
SENTRY = ENVIRONMENT.get("PEER_SENTRY", "1") == "1"
GREETING = {"message": "hello"}


class CountingExporter(SpanExporter):
    def __init__(self):
        self.exported = Counter("spans_exported", "Spans handed to the exporter")

    def export(self, spans):
        self.exported.inc(len(spans))
        return SpanExportResult.SUCCESS


def tracer_provider():
    sampler = ALWAYS_ON if RATIO >= 1 else ParentBased(TraceIdRatioBased(RATIO))
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(BatchSpanProcessor(CountingExporter()))
    return provider


def start_sentry():
    if SENTRY:
        import sentry_sdk

        sentry_sdk.init()  # no DSN: nothing is sent, its integrations are installed all the same
