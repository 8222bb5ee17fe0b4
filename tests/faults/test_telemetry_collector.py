"""A collector that is gone, slow, frozen or refuses: requests and shutdown do not wait, losses are counted, one line is written."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import laid
from otlp import Receiver
from patience import until
from rakiza import Platform, build
from rakiza.telemetry import TelemetrySettings
from rakiza.telemetry._backends import otlp as backend
from rakiza.telemetry._backends.otlp import Otlp
from servers import Child, free_port

SPANS = 40


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Platform]]:
    """Return a function that starts a platform with an exporter that gives up after a second."""
    monkeypatch.setattr(backend, "EVERY_MILLISECONDS", 50)
    started: list[Platform] = []

    def make(endpoint: str, **telemetry: object) -> Platform:
        given = {"sample_ratio": 1.0, "otlp_endpoint": endpoint, "otlp_timeout": 1.0, **telemetry}
        settings: dict[str, dict[str, object]] = {"hub": {"home": str(laid.home(tmp_path, "app"))}, "telemetry": given}
        started.append(build(settings, environ={}))
        started[-1].start()
        return started[-1]

    yield make
    for platform in started:
        platform.shutdown()


def work(platform: Platform, spans: int = SPANS) -> None:
    tracer = platform.tracer.provider.get_tracer("موقع")
    for number in range(spans):
        tracer.start_span(f"عمل {number}").end()
    platform.tracer.flush()


def check(platform: Platform) -> Any:
    (found,) = [each for part in platform.parts for each in part.checks if each.name == "otlp"]
    assert not found.required
    return found.fn()


def lines(caplog: pytest.LogCaptureFixture, platform: Platform) -> list[str]:
    """Return what was said of this platform's collector, and whatever the SDK said."""
    said = [(record.name.partition(".")[0], record.getMessage()) for record in caplog.records]
    return [text for name, text in said if name == "opentelemetry" or (name == "rakiza" and platform.tracer.settings.endpoint in text)]


def test_a_collector_that_is_gone_costs_spans_and_one_line_and_is_welcome_back(
    start: Callable[..., Platform], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    platform = start(f"http://127.0.0.1:{port}")
    work(platform)
    until(lambda: check(platform).status == "warn", "the check did not warn")
    for _ in range(3):
        work(platform)
        time.sleep(0.3)
    until(lambda: check(platform).observed >= SPANS, "nothing was counted as dropped")
    assert str(port) in check(platform).output
    assert len(lines(caplog, platform)) == 1
    assert "does not take traces" in lines(caplog, platform)[0]
    assert f"otlp_spans_dropped {check(platform).observed}.0" in platform.metrics.render().decode()
    with Receiver(port) as receiver:
        work(platform)
        until(lambda: len(receiver.spans) >= SPANS, "nothing arrived")
        until(lambda: check(platform).status == "pass", "the check still warns")
    assert len(lines(caplog, platform)) == 2
    assert "again" in lines(caplog, platform)[1]


class Refusing:
    """A collector that answers as it is told, after the seconds it is told."""

    def __init__(self, status: int, seconds: float = 0.0) -> None:
        self.asked = 0
        self.released = threading.Event()
        itself = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                itself.asked += 1
                self.rfile.read(int(self.headers["content-length"]))
                itself.released.wait(seconds)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("status", [400, 401, 503])
def test_a_collector_that_refuses_is_told_of_once(start: Callable[..., Platform], caplog: pytest.LogCaptureFixture, status: int) -> None:
    collector = Refusing(status)
    platform = start(collector.address)
    for _ in range(3):
        work(platform)
        time.sleep(0.2)
    until(lambda: check(platform).observed >= SPANS, "nothing was counted as dropped")
    assert len(lines(caplog, platform)) == 1
    platform.shutdown()
    collector.close()


def test_a_slow_collector_is_waited_for_by_nobody(start: Callable[..., Platform], caplog: pytest.LogCaptureFixture) -> None:
    collector = Refusing(200, seconds=30)
    platform = start(collector.address, otlp_timeout=60.0)
    work(platform)
    until(lambda: collector.asked, "the collector was not asked")
    begun = time.monotonic()
    for _ in range(200):
        work(platform)
    assert time.monotonic() - begun < 20, "work waited for the collector"
    until(lambda: check(platform).observed > 0, "what found no room was not counted")
    assert check(platform).observed >= 200 * SPANS - backend.MAX_QUEUED
    begun = time.monotonic()
    platform.shutdown()
    assert time.monotonic() - begun < 15, "the shutdown waited for the collector"
    assert not any("queue" in line.lower() for line in lines(caplog, platform))
    collector.close()


RECEIVER = """
from otlp import Receiver
import sys, time
with Receiver(int(sys.argv[1])) as receiver:
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
        print(len(receiver.spans), flush=True)
"""


def test_a_frozen_collector_gets_what_comes_after_it_woke(
    start: Callable[..., Platform], python_process: Callable[..., Child], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    child = python_process(RECEIVER, str(port), env={"PYTHONPATH": os.pathsep.join(sys.path)})
    child.wait_for("ready")
    platform = start(f"http://127.0.0.1:{port}")
    work(platform)
    child.wait_for(str(SPANS))
    os.kill(child.process.pid, signal.SIGSTOP)
    work(platform)
    until(lambda: check(platform).status == "warn", "the frozen collector was not noticed")
    os.kill(child.process.pid, signal.SIGCONT)
    work(platform)
    until(lambda: check(platform).status == "pass", "the collector that woke was not noticed")
    assert [("again" in line, "does not" in line) for line in lines(caplog, platform)] == [(False, True), (True, False)]


def test_a_forked_child_sends_its_own_spans(tmp_path: Path, python_process: Callable[..., Child]) -> None:
    source = """
import os, sys, time
from rakiza import build
platform = build({"hub": {"home": sys.argv[1]}, "telemetry": {"sample_ratio": 1.0, "otlp_endpoint": sys.argv[2]}}, environ={})
platform.start()
tracer = platform.tracer.provider.get_tracer("x")
tracer.start_span("أب").end()
platform.tracer.flush()
child = os.fork()
if not child:
    tracer.start_span("ابن").end()
    platform.shutdown()
    os._exit(0)
os.waitpid(child, 0)
platform.shutdown()
"""
    with Receiver() as receiver:
        lines_of_child = python_process(source, str(tmp_path), receiver.address).finish()
        assert sorted(span.name for span in receiver.spans) == ["أب", "ابن"], lines_of_child


def test_the_exporter_drops_only_what_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    from rakiza.telemetry._spans import Record

    monkeypatch.setattr(backend, "MAX_QUEUED", 600)
    with Receiver() as receiver:
        otlp = Otlp(TelemetrySettings(otlp_endpoint=receiver.address), {"service.name": "x"})
        spans = [Record(f"{number + 1:016x}", "", "x", "internal", 1.0, 2.0, "unset", "", {}, [], "x") for number in range(2000)]
        otlp.offer([("a" * 32, spans)])
        until(lambda: len(receiver.spans) + otlp.dropped == 2000, "spans were lost without being counted")
        otlp.stop()
    assert len(receiver.spans) >= 600


@pytest.fixture(autouse=True)
def _levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "opentelemetry")
    caplog.set_level(logging.DEBUG, "rakiza.telemetry")
