"""Health as a part."""

import sys
from collections.abc import Iterator
from datetime import date
from functools import partial
from typing import Literal

from rakiza._kernel import Check, Context, Finding, Part, judged
from rakiza.store import Store

from ._backends.clock import ClockWatch
from ._backends.network import look
from .http import routes
from .service import TICK_SECONDS, Health
from .settings import HealthSettings

PYTHON_ENDS = 2016
"""Python 3.N gets security updates until October of the year N + 2016: five years (PEP 602)."""


def part(settings: HealthSettings, ctx: Context) -> Part:
    """Build the health service; the hub adds the checks of all parts before the start."""
    health = Health(settings, ctx.clock)
    ctx.supervisor.every("health", TICK_SECONDS, health.refresh)
    store = ctx.need("store", Store) if ctx.has("store") else None
    clock = ClockWatch(ctx.clock, settings.clock_seconds, store)
    checks = [Check(name="clock", fn=clock.look, required=False, component_type="system")]
    for one in settings.targets(store.settings.redis_address if store else ""):
        kind = "datastore" if one.scheme.startswith("redis") else "service"
        checks.append(Check(name=one.name, fn=partial(look, one), required=one.required, component_type=kind))
    examine = partial(_examine, health, ctx)
    return Part(name="health", service=health, checks=tuple(checks), examine=examine, routes=routes(health), stop=health.close)


def _examine(health: Health, ctx: Context, _deep: bool) -> Iterator[Finding]:
    """Yield what every check says, and how long this Python still gets security updates."""
    health.wait()
    for seen in health.observations():
        measured = "well" if seen.result.observed is None else f"{seen.result.observed} {seen.result.unit or ''}".rstrip()
        said = seen.result.output or measured
        failed = seen.result.status == "fail"
        status: Literal["ok", "warn", "fail"] = "ok" if seen.result.status == "pass" else "fail" if failed and seen.check.required else "warn"
        yield Finding(seen.check.name, status, said.partition("\n")[0])
    end = date(sys.version_info.minor + PYTHON_ENDS, 10, 31)
    version = ".".join(map(str, sys.version_info[:3]))
    yield judged("python", ctx.clock.now().date() > end, f"Python {version}, security updates until {end:%Y-%m}", "take a newer Python", "warn")
