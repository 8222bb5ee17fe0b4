"""What a log line looks like; no I/O."""

import logging
import re
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from rakiza._kernel import Redactor, RequestContext, current
from rakiza._kernel.redaction import text_of

_encoder = msgspec.json.Encoder(enc_hook=text_of)
MAX_TRACEBACK_LINES = 200
MAX_TRACEBACK_CHARACTERS = 64 * 1024
COLOURS = {"DEBUG": "\x1b[94m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[35m"}
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_USUAL = len(vars(logging.makeLogRecord({})))
# Control characters a terminal obeys (C0, C1, delete) and those that turn the direction of a text: a line could show what it does not say.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_BYTES = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


class AccessLine(msgspec.Struct, gc=False):
    timestamp: str
    method: str
    path: str
    status_code: int
    response_time_ms: float
    user_id: int | str | None
    ip_address: str
    user_agent: str
    request_id: str
    trace_id: str
    span_id: str
    tenant: str


class Timestamps:
    """Render epoch seconds as ISO 8601 with the local offset; the part up to the second is rendered once a second."""

    def __init__(self) -> None:
        self._second = (-1, "", "")  # one tuple, so that another thread never sees half a change

    def render(self, seconds: float) -> str:
        whole, milliseconds = divmod(int(seconds * 1000), 1000)
        second, head, tail = self._second
        if whole != second:
            full = datetime.fromtimestamp(whole, UTC).astimezone().isoformat()
            head, tail = full[:19], full[19:]
            self._second = (whole, head, tail)
        return f"{head}.{milliseconds:03d}{tail}"


def context_fields(context: RequestContext | None) -> tuple[str, str, str, str]:
    """Return request id, trace id, span id and tenant; empty texts outside a request."""
    return (context.request_id, context.trace_id, context.span_id, context.tenant) if context else ("", "", "", "default")


def with_ids(line: dict[str, object]) -> dict[str, object]:
    """Add the ids of the request at hand."""
    line["request_id"], line["trace_id"], line["span_id"], line["tenant"] = context_fields(current())
    return line


class Renderer:
    """Render records without their secrets, as lines of a file or for people at a terminal; never raises."""

    def __init__(self, redactor: Redactor, *, json: bool = True) -> None:
        self._redactor, self._json = redactor, json
        self._timestamps = Timestamps()

    def line(self, record: logging.LogRecord) -> bytes:
        try:
            line = encoded(self._fields(record)) if self._json else self.text(record).encode()
        except Exception as error:  # noqa: BLE001 - border: observer hook
            at, told = self._timestamps.render(record.created), f"a record that cannot be rendered: {type(error).__name__}: {text_of(error)}"
            line = encoded(with_ids({"timestamp": at, "level": record.levelname, "logger": text_of(record.name), "message": told}))
        return line + b"\n"

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        line: dict[str, object] = {
            "timestamp": self._timestamps.render(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redactor.text(message_of(record)),
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
        }
        with_ids(line)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            message = self._redactor.text(text_of(error))
            line["exception"] = {"type": type(error).__name__, "message": message, "traceback": self._traceback(error)}
        if len(record.__dict__) > _USUAL and (extra := _extra(record)):
            line["extra"] = self._redactor.value(extra)
        return line

    def text(self, record: logging.LogRecord, *, pretty: bool = False) -> str:
        """Return a record as text a terminal cannot be tricked with: a line and the lines of its exception; `pretty` is shorter and has the ids."""
        time, context = self._timestamps.render(record.created), current()
        text = f"{time[11:23] if pretty else time} {record.levelname:<8} {record.name}: {self._redactor.text(message_of(record))}"
        if len(record.__dict__) > _USUAL and (extra := _extra(record)):
            text += f"  {encoded(self._redactor.value(extra)).decode()}"
        if pretty and context is not None:
            text += f"  request={context.request_id} trace={context.trace_id}"
        found = self._traceback(record.exc_info[1]) if record.exc_info and record.exc_info[1] is not None else []
        return "\n".join([terminal_safe(text), *(f"    {terminal_safe(line)}" for line in found)])

    def _traceback(self, error: BaseException) -> list[str]:
        """Return the lines of a traceback; of a long one its beginning and its end."""
        try:
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        except Exception:  # noqa: BLE001 - border: foreign `__str__`
            text = "the traceback cannot be rendered"
        half, quarter = MAX_TRACEBACK_CHARACTERS // 2 - 1, MAX_TRACEBACK_LINES // 4
        lines = self._redactor.text(text if len(text) <= 2 * half else f"{text[:half]}\n…\n{text[-half:]}").splitlines()
        return lines if len(lines) <= 4 * quarter else [*lines[:quarter], "…", *lines[-3 * quarter :]]


class ConsoleFormatter(logging.Formatter):
    def __init__(self, renderer: Renderer, *, colour: bool, pretty: bool) -> None:
        super().__init__()
        self._renderer, self._colour, self._pretty = renderer, colour, pretty

    def format(self, record: logging.LogRecord) -> str:
        text = self._renderer.text(record, pretty=self._pretty)
        return f"{COLOURS.get(record.levelname, '')}{text}\x1b[0m" if self._colour else text


def terminal_safe(text: str) -> str:
    """Return the text with what a terminal would obey, and what turns the direction of a line, written out."""
    return text if text.isprintable() else _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)


def message_of(record: logging.LogRecord) -> str:
    """Return the record's message, even when its arguments do not fit its template or cannot be read."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - border: foreign `__str__`
        return " ".join(map(text_of, (record.msg, *(record.args if isinstance(record.args, tuple) else (record.args,)))))


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _OWN}


def encoded(line: object) -> bytes:
    """Return anything as JSON; half a surrogate pair, which UTF-8 cannot hold, becomes a question mark."""
    try:
        return _escaped(_encoder.encode(line))
    except UnicodeEncodeError:
        return _escaped(_encoder.encode(_without_surrogates(msgspec.to_builtins(line, enc_hook=text_of))))


def encoded_access(lines: Sequence[AccessLine], redactor: Redactor) -> bytes:
    """Return the lines as JSON bytes, each with its newline; one that cannot be said does not take the others with it."""
    for line in lines:
        line.path, line.user_agent = redactor.known_text(line.path), redactor.known_text(line.user_agent)
    try:
        return _escaped(_encoder.encode_lines(lines))
    except UnicodeEncodeError:
        return b"".join(encoded(line) + b"\n" for line in lines)


def _escaped(data: bytes) -> bytes:
    """Write out, as JSON may, what a terminal would obey; Arabic stays itself."""
    if (data.isascii() or (b"\xc2" not in data and b"\xe2" not in data)) and b"\x7f" not in data:
        return data
    return _UNSAFE_BYTES.sub(lambda match: b"\\u%04x" % ord(match[0].decode()), data)


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return [_without_surrogates(one) for one in value] if isinstance(value, list | tuple) else value
