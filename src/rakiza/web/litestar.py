"""The host adapter for Litestar."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from litestar import Litestar, Request, Response

from rakiza._kernel import current
from rakiza.errors import AppError, problem

from ._core import PassCore
from .asgi import App, AsgiPass

if TYPE_CHECKING:
    from litestar.types import ExceptionHandler, Scope


def config(app: Litestar) -> dict[str, object]:
    """Return no settings: Litestar applications have none of their own."""
    return {}


def takes(app: Litestar, method: str, path: str) -> bool:
    """Tell whether the application already answers this path."""
    return any(route.path == path for route in app.routes)


def install(app: Litestar, core: PassCore, start: Callable[[], None], stop: Callable[[], None]) -> AsgiPass:
    """Put the pass around the application's handler; its own start-up and shut-down events start and stop the platform."""
    outer = AsgiPass(cast("App", app.asgi_handler), core, stop)

    async def begin() -> None:
        await asyncio.to_thread(start)

    async def end() -> None:
        await asyncio.to_thread(stop)

    async def note(error: Exception, _: "Scope") -> None:
        if not isinstance(error, AppError) and getattr(error, "status_code", 500) >= 500:
            core.errors.capture_exception(error)

    app.after_exception.append(note)  # Litestar answers the 500 itself; the record is ours
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
