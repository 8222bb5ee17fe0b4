"""Charts: rings of slots in a file, shared by processes, across restarts and jumps of the clock."""

import math
import struct
from pathlib import Path

import pytest

from rakiza._kernel import LocalFile
from rakiza.monitoring._core import NONE, SERIES
from rakiza.monitoring._rollups import FORM, MAX_PENDING, RANGES, SLOTS, Rollups
from rakiza.telemetry import BUCKETS

START = 1_800_000_000


def row(cpu: float, requests: int = 0, lag: float = math.nan) -> list[float]:
    """Return one sample; every request took 20 ms, one in two failed."""
    buckets = [requests if bound >= 0.02 else 0 for bound in (*BUCKETS, math.inf)]
    return [1.0, cpu, 50.0, 70.0, 1e6, 2e6, 0.0, 3e6, lag, requests / 2, *buckets]


@pytest.fixture
def file(tmp_path: Path) -> LocalFile:
    return LocalFile(tmp_path / "تاريخ.db")


def chart(rollups: Rollups, name: str, now: float) -> dict[str, dict[int, float]]:
    """Return the known values of each series by their time."""
    found = rollups.read(name, now)
    times, series = found["t"], found["series"]
    assert isinstance(times, list)
    assert isinstance(series, dict)
    assert list(series) == list(SERIES)
    assert len(times) <= 720
    assert times == list(range(times[0], times[-1] + 1, found["step_seconds"]))  # type: ignore[call-overload]
    assert all(len(values) == len(times) for values in series.values())
    return {key: {at: value for at, value in zip(times, values, strict=True) if value is not None} for key, values in series.items()}


def test_samples_become_a_chart_with_gaps(file: LocalFile) -> None:
    rollups = Rollups(file)
    for second in (0, 5, 10, 60, 65):
        rollups.add(START + second, row(second, requests=10, lag=second))
    rollups.flush()
    seen = chart(rollups, "1h", START + 70)
    assert seen["cpu"] == {START + second: float(second) for second in (0, 5, 10, 60, 65)}
    assert seen["requests"][START] == 2.0
    assert seen["errors"][START] == 1.0
    assert set(seen["disk_read"].values()) == {0.0}
    assert 10 < seen["p50"][START] <= 25
    assert seen["loop_lag"][START + 65] == 65.0
    assert chart(rollups, "6h", START + 70)["cpu"] == {START: 5.0, START + 60: 62.5}
    assert chart(rollups, "6h", START + 70)["loop_lag"] == {START: 10.0, START + 60: 65.0}


@pytest.mark.parametrize("name", RANGES)
def test_what_waits_and_what_was_written_are_one_chart(file: LocalFile, name: str) -> None:
    rollups = Rollups(file)
    rollups.add(START, row(10, requests=4))
    rollups.flush()
    rollups.add(START + 1, row(30, requests=2))
    (point,) = chart(rollups, name, START + 2)["cpu"].values()
    assert point == 20.0
    rollups.flush()
    assert list(chart(Rollups(file), name, START + 2)["cpu"].values()) == [20.0]


def test_the_slot_at_hand_counts_only_what_has_passed_of_it(file: LocalFile) -> None:
    rollups = Rollups(file)
    at = START - START % 900
    for second in range(0, 90, 5):
        rollups.add(at + second, row(1, requests=10))
    assert chart(rollups, "7d", at + 90)["requests"] == {at: 2.0}


def test_two_processes_share_a_slot(file: LocalFile) -> None:
    one, other = Rollups(file), Rollups(LocalFile(file.path))
    one.add(START, row(10, requests=10, lag=1))
    other.add(START, row(30, requests=20, lag=9))
    one.flush()
    other.flush()
    seen = chart(one, "1h", START + 5)
    assert (seen["cpu"], seen["requests"], seen["loop_lag"]) == ({START: 20.0}, {START: 6.0}, {START: 9.0})


def test_a_ring_keeps_its_size_and_its_latest(file: LocalFile) -> None:
    rollups = Rollups(file)
    for tick in range(0, 3 * SLOTS[5], 1):
        rollups.add(START + tick * 5, row(tick % 100))
        if tick % 100 == 0:
            rollups.flush()
    rollups.flush()
    now = START + 3 * SLOTS[5] * 5 - 1
    counts = file.read(lambda db: dict(db.execute("SELECT id / 100000, count(*) FROM monitoring_rollup GROUP BY 1").fetchall()), {})
    assert counts == {5: SLOTS[5], 60: 3 * SLOTS[5] * 5 // 60, 900: 3 * SLOTS[5] * 5 // 900}
    assert len(chart(rollups, "1h", now)["cpu"]) == 720
    assert len(chart(rollups, "24h", now)["cpu"]) == 3 * SLOTS[5] * 5 // 120


def test_a_year_fits_and_is_shown_by_the_day(file: LocalFile) -> None:
    end = START - START % 86_400 + 86_400
    body = FORM.pack(*row(42, requests=9))

    def fill(db: object) -> int:
        ticks = [end // 900 - 1 - back for back in range(SLOTS[900])]
        db.executemany("REPLACE INTO monitoring_rollup VALUES (?, ?, ?)", [(90_000_000 + t % SLOTS[900], t, body) for t in ticks])  # type: ignore[attr-defined]
        return 1

    rollups = Rollups(file)
    assert file.write(fill) == 1
    seen = chart(rollups, "1y", end - 1)
    assert len(seen["cpu"]) == 365
    assert set(seen["cpu"].values()) == {42.0}
    assert seen["requests"][end - 86_400] == pytest.approx(0.01)
    assert len(chart(rollups, "30d", end - 1)["p95"]) == 720


def test_a_clock_that_jumps_leaves_a_chart_without_its_ghosts(file: LocalFile) -> None:
    rollups = Rollups(file)
    rollups.add(START, row(10))
    rollups.add(START + 400 * 86_400, row(99))  # somebody set the year wrong
    rollups.flush()
    for second in range(5, 60, 5):
        rollups.add(START + second, row(11))
    rollups.flush()
    for name in RANGES:
        assert max(chart(rollups, name, START + 60)["cpu"].values()) < 12
    rollups.add(START - 3_000, row(12))  # and an hour back
    assert chart(rollups, "1h", START - 2_999)["cpu"] == {START - 3_000: 12.0}


def test_a_file_that_refuses_leaves_the_chart_in_memory_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    rollups = Rollups(LocalFile(tmp_path / "in the way" / "history.db"))
    for tick in range(2 * MAX_PENDING):
        rollups.add(START + tick * 5, row(5))
    rollups.flush()
    assert len(rollups._pending) == MAX_PENDING
    assert len(chart(rollups, "1h", START + 2 * MAX_PENDING * 5)["cpu"]) > 700


def test_rows_of_another_form_are_passed_over(file: LocalFile) -> None:
    rollups = Rollups(file)
    strange = struct.pack("<3f", 1, 2, 3)
    place = (500_000 + START // 5 % SLOTS[5], START // 5, strange)
    file.write(lambda db: db.execute("REPLACE INTO monitoring_rollup VALUES (?, ?, ?)", place).rowcount)
    assert chart(rollups, "1h", START + 5)["cpu"] == {}
    rollups.add(START, row(7))
    rollups.flush()
    assert chart(rollups, "1h", START + 5)["cpu"] == {START: 7.0}


def test_a_fork_leaves_what_waits_to_the_parent(file: LocalFile) -> None:
    rollups = Rollups(file)
    rollups.add(START, row(7))
    rollups.restart()
    assert chart(rollups, "1h", START + 5)["cpu"] == {}
    assert len(row(1)) == 9 + len(NONE) - 1
