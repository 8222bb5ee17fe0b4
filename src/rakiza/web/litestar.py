"""The host adapter for Litestar."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException

from rakiza._kernel import current
from rakiza.errors import AppError, problem

from ._core import ALREADY, PassCore
from .asgi import App, AsgiPass

if TYPE_CHECKING:
    from litestar.types import ExceptionHandler, Scope
    from litestar.types.internal_types import PathParameterDefinition


def config(app: Litestar) -> dict[str, object]:
    """Return no settings: Litestar applications have none of their own."""
    return {}


def takes(app: Litestar, method: str, path: str) -> bool:
    """Tell whether the application already answers this path."""
    return any(_matches(route.path_components, path.strip("/").split("/")) for route in app.routes)


def _matches(components: "list[str | PathParameterDefinition]", segments: list[str]) -> bool:
    rest = len(components) > 1 and not isinstance(components[-1], str) and components[-1].type is Path
    if len(segments) != len(components) and not (rest and len(segments) >= len(components)):
        return False
    return all(not isinstance(part, str) or part == segment for part, segment in zip(components, segments, strict=False))


def install(app: Litestar, core: PassCore, start: Callable[[], None], stop: Callable[[], None]) -> AsgiPass:
    """Put the pass around the application's handler; its own start-up and shut-down events start and stop the platform."""
    if isinstance(app.asgi_handler, AsgiPass):
        raise ValueError(ALREADY)
    outer = AsgiPass(cast("App", app.asgi_handler), core, stop)

    async def begin() -> None:
        await asyncio.to_thread(start)
        core.telemetry.watch_loop(asyncio.get_running_loop())

    async def end() -> None:
        await asyncio.to_thread(stop)

    async def hand_over(error: Exception, scope: "Scope") -> None:
        handler = scope.get("route_handler")
        handlers = handler.resolve_exception_handlers() if handler is not None else app.exception_handlers
        handled = 500 in handlers or any(kind in handlers for kind in type(error).__mro__)
        if not (handled or app.debug or isinstance(error, HTTPException)):
            raise error  # nobody answers it but Litestar's last resort: the pass does, and captures it

    app.after_exception.append(hand_over)
    app.asgi_handler = outer  # type: ignore[assignment] # the same call signature
    app.on_startup.insert(0, begin)
    app.on_shutdown.append(end)
    return outer


def handle_errors(app: Litestar) -> None:
    """Answer the application's own AppErrors with problem+json, unless it has a handler for them."""

    def answer(_: Request[Any, Any, Any], error: AppError) -> Response[bytes]:
        context = current()
        body = problem(error, context.request_id if context else "")
        return Response(body, status_code=error.status, headers=error.headers, media_type="application/problem+json")

    app.exception_handlers.setdefault(AppError, cast("ExceptionHandler[Exception]", answer))
