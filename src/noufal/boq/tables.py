"""Bills of quantities: sections, items, and the files they were imported from."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Select, Table, Text, UniqueConstraint, func, select

from noufal.tables import metadata
from rakiza.store import BigKey, UtcDateTime

section = Table(
    "noufal_boq_section",
    metadata,
    Column("id", BigKey, primary_key=True),
    Column("tenant_id", Text, nullable=False, server_default="default"),
    Column("project_id", BigKey, nullable=False),
    Column("position", Integer, nullable=False),
    Column("code", Text),
    Column("title", Text, nullable=False),
    Column("items_count", Integer, nullable=False, server_default="0"),
    Column("amount", BigInteger, nullable=False, server_default="0"),
    Column("earned", BigInteger, nullable=False, server_default="0"),
    Index(None, "tenant_id", "project_id", "position"),
)

bill_import = Table(
    "noufal_boq_import",
    metadata,
    Column("id", BigKey, primary_key=True),
    Column("tenant_id", Text, nullable=False, server_default="default"),
    Column("project_id", BigKey, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("items", Integer, nullable=False),
    Column("net", BigInteger, nullable=False),
    Column("imported_at", UtcDateTime, nullable=False),
    Column("imported_by", Text, nullable=False),
    Column("user_id", Text),
    Index(None, "tenant_id", "project_id", "id"),
)

upload = Table(
    "noufal_boq_upload",
    metadata,
    Column("id", BigKey, primary_key=True),
    Column("tenant_id", Text, nullable=False, server_default="default"),
    Column("project_id", BigKey, nullable=False),
    Column("job_id", BigInteger, nullable=False),
    Column("spool", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("outcome", Text),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("tenant_id", "job_id"),
    Index(None, "spool"),
)
"""The files that are imported by jobs, and what came of each."""

item = Table(
    "noufal_boq_item",
    metadata,
    Column("id", BigKey, primary_key=True),
    Column("tenant_id", Text, nullable=False, server_default="default"),
    Column("project_id", BigKey, nullable=False),
    Column("section_id", BigKey, ForeignKey(section.c.id), nullable=False),
    Column("position", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("note", Text),
    Column("unit", Text, nullable=False),
    Column("unit_code", Text),
    Column("quantity", BigInteger, nullable=False),
    Column("unit_price", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("progress", Integer, nullable=False, server_default="0"),
    Column("earned", BigInteger, nullable=False, server_default="0"),
    Column("rate_only", Boolean, nullable=False),
    Column("search", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("import_id", BigKey),
    UniqueConstraint("tenant_id", "project_id", "code"),
    Index(None, "tenant_id", "project_id", "position"),
    Index(None, "section_id", "amount", "earned"),
    sqlite_autoincrement=True,  # the id of a line that is gone must never name another: its history and late edits would
)


def bill_sums() -> Select[tuple[int, int, int, int]]:
    """Return the statement that sums the bill of each project: project, items, amount, earned."""
    sums = (func.sum(section.c.items_count).label("items"), func.sum(section.c.amount).label("amount"), func.sum(section.c.earned).label("earned"))
    return select(section.c.project_id, *sums).group_by(section.c.project_id)
