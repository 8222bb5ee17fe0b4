"""A filled database of each kind, and what backs it up."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import servers
from backup_faults import PAIRS, asides, drop_left, fill, manager
from rakiza.backup import DatabaseBackup
from rakiza.testing import FrozenClock


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a filled database; no test may leave one aside."""
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path / "مشروع.db", "backup", fill)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("backup", fill)) as made:
        yield made
        left = asides(made)
        drop_left(made)
        assert left == []


@pytest.fixture(params=[0, 1], ids=lambda number: f"format {number}")
def form(request: pytest.FixtureRequest, url: str) -> tuple[bool, bool]:
    """Return a format of backups, text or not and compressed or not: on each database one for each half of the choices."""
    return PAIRS["sqlite" if url.startswith("sqlite") else "postgresql"][request.param]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "نسخ احتياطية"


@pytest.fixture
def made(url: str, folder: Path, clock: FrozenClock) -> Callable[..., DatabaseBackup]:
    """Return a function that makes what backs the database up."""
    return lambda **settings: manager(url, folder, clock=clock, **settings)


@pytest.fixture
def backup(made: Callable[..., Any]) -> DatabaseBackup:
    found: DatabaseBackup = made()
    return found
