"""Measure backups against the usual ways: `run.py copy|sqlite|postgresql|memory|http|all`.

Every side is a process of its own, sides take turns in rounds. On a machine that is shared, believe the processor time and the fastest round.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path[0] = str(ROOT)  # started as a file: this folder must not stand before the standard library's names

from benchmarks import turns  # noqa: E402  the lines above make it importable
from benchmarks.backup import data, plan, web  # noqa: E402
from benchmarks.events.databases import Databases, databases, servers  # noqa: E402

MEMORY = Path("/dev/shm")


class Places:
    """Hold the databases, each made once and for as long as the run lasts."""

    def __init__(self, made: Databases, folder: Path, memory: Path, megabytes: int) -> None:
        """Make files in a folder on the disk and in one in memory."""
        self._made, self._folders, self._megabytes = made, {"disk": folder, "memory": memory}, megabytes
        self._files: dict[tuple[str, float], str] = {}

    def of(self, kind: str, program: turns.Program) -> dict[str, Any]:
        """Return what a side is told: its database, and a folder to write to."""
        share = program.options.get("share", plan.SHARES.get(kind))
        database = program.options.get("database", kind)
        place = program.options.get("place", "memory" if kind == "copy" else "disk")
        told = {"folder": str(self._folders[place]), "answer_seconds": plan.ANSWER_SECONDS}
        os.sync()
        if database == "postgresql":
            server = int((servers.run_folder() / "pgd.pid").read_text())
            self._made.settle()
            return told | {"url": self._database("postgresql", share), "server": server}
        return told | {"file": self._database(place, share)}

    def _database(self, place: str, share: float) -> str:
        if (place, share) not in self._files:
            size, begun = max(1, int(self._megabytes * share)), time.monotonic()
            if place == "postgresql":
                self._files[place, share] = self._made.make(place)
                data.fill_postgresql(self._files[place, share], size)
            else:
                self._files[place, share] = str(self._folders[place] / f"office-{size}.db")
                data.fill_sqlite(Path(self._files[place, share]), size)
            print(f"  about {size:,} MB in {place}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        return self._files[place, share]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    given = _options().parse_args(arguments)
    failures = turns.Failures()
    print(f"{turns.facts()}; about {given.megabytes:,} MB")
    with ExitStack() as stack:
        kinds = plan.KINDS if given.what == "all" else (given.what,)
        made = stack.enter_context(databases(server=bool({"postgresql", "memory"} & set(kinds))))
        memory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rakiza-bench-", dir=MEMORY if MEMORY.is_dir() else None))
        places = Places(made, servers.run_folder(), Path(memory), given.megabytes)
        results = {kind: _table(kind, places, given, failures) for kind in kinds}
    parts = [*turns.printed(plan.TITLES, plan.PROGRAMS, results, plan.COLUMNS), turns.reached(plan.goals(), results, plan.COLUMNS)]
    print("\n\n".join(each for each in parts if each))
    print("".join(f"\nFAILED {each}" for each in failures))
    if given.json:
        given.json.write_text(json.dumps(results, indent=1, ensure_ascii=False))
    return 1 if failures else 0


def _table(kind: str, places: Places, given: argparse.Namespace, failures: turns.Failures) -> turns.Rows:
    start, rounds = time.monotonic(), 1 if kind == "memory" else given.rounds
    if kind == "http":
        with failures.of(kind):
            rows = web.measure(rounds, int(given.megabytes * plan.SHARES[kind]), servers.run_folder())
    else:
        programs = [each for each in plan.PROGRAMS if kind in each.kinds and re.search(given.only, each.title)]
        rows = turns.by_turns(kind, plan.__package__ or "", programs, rounds, failures, lambda each: places.of(kind, each))
    print(f"  {kind}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return rows if kind == "http" else {title: _fastest(found) for title, found in rows.items()}


def _fastest(found: list[turns.Figures]) -> list[turns.Figures]:
    """Return the least of each figure: what others do on the machine only adds. Errors add up."""
    return [{name: (sum if name == "locked" else min)(each[name] for each in found) for name in found[0]}] if found else []


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("what", choices=[*plan.KINDS, "all"])
    options.add_argument("--rounds", type=int, default=3, help="rounds in which the sides take turns (not memory)")
    options.add_argument("--only", default="", help="regular expression over the titles of the sides")
    options.add_argument("--megabytes", type=int, default=1000, help="size of the largest database")
    options.add_argument("--json", type=Path, help="write the figures to this file")
    return options


if __name__ == "__main__":
    sys.exit(main())
