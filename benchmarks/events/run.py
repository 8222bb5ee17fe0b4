"""Measure appends, replay, rebuilds and lag against the raw drivers and the `eventsourcing` library: `run.py append|replay|rebuild|lag|all`.

Every side runs in a process of its own, cases take turns in rounds, appends begin in an empty database, and PostgreSQL is checkpointed before each.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self, cast

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path[0] = str(ROOT)  # started as a file: this folder must not stand before the standard library's names

from benchmarks.events.databases import Databases, databases  # noqa: E402  the lines above make it importable
from benchmarks.events.plan import DATABASES, GOALS, KINDS, Case, Goal, cases  # noqa: E402
from benchmarks.http import peers_environment, report  # noqa: E402

INHERITED = os.environ  # noqa: TID251  a worker is started with this process's variables plus the path of the project
ANSWER_SECONDS = 300  # a side that says nothing for so long is ended
Figures = dict[str, float]
Results = dict[str, list[Figures]]


class Side:
    """Speak with the process of one side."""

    def __init__(self, name: str) -> None:
        """Start it."""
        variables = {**INHERITED, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        self._process = subprocess.Popen([_python(name), "-m", "benchmarks.events.worker", name], env=variables, cwd=ROOT, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, command: dict[str, object]) -> Figures:
        """Return the figures of one command. Raises RuntimeError with what went wrong."""
        print(json.dumps(command), file=self._process.stdin, flush=True)
        timer = threading.Timer(ANSWER_SECONDS, self._process.kill)
        timer.start()
        line = cast("IO[str]", self._process.stdout).readline()
        timer.cancel()
        answer = json.loads(line) if line else {"failure": f"the process ended with {self._process.wait()}"}
        if "failure" in answer:
            raise RuntimeError(answer["failure"])
        return cast("Figures", answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _python(side: str) -> str:
    """Return the interpreter of a side: that of the peers is made on first use and when their pins change."""
    if side != "peer":
        return sys.executable
    peers_environment.PEERS = Path(__file__).resolve().parent / "peers"
    peers_environment.ENVIRONMENT = peers_environment.PEERS / ".venv"
    peers_environment.install_python_peers()
    return str(peers_environment.peer_python())


class Bench:
    """Run one table after the other."""

    def __init__(self, sides: dict[str, Side], places: Databases, given: argparse.Namespace) -> None:
        """Keep what all tables need."""
        self.sides, self.places, self.given, self.failures = sides, places, given, list[str]()
        self._filled: dict[tuple[str, str], str] = {}

    def table(self, kind: str, database: str) -> Results:
        """Return the figures of every round by row."""
        found = [case for case in cases(kind, database, self.given.seconds) if case.side in self.sides and re.search(self.given.only, case.title)]
        results: Results = {case.title: [] for case in found}
        for turn in range(self.given.rounds):
            start = turn % max(1, len(found))
            for case in [*found[start:], *found[:start]]:
                try:
                    results[case.title].append(self._measure(case, database))
                except RuntimeError as error:
                    self.failures.append(f"{database}, {kind}, {case.title}: {error}")
            print(f"  {database}, {kind}: round {turn + 1} of {self.given.rounds}", file=sys.stderr, flush=True)
        return results

    def _measure(self, case: Case, database: str) -> Figures:
        target = self._log(case.side, database) if case.filled else self.places.make(database)
        self.places.settle()
        try:
            figures = self.sides[case.side].ask({**case.command, "target": target})
        finally:
            if not case.filled:
                self.places.forget(target)
        wanted = self.given.events if case.filled else figures.get("acknowledged")
        shown = figures.get("read") if case.filled else figures.get("stored")
        if shown != wanted:
            raise RuntimeError(f"{wanted} events were expected, {shown} were found")
        return figures

    def _log(self, side: str, database: str) -> str:
        """Return the log that a side reads, filled on first use."""
        key = (side, database)
        if key not in self._filled:
            print(f"  filling {self.given.events:,} events: {side}, {database} ...", file=sys.stderr, flush=True)
            target = self.places.make(database)
            self.sides[side].ask({"case": "fill", "target": target, "events": self.given.events})
            self._filled[key] = target
        return self._filled[key]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    given = _options().parse_args(arguments)
    kinds = KINDS if given.what == "all" else (given.what,)
    wanted = DATABASES if given.database == "both" else (given.database,)
    with ExitStack() as stack:
        places = stack.enter_context(databases(server="postgresql" in wanted))
        sides = {name: stack.enter_context(Side(name)) for name in given.sides.split(",")}
        bench = Bench(sides, places, given)
        results = {(kind, database): bench.table(kind, database) for database in wanted for kind in kinds}
        print(_facts(places, "postgresql" in wanted))
    for (kind, database), rows in results.items():
        if any(rows.values()):
            print(f"\n### {database}: {kind} (median of {given.rounds} rounds)\n\n{_rows(kind, rows)}")
    print(f"\n### Goals: ratios within each round, their median (lowest-highest)\n\n{_goals(results)}")
    print("".join(f"\nFAILED {each}" for each in bench.failures))
    if given.json:
        given.json.write_text(json.dumps({f"{database} {kind}": rows for (kind, database), rows in results.items()}, indent=1, ensure_ascii=False))
    return 1 if bench.failures else 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("what", choices=[*KINDS, "all"])
    options.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    options.add_argument("--rounds", type=int, default=3, help="rounds in which the cases take turns")
    options.add_argument("--seconds", type=float, default=1.5, help="measured seconds of one case of appends in one round")
    options.add_argument("--events", type=int, default=1_000_000, help="events of the logs that are read, a multiple of 10")
    options.add_argument("--only", default="", help="regular expression over the names of the rows")
    options.add_argument("--sides", default="raw,peer,ours", help="which of raw, peer and ours take part")
    options.add_argument("--json", type=Path, help="write every round to this file")
    return options


def _facts(places: Databases, server: bool) -> str:
    facts = report.machine((0, 1))
    kept = {name: facts[name] for name in ("processor", "kernel", "python", "commit", "load before")}
    return ", ".join(f"{name} {value}" for name, value in (kept | ({"PostgreSQL": places.version()} if server else {})).items())


def _middle(rounds: list[Figures], column: str) -> float:
    return statistics.median(each[column] for each in rounds)


def _rows(kind: str, rows: Results) -> str:
    columns = {"append": ("per_second", "p50_ms", "p99_ms"), "lag": ("p50_ms", "p99_ms")}.get(kind, ("per_second",))
    names = {"per_second": "events/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms"}
    lines = [[f"**{title}**" if title.startswith("ours") else title, *(_number(_middle(rounds, each)) for each in columns)]
             for title, rounds in rows.items() if rounds]
    return report.table(("", *(names[each] for each in columns)), lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _goals(results: dict[tuple[str, str], Results]) -> str:
    found = [(goal, values) for goal in GOALS if (values := _values(goal, results.get((goal.kind, goal.database), {})))]
    return report.table(("goal", "wanted", "measured", "reached"), [_goal(goal, values) for goal, values in found])


def _values(goal: Goal, rows: Results) -> list[float]:
    """Return the figure of a goal in each round."""
    mine, other = rows.get(goal.row, []), rows.get(goal.other or goal.row, [])
    if goal.other is None:
        return [each[goal.column] for each in mine]
    return [a[goal.column] / b[goal.column] for a, b in zip(mine, other, strict=False)]


def _goal(goal: Goal, values: list[float]) -> list[str]:
    value, below = statistics.median(values), goal.column == "p99_ms"
    reached = value <= goal.wanted if below else value >= goal.wanted
    return [goal.title, f"{'<=' if below else '>='} {goal.wanted:,}", f"{_number(value)} ({_number(min(values))}-{_number(max(values))})",
            "yes" if reached else "**no**"]


if __name__ == "__main__":
    sys.exit(main())
