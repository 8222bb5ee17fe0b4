"""Traces of accesses to 100,000 keys: Zipf's law, and Zipf's law with scans between."""

from __future__ import annotations

import array
import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS, ACCESSES, SEED = 100_000, 400_000, 20261127
SCAN_EVERY, SCAN = 8_000, 2_000  # a fifth of the accesses of the trace with scans
SHAPES = {"zipf 0.8": (0.8, False), "zipf 1.0": (1.0, False), "zipf 0.9 + scans": (0.9, True)}
SIZES = {"1 %": KEYS // 100, "5 %": KEYS // 20}


def write(shape: str, path: Path, accesses: int = ACCESSES) -> None:
    """Write one trace as unsigned numbers."""
    exponent, scans = SHAPES[shape]
    chance = random.Random(SEED)
    weights = list(itertools.accumulate((rank + 1) ** -exponent for rank in range(KEYS)))
    names = list(range(KEYS))
    chance.shuffle(names)
    asked = (names[rank] for rank in chance.choices(range(KEYS), cum_weights=weights, k=accesses))
    found = _with_scans(asked, chance) if scans else asked
    path.write_bytes(array.array("I", itertools.islice(found, accesses)).tobytes())


def _with_scans(asked: Iterator[int], chance: random.Random) -> Iterator[int]:
    while block := list(itertools.islice(asked, SCAN_EVERY)):
        yield from block
        start = chance.randrange(KEYS - SCAN)
        yield from range(start, start + SCAN)
