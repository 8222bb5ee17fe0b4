"""Databases with every table and no rows, copied instead of migrated: half of what a start costs."""

import tempfile
from pathlib import Path

import servers


def every_room(url: str) -> None:
    """Lay the tables of the ERP and of every room under it."""
    from noufal.app import create_platform
    from rakiza.store import migrate

    with tempfile.TemporaryDirectory() as home:
        platform = create_platform({"noufal": {"home": Path(home)}, "store": {"database_url": url}}, environ={})
        migrate(platform.store, platform.migrations())
        platform.store.close()


def file(path: Path) -> str:
    """Make a SQLite file with every table at `path` and return its URL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return servers.sqlite_copy(path, "erp", every_room)


def home(folder: Path, name: str = "site") -> Path:
    """Put such a file where a platform of this name and home has its database, unless there is one; return the folder."""
    if not (folder / f"{name}.db").exists():
        file(folder / f"{name}.db")
    return folder
