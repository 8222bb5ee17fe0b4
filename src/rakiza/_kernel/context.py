"""What belongs to one request and travels with it through threads and tasks."""

from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ports import Principal

DEFAULT_TENANT = "default"


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
        """The moment of `SYSTEM_CLOCK` after which nobody waits for the answer; zero when there is none."""
        self.route: str | None = None
        self.parent_span_id: str | None = None
        self.owner: object = None
        """The `Context` of the platform that serves the request."""
        self.spans: list[object] | None = None
        """What the request has done so far that a trace would show; `telemetry` fills it."""

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


NEVER = float("inf")
expiry: ContextVar[float] = ContextVar("rakiza_expiry", default=NEVER)
"""The moment the nearest enclosing `deadline` ends."""


def expires_at() -> float:
    """Return the moment of `SYSTEM_CLOCK` when the nearest deadline passes: the request's or an enclosing block's; infinity without one."""
    context, block = request_context.get(), expiry.get()
    return context.expires_at if context is not None and 0.0 < context.expires_at < block else block


def time_left() -> float | None:
    """Return the seconds left of the nearest deadline, 0.0 when it has passed, none when there is none."""
    moment = expires_at()
    return None if moment == NEVER else max(0.0, moment - perf_counter())


@contextmanager
def deadline(seconds: float) -> "Iterator[None]":
    """Let the block have at most so many seconds, fewer when an outer deadline ends sooner: `time_left` tells, nothing is interrupted.

    Raises ValueError for a number below zero or none.
    """
    if not seconds >= 0:
        raise ValueError(f"a deadline is a number of seconds from 0 up, not {seconds!r}")
    reset = expiry.set(min(expires_at(), perf_counter() + seconds))
    try:
        yield
    finally:
        expiry.reset(reset)
