"""Measure the whole layer on the wire against peers and bare frameworks, or in process: `run.py` or `run.py inproc`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent.parent)
if ROOT not in sys.path:
    sys.path[0] = ROOT  # started as a file: this folder must not stand before the standard library's names

from benchmarks.http import goals, report, wire  # noqa: E402  the lines above make it importable
from benchmarks.http.peers_environment import MissingToolError, install_node_peers, install_python_peers, require  # noqa: E402
from benchmarks.http.processes import StartError, two_cores  # noqa: E402
from benchmarks.http.stacks import Stack, all_stacks  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] == ["inproc"]:
            from benchmarks.http import inproc

            return inproc.main(given[1:])
        return run_wire(_options().parse_args(given))
    except (MissingToolError, StartError) as error:
        print(error, file=sys.stderr)
        return 2


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="run.py", description=__doc__)
    options.add_argument("--seconds", type=int, default=3, help="measured seconds for each stack and round")
    options.add_argument("--connections", type=int, default=32, help="keep-alive connections")
    options.add_argument("--rounds", type=int, default=3, help="rounds; every stack is started anew in each")
    options.add_argument("--only", default="", help="regular expression over the names of the stacks")
    options.add_argument("--json", type=Path, help="write every round to this file")
    options.add_argument("--list", action="store_true", help="print the names of the stacks and stop")
    return options


def run_wire(options: argparse.Namespace) -> int:
    """Measure the chosen stacks, print the tables, return 1 when a stack failed."""
    stacks = [stack for stack in all_stacks() if re.search(options.only, stack.name, re.IGNORECASE)]
    if options.list or not stacks:
        print("\n".join(stack.name for stack in stacks) or f"no stack matches {options.only!r}")
        return 0 if options.list else 2
    prepare(stacks)
    cores = two_cores()
    minutes = sum(4 + options.rounds * (3 + stack.warm_seconds + options.seconds) for stack in stacks) / 60
    print(f"{len(stacks)} stacks, {options.rounds} rounds: about {minutes:.0f} minutes", file=sys.stderr, flush=True)
    facts = report.machine(cores)
    results = wire.measure(stacks, cores, options.seconds, options.connections, options.rounds)
    print("\n" + " · ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    print(report.wire_tables(results), goals.goal_table(results), sep="\n\n")
    if options.json:
        options.json.write_text(json.dumps(report.as_json(results, facts), indent=1, ensure_ascii=False))
    return int(any(result.failure for result in results))


def prepare(stacks: list[Stack]) -> None:
    """Check the tools and install the peers that the chosen stacks need."""
    require("wrk", "taskset")
    if any("gunicorn" in part for stack in stacks for part in stack.command) or any(s.kind == "peer" and s.command[0] != "node" for s in stacks):
        install_python_peers()
    if any(stack.command[0] == "node" for stack in stacks):
        require("node")
        install_node_peers()


if __name__ == "__main__":
    raise SystemExit(main())
