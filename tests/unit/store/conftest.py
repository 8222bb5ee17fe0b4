"""A store on each engine with one table of accounts."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from rakiza.store import BigKey, Store, UtcDateTime, metadata

TABLES = metadata()
ACCOUNT = sa.Table(
    "account",
    TABLES,
    sa.Column("id", BigKey, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("halalas", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("opened_at", UtcDateTime),
)


@pytest.fixture
def account() -> sa.Table:
    """Return the table the store of the test has."""
    return ACCOUNT


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """Yield a store whose one table is empty."""
    opened = Store(database_url, pool_timeout_seconds=5.0)
    with opened.begin() as tx:
        TABLES.create_all(tx.connection)
    yield opened
    opened.close()


@pytest.fixture
def impatient(store: Store, database_url: str) -> Iterator[Store]:
    """Yield a second store on the same database that waits only a moment."""
    opened = Store(database_url, pool_timeout_seconds=0.1, busy_timeout_seconds=0.1, pool_size=1)
    yield opened
    opened.close()
