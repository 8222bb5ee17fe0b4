"""The log files of one application: the application's log, its errors, debug, requests and the audit trail."""

import contextlib
import logging
import os
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path

from rakiza._kernel import RequestContext, current
from rakiza._kernel.clock import wall_seconds

from ._core import AccessLine, AuditLine, JsonFormatter, Timestamps, context_fields, encode_line, encode_lines
from ._writer import BufferedWriter, FileHandler, FileWriter
from .settings import LogSettings

PLAIN = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"
COLOURS = {"DEBUG": "\x1b[94m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[35m"}


class ConsoleFormatter(logging.Formatter):
    """Render a record for people, coloured on a terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__(PLAIN, "%H:%M:%S")
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""
        text = super().format(record)
        return f"{COLOURS.get(record.levelname, '')}{text}\x1b[0m" if self._colour else text


class Logs:
    """Own the log files: standard logging lands in them, access lines are buffered, audit records are on disk when `record` returns."""

    def __init__(self, app_name: str, folder: Path, settings: LogSettings | None = None) -> None:
        self.app_name, self.folder, self.settings = app_name, folder, settings or LogSettings()
        self._timestamps = Timestamps()
        self._access = BufferedWriter(self._writer("_requests"), encode_lines)
        self._audit = self._writer("_audit")
        self._handlers: list[logging.Handler] = []
        itself = weakref.proxy(self)
        os.register_at_fork(after_in_child=lambda: _forget(itself))

    def _writer(self, suffix: str) -> FileWriter:
        return FileWriter(self.folder / f"{self.app_name}{suffix}.log", self.settings.max_bytes, self.settings.backup_count)

    def start(self) -> None:
        """Add the handlers to the root logger; the level goes to the root as well."""
        if self._handlers:
            return
        formatter = JsonFormatter() if self.settings.json else logging.Formatter(PLAIN)
        level = logging.getLevelNamesMapping()[self.settings.level]
        if self.settings.files:
            self._handlers = [FileHandler(self._writer(""), level), FileHandler(self._writer("_errors"), logging.ERROR)]
            if level <= logging.DEBUG:
                self._handlers.append(FileHandler(self._writer("_debug"), logging.DEBUG))
            for handler in self._handlers:
                handler.setFormatter(formatter)
        if self.settings.console:
            console = logging.StreamHandler(sys.stderr)
            console.setLevel(max(level, logging.WARNING))
            console.setFormatter(ConsoleFormatter(colour=sys.stderr.isatty()))
            self._handlers.append(console)
        root = logging.getLogger()
        for handler in self._handlers:
            root.addHandler(handler)
        root.setLevel(min(level, root.level or level))

    def stop(self) -> None:
        """Write what is buffered, take the handlers away and close the files."""
        self.flush()
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        self._handlers = []
        self._access.target.close()
        self._audit.close()

    def flush(self) -> None:
        """Write the buffered access lines."""
        self._access.flush()

    @property
    def dropped(self) -> int:
        """Return how many access and audit lines could not be written."""
        return self._access.dropped + self._audit.dropped

    def access(self, context: RequestContext, status: int, seconds: float, user_agent: str) -> None:
        """Take the line of one answered request; never blocks."""
        principal = context.principal
        line = AccessLine(
            self._timestamps.render(wall_seconds()),
            context.method,
            context.path,
            status,
            int(seconds * 1e6) / 1000,
            principal.id if principal is not None else None,
            context.client,
            user_agent,
            context.request_id,
            context.trace_id,
            context.span_id,
            context.tenant,
        )
        self._access.add(line)

    def record(self, event_type: str, action: str, resource: str, details: Mapping[str, object] | None = None, user_id: str | None = None) -> None:
        """Write one audit record and force it onto the disk; the request context gives who and from where when not said."""
        context = current()
        if user_id is None and context is not None and context.principal is not None:
            user_id = context.principal.id
        line = AuditLine(
            self._timestamps.render(wall_seconds()),
            event_type,
            user_id,
            action,
            resource,
            dict(details or {}),
            context.client if context else "",
            *context_fields(context),
        )
        self._audit.write(encode_line(line))
        self._audit.sync()

    def forget(self) -> None:
        """Leave to the parent of a fork what it has buffered, and take new locks."""
        self._access.forget()
        self._audit.forget()
        for handler in self._handlers:
            if isinstance(handler, FileHandler):
                handler.writer.forget()


def _forget(logs: Logs) -> None:
    with contextlib.suppress(ReferenceError):  # stopped and gone
        logs.forget()
