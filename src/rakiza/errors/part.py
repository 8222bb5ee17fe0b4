"""The error room as a part."""

import logging
from functools import partial

from rakiza._kernel import Check, Context, Part

from .http import routes
from .service import FLUSH_SECONDS, ErrorTracker
from .settings import ErrorSettings


def part(settings: ErrorSettings, ctx: Context) -> Part:
    """Build the error tracker; the log records of a request are remembered while the platform runs."""
    tracker = ErrorTracker(settings, ctx.local, ctx.clock, ctx.environment)
    ctx.supervisor.every("errors", FLUSH_SECONDS, tracker.flush)

    def stop() -> None:
        logging.getLogger().removeHandler(tracker.crumbs)
        tracker.close()

    check = Check(name="errors", fn=tracker.look, required=False)
    start = partial(logging.getLogger().addHandler, tracker.crumbs)
    return Part(name="errors", service=tracker, checks=(check,), routes=routes(tracker, ctx.ports), start=start, stop=stop)
