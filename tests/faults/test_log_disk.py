"""A disk that is full: the application goes on, drops are counted and told, and what fits again is written again."""

import json
import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rakiza import build
from rakiza.logs import Logs, LogSettings
from rakiza.logs._writer import FileWriter
from servers import Child


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of one megabyte."""
    place = tmp_path / "قرص"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("file systems may not be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def whole(path: Path) -> list[dict[str, object]]:
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_a_full_disk_is_survived_told_and_left_behind(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    platform = build(
        {"hub": {"home": str(small_disk / "home"), "name": "x"}, "logs": {"console": False, "dir": str(small_disk)}},
        off=["store", "bus", "security", "events", "jobs", "mail", "backup"],
    )
    logs = platform.logs
    logs.start()
    check = next(check for part in platform.ctx.parts for check in part.checks if check.name == "logs")
    assert check.fn().status == "pass"
    (small_disk / "ballast").write_bytes(b"x" * 900_000)
    for number in range(2_000):
        logging.getLogger("site").info("سطر %d %s", number, "ا" * 50)
        logs.record("PAYMENT", "APPROVE", "شهادة", {"number": number})
    logs.tick()
    assert logs.dropped > 100
    assert any("dropped so far" in record.message for record in caplog.records)
    result = check.fn()
    assert (result.status, result.observed) == ("warn", logs.dropped)
    assert "No space left" in str(result.output)
    assert "LOG_DIR" in str(result.output)
    (small_disk / "ballast").unlink()
    dropped = logs.dropped
    logging.getLogger("site").info("عاد المكان")
    logs.record("PAYMENT", "APPROVE", "شهادة", {"number": "after"})
    assert logs.dropped == dropped
    assert whole(logs.path("app"))[-1]["message"] == "عاد المكان"
    assert whole(logs.path("audit"))[-1]["details"] == {"number": "after"}
    assert len(whole(logs.path("app"))) + len(whole(logs.path("audit"))) + dropped == 4_002
    logs.stop()


def test_rotation_and_compression_on_a_full_disk(small_disk: Path) -> None:
    writer = FileWriter(small_disk / "x.log", 100_000, 3)
    line = b'{"timestamp":"x","noise":"%s"}\n' % (b"y" * 100)
    for _ in range(10_000):
        writer.write(line)
        if not _ % 1000:
            writer.compress()
    assert writer.dropped == 0, "three files of 100 kB fit"
    (small_disk / "ballast").write_bytes(b"x" * 500_000)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "more").write_bytes(b"x" * 900_000)
    for _ in range(10_000):
        writer.write(line)
    writer.compress()
    for path in small_disk.glob("x.log*"):
        assert path.suffix == ".gz" or path.read_bytes().endswith(b"\n")


def test_a_limit_on_file_sizes_breaks_no_line(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    source = """
import resource, sys
from pathlib import Path
from rakiza.logs._core import AccessLine
from rakiza.logs import Logs, LogSettings
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
logs = Logs("x", Path(sys.argv[1]), LogSettings(console=False))
for number in range(200):
    logs.request("GET", f"/{number}", 200, 1.0, "سارة")
logs.flush()
print("dropped", logs.dropped, logs.trouble(), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
logs.request("GET", "/after", 200, 1.0, "سارة")
logs.flush()
print("done", flush=True)
"""
    child = python_process(source, str(tmp_path))
    dropped = int(child.wait_for("dropped").split()[1])
    child.wait_for("done")
    paths = [line["path"] for line in whole(tmp_path / "x_requests.log")]
    assert paths == [*(f"/{number}" for number in range(200 - dropped)), "/after"]
    assert 0 < dropped < 200


def test_an_unwritable_folder_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    logs = Logs("x", tmp_path / "file" / "logs", LogSettings(console=False))
    logs.start()
    logging.getLogger("lost").error("ضاع")
    logs.record("a", "b", "c")
    assert logs.dropped == 3
    assert str(tmp_path / "file") in str(logs.trouble())
    logs.stop()
