"""Create the table of messages between processes."""

import sqlalchemy as sa
from alembic import op

from rakiza.store import BigKey

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table, whose numbers are never used again."""
    op.create_table(
        "rakiza_bus_message",
        sa.Column("id", BigKey, primary_key=True, autoincrement=True),
        sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
