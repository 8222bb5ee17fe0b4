"""Create the table of the database's epoch, with the first one in it."""

from datetime import UTC

import sqlalchemy as sa
from alembic import op

from rakiza._kernel import SYSTEM_CLOCK, uuid7_text
from rakiza.store.types import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table and begin."""
    table = op.create_table(
        "rakiza_store_epoch",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
        sa.Column("began_at", UtcDateTime, nullable=False),
    )
    op.bulk_insert(table, [{"id": uuid7_text(), "began_at": SYSTEM_CLOCK.now().astimezone(UTC)}])
