"""Measure the job queue against the statements alone and the usual libraries: `run.py drain|enqueue|latency|waiting|idle|kill|all`.

Every side runs in processes of its own, sides take turns in rounds, each measurement begins in an empty store and is proven afterwards.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path[0] = str(ROOT)  # started as a file: this folder must not stand before the standard library's names

from benchmarks.http import report  # noqa: E402  the lines above make it importable
from benchmarks.jobs import plan  # noqa: E402
from benchmarks.jobs.measure import Bench  # noqa: E402
from benchmarks.jobs.places import Places, places  # noqa: E402
from benchmarks.jobs.programs import Figures, Program, install  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Rows = dict[str, list[Figures]]
ROUNDS = {"drain", "waiting"}  # the others are measured once


class Run:
    """Fill one table after the other."""

    def __init__(self, bench: Bench, given: argparse.Namespace, programs: list[Program]) -> None:
        """Keep what all tables need."""
        self._bench, self._given, self._programs, self.failures = bench, given, programs, list[str]()

    def table(self, kind: str) -> Rows:
        """Return the figures of every row by round."""
        start = time.monotonic()
        programs = [each for each in self._programs if plan.takes_part(kind, each)]
        rows = getattr(self, f"_{kind}")(programs) if programs else {}
        print(f"  {kind}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        return rows

    def _by_turns(self, kind: str, cases: list[tuple[str, Callable[[], Figures]]]) -> Rows:
        rows: Rows = {title: [] for title, _ in cases}
        for turn in range(self._given.rounds if kind in ROUNDS else 1):
            start = turn * 5 % max(1, len(cases))
            for title, case in [*cases[start:], *cases[:start]]:
                with self._failing(kind, title):
                    rows[title].append(case())
        return rows

    def _failing(self, kind: str, title: str) -> _Failing:
        return _Failing(self.failures, f"{kind}, {title}")

    def _drain(self, programs: list[Program]) -> Rows:
        return self._by_turns("drain", [(each.title, lambda each=each: self._bench.drain(each, self._jobs(each))) for each in programs])

    def _enqueue(self, programs: list[Program]) -> Rows:
        return self._by_turns("enqueue", [(each.title, lambda each=each: self._enqueued(each)) for each in programs])

    def _enqueued(self, program: Program) -> Figures:
        figures = self._bench.enqueue(program, self._jobs(program))
        return figures | ({"bulk_per_second": math.nan} if program.module in plan.WITHOUT_BULK else {})

    def _jobs(self, program: Program) -> int:
        return max(200, int(plan.DRAINED[program.module] * self._given.scale))

    def _latency(self, programs: list[Program]) -> Rows:
        cases = [(each.title, lambda each=each: self._bench.latency(each, plan.PACED, within=False)) for each in programs]
        cases += [(each.title + plan.IN_ONE_PROCESS, lambda each=each: self._bench.latency(each, plan.PACED, within=True))
                  for each in programs if each.module in plan.TOGETHER]
        return self._by_turns("latency", cases)

    def _waiting(self, programs: list[Program]) -> Rows:
        rows: Rows = {}
        for each in programs:
            with self._failing("waiting", each.title):
                rows[each.title] = self._bench.waiting(each, int(plan.WAITED * self._given.scale), self._given.rounds, self._given.waiting)
        return rows

    def _idle(self, programs: list[Program]) -> Rows:
        with self._failing("idle", "all"):
            return {title: [figures] for title, figures in self._bench.idle(programs).items()}
        return {}

    def _kill(self, programs: list[Program]) -> Rows:
        rows: Rows = {}
        for peers in (False, True):  # ours first, alone
            group = [each for each in programs if each.peer == peers]
            for title, figures in (self._bench.kill(group) if group else {}).items():
                with self._failing("kill", title):
                    if isinstance(figures, RuntimeError):
                        raise figures
                    rows[title] = [figures]
        return rows


class _Failing:
    """Note what fails, and go on."""

    def __init__(self, failures: list[str], what: str) -> None:
        self._failures, self._what = failures, what

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, RuntimeError):
            self._failures.append(f"{self._what}: {error}")
            print(f"  FAILED {self._what}: {error}", file=sys.stderr, flush=True)
        return isinstance(error, RuntimeError)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    given = _options().parse_args(arguments)
    kinds = plan.KINDS if given.what == "all" else (given.what,)
    programs = [each for each in plan.PROGRAMS if re.search(given.only, each.title)]
    install(programs)
    stores = {each.store for each in programs}
    with places(stores) as made:
        run = Run(Bench(made), given, programs)
        results = {kind: run.table(kind) for kind in kinds}
        print(_facts(made, stores))
    print("\n\n".join(_parts(results)))
    print("".join(f"\nFAILED {each}" for each in run.failures))
    if given.json:
        given.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    return 1 if run.failures else 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("what", choices=[*plan.KINDS, "all"])
    options.add_argument("--rounds", type=int, default=2, help="rounds in which the sides take turns (drain, waiting)")
    options.add_argument("--only", default="", help="regular expression over the titles of the sides")
    options.add_argument("--scale", type=float, default=1.0, help="share of the usual number of jobs")
    options.add_argument("--waiting", type=int, default=1_000_000, help="jobs that wait in the table of that name")
    options.add_argument("--json", type=Path, help="write every round to this file")
    return options


def _facts(made: Places, stores: set[str]) -> str:
    facts = report.machine((0, 1))
    kept = {name: facts[name] for name in ("processor", "kernel", "python", "commit", "load before")}
    return ", ".join(f"{name} {value}" for name, value in (kept | made.versions(stores)).items())


def _parts(results: dict[str, Rows]) -> Iterator[str]:
    for kind, rows in results.items():
        if any(rows.values()):
            yield f"### {kind}\n\n{_figures(kind, rows)}"
            for column in plan.COMPARED.get(kind, ()) if len({title.startswith("ours") for title in rows}) == 2 else ():
                yield f"### {kind}, {plan.COLUMNS[column]}: ours / other (lowest-highest of the rounds)\n\n{_matrix(rows, column)}"
    if goals := _goals(results):
        yield "### Goals\n\n" + report.table(("goal", "wanted", "measured", "reached"), goals)


def _figures(kind: str, rows: Rows) -> str:
    columns = plan.SHOWN[kind]
    lines = [[f"**{title}**" if title.startswith("ours") else title, *(_number(_middle(rounds, each)) for each in columns)]
             for title, rounds in rows.items() if rounds]
    return report.table(("", *(plan.COLUMNS[each] for each in columns)), lines)


def _matrix(rows: Rows, column: str) -> str:
    ours, others = (plan.SQLITE, plan.POSTGRESQL), [title for title in rows if not title.startswith("ours")]
    return report.table(("", *ours), [[other, *(_span(_ratios(rows, mine, other, column)) for mine in ours)] for other in others])


def _ratios(rows: Rows, row: str, other: str | None, column: str) -> list[float]:
    mine = [each[column] for each in rows.get(row, [])]
    return mine if other is None else [a / b[column] for a, b in zip(mine, rows.get(other, []), strict=False)]


def _span(values: list[float]) -> str:
    if not values or any(math.isnan(each) for each in values):
        return "–"
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(statistics.median(values))} ({_number(min(values))}-{_number(max(values))})"


def _middle(rounds: list[Figures], column: str) -> float:
    return statistics.median(each[column] for each in rounds)


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _goals(results: dict[str, Rows]) -> list[list[str]]:
    found = [(goal, values) for goal in plan.goals() if (values := _ratios(results.get(goal.kind, {}), goal.row, goal.other, goal.column))]
    return [_goal(goal, values) for goal, values in found]


def _goal(goal: plan.Goal, values: list[float]) -> list[str]:
    value = statistics.median(values)
    reached = value <= goal.wanted if goal.at_most else value >= goal.wanted
    return [goal.title, f"{'<=' if goal.at_most else '>='} {goal.wanted:,}", _span(values), "yes" if reached else "**no**"]


if __name__ == "__main__":
    sys.exit(main())
