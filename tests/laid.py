"""Databases with every table and no rows, copied instead of migrated: half of what a start costs."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import servers
from rakiza import Platform


def every_room(url: str) -> None:
    """Lay the tables of the ERP and of every room under it."""
    from noufal.app import create_platform

    with tempfile.TemporaryDirectory() as folder:
        _lay(create_platform({"noufal": {"home": Path(folder)}, "store": {"database_url": url}}, environ={}))


def platform_rooms(url: str) -> None:
    """Lay the tables of the platform's rooms alone."""
    from rakiza import build

    with tempfile.TemporaryDirectory() as folder:
        _lay(build({"hub": {"home": folder}, "store": {"database_url": url}}, environ={}))


def _lay(platform: Platform) -> None:
    from rakiza.store import migrate

    migrate(platform.store, platform.migrations())
    platform.store.close()
    platform.ctx.local.close()


@contextlib.contextmanager
def database(request: pytest.FixtureRequest, folder: Path, lay: Callable[[str], None] = platform_rooms) -> Iterator[str]:
    """Yield the URL of a fresh database of the kind that is the parameter of the fixture, `sqlite` or `postgresql`, of any scope."""
    if request.param == "sqlite":
        yield servers.sqlite_copy(folder / "test.db", lay.__name__, lay)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template(lay.__name__, lay)) as url:
        yield url


def file(path: Path) -> str:
    """Make a SQLite file with every table at `path` and return its URL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return servers.sqlite_copy(path, every_room.__name__, every_room)


def home(folder: Path, name: str = "site") -> Path:
    """Put such a file where a platform of this name and home has its database, unless there is one; return the folder."""
    if not (folder / f"{name}.db").exists():
        file(folder / f"{name}.db")
    return folder
