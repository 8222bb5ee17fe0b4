"""W3C trace context and metric labels, without I/O."""

import re
from typing import NamedTuple, Protocol

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
MAX_TRACEPARENT_BYTES = 256
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Parent(NamedTuple):
    """Hold what a `traceparent` header says."""

    trace_id: str
    span_id: str
    sampled: bool


class OpenSpan(Protocol):
    """Be a span that was opened for a request."""

    def detach(self) -> None:
        """Stop being the current span."""
        ...

    def finish(self, status: int, route: str, error: BaseException | None) -> None:
        """Close the span with the answer's status, the route template and the exception nobody foresaw."""
        ...


def parse_traceparent(header: bytes) -> Parent | None:
    """Return the parent a header names, none for a malformed one; a later version may say more (W3C Trace Context, section 4.3)."""
    found = _TRACEPARENT.fullmatch(header) if len(header) <= MAX_TRACEPARENT_BYTES else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace == b"0" * 32 or span == b"0" * 16:
        return None
    return Parent(trace.decode(), span.decode(), bool(int(flags, 16) & 1))


def method_label(method: str) -> str:
    """Return the method, or `OTHER` for one that only a client's imagination bounds."""
    return method if method in METHODS else "OTHER"
