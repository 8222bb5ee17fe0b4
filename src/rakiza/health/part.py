"""Health as a part."""

from functools import partial

from rakiza._kernel import Check, Context, Part
from rakiza.store import Store

from ._backends.clock import ClockWatch
from ._backends.network import look
from .http import routes
from .service import TICK_SECONDS, Health
from .settings import HealthSettings


def part(settings: HealthSettings, ctx: Context) -> Part:
    """Build the health service; the hub adds the checks of all parts before the start."""
    health = Health(settings, ctx.clock)
    ctx.supervisor.every("health", TICK_SECONDS, health.refresh)
    clock = ClockWatch(ctx.clock, settings.clock_seconds, ctx.need("store", Store) if ctx.has("store") else None)
    checks = [Check(name="clock", fn=clock.look, required=False, component_type="system")]
    for one in settings.targets:
        kind = "datastore" if one.scheme.startswith("redis") else "service"
        checks.append(Check(name=one.name, fn=partial(look, one), required=one.required, component_type=kind))
    return Part(name="health", service=health, checks=tuple(checks), routes=routes(health), stop=health.close)
