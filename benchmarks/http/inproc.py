"""Drive the application directly on uvloop and measure what the pass adds to a request, without a server or a socket."""

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

from benchmarks.http import applications, report
from benchmarks.http.processes import two_cores
from benchmarks.http.stacks import LOG_BYTES, UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rakiza.hub import Platform

App = Any  # an ASGI callable
EMAIL = "engineer@example.com"
WARM_CALLS = 300
HEADERS = [
    (b"host", b"127.0.0.1:8000"), (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"), (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, br"), (b"accept-language", b"ar,en;q=0.8"), (b"connection", b"keep-alive"),
]
PLAIN_COOKIE = b"theme=dark; locale=ar"


class Case(NamedTuple):
    """Name one application and the cookie it is called with."""

    name: str
    app: App
    cookie: bytes = PLAIN_COOKIE


class EmptyLayer:
    """Pass every message on through one closure: what any ASGI layer costs at least."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the application with a `send` of our own."""

        async def forward(message: Any) -> None:
            await send(message)

        await self.app(scope, receive, forward)


def main(arguments: list[str]) -> int:
    """Run the in-process benchmark and return the exit status."""
    import uvloop

    options = argparse.ArgumentParser(prog="run.py inproc", description=__doc__)
    options.add_argument("--rounds", type=int, default=7, help="rounds in which the cases take turns")
    options.add_argument("--calls", type=int, default=2000, help="requests of one case in one round")
    options.add_argument("--json", type=Path, help="write every round to this file")
    given = options.parse_args(arguments)
    os.sched_setaffinity(0, {two_cores()[0]})
    with tempfile.TemporaryDirectory(prefix="rakiza-bench-") as folder:
        figures = uvloop.run(_measure(Path(folder), given.rounds, given.calls))
    print(_table(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False))
    return 0


async def _measure(folder: Path, rounds: int, calls: int) -> dict[str, list[float]]:
    platforms: list[Platform] = []
    try:
        cases = _cases(folder, platforms)
        for case in cases:
            await _prove(case)
            await _calls(case, WARM_CALLS)
        gc.collect()
        gc.freeze()  # several platforms in one process are our doing: they must not make each other's collections longer
        figures: dict[str, list[float]] = {case.name: [] for case in cases}
        for number in range(rounds):
            turn = number % len(cases)
            for case in [*cases[turn:], *cases[:turn]]:
                figures[case.name].append(await _calls(case, calls))
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        return figures
    finally:
        for platform in platforms:
            platform.shutdown()


def _cases(folder: Path, platforms: list[Platform]) -> list[Case]:
    from starlette.middleware.base import BaseHTTPMiddleware

    async def nothing(request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        return await call_next(request)

    bare = applications.starlette()
    cases = [
        Case("bare Starlette", bare),
        Case("empty ASGI layer", EmptyLayer(bare)),
        Case("empty BaseHTTPMiddleware", BaseHTTPMiddleware(bare, nothing)),
    ]
    for ratio in (0.0, 0.1, 1.0):
        app, platform = _integrated(folder / f"spans{ratio}", ratio)
        platforms.append(platform)
        cookie = PLAIN_COOKIE + b"; " + _signed_in(platform)
        cases += [Case(f"rakiza, {ratio:.0%} spans, anonymous", app), Case(f"rakiza, {ratio:.0%} spans, signed in", app, cookie)]
    return cases


def _integrated(home: Path, ratio: float) -> tuple[App, Platform]:
    import rakiza

    home.mkdir()
    app = applications.starlette()
    settings: dict[str, dict[str, object]] = {
        "hub": {"home": str(home)}, "telemetry": {"sample_ratio": ratio}, "logs": {"max_bytes": LOG_BYTES},
        "web": {"rate_limit_per_minute": UNLIMITED},
    }
    platform = rakiza.integrate(app, settings)
    platform.start()
    return app, platform


def _signed_in(platform: Platform) -> bytes:
    """Return the cookie of a session opened by a one-time link, the cheapest way in."""
    from rakiza.security import COOKIE

    security = platform.security
    user = security.create_user(EMAIL, "مهندسة الموقع", "admin")
    token, _ = security.sign_in_by_link(security.create_link(user))
    return f"{COOKIE}={token}".encode()


def _scope(cookie: bytes, path: str = "/hello") -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "server": ("127.0.0.1", 8000),
        "client": ("10.0.0.1", 5555), "scheme": "http", "method": "GET", "root_path": "", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [*HEADERS, (b"cookie", cookie)], "state": {},
    }


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _discard(message: dict[str, Any]) -> None:
    pass


async def _calls(case: Case, number: int) -> float:
    """Return the processor time of one call in microseconds, all threads counted: the log writer is one of them."""
    app, cookie = case.app, case.cookie
    start = time.process_time_ns()
    for _ in range(number):
        await app(_scope(cookie), _receive, _discard)
    return (time.process_time_ns() - start) / 1000 / number


async def _prove(case: Case) -> None:
    status, headers, body = await _answer(case, "/hello")
    if status != 200 or json.loads(body) != applications.GREETING:
        raise SystemExit(f"{case.name} answered {status} {body!r}")
    if case.name.startswith("rakiza") and b"x-request-id" not in headers:
        raise SystemExit(f"{case.name} has no x-request-id")
    if case.cookie != PLAIN_COOKIE:
        status, _, body = await _answer(case, "/api/users/me")
        if status != 200 or json.loads(body)["email"] != EMAIL:
            raise SystemExit(f"{case.name} is not signed in: {status} {body!r}")


async def _answer(case: Case, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[dict[str, Any]] = []

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    await case.app(_scope(case.cookie, path), _receive, keep)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


def _table(figures: dict[str, list[float]]) -> str:
    base = figures["bare Starlette"]
    rows = []
    for name, values in figures.items():
        added = [value - bare for value, bare in zip(values, base, strict=True)]
        times = statistics.median(value / bare for value, bare in zip(values, base, strict=True))
        middle, spread = f"{statistics.median(values):.1f}", f"{min(added):+.1f} .. {max(added):+.1f}"
        rows.append([name, middle, f"{statistics.median(added):+.1f}", spread, f"{times:.2f}x"])
    goals = "Goals: rakiza, 10% spans: at most +15 µs and 2.5x anonymous, at most +20 µs signed in."
    header = ("in process", "CPU µs/req", "added µs (median)", "range over rounds", "of bare")
    return report.table(header, rows) + "\n\n" + goals
