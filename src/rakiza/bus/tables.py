"""The table of messages; only SQLite uses it, PostgreSQL carries them itself."""

import sqlalchemy as sa

from rakiza.store import BigKey, metadata

METADATA = metadata()
MESSAGE = sa.Table(
    "rakiza_bus_message",
    METADATA,
    sa.Column("id", BigKey, primary_key=True, autoincrement=True),
    sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
"""The newest messages of all topics; a number is never used again."""
