"""The local traces when the process is killed and when the disk is full."""

import contextlib
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import laid
from rakiza import build

SOURCE = """
import sys
from rakiza import build
platform = build({"hub": {"home": sys.argv[1]}, "telemetry": {"sample_ratio": 1.0}}, environ={})
platform.start()
tracer = platform.tracer.provider.get_tracer("موقع")
number = 0
while True:
    with tracer.start_as_current_span(f"عمل {number}"):
        number += 1
    if number % 200 == 0:
        platform.tracer.flush()
        print("flushed", number, flush=True)
"""


def test_what_was_flushed_is_there_after_kill_9(tmp_path: Path, kill9: Callable[..., list[str]]) -> None:
    for until in ("flushed 600", "flushed 1000"):
        kill9(SOURCE, until, str(tmp_path))
    platform = build({"hub": {"home": str(laid.home(tmp_path, "app"))}}, environ={})
    with contextlib.closing(sqlite3.connect(tmp_path / "telemetry.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = [name for (name,) in connection.execute("SELECT name FROM telemetry_trace")]
    assert len(names) >= 1600
    assert {f"عمل {number}" for number in range(1000)} <= set(names)
    platform.ctx.local.close()


def test_a_full_disk_costs_traces_and_no_request(tmp_path: Path) -> None:
    platform = build({"hub": {"home": str(laid.home(tmp_path, "app"))}, "telemetry": {"sample_ratio": 1.0}}, environ={})
    telemetry: Any = platform.tracer
    telemetry.provider.get_tracer("x").start_span("قبل").end()
    telemetry.flush()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, limit[1]))
    try:
        for number in range(50):
            for _ in range(50):
                telemetry.provider.get_tracer("x").start_span(f"عمل {number}", attributes={"text": "ن" * 1000}).end()
            telemetry.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert platform.ctx.local.dropped > 0
    telemetry.provider.get_tracer("x").start_span("بعد").end()
    telemetry.flush()
    with contextlib.closing(sqlite3.connect(tmp_path / "telemetry.db")) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM telemetry_trace ORDER BY id")]
    assert (names[0], names[-1]) == ("قبل", "بعد")
    platform.ctx.local.close()
