"""The error room as a part."""

from rakiza._kernel import Context, Part

from .service import ErrorTracker
from .settings import ErrorSettings


def part(settings: ErrorSettings, ctx: Context) -> Part:
    """Build the error tracker."""
    return Part(name="errors", service=ErrorTracker(settings.keep, ctx.clock))
