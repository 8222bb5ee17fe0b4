"""Write results as Markdown tables and as JSON."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.http.load import Sample
    from benchmarks.http.wire import Result

QUIET = 0.93  # below this share of its core a stack that is not waiting had company
PACKAGES = (
    "rakiza", "starlette", "litestar", "fastapi", "flask", "uvicorn", "granian", "uvloop", "httptools", "msgspec", "prometheus-client",
    "opentelemetry-sdk",
)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    names = list(header)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def middle(result: Result, value: str) -> float:
    """Return the median of one column over the rounds."""
    return float(statistics.median(getattr(sample, value) for sample in result.samples))


def wire_tables(results: list[Result]) -> str:
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
    return "\n\n".join([*parts, *_failures(results), *_warnings(good)])


def _measured(good: list[Result]) -> str:
    header = ("stack", "req/s", "CPU µs/req", "busy", "p50 ms", "p95 ms", "p99 ms", "PSS MiB")
    formats = (
        ("per_second", ",.0f"), ("cpu_microseconds", ".1f"), ("busy", ".2f"), ("p50_ms", ".2f"), ("p95_ms", ".2f"), ("p99_ms", ".2f"),
        ("memory_mib", ".0f"),
    )
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
        share = ratio(result, base, "per_second")
        rows.append([_title(result), f"{added(result, base):+.1f}", f"{ratio(result, base, 'cpu_microseconds'):.2f}x", f"{share:.2f}x",
                     f"{middle(result, 'memory_mib') - middle(base, 'memory_mib'):+.0f}"])
    return table(("stack", "added CPU µs/req", "CPU", "req/s", "added MiB"), rows)


def _pairs(one: Result, other: Result, value: str) -> list[float]:
    return [getattr(a, value) / getattr(b, value) for a, b in zip(one.samples, other.samples, strict=False)]


def ratio(one: Result, other: Result, value: str) -> float:
    """Return the median over the rounds of one / other, each taken within its round."""
    return statistics.median(_pairs(one, other, value))


def added(one: Result, other: Result) -> float:
    """Return the median over the rounds of the processor time that `one` needs more for a request, in microseconds."""
    return statistics.median(a.cpu_microseconds - b.cpu_microseconds for a, b in zip(one.samples, other.samples, strict=False))


def _matrix(rows: list[Result], columns: list[Result], value: str, *, inverse: bool) -> str:
    def cell(row: Result, column: Result) -> str:
        ratios = _pairs(column, row, value) if inverse else _pairs(row, column, value)
        return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"

    return table(("ours", *(c.stack.name for c in columns)), [[r.stack.name, *(cell(r, c) for c in columns)] for r in rows])


def _failures(results: list[Result]) -> list[str]:
    return [f"FAILED {result.stack.name}: {result.failure}" for result in results if result.failure]


def _warnings(good: list[Result]) -> list[str]:
    shared = [result.stack.name for result in good if middle(result, "busy") < QUIET]
    if not shared:
        return []
    why = "Other work shared the machine or the load was too small: trust only the CPU column there."
    return [f"Less than {QUIET:.0%} of its core was used by: {', '.join(shared)}. {why}"]


def machine(cores: tuple[int, int]) -> dict[str, str]:
    """Return what the figures depend on: processor, kernel, versions, commit."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    facts = {"processor": found[1] if found else platform.machine(), "kernel": platform.release(), "cores": f"server {cores[0]}, load {cores[1]}",
             "python": platform.python_version(), "node": _output("node", "--version"), "commit": _output("git", "rev-parse", "--short", "HEAD"),
             "load before": Path("/proc/loadavg").read_text().split()[0]}
    return facts | {name: importlib.metadata.version(name) for name in PACKAGES}


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return "absent"


def as_json(results: list[Result], facts: dict[str, str]) -> dict[str, object]:
    """Return the run as plain data, every round included."""
    def one(result: Result) -> dict[str, object]:
        rounds: list[dict[str, object]] = [_sample(sample) for sample in result.samples]
        return {"stack": result.stack.name, "kind": result.stack.kind, "baseline": result.stack.baseline, "seen": result.seen,
                "failure": result.failure, "rounds": rounds}

    return {"machine": facts, "results": [one(result) for result in results]}


def _sample(sample: Sample) -> dict[str, object]:
    return {name: round(value, 4) for name, value in sample._asdict().items()}
