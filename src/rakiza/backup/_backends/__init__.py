"""One file per database: how it is copied, how a copy is looked at, and how one takes the place of the live data."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, Self

import msgspec
import sqlalchemy as sa

from rakiza.backup._aside import Tables
from rakiza.backup._core import FUTURE, Engine
from rakiza.backup._streams import Pace, Sink


class Seen(msgspec.Struct, frozen=True):
    """Tell what a database holds: rows of each table, and the revision of each version table."""

    rows: dict[str, int]
    schema: dict[str, str]


class Restored(msgspec.Struct, frozen=True):
    """Tell how a restore went: how long nobody could write, and where the data of before is."""

    seconds_away: float
    before: str = ""


BEFORE_STAYS = timedelta(hours=24)


class Undoable(msgspec.Struct, frozen=True):
    """Name what was live before a restore, and say since when it is not."""

    filename: str
    at: datetime


def outdated(found: Sequence[Undoable], keep: int, now: datetime) -> list[str]:
    """Return the databases of before that may go: older than a day, and not among the newest; a wrong clock's pushes none out."""
    past = sorted((one for one in found if one.at <= now + FUTURE), key=lambda one: (one.at, one.filename), reverse=True)
    return [one.filename for one in past[keep:] if now - one.at > BEFORE_STAYS]


class Steps(Protocol):
    """Hold what a restore does around the swap."""

    def ready(self, address: str, seen: Seen | None) -> None:
        """Judge and prepare a database that stands aside; raise to keep the live data."""
        ...

    def keep(self) -> None:
        """Keep what the live data are at this moment; called once more when somebody has written since. Raise to keep them live."""
        ...

Placed = Callable[[Tables, Seen], object]
"""Takes a backup that came to life and has no name yet, to judge it and to take away what is not wanted; raises to give it up."""


class Backend(Protocol):
    """Copy and restore one database."""

    engine: Engine
    keeps_before: bool
    """Whether the live data stay whole beside the restored ones, with all that was ever written to them."""
    files: tuple[Path, ...]
    """The files that are the database itself."""

    @property
    def server(self) -> str:
        """Return the version of the server, or of SQLite."""
        ...

    def programs(self) -> str:
        """Return the programs backups are made with; raise BackupError for one that is missing or too old for the server."""
        ...

    def kind(self, text: bool, compress: bool) -> str:
        """Return the kind of file a backup is."""
        ...

    def size(self) -> int:
        """Return about how many bytes the database takes; raise BackupError when it is away."""
        ...

    def dump(self, sink: Sink, kind: str, scratch: Path, pace: Pace) -> Seen:
        """Write one consistent state and return what it holds."""
        ...

    def inspect(self, file: Path, kind: str, scratch: Path, pace: Pace) -> Seen:
        """Bring a backup to life aside, look at it and take it away again; raise BackupDamagedError."""
        ...

    def restore(self, file: Path, kind: str, scratch: Path, pace: Pace, steps: Steps) -> Restored:
        """Bring a backup to life aside, let it be judged and prepared, and put it in the place of the live data, at once or not at all.

        What was written before that is in what was kept last, or in the database of before.
        """
        ...

    def before(self) -> Undoable | None:
        """Return the newest database of before a restore, none where a safety backup has those data; raise BackupError."""
        ...

    def undo(self, before: str, pace: Pace, steps: Steps) -> Restored:
        """Put a database of before in the place of the live one, which becomes one of before; raise BackupError."""
        ...

    def beside(self, file: Path, kind: str, scratch: Path, pace: Pace) -> AbstractContextManager[tuple[Tables, Seen]]:
        """Bring a backup to life aside, yield its tables and take it away again; raise BackupDamagedError."""
        ...

    def live(self) -> AbstractContextManager[Tables]:
        """Yield the tables of the database in one state, only to be read; raise BackupError when it is away."""
        ...

    def is_same(self, other: Self) -> bool:
        """Tell whether two addresses name one database."""
        ...

    def named(self, target: str) -> sa.URL:
        """Return the address of another database in the same place."""
        ...

    def place(self, file: Path, kind: str, pace: Pace, placed: Placed) -> None:
        """Bring a backup to life as this database; raise BackupRefusedError when it is there and not empty."""
        ...

    def put_aside(self) -> list[Undoable]:
        """Return the databases that restores put aside; raise BackupError when the server is away."""
        ...

    def let_go(self, database: str) -> None:
        """Drop a database of before; raise BackupError when somebody is connected to it."""
        ...

    def damaged(self) -> list[Path]:
        """Return what restores moved aside because it was no database."""
        ...
