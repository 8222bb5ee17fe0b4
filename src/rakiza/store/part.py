"""The store as a part."""

from rakiza._kernel import SYSTEM_CLOCK, Check, CheckResult, Context, Part
from rakiza.telemetry import Telemetry

from .service import Store
from .settings import StoreSettings


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
    return Part(name="store", service=store, checks=(check,), start=store.ping, stop=store.close)
