"""Prove that a stack answers rightly and that its layer is really there: headers, log, metric, spans and limit."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from benchmarks.http.applications import GREETING
from benchmarks.http.processes import Reply, Server
from benchmarks.http.stacks import OPERATOR_KEY, Stack, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUESTS = 40
LIMIT = 60
WAIT_SECONDS = 8


class NotProvenError(Exception):
    """Say which duty of the layer was not seen."""


def prove(stack: Stack, folder: Path, core: int) -> list[str]:
    """Return what was seen of the layer of `stack`, which is started for this only.

    Raises:
        NotProvenError: a reply was wrong, or a duty of the layer was not seen.
    """
    proof_limit = None if stack.kind == "bare" else LIMIT
    with Server(stack.command, environment(stack, folder, proof_limit), folder, core) as server:
        replies = [server.get("/hello") for _ in range(REQUESTS)]
        for reply in replies:
            check_reply(reply)
        if stack.kind == "bare":
            return ["replies"]
        check_headers(stack, replies)
        check_lines(server)
        seen = ["replies", "headers", f"{server.sent} log lines", check_metric(server)]
        return [*seen, check_spans(server), check_limit(server)]


def check_reply(reply: Reply) -> None:
    """Raise NotProvenError unless the reply is the greeting."""
    if reply.status != 200 or json.loads(reply.body or b"null") != GREETING:
        raise NotProvenError(f"answered {reply.status} {reply.body[:200]!r}")


def check_headers(stack: Stack, replies: list[Reply]) -> None:
    """Raise NotProvenError unless the security header, and for ours a request id of its own in every reply, is there."""
    if any(reply.headers.get("x-content-type-options") != "nosniff" for reply in replies):
        raise NotProvenError(f"no `x-content-type-options: nosniff` in {sorted(replies[0].headers)}")
    if stack.kind == "ours" and len({reply.headers.get("x-request-id") for reply in replies} - {None}) != len(replies):
        raise NotProvenError("not every reply has an x-request-id of its own")


def check_lines(server: Server) -> None:
    """Raise NotProvenError unless there is exactly one JSON access line for every request."""
    lines = settled(lambda: access_lines(server.folder), server.sent)
    if lines != server.sent:
        raise NotProvenError(f"{lines} access lines for {server.sent} requests in {_log_names(server.folder)}")
    for path in log_files(server.folder):
        for line in path.read_text().splitlines():
            json.loads(line)


def check_metric(server: Server) -> str:
    """Return the metric whose count for the route is exactly the requests sent."""
    names = [name for name, value in samples(server).items() if "/hello" in name and value == server.sent and "_bucket" not in name]
    if not names:
        found = {name: value for name, value in samples(server).items() if "/hello" in name and "_bucket" not in name}
        raise NotProvenError(f"no metric of the route counts {server.sent}: {found}")
    return "metric " + names[0].split("{")[0]


def check_spans(server: Server) -> str:
    """Return how many spans the exporter was handed: at least one for every request."""
    spans = settled(lambda: samples(server).get("spans_exported_total", 0), server.sent)
    if spans < server.sent:
        raise NotProvenError(f"{spans:.0f} spans for {server.sent} requests")
    return f"{spans:.0f} spans"


def check_limit(server: Server) -> str:
    """Return the answer of the rate limit once more than the allowed requests were sent."""
    for _ in range(2 * LIMIT):
        if server.get("/hello").status == 429:
            return "429"
    raise NotProvenError(f"no 429 after {server.sent} requests with a limit of {LIMIT} per minute")


def samples(server: Server) -> dict[str, float]:
    """Return the server's Prometheus samples by name and labels."""
    reply = server.get("/metrics", {"X-API-Key": OPERATOR_KEY})
    if reply.status != 200:
        raise NotProvenError(f"/metrics answered {reply.status} {reply.body[:200]!r}")
    found = re.findall(r"^([a-z_:]\w*(?:\{.*\})?) ([-+\d.eE]+|NaN|[+-]Inf)", reply.body.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def log_files(folder: Path) -> list[Path]:
    """Return the stack's files of access lines, rotated ones included."""
    return sorted(folder.glob("*_requests.log*"))


def access_lines(folder: Path) -> int:
    """Return how many lines about the benchmark's route were written."""
    return sum(path.read_bytes().count(b'/hello"') for path in log_files(folder))


def _log_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def settled(read: Callable[[], float], least: float) -> float:
    """Return a count once it has reached `least`, or what it was when waiting ended: logs and exporters write a little later."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (number := read()) < least and time.monotonic() < deadline:
        time.sleep(0.1)
    return number
