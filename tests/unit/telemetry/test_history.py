"""The traces kept on this machine: bounded, merged by their id, there after a restart, shared by processes."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rakiza._kernel import LocalFile
from rakiza._kernel.clock import wall_seconds
from rakiza.telemetry._history import TraceHistory
from rakiza.telemetry._spans import Record
from servers import Child


def record(number: int, parent: str = "", kind: str = "server", start: float | None = None, **said: Any) -> Record:
    begun = wall_seconds() if start is None else start
    return Record(f"{number:016x}", parent, f"GET /{number}", kind, begun, begun + 0.5, said.pop("status", "unset"), "", said, [], "site")


def history(tmp_path: Path, days: float = 7.0) -> TraceHistory:
    return TraceHistory(LocalFile(tmp_path / "telemetry.db"), days)


def test_traces_are_there_after_a_restart_newest_first(tmp_path: Path) -> None:
    first = history(tmp_path)
    assert first.write([(f"{number:032x}", [record(number, **{"http.route": "/مشروع"})]) for number in range(1, 6)])
    again = history(tmp_path)
    rows = again.page(3, [])
    assert [row["name"] for row in rows] == ["GET /5", "GET /4", "GET /3"]
    assert [row["name"] for row in again.page(10, [("id < ?", rows[-1]["id"])])] == ["GET /2", "GET /1"]
    assert again.spans(f"{4:032x}")[0].attributes == {"http.route": "/مشروع"}
    assert again.spans("f" * 32) == []


def test_spans_that_come_late_or_from_elsewhere_join_their_trace(tmp_path: Path) -> None:
    kept, other = history(tmp_path), history(tmp_path)
    now = wall_seconds()
    inner = record(2, parent=f"{1:016x}", kind="server", start=now + 0.1, status="error", **{"http.route": "/inner"})
    outer = record(1, kind="server", start=now, **{"http.request.method": "GET", "http.route": "/outer", "http.response.status_code": 200})
    late = record(3, parent=f"{1:016x}", kind="internal", start=now + 3)
    kept.write([("a" * 32, [inner])])
    other.write([("a" * 32, [outer])])
    kept.write([("a" * 32, [late])])
    (row,) = kept.page(10, [])
    assert (row["name"], row["route"], row["status"], row["spans"], row["errors"]) == ("GET /1", "/outer", 200, 3, 1)
    assert row["ended"] - row["started"] == pytest.approx(3.5, abs=0.01)
    assert [span.span_id for span in kept.spans("a" * 32)] == [f"{number:016x}" for number in (1, 2, 3)]


def test_old_traces_go(tmp_path: Path) -> None:
    kept = history(tmp_path, days=2)
    kept.write([(f"{day:032x}", [record(day, start=wall_seconds() - day * 86_400)]) for day in range(5)])
    assert [row["name"] for row in kept.page(10, [])] == ["GET /1", "GET /0"]


def test_no_retention_keeps_nothing(tmp_path: Path) -> None:
    kept = history(tmp_path, days=0)
    assert kept.write([("a" * 32, [record(1)])])
    assert kept.page(10, []) == []


@pytest.mark.parametrize(("limit", "value"), [("MAX_TRACES", 300), ("MAX_BYTES", 60_000)])
def test_the_table_is_capped_and_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(f"rakiza.telemetry._history.{limit}", value)
    monkeypatch.setattr("rakiza.telemetry._history.PRUNE_AFTER_BYTES", 10_000)
    kept = history(tmp_path)
    for block in range(20):
        kept.write([(f"{block * 50 + number + 1:032x}", [record(number, note="ن" * 100)]) for number in range(50)])
    rows = kept.page(500, [])
    assert 40 < len(rows) < 400
    assert [row["trace_id"] for row in rows] == [f"{1000 - number:032x}" for number in range(len(rows))]


def test_one_trace_keeps_a_bounded_number_of_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rakiza.telemetry._history.MAX_TRACE_SPANS", 10)
    kept = history(tmp_path)
    for block in range(3):
        kept.write([("a" * 32, [record(block * 100 + number) for number in range(1, 7)])])
    assert len(kept.spans("a" * 32)) == 10
    (row,) = kept.page(10, [])
    kept.write([("a" * 32, [record(999)]), ("b" * 32, [record(1)]), ("b" * 32, [record(2)])])
    assert kept.page(10, [])[1] == row
    assert len(kept.spans("b" * 32)) == 2


def test_a_lost_file_costs_traces_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "telemetry.db").mkdir()
    kept = history(tmp_path)
    assert not kept.write([("a" * 32, [record(1)])])
    assert kept.page(10, []) == []
    assert kept.spans("a" * 32) == []


WRITER = """
import sys, time
from pathlib import Path
from rakiza._kernel import LocalFile
from rakiza.telemetry._history import TraceHistory
from rakiza.telemetry._spans import Record
history = TraceHistory(LocalFile(Path(sys.argv[1])), 7.0)
who = int(sys.argv[2])
for number in range(100):
    now = time.time()
    spans = [Record(f"{who * 1000 + number + 1:016x}", "", "عمل", "server", now, now, "unset", "", {}, [], "site")]
    assert history.write([(f"{number + 1:032x}", spans)])
print("done", flush=True)
"""


def test_two_processes_write_the_same_file_and_the_same_traces(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    children = [python_process(WRITER, str(tmp_path / "telemetry.db"), str(who)) for who in (1, 2)]
    for child in children:
        child.wait_for("done")
    kept = history(tmp_path)
    rows = kept.page(500, [])
    assert len(rows) == 100
    assert {row["spans"] for row in rows} == {2}
    with contextlib.closing(sqlite3.connect(tmp_path / "telemetry.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
