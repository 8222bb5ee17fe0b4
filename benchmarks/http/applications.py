"""The applications every figure is relative to: one JSON greeting, bare and behind `rakiza.integrate`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from flask import Flask
    from litestar import Litestar
    from starlette.applications import Starlette

    from rakiza.hub import Platform

PROOF = "BENCHMARK_PROOF"
App = TypeVar("App")
GREETING = {"message": "hello"}


def starlette() -> Starlette:
    """Return a Starlette application whose reply is encoded by msgspec."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    encode = msgspec.json.Encoder().encode

    class JsonResponse(Response):
        media_type = "application/json"

        def render(self, content: object) -> bytes:
            return encode(content)

    async def hello(request: Request) -> Response:
        return JsonResponse(GREETING)

    return Starlette(routes=[Route("/hello", hello)])


def litestar() -> Litestar:
    """Return a Litestar application."""
    from litestar import Litestar, get

    @get("/hello")
    async def hello() -> dict[str, str]:
        return GREETING

    return Litestar([hello], openapi_config=None)


def fastapi() -> FastAPI:
    """Return a FastAPI application."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return GREETING

    return app


def flask() -> Flask:
    """Return a Flask application."""
    from flask import Flask

    app = Flask("bench")

    @app.get("/hello")
    def hello() -> dict[str, str]:
        return GREETING

    return app


def _integrated(make: Callable[[], App]) -> App:
    import rakiza

    app = make()
    platform = rakiza.integrate(app)
    if PROOF in os.environ:  # noqa: TID251  asked for by the benchmark, unknown to the project
        _count_spans(platform)
    return app


def _count_spans(platform: Platform) -> None:
    """Count finished spans in a metric of their own, as the peers' exporters do; never while anything is measured."""
    finished = platform.metrics.counter("spans_exported", "Spans handed to the exporter")
    platform.tracer.outlets.append(lambda traces: finished.inc(sum(len(records) for _, records in traces)))


def integrated_starlette() -> Starlette:
    """Return the Starlette application behind the whole layer."""
    return _integrated(starlette)


def integrated_litestar() -> Litestar:
    """Return the Litestar application behind the whole layer."""
    return _integrated(litestar)


def integrated_fastapi() -> FastAPI:
    """Return the FastAPI application behind the whole layer."""
    return _integrated(fastapi)


def integrated_flask() -> Flask:
    """Return the Flask application behind the whole layer."""
    return _integrated(flask)
