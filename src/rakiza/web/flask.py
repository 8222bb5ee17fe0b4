"""The host adapter for Flask."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed
from werkzeug.routing import RequestRedirect

from rakiza._kernel import current
from rakiza.errors import AppError, problem, unexpected

from ._core import ALREADY, PassCore
from .wsgi import WsgiPass

KEY = "rakiza"

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import WSGIEnvironment


def config(app: Flask) -> dict[str, object]:
    """Return the application's settings, which win over the environment."""
    return dict(app.config)


def takes(app: Flask, method: str, path: str) -> bool:
    """Tell whether the application already answers this method and path."""
    try:
        rule, _ = app.url_map.bind("").match(path, method, return_rule=True)
    except (MethodNotAllowed, RequestRedirect):
        return True
    except HTTPException:
        return False
    return re.fullmatch(r"/<path:\w+>", rule.rule) is None  # the last resort of a single-page application claims no path in particular


def route_of(environ: "WSGIEnvironment") -> str | None:
    """Return the rule Flask matched, while it answers: Werkzeug keeps the request in the environ, cheaper than a `before_request` hook."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return None if rule is None else cast("str", rule.rule)


def install(app: Flask, core: PassCore, start: Callable[[], None], stop: Callable[[], None]) -> WsgiPass:
    """Put the pass around the application and start the platform: WSGI has no start-up event."""
    if KEY in app.extensions:
        raise ValueError(ALREADY)
    app.extensions[KEY] = core

    def capture(exc_info: "tuple[type, BaseException, TracebackType] | tuple[None, None, None]") -> None:
        context, rule = current(), request.url_rule
        if context is not None and rule is not None:
            context.route = rule.rule
        if exc_info[1] is not None:
            core.errors.capture_exception(exc_info[1])

    def propagates() -> bool:
        asked = app.config["PROPAGATE_EXCEPTIONS"]  # the rule of Flask.handle_exception: debuggers and tests want the exception itself
        return bool(app.testing or app.debug) if asked is None else bool(asked)

    app.log_exception = capture  # type: ignore[method-assign] # Flask answers the 500 itself; the record is ours, once
    if not app.error_handler_spec[None][500]:
        app.register_error_handler(InternalServerError, _unforeseen)
    outer = WsgiPass(app.wsgi_app, core, route_of, propagates)
    app.wsgi_app = outer  # type: ignore[method-assign] # the way Flask documents
    start()
    return outer


def _unforeseen(error: InternalServerError) -> ResponseReturnValue:
    """Answer what no handler of the application took; a 500 it made itself stays as it is."""
    cause = error.original_exception
    if cause is None:
        return error
    return _answer(cause if isinstance(cause, AppError) else unexpected(request_id()))


def _answer(error: AppError) -> ResponseReturnValue:
    body = problem(error, request_id())
    return cast("ResponseReturnValue", (body, error.status, {**error.headers, "content-type": "application/problem+json"}))


def request_id() -> str:
    """Return the id of the request at hand."""
    context = current()
    return context.request_id if context else ""


def handle_errors(app: Flask) -> None:
    """Answer the application's own AppErrors with problem+json."""
    app.register_error_handler(AppError, _answer)
