"""Let a line know the import that brought it, an import the user's id, and no line ever take the id of one that is gone."""

import sqlalchemy as sa
from alembic import op

from rakiza.store import BigKey

revision = "0002"
down_revision = "0001"

# A line that never changed carries the time of its import; of a bill imported only once every line came with that import.
SAME_TIME = """
update noufal_boq_item set import_id = (
  select min(i.id) from noufal_boq_import i
  where i.tenant_id = noufal_boq_item.tenant_id and i.project_id = noufal_boq_item.project_id and i.imported_at = noufal_boq_item.updated_at)
where version = 1
"""
ONLY_ONE = """
update noufal_boq_item set import_id = (
  select max(i.id) from noufal_boq_import i
  where i.tenant_id = noufal_boq_item.tenant_id and i.project_id = noufal_boq_item.project_id having count(*) = 1)
where import_id is null
"""


def upgrade() -> None:
    """Add the columns; on SQLite copy the lines into a table that counts on from the highest id there ever was."""
    op.add_column("noufal_boq_import", sa.Column("user_id", sa.Text))
    sqlite = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table(
        "noufal_boq_item", recreate="always" if sqlite else "never", table_kwargs={"sqlite_autoincrement": True} if sqlite else {}
    ) as batch:
        batch.add_column(sa.Column("import_id", BigKey))
    op.execute(SAME_TIME)
    op.execute(ONLY_ONE)
