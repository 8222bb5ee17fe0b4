"""How single results add up; no I/O."""

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import unquote, urlsplit

import msgspec

from rakiza._kernel import Check, CheckResult

PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379, "tcp": None}
ORDER = {"pass": 0, "warn": 1, "fail": 2}


class Observation(msgspec.Struct, frozen=True):
    """Hold the latest result of one check and when and how fast it came."""

    check: Check
    result: CheckResult
    at: datetime | None = None
    seconds: float = 0.0


class Target(msgspec.Struct, frozen=True):
    """Name something on the network that is looked at."""

    name: str
    scheme: str
    host: str
    port: int
    path: str
    user: str
    password: str
    required: bool

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Target({self.name!r})"


def target(text: str) -> Target:
    """Return what `[name=]scheme://[user:password@]host[:port][/path][!]` names; raise ValueError, without the password, for anything else."""
    head, equals, rest = text.partition("=")
    name, address = (head, rest) if equals and "://" not in head else ("", text)
    url = urlsplit(address.removesuffix("!"))
    try:
        host, port = url.hostname or "", url.port or PORTS.get(url.scheme)
    except ValueError:
        host, port = "", None
    if not host or port is None or url.scheme not in PORTS:
        raise ValueError(f"cannot look at {name or url.hostname or url.scheme!r}: write https://host/path or tcp://host:port, a final ! requires it")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    known = {"user": unquote(url.username or ""), "password": unquote(url.password or "")}
    return Target(name or f"{host}:{port}", url.scheme, host, port, path, required=address.endswith("!"), **known)


def settled(before: Observation, result: CheckResult, bad: int, failures: int) -> CheckResult:
    """Return what to show after bad looks in a row: a component that was well fails only after `failures` of them; the first look counts at once."""
    if result.status != "fail" or bad >= failures or before.at is None or before.result.status == "fail":
        return result
    return CheckResult("warn", result.observed, result.unit, f"{result.output or 'failed'} ({bad} of {failures} bad looks)")


def jumped(before: tuple[datetime, float], now: tuple[datetime, float]) -> float:
    """Return by how many seconds the wall clock moved more than time passed."""
    return (now[0] - before[0]).total_seconds() - (now[1] - before[1])


def groups(check: Check) -> tuple[str, str]:
    """Return the groups a check belongs to."""
    return ("required" if check.required else "optional"), check.component_type


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
