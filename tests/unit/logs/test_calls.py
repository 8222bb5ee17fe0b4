"""The specified functions, as the specification calls them."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask

from rakiza import build, integrate
from rakiza._kernel import RequestContext, SettingsError, use_context
from rakiza.hub import platform_of
from rakiza.logs import Logs, LogSettings, calls, init_logging, log_audit, log_metric, log_query, log_request, log_security, setup_logging
from servers import Child


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    calls._take_down()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_specified_calls_write_the_specified_lines(tmp_path: Path) -> None:
    logs = setup_logging(
        app_name="noufal_erp",
        log_dir=str(tmp_path),
        log_level="INFO",
        enable_console=False,
        enable_file=True,
        enable_json=True,
        max_bytes=10 * 1024 * 1024,
        backup_count=10,
    )
    log_request("POST", "/api/boq/create", 201, 123.45, 123, "192.168.1.100", "متصفح")
    log_request("GET", "/api/boq?token=abc123", 200, 1.0)
    details = {"method": "password", "success": True, "2fa_enabled": False, "password": "hunter2"}
    log_audit("USER_LOGIN", 123, "LOGIN", "authentication", details, "192.168.1.100")
    (record,) = lines(tmp_path / "noufal_erp_audit.log")
    keys = ["timestamp", "event_type", "user_id", "action", "resource", "details", "ip_address", "request_id", "trace_id", "span_id", "tenant"]
    assert list(record) == keys
    assert (record["user_id"], record["details"]["success"], record["details"]["password"]) == (123, True, "[redacted]")
    logs.flush()
    first, second = lines(tmp_path / "noufal_erp_requests.log")
    keys = ["timestamp", "method", "path", "status_code", "response_time_ms", "user_id", "ip_address", "user_agent"]
    assert list(first) == [*keys, "request_id", "trace_id", "span_id", "tenant"]
    assert [first[key] for key in keys[1:]] == ["POST", "/api/boq/create", 201, 123.45, 123, "192.168.1.100", "متصفح"]
    assert (second["user_id"], second["path"]) == (None, "/api/boq?token=[redacted]")


def test_access_lines_reach_the_file_by_themselves_at_exit_and_on_an_error(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    source = """
import logging, sys, time
from pathlib import Path
from rakiza.logs import log_request, setup_logging
setup_logging("x", sys.argv[1], enable_console=False)
path = Path(sys.argv[1]) / "x_requests.log"
log_request("GET", "/by-itself", 200, 1.0)
while not path.exists():
    time.sleep(0.01)
log_request("GET", "/on-error", 500, 1.0)
logging.getLogger("site").error("خطأ")
assert "/on-error" in path.read_text()
log_request("GET", "/at-exit", 200, 1.0)
"""
    assert python_process(source, str(tmp_path)).finish() == []
    assert [line["path"] for line in lines(tmp_path / "x_requests.log")] == ["/by-itself", "/on-error", "/at-exit"]


def test_the_further_lines(tmp_path: Path) -> None:
    logs = setup_logging("x", tmp_path, "DEBUG", enable_console=False)
    log_security("authn_login_fail", "ثلاث محاولات", 7, {"otp": "123456"}, ip_address="10.0.0.9")
    log_query("SELECT * FROM بنود", 750.0, rows=3)
    log_query("SELECT 1", 2.0)
    log_metric("concrete_poured", 42.5, "m3", tower="ب")
    (record,) = lines(logs.path("audit"))
    assert (record["event_type"], record["user_id"], record["ip_address"], record["details"]) == (
        "authn_login_fail",
        7,
        "10.0.0.9",
        {"otp": "[redacted]"},
    )
    security, slow, metric = lines(logs.path("app"))
    assert (security["level"], security["logger"], security["function"]) == ("WARNING", "security", "test_the_further_lines")
    assert (slow["level"], slow["extra"]) == ("WARNING", {"statement": "SELECT * FROM بنود", "duration_ms": 750.0, "rows": 3})
    assert metric["extra"] == {"metric": "concrete_poured", "value": 42.5, "unit": "m3", "labels": {"tower": "ب"}}
    assert [line["level"] for line in lines(logs.path("debug"))] == ["WARNING", "WARNING", "DEBUG", "INFO"]


def test_the_last_one_set_up_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    first = setup_logging("one", tmp_path, enable_console=False)
    second = setup_logging("two", tmp_path, enable_console=False)
    logging.getLogger("site").info("صب")
    log_audit("X", "سارة", "Y", "Z")
    assert not first.path("app").exists()
    assert not first.path("audit").exists()
    assert [len(lines(second.path(kind))) for kind in ("app", "audit")] == [1, 1]


def test_a_platform_comes_before_what_was_set_up(tmp_path: Path) -> None:
    alone = setup_logging("alone", tmp_path / "alone", enable_console=False)
    platform = build({"hub": {"home": str(tmp_path)}, "logs": {"console": False}})
    context = RequestContext("rq", "tr", "sp", client="10.1.1.1")
    context.owner = platform.ctx
    with use_context(context):
        log_audit("X", None, "Y", "Z")
    (record,) = lines(platform.logs.path("audit"))
    assert (record["request_id"], record["ip_address"]) == ("rq", "10.1.1.1")
    log_audit("X", None, "Y", "Z")
    assert len(lines(alone.path("audit"))) == 1
    platform.shutdown()


def test_without_any_the_caller_is_told_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="setup_logging"):
        log_audit("X", 1, "Y", "Z")


@pytest.mark.parametrize("wrong", [{"log_level": "LOUD"}, {"max_bytes": 1}, {"backup_count": 0}, {"compres": True}, {"redact_patterns": ["("]}])
def test_a_wrong_setting_is_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        setup_logging("x", tmp_path, **wrong)


@pytest.mark.parametrize("level", ["debug", "INFO"])
def test_plain_text_files_and_no_files(tmp_path: Path, level: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs = setup_logging("x", tmp_path / "plain", level, enable_json=False)
    logging.getLogger("site").info("صب\nINFO forged")
    assert r"INFO     site: صب\nINFO forged" in logs.path("app").read_text()
    assert r"site: صب\nINFO forged" in capsys.readouterr().err
    setup_logging("x", tmp_path / "none", level, enable_file=False, enable_console=False)
    logging.getLogger("site").info("صب")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", [Flask, FastAPI])
def test_init_logging_is_set_by_the_application(tmp_path: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = kind("site") if kind is Flask else kind()
    if kind is Flask:
        app.config.update(LOG_DIR=str(tmp_path / "سجلات"), LOG_LEVEL="DEBUG", LOG_JSON_FORMAT=True, RAKIZA_LOGS_CONSOLE=False)
    logs = init_logging(app)
    assert isinstance(logs, Logs)
    assert logs.folder == (tmp_path / "سجلات" if kind is Flask else Path("var/logs"))
    platform = platform_of(app)
    assert platform is not None
    platform.start()
    logging.getLogger("site").warning("صب")
    assert "صب" in logs.path("app").read_text()
    platform.shutdown()


def test_the_specified_logger_settings_and_development(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = Flask("site")
    settings: dict[str, Any] = {"hub": {"home": str(tmp_path), "environment": "development"}}
    platform = integrate(app, settings, logger={"level": "info", "pretty_print": True})
    platform.start()
    context = RequestContext("rq-7", "tr-7", "sp-7")
    with use_context(context):
        logging.getLogger("site").info("في التطوير يظهر كل شيء")
    platform.shutdown()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "في التطوير" in line]
    assert "request=rq-7 trace=tr-7" in line
    assert line[2] == line[5] == ":"


def test_a_client_without_an_agent_costs_no_line(tmp_path: Path) -> None:
    logs = setup_logging("x", tmp_path, enable_console=False)
    log_request("GET", "/a", 200, 1.0)
    log_request("GET", "/b", 200, 1.0, user_agent=None)  # type: ignore[arg-type] # what a missing header gives
    logging.getLogger("site").error("خطأ")
    logs.flush()
    assert [json.loads(line)["path"] for line in (tmp_path / "x_requests.log").read_text().splitlines()] == ["/a", "/b"]


def test_stopping_one_set_of_files_leaves_the_other_its_level(tmp_path: Path) -> None:
    first, second = (Logs(name, tmp_path, LogSettings(console=False)) for name in "ab")
    first.start()
    second.start()
    first.stop()
    logging.getLogger("site").info("ما زال")
    second.stop()
    assert "ما زال" in (tmp_path / "b.log").read_text()
