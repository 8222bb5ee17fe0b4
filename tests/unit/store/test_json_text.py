"""JSON comes back as the very text it was written as."""

import pytest
import sqlalchemy as sa

from rakiza.store import BigKey, JsonText, Store, metadata

TABLES = metadata()
NOTE = sa.Table("note", TABLES, sa.Column("id", BigKey, primary_key=True), sa.Column("body", JsonText))
TEXT = '{"ب": "فيلا  النرجس",  "a": 1.50, "a": 2}'


@pytest.fixture
def filled(store: Store) -> Store:
    with store.begin() as tx:
        TABLES.create_all(tx.connection)
        tx.execute(NOTE.insert().values(body=TEXT))
        tx.execute(sa.update(NOTE).where(NOTE.c.body.is_(None)).values(body=TEXT))
        tx.execute(NOTE.insert().values(body=None))
    return store


def test_it_is_read_as_it_was_written(filled: Store) -> None:
    with filled.read() as tx:
        assert list(tx.execute(sa.select(NOTE.c.body).order_by(NOTE.c.id)).scalars()) == [TEXT, None]
        assert tx.rows(filled.compile(sa.select(NOTE.c.body).order_by(NOTE.c.id))) == [(TEXT,), (None,)]
        assert tx.execute(sa.select(NOTE)).mappings().first() == {"id": 1, "body": TEXT}


def test_the_database_sees_an_object_not_a_text(filled: Store) -> None:
    kind = "json_type(body)" if filled.dialect == "sqlite" else "json_typeof(body)"
    with filled.read() as tx:
        assert tx.scalar(sa.text(f"select {kind} from note where id = 1")) == "object"
