"""What tracing adds to a request: ours as the pass of the platform calls it, against the contrib instrumentors on the SDK.

Applications are called directly, cases take turns, and the processor time of all threads counts: the writer of our local history and the
SDK's batch processor are among them. Nobody sends spans over the network: the peers' exporter counts and drops; ours are written to the local
history, as shipped.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from benchmarks.http import report
from benchmarks.http.processes import two_cores
from benchmarks.tracing import peers_environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rakiza.telemetry import Telemetry

STATEMENTS = 3
WARM_CALLS = 200
FLUSH_EVERY = 100  # calls; the shipped interval is a second, in which more than the bound of waiting spans would be dropped here
BODY = b'{"message": "hello"}'
HEADERS = [(b"host", b"127.0.0.1:8000"), (b"user-agent", b"Mozilla/5.0"), (b"accept", b"application/json")]


class Case(NamedTuple):
    """Name one case, what it is compared with, and one call of it."""

    name: str
    bare: str
    call: Callable[[], Awaitable[None]]
    kept: Callable[[], int]


def engine(trace: Callable[[sa.Engine], object] | None) -> sa.Engine:
    """Return an engine on a database in memory, traced or not."""
    made = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    if trace is not None:
        trace(made)
    return made


def ask(database: sa.Engine) -> None:
    """Run the statements of a request."""
    with database.connect() as connection:
        for number in range(STATEMENTS):
            connection.execute(sa.text("SELECT :n AS n"), {"n": number}).scalar()


class Asgi:
    """One small ASGI application, with or without statements."""

    def __init__(self, database: sa.Engine | None = None) -> None:
        self.database = database

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        if self.database is not None:
            ask(self.database)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": BODY})


class Ours:
    """Call the application as the pass of the platform does: begin, open, finish."""

    def __init__(self, app: Any, telemetry: Telemetry) -> None:
        self.app, self.telemetry, self.calls = app, telemetry, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI request."""
        context, span, begun = self.enter(scope["method"], scope["path"])
        try:
            await self.app(scope, receive, send)
        finally:
            self.leave(context, span, begun)

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        """Serve one WSGI request."""
        context, span, begun = self.enter(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        try:
            return self.app(environ, start_response)
        finally:
            self.leave(context, span, begun)

    def enter(self, method: str, path: str) -> tuple[Any, Any, float]:
        """Open the request."""
        from rakiza._kernel import request_context

        begun = time.perf_counter()
        context = self.telemetry.begin(method, path, "203.0.113.7", None, trusted=False)
        self.reset = request_context.set(context)
        return context, self.telemetry.open(context) if context.sampled else None, begun

    def leave(self, context: Any, span: Any, begun: float) -> None:
        """Close the request."""
        from rakiza._kernel import request_context

        request_context.reset(self.reset)
        if span is not None:
            span.detach()
        self.telemetry.finish(context, span, "/hello", 200, time.perf_counter() - begun, None, secure=False)
        self.calls += 1
        if self.calls % FLUSH_EVERY == 0:
            self.telemetry.flush()


def ours(ratio: float, folder: Path) -> Telemetry:
    """Return a telemetry that writes its local history."""
    from rakiza._kernel import LocalFile
    from rakiza.telemetry import Telemetry, TelemetrySettings
    from rakiza.telemetry._history import TraceHistory

    telemetry = Telemetry("bench", TelemetrySettings(sample_ratio=ratio))
    telemetry.outlets.append(TraceHistory(LocalFile(folder / f"{time.monotonic_ns()}.db"), 7.0).write)
    return telemetry


def sdk(ratio: float) -> tuple[Any, Callable[[], int]]:
    """Return a provider of the SDK with a batch processor, and how many spans its exporter was handed."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    class Counting(SpanExporter):
        spans = 0

        def export(self, spans: Any) -> SpanExportResult:
            self.spans += len(spans)
            return SpanExportResult.SUCCESS

    exporter = Counting()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000))
    return provider, lambda: (provider.force_flush(), exporter.spans)[1]


def asgi_call(app: Any) -> Callable[[], Awaitable[None]]:
    """Return one call of an ASGI application."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def call() -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("127.0.0.1", 8000), "client": ("10.0.0.1", 5555),
            "scheme": "http", "method": "GET", "root_path": "", "path": "/hello", "raw_path": b"/hello", "query_string": b"",
            "headers": HEADERS, "state": {},
        }
        await app(scope, receive, send)

    return call


def flask_app() -> Any:
    """Return a Flask application."""
    from flask import Flask

    app = Flask("bench")

    @app.get("/hello")
    def hello() -> tuple[bytes, dict[str, str]]:
        return BODY, {"content-type": "application/json"}

    return app


def wsgi_call(app: Any) -> Callable[[], Awaitable[None]]:
    """Return one call of a WSGI application."""
    from werkzeug.test import EnvironBuilder

    base = EnvironBuilder("/hello").get_environ()

    async def call() -> None:
        answer = app(dict(base), lambda status, headers, exc_info=None: None)
        for _ in answer:
            pass
        close = getattr(answer, "close", None)
        if close is not None:
            close()

    return call


def span_call(tracer: Any) -> Callable[[], Awaitable[None]]:
    """Return one span of user code with one attribute."""

    async def call() -> None:
        with tracer.start_as_current_span("pay") as span:
            span.set_attribute("project", "VILLA-01")

    return call


def instrumented(provider: Any) -> sa.Engine:
    """Return an engine with the contrib instrumentor, which also wraps every other engine, even later ones: that is undone."""
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.instrumentation.utils import unwrap

    made = engine(None)
    SQLAlchemyInstrumentor._instance = None
    SQLAlchemyInstrumentor().instrument(engine=made, tracer_provider=provider, skip_dep_check=True)
    made.connect = sa.Engine.connect.__get__(made)  # type: ignore[method-assign]
    for place, name in ((sa.Engine, "connect"), (sa, "create_engine"), (sa.engine, "create_engine")):
        unwrap(place, name)
    return made


def nothing() -> int:
    """Keep no span."""
    return 0


def cases(folder: Path) -> Iterator[Case]:
    """Yield every case, the bare ones first of their kind."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    from rakiza.telemetry import trace_engine

    async def empty() -> None:
        pass

    yield Case("ASGI, bare", "", asgi_call(Asgi()), nothing)
    yield Case("ASGI + 3 statements, bare", "", asgi_call(Asgi(engine(None))), nothing)
    yield Case("Flask, bare", "", wsgi_call(flask_app()), nothing)
    yield Case("span of user code, bare", "", empty, nothing)
    for ratio in (0.0, 1.0):
        said = f"{ratio:.0%} traced"
        for kind in ("ASGI", "ASGI + 3 statements", "Flask", "span of user code"):
            mine, (provider, exported) = ours(ratio, folder), sdk(ratio)
            if kind == "Flask":
                app, peer = flask_app(), flask_app()
                FlaskInstrumentor().instrument_app(peer, tracer_provider=provider)
                calls = wsgi_call(Ours(app.wsgi_app, mine).wsgi), wsgi_call(peer)
            elif kind == "span of user code":
                calls = span_call(mine.provider.get_tracer("bench")), span_call(provider.get_tracer("bench"))
            else:
                databases: list[sa.Engine | None] = [None, None]
                if kind != "ASGI":
                    databases = [engine(trace_engine), instrumented(provider)]
                peer = OpenTelemetryMiddleware(Asgi(databases[1]), tracer_provider=provider, exclude_spans=["receive", "send"])
                calls = asgi_call(Ours(Asgi(databases[0]), mine)), asgi_call(peer)
            yield Case(f"{kind}, {said}: ours", f"{kind}, bare", calls[0], lambda mine=mine: (mine.flush(), mine.recorder.kept)[1])
            yield Case(f"{kind}, {said}: contrib", f"{kind}, bare", calls[1], exported)


async def measure(folder: Path, rounds: int, number: int) -> dict[str, list[float]]:
    """Return the processor time of one call in microseconds, by case and round."""
    found = list(cases(folder))
    for case in found:
        await prove(case)
        await calls(case, WARM_CALLS)
    gc.collect()
    gc.freeze()
    figures: dict[str, list[float]] = {case.name: [] for case in found}
    for turn in range(rounds):
        for case in [*found[turn % len(found) :], *found[: turn % len(found)]]:
            figures[case.name].append(await calls(case, number))
        print(f"  round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return figures


async def prove(case: Case) -> None:
    """Stop unless a traced call leaves its spans and an untraced one none."""
    before = case.kept()
    await case.call()
    spans = case.kept() - before
    wanted = 0 if "100% traced" not in case.name else 1 + STATEMENTS if "statements" in case.name else 1
    if spans < wanted or (wanted == 0 and spans):
        raise SystemExit(f"{case.name} left {spans} spans, not {wanted}")


async def calls(case: Case, number: int) -> float:
    """Return the processor time of one call, what is written in the background included."""
    start = time.process_time_ns()
    for _ in range(number):
        await case.call()
    case.kept()
    return (time.process_time_ns() - start) / 1000 / number


def table(figures: dict[str, list[float]]) -> str:
    """Return what each case adds to its bare application, and the ratio of contrib to ours in each round."""
    rows = []
    for name, values in figures.items():
        if not name.endswith(": ours"):
            continue
        kind, traced = name.removesuffix(": ours").rsplit(", ", 1)
        bare, peer = figures[f"{kind}, bare"], figures[name.replace(": ours", ": contrib")]
        mine = [value - base for value, base in zip(values, bare, strict=True)]
        other = [value - base for value, base in zip(peer, bare, strict=True)]
        times = sorted(b / max(a, 0.1) for a, b in zip(mine, other, strict=True))
        middle = [f"{statistics.median(each):.1f}" for each in (bare, mine, other)]
        rows.append([kind, traced, *middle, f"{statistics.median(times):.1f}x ({times[0]:.1f}-{times[-1]:.1f})"])
    goals = "Goals: ours adds at most 7 µs to an untraced request or span, at most 35 µs to a traced one."
    header = ("what", "traced", "bare µs", "ours adds µs", "contrib adds µs", "contrib / ours (lowest-highest)")
    return report.table(header, rows) + "\n\n" + goals


def main(arguments: list[str]) -> int:
    """Run the benchmark and return the exit status."""
    import uvloop

    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("--rounds", type=int, default=7, help="rounds in which the cases take turns")
    options.add_argument("--calls", type=int, default=1000, help="calls of one case in one round")
    options.add_argument("--json", type=Path, help="write every round to this file")
    given = options.parse_args(arguments)
    peers_environment.load()
    os.sched_setaffinity(0, {two_cores()[0]})
    with tempfile.TemporaryDirectory(prefix="rakiza-bench-") as folder:
        figures = uvloop.run(measure(Path(folder), given.rounds, given.calls))
    print(table(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
