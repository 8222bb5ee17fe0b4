"""Who works on which project."""

from sqlalchemy import Column, Index, Table, Text, UniqueConstraint

from noufal.tables import metadata
from rakiza.store import BigKey, UtcDateTime

member = Table(
    "noufal_membership_member",
    metadata,
    Column("id", BigKey, primary_key=True),
    Column("tenant_id", Text, nullable=False, server_default="default"),
    Column("project_id", BigKey, nullable=False),
    Column("user_id", BigKey, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("tenant_id", "project_id", "user_id"),
    Index(None, "tenant_id", "user_id"),
)
