"""The host adapter for Starlette and FastAPI."""

from collections.abc import Callable
from typing import cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp

from rakiza._kernel import current
from rakiza.errors import AppError, problem

from ._core import PassCore
from .asgi import AsgiPass


def config(app: Starlette) -> dict[str, object]:
    """Return no settings: Starlette applications have none of their own."""
    return {}


def takes(app: Starlette, method: str, path: str) -> bool:
    """Tell whether the application already answers this path."""
    if "{" in path:
        return False
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return any(route.matches(scope)[0] is not Match.NONE for route in app.routes)


def install(app: Starlette, core: PassCore, start: Callable[[], None], stop: Callable[[], None]) -> Starlette:
    """Put the pass outside the application's whole middleware stack, whenever that is built: middleware and handlers may be added until then."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: cast("ASGIApp", AsgiPass(build(), core, stop))  # type: ignore[method-assign] # its one caller is the app
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
