"""The history that survives restarts: a fixed number of slots for each resolution in the local file.

Every process adds what it saw to the slot at hand: gauges are averaged over all samples, counts are added. So several processes of one
application share one history, and nobody needs to be the writer.
"""

import sqlite3
import struct
import threading

from rakiza._kernel import LocalFile

from ._core import ERRORS, NONE, SERIES, Row, combine, shown

SLOTS = {5: 1_440, 60: 2_880, 900: 35_040}
"""Seconds and number of slots: two hours, two days and a year."""
RANGES = {"1h": (5, 5, 720), "6h": (60, 60, 360), "24h": (60, 120, 720), "7d": (900, 900, 672), "30d": (900, 3_600, 720), "1y": (900, 86_400, 365)}
"""Seconds of a slot, seconds of a point, number of points."""
MAX_PENDING = 2_048
TABLE = "CREATE TABLE IF NOT EXISTS monitoring_rollup (id INTEGER PRIMARY KEY, tick INTEGER NOT NULL, body BLOB NOT NULL)"
FORM = struct.Struct(f"<{ERRORS + len(NONE) - 1}f")


class Rollups:
    """Add samples to their slots in memory, write them in batches, and read charts of both."""

    def __init__(self, local: LocalFile) -> None:
        self._local = local
        local.declare(TABLE)
        self.restart()

    def restart(self) -> None:
        """Hold nothing; after a fork, what waits is the parent's."""
        self._pending: dict[tuple[int, int], list[float]] = {}
        self._lock = threading.Lock()

    def add(self, at: float, row: Row) -> None:
        """Add what was seen at `at` (seconds since 1970) to a slot of each resolution."""
        with self._lock:
            for key in [(step, int(at // step)) for step in SLOTS]:
                self._pending[key] = combine([self._pending[key], row]) if key in self._pending else list(row)
            while len(self._pending) > MAX_PENDING:
                del self._pending[next(iter(self._pending))]

    def flush(self) -> None:
        """Write what waits; when the file refuses, it goes on waiting."""
        with self._lock:
            if self._pending and self._local.write(self._store) is not None:
                self._pending.clear()

    def _store(self, connection: sqlite3.Connection) -> int:
        for (step, tick), row in self._pending.items():
            held = connection.execute("SELECT body FROM monitoring_rollup WHERE id = ? AND tick = ?", (_place(step, tick), tick)).fetchone()
            rows = [row, FORM.unpack(held[0])] if held and len(held[0]) == FORM.size else [row]
            connection.execute("REPLACE INTO monitoring_rollup VALUES (?, ?, ?)", (_place(step, tick), tick, FORM.pack(*combine(rows))))
        return len(self._pending)

    def read(self, name: str, now: float) -> dict[str, object]:
        """Return the chart of a range that ends now; what nobody saw is a gap."""
        slot, step, points = RANGES[name]
        first = (int(now // step) - points + 1) * step
        ticks = range(first // slot, int(now // slot) + 1)
        places = (_place(slot, ticks[0]), _place(slot, ticks[-1]))
        around = "id BETWEEN ? AND ?" if places[0] <= places[1] else "(id BETWEEN ? AND 1e9 OR id <= ?)"
        query = f"SELECT tick, body FROM monitoring_rollup WHERE {around} AND id / 100000 = ? AND tick BETWEEN ? AND ?"  # noqa: S608 - no value in it
        none: list[tuple[int, bytes]] = []
        with self._lock:
            waiting: list[tuple[int, Row]] = [(tick, row) for (step, tick), row in self._pending.items() if step == slot and tick in ticks]
            held = self._local.read(lambda connection: connection.execute(query, (*places, slot, ticks[0], ticks[-1])).fetchall(), none)
        rows = waiting + [(tick, FORM.unpack(body)) for tick, body in held if len(body) == FORM.size]
        found: dict[int, list[tuple[int, Row]]] = {}
        for tick, row in rows:
            found.setdefault((tick * slot - first) // step, []).append((tick, row))
        series: dict[str, list[float | None]] = {key: [None] * points for key in SERIES}
        for point, seen in found.items():
            ends = {(tick + 1) * slot for tick, _ in seen}
            seconds = len(ends) * slot - max(0.0, max(ends) - now)  # of the slot at hand only what has passed
            for key, value in shown(combine([row for _, row in seen]), max(seconds, 5.0)).items():
                series[key][point] = value
        return {"step_seconds": step, "t": [first + point * step for point in range(points)], "series": series}


def _place(step: int, tick: int) -> int:
    return step * 100_000 + tick % SLOTS[step]
