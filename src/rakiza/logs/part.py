"""The log files as a part."""

from rakiza._kernel import Check, CheckResult, Context, Part

from ._writer import FLUSH_SECONDS
from .service import Logs
from .settings import LogSettings


def part(settings: LogSettings, ctx: Context) -> Part:
    """Build the log files, hand the audit port out and flush access lines every 50 ms."""
    logs = Logs(ctx.app_name, settings.dir or ctx.home / "logs", settings)
    ctx.ports.audit = logs
    ctx.supervisor.every("access-log", FLUSH_SECONDS, logs.flush)

    def check() -> CheckResult:
        return CheckResult("warn" if logs.dropped else "pass", logs.dropped, "lines", "lines could not be written" if logs.dropped else None)

    return Part(name="logs", service=logs, checks=(Check(name="logs", fn=check, required=False),), start=logs.start, stop=logs.stop)
