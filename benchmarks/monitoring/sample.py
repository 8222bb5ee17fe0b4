"""Measure what monitoring costs: one tick of the sampler and its parts, a look at the processes, a year on disk, a chart of that year.

Run: python benchmarks/monitoring/sample.py [rounds]
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from rakiza._kernel import SYSTEM_CLOCK, LocalFile
from rakiza.monitoring import MonitoringSettings, SystemMonitor
from rakiza.monitoring._host import Host, Processes
from rakiza.monitoring._rollups import RANGES, SLOTS, Rollups
from rakiza.telemetry import Telemetry, TelemetrySettings

ROUTES, STATUSES = 50, (200, 404, 500)
TICK_GOAL_MS = 5.0


def spent(work: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Return the median, the slowest and the mean processor time of `work` in milliseconds."""
    took, begun = [], time.process_time()
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took), max(took), (time.process_time() - begun) / rounds * 1000


def busy_telemetry() -> Telemetry:
    """Return a telemetry that has seen every route with every status."""
    telemetry = Telemetry("bench", TelemetrySettings(disabled=True))
    for number in range(ROUTES * len(STATUSES) * 20):
        context = telemetry.begin("GET", "/", "192.0.2.7", None, trusted=False)
        route, status = f"/مشاريع/{number % ROUTES}", STATUSES[number % len(STATUSES)]
        telemetry.finish(context, None, route, status, number % 100 / 1000, None, secure=True)
    return telemetry


def costs(home: Path, rounds: int) -> None:
    """Print the cost of each part beside the peer that asks psutil for the same by the usual way."""
    telemetry = busy_telemetry()
    monitor = SystemMonitor(settings=MonitoringSettings(), local=LocalFile(home / "telemetry.db"), folder=home, telemetry=telemetry)
    host, processes = Host(home, SYSTEM_CLOCK), Processes(SYSTEM_CLOCK)
    time.sleep(0.1)
    rows = {
        f"one tick, {ROUTES} routes x {len(STATUSES)} statuses (goal {TICK_GOAL_MS:g} ms)": spent(monitor.tick, rounds),
        "  of it the sample of the machine": spent(host.sample, rounds),
        "  of it the totals of the requests": spent(telemetry.request_totals, rounds),
        f"a look at {len(psutil.pids())} processes, only while asked": spent(processes.look, max(5, rounds // 20)),
    }
    monitor.start_monitoring()
    rows["the latest sample, as the endpoints read it"] = spent(monitor.get_health_status, rounds)
    monitor.stop_monitoring()
    rows["peer: psutil.cpu_percent(interval=1) as the usual endpoint asks"] = spent(lambda: psutil.cpu_percent(interval=1), 3)
    print(f"{'':62} {'median ms':>10} {'worst ms':>10} {'cpu ms':>8}")
    for name, (median, worst, cpu) in rows.items():
        print(f"{name:62} {median:10.3f} {worst:10.3f} {cpu:8.3f}")


def year(home: Path) -> None:
    """Fill every ring for a year by way of the monitor's own writer, print its size and the time of each chart."""
    local = LocalFile(home / "year.db")
    rollups, end = Rollups(local), 1_800_000_000
    row = [1.0, 42.0, 60.0, 71.5, 1e5, 2e5, 0.0, 3e5, 1.5, 2.0, *range(0, 1400, 100)]
    for step, slots in SLOTS.items():
        for back in range(slots, 0, -1):
            rollups._pending[step, end // step - back] = row
            if len(rollups._pending) >= 500:
                rollups.flush()
    rollups.flush()
    local.write(lambda db: db.execute("PRAGMA user_version").fetchone())
    local.close()
    slots = sum(SLOTS.values())
    size = (home / "year.db").stat().st_size
    print(f"\na year on disk: {slots} slots of three resolutions, {size / 2**20:.2f} MiB, {size / slots:.0f} bytes a slot")
    for name in RANGES:
        median, worst, cpu = spent(lambda name=name: rollups.read(name, end), 5)
        print(f"chart of {name:>3}: {median:8.1f} ms, worst {worst:8.1f}, cpu {cpu:8.1f}")


def main() -> None:
    """Run all of it."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with tempfile.TemporaryDirectory() as home:
        costs(Path(home), rounds)
        year(Path(home))
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
