"""What a log line looks like; no I/O."""

import logging
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from rakiza._kernel import RequestContext, current, describe

_encoder = msgspec.json.Encoder(enc_hook=str)
_encode = _encoder.encode
MAX_MESSAGE_CHARACTERS = 64 * 1024


class AccessLine(msgspec.Struct, gc=False):
    """Order the fields of one answered request."""

    timestamp: str
    method: str
    path: str
    status_code: int
    response_time_ms: float
    user_id: str | None
    ip_address: str
    user_agent: str
    request_id: str
    trace_id: str
    span_id: str
    tenant: str


class AuditLine(msgspec.Struct):
    """Order the fields of one audit record."""

    timestamp: str
    event_type: str
    user_id: str | None
    action: str
    resource: str
    details: dict[str, object]
    ip_address: str
    request_id: str
    trace_id: str
    span_id: str
    tenant: str


class Timestamps:
    """Render epoch seconds as ISO 8601 with the local offset; the part up to the second is rendered once a second."""

    __slots__ = ("_latest", "_second")

    def __init__(self) -> None:
        self._second = (-1, "", "")  # one tuple each, so that another thread never sees half a change
        self._latest = (-1, "")

    def render(self, seconds: float) -> str:
        """Return for example `2026-11-23T15:30:00.123+03:00`."""
        millisecond = int(seconds * 1000)
        known, text = self._latest
        if millisecond == known:
            return text
        whole = millisecond // 1000
        second, head, tail = self._second
        if whole != second:
            full = datetime.fromtimestamp(whole, UTC).astimezone().isoformat()
            head, tail = full[:19], full[19:]
            self._second = (whole, head, tail)
        text = f"{head}.{millisecond % 1000:03d}{tail}"
        self._latest = (millisecond, text)
        return text


def context_fields(context: RequestContext | None) -> tuple[str, str, str, str]:
    """Return request id, trace id, span id and tenant; empty texts outside a request."""
    return (context.request_id, context.trace_id, context.span_id, context.tenant) if context else ("", "", "", "default")


class JsonFormatter(logging.Formatter):
    """Render a record as one JSON object on one line, with the ids of the request at hand."""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        request_id, trace_id, span_id, tenant = context_fields(current())
        line: dict[str, object] = {
            "timestamp": self._timestamps.render(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": message_of(record),
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
            "request_id": request_id,
            "trace_id": trace_id,
            "span_id": span_id,
            "tenant": tenant,
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = exception_fields(record.exc_info[1])
        return encoded(line).decode()


def message_of(record: logging.LogRecord) -> str:
    """Return the record's message, bounded, even when its arguments do not fit its template."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        text = f"{record.msg} {record.args!r}"
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[:MAX_MESSAGE_CHARACTERS] + "…"


def exception_fields(error: BaseException) -> dict[str, object]:
    """Return type, message and traceback lines of an exception."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return {"type": type(error).__name__, "message": describe(error), "traceback": "".join(lines).splitlines()}


def encode_line(line: AccessLine | AuditLine) -> bytes:
    """Return the line as JSON bytes with its newline."""
    return encoded(line) + b"\n"


def encoded(line: object) -> bytes:
    """Return anything as JSON; half a surrogate pair, which UTF-8 cannot hold, becomes a question mark."""
    try:
        return _encode(line)
    except UnicodeEncodeError:
        return _encode(_without_surrogates(msgspec.to_builtins(line, enc_hook=str)))


def encode_lines(lines: Sequence[AccessLine]) -> bytes:
    """Return the lines as JSON bytes, each with its newline; one that cannot be said does not take the others with it."""
    try:
        return _encoder.encode_lines(lines)
    except UnicodeEncodeError:
        return b"".join(map(encode_line, lines))


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return [_without_surrogates(one) for one in value] if isinstance(value, list | tuple) else value
