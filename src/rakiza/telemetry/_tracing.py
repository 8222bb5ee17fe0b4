"""Server spans by the OpenTelemetry SDK, built only for requests that were sampled first."""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from rakiza._kernel import RequestContext

if TYPE_CHECKING:
    from opentelemetry.context import Context as OtelContext
    from opentelemetry.trace import Link, TraceState
    from opentelemetry.util.types import AttributeValue

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class _RequestIds(RandomIdGenerator):
    """Give the server span the ids that stand in the log."""

    def __init__(self) -> None:
        self.wanted = threading.local()

    def generate_span_id(self) -> int:
        wanted = getattr(self.wanted, "span", 0)
        self.wanted.span = 0
        return wanted or super().generate_span_id()

    def generate_trace_id(self) -> int:
        wanted = getattr(self.wanted, "trace", 0)
        self.wanted.trace = 0
        return wanted or super().generate_trace_id()


class _FollowTheRequest(Sampler):
    """Record server spans, which the pass asks for only when sampled, and the children of recorded spans."""

    def should_sample(  # noqa: PLR0917 - the signature of the SDK
        self,
        parent_context: "OtelContext | None",
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: "Mapping[str, AttributeValue] | None" = None,
        links: "Sequence[Link] | None" = None,
        trace_state: "TraceState | None" = None,
    ) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        keep = kind is SpanKind.SERVER or (parent.is_valid and parent.trace_flags.sampled)
        return SamplingResult(Decision.RECORD_AND_SAMPLE if keep else Decision.DROP, attributes)

    def get_description(self) -> str:
        return "FollowTheRequest"


class _Recent(SpanProcessor):
    def __init__(self, keep: int) -> None:
        self.spans: deque[ReadableSpan] = deque(maxlen=keep)

    def on_start(self, span: Span, parent_context: "OtelContext | None" = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class ServerSpan:
    """Hold one open server span and the token that ends its context."""

    __slots__ = ("span", "token")

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        self.token = otel_context.attach(set_span_in_context(span))

    def detach(self) -> None:
        """Stop being the current span; the one before is it again."""
        otel_context.detach(self.token)

    def finish(self, status: int, route: str, error: BaseException | None) -> None:
        """Close the span with the answer's status."""
        span = self.span
        span.set_attributes({"http.response.status_code": status, "http.route": route})
        if error is not None:
            span.record_exception(error)
        if status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        span.end()


class Tracing:
    """Make spans and keep the latest finished ones."""

    def __init__(self, service_name: str, keep: int) -> None:
        self._ids = _RequestIds()
        self._recent = _Recent(keep)
        self.provider = TracerProvider(
            sampler=_FollowTheRequest(), id_generator=self._ids, resource=Resource.create({"service.name": service_name}), shutdown_on_exit=False
        )
        self.provider.add_span_processor(self._recent)
        self._tracer = self.provider.get_tracer("rakiza")

    def start(self, context: RequestContext, scheme: str, parent_span_id: str | None) -> ServerSpan:
        """Open the server span of a sampled request."""
        trace_number = int(context.trace_id, 16)
        self._ids.wanted.span = int(context.span_id, 16)
        self._ids.wanted.trace = trace_number
        parent = None
        if parent_span_id is not None:
            remote = SpanContext(trace_number, int(parent_span_id, 16), is_remote=True, trace_flags=SAMPLED)
            parent = set_span_in_context(NonRecordingSpan(remote))
        attributes = {"http.request.method": context.method, "url.path": context.path, "url.scheme": scheme, "client.address": context.client}
        return ServerSpan(self._tracer.start_span(context.method, parent, SpanKind.SERVER, attributes))

    def recent(self) -> list[ReadableSpan]:
        """Return the latest finished spans, newest first."""
        return list(reversed(self._recent.spans))
