"""Send kept traces to a collector by OTLP over HTTP, from a thread of its own: a collector that is slow or gone costs spans, never a request."""

import logging
import os
import threading
from collections.abc import Sequence
from functools import partial
from urllib.parse import unquote

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from rakiza._kernel import CheckResult, SettingsError
from rakiza.telemetry._spans import Record, Trace
from rakiza.telemetry.settings import TelemetrySettings

try:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
except ImportError as missing:
    raise SettingsError('OTEL_EXPORTER_OTLP_ENDPOINT needs the OTLP exporter: pip install "rakiza[otlp]"') from missing

MAX_QUEUED = 4_096
"""Spans that wait for the collector, about 1 KB each; more are dropped and counted."""
BATCH = 512
EVERY_MILLISECONDS = 1_000
STOP_SECONDS = 2.0
"""How long a stop waits for the last spans to leave."""
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
log = logging.getLogger("rakiza.telemetry")


def pairs(text: str) -> dict[str, str]:
    """Read `key=value,key=value`, percent-encoded (W3C Baggage)."""
    split = (part.partition("=") for part in text.split(","))
    return {unquote(key).strip(): unquote(value).strip() for key, _, value in split if key.strip()}


class Otlp(SpanExporter):
    """Stand between the kept traces and the collector: bound what waits, count what is lost, say once what is wrong."""

    def __init__(self, settings: TelemetrySettings, resource: dict[str, str]) -> None:
        self.dropped = self._waiting = 0
        self._down = False
        self._endpoint, seconds = settings.endpoint, settings.otlp_timeout
        self._reason = _Reason()
        self._resource = Resource({**resource, **pairs(settings.resource_attributes)})
        self._processor: BatchSpanProcessor | None = None
        self._process = os.getpid()
        self._make = partial(
            OTLPSpanExporter,
            settings.endpoint,
            certificate_file=settings.otlp_certificate or None,
            headers=pairs(settings.otlp_headers) or None,
            timeout=seconds and (seconds if seconds <= 300 else seconds / 1000),
            compression=Compression(settings.otlp_compression) if settings.otlp_compression else None,
        )
        self._exporter = self._make()

    def offer(self, traces: Sequence[Trace]) -> None:
        """Queue the spans of traces; the thread that sends them starts with the first ones."""
        if self._processor is None:
            self._exporter, self._waiting = self._make(), 0  # one that was stopped sends no more
            self._processor = BatchSpanProcessor(self, MAX_QUEUED, EVERY_MILLISECONDS, BATCH)
        if self._process != os.getpid():
            self._process, self._waiting = os.getpid(), 0
        for trace_id, records in traces:
            for record in records:
                if self._waiting >= MAX_QUEUED:
                    self.dropped += 1
                else:
                    self._waiting += 1
                    self._processor.on_end(self._readable(int(trace_id, 16), record))

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans to the collector; called from the sending thread alone."""
        self._reason.thread = threading.get_ident()
        result = self._exporter.export(spans)
        down = result is not SpanExportResult.SUCCESS
        self._waiting -= len(spans)
        self.dropped += len(spans) if down else 0
        if down and not self._down:
            log.warning("the collector %s does not take traces (%s); at most %d spans wait", self._endpoint, self._reason.text, MAX_QUEUED)
        elif self._down and not down:
            log.warning("the collector %s takes traces again; %d spans were dropped", self._endpoint, self.dropped)
        self._down = down
        return result

    def stop(self) -> None:
        """Send what is left, for a bounded time."""
        if self._processor is not None:
            ending = threading.Thread(target=self._processor.shutdown, name="rakiza-otlp-stop", daemon=True)
            ending.start()
            ending.join(STOP_SECONDS)
            self._processor = None

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call] # the exporter leaves it untyped

    def check(self) -> CheckResult:
        """Report whether the collector takes the spans."""
        output = f"{self._endpoint} does not take traces: {self._reason.text}" if self._down else None
        return CheckResult("warn" if self._down else "pass", self.dropped, "dropped spans", output)

    def _readable(self, trace: int, record: Record) -> ReadableSpan:
        return ReadableSpan(
            record.name,
            SpanContext(trace, int(record.span_id, 16), False, SAMPLED),
            SpanContext(trace, int(record.parent_id, 16), record.kind == "server", SAMPLED) if record.parent_id else None,
            self._resource,
            record.attributes,
            [Event(name, said, int(at * 1e9)) for name, at, said in record.events],
            kind=SpanKind[record.kind.upper()],
            status=Status(StatusCode[record.status.upper()], record.message or None),
            start_time=int(record.start * 1e9),
            end_time=int(record.end * 1e9),
            instrumentation_scope=InstrumentationScope(record.scope),
        )


class _Reason(logging.Filter):
    """Keep what the exporter says of a failure for our one line, instead of a line for each attempt."""

    text, thread = "no answer", 0

    def __init__(self) -> None:
        super().__init__()
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread == self.thread:
            self.text = record.getMessage()[:300]
        return record.thread != self.thread
