"""Statistics by the prefix of the keys, their history by minutes, and the keys most often missed; all bounded, all of this process."""

import threading
from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime

from ._core import prefix_of
from ._memory import Tally

MAX_PREFIXES = 200
MAX_MISSED = 1_000
OTHERS = "…"
"""Counts the prefixes for which there is no room."""
MINUTES = 24 * 60
RANGES = {"1h": (60, 1), "6h": (72, 5), "24h": (96, 15)}
"""Number of points, and minutes in each."""
Minute = tuple[int, Mapping[str, tuple[int, int]]]


class Tallies:
    """Count, without a lock on the way of a hit."""

    def __init__(self) -> None:
        self.by_prefix: dict[str, Tally] = {}
        self._missed: Counter[str] = Counter()
        self._history: deque[Minute] = deque(maxlen=MINUTES)
        self._before: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def of(self, key: str) -> Tally:
        """Return the counts of the prefix of a key."""
        prefix = prefix_of(key)
        found = self.by_prefix.get(prefix)
        if found is None:
            with self._lock:
                name = prefix if len(self.by_prefix) < MAX_PREFIXES else OTHERS
                found = self.by_prefix.setdefault(name, Tally(name))
        return found

    def missed(self, key: str) -> None:
        """Count one miss of a key; the less missed half is forgotten when there is no room."""
        with self._lock:
            self._missed[key] += 1
            if len(self._missed) > MAX_MISSED:
                self._missed = Counter(dict(self._missed.most_common(MAX_MISSED // 2)))

    def most_missed(self, count: int) -> list[tuple[str, int]]:
        """Return the keys most often missed of late."""
        with self._lock:
            return self._missed.most_common(count)

    def totals(self) -> Tally:
        """Return the counts of all prefixes together."""
        total = Tally("")
        for tally in list(self.by_prefix.values()):
            for name in ("hits", "misses", "stale", "loads", "errors", "load_seconds"):
                setattr(total, name, getattr(total, name) + getattr(tally, name))
        return total

    def note(self, now: datetime) -> None:
        """Keep what was counted since the last time as one minute of the history."""
        counts = {name: (tally.hits, tally.misses) for name, tally in list(self.by_prefix.items())}
        gained = {name: (hits - self._was(name)[0], misses - self._was(name)[1]) for name, (hits, misses) in counts.items()}
        self._before = counts
        self._history.append((int(now.timestamp()) // 60, {name: pair for name, pair in gained.items() if any(pair)}))

    def _was(self, name: str) -> tuple[int, int]:
        return self._before.get(name, (0, 0))

    def history(self, span: str, now: datetime) -> dict[str, object]:
        """Return hits and misses of each prefix in equal steps up to now; raise KeyError for an unknown range."""
        points, minutes = RANGES[span]
        last = int(now.timestamp()) // 60 // minutes
        sums: dict[str, tuple[list[int], list[int]]] = {}
        for minute, counts in list(self._history):
            place = points - 1 - (last - minute // minutes)
            if 0 <= place < points:
                for prefix, (hits, misses) in counts.items():
                    row = sums.setdefault(prefix, ([0] * points, [0] * points))
                    row[0][place] += hits
                    row[1][place] += misses
        at = [(last - points + 1 + place) * minutes * 60 for place in range(points)]
        ordered = sorted(sums.items(), key=lambda item: -sum(item[1][0]) - sum(item[1][1]))
        series = [{"prefix": prefix, "hits": hits, "misses": misses} for prefix, (hits, misses) in ordered]
        return {"step_seconds": minutes * 60, "at": at, "series": series}

    def forget(self) -> None:
        """Take a new lock in a forked child."""
        self._lock = threading.Lock()
