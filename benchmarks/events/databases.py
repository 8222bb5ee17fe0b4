"""Throw-away databases on one disk: a PostgreSQL cluster with fsync, started like that of the tests, and files."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "tests"))

import servers


class Databases:
    """Make fresh databases, and forget them."""

    def __init__(self, folder: Path, server: servers.Postgres | None) -> None:
        """Use a folder for files and the server for the rest."""
        self._folder, self._server = folder, server

    def make(self, kind: str) -> str:
        """Return the URL of a new PostgreSQL database or the path of a new SQLite file."""
        name = f"b{uuid4().hex[:12]}"
        if kind == "sqlite":
            return str(self._folder / f"{name}.db")
        self._admin(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self._socket}"

    def forget(self, target: str) -> None:
        """Remove a database."""
        if target.startswith("postgresql:"):
            self._admin(f"DROP DATABASE {target.partition('@/')[2].partition('?')[0]} WITH (FORCE)")
        else:
            for file in self._folder.glob(f"{Path(target).name}*"):
                file.unlink()

    def settle(self) -> None:
        """Write out what earlier measurements left, so that none pays for another."""
        if self._server is not None:
            self._admin("CHECKPOINT")
        os.sync()

    def version(self) -> str:
        """Return the version of the server."""
        with psycopg.connect(host=self._socket, user="postgres", dbname="postgres") as admin:
            return str(admin.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]

    @property
    def _socket(self) -> str:
        if self._server is None:
            raise RuntimeError("no server was started")
        return self._server.socket_folder

    def _admin(self, statement: str) -> None:
        with psycopg.connect(host=self._socket, user="postgres", dbname="postgres", autocommit=True) as admin:
            admin.execute(statement.encode())


@contextmanager
def databases(*, server: bool) -> Iterator[Databases]:
    """Start what is needed and throw it away at the end."""
    run = servers.Run()
    try:
        yield Databases(run.folder, servers.postgres(durable=True) if server else None)
    finally:
        run.close()
