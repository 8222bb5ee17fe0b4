"""The host adapter for Starlette and FastAPI."""

import re
from collections.abc import Callable
from typing import cast

from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp

from rakiza._kernel import current
from rakiza.errors import AppError, problem

from ._core import ALREADY, PassCore
from .asgi import AsgiPass

KEY = "rakiza"


def config(app: Starlette) -> dict[str, object]:
    """Return no settings: Starlette applications have none of their own."""
    return {}


def takes(app: Starlette, method: str, path: str) -> bool:
    """Tell whether the application already answers this path."""
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return any(route.matches(scope)[0] is not Match.NONE for route in app.routes if not _takes_all(route))


def _takes_all(route: BaseRoute) -> bool:
    """Tell whether the route is the last resort of a single-page application: it claims no path in particular."""
    return re.fullmatch(r"/?(\{\w+:path\})?", getattr(route, "path", "-")) is not None


def install(app: Starlette, core: PassCore, start: Callable[[], None], stop: Callable[[], None]) -> Starlette:
    """Put the pass outside the application's whole middleware stack, whenever that is built: middleware and handlers may be added until then.

    Starlette's own last resort, which answers in plain text, makes room for the pass unless the application has its own or debugs.
    """
    if hasattr(app.state, KEY):
        raise ValueError(ALREADY)
    setattr(app.state, KEY, core)
    native = getattr(app, "_telemetry", None)  # FastAPI offers this switch in its constructor only
    if isinstance(native, dict) and native.get("tracer_provider") is None:
        native["tracing"] = False  # the pass makes the server span; a second one would tear the trace in two
    build = app.build_middleware_stack

    def build_with_pass() -> ASGIApp:
        inner = build()
        if isinstance(inner, ServerErrorMiddleware) and inner.handler is None and not inner.debug:
            inner = inner.app
        return cast("ASGIApp", AsgiPass(inner, core, stop))

    app.build_middleware_stack = build_with_pass  # type: ignore[method-assign] # its one caller is the app
    app.middleware_stack = None
    return app


def handle_errors(app: Starlette) -> None:
    """Answer the application's own AppErrors with problem+json."""

    def answer(_: Request, error: Exception) -> Response:
        context = current()
        failure = cast("AppError", error)
        body = problem(failure, context.request_id if context else "")
        return Response(body, failure.status, failure.headers, "application/problem+json")

    app.add_exception_handler(AppError, answer)
