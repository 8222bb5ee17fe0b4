"""Create users, web sessions and one-time links."""

import sqlalchemy as sa
from alembic import op

from rakiza.store import BigKey, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_user()
    _create_session()
    _create_link()


def _create_user() -> None:
    op.create_table(
        "rakiza_security_user",
        sa.Column("id", BigKey, primary_key=True, autoincrement=True),
        sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("locale", sa.Text),
        sa.Column("password_hash", sa.Text),
        sa.Column("disabled_at", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.UniqueConstraint("tenant_id", "email"),
        sa.UniqueConstraint("tenant_id", "uuid"),
    )


def _create_session() -> None:
    op.create_table(
        "rakiza_security_session",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
        sa.Column("user_id", BigKey, sa.ForeignKey("rakiza_security_user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("ip", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("revoked_at", UtcDateTime),
    )
    op.create_index("ix_rakiza_security_session_user_id", "rakiza_security_session", ["user_id"])


def _create_link() -> None:
    op.create_table(
        "rakiza_security_link",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"),
        sa.Column("user_id", BigKey, sa.ForeignKey("rakiza_security_user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("used_at", UtcDateTime),
    )
    op.create_index("ix_rakiza_security_link_user_id", "rakiza_security_link", ["user_id"])
