"""What a backup beside the live data is asked: which of its tables and rows are wanted, and how they differ from the live ones; no I/O."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b, sha256
from itertools import chain, islice
from typing import Any, Protocol

import msgspec

from rakiza._kernel.redaction import REDACTED
from rakiza.errors import ValidationError

LONG = 4_096
"""Bytes from which on a value is shown by its size and digest."""
MAX_SHOWN = 1_000
HASHES = ("hash", "salt", "digest")
"""Parts of a column's name that the redactor lets through and that stand for a password or a session here."""
Row = Sequence[Any]
Key = Callable[[Row], tuple[Any, ...]]
"""Returns what a row is ordered by; two databases of one kind order alike."""
CHUNK = 64
Pair = tuple[int, Row | None, Row | None]
"""How many rows are the same, or else the rows of both sides that have one key."""
Scrub = Callable[[object], object]


class Slice(msgspec.Struct, frozen=True):
    """Say what is wanted of a backup: these tables, all when none is named, and of them the rows whose column has this value."""

    tables: tuple[str, ...] = ()
    column: str = ""
    value: str = ""


WHOLE = Slice()


class Shape(msgspec.Struct, frozen=True):
    """Describe a table: its columns, and those of the primary key, none without one."""

    columns: tuple[str, ...]
    key: tuple[str, ...]


class Tables(Protocol):
    """Read the tables of one database in one state."""

    def shapes(self) -> dict[str, Shape]:
        """Return the tables by name."""
        ...

    def count(self, table: str, wanted: Slice) -> int:
        """Return how many rows are wanted."""
        ...

    def rows(self, table: str, shape: Shape, wanted: Slice) -> Iterator[Row]:
        """Yield rows in the order of their keys, a few at a time."""
        ...

    def key(self, table: str, shape: Shape) -> Key:
        """Return what tells the key of a row."""
        ...

    def keep(self, tables: Collection[str], wanted: Slice) -> None:
        """Drop all other tables and delete all other rows, foreign keys and triggers in the way among what goes."""
        ...


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Show one row that differs: `old` is the backup's, `new` the live one's, of a changed row only what changed."""

    key: dict[str, object]
    old: dict[str, object] | None = None
    new: dict[str, object] | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Tell how a table of the backup differs from the live one; without a common primary key only whether all rows are the same."""

    table: str
    rows_backup: int | None = None
    """None when the backup has no such table."""
    rows_live: int | None = None
    only_backup: int | None = None
    only_live: int | None = None
    changed: int | None = None
    equal: int | None = None
    columns_backup: tuple[str, ...] = ()
    """Columns that only the backup has; they are not compared."""
    columns_live: tuple[str, ...] = ()
    same: bool = False
    shown: tuple[Shown, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Tell how a backup differs from the live data; it is true when it does not."""

    filename: str
    same: bool
    tables: tuple[Difference, ...]
    seconds: float

    def __bool__(self) -> bool:
        """Tell whether there is no difference."""
        return self.same


def slice_of(tables: str = "", where: str = "") -> Slice:
    """Return what `a,b` and `column=value` name; raise ValidationError."""
    column, equals, value = where.partition("=")
    if where and not (column.strip() and equals):
        raise ValidationError(f"{where!r} names no rows", hint="write --where column=value, such as --where project_id=3")
    return Slice(tuple(name for one in tables.split(",") if (name := one.strip())), column.strip(), value)


def chosen(shapes: Mapping[str, Shape], wanted: Slice) -> list[str]:
    """Return the names of the tables that are wanted, in order; raise ValidationError for one there is not or without the column."""
    unknown = sorted(set(wanted.tables) - shapes.keys())
    if unknown:
        raise ValidationError(f"there is no table {unknown[0]!r}", hint=f"the tables are {', '.join(sorted(shapes))}")
    fit = sorted(name for name, shape in shapes.items() if wanted.column in {"", *shape.columns} and name in (wanted.tables or shapes))
    lacking = sorted(set(wanted.tables) - set(fit))
    if lacking or not (fit or not wanted.column):
        raise ValidationError(f"{lacking[0] if lacking else 'no table'} has {'no' if lacking else 'a'} column {wanted.column!r}")
    return fit


def differences(backup: Tables, live: Tables, wanted: Slice, show: int, scrub: Scrub) -> Iterator[Difference]:
    """Yield the difference of each table, in the order of their names; raise ValidationError as `chosen` does."""
    old, new = backup.shapes(), live.shapes()
    for name in chosen(old | {table: shape for table, shape in new.items() if table not in old}, wanted):
        if name not in old or name not in new:
            side, rows, only = (backup, "rows_backup", "only_backup") if name in old else (live, "rows_live", "only_live")
            yield msgspec.structs.replace(Difference(table=name), **dict.fromkeys((rows, only), side.count(name, wanted)))
            continue
        missing = tuple(tuple(column for column in one.columns if column not in other.columns) for one, other in _pairs(old[name], new[name]))
        common = tuple(column for column in old[name].columns if column in new[name].columns)
        key = old[name].key if old[name].key == new[name].key else ()
        shape, fit = Shape(common, key), wanted.column in {"", *common}
        before, after = (side.rows(name, shape, wanted) if fit else iter(()) for side in (backup, live))
        pairs = merged(before, after, live.key(name, shape))
        found = _counted(name, pairs, show, partial(_shown, shape, scrub)) if key else _as_a_whole(name, before, after)
        altered = bool(missing[0] or missing[1])
        yield msgspec.structs.replace(found, columns_backup=missing[0], columns_live=missing[1], same=found.same and not altered)


def _pairs(old: Shape, new: Shape) -> tuple[tuple[Shape, Shape], tuple[Shape, Shape]]:
    return (old, new), (new, old)


def _counted(table: str, pairs: Iterable[Pair], show: int, shown: Callable[[Row | None, Row | None], Shown]) -> Difference:
    only_backup = only_live = changed = equal = 0
    kept: list[Shown] = []
    for same, before, after in pairs:
        equal += same
        if same:
            continue
        only_live += before is None
        only_backup += after is None
        changed += before is not None and after is not None
        if len(kept) < show:
            kept.append(shown(before, after))
    return Difference(
        table=table, rows_backup=only_backup + changed + equal, rows_live=only_live + changed + equal, only_backup=only_backup, only_live=only_live,
        changed=changed, equal=equal, same=not only_backup + only_live + changed, shown=tuple(kept),
    )  # fmt: skip


def merged(old: Iterator[Row], new: Iterator[Row], key: Key) -> Iterator[Pair]:
    """Yield how many rows are the same, and those of both sides that have one key, or of one side without a counterpart, where they differ.

    Both come in the order of their keys. Most rows are the same in most databases, so CHUNK of them are compared at once.
    """
    left, right = list(islice(old, CHUNK)), list(islice(new, CHUNK))
    while left and right:
        if left == right:
            yield len(left), None, None
            left, right = list(islice(old, CHUNK)), list(islice(new, CHUNK))
            continue
        first = second = 0
        while first < len(left) and second < len(right):
            before, after = left[first], right[second]
            one, other = (key(before), key(after)) if before != after else ((), ())
            yield int(before == after), before if one <= other else None, after if other <= one else None
            first, second = first + (one <= other), second + (other <= one)
        left, right = [*left[first:], *islice(old, first)], [*right[second:], *islice(new, second)]
    yield from ((0, row, None) for row in chain(left, old))
    yield from ((0, None, row) for row in chain(right, new))


def _shown(shape: Shape, scrub: Scrub, before: Row | None, after: Row | None) -> Shown:
    def said(row: Row, names: Collection[str]) -> dict[str, object]:
        return {name: _said(name, value, scrub) for name, value in zip(shape.columns, row, strict=True) if name in names}

    changed: Collection[str] = shape.columns
    if before is not None and after is not None:
        changed = {name for name, one, other in zip(shape.columns, before, after, strict=True) if one != other}
    old, new = (said(row, changed) if row is not None else None for row in (before, after))
    either = before if before is not None else after
    return Shown(key=said(either or (), shape.key), old=old, new=new)


def _said(name: str, value: object, scrub: Scrub) -> object:
    """Return a value as it may be shown: no secret, nothing long."""
    if any(part in name.lower() for part in HASHES):
        return REDACTED
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if isinstance(raw, bytes) and (isinstance(value, bytes) or len(raw) > LONG):
        value = f"{len(raw)} bytes, SHA-256 {sha256(raw).hexdigest()}"
    cleaned = scrub({name: value})
    return cleaned[name] if isinstance(cleaned, Mapping) else REDACTED


def _as_a_whole(table: str, old: Iterator[Row], new: Iterator[Row]) -> Difference:
    same = 0
    while (left := list(islice(old, CHUNK))) == (right := list(islice(new, CHUNK))) and left:
        same += len(left)
    (count, before), (live, after) = summed(chain(left, old)), summed(chain(right, new))
    found = Difference(table=table, rows_backup=same + count, rows_live=same + live, same=(count, before) == (live, after))
    return msgspec.structs.replace(found, only_backup=0, only_live=0, changed=0, equal=same + count) if found.same else found


def summed(rows: Iterable[Row]) -> tuple[int, int]:
    """Return how many rows there are, and a digest of them in whatever order; a row that is there twice counts twice."""
    count = total = 0
    for row in rows:
        count += 1
        total += int.from_bytes(blake2b(repr(tuple(row)).encode("utf-8", "surrogateescape"), digest_size=16).digest())
    return count, total % 2**128
