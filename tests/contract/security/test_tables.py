"""The migrations give the tables the code is written against."""

from rakiza.security import MIGRATIONS, Security
from rakiza.security.tables import METADATA
from rakiza.store import Store, migrate
from rakiza.store.migrate import differences


def test_migrated_tables_are_the_declared_ones_and_serve(database_url: str) -> None:
    store = Store(database_url)
    migrate(store, [MIGRATIONS])
    assert differences(store, METADATA, MIGRATIONS.prefix) == []
    security = Security(store)
    security.create_user("sara@example.com", "سارة", password="سبعة جمال تعبر الوادي")
    assert security.sign_in("sara@example.com", "سبعة جمال تعبر الوادي")
    security.close()
    migrate(store, [MIGRATIONS])
    assert security.users_exist()
    store.close()


def test_every_table_and_unique_key_begins_with_the_tenant() -> None:
    import sqlalchemy as sa

    for table in METADATA.tables.values():
        assert not table.c.tenant_id.nullable
        uniques = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
        assert all(next(iter(each.columns)).name == "tenant_id" for each in uniques)
