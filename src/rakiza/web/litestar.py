"""The host adapter for Litestar."""

import asyncio
from collections.abc import Callable
from typing import cast

from litestar import Litestar

from ._core import PassCore
from .asgi import App, AsgiPass


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

    app.asgi_handler = outer  # type: ignore[assignment] # the same call signature
    app.on_startup.insert(0, begin)
    app.on_shutdown.append(end)
    return outer


def handle_errors(app: Litestar) -> None:
    """Leave the application's own handlers alone: the pass answers AppErrors that reach it."""
