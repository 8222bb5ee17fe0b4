"""The security room as a part."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from rakiza._kernel import Check, CheckResult, Context, Finding, Migrations, Part, judged
from rakiza.store import Store, Transaction

from .commands import commands
from .http import routes
from .service import Security
from .settings import SecuritySettings
from .tables import LINK, SESSION

PURGE_SECONDS = 3600.0
MIGRATIONS = Migrations("rakiza.security.migrations", "rakiza_security")


def part(settings: SecuritySettings, ctx: Context) -> Part:
    """Build sign-in on the store and become the platform's authenticator."""
    store = ctx.need("store", Store)
    security = Security(store, settings, clock=ctx.clock, ports=ctx.ports, pool=ctx.pool, product=ctx.app_name)
    ctx.ports.authenticator = security
    ctx.ports.people = security
    ctx.supervisor.every("security-purge", PURGE_SECONDS, security.purge, writes=True)
    return Part(
        name="security",
        service=security,
        needs=("store",),
        migrations=MIGRATIONS,
        checks=(Check(name="sign_in", fn=lambda: _check(security), required=False, component_type="component"),),
        examine=lambda _: _examine(security, ctx),
        routes=routes(security),
        commands=commands(security),
        stop=security.close,
        restored=lambda tx: _end_all(cast("Transaction", tx)),
    )


def _end_all(tx: Transaction) -> None:
    """End the sessions and links of a database that was brought back: what was revoked since must not live again."""
    for table in (SESSION, LINK):
        tx.execute(sa.delete(table))


def _examine(security: Security, ctx: Context) -> Iterator[Finding]:
    """Yield who may come in, whether strangers on this machine may, and who reads the secrets of `.env`."""
    settings = security.settings
    nobody = not settings.ops_api_key and not security.users_exist()
    seen = f"{'nobody' if nobody else 'somebody'} can sign in or has a key"
    yield judged("operators", nobody, seen, "make a user with `user create EMAIL --role admin`, or set OPS_API_KEY")
    mend = "on this machine anybody reads operator pages while there is no key: set APP_ENV=production where others come"
    yield judged("environment", settings.environment == "development", f"APP_ENV is {settings.environment}", mend, "warn")
    secrets = [one.name for one in ctx.reader.sources() if one.source == ".env" and one.shown == "***"]
    if secrets:
        file = Path(".env").absolute()
        mode = file.stat().st_mode & 0o777
        yield judged("secrets", bool(mode & 0o004), f"{file} (mode {mode:o}) holds {', '.join(secrets)}", f"anybody here reads it: chmod 600 {file}")


def _check(security: Security) -> CheckResult:
    if not security.users_exist():
        return CheckResult("warn", output="there is no user yet; make one with: user create EMAIL --role admin")
    waiting = security.passwords.waiting
    full = waiting >= security.settings.hashing_queue
    return CheckResult("warn" if full else "pass", observed=waiting, unit="sign-ins waiting")
