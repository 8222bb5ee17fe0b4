"""Spans of the OpenTelemetry API that cost little, and the recorder that decides at the end which traces are kept."""

import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, get_current_span, set_span_in_context

from rakiza._kernel import Redactor, RequestContext, current, describe
from rakiza._kernel.clock import wall_seconds
from rakiza._kernel.ids import sample
from rakiza._kernel.ids import span_id as new_span_id
from rakiza._kernel.ids import trace_id as new_trace_id

from ._core import MAX_TEXT, bounded, shown_statement

if TYPE_CHECKING:
    from opentelemetry.context import Context as OtelContext
    from opentelemetry.trace import Link, Status
    from opentelemetry.util.types import Attributes

MAX_SPANS = 512
"""What one request or one root span keeps of what it did."""
MAX_WAITING = 8_192
"""Spans that wait to be written, about 1 KB each; more are dropped and counted."""
MAX_ATTRIBUTES = 32
MAX_EVENTS = 16
FLAGS = (TraceFlags(TraceFlags.DEFAULT), TraceFlags(TraceFlags.SAMPLED))
Plain = str | bool | int | float | list[str]
Event = tuple[str, float, dict[str, Plain]]
Trace = tuple[str, "list[Record]"]


class Record(NamedTuple):
    """Hold one finished span as it is stored and sent; times are seconds since the epoch."""

    span_id: str
    parent_id: str
    name: str
    kind: str
    start: float
    end: float
    status: str
    message: str
    attributes: dict[str, Plain]
    events: list[Event]
    scope: str


class Call(NamedTuple):
    """Hold one call of a database or of Redis, in monotonic seconds; it becomes a span only when its trace is kept."""

    system: str
    statement: str
    parent_id: str
    start: float
    end: float
    error: str | None

    def record(self, offset: float) -> Record:
        name, text = shown_statement(self.statement)
        said: dict[str, Plain] = {"db.system.name": self.system, "db.query.text": text}
        times, status = (self.start + offset, self.end + offset), "error" if self.error else "unset"
        return Record(new_span_id(), self.parent_id, name, "client", *times, status, self.error or "", said, [], "rakiza")


class Spans(list[object]):
    """Collect what one request does, up to the bound; the rest is counted."""

    lost = 0


def note(context: RequestContext, item: "LightSpan | Call") -> None:
    """Add what was done to the request that did it, up to the bound."""
    spans = context.spans
    if spans is None:
        context.spans = Spans((item,))
    elif len(spans) < MAX_SPANS:
        spans.append(item)
    elif isinstance(spans, Spans):
        spans.lost += 1


def earliest(context: RequestContext, at: float) -> float:
    """Return the beginning of a request, at the latest that of the first thing it did: a thread that had to wait measures late."""
    return min(at, *(item.start if isinstance(item, Call) else item.began for item in context.spans or () if isinstance(item, Call | LightSpan)), at)


def plain(value: object) -> Plain:
    """Return a value that can be stored: bounded text, a number, or a list of texts."""
    if type(value) in {bool, float} or (type(value) is int and -(2**63) <= value < 2**63):
        return cast("Plain", value)
    if isinstance(value, float):
        return float(value)  # numbers of other libraries are floats that no encoder knows
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, list | tuple):
        return [str(plain(each)) for each in value[:MAX_ATTRIBUTES]]
    try:
        return bounded(str(value))
    except Exception:  # noqa: BLE001 - border: foreign `__str__`
        return f"<{type(value).__name__}>"


class LightSpan(trace.Span):
    """Be one span of a request or of a root outside of requests, whatever the trace decision: the end decides what is kept."""

    ended = 0.0
    status = StatusCode.UNSET
    message = ""

    def __init__(  # noqa: PLR0917 - one line at each of its callers
        self, holder: RequestContext, ids: tuple[str, str], name: str, kind: SpanKind, scope: str, roots: "Recorder | None" = None
    ) -> None:
        self.holder, (self.span_id, self.parent_id), self.name, self.kind, self.scope, self._roots = holder, ids, name, kind, scope, roots
        self.attributes: dict[str, Plain] = {}
        self.events: list[Event] = []
        self.began = perf_counter()

    def attach(self) -> None:
        self._token: Token[OtelContext] = otel_context.attach(set_span_in_context(self))

    def detach(self) -> None:
        otel_context.detach(self._token)

    def get_span_context(self) -> SpanContext:
        return SpanContext(int(self.holder.trace_id, 16), int(self.span_id, 16), False, FLAGS[self.holder.sampled])

    def is_recording(self) -> bool:
        return not self.ended

    def set_attribute(self, key: str, value: object) -> None:
        if not self.ended and (len(self.attributes) < MAX_ATTRIBUTES or key in self.attributes):
            self.attributes[key] = plain(value)

    def set_attributes(self, attributes: Mapping[str, object]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: "Attributes" = None, timestamp: int | None = None) -> None:
        if not self.ended and len(self.events) < MAX_EVENTS:
            at = perf_counter() if timestamp is None else _monotonic(timestamp)
            self.events.append((bounded(name), at, {key: plain(value) for key, value in (attributes or {}).items()}))

    def add_link(self, context: SpanContext, attributes: "Attributes" = None) -> None:
        self.add_event("link", {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}", **(attributes or {})})

    def update_name(self, name: str) -> None:
        self.name = name

    def set_status(self, status: "Status | StatusCode", description: str | None = None) -> None:
        if self.status is not StatusCode.OK and not self.ended:  # `ok` is final (OpenTelemetry specification, "Set Status")
            code, text = (status, description) if isinstance(status, StatusCode) else (status.status_code, status.description)
            self.status, self.message = code, bounded(text or "") if code is StatusCode.ERROR else ""

    def record_exception(
        self, exception: BaseException, attributes: "Attributes" = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        where = "".join(traceback.format_tb(exception.__traceback__))[-MAX_TEXT:]
        said = {"exception.type": type(exception).__name__, "exception.message": describe(exception), "exception.stacktrace": where}
        self.add_event("exception", {**said, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        if not self.ended:
            self.ended = perf_counter() if end_time is None else _monotonic(end_time)
            if self._roots is None:
                note(self.holder, self)
            else:
                self._roots.end_root(self)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            self.record_exception(error)
            self.set_status(StatusCode.ERROR, type(error).__name__)
        self.end()

    def record(self, offset: float) -> Record:
        times = self.began + offset, (self.ended or perf_counter()) + offset
        status, events = (self.status.name.lower(), self.message), [(name, at + offset, said) for name, at, said in self.events]
        name, kind = bounded(self.name), self.kind.name.lower()
        return Record(self.span_id, self.parent_id, name, kind, *times, *status, self.attributes, events, self.scope)


def _monotonic(nanoseconds: int) -> float:
    return nanoseconds / 1e9 - wall_seconds() + perf_counter()


class Ended(list[object]):
    """Be the spans of a request that has ended: what comes late follows its trace, or is dropped with it."""

    def __init__(self, keep: Callable[[object], None] | None) -> None:
        self._keep = keep

    def append(self, item: object) -> None:
        if self._keep is not None:
            self._keep(item)


_FORGOTTEN = Ended(None)


class Recorder:
    """Keep finished traces until they are written."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self.kept = self.dropped = 0
        self.scrub: Callable[[object], object] = Redactor().nested
        self.forget_waiting()

    def forget_waiting(self) -> None:
        """Hold nothing: after a fork what waits is the parent's."""
        self._waiting: deque[tuple[str, list[object]]] = deque()
        self._size = 0
        self._lock = threading.Lock()

    def sampled(self) -> bool:
        return sample(self._ratio)

    def keep(self, context: RequestContext, first: LightSpan) -> None:
        """Keep the trace of a request: its own span and what it did so far."""
        spans, trace_id = [first, *(context.spans or ())], context.trace_id
        if isinstance(context.spans, Spans) and context.spans.lost:
            first.attributes["spans.lost"] = context.spans.lost
        context.spans = Ended(lambda item: self._add(trace_id, [item]))
        self._add(trace_id, spans)

    @staticmethod
    def forget(context: RequestContext) -> None:
        """Drop the trace of a request, and what comes late with it."""
        context.spans = _FORGOTTEN

    def end_root(self, span: LightSpan) -> None:
        """Keep a root span that was sampled, or in which something failed."""
        holder = span.holder
        if holder.sampled or any(map(_failed, (span, *(holder.spans or ())))):
            self.keep(holder, span)
        else:
            self.forget(holder)

    def _add(self, trace_id: str, spans: list[object]) -> None:
        with self._lock:
            if self._size + len(spans) > MAX_WAITING:
                self.dropped += len(spans)
            else:
                self._size += len(spans)
                self.kept += len(spans)
                self._waiting.append((trace_id, spans))

    def take(self) -> list[Trace]:
        """Return what waits."""
        with self._lock:
            taken, self._waiting, self._size = self._waiting, deque(), 0
        offset = wall_seconds() - perf_counter()
        return [(trace_id, [self._clean(cast("LightSpan | Call", each).record(offset)) for each in spans]) for trace_id, spans in taken]

    def _clean(self, record: Record) -> Record:
        """Return a span without the secrets its names, values and exceptions held."""
        hide = cast("Callable[[Any], Any]", self.scrub)
        events = [(name, at, hide(said)) for name, at, said in record.events]
        return record._replace(name=hide(record.name), message=hide(record.message), attributes=hide(record.attributes), events=events)


def _failed(item: object) -> bool:
    return item.error is not None if isinstance(item, Call) else isinstance(item, LightSpan) and item.status.name == "ERROR"


class LightTracer(trace.NoOpTracer):
    """Start spans for the platform that is asked for at each start; making them current is the API's own work."""

    def __init__(self, name: str, roots: "Callable[[], Recorder | None]") -> None:
        self._name, self._roots = bounded(name), roots

    def start_span(  # noqa: PLR0917 - the signature of OpenTelemetry; what is left to use_span is not looked at
        self, name: str, context: "OtelContext | None" = None, kind: SpanKind = SpanKind.INTERNAL, attributes: "Attributes" = None,
        links: "Sequence[Link] | None" = None, start_time: int | None = None, *_: object, **__: object,
    ) -> trace.Span:
        """Start a span below the current one, else below the request at hand, else as a root of its own."""
        parent = get_current_span(context)
        if isinstance(parent, LightSpan):
            span = LightSpan(parent.holder, (new_span_id(), parent.span_id), name, kind, self._name)
        elif parent is trace.INVALID_SPAN and context is None and (request := current()) is not None:
            span = LightSpan(request, (new_span_id(), request.span_id), name, kind, self._name)
        elif (roots := self._roots()) is not None:
            span = self._root(roots, parent.get_span_context(), name, kind)
        else:
            return NonRecordingSpan(parent.get_span_context())
        if attributes:
            span.set_attributes(attributes)
        for link in links or ():
            span.add_link(link.context, link.attributes)
        if start_time is not None:
            span.began = _monotonic(start_time)
        return span

    def _root(self, roots: "Recorder", parent: SpanContext, name: str, kind: SpanKind) -> LightSpan:
        """Open a trace, or this process's part of one that came from outside."""
        trace_id = f"{parent.trace_id:032x}" if parent.is_valid else new_trace_id()
        sampled = parent.trace_flags.sampled if parent.is_valid else roots.sampled()
        holder = RequestContext(trace_id, trace_id, new_span_id(), sampled=sampled)
        return LightSpan(holder, (holder.span_id, f"{parent.span_id:016x}" if parent.is_valid else ""), name, kind, self._name, roots)


class LightProvider(trace.TracerProvider):
    """Give tracers to user code and to client instrumentations."""

    def __init__(self, roots: "Callable[[], Recorder | None]") -> None:
        self._roots = roots

    def get_tracer(self, instrumenting_module_name: str, *_: object, **__: object) -> trace.Tracer:
        return LightTracer(instrumenting_module_name, self._roots)
