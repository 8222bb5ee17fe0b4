"""The store as a part."""

from functools import partial
from typing import cast

from rakiza._kernel import SYSTEM_CLOCK, Check, CheckResult, Context, Migrations, Part
from rakiza.telemetry import Telemetry

from ._epoch import begin_epoch
from ._examination import examine
from .service import Store, Transaction
from .settings import StoreSettings

MIGRATIONS = Migrations("rakiza.store.migrations", "rakiza_store")


def part(settings: StoreSettings, ctx: Context) -> Part:
    """Build the store: the address of the settings, else the file `<home>/<app>.db`."""
    url = settings.database_url or f"sqlite:///{(ctx.home / f'{ctx.app_name}.db').absolute()}"
    store = Store(url, settings, application=ctx.app_name)

    def look() -> CheckResult:
        begun = SYSTEM_CLOCK.monotonic()
        store.ping()
        milliseconds = round((SYSTEM_CLOCK.monotonic() - begun) * 1000, 3)
        return CheckResult("pass", milliseconds, "ms")

    if ctx.has("telemetry"):
        metrics = ctx.need("telemetry", Telemetry).metrics
        metrics.watch("store_transactions_open", "Transactions that hold a connection", lambda: store.transactions)
        metrics.watch("store_pool_connections", "Connections there may be at once", lambda: settings.pool_size)
    check = Check(name="database", fn=look, component_type="datastore")
    return Part(
        name="store",
        service=store,
        migrations=MIGRATIONS,
        checks=(check,),
        examine=partial(examine, store, ctx.clock),
        start=store.ping,
        stop=store.close,
        restored=lambda tx: begin_epoch(cast("Transaction", tx), ctx.clock),
    )
