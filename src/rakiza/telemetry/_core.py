"""W3C trace context and metric labels, without I/O."""

import re
from typing import NamedTuple

_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Parent(NamedTuple):
    """Hold what a `traceparent` header says."""

    trace_id: str
    span_id: str
    sampled: bool


def parse_traceparent(header: bytes) -> Parent | None:
    """Return the parent of a version 00 header, none for anything else (W3C Trace Context, section 3.2)."""
    found = _TRACEPARENT.fullmatch(header)
    if found is None:
        return None
    trace, span, flags = found.groups()
    if trace == b"0" * 32 or span == b"0" * 16:
        return None
    return Parent(trace.decode(), span.decode(), bool(int(flags, 16) & 1))


def method_label(method: str) -> str:
    """Return the method, or `OTHER` for one that only a client's imagination bounds."""
    return method if method in METHODS else "OTHER"
