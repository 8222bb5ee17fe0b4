"""Mail as a part."""

from rakiza._kernel import Check, Context, Part
from rakiza.jobs import Backoff, Jobs
from rakiza.telemetry import Telemetry

from .commands import commands
from .service import TASK, MailService
from .settings import MailSettings

ATTEMPTS, BACKOFF = 20, Backoff(base=15.0, cap=3600.0)
"""A server that is away for a night loses no message: the attempts end after some six hours on average."""

AT_ONCE = 8
"""Connections to the mail server, of all workers: one that hangs must not hold up other jobs, and servers allow few."""


def part(settings: MailSettings, ctx: Context) -> Part:
    """Build mail, become the platform's mailer and take the job `email:send`."""
    jobs = ctx.need("jobs", Jobs)
    metrics = ctx.need("telemetry", Telemetry).metrics if ctx.has("telemetry") else None
    mail = MailService(settings, ports=ctx.ports, clock=ctx.clock, metrics=metrics, home=ctx.home, name=ctx.app_name)
    jobs.job(TASK, queue="emails", max_attempts=ATTEMPTS, backoff=BACKOFF, concurrency_key=TASK, key_limit=AT_ONCE)(mail.work)
    ctx.ports.mailer = mail
    production = ctx.environment == "production"
    check = Check(name="mail", fn=lambda: mail.look(production=production), required=False)
    return Part(name="mail", service=mail, needs=("jobs",), checks=(check,), commands=commands(mail))
