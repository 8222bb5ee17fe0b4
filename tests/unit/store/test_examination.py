"""What the doctor says of a database: settings that lose data, room, age, versions."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from rakiza._kernel import SYSTEM_CLOCK, Finding
from rakiza.store import Store, _examination
from rakiza.store._examination import examine, reset_is_safe, server_findings

WELL: dict[str, Any] = {
    "server": "17.6", "major": 17, "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "timezone": "UTC",
    "places": 97, "taken": 12, "age": 150_000_000, "standby": False,
}  # fmt: skip
TODAY = date(2026, 11, 27)


def looked(url: str, *, deep: bool = False, **settings: object) -> dict[str, Finding]:
    store = Store(url, **settings)
    try:
        return {one.name: one for one in examine(store, SYSTEM_CLOCK, deep)}
    finally:
        store.close()


def wrong(**facts: object) -> dict[str, str]:
    return {one.name.removeprefix("postgresql_"): one.status for one in server_findings(WELL | facts, 10, TODAY) if one.status != "ok"}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, {}),
        ({"fsync": "off"}, {"durability": "fail"}),
        ({"full_page_writes": "off"}, {"durability": "fail"}),
        ({"synchronous_commit": "off"}, {"durability": "fail"}),
        ({"taken": 88}, {"connections": "warn"}),
        ({"timezone": "Asia/Riyadh"}, {"timezone": "warn"}),
        ({"age": 1_000_000_001}, {"wraparound": "warn"}),
        ({"age": 1_600_000_001}, {"wraparound": "fail"}),
        ({"server": "13.22", "major": 13}, {"version": "warn"}),
        ({"server": "14.20", "major": 14}, {"version": "warn"}),
    ],
)
def test_a_server(facts: dict[str, object], expected: dict[str, str]) -> None:
    assert wrong(**facts) == expected


@pytest.mark.parametrize(
    ("version", "safe"),
    [((3, 40, 1), False), ((3, 44, 6), True), ((3, 45, 0), False), ((3, 50, 6), False), ((3, 50, 7), True), ((3, 51, 2), False), ((3, 51, 3), True),
     ((3, 53, 0), True)],
)  # fmt: skip
def test_versions_of_sqlite_that_reset_the_log_well(version: tuple[int, ...], safe: bool) -> None:
    assert reset_is_safe(version) is safe


def test_a_file_that_is_well_and_one_that_is_not(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    well = looked(sqlite_url, deep=True)
    assert {one.status for name, one in well.items() if name != "sqlite_version"} == {"ok"}
    assert "sqlite_pages" not in looked(sqlite_url)
    monkeypatch.setattr(_examination, "network_file_system", lambda _: "nfs4")
    monkeypatch.setattr(_examination.shutil, "disk_usage", lambda _: SimpleNamespace(free=1024))
    bad = looked(sqlite_url, telemetry=True)
    assert [bad[name].status for name in ("sqlite_place", "sqlite_synchronous", "sqlite_room")] == ["fail", "fail", "warn"]
    assert "nfs4" in bad["sqlite_place"].seen
    assert all(one.mend for one in bad.values() if one.status != "ok")


def test_a_damaged_page_is_found_when_every_page_is_read(tmp_path: Path) -> None:
    path = tmp_path / "مشاريع.db"
    store = Store(f"sqlite:///{path}")
    with store.begin() as tx:
        tx.execute(sa.text("create table line (id integer primary key, said text)"))
        tx.execute(sa.text("insert into line (said) values (:said)"), [{"said": "سطر" * 300} for _ in range(200)])
    with store.raw_connection() as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 3 * 4096)
        file.write(b"\xff" * 4096)
    assert looked(f"sqlite:///{path}", deep=True)["sqlite_pages"].status == "fail"


def test_a_real_server(postgres_url: str) -> None:
    quick = looked(postgres_url)
    assert (quick["postgresql_durability"].status, quick["postgresql_version"].status) == ("fail", "ok")
    assert "fsync" in quick["postgresql_durability"].seen
    store = Store(postgres_url)
    with store.raw_connection() as connection:
        connection.execute(f"alter database {sa.engine.make_url(postgres_url).database} set timezone to 'Asia/Riyadh'")
    store.close()
    narrow = looked(postgres_url, pool_size=500)
    assert [narrow[name].status for name in ("postgresql_timezone", "postgresql_connections")] == ["warn", "warn"]


def test_a_slot_nobody_reads(durable_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(durable_postgres_url)["postgresql_durability"].status == "ok"
    monkeypatch.setattr(_examination, "HELD_BYTES", -1)
    store = Store(durable_postgres_url)
    with store.raw_connection() as connection:
        connection.execute("select pg_create_physical_replication_slot('left_behind', true)")
        try:
            seen = looked(durable_postgres_url)["postgresql_slots"]
        finally:
            connection.execute("select pg_drop_replication_slot('left_behind')")
    store.close()
    assert (seen.status, "left_behind" in seen.mend) == ("fail", True)
