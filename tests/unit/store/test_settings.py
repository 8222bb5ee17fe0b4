"""Addresses, pragmas, session settings, the part."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from rakiza._kernel import CheckResult, Context, SettingsReader
from rakiza.store import Store, StoreError, StoreSettings, part


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgres://nora:secret@db/noufal", "postgresql+psycopg://nora:***@db/noufal"),
        ("postgresql://nora:secret@db:5433/noufal?sslmode=require", "postgresql+psycopg://nora:***@db:5433/noufal?sslmode=require"),
        ("sqlite:////srv/noufal.db", "sqlite:////srv/noufal.db"),
        ("var/نوفل.db", "sqlite:///var/نوفل.db"),
    ],
)
def test_addresses_are_understood_and_shown_without_the_password(given: str, shown: str) -> None:
    assert Store(given).url == shown


@pytest.mark.parametrize("wrong", ["sqlite://", "sqlite:///:memory:", ":memory:", "mysql://db/x", "sqlite:////a.db?mode=ro", "://"])
def test_addresses_that_cannot_work_are_refused_at_once(wrong: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store(wrong)
    assert caught.value.stable_code == "store_address"
    assert caught.value.hint


@pytest.mark.parametrize("telemetry", [False, True])
def test_every_pragma_is_on_for_writer_readers_and_raw_connections(sqlite_url: str, telemetry: bool) -> None:
    store = Store(sqlite_url, telemetry=telemetry)
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "mmap_size", "query_only")

    def of(driver: object) -> list[object]:
        return [driver.execute(f"pragma {name}").fetchone()[0] for name in names]  # type: ignore[attr-defined]

    synchronous = 1 if telemetry else 2
    with store.begin() as tx:
        assert of(tx.driver_connection) == ["wal", synchronous, 1, 10_000, 256 * 2**20, 0]
    with store.read() as tx:
        assert of(tx.driver_connection) == ["wal", synchronous, 1, 10_000, 256 * 2**20, 1]
    with store.raw_connection() as driver:
        assert of(driver) == ["wal", synchronous, 1, 10_000, 256 * 2**20, 0]
    store.close()


def test_postgresql_sessions_have_limits_a_name_and_utc(postgres_url: str) -> None:
    store = Store(postgres_url, application="noufal", statement_timeout_seconds=7, idle_transaction_timeout_seconds=9)
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "application_name", "TimeZone", "transaction_read_only")

    def of(driver: object) -> list[str]:
        return [driver.execute(f"show {name}").fetchone()[0] for name in names]  # type: ignore[attr-defined]

    for _ in range(2):  # the second round uses the same connection again
        with store.begin() as tx:
            assert of(tx.driver_connection) == ["7s", "9s", "noufal", "UTC", "off"]
        with store.read() as tx:
            assert of(tx.driver_connection) == ["7s", "9s", "noufal", "UTC", "on"]
    store.close()


def test_foreign_keys_hold(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    with pytest.raises(sa.exc.IntegrityError), store.begin() as tx:
        tx.execute(sa.text("create table a (id integer primary key)"))
        tx.execute(sa.text("create table b (a integer references a)"))
        tx.execute(sa.text("insert into b values (1)"))
    store.close()


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="pool_size must be above 0"):
        StoreSettings(pool_size=0)
    with pytest.raises(ValueError, match="busy_timeout_seconds"):
        StoreSettings(busy_timeout_seconds=0)


def test_the_part_starts_checks_and_stops(tmp_path: Path) -> None:
    built = part(StoreSettings(), Context("noufal", SettingsReader(environ={}, dotenv={}), home=tmp_path / "var"))
    assert (built.name, built.needs, [check.name for check in built.checks], built.checks[0].required) == ("store", (), ["database"], True)
    assert built.start
    assert built.stop
    built.start()
    result = built.checks[0].fn()
    assert isinstance(result, CheckResult)
    assert (result.status, result.unit) == ("pass", "ms")
    built.stop()
    assert (tmp_path / "var" / "noufal.db").is_file()


def test_the_part_takes_the_address_of_the_settings(database_url: str) -> None:
    built = part(StoreSettings(database_url=database_url), Context("noufal", SettingsReader(environ={}, dotenv={})))
    assert built.start
    assert built.stop
    built.start()
    asyncio.run(asyncio.to_thread(built.checks[0].fn))  # type: ignore[arg-type]
    built.stop()
