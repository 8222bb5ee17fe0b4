"""Health as a part."""

from rakiza._kernel import Context, Part

from .http import routes
from .service import TICK_SECONDS, Health
from .settings import HealthSettings


def part(settings: HealthSettings, ctx: Context) -> Part:
    """Build the health service; the hub adds the checks of all parts before the start."""
    health = Health(settings, ctx.clock)
    ctx.supervisor.every("health", TICK_SECONDS, health.refresh)
    return Part(name="health", service=health, routes=routes(health), stop=health.close)
