"""FastAPI with the parts most often named together: slowapi, secure, structlog, instrumentator, OpenTelemetry, Sentry."""

import time

import orjson
import structlog
from fastapi import FastAPI, Request
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_fastapi_instrumentator import Instrumentator
from secure.middleware.asgi import SecureASGIMiddleware
from settings import GREETING, LIMIT, LOG_FILE, start_sentry, tracer_provider
from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware
from slowapi.util import get_remote_address


def access_logger():
    processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(lambda value, **_: orjson.dumps(value)),
    ]
    logger = structlog.BytesLogger(open(LOG_FILE, "ab"))  # noqa: SIM115  open as long as the process
    level = structlog.make_filtering_bound_logger(20)
    return structlog.wrap_logger(logger, wrapper_class=level, cache_logger_on_first_use=True, processors=processors).bind()


def add_access_log(app):
    log = access_logger()

    @app.middleware("http")
    async def access(request: Request, call_next):
        start = time.perf_counter()
        response = await call_next(request)
        milliseconds = (time.perf_counter() - start) * 1000
        log.info("request", method=request.method, path=request.url.path, status=response.status_code, ms=milliseconds, ip=request.client.host)
        return response


def make():
    start_sentry()
    app = FastAPI()
    app.state.limiter = Limiter(key_func=get_remote_address, default_limits=[LIMIT])
    app.add_middleware(SlowAPIASGIMiddleware)
    app.add_middleware(SecureASGIMiddleware)
    add_access_log(app)
    Instrumentator().instrument(app).expose(app)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=tracer_provider())

    @app.get("/hello")
    async def hello():
        return GREETING

    return app
