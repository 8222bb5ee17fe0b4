"""Throw-away stores: databases on one disk with fsync, and a Redis whose append-only file is synchronised every second."""

from __future__ import annotations

import re
import socket
import subprocess
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.events import databases
from benchmarks.events.databases import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

REDIS_DATABASES = 16


class Places:
    """Make fresh stores of every kind, and forget them."""

    def __init__(self, made: databases.Databases, redis: servers.Redis | None, folder: Path) -> None:
        """Use what was started."""
        self._databases, self._redis, self._folder, self._numbers = made, redis, folder, count()

    def make(self, kind: str) -> str:
        """Return the address of an empty store: `sqlite`, `postgresql` or `redis`."""
        if kind != "redis":
            return self._databases.make(kind)
        if self._redis is None:
            raise RuntimeError("no redis-server was started")
        return f"redis://127.0.0.1:{self._redis.port}/{next(self._numbers) % REDIS_DATABASES}"

    def forget(self, url: str) -> None:
        """Remove a store."""
        if url.startswith("redis:") and self._redis is not None:
            _ask(self._redis.port, f"SELECT {url.rpartition('/')[2]}", "FLUSHDB")
        else:
            self._databases.forget(url)

    def settle(self) -> None:
        """Write out what earlier measurements left."""
        self._databases.settle()

    def file(self, name: str) -> Path:
        """Return the path of a new file."""
        return self._folder / f"{name}{next(self._numbers)}"

    def versions(self, kinds: set[str]) -> dict[str, str]:
        """Return the versions of the servers that were started."""
        found = {"PostgreSQL": self._databases.version()} if "postgresql" in kinds else {}
        if "redis" in kinds:
            said = subprocess.run([servers.binary("redis-server", "redis-server"), "--version"], capture_output=True, text=True, check=True).stdout
            found["Redis"] = re.findall(r"v=(\S+)", said)[0]
        return found


def _ask(port: int, *commands: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, connection.makefile("rb") as answers:
        for command in commands:
            connection.sendall(command.encode() + b"\r\n")
            if (answer := answers.readline()) != b"+OK\r\n":
                raise RuntimeError(f"redis-server answered {answer!r} to {command}")


@contextmanager
def places(kinds: set[str]) -> Iterator[Places]:
    """Start what is needed and throw it away at the end."""
    with databases.databases(server="postgresql" in kinds) as made:
        redis = servers.start_redis() if "redis" in kinds else None
        if redis is not None:
            _ask(redis.port, "CONFIG SET appendfsync everysec", "CONFIG SET appendonly yes")
        yield Places(made, redis, servers.run_folder())
