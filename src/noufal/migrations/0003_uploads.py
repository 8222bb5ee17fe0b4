"""Create the table of files that are imported by jobs."""

import sqlalchemy as sa
from alembic import op

from rakiza.store import BigKey, UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "noufal_boq_upload",
        sa.Column("id", BigKey, primary_key=True, autoincrement=True),
        sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
        sa.Column("project_id", BigKey, nullable=False),
        sa.Column("job_id", sa.BigInteger, nullable=False),
        sa.Column("spool", sa.Text, nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("tenant_id", "job_id"),
    )
    op.create_index(None, "noufal_boq_upload", ["spool"])
