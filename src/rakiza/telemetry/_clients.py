"""Client spans: statements of SQLAlchemy and of raw cursors, Redis commands, outgoing HTTP; what crosses a border carries the trace on."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from rakiza._kernel import current, service_at_hand

from ._core import method_label, shown_url
from ._spans import Call, LightSpan, note
from .service import Telemetry, get_tracer

if TYPE_CHECKING:
    import httpx
    import sqlalchemy as sa

P = ParamSpec("P")
T = TypeVar("T")
SLOW_FROM_SECONDS = 0.001
"""Faster statements are never slow, whatever the setting says: nobody is asked for them."""
_tracer = get_tracer("rakiza")


def observed(system: str, statement: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `call`, which runs `statement`, and add it to the trace at hand; raise what it raises."""
    start = perf_counter()
    try:
        result = call(*args, **kwargs)
    except BaseException as error:
        _ran(system, statement, start, error)
        raise
    _ran(system, statement, start, None)
    return result


def _ran(system: str, statement: str, start: float, error: BaseException | None) -> None:
    end = perf_counter()
    span = get_current_span()
    context = span.holder if isinstance(span, LightSpan) else current()
    if context is not None:
        parent = span.span_id if isinstance(span, LightSpan) else context.span_id
        note(context, Call(system, statement, parent, start, end, type(error).__name__ if error is not None else None))
    if end - start >= SLOW_FROM_SECONDS and system != "redis":
        telemetry = service_at_hand("telemetry", Telemetry)
        if telemetry is not None:
            telemetry.add_slow_statement(statement, end - start)


def trace_engine(engine: "sa.Engine") -> "sa.Engine":
    """Add every statement of a SQLAlchemy engine to the trace at hand, without its values; return the engine."""
    dialect, system = engine.dialect, engine.dialect.name
    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        # Instead of SQLAlchemy's events: one listener makes it look for all kinds of them, which costs ten times as much.
        setattr(dialect, name, _statement_run(system, getattr(dialect, name)))
    return engine


def _statement_run(system: str, run: Callable[..., None]) -> Callable[..., None]:
    return lambda cursor, statement, *more, **context: observed(system, statement, run, cursor, statement, *more, **context)


def trace_redis(client: T) -> T:
    """Add every command and pipeline of a redis-py client, synchronous or not, to the trace at hand, without keys and values; return the client."""
    given = cast("Any", client)
    make = given.pipeline

    def pipeline(*args: object, **kwargs: object) -> object:
        made = make(*args, **kwargs)
        made.execute = _within(made.execute, lambda *_, **__: _command("PIPELINE"))
        return made

    given.execute_command = _within(given.execute_command, _command)
    given.pipeline = pipeline
    return client


@contextmanager
def _command(*arguments: object, **_: object) -> Iterator[Callable[[object], object]]:
    start, seen = perf_counter(), None
    try:
        yield lambda result: result
    except BaseException as error:
        seen = error
        raise
    finally:
        _ran("redis", str(arguments[0]), start, seen)


def _within(call: Callable[..., Any], block: Callable[..., AbstractContextManager[Callable[[Any], Any]]]) -> Callable[..., Any]:
    """Return `call`, synchronous or not, inside a block that gets the arguments and then the result."""

    async def later(*args: object, **kwargs: object) -> object:
        with block(*args, **kwargs) as told:
            return told(await call(*args, **kwargs))

    def now(*args: object, **kwargs: object) -> object:
        with block(*args, **kwargs) as told:
            return told(call(*args, **kwargs))

    return wraps(call)(later if inspect.iscoroutinefunction(call) else now)


class ClientHeaders(dict[str, str]):
    """Be the headers an outgoing call must send; set `status` to what came back."""

    status: int = 0


@contextmanager
def client_span(method: str, url: str) -> Iterator[ClientHeaders]:
    """Trace the outgoing HTTP call made in this block; yields the headers that carry the trace on."""
    headers = ClientHeaders()
    with _tracer.start_span(method_label(method), kind=SpanKind.CLIENT) as span:
        if isinstance(span, LightSpan):
            headers["traceparent"] = f"00-{span.holder.trace_id}-{span.span_id}-{'01' if span.holder.sampled else '00'}"
            span.set_attributes({"http.request.method": span.name, "url.full": shown_url(url)})
        yield headers
        if headers.status:
            span.set_attribute("http.response.status_code", headers.status)
        if headers.status >= 400:
            span.set_status(StatusCode.ERROR)


def trace_httpx(client: T) -> T:
    """Trace every request of an httpx client, synchronous or not, and let it carry the trace on; return the client."""
    given = cast("Any", client)
    given.send = _within(given.send, _request)
    return client


@contextmanager
def _request(request: "httpx.Request", **_: object) -> "Iterator[Callable[[httpx.Response], httpx.Response]]":
    with client_span(request.method, str(request.url)) as headers:
        request.headers.update(headers)

        def told(response: "httpx.Response") -> "httpx.Response":
            headers.status = response.status_code
            return response

        yield told
