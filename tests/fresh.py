"""Databases in which the tables of every room of the platform are laid already, for fixtures of any scope."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers

KINDS = ("sqlite", "postgresql")


@contextlib.contextmanager
def database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Yield the URL of a fresh database of the kind that is the parameter of the fixture, without a row."""
    if request.param == "sqlite":
        yield servers.sqlite_copy(folder / "platform.db", "platform", _lay)
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    with server.database(server.template("platform", _lay)) as url:
        yield url


def _lay(url: str) -> None:
    from rakiza import build
    from rakiza.store import migrate

    with tempfile.TemporaryDirectory() as home:
        platform = build({"hub": {"home": home}, "store": {"database_url": url}}, environ={})
        migrate(platform.store, platform.migrations())
        platform.store.close()
