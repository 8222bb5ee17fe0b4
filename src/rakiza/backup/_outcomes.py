"""What is told of a look at a backup, of a restore and of a backup beside the live data."""

import msgspec


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Tell what a look at a backup found; it is true when the backup is good."""

    filename: str
    ok: bool
    deep: bool
    problem: str = ""
    rows: int = 0
    seconds: float = 0.0
    note: str = ""
    """What was not looked at, and why."""

    def __bool__(self) -> bool:
        """Tell whether the backup is good."""
        return self.ok


class Restoration(msgspec.Struct, frozen=True, kw_only=True):
    """Tell how a restore went."""

    filename: str
    rows: int
    seconds: float
    seconds_away: float
    """How long nobody could write."""
    safety_backup: str = ""
    before: str = ""
    """PostgreSQL: the database that holds the data of before."""

    def __bool__(self) -> bool:
        """Be true: a restore that failed raises."""
        return True


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """Tell what was brought to life beside the live data, and where."""

    filename: str
    database: str
    """Its address, without a password."""
    tables: dict[str, int]
    rows: int
    seconds: float
