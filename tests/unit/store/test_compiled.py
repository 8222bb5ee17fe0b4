"""Statements compiled once, and the column types they carry."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from rakiza.store import Store, UtcDateTime, as_utc, utc_text

OPENED = datetime(2026, 11, 23, 20, 5, 1, 250, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=st.timezones())  # noqa: DTZ001 - hypothesis adds the zone


def test_the_raw_path_returns_what_the_usual_one_does(store: Store, account: sa.Table) -> None:
    insert = store.compile(account.insert(), "name", "halalas", "opened_at")
    by_name = store.compile(sa.select(account.c.id, account.c.halalas, account.c.opened_at).where(account.c.name == sa.bindparam("name")))
    with store.begin() as tx:
        assert tx.run(insert, name="المورّد", halalas=2**40, opened_at=OPENED) == 1
        assert tx.rows(insert, name="ثان", halalas=1, opened_at=None) == []
    with store.read() as tx:
        (key, halalas, opened), *more = tx.rows(by_name, name="المورّد")
        usual = tx.execute(sa.select(account.c.id, account.c.halalas, account.c.opened_at).where(account.c.name == "المورّد")).one()
        assert (key, halalas, as_utc(opened)) == tuple(usual)
        assert as_utc(opened) == OPENED
        assert not more
        assert tx.row(by_name, name="nobody") is None


def test_values_written_into_the_statement_and_in_lists_are_kept(store: Store, account: sa.Table) -> None:
    with store.begin() as tx:
        tx.execute(account.insert(), [{"name": f"حساب {n}", "halalas": n, "opened_at": OPENED + timedelta(days=n)} for n in range(6)])
    query = store.compile(
        sa.select(account.c.halalas)
        .where(account.c.halalas.in_([1, 2, 4, 5]), account.c.halalas != 2, account.c.opened_at <= sa.bindparam("until"))
        .order_by(account.c.halalas)
        .limit(5)
    )
    with store.read() as tx:
        assert tx.rows(query, until=OPENED + timedelta(days=4)) == [(1,), (4,)]


def test_a_statement_is_compiled_once(store: Store, account: sa.Table) -> None:
    statement = sa.select(account.c.id)
    assert store.compile(statement) is store.compile(statement)


def test_an_open_in_list_and_wrong_names_are_refused(store: Store, account: sa.Table) -> None:
    with pytest.raises(ValueError, match="IN list"):
        store.compile(sa.select(account).where(account.c.id.in_(sa.bindparam("ids", expanding=True))))
    query = store.compile(sa.select(account.c.id).where(account.c.name == sa.bindparam("name")))
    with store.read() as tx:
        with pytest.raises(ValueError, match="needs the parameter 'name'"):
            tx.rows(query)
        with pytest.raises(ValueError, match="nmae"):
            tx.rows(query, name="x", nmae="y")


def test_returning_rows_of_a_change(store: Store, account: sa.Table) -> None:
    insert = store.compile(account.insert().returning(account.c.id, account.c.name), "name")
    with store.begin() as tx:
        assert tx.row(insert, name="فاتورة") == (1, "فاتورة")


@given(MOMENTS)
def test_a_moment_survives_the_text_of_sqlite(moment: datetime) -> None:
    text = utc_text(moment)
    assert len(text) == 27
    assert as_utc(text) == moment.astimezone(UTC)


@given(MOMENTS, MOMENTS)
def test_the_texts_sort_as_the_moments_do(one: datetime, two: datetime) -> None:
    assert (utc_text(one) < utc_text(two)) == (one.astimezone(UTC) < two.astimezone(UTC))


def test_a_moment_survives_the_database(store: Store, account: sa.Table) -> None:
    riyadh = datetime(2026, 3, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=3)))
    with store.begin() as tx:
        tx.execute(account.insert().values(name="الرياض", opened_at=riyadh))
        held = tx.scalar(sa.select(account.c.opened_at))
        assert tx.scalar(sa.select(sa.func.count()).where(account.c.opened_at <= riyadh)) == 1
    assert held == riyadh
    assert held.tzinfo is UTC


def test_a_time_without_zone_is_refused(store: Store, account: sa.Table) -> None:
    with pytest.raises(sa.exc.StatementError, match="time zone"), store.begin() as tx:
        tx.execute(account.insert().values(name="x", opened_at=datetime(2026, 1, 1)))  # noqa: DTZ001 - the mistake under test


def test_the_column_type_of_each_engine() -> None:
    assert UtcDateTime().compile(sqlite.dialect()) == "VARCHAR(27)"
    assert UtcDateTime().compile(postgresql.dialect()) == "TIMESTAMP WITH TIME ZONE"
