"""Samples of the real machine, of containers made of files, and of processes that come and go."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rakiza._kernel import SYSTEM_CLOCK
from rakiza.monitoring._host import GB, Host, Processes, read_limits
from rakiza.testing import FrozenClock


def group(root: Path, path: str, **files: str) -> Path:
    """Make a control group of files; `__` stands for a dot."""
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.fixture
def cgroup(tmp_path: Path) -> tuple[Path, Path]:
    """Return the root of a unified tree and the file that names the own group."""
    root, own = tmp_path / "cgroup", tmp_path / "own"
    group(root, "", cgroup__controllers="cpu memory\n")
    own.write_text("0::/kubepods/حاوية\n")
    return root, own


def test_a_sample_of_this_machine_agrees_with_psutil(tmp_path: Path) -> None:
    sample = Host(tmp_path, SYSTEM_CLOCK, tmp_path / "none").sample()
    assert 0 <= sample.cpu_percent <= 100
    assert sample.cpu_count == psutil.cpu_count()
    assert sample.ram_total_gb == round(psutil.virtual_memory().total / GB, 1)
    assert abs(sample.ram_percent - psutil.virtual_memory().percent) < 20
    assert sample.disk_total_gb == round(psutil.disk_usage(str(tmp_path)).total / GB, 1)
    assert (sample.cgroup_memory_limit_gb, sample.cgroup_cpu_quota) == (None, None)
    assert sample.timestamp[19] in "+-"


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    there = Host(tmp_path, SYSTEM_CLOCK).sample()
    assert Host(tmp_path / "لم" / "يُنشأ", SYSTEM_CLOCK).sample().disk_total_gb == there.disk_total_gb


def test_a_container_is_measured_by_its_limits(cgroup: tuple[Path, Path], tmp_path: Path) -> None:
    root, own = cgroup
    group(root, "kubepods", memory__max="max\n", cpu__max="max 100000\n")
    files = {"memory__max": str(512 * 2**20), "memory__current": str(400 * 2**20), "memory__stat": f"anon 5\ninactive_file {144 * 2**20}\n"}
    inner = group(root, "kubepods/حاوية", **files, cpu__max="50000 100000", cpu__stat="usage_usec 1000000\n")
    clock = FrozenClock()
    host = Host(tmp_path, clock, root, own)
    (inner / "cpu.stat").write_text("usage_usec 2000000\n")  # one second of use in four, of half a processor
    clock.advance(4)
    sample = host.sample()
    assert (sample.ram_total_gb, sample.ram_percent, sample.cpu_count, sample.cpu_percent) == (0.5, 50.0, 1, 50.0)
    assert (sample.cgroup_memory_limit_gb, sample.cgroup_cpu_quota) == (0.5, 0.5)


def test_a_quota_of_more_processors_than_there_are_is_measured_against_those(cgroup: tuple[Path, Path], tmp_path: Path) -> None:
    root, own = cgroup
    inner = group(root, "kubepods/حاوية", cpu__max="6400000 100000", cpu__stat="usage_usec 0\n")
    clock = FrozenClock()
    host = Host(tmp_path, clock, root, own)
    processors = psutil.cpu_count() or 1
    (inner / "cpu.stat").write_text(f"usage_usec {2_000_000 * processors}\n")
    clock.advance(4)
    assert (host.sample().cpu_percent, host.sample().cpu_count) == (50.0, processors)


def test_inside_a_namespace_the_root_is_the_own_group(cgroup: tuple[Path, Path]) -> None:
    root, own = cgroup
    group(root, "", memory__max="1000000\n")
    assert read_limits(root, own).memory == 1000000
    own.write_text("0::/../../elsewhere\n")
    assert read_limits(root, own).memory == 1000000


def test_the_first_version_of_cgroups_limits_nothing(tmp_path: Path) -> None:
    group(tmp_path, "memory", memory__max="1000\n")
    own = tmp_path / "own"
    own.write_text("4:memory:/x\n0::/\n")
    assert read_limits(tmp_path, own).memory is None


def test_a_limit_above_the_machine_changes_nothing(cgroup: tuple[Path, Path], tmp_path: Path) -> None:
    root, own = cgroup
    group(root, "kubepods/حاوية", memory__max=str(2**50))
    assert Host(tmp_path, SYSTEM_CLOCK, root, own).sample().ram_total_gb == round(psutil.virtual_memory().total / GB, 1)


def test_a_clock_that_stands_or_counters_that_fall_break_nothing(tmp_path: Path) -> None:
    clock = FrozenClock()
    host = Host(tmp_path, clock)
    assert host.sample().network_sent_per_second == 0.0
    host._before = {name: value + 1e12 for name, value in host._before.items()}
    clock.advance(5)
    sample = host.sample()
    assert (sample.cpu_percent, sample.network_sent_per_second, sample.disk_write_per_second) == (0.0, 0.0, 0.0)


def test_the_busiest_processes_and_one_that_vanished() -> None:
    processes = Processes(SYSTEM_CLOCK)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    try:
        processes.look()
        time.sleep(0.6)
        processes.look()
        rows = processes.top(500)
        row = next(each for each in rows if each["pid"] == busy.pid)
    finally:
        busy.kill()
        busy.wait()
    assert list(row) == ["pid", "name", "cpu_percent", "memory_mb", "memory_percent", "status"]
    assert isinstance(row["cpu_percent"], float)
    assert row["cpu_percent"] > 5
    assert "python" in str(row["name"])
    assert all(each["pid"] != gone.pid for each in rows)
    processes.look()
    assert all(each["pid"] != busy.pid for each in processes.top(500))
    assert len(processes.top(3)) == 3


def test_processes_are_looked_at_only_while_somebody_asks() -> None:
    clock = FrozenClock()
    processes = Processes(clock)
    processes.look_if_asked()
    assert processes._rows == []
    assert processes._thread is None
    processes.top(5)
    assert processes._thread is not None
    processes._thread.join()
    clock.advance(61)
    seen = processes._seen_at
    processes.look_if_asked()
    assert processes._seen_at == seen
    processes.top(5)  # stale by now: a new look in the background
    processes._thread.join()
    assert processes._seen_at == 61
