"""Write results as Markdown tables and as JSON."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.http.wire import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.http.load import Sample

QUIET = 0.93  # below this share of its core a stack that is not waiting had company
PACKAGES = ("rakiza", "starlette", "litestar", "fastapi", "flask", "uvicorn", "granian", "uvloop", "httptools", "msgspec", "prometheus-client", "opentelemetry-sdk")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    names = list(header)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def middle(result: Result, value: str) -> float:
    """Return the median of one column over the rounds."""
    return statistics.median(getattr(sample, value) for sample in result.samples)


def wire_tables(results: list[Result], goals: bool = True) -> str:
    """Return all tables of a wire run."""
    good = [result for result in results if result.samples and not result.failure]
    ours = [result for result in good if result.stack.kind == "ours"]
    peers = [result for result in good if result.stack.kind == "peer"]
    parts = ["### On the wire (median of the rounds)", _measured(good)]
    if any(r.stack.baseline in {g.stack.name for g in good} for r in good):
        parts += ["### Cost of the layer: against the same framework bare on the same server", _layer(good)]
    if ours and peers:
        parts += [
            "### Requests per second: ours / peer (lowest-highest of the rounds)", _matrix(ours, peers, "per_second", inverse=False),
            "### p95: peer / ours", _matrix(ours, peers, "p95_ms", inverse=True),
            "### Memory: peer / ours", _matrix(ours, peers, "memory_mib", inverse=True),
        ]
    bare = [result for result in good if result.stack.kind == "bare"]
    if ours and bare:
        parts += ["### Requests per second: ours / bare framework", _matrix(ours, bare, "per_second", inverse=False)]
    if goals and ours:
        parts += ["### Goals", goal_table(good)]
    return "\n\n".join([*parts, *_failures(results), *_warnings(good)])


def _measured(good: list[Result]) -> str:
    header = ("stack", "req/s", "CPU µs/req", "busy", "p50 ms", "p95 ms", "p99 ms", "PSS MiB")
    formats = ("per_second", ",.0f"), ("cpu_microseconds", ".1f"), ("busy", ".2f"), ("p50_ms", ".2f"), ("p95_ms", ".2f"), ("p99_ms", ".2f"), ("memory_mib", ".0f")
    return table(header, [[_title(r), *(format(middle(r, name), form) for name, form in formats)] for r in good])


def _title(result: Result) -> str:
    name = f"**{result.stack.name}**" if result.stack.kind == "ours" else result.stack.name
    if result.stack.kind == "bare":
        return name
    return f"{name} ({float(result.stack.sample_ratio):.0%} spans{', Sentry on' if result.stack.sentry else ''})"


def _layer(good: list[Result]) -> str:
    by_name = {result.stack.name: result for result in good}
    rows = []
    for result in good:
        base = by_name.get(result.stack.baseline)
        if base is None:
            continue
        added = statistics.median(a.cpu_microseconds - b.cpu_microseconds for a, b in zip(result.samples, base.samples, strict=False))
        share = _ratio(result, base, "per_second")
        rows.append([_title(result), f"{added:+.1f}", f"{_ratio(result, base, 'cpu_microseconds'):.2f}x", f"{share:.2f}x",
                     f"{middle(result, 'memory_mib') - middle(base, 'memory_mib'):+.0f}"])
    return table(("stack", "added CPU µs/req", "CPU", "req/s", "added MiB"), rows)


def _pairs(one: Result, other: Result, value: str) -> list[float]:
    return [getattr(a, value) / getattr(b, value) for a, b in zip(one.samples, other.samples, strict=False)]


def _ratio(one: Result, other: Result, value: str) -> float:
    return statistics.median(_pairs(one, other, value))


def _matrix(rows: list[Result], columns: list[Result], value: str, *, inverse: bool) -> str:
    def cell(row: Result, column: Result) -> str:
        ratios = _pairs(column, row, value) if inverse else _pairs(row, column, value)
        return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"

    return table(("ours", *(c.stack.name for c in columns)), [[r.stack.name, *(cell(r, c) for c in columns)] for r in rows])


def goal_table(good: list[Result]) -> str:
    """Return each goal that this run can answer, with its figure."""
    by_name = {result.stack.name: result for result in good}
    rows = []
    for what, needed, goal, reached, figure in _goals():
        stacks = [by_name[name] for name in needed if name in by_name]
        if len(stacks) == len(needed):
            value = figure(*stacks)
            rows.append([what, goal, f"{value:,.2f}", "yes" if reached(value) else "**no**"])
    return table(("goal", "wanted", "measured", "reached"), rows) if rows else "(no goal can be judged from these stacks)"


def _goals() -> list[tuple[str, tuple[str, ...], str, Callable[[float], bool], Callable[..., float]]]:
    def added(one: Result, other: Result) -> float:
        return statistics.median(a.cpu_microseconds - b.cpu_microseconds for a, b in zip(one.samples, other.samples, strict=False))

    def times(one: Result, other: Result) -> float:
        return _ratio(one, other, "per_second")

    def at_most(limit: float) -> Callable[[float], bool]:
        return lambda value: value <= limit

    def at_least(limit: float) -> Callable[[float], bool]:
        return lambda value: value >= limit

    granian, uvicorn, litestar, flask = (f"rakiza + {name}" for name in ("Starlette / granian", "Starlette / uvicorn", "Litestar / granian", "Flask / granian"))
    npm, fastapi_kinder, flask_kinder = "Express full / node", "FastAPI usual, kinder / uvicorn", "Flask usual, kinder / gunicorn"
    rows: list[tuple[str, tuple[str, ...], str, Callable[[float], bool], Callable[..., float]]] = [
        ("added on the wire, Starlette / granian (µs)", (granian, "Starlette bare / granian"), "<= 20", at_most(20), added),
        ("added on the wire, Flask / granian (µs)", (flask, "Flask bare / granian"), "<= 25", at_most(25), added),
        ("added on the wire, Starlette / uvicorn (µs)", (uvicorn, "Starlette bare / uvicorn"), "<= 40", at_most(40), added),
        ("JSON req/s per core, Starlette / granian", (granian,), ">= 15,000", at_least(15_000), lambda one: middle(one, "per_second")),
        ("Litestar with the layer / bare Starlette, granian", (litestar, "Starlette bare / granian"), ">= 0.4", at_least(0.4), times),
        ("Litestar with the layer / bare Starlette, uvicorn", ("rakiza + Litestar / uvicorn", "Starlette bare / uvicorn"), ">= 0.33", at_least(0.33), times),
        ("p95 at 32 connections, Starlette / granian (ms)", (granian,), "< 5", lambda value: value < 5, lambda one: middle(one, "p95_ms")),
        ("p95 at 32 connections, Starlette / uvicorn (ms)", (uvicorn,), "< 5", lambda value: value < 5, lambda one: middle(one, "p95_ms")),
        ("req/s against Express full, Starlette / granian", (granian, npm), ">= 10x", at_least(10), times),
        ("req/s against Express full, Starlette / uvicorn", (uvicorn, npm), ">= 6x", at_least(6), times),
        ("req/s against Express full, Litestar / granian", (litestar, npm), ">= 5x", at_least(5), times),
        ("p95 of Express full / ours, Starlette / granian", (npm, granian), ">= 10x", at_least(10), lambda one, other: _ratio(one, other, "p95_ms")),
        ("memory of Express full / ours, Starlette / granian", (npm, granian), ">= 3x", at_least(3), lambda one, other: _ratio(one, other, "memory_mib")),
        ("req/s against FastAPI usual, kinder, Starlette / granian", (granian, fastapi_kinder), ">= 15x", at_least(15), times),
        ("req/s against Flask usual, kinder, Flask / granian", (flask, flask_kinder), ">= 15x", at_least(15), times),
    ]
    return rows


def _failures(results: list[Result]) -> list[str]:
    return [f"FAILED {result.stack.name}: {result.failure}" for result in results if result.failure]


def _warnings(good: list[Result]) -> list[str]:
    shared = [result.stack.name for result in good if middle(result, "busy") < QUIET]
    if not shared:
        return []
    return [f"Less than {QUIET:.0%} of its core was used by: {', '.join(shared)}. Other work shared the machine or the load was too small: trust only the CPU column there."]


def machine(cores: tuple[int, int]) -> dict[str, str]:
    """Return what the figures depend on: processor, kernel, versions, commit."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout.strip()
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    facts = {"processor": found[1] if found else platform.machine(), "kernel": platform.release(), "cores": f"server {cores[0]}, load {cores[1]}",
             "python": platform.python_version(), "node": node, "commit": commit, "load before": Path("/proc/loadavg").read_text().split()[0]}
    return facts | {name: importlib.metadata.version(name) for name in PACKAGES}


def as_json(results: list[Result], facts: dict[str, str]) -> dict[str, object]:
    """Return the run as plain data, every round included."""
    def one(result: Result) -> dict[str, object]:
        rounds: list[dict[str, object]] = [_sample(sample) for sample in result.samples]
        return {"stack": result.stack.name, "kind": result.stack.kind, "baseline": result.stack.baseline, "seen": result.seen,
                "failure": result.failure, "rounds": rounds}

    return {"machine": facts, "results": [one(result) for result in results]}


def _sample(sample: Sample) -> dict[str, object]:
    return {name: round(value, 4) for name, value in sample._asdict().items()}
