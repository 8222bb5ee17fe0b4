"""The host adapter for Flask."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from rakiza._kernel import current
from rakiza.errors import AppError, problem

from ._core import PassCore
from .wsgi import WsgiPass

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import WSGIEnvironment


def config(app: Flask) -> dict[str, object]:
    """Return the application's settings, which win over the environment."""
    return dict(app.config)


def takes(app: Flask, method: str, path: str) -> bool:
    """Tell whether the application already answers this method and path."""
    if "{" in path:
        return False
    try:
        app.url_map.bind("").match(path, method)
    except MethodNotAllowed:
        return True
    except RequestRedirect:
        return True
    except HTTPException:
        return False
    return True


def route_of(environ: "WSGIEnvironment") -> str | None:
    """Return the rule Flask matched, while it answers: Werkzeug keeps the request in the environ, cheaper than a `before_request` hook."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return None if rule is None else cast("str", rule.rule)


def install(app: Flask, core: PassCore, start: Callable[[], None], stop: Callable[[], None]) -> WsgiPass:
    """Put the pass around the application and start the platform: WSGI has no start-up event."""

    def capture(exc_info: "tuple[type, BaseException, TracebackType] | tuple[None, None, None]") -> None:
        if exc_info[1] is not None:
            core.errors.capture_exception(exc_info[1])

    app.log_exception = capture  # type: ignore[method-assign] # Flask answers the 500 itself; the record is ours, once
    outer = WsgiPass(app.wsgi_app, core, route_of)
    app.wsgi_app = outer  # type: ignore[method-assign] # the way Flask documents
    start()
    return outer


def handle_errors(app: Flask) -> None:
    """Answer the application's own AppErrors with problem+json."""

    def answer(error: AppError) -> ResponseReturnValue:
        context = current()
        body = problem(error, context.request_id if context else "")
        return cast("ResponseReturnValue", (body, error.status, {**error.headers, "content-type": "application/problem+json"}))

    app.register_error_handler(AppError, answer)
