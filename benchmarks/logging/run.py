"""Measure what a log line costs against python-json-logger, structlog and loguru: `run.py [--rounds 9] [--lines 4000]`."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path[0] = str(ROOT)  # started as a file: this folder must not stand before the standard library's names

from benchmarks.http import peers_environment  # noqa: E402  the lines above make it importable
from benchmarks.http.report import table  # noqa: E402

HERE = Path(__file__).resolve().parent
OURS = ("rakiza_access", "rakiza_application", "rakiza_without_redaction")
PEERS = ("plain_text", "python_json_logger", "structlog_orjson", "loguru_serialised")
GOALS = {"rakiza_access": 3.0, "rakiza_application": 15.0}
BASE = "rakiza_application"


def peer_python() -> str:
    """Return the interpreter of the peers, made on first use and when their pins change."""
    peers_environment.PEERS = HERE / "peers"
    peers_environment.ENVIRONMENT = HERE / "peers" / ".venv"
    peers_environment.install_python_peers()
    return str(peers_environment.peer_python())


def main() -> int:
    """Run every case in a process of its own, in rounds that take turns, and print the medians and the ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--lines", type=int, default=4000, help="lines of one case in one round")
    given = options.parse_args()
    python = {name: peer_python() for name in PEERS} | dict.fromkeys(OURS, sys.executable)
    figures: dict[str, list[float]] = {name: [] for name in python}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rakiza-logs-")))
        children = {name: _start(stack, python[name], name, folder, given.lines) for name in python}
        for number in range(-1, given.rounds):  # the first one warms up
            for name, child in children.items():
                child.stdin.write("go\n")
                child.stdin.flush()
                value = child.stdout.readline()
                if not value:
                    raise SystemExit(f"{name} failed")
                if number >= 0:
                    figures[name].append(float(value))
        for name, child in children.items():
            child.stdin.close()
            if child.wait():
                raise SystemExit(f"{name} did not write every line")
    print(_table(figures))
    return 0


def _start(stack: ExitStack, python: str, name: str, folder: Path, lines: int) -> subprocess.Popen[str]:
    (folder / name).mkdir()
    command = ["env", f"PYTHONPATH={ROOT / 'src'}", python, str(HERE / "cases.py"), name, str(folder / name), str(lines)]
    return stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))


def _table(figures: dict[str, list[float]]) -> str:
    rows = []
    for name, values in sorted(figures.items(), key=lambda pair: statistics.median(pair[1])):
        ratios = [value / ours for value, ours in zip(values, figures[BASE], strict=True)]
        middle, goal = statistics.median(values), GOALS.get(name)
        reached = "" if goal is None else f"≤ {goal:g}: {'yes' if middle <= goal else '**no**'}"
        spread = f"{min(values):.2f} .. {max(values):.2f}"
        rows.append([name.replace("_", " "), f"{middle:.2f}", spread, f"{statistics.median(ratios):.2f}x", reached])
    return table(("one line", "CPU µs (median)", "range", "of ours", "goal"), rows)


if __name__ == "__main__":
    raise SystemExit(main())
