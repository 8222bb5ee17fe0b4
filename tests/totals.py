"""A projection that tests, and the processes they kill, fold invoices with: how many and how much for each customer."""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from rakiza.events import Event, InMemoryProjection, Projection
from rakiza.store import Store, Transaction

Totals = dict[str, tuple[int, int]]
CUSTOMERS = ("شركة البناء", "مؤسسة الجبيل", "Al-Rashid \"& Sons'")


class Invoice(msgspec.Struct):
    """Name what the projection reads of a payload."""

    customer: str
    halalas: int


decode = msgspec.json.Decoder(Invoice).decode


def added(events: Iterable[Event]) -> Totals:
    """Fold events into totals."""
    found: Totals = {}
    for event in events:
        invoice = decode(event.payload_text)
        count, sum_ = found.get(invoice.customer, (0, 0))
        found[invoice.customer] = (count + 1, sum_ + invoice.halalas)
    return found


class InvoiceTotals(Projection):
    """Fold a batch, write once for each customer."""

    name = "totals"
    event_types = ("invoice.created",)

    def create(self, tx: Transaction, table: str) -> None:
        """Make the table."""
        tx.execute(sa.text(f"create table {table} (customer text primary key, invoices bigint not null, halalas bigint not null)"))

    def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
        """Add what the batch adds."""
        write(tx, table, added(events))


def write(tx: Transaction, table: str, totals: Totals) -> None:
    """Add totals to the table, in one statement where the engine has one."""
    tail = f"on conflict (customer) do update set invoices = {table}.invoices + excluded.invoices, halalas = {table}.halalas + excluded.halalas"
    rows = sorted((customer, *sums) for customer, sums in totals.items())
    if hasattr(tx.driver_connection, "pgconn"):
        columns = [list(column) for column in zip(*rows, strict=True)]
        tx.driver_connection.execute(f"insert into {table} select * from unnest(%s::text[], %s::bigint[], %s::bigint[]) {tail}", columns)
    else:
        tx.driver_connection.executemany(f"insert into {table} values (?, ?, ?) {tail}", rows)


class TotalsInMemory(InMemoryProjection[Totals]):
    """Say the same without a database."""

    event_types = ("invoice.created",)

    def initial(self) -> Totals:
        """Begin with nothing."""
        return {}

    def apply(self, state: Totals, event: Event) -> Totals:
        """Add one invoice."""
        ((customer, (count, sum_)),) = added([event]).items()
        before = state.get(customer, (0, 0))
        return {**state, customer: (before[0] + count, before[1] + sum_)}


def shown(store: Store, name: str = "p_totals") -> Totals:
    """Return what readers see."""
    with store.read() as tx:
        return {row[0]: (row[1], int(row[2])) for row in tx.execute(sa.text(f"select customer, invoices, halalas from {name}"))}


def invoice(number: int, event_type: str = "invoice.created") -> dict[str, object]:
    """Return an event to append."""
    payload = {"customer": CUSTOMERS[number % len(CUSTOMERS)], "halalas": number}
    return {"event_type": event_type, "aggregate_type": "Invoice", "aggregate_id": f"INV-{number}", "payload": payload}
