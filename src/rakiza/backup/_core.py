"""Pure decisions of backups: names, what a manifest says, which backups may go, and how long there is to wait."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

FORMAT = 1
"""The version of the manifest."""
_KINDS = r"db|db\.zst|dump|dump\.zst|sql|sql\.gz"
NAME: Final = re.compile(
    rf"(?P<prefix>[A-Za-z0-9][A-Za-z0-9_-]{{0,63}})_(?P<at>\d{{8}}_\d{{6}})(?:_\d{{1,3}})?\.(?P<kind>{_KINDS})(?:\.age)?\Z", re.ASCII
)
PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
STAMP = "%Y%m%d_%H%M%S"
MANIFEST = ".json"
LOCKED = ".age"
"""How the name of what is encrypted ends."""
ATTACHED = "files.tar.zst"
"""How the name of the files beside a backup goes on after its stem."""
PART = ".tmp-"
"""How the name of what is not finished begins; it is never listed, and swept away by the next backup."""
SAFETY_PREFIX = "before_restore"
"""Prefix of the copy made before a restore; such copies do not count among those that are kept by number."""
Engine = Literal["sqlite", "postgresql"]
Kind = Literal["db", "db.zst", "dump", "dump.zst", "sql", "sql.gz"]
FUTURE = timedelta(minutes=10)
"""A backup dated further ahead was made by a wrong clock; it pushes nothing out."""
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its offset: one without would not compare with the others."""


class Copy(msgspec.Struct, frozen=True):
    """Tell of a backup in another place: `waiting` to be taken there since, `ok` and compared there at, or `failed` at; `error` says why not yet."""

    url: str
    """Without its query."""
    state: str
    at: Moment | None = None
    error: str = ""


class Piece(NamedTuple):
    """Name a file of a backup, with its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """Describe the archive of files that goes with a backup."""

    name: str
    size: int
    sha256: str
    raw_size: int
    files: int
    passed_over: int = 0
    """How many files could not be taken as they were."""

    @property
    def size_mb(self) -> float:
        """Return the size in MB, rounded to two places."""
        return round(self.size / 1024 / 1024, 2)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one backup; it is written last, so a backup with a manifest is whole."""

    format: int = FORMAT
    file: str
    engine: Engine
    kind: str
    created_at: Moment
    size: int
    sha256: str
    raw_size: int
    rows: dict[str, int]
    schema: dict[str, str]
    """The version table of each room and the revision in it."""
    app: str = ""
    server: str = ""
    """The version of the database server, or of SQLite."""
    epoch: str = ""
    """Which epoch of the database it was made in."""
    pinned: bool = False
    verified_at: Moment | None = None
    drilled_at: Moment | None = None
    copies: tuple[Copy, ...] = ()
    seconds: float = 0.0
    """How long it took to make; 0 in manifests of before this was noted."""
    encrypted: tuple[str, ...] = ()
    """Whose keys open it; none of an open one."""
    parts: tuple[Attached, ...] = ()
    overtaken: bool = False
    """Of a safety backup: a later restore kept nothing, so that this one is not what was live before the newest."""


def pieces_of(manifest: Manifest) -> tuple[Piece, ...]:
    """Return every file that makes up a backup, the one it is named after last."""
    files = [Piece(part.name, part.size, part.sha256) for part in manifest.parts]
    return (*files, Piece(manifest.file, manifest.size, manifest.sha256))


def with_copy(copies: Iterable[Copy], changed: Copy) -> tuple[Copy, ...]:
    """Return the copies with one told anew, by place; one that goes on waiting waits since it began."""
    known = {one.url: one for one in copies}
    before = known.get(changed.url)
    if before is not None and before.state == changed.state == "waiting":
        changed = msgspec.structs.replace(changed, at=before.at)
    return tuple((known | {changed.url: changed}).values())


def lacking(manifest: Manifest, urls: Iterable[str]) -> list[str]:
    """Return the places a backup is still to be taken to: a checked one that was not made before a restore."""
    if manifest.verified_at is None or checked_name(manifest.file)["prefix"] == SAFETY_PREFIX:
        return []
    there = {one.url for one in manifest.copies if one.state == "ok"}
    return [url for url in urls if url not in there]


def overdue(manifests: Iterable[Manifest], urls: Iterable[str], now: datetime, longest: timedelta) -> list[tuple[str, Copy]]:
    """Return which backups have no copy in a place of ours though they should: it failed, or waits longer than it may."""
    ours = set(urls)
    return [
        (one.file, copy)
        for one in manifests
        for copy in one.copies
        if copy.url in ours and (copy.state == "failed" or (copy.state == "waiting" and copy.at is not None and now - copy.at > longest))
    ]


class BackupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Show one backup."""

    filename: str
    timestamp: datetime
    size_bytes: int
    database_type: Engine
    compressed: bool
    kind: str
    pinned: bool = False
    verified_at: datetime | None = None
    drilled_at: datetime | None = None
    rows: int = 0
    safety: bool = False
    """Whether it was made before a restore."""
    seconds: float = 0.0
    encrypted: bool = False
    parts: tuple[Attached, ...] = ()
    copies: tuple[Copy, ...] = ()
    """What is known of it in other places."""

    @property
    def size_mb(self) -> float:
        """Return the size in MB, rounded to two places."""
        return round(self.size_bytes / 1024 / 1024, 2)


def info_of(manifest: Manifest) -> BackupInfo:
    """Return what is shown of a manifest."""
    return BackupInfo(
        filename=manifest.file, timestamp=manifest.created_at, size_bytes=manifest.size, database_type=manifest.engine,
        compressed=manifest.kind.endswith((".zst", ".gz")), kind=manifest.kind, pinned=manifest.pinned, verified_at=manifest.verified_at,
        drilled_at=manifest.drilled_at, rows=sum(manifest.rows.values()), safety=checked_name(manifest.file)["prefix"] == SAFETY_PREFIX,
        seconds=manifest.seconds, encrypted=bool(manifest.encrypted), parts=manifest.parts, copies=manifest.copies,
    )  # fmt: skip


def checked_name(filename: str) -> re.Match[str]:
    """Return the parts of a backup's name; raise ValueError for anything else, paths among it."""
    match = NAME.match(filename) if isinstance(filename, str) else None
    if match is None:
        raise ValueError(f"{filename!r} is no name of a backup, such as backup_20251106_153045.db.zst")
    return match


def moment_of(filename: str) -> datetime:
    """Return the moment a backup's name tells, in UTC; raise ValueError."""
    return datetime.strptime(checked_name(filename)["at"], STAMP).replace(tzinfo=UTC)


def checked_prefix(prefix: str) -> str:
    """Return the prefix; raise ValueError for one that is no plain name."""
    if not PREFIX.match(prefix):
        raise ValueError(f"name_prefix {prefix!r} must be 1 to 64 letters, digits, - and _, beginning with a letter or digit")
    return prefix


def name_of(prefix: str, at: datetime, kind: str, taken: Iterable[str]) -> str:
    """Return a free name for a backup begun at a moment; a second one of the same second gets a number."""
    known = {stem_of(name) for name in taken}
    stem = f"{checked_prefix(prefix)}_{at.astimezone(UTC).strftime(STAMP)}"
    stems = (stem, *(f"{stem}_{number}" for number in range(2, 1000)))
    return next(f"{one}.{kind}" for one in stems if one not in known)


def stem_of(filename: str) -> str:
    """Return what a backup, its manifest and the files beside it have in common."""
    return filename.partition(".")[0]


def archive_of(filename: str, locked: str) -> str:
    """Return the name of the archive of files that goes with a backup."""
    return f"{stem_of(filename)}.{ATTACHED}{locked}"


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Say which backups are kept: the newest `last`, and the newest of each of so many days, weeks, months and years."""

    last: int = 7
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for numbers below 0, and for a policy that keeps nothing."""
        numbers = msgspec.structs.astuple(self)
        if min(numbers) < 0 or max(numbers) < 1:
            raise ValueError(f"a retention policy keeps at least one backup and no negative number of them, not {numbers}")


def periods(at: datetime) -> dict[str, str]:
    """Return the day, ISO week, month and year of a moment, as UTC has them."""
    at = at.astimezone(UTC)
    year, week, _ = at.isocalendar()
    return {"daily": at.strftime("%Y-%m-%d"), "weekly": f"{year}-{week}", "monthly": at.strftime("%Y-%m"), "yearly": at.strftime("%Y")}


def surplus(backups: Sequence[BackupInfo], policy: RetentionPolicy, now: datetime) -> list[str]:
    """Return the names that may go, oldest first (grandfather-father-son).

    Never the newest good one, pinned ones, those made before a restore (which have a count of their own), or for the sake of one dated in
    the future: a wrong clock would push every right one out.
    """
    ordered = sorted((one for one in backups if one.timestamp <= now + FUTURE), key=lambda one: (one.timestamp, one.filename), reverse=True)
    safety = [one for one in ordered if one.safety]
    plain = [one for one in ordered if not one.safety]
    kept = {one.filename for one in [*plain[: policy.last], *safety[: max(1, policy.last)]]}
    for period in ("daily", "weekly", "monthly", "yearly"):
        seen: set[str] = set()
        for one in plain:
            key = periods(one.timestamp)[period]
            if key not in seen and len(seen) < getattr(policy, period):
                seen.add(key)
                kept.add(one.filename)
    good = next((one for one in plain if one.verified_at is not None), plain[0] if plain else None)
    if good is not None:
        kept.add(good.filename)
    return [one.filename for one in reversed(ordered) if one.filename not in kept and not one.pinned]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Tell how far a piece of work is."""

    step: str
    done_bytes: int = 0
    total_bytes: int = 0
    seconds: float = 0.0

    @property
    def percent(self) -> float | None:
        """Return how much is done, none while nobody knows how much there is."""
        return min(100.0, round(self.done_bytes / self.total_bytes * 100, 1)) if self.total_bytes else None

    @property
    def seconds_left(self) -> float | None:
        """Return about how long it still takes, from the pace so far."""
        if not self.total_bytes or not self.done_bytes or self.seconds <= 0:
            return None
        return round(max(0, self.total_bytes - self.done_bytes) * self.seconds / self.done_bytes, 1)
