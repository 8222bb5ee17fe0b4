"""Hold sides in processes of their own that answer a line of JSON with a line of JSON, let them take turns, and compare what they say."""

from __future__ import annotations

import json
import math
import operator
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self, cast

from benchmarks.http import peers_environment
from benchmarks.http.report import machine, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
INHERITED = os.environ  # noqa: TID251  a side is started with this process's variables plus the path of the project
ANSWER_SECONDS = 90
BATCHES, BATCH_SECONDS = 7, 0.012
Figures = dict[str, float]
Rows = dict[str, list[Figures]]


class Program(NamedTuple):
    """Name one side: its title, its module below the benchmark's package or its file for node, and the tables it takes part in."""

    title: str
    module: str
    kinds: frozenset[str]
    options: dict[str, Any] = {}  # noqa: RUF012  never changed
    base: str = "ours"

    def command(self, package: str) -> list[str]:
        """Return the command that serves it."""
        if self.module.endswith(".js"):
            return ["node", str(ROOT / package.replace(".", "/") / self.module), *self.options.values()]
        python = sys.executable if not self.module.startswith("peers") else str(peers_environment.peer_python())
        return [python, "-m", f"{package}.side", f"{package}.{self.module}", json.dumps(self.options)]


def install(folder: Path, programs: Iterable[Program]) -> None:
    """Install the peers that are asked for, on first use and when their pins change."""
    peers_environment.PEERS = peers_environment.NODE_FOLDER = folder
    peers_environment.ENVIRONMENT = folder / ".venv"
    modules = [each.module for each in programs]
    if any(each.endswith(".js") for each in modules):
        peers_environment.install_node_peers()
    if any(each.startswith("peers.") for each in modules):
        peers_environment.install_python_peers()


class Child:
    """Hold the process of one side."""

    def __init__(self, program: Program, package: str) -> None:
        """Start it."""
        variables = {**INHERITED, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        self._errors = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115  open as long as the process
        self._process = subprocess.Popen(program.command(package), env=variables, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._errors)

    def ask(self, case: str, **given: object) -> Figures:
        """Return the answer to one question, waited for `answer_seconds` if they are given. Raises RuntimeError with what went wrong."""
        seconds = cast("float", given.pop("answer_seconds", ANSWER_SECONDS))
        self.tell(case, **given)
        return self.hear(seconds)

    def tell(self, case: str, **given: object) -> None:
        """Put a question without waiting for the answer."""
        questions = cast("IO[bytes]", self._process.stdin)
        try:
            questions.write(json.dumps({"case": case} | given).encode() + b"\n")
            questions.flush()
        except BrokenPipeError:
            raise RuntimeError(self._ended()) from None

    def hear(self, seconds: float = ANSWER_SECONDS) -> Figures:
        """Wait for the answer. Raises RuntimeError with what went wrong."""
        answers = cast("IO[bytes]", self._process.stdout)
        if not select.select([answers], [], [], seconds)[0]:
            self._process.kill()
            raise RuntimeError(f"no answer in {seconds:g} s")
        line = answers.readline()
        if not line:
            raise RuntimeError(self._ended())
        said = json.loads(line)
        if "error" in said:
            raise RuntimeError(said["error"])
        return {name: math.nan if value is None else value for name, value in said.items()}

    def _ended(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        return f"ended with {status}: {self._errors.read().decode(errors='replace')[-300:].strip()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            cast("IO[bytes]", self._process.stdin).close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        cast("IO[bytes]", self._process.stdout).close()
        self._errors.close()


def serve(answer: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
    """Answer every question on standard input; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        given = json.loads(line)
        try:
            said = {name: None if math.isnan(value) else value for name, value in answer(given.pop("case"), given).items()}
        except Exception as error:
            traceback.print_exc()
            said = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


class Took(NamedTuple):
    """Tell what one call costs in the best batch, in nanoseconds."""

    processor: float
    wall: float


def best(batch: Callable[[], int], batches: int = BATCHES) -> Took:
    """Return the cost of one call; `batch` makes calls and says how many."""
    batch()
    took = []
    for _ in range(batches):
        done, wall, processor = 0, time.perf_counter_ns(), time.process_time_ns()
        until = wall + BATCH_SECONDS * 1e9
        while not done or time.perf_counter_ns() < until:
            done += batch()
        took.append(((time.process_time_ns() - processor) / done, (time.perf_counter_ns() - wall) / done))
    return Took(min(each[0] for each in took), min(each[1] for each in took))


async def abest(batch: Callable[[], Awaitable[int]], batches: int = BATCHES) -> Took:
    """Return the cost of one awaited call; `batch` makes calls and says how many."""
    await batch()
    took = []
    for _ in range(batches):
        done, wall, processor = 0, time.perf_counter_ns(), time.process_time_ns()
        until = wall + BATCH_SECONDS * 1e9
        while not done or time.perf_counter_ns() < until:
            done += await batch()
        took.append(((time.process_time_ns() - processor) / done, (time.perf_counter_ns() - wall) / done))
    return Took(min(each[0] for each in took), min(each[1] for each in took))


class Failures(list[str]):
    """Note what fails, and go on."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self._what = ""

    def of(self, what: str) -> Self:
        """Name what is tried in the block."""
        self._what = what
        return self

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, RuntimeError):
            self.append(f"{self._what}: {error}")
            print(f"  FAILED {self[-1]}", file=sys.stderr, flush=True)
        return isinstance(error, RuntimeError)


def by_turns(kind: str, package: str, programs: list[Program], rounds: int, failures: Failures, place: Callable[[Program], dict[str, Any]]) -> Rows:
    """Ask every side once a round what `place` returns for it, each round beginning with another one."""
    rows: Rows = {each.title: [] for each in programs}
    with ExitStack() as stack:
        children = {each.title: stack.enter_context(Child(each, package)) for each in programs}
        for turn in range(rounds):
            start = turn * 5 % max(1, len(programs))
            for each in [*programs[start:], *programs[:start]]:
                if turn and not rows[each.title]:
                    continue  # it failed before
                with failures.of(f"{kind}, {each.title}"):
                    rows[each.title].append(children[each.title].ask(kind, **place(each)))
    return rows


class Column(NamedTuple):
    """Name one figure of a table, and whether its ratio to ours is shown."""

    name: str
    title: str
    compared: bool = True


class Goal(NamedTuple):
    """Compare a figure with the same one of another row (by ratio, or by difference if asked), or with a number when there is no other."""

    kind: str
    row: str
    column: str
    wanted: float
    other: str | None = None
    test: str = ">="
    difference: bool = False

    def values(self, rows: Rows) -> list[float]:
        """Return what was measured, by round."""
        mine = [each[self.column] for each in rows.get(self.row, ())]
        if self.other is None:
            return mine
        pairs = zip(mine, (each[self.column] for each in rows.get(self.other, ())), strict=False)
        return [a - b if self.difference else a / b for a, b in pairs]


def figures(programs: Iterable[Program], rows: Rows, columns: Iterable[Column]) -> str:
    """Return a table of medians; behind each stands the median of the ratios, taken within each round, to our row of the same kind."""
    shown, bases = list(columns), {each.title: each.base for each in programs}
    others = {title: [] if bases.get(title, title) == title else rows.get(bases[title], []) for title in rows}
    lines = [[f"**{title}**" if title.startswith("ours") else title, *(_cell(rounds, others[title], column) for column in shown)]
             for title, rounds in rows.items() if rounds]
    return table(("", *(each.title for each in shown)), lines)


ASYNC = ", async"


def _cell(rounds: list[Figures], base: list[Figures], column: Column) -> str:
    value = number(statistics.median(each[column.name] for each in rounds))
    if not column.compared or value == "–":
        return value
    ratios = [a[column.name] / b[column.name] for a, b in zip(rounds, base, strict=False) if b[column.name]]
    ratio = statistics.median(ratios) if ratios else math.nan
    return value if math.isnan(ratio) else f"{value} ({number(ratio)}x)"


def reached(goals: Iterable[Goal], results: dict[str, Rows], columns: dict[str, tuple[Column, ...]]) -> str:
    """Return the table of the goals that were measured, or nothing."""
    found = [(each, values) for each in goals if (values := each.values(results.get(each.kind, {}))) and not any(map(math.isnan, values))]
    lines = [_goal(goal, values, {each.name: each.title for each in columns[goal.kind]}) for goal, values in found]
    return "### Goals\n\n" + table(("goal", "wanted", "measured", "reached"), lines) if lines else ""


def _goal(goal: Goal, values: list[float], titles: dict[str, str]) -> list[str]:
    value = statistics.median(values)
    good = {">=": operator.ge, "<=": operator.le, "=": operator.eq}[goal.test](value, goal.wanted)
    against = f" {'-' if goal.difference else '/'} {goal.other}" if goal.other else ""
    return [f"{goal.kind}: {goal.row}{against}, {titles[goal.column]}", f"{goal.test} {goal.wanted:g}", span(values),
            "yes" if good else "**no**"]


def span(values: list[float]) -> str:
    """Return the median with the lowest and highest behind it."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})"


def number(value: float) -> str:
    """Return a figure as text."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 20 else f"{value:.1f}"


def facts() -> str:
    """Return what the figures depend on."""
    found = machine((0, 1))
    return ", ".join(f"{name} {found[name]}" for name in ("processor", "kernel", "python", "commit", "load before"))


def printed(titles: dict[str, str], programs: list[Program], results: dict[str, Rows], columns: dict[str, tuple[Column, ...]]) -> Iterator[str]:
    """Yield every table with its heading."""
    for kind, rows in results.items():
        if any(rows.values()):
            yield f"### {titles[kind]}\n\n{figures(programs, rows, columns[kind])}"
