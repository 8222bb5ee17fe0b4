"""The goals that a run on the wire can answer, each a figure of that one run."""

from __future__ import annotations

from operator import ge, le, lt
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.http.report import added, middle, ratio, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.http.wire import Result

COMPARE: dict[str, Callable[[float, float], bool]] = {">=": ge, "<=": le, "<": lt}
GRANIAN, UVICORN = "rakiza + Starlette / granian", "rakiza + Starlette / uvicorn"
LITESTAR_GRANIAN, LITESTAR_UVICORN, FLASK = "rakiza + Litestar / granian", "rakiza + Litestar / uvicorn", "rakiza + Flask / granian"
BARE_GRANIAN, BARE_UVICORN, BARE_FLASK = "Starlette bare / granian", "Starlette bare / uvicorn", "Flask bare / granian"
EXPRESS, FASTAPI, FASTAPI_KINDER = "Express full / node", "FastAPI usual / uvicorn", "FastAPI usual, kinder / uvicorn"
FLASK_USUAL, FLASK_KINDER = "Flask usual / gunicorn", "Flask usual, kinder / gunicorn"


def _times(one: Result, other: Result) -> float:
    return ratio(one, other, "per_second")


def _p95_times(one: Result, other: Result) -> float:
    return ratio(one, other, "p95_ms")


def _memory_times(one: Result, other: Result) -> float:
    return ratio(one, other, "memory_mib")


def _speed(one: Result) -> float:
    return middle(one, "per_second")


def _p95(one: Result) -> float:
    return middle(one, "p95_ms")


class Goal(NamedTuple):
    """Say which figure of which stacks must be at least, at most or under what."""

    name: str
    stacks: tuple[str, ...]
    figure: Callable[..., float]
    sign: str
    wanted: float


GOALS = (
    Goal("CPU added, Starlette / granian (µs)", (GRANIAN, BARE_GRANIAN), added, "<=", 20),
    Goal("CPU added, Flask / granian (µs)", (FLASK, BARE_FLASK), added, "<=", 25),
    Goal("CPU added, Starlette / uvicorn (µs)", (UVICORN, BARE_UVICORN), added, "<=", 40),
    Goal("JSON req/s on one core, Starlette / granian", (GRANIAN,), _speed, ">=", 15_000),
    Goal("Litestar with the layer / bare Starlette, granian", (LITESTAR_GRANIAN, BARE_GRANIAN), _times, ">=", 0.4),
    Goal("Litestar with the layer / bare Starlette, uvicorn", (LITESTAR_UVICORN, BARE_UVICORN), _times, ">=", 0.33),
    Goal("p95, Starlette / granian (ms)", (GRANIAN,), _p95, "<", 5),
    Goal("p95, Starlette / uvicorn (ms)", (UVICORN,), _p95, "<", 5),
    Goal("req/s / Express full, Starlette / granian", (GRANIAN, EXPRESS), _times, ">=", 10),
    Goal("req/s / Express full, Starlette / uvicorn", (UVICORN, EXPRESS), _times, ">=", 6),
    Goal("req/s / Express full, Litestar / granian", (LITESTAR_GRANIAN, EXPRESS), _times, ">=", 5),
    Goal("p95 of Express full / ours, Starlette / granian", (EXPRESS, GRANIAN), _p95_times, ">=", 10),
    Goal("memory of Express full / ours, Starlette / granian", (EXPRESS, GRANIAN), _memory_times, ">=", 3),
    Goal("req/s / FastAPI usual, Starlette / granian", (GRANIAN, FASTAPI), _times, ">=", 15),
    Goal("req/s / FastAPI usual, kinder, Starlette / granian", (GRANIAN, FASTAPI_KINDER), _times, ">=", 15),
    Goal("req/s / Flask usual, Flask / granian", (FLASK, FLASK_USUAL), _times, ">=", 15),
    Goal("req/s / Flask usual, kinder, Flask / granian", (FLASK, FLASK_KINDER), _times, ">=", 15),
    Goal("req/s / Flask usual, kinder, Starlette / granian", (GRANIAN, FLASK_KINDER), _times, ">=", 15),
)


def goal_table(results: list[Result]) -> str:
    """Return each goal whose stacks were all measured, with its figure; empty when there is none."""
    by_name = {result.stack.name: result for result in results if result.samples and not result.failure}
    rows = [_row(goal, [by_name[name] for name in goal.stacks]) for goal in GOALS if set(goal.stacks) <= set(by_name)]
    return "### Goals\n\n" + table(("goal", "wanted", "measured", "reached"), rows) if rows else ""


def _row(goal: Goal, stacks: list[Result]) -> list[str]:
    value = goal.figure(*stacks)
    return [goal.name, f"{goal.sign} {goal.wanted:,}", f"{value:,.2f}", "yes" if COMPARE[goal.sign](value, goal.wanted) else "**no**"]
