"""Create projects, their members, and bills of quantities."""

import sqlalchemy as sa
from alembic import op

from rakiza.store import BigKey, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_projects()
    _create_members()
    _create_sections()
    _create_items()
    _create_imports()


def _key() -> sa.Column[int]:
    return sa.Column("id", BigKey, primary_key=True, autoincrement=True)


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant_id", sa.Text, nullable=False, server_default="default")


def _create_projects() -> None:
    op.create_table(
        "noufal_projects_project",
        _key(),
        _tenant(),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_en", sa.Text),
        sa.Column("client", sa.Text),
        sa.Column("start_date", sa.Date),
        sa.Column("finish_date", sa.Date),
        sa.Column("currency", sa.Text, nullable=False, server_default="SAR"),
        sa.Column("vat_rate_bp", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("tenant_id", "code"),
    )


def _create_members() -> None:
    op.create_table(
        "noufal_membership_member",
        _key(),
        _tenant(),
        sa.Column("project_id", BigKey, nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("tenant_id", "project_id", "user_id"),
    )
    op.create_index(None, "noufal_membership_member", ["tenant_id", "user_id"])


def _create_sections() -> None:
    op.create_table(
        "noufal_boq_section",
        _key(),
        _tenant(),
        sa.Column("project_id", BigKey, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("items_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("amount", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("earned", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_index(None, "noufal_boq_section", ["tenant_id", "project_id", "position"])


def _create_items() -> None:
    op.create_table(
        "noufal_boq_item",
        _key(),
        _tenant(),
        sa.Column("project_id", BigKey, nullable=False),
        sa.Column("section_id", BigKey, sa.ForeignKey("noufal_boq_section.id"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("unit_code", sa.Text),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("unit_price", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False, server_default="0"),
        sa.Column("earned", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("rate_only", sa.Boolean, nullable=False),
        sa.Column("search", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("tenant_id", "project_id", "code"),
    )
    op.create_index(None, "noufal_boq_item", ["tenant_id", "project_id", "position"])
    op.create_index(None, "noufal_boq_item", ["section_id", "amount", "earned"])


def _create_imports() -> None:
    op.create_table(
        "noufal_boq_import",
        _key(),
        _tenant(),
        sa.Column("project_id", BigKey, nullable=False),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("net", sa.BigInteger, nullable=False),
        sa.Column("imported_at", UtcDateTime, nullable=False),
        sa.Column("imported_by", sa.Text, nullable=False),
    )
    op.create_index(None, "noufal_boq_import", ["tenant_id", "project_id", "id"])
