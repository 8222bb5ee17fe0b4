"""Measure every stack on the wire, in rounds that take turns, so that drift of the machine meets all alike."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.http.load import LoadError, Sample, run_load
from benchmarks.http.processes import Server, StartError
from benchmarks.http.proof import NotProvenError, access_lines, check_reply, prove, samples, settled
from benchmarks.http.stacks import Stack, environment

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE_TOLERANCE = 0.05  # counters in headers change width; another body would not stay within this


@dataclass
class Result:
    """Hold what one stack did over all rounds."""

    stack: Stack
    seen: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""


def measure(stacks: list[Stack], cores: tuple[int, int], seconds: int, connections: int, rounds: int) -> list[Result]:
    """Return the results of every stack; a stack that fails is named and left out of later rounds."""
    results = [Result(stack) for stack in stacks]

    def proof(result: Result, folder: Path) -> str:
        result.seen = prove(result.stack, folder, cores[0])
        return ", ".join(result.seen)

    def load(result: Result, folder: Path) -> str:
        sample = _one_round(result.stack, folder, cores, seconds, connections)
        result.samples.append(sample)
        return f"{sample.per_second:,.0f} req/s"

    for result in results:
        _attempt(result, "proof", proof)
    for number in range(rounds):
        turn = number % max(len(results), 1)
        for result in [*results[turn:], *results[:turn]]:
            _attempt(result, f"round {number + 1}", load)
    return results


def _attempt(result: Result, step: str, work: Callable[[Result, Path], str]) -> None:
    if result.failure:
        return
    with tempfile.TemporaryDirectory(prefix="rakiza-bench-") as folder:
        try:
            said = work(result, Path(folder))
        except (StartError, LoadError, NotProvenError) as error:
            said = result.failure = f"{step}: {error}"
    print(f"  {step}: {result.stack.name}: {said}", file=sys.stderr, flush=True)


def _one_round(stack: Stack, folder: Path, cores: tuple[int, int], seconds: int, connections: int) -> Sample:
    with Server(stack.command, environment(stack, folder), folder, cores[0]) as server:
        warm = run_load(server, cores[1], connections, stack.warm_seconds)
        sample = run_load(server, cores[1], connections, seconds)
        _check_replies(server, sample)
        if stack.kind != "bare":
            _check_counts(server, warm.requests + sample.requests, 2 * connections)
        return sample


def _check_replies(server: Server, sample: Sample) -> None:
    reply = server.get("/hello")
    check_reply(reply)
    size = len(reply.body) + sum(len(name) + len(value) + 4 for name, value in reply.headers.items()) + len("HTTP/1.1 200 OK\r\n\r\n")
    if abs(sample.reply_bytes / size - 1) > SIZE_TOLERANCE:
        raise NotProvenError(f"replies under load had {sample.reply_bytes:.0f} bytes, the right one has about {size}")


def _check_counts(server: Server, counted: int, in_flight: int) -> None:
    """Compare with what wrk counted; it leaves out what was under way when it stopped."""
    least = counted + server.sent
    _check_count("access lines", lambda: access_lines(server.folder), least, in_flight)
    _check_count("requests in the metric", lambda: _route_count(server), least, in_flight)


def _check_count(what: str, read: Callable[[], float], least: int, in_flight: int) -> None:
    number = settled(read, least)
    if not least <= number <= least + in_flight:
        raise NotProvenError(f"{number:.0f} {what} for {least} requests (at most {in_flight} more were under way)")


def _route_count(server: Server) -> int:
    counts = [value for name, value in samples(server).items() if "/hello" in name and ("_count" in name or "_total" in name)]
    return int(max(counts, default=0))
