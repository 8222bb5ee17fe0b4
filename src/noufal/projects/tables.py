"""Projects."""

from sqlalchemy import Column, Date, Integer, Table, Text, UniqueConstraint

from noufal.tables import metadata
from rakiza.store import BigKey, UtcDateTime

project = Table(
    "noufal_projects_project",
    metadata,
    Column("id", BigKey, primary_key=True),
    Column("tenant_id", Text, nullable=False, server_default="default"),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_en", Text),
    Column("client", Text),
    Column("start_date", Date),
    Column("finish_date", Date),
    Column("currency", Text, nullable=False, server_default="SAR"),
    Column("vat_rate_bp", Integer, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("tenant_id", "code"),
)
