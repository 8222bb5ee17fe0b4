"""A job queue over a fresh, migrated database of each kind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import servers
from rakiza.jobs import Jobs, JobSettings, Registry
from rakiza.store import Store, migrate
from rakiza.testing import FrozenClock


def migrated(url: str) -> None:
    store = Store(url)
    migrate(store, [Jobs.migrations])
    store.close()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path / "jobs.db", "jobs", migrated)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("jobs", migrated)) as url:
        yield url


@pytest.fixture
def store(jobs_url: str) -> Iterator[Store]:
    made = Store(jobs_url)
    yield made
    made.close()


@pytest.fixture
def settings() -> JobSettings:
    return JobSettings(poll_seconds=0.05, backoff_seconds=8.0, grace_seconds=5.0, lease_seconds=600.0)


@pytest.fixture
def jobs(store: Store, clock: FrozenClock, settings: JobSettings) -> Iterator[Jobs]:
    made = Jobs(store, settings=settings, clock=clock, registry=Registry())
    yield made
    made.close()


@pytest.fixture
def live(store: Store, settings: JobSettings) -> Iterator[Jobs]:
    """A queue that goes by the clock of the machine."""
    made = Jobs(store, settings=settings, registry=Registry())
    yield made
    made.close()


@pytest.fixture
def column(store: Store) -> Callable[..., list[Any]]:
    """Return the values of one column of the jobs in order of their ids."""

    def read(name: str, table: str = "job", order: str = "id") -> list[Any]:
        with store.read() as tx:
            return [row[0] for row in tx.execute(sa.text(f"select {name} from rakiza_jobs_{table} order by {order}"))]

    return read
