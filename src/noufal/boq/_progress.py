"""Tell how far a long import is, in a few steps."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
STEPS = 8
Tell = Callable[[str, int, int], object]
"""Be told the stage (`open`, `read`, `compare`, `write`), how many rows of it are done, and of how many; what it raises ends the import."""


def quiet(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def stepped(rows: Iterable[T], stage: str, total: int, tell: Tell, done: int = 0) -> Iterator[T]:
    """Yield the rows and tell, at most eight times, how many of `total` are done, `done` of them before the first."""
    rows, size = iter(rows), max(1, -(-total // STEPS))
    while part := list(islice(rows, size)):
        yield from part
        done += len(part)
        tell(stage, done, total)
