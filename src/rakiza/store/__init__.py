"""One database, SQLite or PostgreSQL, with the same transactions, types and migrations.

    import sqlalchemy as sa
    from rakiza.store import BigKey, Store, metadata

    tables = metadata()
    project = sa.Table("project", tables, sa.Column("id", BigKey, primary_key=True), sa.Column("name", sa.Text, nullable=False))
    store = Store("var/demo.db")                      # or "postgresql://user:password@host/name"
    with store.begin() as tx:
        tables.create_all(tx.connection)
        tx.execute(project.insert().values(name="فيلا النرجس"))
    with store.read() as tx:
        names = tx.rows(store.compile(sa.select(project.c.name)))
    store.close()

A unit of work is synchronous and belongs to one thread: never await inside the block, hand the whole block to the worker pool.
Statements given to `tx.execute` are SQLAlchemy's; `tx.rows(store.compile(...))` skips its result layer and returns the
driver's tuples (`as_utc` reads a timestamp among them). `tx.savepoint()` guards a statement that may fail.

**Migrations.** A room's scripts lie flat in its package `migrations/`, forwards only, each a link of one chain, never changed after a
release. `0001_users.py` holds `revision = "0001"` and `down_revision = None` (literals on lines of their own: heads are read from the text,
without importing Alembic) and

    def upgrade() -> None:
        op.create_table("rakiza_security_user", sa.Column("id", BigKey, primary_key=True), sa.Column("email", sa.Text, nullable=False))

The part says `Migrations(package="rakiza.security.migrations", prefix="rakiza_security")`; the table `rakiza_security_version` keeps the
revision. Constraints get their names from the convention of `metadata()`. A table is changed by `with op.batch_alter_table(...) as batch`,
which rebuilds it on SQLite.
"""

from rakiza._kernel import Migrations

from ._compiled import Compiled
from ._epoch import begin_epoch, epoch_of
from ._numbers import number_on
from .errors import MigrationError, RolledBackError, StorageError, StoreBusyError, StoreConflictError, StoreError, StoreUnavailableError
from .migrate import MigrationState, current, differences, migrate
from .part import part
from .service import Store, Transaction
from .settings import StoreSettings
from .types import BigKey, JsonText, UtcDateTime, as_utc, metadata, utc_text

__all__ = [
    "BigKey", "Compiled", "JsonText", "MigrationError", "MigrationState", "Migrations", "RolledBackError", "StorageError", "Store",
    "StoreBusyError", "StoreConflictError", "StoreError", "StoreSettings", "StoreUnavailableError", "Transaction",
    "UtcDateTime", "as_utc", "begin_epoch", "current", "differences", "epoch_of", "metadata", "migrate", "number_on", "part", "utc_text",
]
