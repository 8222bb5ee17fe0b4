"""Migrations: one chain for each room, run once, checked without Alembic."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from rakiza.store import MigrationError, Migrations, MigrationState, Store, current, differences, metadata, migrate

HEAD = '''"""Migrate."""
import sqlalchemy as sa
from alembic import op
from rakiza.store import BigKey, UtcDateTime
revision = "{revision}"
down_revision = {parent}
'''
FIRST = """
def upgrade() -> None:
    op.create_table(
        "site_project",
        sa.Column("id", BigKey, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime),
        sa.UniqueConstraint("name"),
    )
    op.create_table("site_item", sa.Column("id", BigKey, primary_key=True),
        sa.Column("project_id", BigKey, sa.ForeignKey("site_project.id", ondelete="CASCADE"), nullable=False))
    op.execute("insert into site_project (id, name) values (1, 'برج الواحة')")
    op.execute("insert into site_item (id, project_id) values (1, 1)")
"""
SECOND = """
def upgrade() -> None:
    with op.batch_alter_table("site_project") as batch:
        batch.drop_constraint("uq_site_project_name", type_="unique")
        batch.alter_column("name", existing_type=sa.Text(), nullable=True)
        batch.add_column(sa.Column("tenant_id", sa.Text, nullable=False, server_default="default"))
        batch.create_unique_constraint("uq_site_project_tenant_id_name", ["tenant_id", "name"])
"""
Room = Callable[..., Migrations]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Return a function that writes a package of migrations with the given bodies."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(*bodies: str, package: str = "site_migrations") -> Migrations:
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text('"""Migrations."""\n')
        for number, body in enumerate(bodies, 1):
            parent = repr(f"{number - 1:04}") if number > 1 else None
            (folder / f"{number:04}_step.py").write_text(HEAD.format(revision=f"{number:04}", parent=parent) + body)
        return Migrations(package, "site")

    return write


def test_a_new_database_gets_every_migration_and_a_second_start_none(store: Store, room: Room) -> None:
    rooms = [room(FIRST, SECOND)]
    assert migrate(store, rooms) == [MigrationState("site", None, "0002")]
    assert current(store, rooms) == [MigrationState("site", "0002", "0002")]
    assert not migrate(store, rooms)[0].behind
    with store.read() as tx:
        assert tx.scalar(sa.text("select name from site_project")) == "برج الواحة"


def test_a_rebuilt_table_keeps_the_rows_that_point_at_it(store: Store, room: Room) -> None:
    migrate(store, [room(FIRST)])
    assert migrate(store, [room(FIRST, SECOND)]) == [MigrationState("site", "0001", "0002")]
    with store.begin() as tx:
        assert tx.scalar(sa.text("select count(*) from site_item")) == 1
        tx.execute(sa.text("delete from site_project"))  # and the foreign key still holds
        assert tx.scalar(sa.text("select count(*) from site_item")) == 0


def test_a_failing_migration_leaves_the_old_version_and_tables(store: Store, room: Room) -> None:
    migrate(store, [room(FIRST)])
    broken = room(FIRST, SECOND + "    op.execute('insert into site_nowhere values (1)')\n")
    with pytest.raises(MigrationError, match="site failed and was undone"):
        migrate(store, [broken])
    assert current(store, [broken]) == [MigrationState("site", "0001", "0002")]
    with store.read() as tx:
        assert "tenant_id" not in {column["name"] for column in sa.inspect(tx.connection).get_columns("site_project")}
    migrate(store, [room(FIRST, SECOND)])
    assert not current(store, [room(FIRST, SECOND)])[0].behind


def test_a_migration_that_orphans_rows_is_undone(sqlite_url: str, room: Room) -> None:
    store = Store(sqlite_url)
    migrate(store, [room(FIRST)])
    with pytest.raises(MigrationError, match="points at a missing row of site_project"):
        migrate(store, [room(FIRST, "\ndef upgrade() -> None:\n    op.execute('delete from site_project')\n")])
    assert current(store, [room(FIRST)])[0].current == "0001"
    store.close()


def test_tables_newer_than_the_program_stop_it(store: Store, room: Room) -> None:
    migrate(store, [room(FIRST, SECOND)])
    older = room(FIRST, package="older_migrations")
    for look in (current, migrate):
        with pytest.raises(MigrationError, match="0002, newer than this program, which knows 0001") as caught:
            look(store, [older])
        assert "restore" in (caught.value.hint or "")


def test_rooms_have_versions_of_their_own_and_run_in_order(store: Store, room: Room) -> None:
    other = Migrations(room(FIRST.replace("site_", "other_"), package="other_migrations").package, "other")
    migrate(store, [room(FIRST)])
    assert migrate(store, [room(FIRST), other]) == [MigrationState("site", "0001", "0001"), MigrationState("other", None, "0001")]


def test_alembic_stays_out_when_nothing_is_behind(sqlite_url: str, room: Room, python_process: Callable[..., object], tmp_path: Path) -> None:
    rooms = [room(FIRST)]
    store = Store(sqlite_url)
    migrate(store, rooms)
    store.close()
    source = (
        "import sys; from rakiza.store import *\n"
        "migrate(Store(sys.argv[1]), [Migrations('site_migrations', 'site')])\n"
        "print('loaded', 'alembic' in sys.modules)"
    )
    lines = python_process(source, sqlite_url, env={"PYTHONPATH": str(tmp_path)}).finish()  # type: ignore[attr-defined]
    assert lines == ["loaded False"]
    assert sys.modules["alembic"]


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, "there are none"),
        ({"0001_a.py": "revision = '1'\n"}, "lacks"),
        ({"0001_a.py": "revision = '1'\ndown_revision = None\n", "0002_b.py": "revision = '2'\ndown_revision = None\n"}, "both follow"),
        ({"0001_a.py": "revision = '1'\ndown_revision = None\n", "0002_b.py": "revision = '3'\ndown_revision = '2'\n"}, "not one chain"),
    ],
)
def test_scripts_that_are_no_chain_are_named(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], text: str
) -> None:
    folder = tmp_path / "crooked"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, source in files.items():
        (folder / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MigrationError, match=text):
        current(Store(sqlite_url), [Migrations("crooked", "crooked")])
    with pytest.raises(MigrationError, match="no package nowhere_at_all"):
        current(Store(sqlite_url), [Migrations("nowhere_at_all", "x")])


def test_differences_between_migrations_and_tables_are_found(store: Store, room: Room) -> None:
    migrate(store, [room("\ndef upgrade() -> None:\n    op.create_table('site_project', sa.Column('id', BigKey, primary_key=True))\n")])
    tables = metadata()
    sa.Table("site_project", tables, sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True))
    assert differences(store, tables, "site") == []
    wrong = metadata()
    sa.Table("site_project", wrong, sa.Column("id", sa.Integer, primary_key=True), sa.Column("code", sa.Text))
    sa.Table("site_drawing", wrong, sa.Column("id", sa.Integer, primary_key=True))
    found = " ".join(differences(store, wrong, "site"))
    assert "code" in found
    assert "site_drawing" in found
    assert "account" not in found
