"""The security room as a part."""

from rakiza._kernel import Check, CheckResult, Context, Migrations, Part
from rakiza.store import Store

from .commands import commands
from .http import routes
from .service import Security
from .settings import SecuritySettings

PURGE_SECONDS = 3600.0
MIGRATIONS = Migrations("rakiza.security.migrations", "rakiza_security")


def part(settings: SecuritySettings, ctx: Context) -> Part:
    """Build sign-in on the store and become the platform's authenticator."""
    store = ctx.need("store", Store)
    security = Security(store, settings, clock=ctx.clock, ports=ctx.ports, pool=ctx.pool, product=ctx.app_name)
    ctx.ports.authenticator = security
    ctx.ports.people = security
    ctx.supervisor.every("security-purge", PURGE_SECONDS, security.purge)
    return Part(
        name="security",
        service=security,
        needs=("store",),
        migrations=MIGRATIONS,
        checks=(Check(name="sign_in", fn=lambda: _check(security), required=False, component_type="component"),),
        routes=routes(security),
        commands=commands(security),
        start=security.passwords.prepare,
        stop=security.close,
    )


def _check(security: Security) -> CheckResult:
    if not security.users_exist():
        return CheckResult("warn", output="there is no user yet; make one with: user create EMAIL --role admin")
    waiting = security.passwords.waiting
    full = waiting >= security.settings.hashing_queue
    return CheckResult("warn" if full else "pass", observed=waiting, unit="sign-ins waiting")
