"""The log files as a part."""

import msgspec

from rakiza._kernel import Check, CheckResult, Context, Part

from ._writer import FLUSH_SECONDS
from .http import routes
from .service import TICK_SECONDS, Logs
from .settings import LogSettings


def part(settings: LogSettings, ctx: Context) -> Part:
    """Build the log files, hand the audit port out, flush access lines every 50 ms and look every second for what falls due."""
    if ctx.environment == "development":
        pretty = True if settings.pretty is None else settings.pretty
        settings = msgspec.structs.replace(settings, pretty=pretty, console_level=settings.console_level or settings.level)
    logs = Logs(ctx.app_name, settings.dir or ctx.home / "logs", settings)
    ctx.ports.audit = logs
    ctx.redactor = logs.redactor
    ctx.supervisor.every("access-log", FLUSH_SECONDS, logs.flush)
    ctx.supervisor.every("logs", TICK_SECONDS, logs.tick)

    def check() -> CheckResult:
        trouble = logs.trouble()
        return CheckResult("warn" if trouble else "pass", logs.dropped, "dropped lines", trouble)

    checks = (Check(name="logs", fn=check, required=False),)
    return Part(name="logs", service=logs, checks=checks, routes=routes(logs, ctx.ports), start=logs.start, stop=logs.stop)
