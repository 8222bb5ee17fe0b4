"""What is measured: the cases of every subcommand, and the goals as ratios of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PEER_REBUILD_EVENTS = 3000  # it takes more than a second for two thousand
LAG_APPENDS, LAG_PAUSE_SECONDS = 400, 0.005
KINDS = ("append", "replay", "rebuild", "lag")
DATABASES = ("postgresql", "sqlite")
LIBRARY = "eventsourcing"


class Case(NamedTuple):
    """Name one row, the side that measures it, its command, and whether it reads a log that is filled before or wants an empty database."""

    title: str
    side: str
    command: dict[str, object]
    filled: bool = False


class Goal(NamedTuple):
    """Compare a row with another of the same table, or with a number when there is no other."""

    kind: str
    database: str
    row: str
    other: str | None
    wanted: float
    column: str = "per_second"

    @property
    def title(self) -> str:
        """Return the goal as text."""
        against = f" / {self.other}" if self.other else {"per_second": ", events/s", "p99_ms": ", p99 ms"}[self.column]
        return f"{self.database}, {self.kind}: {self.row}{against}"


def cases(kind: str, database: str, seconds: float) -> Iterator[Case]:
    """Yield the rows of one table."""
    yield from {"append": _append, "replay": _replay, "rebuild": _rebuild, "lag": _lag}[kind](database, seconds)


def _append(database: str, seconds: float) -> Iterator[Case]:
    for callers, events in ((1, 1), (8, 1), (64, 1), (1, 10), (8, 10)):  # what is compared runs one after the other, on the same mood of the disk
        base = {"case": "append", "seconds": seconds, "callers": callers, "events": events}
        if callers < 64:
            yield Case(f"raw, {_load(callers, events)}", "raw", base)
            yield Case(f"{LIBRARY} recorder, {_load(callers, events)}", "peer", base | {"how": "recorder"})
            yield Case(f"{LIBRARY} save, {_load(callers, events)}", "peer", base | {"how": "save"})
        yield Case(f"ours awaited, {_load(callers, events)}", "ours", base | {"how": "tasks"})
        yield Case(f"ours plain, {_load(callers, events)}", "ours", base | {"how": "threads"})


def _load(callers: int, events: int) -> str:
    return f"{callers} caller{'s' if callers > 1 else ''}{f' x {events} events' if events > 1 else ''}"


def _replay(database: str, seconds: float) -> Iterator[Case]:
    for side, how, title in (
        ("raw", "narrow", "raw fetch, 6 columns"), ("raw", "wide", "raw fetch, all columns"), ("raw", "decoded", "raw fetch, 6 columns, decoded"),
        ("peer", "read", f"{LIBRARY} read"), ("peer", "mapper", f"{LIBRARY} read and mapper"),
        ("ours", "read", "ours read"), ("ours", "typed", "ours read, typed"),
    ):
        yield Case(title, side, {"case": "replay", "how": how}, filled=True)


def _rebuild(database: str, seconds: float) -> Iterator[Case]:
    yield Case("raw, by hand", "raw", {"case": "rebuild"}, filled=True)
    if database == "postgresql":
        yield Case(f"{LIBRARY} runner", "peer", {"case": "rebuild", "events": PEER_REBUILD_EVENTS})
    yield Case("ours", "ours", {"case": "rebuild"}, filled=True)


def _lag(database: str, seconds: float) -> Iterator[Case]:
    command = {"case": "lag", "appends": LAG_APPENDS, "pause_seconds": LAG_PAUSE_SECONDS}
    if database == "postgresql":
        yield Case("raw LISTEN/NOTIFY", "raw", command)
        yield Case(f"{LIBRARY} runner", "peer", command)
    yield Case("ours", "ours", command)


GOALS = (
    Goal("append", "postgresql", "ours awaited, 8 callers", f"{LIBRARY} recorder, 8 callers", 3),
    Goal("append", "postgresql", "ours awaited, 8 callers", f"{LIBRARY} save, 8 callers", 3),
    Goal("append", "postgresql", "ours awaited, 8 callers", "raw, 8 callers", 0.45),
    Goal("append", "postgresql", "ours awaited, 64 callers", "raw, 8 callers", 1.5),
    Goal("append", "postgresql", "ours awaited, 1 caller", "raw, 1 caller", 0.6),
    Goal("append", "postgresql", "ours plain, 8 callers", f"{LIBRARY} recorder, 8 callers", 3),
    Goal("append", "postgresql", "ours plain, 8 callers", "raw, 8 callers", 0.45),
    Goal("append", "postgresql", "ours plain, 1 caller", "raw, 1 caller", 0.6),
    Goal("append", "sqlite", "ours awaited, 8 callers", "raw, 8 callers", 2.5),
    Goal("append", "sqlite", "ours awaited, 8 callers", f"{LIBRARY} recorder, 8 callers", 4),
    Goal("append", "sqlite", "ours awaited, 64 callers", None, 25_000),
    Goal("append", "sqlite", "ours plain, 8 callers", "raw, 8 callers", 2.5),
    Goal("append", "sqlite", "ours plain, 8 callers", f"{LIBRARY} recorder, 8 callers", 4),
    Goal("replay", "postgresql", "ours read, typed", "raw fetch, 6 columns", 0.85),
    Goal("replay", "postgresql", "ours read, typed", f"{LIBRARY} read and mapper", 3),
    Goal("replay", "sqlite", "ours read, typed", "raw fetch, 6 columns", 0.7),
    Goal("replay", "sqlite", "ours read, typed", f"{LIBRARY} read and mapper", 3),
    Goal("rebuild", "postgresql", "ours", None, 100_000),
    Goal("rebuild", "postgresql", "ours", f"{LIBRARY} runner", 100),
    Goal("rebuild", "sqlite", "ours", None, 100_000),
    Goal("lag", "postgresql", "ours", None, 5, "p99_ms"),
)
