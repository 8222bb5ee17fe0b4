"""Measure the policies against the usual libraries of Python and Node: `run.py breaker|pipeline|correctness|all`.

Every side is a process of its own, sides take turns in rounds, and the cheapest of several batches counts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path[0] = str(ROOT)  # started as a file: this folder must not stand before the standard library's names

from benchmarks import turns  # noqa: E402  the lines above make it importable
from benchmarks.resilience import plan  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    given = _options().parse_args(arguments)
    programs = [each for each in plan.PROGRAMS if re.search(given.only, each.title)]
    turns.install(Path(__file__).resolve().parent / "peers", programs)
    failures = turns.Failures()
    results = {kind: _table(kind, programs, given, failures) for kind in (plan.KINDS if given.what == "all" else (given.what,))}
    print(turns.facts())
    goals = [] if given.quick else plan.goals()
    parts = [*turns.printed(plan.TITLES, plan.PROGRAMS, results, plan.COLUMNS), turns.reached(goals, results, plan.COLUMNS)]
    print("\n\n".join(each for each in parts if each))
    print("".join(f"\nFAILED {each}" for each in failures))
    if given.json:
        given.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    return 1 if failures else 0


def _table(kind: str, programs: list[turns.Program], given: argparse.Namespace, failures: turns.Failures) -> turns.Rows:
    start, rounds = time.monotonic(), 1 if given.quick or kind == "correctness" else given.rounds
    asked = [each for each in programs if kind in each.kinds]
    rows = turns.by_turns(kind, plan.__package__ or "", asked, rounds, failures, lambda _: {"quick": given.quick})
    print(f"  {kind}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("what", choices=[*plan.KINDS, "all"])
    options.add_argument("--rounds", type=int, default=5, help="rounds in which the sides take turns (breaker, pipeline)")
    options.add_argument("--only", default="", help="regular expression over the titles of the sides")
    options.add_argument("--quick", action="store_true", help="one round, few batches, no goals: a look, not a measurement")
    options.add_argument("--json", type=Path, help="write every round to this file")
    return options


if __name__ == "__main__":
    sys.exit(main())
