"""The files of the running ERP under load answer the questions the specification asks of them, with jq and grep alone."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from served import EMAIL, Served

THREADS, REQUESTS = 6, 150
WRONG = json.dumps({"email": EMAIL, "password": "ليست كلمة المرور"}).encode()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder of the files after a short office day: people sign in, one fails, six read at once, something breaks."""
    home = tmp_path_factory.mktemp("سجلات")
    with Served(home, LOG_LEVEL="DEBUG", LOG_MAX_BYTES=str(64 * 1024), LOG_BACKUP_COUNT="50", RAKIZA_WEB_RATE_LIMIT_PER_MINUTE="100000") as site:
        assert site.request("POST", "/api/auth/login", WRONG).status == 401
        site.sign_in()
        assert site.send("POST", "/api/projects", {"code": "VILLA-1", "name": "فيلا الياسمين"}).status == 201
        assert site.upload("VILLA-1", b"no workbook").status in {400, 415, 422}
        readers = [threading.Thread(target=read, args=(site.port, site.cookie)) for _ in range(THREADS)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        site.child.process.terminate()
        site.child.process.wait(30)
        yield home / "logs"


def read(port: int, cookie: str) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(REQUESTS):
        path = ("/api/projects", "/api/projects/VILLA-1/boq/summary", "/api/users/me")[number % 3]
        connection.request("GET", path, headers={"cookie": cookie, "user-agent": "متصفح".encode().decode("latin-1")})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def shell(command: str, logs: Path) -> str:
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=logs, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text: str) -> list[dict[str, Any]]:
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        found.append(value)
    return found


def test_every_line_of_every_file_is_one_json_object_and_no_request_is_lost(logs: Path) -> None:
    files = sorted(logs.glob("noufal*.log*"))
    assert {"noufal.log", "noufal_debug.log", "noufal_requests.log", "noufal_audit.log"} <= {path.name for path in files}
    assert (logs / "noufal_requests.log.1").exists(), "the load was to rotate the file"
    lines = {path.name: [json.loads(line) for line in path.read_text().split("\n") if line] for path in files}
    reads = [line["request_id"] for name in lines if name.startswith("noufal_requests") for line in lines[name] if line["method"] == "GET"]
    assert len(reads) == len(set(reads)) == THREADS * REQUESTS


@pytest.mark.usefixtures("jq")
def test_jq_answers(logs: Path) -> None:
    (last,) = objects(shell("jq -s '.[-10:]' noufal_requests.log", logs))
    assert len(last) == 10
    assert {"timestamp", "method", "path", "status_code", "response_time_ms", "user_id", "ip_address", "user_agent"} <= set(last[0])
    (slowest,) = objects(shell("cat noufal_requests.log* | jq -s 'sort_by(.response_time_ms) | reverse | .[:10]'", logs))
    times = [line["response_time_ms"] for line in slowest]
    assert len(times) == 10
    assert times == sorted(times, reverse=True)
    everything = "cat noufal_requests.log*"
    counted = shell(f"{everything} | jq -r '.user_id' | sort | uniq -c | sort -nr", logs).split()
    assert int(counted[0]) >= THREADS * REQUESTS
    failed = objects(shell(f"{everything} | jq 'select(.status_code >= 400)'", logs))
    assert {line["path"] for line in failed} == {"/api/auth/login", "/api/projects/VILLA-1/boq/import"}
    assert all(line["level"] == "INFO" for line in objects(shell("""jq 'select(.level == "INFO")' noufal.log""", logs)))
    errors = objects(shell("""jq 'select(.level == "ERROR")' noufal.log""", logs))
    assert errors == objects(shell("touch noufal_errors.log; jq . noufal_errors.log", logs))


@pytest.mark.usefixtures("jq")
def test_the_audit_file_tells_who_signed_in_and_who_did_not(logs: Path) -> None:
    records = objects(shell("jq . noufal_audit.log", logs))
    assert set(records[0]) >= {"timestamp", "event_type", "user_id", "action", "resource", "details", "ip_address"}
    (failed,) = shell("grep 'LOGIN.*failed' noufal_audit.log", logs).splitlines()
    assert json.loads(failed)["details"]["success"] is False
    entered = objects(shell("""jq 'select(.action == "LOGIN" and .details.success)' noufal_audit.log""", logs))
    assert [record["resource"] for record in entered] == ["authentication"]
    assert entered[0]["user_id"] == json.loads(failed)["user_id"]
    assert "فيلا الياسمين" in shell("grep VILLA-1 noufal_audit.log", logs)
    assert "ليست كلمة المرور" not in shell("cat noufal*.log*", logs)


def test_grep_finds_words(logs: Path) -> None:
    assert "متصفح" in shell("grep summary noufal_requests.log*", logs)
    assert shell("grep 'alembic' noufal.log", logs)
