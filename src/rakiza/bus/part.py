"""The bus as a part."""

from typing import cast

from rakiza._kernel import Context, Migrations, Part, UnitOfWork
from rakiza.store import Store, Transaction, number_on

from .service import Bus
from .settings import BusSettings
from .tables import MESSAGE

MIGRATIONS = Migrations("rakiza.bus.migrations", "rakiza_bus")


def part(settings: BusSettings, ctx: Context) -> Part:
    """Build the bus on the platform's database."""
    store = ctx.need("store", Store)
    bus = Bus(store, ctx.supervisor, settings)
    ctx.ports.signals = bus

    def restored(tx: UnitOfWork) -> None:
        number_on(cast("Transaction", tx), store, MESSAGE, gap=1)  # the gap tells every process that it has missed something

    return Part(name="bus", service=bus, needs=("store",), migrations=MIGRATIONS, stop=bus.close, restored=restored)
