"""One way of logging in a process of its own: `cases.py NAME FOLDER LINES`, then a number of lines for every line read from standard input.

Every case writes the same facts as one JSON line to a file that is rotated by size (loguru and the standard handlers by their own means),
with the ids of the request at hand, and prints the processor time of a line in microseconds, all threads counted.
"""

from __future__ import annotations

import contextvars
import json
import logging
import logging.handlers
import sys
import time
from pathlib import Path
from typing import Any

MAX_BYTES, BACKUPS = 10 * 1024 * 1024, 10
IDS = {"request_id": "r" * 32, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "tenant": "default"}
ids: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("ids", default=IDS)


def _nothing() -> None:
    """Be the flush of a case that has no buffer."""


def rakiza_application(folder: Path) -> tuple[Any, Any]:
    """Log by the standard logging into our files."""
    return _rakiza(folder, redact=True)


def rakiza_without_redaction(folder: Path) -> tuple[Any, Any]:
    """The same without looking for secrets."""
    return _rakiza(folder, redact=False)


def _rakiza(folder: Path, *, redact: bool) -> tuple[Any, Any]:
    from rakiza._kernel import RequestContext, request_context
    from rakiza.logs import setup_logging

    logs = setup_logging("x", folder, enable_console=False, redact=redact)
    request_context.set(RequestContext(IDS["request_id"], IDS["trace_id"], IDS["span_id"], client="10.0.0.1", method="GET", path="/api/projects"))
    log = logging.getLogger("site.crane")
    return (lambda number: log.info("صبت قواعد البرج %s رقم %d", "ب", number)), logs.flush


def rakiza_access(folder: Path) -> tuple[Any, Any]:
    """Take access lines as the request pass does; a thread writes them."""
    from rakiza._kernel import request_context

    _rakiza(folder, redact=True)
    from rakiza.logs import calls

    logs, context = calls._set_up[-1][0], request_context.get()
    return (lambda _: logs.access(context, 200, 0.0123, "Mozilla/5.0 (X11; Linux x86_64)")), logs.flush


def _rotating(folder: Path, formatter: logging.Formatter) -> Any:
    handler = logging.handlers.RotatingFileHandler(folder / "x.log", maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
    handler.setFormatter(formatter)
    log = logging.getLogger("site.crane")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return log


def plain_text(folder: Path) -> tuple[Any, Any]:
    """Log plain text by the standard handlers, the least the standard library does."""
    log = _rotating(folder, logging.Formatter("%(asctime)s %(levelname)s %(name)s %(module)s %(funcName)s %(lineno)d %(message)s"))
    return (lambda number: log.info("صبت قواعد البرج %s رقم %d", "ب", number)), _nothing


def python_json_logger(folder: Path) -> tuple[Any, Any]:
    """Log by python-json-logger with orjson."""
    from pythonjsonlogger.orjson import OrjsonFormatter

    class WithIds(OrjsonFormatter):
        def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
            super().add_fields(log_data, record, message_dict)
            log_data.update(ids.get())

    fields = "%(asctime)s %(levelname)s %(name)s %(message)s %(module)s %(funcName)s %(lineno)d"
    log = _rotating(folder, WithIds(fields))
    return (lambda number: log.info("صبت قواعد البرج %s رقم %d", "ب", number)), _nothing


def structlog_orjson(folder: Path) -> tuple[Any, Any]:
    """Log by structlog over the standard handlers, rendered with orjson, as its documentation shows it."""
    import orjson
    import structlog

    parameters = structlog.processors.CallsiteParameter
    log = _rotating(folder, logging.Formatter("%(message)s"))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.CallsiteParameterAdder({parameters.MODULE, parameters.FUNC_NAME, parameters.LINENO}),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=lambda *args, **kwargs: orjson.dumps(*args, **kwargs).decode()),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=lambda *_: log,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**IDS)
    bound = structlog.get_logger()
    return (lambda number: bound.info("صبت قواعد البرج %s رقم %d", "ب", number)), _nothing


def loguru_serialised(folder: Path) -> tuple[Any, Any]:
    """Log by loguru, serialised, rotated by size."""
    from loguru import logger

    logger.remove()
    logger.add(folder / "x.log", rotation=MAX_BYTES, retention=BACKUPS, serialize=True, encoding="utf-8")
    bound = logger.bind(**IDS)
    return (lambda number: bound.info("صبت قواعد البرج {} رقم {}", "ب", number)), _nothing


def main(name: str, folder: Path, lines: int) -> None:
    """Log in rounds, one for every line of standard input, and prove at the end that every line is there."""
    log, flush = globals()[name](folder)
    log(0)
    written = 1
    for _ in sys.stdin:
        start = time.process_time_ns()
        for number in range(lines):
            log(number)
        flush()
        print((time.process_time_ns() - start) / 1000 / lines, flush=True)
        written += lines
    found = [line for path in folder.glob("x*.log*") for line in path.read_text(encoding="utf-8").splitlines()]
    ours = [line for line in found if "برج" in line or "/api/projects" in line]
    if name != "plain_text":
        assert all(json.loads(line) for line in ours), "a line is no JSON"
    assert len(ours) == written, f"{len(ours)} lines of {written}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
