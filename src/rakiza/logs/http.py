"""What an operator sees and does: search, live tail, files, levels."""

import asyncio
import functools
import logging
import urllib.parse
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec

from rakiza._kernel import OPS_READ, OPS_WRITE, SYSTEM_CLOCK, Ports, Request, Response, Route, json_response
from rakiza._kernel.http import PROBLEM, Handler

from ._levels import MAX_SECONDS
from ._search import Conditions, Place, as_object, follow, scan
from .service import Logs
from .settings import Level

POLL_SECONDS = 0.5
PING_SECONDS = 15.0
MAX_LOGGERS = 1_000
Text = Annotated[str, msgspec.Meta(max_length=500)]
_UNCACHED = (b"cache-control", b"no-store")


class Search(msgspec.Struct, kw_only=True):
    """Ask for lines, newest first; `level` is one or several with commas, a `logger` covers those below it."""

    file: Literal["app", "errors", "debug", "requests", "audit"] = "app"
    q: Text = ""
    level: Text = ""
    logger: Text = ""
    request_id: Text = ""
    trace_id: Text = ""
    user_id: Text = ""
    since: Text = ""
    until: Text = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    cursor: Text = ""

    def conditions(self) -> Conditions:
        """Return what a line must hold; raise msgspec.ValidationError for a time that is none."""
        fields = {name: getattr(self, name) for name in ("level", "logger", "request_id", "trace_id", "user_id")}
        return Conditions([self.q], fields, _moment("since", self.since), _moment("until", self.until))


class NewLevel(msgspec.Struct, forbid_unknown_fields=True):
    """Change a logger's level for a while."""

    level: Level
    seconds: Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS)] = 600.0


class _Endpoints:
    def __init__(self, logs: Logs, ports: Ports) -> None:
        self._logs, self._ports = logs, ports

    def search(self, request: Request) -> Response:
        start, asked = SYSTEM_CLOCK.monotonic(), request.decode_query(Search)
        try:
            found = scan(self._logs.path(asked.file), self._logs.settings.backup_count, asked.conditions(), asked.limit, asked.cursor)
        except ValueError as error:
            raise error if isinstance(error, msgspec.ValidationError) else msgspec.ValidationError(f"{error} - at `$.cursor`") from None
        page = {"items": [msgspec.Raw(as_object(line)) for line in found.lines], "next_cursor": found.cursor, "scanned_bytes": found.scanned_bytes}
        return json_response(page | {"complete": found.cursor is None, "took_ms": round((SYSTEM_CLOCK.monotonic() - start) * 1000, 2)})

    def stream(self, request: Request) -> Response:
        asked = request.decode_query(Search)
        look = functools.partial(follow, self._logs.path(asked.file), self._logs.settings.backup_count)
        events = _events(look, asked.conditions())
        return Response(stream=events, headers=[_UNCACHED], content_type=b"text/event-stream")

    def files(self, _: Request) -> Response:
        return json_response({"files": self._logs.files(), "dropped": self._logs.dropped})

    def download(self, request: Request) -> Response:
        name = request.params["name"]
        if all(one["name"] != name for one in self._logs.files()):
            return _not_found("there is no such log file; see /api/logs/files")
        self._ports.audit.record("sensitive_read", "DOWNLOAD", f"log:{name}")
        headers = [(b"content-disposition", b"attachment; filename*=UTF-8''" + urllib.parse.quote(name).encode()), _UNCACHED]
        kind = b"application/gzip" if name.endswith(".gz") else b"application/x-ndjson" if self._logs.settings.json else b"text/plain; charset=utf-8"
        return Response(file=self._logs.folder / name, headers=headers, content_type=kind)

    def levels(self, _: Request) -> Response:
        names = [name for name, logger in list(logging.Logger.manager.loggerDict.items()) if isinstance(logger, logging.Logger)]
        shares = [{"logger": name, "ratio": ratio} for name, ratio in sorted(self._logs.levels.ratios.items())]
        return json_response({"levels": [self._level(name) for name in ["root", *sorted(names)[:MAX_LOGGERS]]], "sampling": shares})

    def set_level(self, request: Request) -> Response:
        name, wanted = request.params["logger"], request.decode(NewLevel)
        try:
            self._logs.set_level(name, wanted.level, wanted.seconds)
        except ValueError as error:
            raise msgspec.ValidationError(str(error)) from None
        self._ports.audit.record("sys_log_level", "UPDATE", f"logger:{name}", {"level": wanted.level.upper(), "seconds": wanted.seconds})
        return json_response(self._level(name))

    def reset_level(self, request: Request) -> Response:
        name = request.params["logger"]
        if not self._logs.reset_level(name):
            return _not_found("this logger has no changed level; see /api/logs/levels")
        self._ports.audit.record("sys_log_level", "RESET", f"logger:{name}")
        return json_response(self._level(name))

    def _level(self, name: str) -> dict[str, str | None]:
        logger, (_, end) = logging.getLogger(name), self._logs.levels.changed.get(name, (0, None))
        left = None if end is None else timedelta(seconds=end - SYSTEM_CLOCK.monotonic())
        expires = None if left is None else (SYSTEM_CLOCK.now().astimezone() + left).isoformat(timespec="seconds")
        own, effective = logging.getLevelName(logger.level), logging.getLevelName(logger.getEffectiveLevel())
        return {"logger": name, "level": own, "effective": effective, "expires_at": expires}


def routes(logs: Logs, ports: Ports) -> tuple[Route, ...]:
    """Return the routes of the log files."""
    on = _Endpoints(logs, ports)
    return (
        _route("GET /api/logs", on.search, "Search the log files"),
        _route("GET /api/logs/stream", on.stream, "Follow a log file", quiet=True),  # its hours are no response time
        _route("GET /api/logs/files", on.files, "List the log files"),
        _route("GET /api/logs/download/{name}", on.download, "Download a log file"),
        _route("GET /api/logs/levels", on.levels, "List the levels of the loggers"),
        _route("PUT /api/logs/levels/{logger}", on.set_level, "Change a logger's level for a while", NewLevel),
        _route("DELETE /api/logs/levels/{logger}", on.reset_level, "Give a logger its level back"),
    )


def _route(target: str, handler: Handler, summary: str, takes: type | None = None, *, quiet: bool = False) -> Route:
    method, _, path = target.partition(" ")
    permission = OPS_READ if method == "GET" else OPS_WRITE
    return Route(method=method, path=path, handler=handler, permission=permission, summary=summary, request_type=takes, quiet=quiet)


def _moment(name: str, text: str) -> datetime | None:
    """Read a time; a plus sign that a query turned into a space is one again, a time without offset is local."""
    try:
        return datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text).astimezone() if text else None
    except (ValueError, OverflowError, OSError):
        raise msgspec.ValidationError(f"Expected a time such as 2026-11-23T15:30:00+03:00 - at `$.{name}`") from None


def _not_found(detail: str) -> Response:
    return Response(msgspec.json.encode({"status": 404, "title": "Not Found", "code": "not_found", "detail": detail}), 404, content_type=PROBLEM)


async def _events(look: Callable[[Place | None], tuple[list[bytes], Place]], wanted: Conditions) -> AsyncGenerator[bytes, None]:
    """Yield new lines as events. No thread waits: each look at the files is a short call in one."""
    _, place = await asyncio.to_thread(look, None)
    quiet = 0.0
    yield b": follows\n\n"
    while True:
        lines, place = await asyncio.to_thread(look, place)
        events = b"".join(b"data: " + as_object(line) + b"\n\n" for line in lines if wanted.hold(line))
        quiet = 0.0 if events else quiet + POLL_SECONDS
        if events:
            yield events
        elif quiet >= PING_SECONDS:
            quiet = 0.0
            yield b": ping\n\n"
        if not lines:
            await asyncio.sleep(POLL_SECONDS)
