"""Load a server with wrk from a core of its own."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.http.processes import Server

if TYPE_CHECKING:
    from pathlib import Path

REPORT = """
wrk.headers = HEADERS
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("STAT %d %d %.3f %.3f %.3f %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000,
    summary.bytes, e.status + e.connect + e.read + e.write + e.timeout))
end
"""


class LoadError(Exception):
    """Say what wrk or a reply did wrong."""


class Sample(NamedTuple):
    """Hold one measured window of load."""

    requests: int
    per_second: float
    cpu_microseconds: float  # per request, of the server's whole process tree
    busy: float  # share of the server's core that the server had
    p50_ms: float
    p95_ms: float
    p99_ms: float
    memory_mib: float
    reply_bytes: float


def run_load(server: Server, core: int, connections: int, seconds: int, path: str = "/hello", headers: dict[str, str] | None = None) -> Sample:
    """Return what the server did under `connections` keep-alive connections.

    Raises:
        LoadError: wrk did not report, nothing was answered, or any reply was an error.
    """
    script = _script(server.folder, headers or {})
    before = server.cpu_nanoseconds()
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script)]
    output = subprocess.run([*command, f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True, check=False)
    spent = server.cpu_nanoseconds() - before
    found = re.search(r"STAT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+) (\d+) (\d+)", output.stdout)
    if found is None:
        raise LoadError(f"wrk did not report: {output.stderr.strip() or output.stdout.strip()}\n{server.tail()}")
    requests, microseconds, received, errors = int(found[1]), int(found[2]), int(found[6]), int(found[7])
    if errors or not requests:
        raise LoadError(f"{errors} of {requests} requests failed or were answered with an error\n{server.tail()}")
    return Sample(
        requests, requests / microseconds * 1e6, spent / 1000 / requests, spent / 1000 / microseconds,
        float(found[3]), float(found[4]), float(found[5]), server.proportional_mib(), received / requests)


def _script(folder: Path, headers: dict[str, str]) -> Path:
    table = ", ".join(f'["{name}"] = "{value}"' for name, value in headers.items())
    script = folder / "report.lua"
    script.write_text(REPORT.replace("HEADERS", "{" + table + "}"))
    return script
