"""Processes that share the log files, fork and are killed: no line lost, doubled or broken."""

import gzip
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rakiza.logs._writer import FileWriter
from servers import Child

PROCESSES, LINES = 8, 2_000
WRITE = """
import glob, logging, os, sys, time
from rakiza.logs import setup_logging
who, count = sys.argv[2], int(sys.argv[3])
logs = setup_logging("x", sys.argv[1], enable_console=False, max_bytes=40_000, backup_count=1000, compress=sys.argv[4] == "compress")
log = logging.getLogger("site")
print("ready", flush=True)
while not os.path.exists(sys.argv[1] + "/go"):
    time.sleep(0.005)
for number in range(count):
    log.info("%s/%d سطر", who, number)
while sys.argv[4] == "compress" and not glob.glob(sys.argv[1] + "/x.log.*.gz"):
    time.sleep(0.01)  # a quick machine has written everything before anybody looks whether there is something to pack
logs.stop()
print("done", flush=True)
"""


def every_line(folder: Path, stem: str = "x") -> list[dict[str, Any]]:
    found = []
    for path in folder.glob(f"{stem}.log*"):
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        assert not data or data.endswith(b"\n"), path
        found += [json.loads(line) for line in data.splitlines()]
    return found


@pytest.mark.parametrize("packing", ["plain", "compress"])
def test_eight_processes_lose_and_double_no_line_while_they_rotate(tmp_path: Path, python_process: Callable[..., Child], packing: str) -> None:
    workers = [python_process(WRITE, str(tmp_path), str(who), str(LINES), packing) for who in range(PROCESSES)]
    for worker in workers:
        worker.wait_for("ready")
    (tmp_path / "go").touch()
    for worker in workers:
        worker.wait_for("done", 120)
    messages = sorted(line["message"] for line in every_line(tmp_path))
    assert messages == sorted(f"{who}/{number} سطر" for who in range(PROCESSES) for number in range(LINES))
    assert len(list(tmp_path.glob("x.log.*"))) > 50, "the load was to rotate the file"
    if packing == "compress":
        assert list(tmp_path.glob("x.log.*.gz"))


AUDIT = """
import logging, sys
from rakiza.logs import log_audit, setup_logging
setup_logging("x", sys.argv[1], enable_console=False, max_bytes=20_000, backup_count=1000)
number = 0
while True:
    logging.getLogger("site").error("خطأ %s/%d %s", sys.argv[2], number, "ا" * 5000)
    log_audit("PAYMENT", f"{sys.argv[2]}/{number}", "APPROVE", "شهادة", {"amount": 12.5})
    print(number, flush=True)
    number += 1
"""


def test_a_killed_process_loses_no_audit_line_and_breaks_none(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    recorded: set[str] = set()
    witness = python_process(AUDIT, str(tmp_path), "witness")
    for who in range(4):
        child = python_process(AUDIT, str(tmp_path), str(who))
        child.wait_for(str(2 + 3 * who))
        recorded |= {f"{who}/{line}" for line in child.kill9() if line.isdigit()}
    witness.wait_for(str(len(witness.lines) + 3))
    recorded |= {f"witness/{line}" for line in witness.kill9() if line.isdigit()}
    FileWriter(tmp_path / "x.log", 10**9, 1).write(b'{"message":"the next one"}\n')
    found = [line["user_id"] for line in every_line(tmp_path, "x_audit")]
    assert recorded <= set(found)
    assert len(found) == len(set(found))
    assert every_line(tmp_path)
    assert every_line(tmp_path, "x_errors")


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (b'{"timestamp":"2026-11-23T15:30:00+03:00","mess', b""),
        (b'{"ti', b""),
        (b"{", b""),
        ("سطر من برنامج آخر".encode(), "سطر من برنامج آخر\n".encode()),
        (b'{"timestamp":"' + b"x" * 300_000, b""),
    ],
)
@pytest.mark.parametrize("before", [b"", b'{"whole":1}\n'])
def test_half_a_line_is_cut_off_and_never_glued_to_the_next(tmp_path: Path, left: bytes, kept: bytes, before: bytes) -> None:
    (tmp_path / "x.log").write_bytes(before + left)
    writer = FileWriter(tmp_path / "x.log", 10**9, 1)
    writer.write(b'{"next":1}\n')
    with (tmp_path / "x.log").open("ab") as other:  # another process is killed while this one has the file open
        other.write(left)
    writer.write(b'{"next":2}\n')
    assert (tmp_path / "x.log").read_bytes() == before + kept + b'{"next":1}\n' + kept + b'{"next":2}\n'
    writer.close()


def test_a_killed_rotation_leaves_a_gap_that_costs_no_file(tmp_path: Path) -> None:
    for name in ("x.log", "x.log.1", "x.log.3", "x.log.4.gz"):
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    writer = FileWriter(tmp_path / "x.log", 10, 4)
    writer.write(b"next\n")
    writer.close()
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"x.log": b"next\n", "x.log.1": b"x.log\n", "x.log.2": b"x.log.1\n", "x.log.3": b"x.log.3\n", "x.log.4.gz": b"x.log.4.gz\n"}
    FileWriter(tmp_path / "x.log", 5, 4).write(b"last\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()}["x.log.4"] == b"x.log.3\n"
    assert not (tmp_path / "x.log.4.gz").exists()


COMPRESS = """
import sys
from pathlib import Path
from rakiza.logs._writer import FileWriter
writer = FileWriter(Path(sys.argv[1]), 800_000, 50)
print("begins", flush=True)
for _ in range(40):
    writer.compress()
print("packed", flush=True)
"""


def test_killed_compressions_lose_and_double_nothing(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    for number in range(1, 13):
        lines = [json.dumps({"timestamp": "x", "number": number * 10_000 + line, "noise": os.urandom(40).hex()}) for line in range(2_000)]
        (tmp_path / f"x.log.{number}").write_text("\n".join(lines) + "\n")
    expected = [number * 10_000 + line for number in range(1, 13) for line in range(2_000)]
    for turn in range(8):
        child = python_process(COMPRESS, str(tmp_path / "x.log"))
        child.wait_for("begins")
        time.sleep(0.005 + 0.01 * turn)
        child.kill9()
        assert sorted(line["number"] for line in every_line(tmp_path)) == expected
    child = python_process(COMPRESS, str(tmp_path / "x.log"))
    end = time.monotonic() + 60
    while not any(path.suffix == ".gz" for path in tmp_path.glob("x.log.*")) and time.monotonic() < end:
        time.sleep(0.02)
    child.kill9()
    assert any(path.suffix == ".gz" for path in tmp_path.glob("x.log.*"))
    assert sorted(line["number"] for line in every_line(tmp_path)) == expected
    (tmp_path / "x.log.12.gz").unlink(missing_ok=True)
    (tmp_path / "x.log.12").write_bytes(gzip.compress(b'{"number":1}\n'))  # killed between its two steps
    python_process(COMPRESS, str(tmp_path / "x.log")).wait_for("packed")
    assert {path.suffix for path in tmp_path.glob("x.log.*")} == {".gz"}
    assert len(every_line(tmp_path)) == 22_001


def test_rotation_and_compression_at_once_keep_order_and_lines(tmp_path: Path) -> None:
    writer, other = FileWriter(tmp_path / "x.log", 5_000, 500), FileWriter(tmp_path / "x.log", 5_000, 500)
    ended = threading.Event()

    def pack() -> None:
        while not ended.is_set():
            other.compress()

    thread = threading.Thread(target=pack)
    thread.start()
    for number in range(6_000):
        writer.write(b'{"number":%06d0}\n' % number if number else b'{"number":0}\n')
    ended.set()
    thread.join()
    files = sorted(tmp_path.glob("x.log.*"), key=lambda path: -int(path.name.split(".")[2]))
    data = b"".join(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in [*files, tmp_path / "x.log"])
    assert data.count(b"\n") == 6_000
    assert data.splitlines()[1:] == sorted(data.splitlines()[1:])
    assert any(path.suffix == ".gz" for path in files)


FORK = """
import logging, os, sys, threading
from rakiza.logs import log_audit, log_request, setup_logging
logs = setup_logging("x", sys.argv[1], enable_console=False, max_bytes=20_000, backup_count=1000)
stop = threading.Event()
def talk(who):
    number = 0
    while not stop.is_set() and number < 300:
        logging.getLogger("site").info("%s %d", who, number)
        log_request("GET", f"/{who}/{number}", 200, 1.0)
        number += 1
threads = [threading.Thread(target=talk, args=(f"parent{n}",)) for n in range(3)]
[thread.start() for thread in threads]
children = []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        talk(f"child{child}")
        log_audit("FORK", child, "x", "y")
        logs.stop()
        os._exit(0)
    children.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
[thread.join() for thread in threads]
print("done", flush=True)
"""


def test_forks_in_the_middle_of_writing_lose_and_double_nothing(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    child = python_process(FORK, str(tmp_path))
    child.wait_for("done", 60)
    assert child.finish()[-1] == "done"
    assert child.process.returncode == 0
    who = [f"parent{number}" for number in range(3)] + [f"child{number}" for number in range(8)]
    assert sorted(line["message"] for line in every_line(tmp_path)) == sorted(f"{one} {number}" for one in who for number in range(300))
    assert sorted(line["path"] for line in every_line(tmp_path, "x_requests")) == sorted(f"/{one}/{number}" for one in who for number in range(300))
    assert sorted(line["user_id"] for line in every_line(tmp_path, "x_audit")) == list(range(8))


def test_a_process_that_was_stopped_while_it_held_the_lock_does_not_stop_the_others(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    holder = python_process(
        "import fcntl, sys, time; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX); print('holds', flush=True); time.sleep(60)",
        str(tmp_path / "x.log"),
    )
    holder.wait_for("holds")
    holder.process.send_signal(signal.SIGSTOP)
    writer = FileWriter(tmp_path / "x.log", 10, 1)
    for _ in range(50):  # only the first of them waits
        assert writer.write("سطر بلا قفل\n".encode())
    assert (tmp_path / "x.log").read_text() == "سطر بلا قفل\n" * 50
    holder.process.send_signal(signal.SIGCONT)


def test_a_signal_handler_may_log_while_its_thread_writes(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    source = """
import logging, signal, sys
from rakiza.logs import setup_logging
setup_logging("x", sys.argv[1], enable_console=False)
signal.signal(signal.SIGALRM, lambda *_: logging.getLogger("signal").error("إشارة"))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for number in range(6_000):
    logging.getLogger("site").error("%d", number)
signal.setitimer(signal.ITIMER_REAL, 0)
print("done", flush=True)
"""
    python_process(source, str(tmp_path)).wait_for("done", 60)
    messages = [line["message"] for line in every_line(tmp_path)]
    assert [message for message in messages if message != "إشارة"] == [str(number) for number in range(6_000)]
    assert messages.count("إشارة") > 10
