"""The endpoints of monitoring; each reads what was seen in the background."""

import gc
import os
import platform
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
import psutil

from rakiza._kernel import OPS_READ, Request, Route, json_response
from rakiza._kernel.clock import wall_seconds
from rakiza._kernel.http import Handler
from rakiza.health import Health
from rakiza.telemetry import Slow, Telemetry

from ._core import Routes, times, total
from ._host import MAX_TOP
from .service import MAX_READINGS, SystemMonitor

MAX_ROWS = 200
INLINE = {"health", "metrics"}


class Query(msgspec.Struct):
    """Say how many readings, processes and minutes, and which stretch of history."""

    last: Annotated[int, msgspec.Meta(ge=1, le=MAX_READINGS)] = 60
    top: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOP)] = 10
    minutes: Annotated[int, msgspec.Meta(ge=1, le=60)] = 60
    range: Literal["1h", "6h", "24h", "7d", "30d", "1y"] = "1h"


def routes(monitor: SystemMonitor, health: Health | None) -> tuple[Route, ...]:
    """Return the routes of monitoring."""

    def asked(request: Request) -> Query:
        return request.decode_query(Query)

    answers: dict[str, tuple[Callable[[Request], object], str]] = {
        "health": (lambda r: monitor.get_health_status(arabic=r.header("accept-language").lower().startswith("ar")), "How the machine is"),
        "metrics": (lambda _: monitor.get_current_metrics(), "The latest sample of the machine"),
        "summary": (lambda r: monitor.get_metrics_summary(asked(r).last), "The last readings, summed up"),
        "processes": (lambda r: {"processes": monitor.get_process_metrics(asked(r).top)}, "The busiest processes"),
        "history": (lambda r: monitor.history(asked(r).range), "Charts of machine and requests"),
        "requests": (lambda r: figures(*monitor.requests(asked(r).minutes * 60)), "The requests of the last minutes by route"),
        "slow": (lambda _: slow(monitor.telemetry), "Slow requests, slow statements, repeated statements"),
        "alerts": (lambda _: {"active": monitor.alerts.active(), "recent": monitor.alerts.recent()}, "Alerts at hand and ended"),
        "runtime": (lambda _: runtime(monitor, health), "This process"),
    }
    return tuple(_route(name, *answer) for name, answer in answers.items())


def _route(name: str, answer: Callable[[Request], object], summary: str) -> Route:
    handler: Handler = lambda request: json_response(answer(request))  # noqa: E731
    return Route(method="GET", path=f"/api/monitoring/{name}", handler=handler, permission=OPS_READ, summary=summary, inline=name in INLINE)


def figures(seconds: float, routes: Routes) -> dict[str, object]:
    """Return the requests of a window, the busiest routes first."""
    whole = total(routes)
    errors, took, count = whole[0], whole[1], whole[-1]
    rows = [
        {"method": method, "route": route, "count": seen[-1], "errors": seen[0], **times(seen[2:])}
        | {"mean_ms": round(seen[1] / seen[-1] * 1000, 2), "share": round(seen[1] / (took or 1.0) * 100, 1)}
        for (method, route), seen in sorted(routes.items(), key=lambda item: item[1][-1], reverse=True)[:MAX_ROWS]
    ]
    rates = {"rate": round(count / max(1.0, seconds), 2), "error_rate": round(errors / max(1, count) * 100, 2)}
    return {"window_seconds": round(seconds), "total": count, "errors": errors, **rates, **times(whole[2:]), "routes": rows}


def slow(telemetry: Telemetry | None) -> dict[str, object]:
    """Return what telemetry found slow or repeated."""
    found = telemetry.slow if telemetry else Slow()
    return {"requests": found.requests(), "statements": found.statements(), "repeated": found.repeated()}


def runtime(monitor: SystemMonitor, health: Health | None) -> dict[str, object]:
    """Describe this process."""
    process = psutil.Process()
    started = datetime.fromtimestamp(process.create_time(), UTC)
    return {
        "version": health.version if health else "",
        "python": platform.python_version(),
        "pid": os.getpid(),
        "started_at": started.astimezone().isoformat(timespec="seconds"),
        "uptime_seconds": round(wall_seconds() - started.timestamp()),
        "threads": threading.active_count(),
        "rss_mb": round(process.memory_info().rss / 2**20, 1),
        "open_files": process.num_fds(),
        "gc_collections": sum(generation["collections"] for generation in gc.get_stats()),
        "loop_lag_ms": monitor.loop_lag_ms,
        "in_flight": monitor.telemetry.in_flight if monitor.telemetry else 0,
    }
