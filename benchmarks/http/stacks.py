"""The stacks that are compared: bare frameworks, the same behind the layer, and the usual parts of others."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.http.applications import PROOF
from benchmarks.http.peers_environment import NODE_FOLDER, PEERS, peer_packages, peer_python

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
APPLICATIONS = "benchmarks.http.applications"
UNLIMITED = 1_000_000_000
LOG_BYTES = 4_000_000_000  # no rotation during a run, so that every line can be counted
OPERATOR_KEY = "benchmark-operator-key-0123456789abcdef"


@dataclass(frozen=True)
class Stack:
    """Name one server command and what it must be compared with."""

    name: str
    kind: str  # bare, ours or peer
    command: tuple[str, ...]
    baseline: str = ""  # the bare stack it stands on
    sample_ratio: str = "0.1"
    sentry: bool = False
    frugal: bool = False  # the peer's own faster settings
    warm_seconds: int = 1
    extra: dict[str, str] = field(default_factory=dict)


def environment(stack: Stack, folder: Path, proof_limit: int | None = None) -> dict[str, str]:
    """Return the variables that a stack is started with; its logs go to `folder`.

    With `proof_limit` the rate limit is that low, every request is traced and spans are exported soon.
    """
    limit, ratio = proof_limit or UNLIMITED, "1" if proof_limit else stack.sample_ratio
    common = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PYTHONUNBUFFERED": "1"}
    if proof_limit:
        common |= {"OTEL_BSP_SCHEDULE_DELAY": "200", PROOF: "1"}
    if stack.kind == "ours":
        return common | _ours(folder, limit, ratio)
    if stack.kind == "peer":
        settings = {"PEER_LOG": str(folder / "peer_requests.log"), "PEER_LIMIT": str(limit), "PEER_RATIO": ratio,
                    "PEER_SENTRY": str(int(stack.sentry)), "PEER_FRUGAL": str(int(stack.frugal))}
        return common | settings | {"PYTHONPATH": str(PEERS), "NODE_ENV": "production"} | stack.extra
    return common | {"NODE_ENV": "production"} | stack.extra


def _ours(folder: Path, limit: int, ratio: str) -> dict[str, str]:
    return {
        "APP_ENV": "production", "OPS_API_KEY": OPERATOR_KEY, "LOG_DIR": str(folder), "LOG_MAX_BYTES": str(LOG_BYTES),
        "DATABASE_URL": f"sqlite:///{folder}/bench.db",
        "RAKIZA_TELEMETRY_SAMPLE_RATIO": ratio, "RAKIZA_WEB_RATE_LIMIT_PER_MINUTE": str(limit),
    }


def _uvicorn(target: str, python: str | Path = sys.executable) -> tuple[str, ...]:
    return (str(python), "-m", "uvicorn", "--factory", target, "--port", "{port}", "--no-access-log", "--log-level", "warning",
            "--loop", "uvloop", "--http", "httptools")


def _granian(target: str, interface: str = "asgi", *more: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "granian", "--factory", "--interface", interface, "--port", "{port}", "--workers", "1",
            "--log-level", "warning", "--no-access-log", "--loop", "uvloop", *more, target)


def _gunicorn(target: str, *start: str) -> tuple[str, ...]:
    return (*start, f"{target}()", "-b", "127.0.0.1:{port}", "-w", "1", "-k", "gthread", "--threads", "8", "--log-level", "error",
            "--no-control-socket")


def _python_stacks(framework: str) -> list[Stack]:
    bare, ours = f"{APPLICATIONS}:{framework.lower()}", f"{APPLICATIONS}:integrated_{framework.lower()}"
    if framework == "Flask":
        launcher = (sys.executable, str(HERE / "gunicorn_launcher.py"), str(peer_packages()))
        threads = ("wsgi", "--blocking-threads", "8")
        pairs = [
            ("granian", _granian(bare, *threads), _granian(ours, *threads)),
            ("gunicorn", _gunicorn(bare, *launcher), _gunicorn(ours, *launcher)),
        ]
    elif framework == "FastAPI":
        pairs = [("uvicorn", _uvicorn(bare), _uvicorn(ours))]
    else:
        pairs = [("granian", _granian(bare), _granian(ours)), ("uvicorn", _uvicorn(bare), _uvicorn(ours))]
    return [
        stack
        for server, bare_command, our_command in pairs
        for stack in (
            Stack(f"{framework} bare / {server}", "bare", bare_command),
            Stack(f"rakiza + {framework} / {server}", "ours", our_command, f"{framework} bare / {server}"),
        )
    ]


def _peer_stacks() -> list[Stack]:
    python = str(peer_python())
    fastapi = _uvicorn("fastapi_usual:make", python)
    flask = _gunicorn("flask_usual:make", python, "-m", "gunicorn")
    node = ("node", str(NODE_FOLDER / "server.js"))
    return [
        Stack("FastAPI usual / uvicorn", "peer", fastapi, "FastAPI bare / uvicorn", "1", sentry=True),
        Stack("FastAPI usual, kinder / uvicorn", "peer", fastapi, "FastAPI bare / uvicorn"),
        Stack("Flask usual / gunicorn", "peer", flask, "Flask bare / gunicorn", "1", sentry=True),
        Stack("Flask usual, kinder / gunicorn", "peer", flask, "Flask bare / gunicorn"),
        Stack("Express bare / node", "bare", node, warm_seconds=4, extra={"PEER_BARE": "1"}),
        Stack("Express full / node", "peer", node, "Express bare / node", sentry=True, warm_seconds=4),
        Stack("Express full, kinder / node", "peer", node, "Express bare / node", frugal=True, warm_seconds=4),
    ]


def all_stacks() -> list[Stack]:
    """Return every stack in the order of the tables."""
    return [*_python_stacks("Starlette"), *_python_stacks("Litestar"), *_python_stacks("FastAPI"), *_python_stacks("Flask"), *_peer_stacks()]
