"""Measure the cache against bare redis-py and the usual libraries: `run.py hit|l2|stampede|ratio|set|frozen|all`.

Every side is a process of its own, sides take turns in rounds, and what they say is proven where they say it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path[0] = str(ROOT)  # started as a file: this folder must not stand before the standard library's names

from benchmarks import turns  # noqa: E402  the lines above make it importable
from benchmarks.cache import plan, traces  # noqa: E402
from benchmarks.events.databases import databases, servers  # noqa: E402
from benchmarks.turns import ASYNC, Child, Figures, Program, Rows  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = "benchmarks.cache"
PROCESSES, AHEAD_SECONDS = 4, 0.6
READY_SECONDS, FROZEN_SECONDS = 1.5, 2.0


class Run:
    """Fill one table after the other."""

    def __init__(self, given: argparse.Namespace, redis: servers.Redis) -> None:
        """Keep what all tables need."""
        self._given, self._redis, self.failures = given, redis, turns.Failures()
        self._programs = [each for each in plan.PROGRAMS if re.search(given.only, each.title)]

    def table(self, kind: str) -> Rows:
        """Return the figures of every row by round."""
        start = time.monotonic()
        programs = [each for each in self._programs if kind in each.kinds]
        made: Callable[[str, list[Program]], Rows] = {"stampede": self._stampede, "ratio": self._ratio, "frozen": self._frozen}.get(kind, self._timed)
        rows = made(kind, programs)
        print(f"  {kind}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        return rows

    def _timed(self, kind: str, programs: list[Program]) -> Rows:
        rounds = 1 if self._given.quick else self._given.rounds
        return turns.by_turns(kind, PACKAGE, programs, rounds, self.failures, lambda each: {"quick": self._given.quick, **self._place(each)})

    def _place(self, program: Program) -> dict[str, str]:
        """Empty Redis and return its address, for a side that stores there."""
        if not program.options.get("redis"):
            return {}
        self._redis.flush()
        return {"url": self._redis.url}

    def _stampede(self, kind: str, programs: list[Program]) -> Rows:
        """Measure one side after the other, for each needs several processes."""
        rows: Rows = {each.title: [] for each in programs}
        for each in programs:
            with self.failures.of(f"{kind}, {each.title}"), ExitStack() as stack:
                children = [stack.enter_context(Child(each, PACKAGE)) for _ in range(PROCESSES if each.options.get("redis") else 1)]
                for child in children:  # they import their libraries
                    child.ask("ready")
                for _ in range(self._given.rounds if len(children) > 1 and not self._given.quick else 1):
                    figures = children[0].ask(kind, **self._place(each))
                    rows[each.title].append(figures | self._crowd(each, children, awaited=False) | self._crowd(each, children, awaited=True))
        return rows

    def _crowd(self, program: Program, children: list[Child], *, awaited: bool) -> Figures:
        name = "acrowd" if awaited else "crowd"
        if len(children) == 1 or program.module not in (plan.AWAITED if awaited else plan.PLAIN):
            return {name: float("nan"), f"{name}_s": float("nan")}
        place, at = self._place(program), time.monotonic() + AHEAD_SECONDS
        for each in children:
            each.tell("crowd", at=at, awaited=awaited, **place)
        said = [each.hear() for each in children]
        return {name: sum(each["loads"] for each in said), f"{name}_s": max(each["ended"] for each in said) - at}

    def _ratio(self, kind: str, programs: list[Program]) -> Rows:
        rows: Rows = {each.title: [] for each in programs}
        with tempfile.TemporaryDirectory(prefix="rakiza-traces-") as folder:
            for shape in traces.SHAPES:
                traces.write(shape, Path(folder) / shape, traces.ACCESSES // (8 if self._given.quick else 1))
            for each in programs:
                with self.failures.of(f"{kind}, {each.title}"), Child(each, PACKAGE) as child:
                    said = {f"{shape}, {size}": child.ask(kind, trace=str(Path(folder) / shape), capacity=capacity)
                            for shape in traces.SHAPES for size, capacity in traces.SIZES.items()}
                    cost = sum(figures["us"] for figures in said.values()) / len(said)
                    rows[each.title].append({name: figures["hits"] for name, figures in said.items()} | {"us": cost})
        return rows

    def _frozen(self, kind: str, programs: list[Program]) -> Rows:
        """Freeze Redis once under all sides, each with a database of its own."""
        cases = [(each, awaited) for each in programs for awaited in (False, True) if each.module in (plan.AWAITED if awaited else plan.PLAIN)]
        rows: Rows = {each.title + ASYNC * awaited: [] for each, awaited in cases}
        with ExitStack() as stack:
            self._redis.flush()
            children = [stack.enter_context(Child(each, PACKAGE)) for each, _ in cases]
            places = [f"redis://127.0.0.1:{self._redis.port}/{number}" for number in range(len(cases))]
            for child, (_, awaited), url in zip(children, cases, places, strict=True):
                child.ask("fill", awaited=awaited, url=url)
            at = time.monotonic() + READY_SECONDS
            for child, (_, awaited), url in zip(children, cases, places, strict=True):
                child.tell(kind, at=at, awaited=awaited, url=url)
            time.sleep(at - time.monotonic())
            self._redis.freeze()
            time.sleep(FROZEN_SECONDS)
            self._redis.thaw()
            for child, (title, found) in zip(children, rows.items(), strict=True):
                with self.failures.of(f"{kind}, {title}"):
                    found.append(child.hear())
        return rows


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    given = _options().parse_args(arguments)
    turns.install(Path(__file__).resolve().parent / "peers", plan.PROGRAMS)
    with databases(server=False):
        run = Run(given, servers.start_redis())
        results = {kind: run.table(kind) for kind in (plan.KINDS if given.what == "all" else (given.what,))}
    print(turns.facts())
    goals = [] if given.quick else plan.goals()
    parts = [*turns.printed(plan.TITLES, plan.PROGRAMS, results, plan.COLUMNS), turns.reached(goals, results, plan.COLUMNS)]
    print("\n\n".join(each for each in parts if each))
    print("".join(f"\nFAILED {each}" for each in run.failures))
    if given.json:
        given.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    return 1 if run.failures else 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("what", choices=[*plan.KINDS, "all"])
    options.add_argument("--rounds", type=int, default=3, help="rounds in which the sides take turns (hit, l2, set), or times of 4 x 25 (stampede)")
    options.add_argument("--only", default="", help="regular expression over the titles of the sides")
    options.add_argument("--quick", action="store_true", help="one round, few batches, short traces, no goals: a look, not a measurement")
    options.add_argument("--json", type=Path, help="write every round to this file")
    return options


if __name__ == "__main__":
    sys.exit(main())
