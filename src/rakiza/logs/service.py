"""The log files of one application: the application's log, its errors, debug, requests and the audit trail."""

import contextlib
import functools
import logging
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rakiza._kernel import SYSTEM_CLOCK, Redactor, RequestContext, current
from rakiza._kernel.clock import wall_seconds
from rakiza._kernel.ports import AuditSink, UnitOfWork
from rakiza._kernel.redaction import text_of
from rakiza._kernel.tasks import after_fork

from ._core import AccessLine, ConsoleFormatter, Renderer, Timestamps, context_fields, encoded, encoded_access, with_ids
from ._levels import Levels
from ._writer import BufferedWriter, FileHandler, FileWriter
from .settings import LogSettings

KINDS = {"app": "", "errors": "_errors", "debug": "_debug", "requests": "_requests", "audit": "_audit"}
TICK_SECONDS = 1.0
RECENT_SECONDS = 60.0  # so long after the last dropped line the files count as not well
_HIGHEST = 1_000_000


class Console(logging.StreamHandler[TextIO]):
    """Write to the terminal; there is one for a process, whatever number of logs it has."""


class Logs:
    """Own the log files: standard logging lands in them, access lines are buffered, audit records are on disk when `record` returns."""

    def __init__(self, app_name: str, folder: Path, settings: LogSettings | None = None) -> None:
        given = settings or LogSettings()
        self.app_name, self.folder, self.settings, self._level = app_name, folder, given, level_number(given.level)
        self.redactor = Redactor(on=given.redact, keys=given.redact_keys, patterns=given.redact_patterns, emails=given.redact_emails)
        self.levels = Levels(self._level, folder / f".{app_name}_levels.json", given.ratios())
        self._timestamps = Timestamps()
        self._writers = {kind: FileWriter(self.path(kind), given.max_bytes, given.backup_count) for kind in KINDS}
        self._access = BufferedWriter(self._writers["requests"], functools.partial(encoded_access, redactor=self.redactor))
        self.audit_sinks: list[AuditSink] = []
        self._handlers: list[logging.Handler] = []
        self._root_level: int | None = None
        after_fork(self.forget)

    def path(self, kind: str) -> Path:
        """Return the live file of a kind: app, errors, debug, requests or audit."""
        return self.folder / f"{self.app_name}{KINDS[kind]}.log"

    def start(self) -> None:
        """Add the handlers to the root logger; the level goes to the root as well."""
        root = logging.getLogger()
        if self._root_level is not None:
            return
        if self.settings.files:
            debug = range(_HIGHEST if self._level <= logging.DEBUG else logging.INFO)
            levels = {"app": range(logging.INFO, _HIGHEST), "errors": range(logging.ERROR, _HIGHEST), "debug": debug}
            outputs = [(fitting, self._writers[kind]) for kind, fitting in levels.items()]
            render = Renderer(self.redactor, json=self.settings.json).line
            self._handlers.append(FileHandler(outputs, render, self.levels.wanted, lambda: self._access.flush(wait=False)))
        if self.settings.console and not any(isinstance(one, Console) for one in root.handlers):
            self._handlers.append(self._console())
        for handler in self._handlers:
            root.addHandler(handler)
        self._root_level = root.level
        root.setLevel(min(self._level, root.level or self._level))
        self.levels.tick()

    def _console(self) -> Console:
        console, colour = Console(sys.stderr), sys.stderr.isatty()
        console.setLevel(level_number(self.settings.console_level) if self.settings.console_level else max(self._level, logging.WARNING))
        pretty = colour if self.settings.pretty is None else self.settings.pretty
        console.setFormatter(ConsoleFormatter(Renderer(self.redactor), colour=colour, pretty=pretty))
        return console

    def stop(self) -> None:
        """Write what is buffered, take the handlers away, give the levels back and close the files."""
        self.flush()
        self.complain()
        self.levels.apply({})
        self.levels.forget()
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
        if self._root_level is not None and not any(isinstance(one, FileHandler | Console) for one in root.handlers):
            root.setLevel(self._root_level)  # the last of several log files in this process gives it back
        self._handlers, self._root_level = [], None
        for writer in self._writers.values():
            writer.close()

    def flush(self) -> None:
        """Write the buffered access lines."""
        self._access.flush()

    def tick(self) -> None:
        """Do what falls due: end levels whose time is over, compress rotated files, tell of dropped lines."""
        self.levels.tick()
        self.complain()
        if self.settings.compress:
            for writer in self._writers.values():
                writer.compress()

    def complain(self) -> None:
        """Tell which files could not be written."""
        for writer in self._writers.values():
            writer.complain()

    @property
    def dropped(self) -> int:
        """Return how many lines were lost to a full disk or buffer."""
        return self._access.overflow + sum(writer.dropped for writer in self._writers.values())

    def trouble(self) -> str | None:
        """Return why lines were dropped within the last minute and what to do, or none."""
        last = max(self._writers.values(), key=lambda writer: writer.failed_at)
        if SYSTEM_CLOCK.monotonic() - last.failed_at > RECENT_SECONDS:
            return None
        return f"{self.dropped} lines could not be written ({last.path}: {last.reason}); free space there or set LOG_DIR to another folder"

    # -- lines that do not come by the standard logging

    def access(self, context: RequestContext, status: int, seconds: float, user_agent: str) -> None:
        """Take the line of one answered request; never blocks."""
        principal = context.principal
        who, took = principal.id if principal is not None else None, int(seconds * 1e6) / 1000
        line = (context.method, context.path, status, took, who, context.client, user_agent, *context_fields(context))
        self._access.add(AccessLine(self._timestamps.render(wall_seconds()), *line))

    def request(self, method: str, path: str, status_code: int, response_time_ms: float, user_id: int | str | None = None, **client: str) -> None:
        """Take the line of a request that no platform answered, with `ip_address` and `user_agent` of the client; never blocks."""
        address, agent = text_of(client.get("ip_address") or ""), text_of(client.get("user_agent") or "")
        line = (text_of(path), status_code, response_time_ms, user_id, address, agent, *context_fields(current()))
        self._access.add(AccessLine(self._timestamps.render(wall_seconds()), text_of(method), *line))

    def record(
        self,
        event_type: str,
        action: str,
        resource: str,
        details: Mapping[str, object] | None = None,
        user_id: int | str | None = None,
        *,
        ip_address: str = "",
        tx: UnitOfWork | None = None,
    ) -> None:
        """Write one audit record, force it onto the disk and hand it to the sinks; with `tx`, only if that transaction commits.

        The request context gives who and from where when not said.
        """
        context = current()
        if user_id is None and context is not None and context.principal is not None:
            user_id = context.principal.id
        line: dict[str, object] = {
            "timestamp": self._timestamps.render(wall_seconds()),
            "event_type": event_type,
            "user_id": user_id,
            "action": action,
            "resource": self.redactor.text(resource),
            "details": self.redactor.value(details or {}),
            "ip_address": ip_address or (context.client if context else ""),
        }
        with_ids(line)
        if tx is None:
            self._write_audit(line)
        else:
            tx.after_commit(lambda: self._write_audit(line))
        for sink in self.audit_sinks:
            sink(line, tx)

    def _write_audit(self, line: Mapping[str, object]) -> None:
        self._writers["audit"].write_durably(encoded(line) + b"\n")

    # -- for operators

    def set_level(self, logger: str, level: str, seconds: float = 600.0) -> None:
        """Change a logger's level in every process of the application for some seconds; raise ValueError for a level or time that cannot be."""
        self.levels.change(logger, level_number(level), seconds)

    def reset_level(self, logger: str) -> bool:
        """Give a logger its own level back; tell whether it had another."""
        return self.levels.change(logger, None)

    def sample(self, logger: str, ratio: float) -> None:
        """Keep only a share (0 to 1) of what a logger says below WARNING, in this process; 1 keeps everything."""
        self.levels.share(logger, ratio)

    def files(self) -> list[dict[str, str | int]]:
        """Return name, kind, size_bytes and modified of the files that are there, each kind newest first."""
        found: list[tuple[int, int, dict[str, str | int]]] = []
        for order, (kind, suffix) in enumerate(KINDS.items()):
            pattern = re.compile(re.escape(self.app_name + suffix) + r"\.log(?:\.(\d+))?(?:\.gz)?")
            for path in self.folder.glob(f"*{suffix}.log*"):
                with contextlib.suppress(FileNotFoundError):  # rotated meanwhile
                    if (match := pattern.fullmatch(path.name)) and path.is_file() and not path.is_symlink():
                        status, number = path.stat(), int(match[1] or 0)
                        modified = datetime.fromtimestamp(status.st_mtime).astimezone().isoformat(timespec="milliseconds")
                        found.append((order, number, {"name": path.name, "kind": kind, "size_bytes": status.st_size, "modified": modified}))
        return [file for _, _, file in sorted(found, key=lambda one: one[:2])]

    def forget(self) -> None:
        """Leave to the parent of a fork what it has buffered, and take new locks."""
        self._access.forget()
        self.levels.forget()
        for writer in self._writers.values():
            writer.forget()


def level_number(level: str) -> int:
    """Return the number of a level by its name in any case; raise ValueError for an unknown one."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"there is no level {level!r}; the levels are DEBUG, INFO, WARNING, ERROR and CRITICAL")
    return number
