"""The tables of the log, laid once for the whole run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import trails
from rakiza.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a fresh database with the tables of the log and no rows; the test runs once for each kind."""
    with trails.laid(request, tmp_path, "trail", trails.lay) as url:
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """Yield it opened."""
    opened = Store(database_url)
    yield opened
    opened.close()
