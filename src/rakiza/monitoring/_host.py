"""Samples of the machine, or of what a container leaves of it, and its busiest processes."""

import heapq
import math
import os
import threading
import time
from pathlib import Path

import msgspec
import psutil

from rakiza._kernel import Clock

from ._core import Limits, limits_of

CGROUP, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
FILES = ("memory.max", "cpu.max", "memory.current", "memory.stat", "memory.swap.max", "memory.swap.current", "cpu.stat")
RATES = ("network_sent_per_second", "network_recv_per_second", "disk_read_per_second", "disk_write_per_second")
SHORTEST_SECONDS = 0.05
"""Counters read closer together than this say nothing."""
ASKED_SECONDS, STALE_SECONDS, WAIT_SECONDS = 60.0, 10.0, 0.04
"""How long after a question processes are looked at, when a look is old, and how long a question waits for a new one."""
MAX_PROCESSES, MAX_TOP = 4_096, 500
ATTRIBUTES = ["name", "cpu_times", "memory_info", "status", "create_time"]
GB = 1024**3


class SystemMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one sample; sizes in GiB, rates in bytes per second, `timestamp` in ISO 8601 with the local offset."""

    timestamp: str
    cpu_percent: float
    cpu_count: int
    ram_total_gb: float
    ram_used_gb: float
    ram_available_gb: float
    ram_percent: float
    swap_total_gb: float
    swap_used_gb: float
    swap_percent: float
    disk_total_gb: float
    disk_used_gb: float
    disk_free_gb: float
    disk_percent: float
    network_bytes_sent: int
    network_bytes_recv: int
    network_sent_per_second: float
    network_recv_per_second: float
    disk_read_per_second: float
    disk_write_per_second: float
    load_average: tuple[float, float, float]
    cgroup_memory_limit_gb: float | None
    cgroup_cpu_quota: float | None


def read_limits(root: Path = CGROUP, own: Path = OWN_GROUP) -> Limits:
    """Return the limits of this process's control group and of those above it; none under cgroup v1."""
    if not (root / "cgroup.controllers").exists():
        return Limits()
    path = next((line[3:].strip("/") for line in _text(own).splitlines() if line.startswith("0::")), "")
    group = root / path if ".." not in path and (root / path).is_dir() else root
    groups = [group, *(parent for parent in group.parents if parent.is_relative_to(root))]
    return limits_of([{name: _text(each / name) for name in FILES} for each in groups])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


class Host:
    """Take samples; processor use and rates are those since the sample before."""

    def __init__(self, folder: Path, clock: Clock, cgroup: Path = CGROUP, own: Path = OWN_GROUP) -> None:
        self._folder, self._clock, self._cgroup = folder.absolute(), clock, (cgroup, own)
        self._at, self._before = clock.monotonic(), _counters(read_limits(cgroup, own))
        self._rates: dict[str, float] = {}

    def sample(self) -> SystemMetrics:
        """Return a sample; the first one right after the start waits a twentieth of a second."""
        if not self._rates and self._clock.monotonic() - self._at < SHORTEST_SECONDS:
            time.sleep(SHORTEST_SECONDS)
        limits = read_limits(*self._cgroup)
        now, counters = self._clock.monotonic(), _counters(limits)
        if (seconds := now - self._at) >= SHORTEST_SECONDS:
            self._rates = {name: max(0.0, value - self._before[name]) / seconds for name, value in counters.items()}
            self._at, self._before = now, counters
        processors = psutil.cpu_count() or 1
        return SystemMetrics(
            timestamp=self._clock.now().astimezone().isoformat(timespec="seconds"),
            cpu_percent=self._cpu_percent(limits),
            cpu_count=min(processors, math.ceil(limits.cpus)) if limits.cpus else processors,
            network_bytes_sent=int(counters["network_sent_per_second"]),
            network_bytes_recv=int(counters["network_recv_per_second"]),
            load_average=os.getloadavg(),
            cgroup_memory_limit_gb=None if limits.memory is None else round(limits.memory / GB, 2),
            cgroup_cpu_quota=limits.cpus,
            **(_memory(limits) | _disk(self._folder) | {name: round(self._rates.get(name, 0.0), 1) for name in RATES}),
        )

    def _cpu_percent(self, limits: Limits) -> float:
        used, of = ("quota", min(limits.cpus, psutil.cpu_count() or 1)) if limits.cpus else ("busy", self._rates.get("ticks"))
        return round(min(100.0, self._rates.get(used, 0.0) / of * 100), 1) if of else 0.0


def _counters(limits: Limits) -> dict[str, float]:
    cpu = psutil.cpu_times()
    ticks = sum(cpu) - getattr(cpu, "guest", 0.0) - getattr(cpu, "guest_nice", 0.0)  # both are part of `user` and `nice`
    busy = ticks - cpu.idle - getattr(cpu, "iowait", 0.0)
    cards = [card for name, card in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    traffic = (sum(card.bytes_sent for card in cards), sum(card.bytes_recv for card in cards))
    return {"ticks": ticks, "busy": busy, "quota": limits.cpu_seconds, **dict(zip(RATES, (*traffic, *_moved()), strict=True))}


def _moved() -> tuple[int, int]:
    try:
        disk = psutil.disk_io_counters()
    except (NotImplementedError, OSError):  # sandboxes without /proc/diskstats
        disk = None
    return (disk.read_bytes, disk.write_bytes) if disk else (0, 0)


def _memory(limits: Limits) -> dict[str, float]:
    """Return memory and swap: those of the container where it has limits, else the machine's."""
    host, swap = psutil.virtual_memory(), psutil.swap_memory()
    total, used, available, percent, swap_total, swap_used = host.total, host.used, host.available, host.percent, swap.total, swap.used
    if limits.memory is not None and limits.memory < total:
        total, used = limits.memory, limits.memory_used
        available, percent = min(available, max(0, total - used)), used / max(1, total) * 100
        swap_total, swap_used = (swap_total, swap_used) if limits.swap is None else (min(swap_total, limits.swap), limits.swap_used)
    sizes = {"ram_total": total, "ram_used": used, "ram_available": available, "swap_total": swap_total, "swap_used": swap_used}
    found = {f"{name}_gb": round(size / GB, 1) for name, size in sizes.items()}
    return found | {"ram_percent": round(percent, 1), "swap_percent": round(swap_used / max(1, swap_total) * 100, 1)}


def _disk(folder: Path) -> dict[str, float]:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    disk = psutil.disk_usage(str(there))
    sizes = {"disk_total_gb": disk.total, "disk_used_gb": disk.used, "disk_free_gb": disk.free}
    return {name: round(size / GB, 1) for name, size in sizes.items()} | {"disk_percent": round(disk.percent, 1)}


class Processes:
    """Look at the processes in the background while somebody asks; the first look shows the processor use since each began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before: dict[tuple[int, float], tuple[float, float]] = {}
        self._rows: list[tuple[float, float, int, float, str, str]] = []
        self._seen_at = self._asked_at = -math.inf
        self._thread: threading.Thread | None = None

    def top(self, number: int) -> list[dict[str, object]]:
        """Return the busiest processes as last seen; when that is long ago, wait a moment for a new look, which goes on in the background."""
        self._asked_at = self._clock.monotonic()
        if self._asked_at - self._seen_at > STALE_SECONDS:
            self.look_soon().join(WAIT_SECONDS)
        return [
            {"pid": pid, "name": name, "cpu_percent": cpu, "memory_mb": size, "memory_percent": share, "status": status}
            for cpu, size, pid, share, name, status in self._rows[:number]
        ]

    def look_soon(self) -> threading.Thread:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self.look, name="rakiza-processes", daemon=True)
            self._thread.start()
        return self._thread

    def look_if_asked(self) -> None:
        if self._clock.monotonic() - self._asked_at < ASKED_SECONDS:
            self.look()

    def look(self) -> None:
        """Look at every process; those that vanish or deny access are left out."""
        now, wall, memory = self._clock.monotonic(), self._clock.now().timestamp(), psutil.virtual_memory().total
        seen: dict[tuple[int, float], tuple[float, float]] = {}
        rows: list[tuple[float, float, int, float, str, str]] = []
        self._rows = self._rows or rows  # who cannot wait for the first look sees what is there
        for process in psutil.process_iter(ATTRIBUTES):
            facts = process.info
            if facts["cpu_times"] is not None and facts["memory_info"] is not None and len(seen) < MAX_PROCESSES:
                key, used = (process.pid, facts["create_time"] or 0.0), facts["cpu_times"].user + facts["cpu_times"].system
                then, before = self._before.get(key, (now - max(1.0, wall - key[1]), 0.0))
                cpu, size = max(0.0, used - before) / max(SHORTEST_SECONDS, now - then) * 100, facts["memory_info"].rss
                figures = (round(cpu, 1), round(size / 2**20, 1), process.pid, round(size / memory * 100, 1))
                rows.append((*figures, facts["name"] or "", facts["status"] or ""))
                seen[key] = (now, used)
        self._before, self._seen_at, self._rows = seen, now, heapq.nlargest(MAX_TOP, rows)
