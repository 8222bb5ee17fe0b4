"""The log files: their keys, Arabic as itself, no broken line, rotation, disks that refuse, threads."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rakiza._kernel import Principal, RequestContext, use_context
from rakiza.logs import Logs, LogSettings
from rakiza.logs._core import Timestamps
from rakiza.logs._writer import BufferedWriter, FileWriter

ANY_TEXT = st.text(st.characters())  # half surrogate pairs too
CONTEXT = RequestContext("r" * 32, "t" * 32, "s" * 16, client="192.168.1.100", method="POST", path="/api/boq/create")
CONTEXT.principal = Principal("123", "سارة", "sara@example.com", "member", frozenset(), "user")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs("noufal_erp", tmp_path / "logs", LogSettings(console=False))
    made.start()
    yield made
    made.stop()


def test_the_application_log_has_the_specified_keys(logs: Logs) -> None:
    with use_context(CONTEXT):
        logging.getLogger("backend.app").warning("بدأ الصب في %s", "البرج")
    line = lines(logs.folder / "noufal_erp.log")[0]
    assert logging.getLogger().level <= logging.INFO
    keys = ["timestamp", "level", "logger", "message", "module", "function", "line", "request_id", "trace_id", "span_id", "tenant"]
    assert list(line) == keys
    assert (line["level"], line["logger"], line["message"], line["request_id"]) == ("WARNING", "backend.app", "بدأ الصب في البرج", "r" * 32)
    assert "بدأ الصب" in (logs.folder / "noufal_erp.log").read_text(encoding="utf-8")
    assert datetime.fromisoformat(str(line["timestamp"])).tzinfo is not None


def test_errors_have_a_file_of_their_own_with_the_exception(logs: Logs) -> None:
    try:
        raise ConnectionError("Could not connect to database")
    except ConnectionError:
        logging.getLogger("backend.database").exception("lost")
    logging.getLogger("backend.database").info("found")
    errors = lines(logs.folder / "noufal_erp_errors.log")
    assert len(errors) == 1
    exception = errors[0]["exception"]
    assert isinstance(exception, dict)
    assert (exception["type"], exception["message"]) == ("ConnectionError", "Could not connect to database")
    assert any("test_logs.py" in row for row in exception["traceback"])
    assert not (logs.folder / "noufal_erp_debug.log").exists()
    assert len(lines(logs.folder / "noufal_erp.log")) == 2


def test_debug_has_a_file_only_at_debug(tmp_path: Path) -> None:
    logs = Logs("x", tmp_path, LogSettings(console=False, level="DEBUG"))
    logs.start()
    logging.getLogger("deep").debug("تفصيل")
    logs.stop()
    assert [line["message"] for line in lines(tmp_path / "x_debug.log")] == ["تفصيل"]


def test_an_audit_record_is_on_disk_when_the_call_returns(logs: Logs) -> None:
    with use_context(CONTEXT):
        logs.record("USER_LOGIN", "LOGIN", "authentication", {"method": "password", "success": True})
    line = lines(logs.folder / "noufal_erp_audit.log")[0]
    own = ["timestamp", "event_type", "user_id", "action", "resource", "details", "ip_address"]
    assert list(line) == [*own, "request_id", "trace_id", "span_id", "tenant"]
    assert (line["user_id"], line["ip_address"], line["details"]) == ("123", "192.168.1.100", {"method": "password", "success": True})


def test_an_access_line_waits_for_the_flush(logs: Logs) -> None:
    logs.access(CONTEXT, 201, 0.12345, "Mozilla")
    path = logs.folder / "noufal_erp_requests.log"
    assert not path.exists()
    logs.flush()
    line = lines(path)[0]
    assert (line["method"], line["path"], line["status_code"], line["response_time_ms"]) == ("POST", "/api/boq/create", 201, 123.45)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(message=ANY_TEXT, argument=st.one_of(ANY_TEXT, st.integers(), st.none(), st.binary()))
def test_any_message_is_one_line_of_json(logs: Logs, message: str, argument: object) -> None:
    path = logs.folder / "noufal_erp.log"
    before = path.read_bytes().count(b"\n") if path.exists() else 0
    record = logging.LogRecord("any", logging.INFO, __file__, 1, message, (argument,), None)
    logs._handlers[0].handle(record)
    logs.record(message, "x", message, {"value": str(argument)})
    assert path.read_bytes().count(b"\n") == before + 1
    assert lines(path)[-1]["logger"] == "any"
    assert lines(logs.folder / "noufal_erp_audit.log")[-1]["event_type"] == message.encode("utf-8", "replace").decode()


def test_a_huge_message_is_cut(logs: Logs) -> None:
    logging.getLogger("huge").info("ا" * 1_000_000)
    assert len(str(lines(logs.folder / "noufal_erp.log")[-1]["message"])) < 70_000


@given(st.floats(min_value=0, max_value=4e9))
def test_timestamps_are_iso_with_an_offset(seconds: float) -> None:
    text = Timestamps().render(seconds)
    assert abs(datetime.fromisoformat(text).timestamp() - seconds) < 0.0011


def test_rotation_keeps_every_line_that_fits_and_the_order(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "x.log", max_bytes=1000, backup_count=20)
    for number in range(200):
        writer.write(b"%030d\n" % number)
    writer.close()
    files = sorted(tmp_path.iterdir(), key=lambda path: -int(path.suffix[1:]) if path.suffix != ".log" else 0)
    assert all(path.stat().st_size <= 1000 for path in files)
    assert [int(line) for path in files for line in path.read_bytes().splitlines()] == list(range(200))


def test_rotation_forgets_the_oldest(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "x.log", max_bytes=100, backup_count=2)
    for number in range(100):
        writer.write(b"%049d\n" % number)
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1", "x.log.2"]


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    writer = BufferedWriter(FileWriter(tmp_path / "x.log", 10**9, 1), b"".join)

    def work(who: int) -> None:
        for number in range(500):
            writer.add(json.dumps([who, number]).encode() + b"\n")
            if number % 50 == 0:
                writer.flush()

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    found = [tuple(json.loads(line)) for line in (tmp_path / "x.log").read_bytes().splitlines()]
    assert sorted(found) == [(who, number) for who in range(8) for number in range(500)]
    assert writer.overflow == 0


def test_a_full_buffer_drops_and_counts(tmp_path: Path) -> None:
    writer = BufferedWriter(FileWriter(tmp_path / "x.log", 10**9, 1), b"".join, max_lines=10)
    for number in range(15):
        writer.add(b"%d\n" % number)
    assert writer.overflow == 5
    writer.flush()
    assert (tmp_path / "x.log").read_bytes() == b"".join(b"%d\n" % number for number in range(10))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_counted_and_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    writer = FileWriter(Path("/dev/full"), 10**9, 1)
    assert [writer.write(b"line\n") for _ in range(4)] == [False] * 4
    assert writer.dropped == 4
    assert caplog.records == []  # a handler must not be called from within a write
    writer.complain()
    writer.complain()
    assert ["4 lines dropped so far" in record.message for record in caplog.records] == [True]
    assert "No space left" in writer.reason


def test_a_folder_that_cannot_be_made_is_no_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    logs = Logs("x", tmp_path / "file" / "logs", LogSettings(console=False))
    logs.start()
    logging.getLogger("lost").error("ضاع")
    logs.record("a", "b", "c")
    assert logs.dropped >= 1
    logs.stop()


def test_a_deleted_file_comes_back_at_the_next_rotation_or_start(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "x.log", 50, 1)
    writer.write(b"first\n")
    os.unlink(tmp_path / "x.log")
    for _ in range(20):
        assert writer.write(b"again\n")
    assert (tmp_path / "x.log").exists()


def test_processes_that_share_a_file_rotate_it_once_and_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rakiza.logs._writer import FileWriter\n"
        "writer = FileWriter(Path(sys.argv[1]), 4096, 900)\n"
        "for number in range(400): writer.write(f'{sys.argv[2]} {number:045d}\\n'.encode())\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "x.log"), str(who)]) for who in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    files = list(tmp_path.iterdir())
    found = [tuple(map(int, line.split())) for file in files for line in file.read_bytes().splitlines()]
    assert sorted(found) == [(who, number) for who in range(3) for number in range(400)]
    assert all(file.stat().st_size >= 2048 for file in files if file.name != "x.log")


def test_a_forked_child_leaves_the_parents_lines_to_the_parent(logs: Logs) -> None:
    logs.access(CONTEXT, 200, 0.001, "parent")
    child = os.fork()
    if child == 0:
        logs.access(CONTEXT, 200, 0.001, "child")
        logs.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    logs.flush()
    assert sorted(str(line["user_agent"]) for line in lines(logs.folder / "noufal_erp_requests.log")) == ["child", "parent"]


def test_a_line_that_cannot_be_said_does_not_take_the_others_with_it(logs: Logs) -> None:
    for path in ("/مشروع", "/\udcff", "/boq"):
        logs.access(RequestContext("r" * 32, "t" * 32, "s" * 16, method="GET", path=path), 200, 0.0012345, "")
    logs.flush()
    found = lines(logs.folder / "noufal_erp_requests.log")
    assert [line["path"] for line in found] == ["/مشروع", "/?", "/boq"]
    assert found[0]["response_time_ms"] == 1.234
