"""Resilience as a part."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from rakiza._kernel import Check, Context, Part
from rakiza.telemetry import Metrics, Telemetry

from .http import routes
from .registry import registry
from .service import Resilience
from .settings import ResilienceSettings

PUBLISH_SECONDS = 5.0
"""How soon what could not be told to the other processes is tried again."""
OUTCOMES = ("succeeded", "failed", "ignored", "late", "rejected")
Values = Iterable[tuple[tuple[str, ...], float]]


def part(settings: ResilienceSettings, ctx: Context) -> Part:
    """Show the process's breakers and limits to health, metrics, operators and, where breakers are shared, to the other processes."""
    resilience = Resilience(settings, ctx.ports)
    if settings.share:
        resilience.wake = ctx.supervisor.every("resilience", PUBLISH_SECONDS, resilience.publish).wake
    if ctx.has("telemetry"):
        _watch(ctx.need("telemetry", Telemetry).metrics)
    check = Check(name="circuit breakers", fn=resilience.look, required=False)
    return Part(
        name="resilience", service=resilience, checks=(check,), routes=routes(resilience), start=resilience.start, stop=resilience.stop
    )


class Shown(Protocol):
    """Be what the registry has of one kind."""

    def all(self) -> Sequence[object]:
        """Return everything, by name."""
        ...


def _watch(metrics: Metrics) -> None:
    """Show what the registry counts whenever somebody looks: a call pays nothing for it."""
    metrics.watch_each("resilience_breaker_state", "1 for the state a breaker is in", ("breaker", "state"), _states)
    metrics.watch_each("resilience_calls", "Calls through breakers by how they ended", ("breaker", "outcome"), _outcomes, counts=True)
    bulkheads, limits, budgets = registry.bulkheads, registry.limits, registry.budgets
    one = partial(_watch_one, metrics)
    one("bulkhead_in_use", "Places taken", "bulkhead", bulkheads, "in_use")
    one("bulkhead_queued", "Calls that wait for a place", "bulkhead", bulkheads, "queued")
    one("bulkhead_rejected", "Calls refused because no place was free", "bulkhead", bulkheads, "rejected", counts=True)
    one("limit", "Calls an adaptive limit lets through at once", "limit", limits, "limit")
    one("limit_shed", "Calls an adaptive limit shed", "limit", limits, "shed", counts=True)
    one("retries", "Retries made", "budget", budgets, "retries", counts=True)
    one("retries_refused", "Retries the budget refused", "budget", budgets, "refused", counts=True)
    one("deadlines_missed", "Calls that ran out of time", "name", registry.missed, "count", counts=True)


def _watch_one(metrics: Metrics, name: str, text: str, label: str, shown: Shown, field: str, *, counts: bool = False) -> None:  # noqa: PLR0917
    def read() -> Values:
        return [((str(getattr(one, "name", "")),), float(getattr(one, field))) for one in shown.all()]

    metrics.watch_each(f"resilience_{name}", text, (label,), read, counts=counts)


def _states() -> Values:
    return [((one.name, state), float(one.state == state)) for one in registry.breakers.all() for state in ("closed", "open", "half_open")]


def _outcomes() -> Values:
    outcomes = (*OUTCOMES, "slow", "probes")
    return [((one.name, outcome), float(getattr(one.totals, outcome))) for one in registry.breakers.all() for outcome in outcomes]
