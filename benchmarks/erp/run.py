"""Measure noufal over SQLite: start, memory at rest, imports, pages of a bill, its summary, at 32 connections with a session."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = str(Path(__file__).resolve().parent.parent.parent)
if ROOT not in sys.path:
    sys.path[0] = ROOT  # started as a file: the folder above must be the one with `benchmarks` in it

from benchmarks.erp.office import EMAIL, PASSWORD, Office, OfficeError, workbook  # noqa: E402  the lines above make it importable
from benchmarks.http.load import LoadError, Sample, run_load  # noqa: E402
from benchmarks.http.peers_environment import MissingToolError, require  # noqa: E402
from benchmarks.http.processes import Server, StartError, two_cores  # noqa: E402
from benchmarks.http.report import machine, table  # noqa: E402
from benchmarks.http.stacks import LOG_BYTES, UNLIMITED  # noqa: E402

SMALL, LARGE = "BENCH-400", "BENCH-100K"
SMALL_ITEMS, LARGE_ITEMS = 400, 100_000
REST_SECONDS = 3
P95_GOAL_MS, SPEED_GOAL = 20, 1000


class Question(NamedTuple):
    """Name one request, how many connections ask it, and what must be in the answer."""

    name: str
    path: str
    connections: int
    key: str
    expected: int


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("--seconds", type=int, default=3, help="measured seconds for each request and round")
    options.add_argument("--connections", type=int, default=32, help="keep-alive connections")
    options.add_argument("--rounds", type=int, default=3, help="rounds in which the requests take turns")
    options.add_argument("--server", choices=("uvicorn", "granian"), default="uvicorn")
    options.add_argument("--rows", type=int, default=LARGE_ITEMS, help="items of the large bill; 0 leaves it out")
    options.add_argument("--json", type=Path, help="write every round to this file")
    given = options.parse_args(arguments)
    try:
        require("wrk", "taskset")
        with tempfile.TemporaryDirectory(prefix="noufal-bench-") as folder:
            return _run(given, Path(folder))
    except (MissingToolError, StartError, OfficeError, LoadError) as error:
        print(error, file=sys.stderr)
        return 2


def _run(given: argparse.Namespace, folder: Path) -> int:
    cores = two_cores()
    begun = time.monotonic()
    with Server(_command(given.server), _environment(folder), folder, cores[0], "/readyz") as server:
        started = time.monotonic() - begun
        time.sleep(REST_SECONDS)
        facts = {"start to ready, s": f"{started:.2f}", **_memory(server, "at rest")}
        office = Office(server)
        facts |= _bring_in(office, SMALL, SMALL_ITEMS)
        if given.rows:
            facts |= _bring_in(office, LARGE, given.rows)
        samples = _measure(server, office, _questions(given), cores[1], given)
        facts |= _memory(server, "after the load")
    print(" · ".join(f"{name} {value}" for name, value in machine(cores).items()) + f" · {given.server}, SQLite\n")
    print(table(("once", "figure"), facts.items()), _table(samples), _goals(samples), sep="\n\n")
    if given.json:
        rounds = {name: [sample._asdict() for sample in found] for name, found in samples.items()}
        given.json.write_text(json.dumps({"facts": facts, "rounds": rounds}, indent=1, ensure_ascii=False))
    return 0


def _memory(server: Server, when: str) -> dict[str, str]:
    return {f"RSS {when}, MiB": f"{server.resident_mib():.0f}", f"PSS {when}, MiB": f"{server.proportional_mib():.0f}"}


def _command(server: str) -> tuple[str, ...]:
    program = Path(sys.executable).parent / "noufal"
    return (str(program), "serve", "--host", "127.0.0.1", "--port", "{port}", "--server", server)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "NOUFAL_HOME": str(folder / "home"), "NOUFAL_ADMIN_EMAIL": EMAIL, "NOUFAL_ADMIN_PASSWORD": PASSWORD, "LOG_MAX_BYTES": str(LOG_BYTES),
        "RAKIZA_WEB_RATE_LIMIT_PER_MINUTE": str(UNLIMITED), "RAKIZA_WEB_REQUEST_TIMEOUT_SECONDS": "300",
    }


def _bring_in(office: Office, code: str, items: int) -> dict[str, str]:
    content = workbook(items)
    office.open_project(code, f"مشروع القياس {items:,} بند")
    begun = time.monotonic()
    report = office.import_bill(code, content)
    seconds = time.monotonic() - begun
    if report["items"] != items or not report["written"]:
        raise OfficeError(f"the import of {items:,} items reports {report['items']:,} and written={report['written']}: {report['counts']}")
    return {f"import of {items:,} items over HTTP, s": f"{seconds:.2f}"}


def _questions(given: argparse.Namespace) -> list[Question]:
    small, large, many = f"/api/projects/{SMALL}", f"/api/projects/{LARGE}", given.connections
    questions = [
        Question("one project (keyed read)", small, many, "items_count", SMALL_ITEMS),
        Question("50 items of 400", f"{small}/boq/items?limit=50", many, "total", SMALL_ITEMS),
        Question("summary of 400 items", f"{small}/boq/summary", many, "items_count", SMALL_ITEMS),
    ]
    if given.rows:
        questions += [
            Question(f"50 items of {given.rows:,}, at the end", f"{large}/boq/items?limit=50&offset={given.rows - 50}", many, "total", given.rows),
            Question(f"summary of {given.rows:,} items", f"{large}/boq/summary", many, "items_count", given.rows),
            Question(f"summary of {given.rows:,} items, one caller", f"{large}/boq/summary", 1, "items_count", given.rows),
        ]
    return questions


def _measure(server: Server, office: Office, questions: list[Question], core: int, given: argparse.Namespace) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {question.name: [] for question in questions}
    for question in questions:
        _prove(office, question)
        run_load(server, core, question.connections, 1, question.path, office.headers)
    for number in range(given.rounds):
        for question in questions:
            sample = run_load(server, core, question.connections, given.seconds, question.path, office.headers)
            samples[question.name].append(sample)
            print(f"  round {number + 1}: {question.name}: {sample.per_second:,.0f} req/s", file=sys.stderr, flush=True)
            _prove(office, question)
    return samples


def _prove(office: Office, question: Question) -> None:
    answer: dict[str, Any] = office.get(question.path)
    if answer[question.key] != question.expected or ("limit=50" in question.path and len(answer["items"]) != 50):
        raise OfficeError(f"{question.path}: {question.key} is {answer[question.key]}, {question.expected} was imported")


def _table(samples: dict[str, list[Sample]]) -> str:
    header = ("request", "req/s", "CPU µs/req", "busy", "p50 ms", "p95 ms", "p99 ms")
    columns = (("per_second", ",.0f"), ("cpu_microseconds", ",.0f"), ("busy", ".2f"), ("p50_ms", ".2f"), ("p95_ms", ".2f"), ("p99_ms", ".2f"))
    return table(header, [[name, *(format(_middle(found, value), form) for value, form in columns)] for name, found in samples.items()])


def _middle(found: list[Sample], value: str) -> float:
    return float(statistics.median(getattr(sample, value) for sample in found))


def _goals(samples: dict[str, list[Sample]]) -> str:
    rows = []
    for name in ("one project (keyed read)", "50 items of 400"):
        p95, speed = _middle(samples[name], "p95_ms"), _middle(samples[name], "per_second")
        rows.append([f"{name}: p95 < {P95_GOAL_MS} ms", f"{p95:.2f}", "yes" if p95 < P95_GOAL_MS else "**no**"])
        rows.append([f"{name}: > {SPEED_GOAL:,} req/s on one core", f"{speed:,.0f}", "yes" if speed > SPEED_GOAL else "**no**"])
    return table(("goal", "measured", "reached"), rows)


if __name__ == "__main__":
    raise SystemExit(main())
