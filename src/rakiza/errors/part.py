"""The error room as a part."""

from msgspec.structs import replace

from rakiza._kernel import Check, Context, Part

from .http import routes
from .service import FLUSH_SECONDS, ErrorTracker
from .settings import ErrorSettings


def part(settings: ErrorSettings, ctx: Context) -> Part:
    """Build the error tracker; what waits is folded into the groups every second."""
    settings = replace(settings, environment=settings.environment or ctx.environment)
    tracker = ErrorTracker(settings, ctx.local, ctx.clock, ctx.scrub)
    ctx.supervisor.every("errors", FLUSH_SECONDS, tracker.flush)
    checks = (Check(name="errors", fn=tracker.look, required=False),)
    return Part(name="errors", service=tracker, checks=checks, routes=routes(tracker, ctx.ports), start=tracker.start, stop=tracker.close)
