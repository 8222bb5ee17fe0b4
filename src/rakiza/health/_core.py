"""How single results add up; no I/O."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from rakiza._kernel import Check, CheckResult

ORDER = {"pass": 0, "warn": 1, "fail": 2}


class Observation(msgspec.Struct, frozen=True):
    """Hold the latest result of one check and when and how fast it came."""

    check: Check
    result: CheckResult
    at: datetime | None = None
    seconds: float = 0.0


def overall(observations: Iterable[Observation]) -> str:
    """Return `fail` when a required component fails, `warn` when anything else is not well, else `pass`."""
    worst = 0
    for seen in observations:
        level = ORDER.get(seen.result.status, 2)
        worst = max(worst, level if seen.check.required else min(level, 1))
    return ("pass", "warn", "fail")[worst]


def details(observations: Iterable[Observation]) -> dict[str, list[dict[str, object]]]:
    """Return the checks in the shape of application/health+json (draft-inadarei-api-health-check-06, expired)."""
    found: dict[str, list[dict[str, object]]] = {}
    for seen in observations:
        entry: dict[str, object] = {
            "componentType": seen.check.component_type,
            "status": seen.result.status,
            "required": seen.check.required,
            "observedValue": seen.result.observed,
            "observedUnit": seen.result.unit,
            "responseTimeMs": round(seen.seconds * 1000, 2),
            "time": seen.at.isoformat() if seen.at else None,
            "output": seen.result.output,
        }
        found[seen.check.name] = [{key: value for key, value in entry.items() if value is not None}]
    return found
