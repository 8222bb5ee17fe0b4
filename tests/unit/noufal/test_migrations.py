"""The ERP's tables are those the code is written against, and a database of an earlier version comes along whole."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import noufal.migrations
from noufal.boq.tables import bill_import, item, section
from noufal.membership.tables import member
from noufal.projects.tables import project
from noufal.tables import metadata
from rakiza.store import Migrations, MigrationState, Store, differences, migrate

NOW = Migrations("noufal.migrations", "noufal")
FIRST_IMPORT = datetime(2026, 9, 19, 9, 0, tzinfo=UTC)
SECOND_IMPORT, EDIT = FIRST_IMPORT + timedelta(days=7), FIRST_IMPORT + timedelta(days=9)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    one = Store(database_url)
    yield one
    one.close()


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Migrations:
    """Return the migrations there were before the history."""
    folder = tmp_path / "migrations_before"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Migrations."""\n')
    shutil.copy(Path(noufal.migrations.__file__).parent / "0001_projects_and_bills.py", folder)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Migrations("migrations_before", "noufal")


def line(project_id: int, code: str, version: int, at: datetime) -> dict[str, object]:
    numbers = {"quantity": 1, "unit_price": 1, "amount": 1, "progress": 0, "earned": 0, "rate_only": False}
    texts = {"description": f"بند {code}", "unit": "م²", "search": code}
    return {"project_id": project_id, "section_id": project_id, "position": 1, "code": code, "version": version, "updated_at": at, **numbers, **texts}


def fill(store: Store) -> None:
    """Write two bills as the earlier version did: the first imported twice, the second once."""
    old_item = sa.table(item.name, *[sa.column(column.name, column.type) for column in item.c if column.name != "import_id"])
    old_import = sa.table(bill_import.name, *[sa.column(column.name, column.type) for column in bill_import.c if column.name != "user_id"])
    brought = {"sha256": "", "items": 1, "net": 1, "imported_by": "سعاد"}
    with store.begin() as tx:
        tx.execute(section.insert(), [{"project_id": number, "position": 1, "title": "أعمال"} for number in (1, 2)])
        for project_id, file, at in ((1, "أولى.xlsx", FIRST_IMPORT), (1, "ثانية.xlsx", SECOND_IMPORT), (2, "وحيدة.xlsx", FIRST_IMPORT)):
            tx.execute(old_import.insert().values(project_id=project_id, file_name=file, imported_at=at, **brought))
        for one in (
            line(1, "أ-1", 1, FIRST_IMPORT),
            line(1, "أ-2", 1, SECOND_IMPORT),
            line(1, "أ-3", 2, EDIT),
            line(2, "ب-1", 1, FIRST_IMPORT),
            line(2, "ب-2", 4, EDIT),
        ):
            tx.execute(old_item.insert().values(one))


def test_migrated_tables_are_the_declared_ones(store: Store) -> None:
    migrate(store, [NOW])
    assert {project.name, member.name} <= metadata.tables.keys()
    assert differences(store, metadata, NOW.prefix) == []


def test_lines_of_an_earlier_version_learn_the_import_that_brought_them(store: Store, before: Migrations) -> None:
    migrate(store, [before])
    fill(store)
    assert migrate(store, [NOW]) == [MigrationState("noufal", "0001", "0003")]
    assert differences(store, metadata, NOW.prefix) == []
    query = sa.select(item.c.code, bill_import.c.file_name).select_from(item.outerjoin(bill_import, bill_import.c.id == item.c.import_id))
    with store.read() as tx:
        found = {row.code: row.file_name for row in tx.execute(query)}
        assert tx.execute(sa.select(bill_import.c.user_id)).scalars().all() == [None] * 3
    # what was edited before its history was kept, in a bill imported twice, could have come with either
    assert found == {"أ-1": "أولى.xlsx", "أ-2": "ثانية.xlsx", "أ-3": None, "ب-1": "وحيدة.xlsx", "ب-2": "وحيدة.xlsx"}


def test_ids_go_on_where_they_were_and_never_come_back(store: Store, before: Migrations) -> None:
    migrate(store, [before])
    fill(store)
    with store.read() as tx:
        last = tx.scalar(sa.select(sa.func.max(item.c.id)))
    migrate(store, [NOW])
    made: list[int] = []
    for number in range(3):
        with store.begin() as tx:
            made.append(tx.execute(item.insert().values(line(1, f"ج-{number}", 1, EDIT)).returning(item.c.id)).scalar_one())
        with store.begin() as tx:
            tx.execute(item.delete().where(item.c.id == made[-1]))
    assert made == [last + 1, last + 2, last + 3]


def rules(url: str) -> dict[str, object]:
    """Return indexes, unique constraints and foreign keys of the lines, as a connection that was not there before sees them."""
    fresh = Store(url)
    with fresh.read() as tx:
        told = sa.inspect(tx.connection)
        found = {
            "indexes": sorted((one["name"], tuple(one["column_names"])) for one in told.get_indexes(item.name)),
            "unique": [one["column_names"] for one in told.get_unique_constraints(item.name)],
            "foreign": [(one["constrained_columns"], one["referred_table"]) for one in told.get_foreign_keys(item.name)],
            "key": told.get_pk_constraint(item.name)["constrained_columns"],
        }
    fresh.close()
    return found


def test_the_copied_table_keeps_its_rules(store: Store, database_url: str, before: Migrations) -> None:
    migrate(store, [before])
    fill(store)
    was = rules(database_url)
    migrate(store, [NOW])
    assert rules(database_url) == was
    assert all(was.values())
    for broken in (line(1, "أ-1", 1, EDIT), {**line(1, "د-1", 1, EDIT), "section_id": 99}):
        with pytest.raises(sa.exc.IntegrityError), store.begin() as tx:
            tx.execute(item.insert().values(broken))
