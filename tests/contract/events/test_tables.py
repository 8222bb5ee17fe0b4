"""The migrations give the tables the code is written against, and the database itself keeps what is written."""

import pytest
import sqlalchemy as sa

from rakiza.events import MIGRATIONS, EventStore
from rakiza.events.tables import ANCHOR, METADATA, NEVER_CHANGED, SEAL, TILE
from rakiza.store import Store
from rakiza.store.migrate import differences
from rakiza.testing import FrozenClock

WITHOUT_TENANT = {"rakiza_events_head", "rakiza_events_event", "rakiza_events_seal", "rakiza_events_tile", "rakiza_events_anchor"}


def test_migrated_tables_are_the_declared_ones(store: Store) -> None:
    found = differences(store, METADATA, MIGRATIONS.prefix)
    if store.dialect == "sqlite":  # the index by time is PostgreSQL's alone, which the comparison does not know
        (index,) = found
        assert "ix_rakiza_events_event_recorded_at" in index
    else:
        assert found == []


def test_keys_begin_with_the_tenant_where_the_log_is_not_one_for_all() -> None:
    for table in METADATA.tables.values():
        uniques = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
        assert all("tenant_id" in each.columns for each in uniques)
        if table.name not in WITHOUT_TENANT:
            assert next(iter(table.primary_key)).name == "tenant_id"


@pytest.mark.parametrize("table", NEVER_CHANGED, ids=lambda table: table.name)
def test_the_database_refuses_to_change_or_delete(events: EventStore, store: Store, clock: FrozenClock, invoice, table: sa.Table) -> None:
    events.append(invoice(tags=["site:7"]))
    with store.begin() as tx:
        tx.execute(SEAL.insert().values(size=1, root=b"r", note="", sealed_at=clock.now()))
        tx.execute(TILE.insert().values(level=0, number=0, hashes=b"h"))
        tx.execute(ANCHOR.insert().values(size=1, name="file", receipt="", anchored_at=clock.now()))
    column = next(iter(table.c)).name
    verbs = [f"update {table.name} set {column} = {column}", f"delete from {table.name}"]
    if store.dialect == "postgresql":
        verbs.append(f"truncate {table.name}")
    for verb in verbs:
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), store.begin() as tx:
            tx.execute(sa.text(verb))
    with store.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(table)) == 1
