"""The epoch of a database: another one after each restore, so that nothing outside of it is taken for knowledge of what it holds now."""

from contextlib import suppress

import sqlalchemy as sa

from rakiza._kernel import SYSTEM_CLOCK, Clock, uuid7_text

from .errors import StoreError
from .service import Store, Transaction
from .types import UtcDateTime, metadata

METADATA = metadata()
EPOCH = sa.Table(
    "rakiza_store_epoch",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
    sa.Column("began_at", UtcDateTime, nullable=False),
)
"""One row."""


def epoch_of(store: Store) -> str:
    """Return the epoch of a database, nothing while it has none or cannot be read; blocks."""
    with suppress(StoreError, sa.exc.SQLAlchemyError), store.read() as tx:
        return str(tx.scalar(sa.select(EPOCH.c.id).order_by(EPOCH.c.id.desc()).limit(1)) or "")
    return ""


def begin_epoch(tx: Transaction, clock: Clock = SYSTEM_CLOCK) -> None:
    """Begin another epoch."""
    tx.execute(sa.delete(EPOCH))
    tx.execute(sa.insert(EPOCH).values(id=uuid7_text(clock), began_at=clock.now()))
