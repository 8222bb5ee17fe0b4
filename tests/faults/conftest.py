"""A job queue on durable databases, workers in processes that may be killed, and a log whose tables are laid."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import jobs_faults
import servers
import trails
from jobs_faults import Journal, Nursery, Workers, build, migrated
from rakiza.jobs import Jobs


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a migrated database that keeps what it committed; once for each kind."""
    if request.param == "sqlite":
        yield servers.sqlite_copy(tmp_path / "jobs.db", "jobs", migrated)
        return
    server: servers.Postgres = request.getfixturevalue("durable_postgres")
    with server.database(server.template("jobs-durable", migrated)) as url:
        yield url


@pytest.fixture
def plain_jobs_url(postgres: servers.Postgres) -> Iterator[str]:
    """Yield the URL of a migrated database on the server that is not durable."""
    with postgres.database(postgres.template("jobs", migrated)) as url:
        yield url


@pytest.fixture
def log_postgres_url(postgres: servers.Postgres) -> Iterator[str]:
    """Yield the URL of a fresh PostgreSQL database with the tables of the log."""
    with postgres.database(postgres.template("trail", trails.lay)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a fresh database with the tables of the log; the test runs once for each kind."""
    if request.param == "sqlite":
        return servers.sqlite_copy(tmp_path / "test.db", "trail", trails.lay)
    return str(request.getfixturevalue("log_postgres_url"))


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Yield the process that forks workers."""
    with jobs_faults.nursery() as made:
        yield made


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Return the file to which handlers write what they do."""
    return Journal(tmp_path / "يومية")


@pytest.fixture
def workers(nursery: Nursery, jobs_url: str, journal: Journal) -> Iterator[Workers]:
    """Yield what starts and kills workers; none is left at the end."""
    made = Workers(nursery, jobs_url, journal.path)
    yield made
    made.close()


@pytest.fixture
def jobs(jobs_url: str, journal: Journal) -> Iterator[Jobs]:
    """Yield a queue that does not work by itself."""
    made = build(jobs_url, journal.path)
    yield made
    made.close()
    made.store.close()
