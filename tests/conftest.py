"""Fixtures for every test: fresh databases on real servers, a real Redis, Chromium, processes to kill."""

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

import laid
import object_stores
import patience
import servers

# A timing is never asserted, not even by a library: the machine may be busy. Each run looks at other examples, so few of them find much in time.
HOUSE = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("house", HOUSE, max_examples=25 * patience.ROUNDS)
hypothesis.settings.load_profile("house")

RUN = pytest.StashKey[servers.Run]()
OWN_SETTINGS = ("RAKIZA_", "NOUFAL_", "MONITORING_", "REDIS_", "LOG_", "BACKUP_", "OTEL_", "SENTRY_")
OWN_NAMES = frozenset(
    {"DATABASE_URL", "ENABLE_MONITORING", "USE_REDIS_CACHE", "MAX_BACKUPS", "ENABLE_BACKUP_SCHEDULER"}
    | {"JWT_SECRET", "CORS_ORIGINS", "APP_ENV", "OPS_API_KEY"}
)

MEMORY = Path("/dev/shm")  # noqa: S108 - every file of the run goes into a folder of its own there
ENOUGH_BYTES = 4 * 1024**3


def use_memory() -> None:
    """Keep temporary files in memory, where there is enough: no test asserts what a power cut would leave, and thousands wait for the disk."""
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_configure(config: pytest.Config) -> None:
    """Forget the settings of the caller's shell, which could name a real database; make the run's folder once."""
    use_memory()
    gc.disable()
    for name in [name for name in os.environ if name.startswith(OWN_SETTINGS) or name in OWN_NAMES]:
        del os.environ[name]
    if servers.FOLDER_VARIABLE not in os.environ:
        config.stash[RUN] = servers.Run()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, the browser and the crashes, so that no worker ends alone with it."""
    slow = ("ui", "faults")
    items.sort(key=lambda item: next((rank for rank, folder in enumerate(slow) if folder in item.path.parts), len(slow)))


def pytest_collection_finish() -> None:
    """Let the collector pass over what is there for the whole run: modules and thousands of tests, a sixth of the time of short tests."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop every server of the run."""
    if run := config.stash.get(RUN, None):
        run.close()


def without(reason: str) -> NoReturn:
    """Skip a test that needs a program this machine has not; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; CI must not skip", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no platform that another test of this process left running be the one at hand."""
    monkeypatch.setattr("rakiza._kernel.part._default", [])


@pytest.fixture(scope="session")
def kills() -> int:
    """Return how often backups and restores are killed, each on each database."""
    return 4 * patience.ROUNDS


@pytest.fixture(scope="session")
def postgres() -> servers.Postgres:
    """Return the run's PostgreSQL server, fast and not durable."""
    try:
        return servers.postgres()
    except servers.MissingBinaryError as exc:
        without(str(exc))


@pytest.fixture(scope="session")
def durable_postgres() -> servers.Postgres:
    """Return a server with fsync, for tests that crash a writer."""
    try:
        return servers.postgres(durable=True)
    except servers.MissingBinaryError as exc:
        without(str(exc))


@pytest.fixture
def postgres_url(postgres: servers.Postgres) -> Iterator[str]:
    """Yield the SQLAlchemy URL of a fresh, empty database."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def durable_postgres_url(durable_postgres: servers.Postgres) -> Iterator[str]:
    """Yield the URL of a fresh, empty database that keeps what it committed."""
    with durable_postgres.database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh, empty database; the test runs once for each kind."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def erp_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a fresh database with the tables of the ERP and no rows; the test runs once for each kind."""
    with laid.database(request, tmp_path, laid.every_room) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_erp_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of such a database for all tests of a module, which leave no trace in it or write under names of their own."""
    with laid.database(request, tmp_path_factory.mktemp("shared"), laid.every_room) as url:
        yield url


@pytest.fixture
def erp_file(tmp_path: Path) -> str:
    """Return the URL of a SQLite file with the tables of the ERP and no rows."""
    return laid.file(tmp_path / "test.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def rooms_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a fresh database with the tables of the platform's rooms and no rows; the test runs once for each kind."""
    with laid.database(request, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def _worker_redis() -> Iterator[servers.Redis]:
    """One server for each worker: channels, unlike databases, would be shared."""
    yield from _redis()


@pytest.fixture
def redis_url(_worker_redis: servers.Redis) -> str:
    """Return the URL of a real, empty Redis."""
    _worker_redis.flush()
    return _worker_redis.url


@pytest.fixture
def redis_server() -> Iterator[servers.Redis]:
    """Yield a Redis of the test's own, to freeze, kill and restart."""
    yield from _redis()


def _redis() -> Iterator[servers.Redis]:
    try:
        server = servers.start_redis()
    except servers.MissingBinaryError as exc:
        without(str(exc))
    yield server
    server.kill()


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> object_stores.Buckets:
    """Return the S3 server of this run, with its keys in the environment."""
    for name, value in object_stores.S3_KEYS.items():
        monkeypatch.setenv(name, value)
    return object_stores.Buckets(f"http://127.0.0.1:{object_stores.shared('moto', object_stores.start_s3)}")


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of a fresh, empty container on the Azure Blob server of this run, with its keys in the environment."""
    for name, value in object_stores.AZURE_KEYS.items():
        monkeypatch.setenv(name, value)
    try:
        return object_stores.container(f"http://127.0.0.1:{object_stores.shared('azurite', object_stores.start_azure)}")
    except servers.MissingBinaryError as exc:
        without(str(exc))


@pytest.fixture(params=["s3", "azure", "folder"])
def place_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of an empty place for objects; the test runs once for each kind."""
    if request.param == "folder":
        (tmp_path / "مكان آخر").mkdir()
        return (tmp_path / "مكان آخر").as_uri()
    if request.param == "azure":
        return str(request.getfixturevalue("container"))
    buckets: object_stores.Buckets = request.getfixturevalue("buckets")
    return buckets.url(buckets.make(), "مشاريع/نسخ")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Chromium."""
    try:
        return servers.chromium_binary()
    except servers.MissingBinaryError as exc:
        without(str(exc))


@pytest.fixture(scope="session")
def chromium_address(chromium: str) -> Iterator[str]:
    """Yield the address of one Chromium for every test of this worker."""
    import browsing

    started = browsing.Chromium(chromium)
    yield started.address
    started.close()


@pytest.fixture(scope="session")
def jq() -> str:
    """Return the path of jq."""
    return _program("jq", "jq")


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return the path of promtool."""
    return _program("promtool", "prometheus")


@pytest.fixture(scope="session")
def pgbackrest() -> str:
    """Return the path of pgBackRest."""
    return _program("pgbackrest", "pgbackrest")


def _program(name: str, package: str) -> str:
    try:
        return servers.binary(name, package)
    except servers.MissingBinaryError as exc:
        without(str(exc))


@pytest.fixture
def python_process() -> Iterator[Callable[..., servers.Child]]:
    """Return a function that starts Python source in a process; what still runs at the end of the test is killed."""
    children: list[servers.Child] = []

    def start(source: str, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> servers.Child:
        children.append(servers.Child(source, *arguments, env=env, cwd=cwd))
        return children[-1]

    yield start
    for child in children:
        child.close()


@pytest.fixture
def kill9() -> Callable[..., list[str]]:
    """Return `kill9(source, until, *arguments, env=, cwd=)`: run, wait for a line that holds `until`, kill -9, return the lines."""
    return servers.kill9
