"""What belongs to one request and travels with it through threads and tasks."""

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ports import Principal

DEFAULT_TENANT = "default"


class Deadline:
    """Hold the moment (monotonic seconds) after which an answer is of no use."""

    __slots__ = ("expires_at",)

    def __init__(self, expires_at: float) -> None:
        self.expires_at = expires_at

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the deadline that ends `seconds` from now."""
        return cls(time.perf_counter() + seconds)

    def remaining(self) -> float:
        """Return the seconds left, zero when it has passed."""
        return max(0.0, self.expires_at - time.perf_counter())

    @property
    def expired(self) -> bool:
        """Tell whether no time is left."""
        return time.perf_counter() >= self.expires_at


class RequestContext:
    """Carry the ids, the caller and the deadline of the work at hand."""

    __slots__ = (
        *("client", "expires_at", "method", "owner", "parent_span_id", "path", "principal", "request_id", "route", "sampled"),
        *("span_id", "spans", "tenant", "trace_id"),
    )

    def __init__(
        self, request_id: str, trace_id: str, span_id: str, *, sampled: bool = False, client: str = "", method: str = "", path: str = ""
    ) -> None:
        self.request_id = request_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.sampled = sampled
        self.client = client
        self.method = method
        self.path = path
        self.tenant = DEFAULT_TENANT
        self.principal: Principal | None = None
        self.expires_at = 0.0
        self.route: str | None = None
        self.parent_span_id: str | None = None
        self.owner: object = None
        """The `Context` of the platform that serves the request."""
        self.spans: list[object] | None = None
        """What the request has done so far that a trace would show; `telemetry` fills it."""

    @property
    def deadline(self) -> Deadline | None:
        """Return the request's deadline, or none."""
        return Deadline(self.expires_at) if self.expires_at else None

    @property
    def traceparent(self) -> str:
        """Return the header that continues this trace (W3C Trace Context, version 00)."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


request_context: ContextVar[RequestContext | None] = ContextVar("rakiza_request_context", default=None)


def current() -> RequestContext | None:
    """Return the context of the request being served, or none outside one."""
    return request_context.get()


@contextmanager
def use_context(context: RequestContext) -> "Iterator[RequestContext]":
    """Make `context` the current one for the block."""
    reset = request_context.set(context)
    try:
        yield context
    finally:
        request_context.reset(reset)
