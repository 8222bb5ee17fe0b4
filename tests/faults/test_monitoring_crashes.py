"""Monitoring when processes are killed, fork, race or lose their disk."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rakiza._kernel import LocalFile
from rakiza._kernel.clock import wall_seconds
from rakiza.monitoring import MonitoringSettings, SystemMonitor
from rakiza.monitoring._rollups import FORM, Rollups
from rakiza.telemetry import Telemetry
from rakiza.testing import FrozenClock
from servers import Child

Process = Callable[..., Child]
WATCH = """
import sys, time
from pathlib import Path
from rakiza._kernel import LocalFile
from rakiza._kernel.clock import wall_seconds
from rakiza.monitoring import MonitoringSettings, SystemMonitor
from rakiza.telemetry import Telemetry
telemetry = Telemetry("site")
local = LocalFile(Path(sys.argv[1]) / "telemetry.db")
settings = MonitoringSettings(alert_after_seconds=5, thresholds={"ram": 0.001, "cpu": 0})
monitor = SystemMonitor(settings=settings, local=local, folder=Path(sys.argv[1]), telemetry=telemetry)
def serve(number):
    for _ in range(number):
        context = telemetry.begin("GET", "/مشاريع", "192.0.2.7", None, trusted=False)
        telemetry.finish(context, None, "/مشاريع", 200, 0.02, None, secure=True)
"""
COUNT = """
serve(1000)
monitor.tick()
monitor._rollups.flush()
print("written", flush=True)
serve(500)
monitor.tick()
print("waiting", flush=True)
time.sleep(60)
"""
RACE = """
print("ready", flush=True)
for _ in range(40):
    serve(25)
    monitor.tick()
    monitor._rollups.flush()
while monitor._rollups._pending:  # what the other process kept waiting
    monitor._rollups.flush()
print("done", flush=True)
"""
FORK = """
import os
serve(300)
monitor.tick()
child = os.fork()
if child == 0:
    serve(7)
    monitor.tick()
    monitor._rollups.flush()
    os._exit(0)
os.waitpid(child, 0)
serve(20)
monitor.tick()
monitor._rollups.flush()
print("done", flush=True)
"""


def counted(home: Path) -> tuple[float, int]:
    """Return how many requests the charts of a folder hold, and how many points know the processor."""
    rollups = Rollups(LocalFile(home / "telemetry.db"))
    chart = rollups.read("30d", wall_seconds())
    series = chart["series"]
    assert isinstance(series, dict)
    rows = rollups._local.read(lambda db: db.execute("SELECT body FROM monitoring_rollup WHERE id >= 90000000").fetchall(), [])
    return sum(FORM.unpack(body)[-1] for (body,) in rows), sum(value is not None for value in series["cpu"])


def test_what_was_written_survives_kill_9(tmp_path: Path, kill9: Callable[..., list[str]]) -> None:
    kill9(WATCH + COUNT, "waiting", str(tmp_path))
    requests, points = counted(tmp_path)
    assert (requests, points >= 1) == (1000, True)
    kill9(WATCH + COUNT, "waiting", str(tmp_path))
    assert counted(tmp_path)[0] == 2000


def test_an_alert_survives_kill_9_and_ends_once(tmp_path: Path, kill9: Callable[..., list[str]]) -> None:
    lines = kill9(WATCH + "import logging; logging.basicConfig()\n" + COUNT, "waiting", str(tmp_path))
    assert sum("alert raised: Memory at" in line for line in lines) == 1
    local = LocalFile(tmp_path / "telemetry.db")
    monitor = SystemMonitor(settings=MonitoringSettings(alert_after_seconds=5, thresholds={"ram": 100, "cpu": 0}), local=local)
    monitor.start_monitoring()
    monitor.stop_monitoring()
    assert monitor.alerts.active() == []
    (ended,) = monitor.alerts.recent()
    assert (ended.name, ended.ended is not None) == ("ram", True)
    local.close()


def test_two_processes_lose_and_double_nothing(tmp_path: Path, python_process: Process) -> None:
    children = [python_process(WATCH + RACE, str(tmp_path)) for _ in range(2)]
    for child in children:
        child.wait_for("done")
    assert counted(tmp_path)[0] == 2 * 40 * 25
    alerts = LocalFile(tmp_path / "telemetry.db").read(lambda db: db.execute("SELECT name FROM monitoring_alert WHERE ended = 0").fetchall(), [])
    assert alerts == [("ram",)]


def test_a_forked_child_counts_only_its_own(tmp_path: Path, python_process: Process) -> None:
    python_process(WATCH + FORK, str(tmp_path)).wait_for("done")
    assert counted(tmp_path)[0] == 300 + 7 + 20


def test_a_forked_child_samples_by_itself(tmp_path: Path, python_process: Process) -> None:
    source = """
import os
monitor.start_monitoring(interval=0.1)
child = os.fork()
if child == 0:
    seen = len(monitor._readings)
    end = time.monotonic() + 10
    while len(monitor._readings) < seen + 3 and time.monotonic() < end:
        time.sleep(0.02)
    ok = len(monitor._readings) >= seen + 3 and monitor.get_process_metrics(3)
    os._exit(0 if ok else 1)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
monitor.stop_monitoring()
print("done", flush=True)
"""
    child = python_process(WATCH + source, str(tmp_path))
    assert child.wait_for("child") == "child 0"
    child.wait_for("done")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of one megabyte."""
    place = tmp_path / "قرص"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("file systems may not be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_seen_told_and_survived(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock, telemetry = FrozenClock(), Telemetry("site")
    local = LocalFile(small_disk / "telemetry.db")
    settings = MonitoringSettings(alert_after_seconds=15)
    monitor = SystemMonitor(settings=settings, clock=clock, local=local, folder=small_disk, telemetry=telemetry)

    def ticks(number: int) -> None:
        for _ in range(number):
            clock.advance(5)
            monitor.tick()

    ticks(3)
    filler = small_disk / "حشو"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as out:
        while True:
            out.write(b"x" * 4096)
    ticks(12)
    assert monitor.get_health_status()["status"] == "critical"
    assert [alert.name for alert in monitor.alerts.active() if alert.name == "disk"] == ["disk"]
    assert sum("alert raised: Disk" in record.message for record in caplog.records) == 1
    held = [value for value in monitor.history("1h")["series"]["disk"] if value is not None]  # type: ignore[call-overload, index]
    assert len(held) == 15
    filler.unlink()
    ticks(6)
    assert [alert.name for alert in monitor.alerts.active() if alert.name == "disk"] == []
    assert [alert.name for alert in monitor.alerts.recent() if alert.name == "disk"] == ["disk"]
    local.close()
    again = Rollups(LocalFile(small_disk / "telemetry.db"))
    kept = [value for value in again.read("1h", clock.now().timestamp())["series"]["disk"] if value is not None]  # type: ignore[call-overload, index]
    assert len(kept) == 21
    assert json.dumps(kept)
    again._local.close()
