"""The functions an application calls: they find the log files of the platform at hand, else those that were set up last."""

import atexit
import logging
from collections.abc import Mapping
from pathlib import Path

from rakiza._kernel import Supervisor, attach, service_at_hand
from rakiza._kernel.settings import SettingsReader

from ._writer import FLUSH_SECONDS
from .service import TICK_SECONDS, Logs
from .settings import LogSettings

MAX_STATEMENT_CHARACTERS = 2_000
UserId = int | str | None
_set_up: list[tuple[Logs, Supervisor]] = []


def setup_logging(  # noqa: PLR0917 - the specified form
    app_name: str = "app",
    log_dir: str | Path = "logs",
    log_level: str = "INFO",
    enable_console: bool = True,
    enable_file: bool = True,
    enable_json: bool = True,
    max_bytes: int = 10 * 1024 * 1024,
    backup_count: int = 10,
    **further: object,
) -> Logs:
    """Start the log files of an application without a platform, in place of those set up before; `further` are fields of LogSettings.

    Access lines are flushed by a thread of their own and at exit. Raises SettingsError naming what is wrong.
    """
    given = {"level": log_level, "console": enable_console, "files": enable_file, "json": enable_json, "max_bytes": max_bytes}
    given |= {"backup_count": backup_count, "console_level": log_level, **further}
    logs = Logs(app_name, Path(log_dir), SettingsReader({"logs": given}, environ={}, dotenv={}).read(LogSettings))
    _take_down()
    supervisor = Supervisor()
    supervisor.every("access-log", FLUSH_SECONDS, logs.flush)
    supervisor.every("logs", TICK_SECONDS, logs.tick)
    logs.start()
    supervisor.start()
    _set_up.append((logs, supervisor))
    return logs


def init_logging(app: object) -> Logs:
    """Give a Flask, FastAPI, Starlette or Litestar application the log files, set by its configuration."""
    return attach(app, "logs", Logs)


def log_request(  # noqa: PLR0917 - the specified form
    method: str, path: str, status_code: int, response_time_ms: float, user_id: UserId = None, ip_address: str = "", user_agent: str = ""
) -> None:
    """Take the line of one answered request; it is on its way to the file within 50 ms."""
    _at_hand().request(method, path, status_code, response_time_ms, user_id, ip_address=ip_address, user_agent=user_agent)


def log_audit(  # noqa: PLR0917 - the specified form
    event_type: str, user_id: UserId, action: str, resource: str, details: Mapping[str, object] | None = None, ip_address: str = ""
) -> None:
    """Write one record to the audit file; it is on the disk when this returns."""
    _at_hand().record(event_type, action, resource, details, user_id, ip_address=ip_address)


def log_security(event_type: str, message: str, user_id: UserId = None, details: Mapping[str, object] | None = None, *, ip_address: str = "") -> None:
    """Write an event of security to the audit file and, as a warning of the logger `security`, to the application's log."""
    _at_hand().record(event_type, "SECURITY", message, details, user_id, ip_address=ip_address)
    given = {"event_type": event_type, "user_id": user_id, "details": details or {}}
    logging.getLogger("security").warning("%s: %s", event_type, message, extra=given, stacklevel=2)


def log_query(statement: str, duration_ms: float, rows: int | None = None) -> None:
    """Log a statement on the logger `query`: as a warning when it took `slow_query_ms` or longer, else for DEBUG."""
    level = logging.WARNING if duration_ms >= _at_hand().settings.slow_query_ms else logging.DEBUG
    given = {"statement": statement[:MAX_STATEMENT_CHARACTERS], "duration_ms": duration_ms, "rows": rows}
    logging.getLogger("query").log(level, "%(duration_ms).1f ms: %(statement)s", given, extra=given, stacklevel=2)


def log_metric(name: str, value: float, unit: str = "", **labels: object) -> None:
    """Log one measured value on the logger `metric`."""
    given = {"metric": name, "value": value, "unit": unit, "labels": labels}
    logging.getLogger("metric").info("%s = %g %s", name, value, unit, extra=given, stacklevel=2)


def _at_hand() -> Logs:
    logs = service_at_hand("logs", Logs) or next((logs for logs, _ in reversed(_set_up)), None)
    if logs is None:
        raise RuntimeError("there are no log files yet: call setup_logging(), init_logging(app) or integrate(app) first")
    return logs


@atexit.register
def _take_down() -> None:
    while _set_up:
        logs, supervisor = _set_up.pop()
        supervisor.stop()
        logs.stop()
