"""What one process finds out about a shared breaker the others of its database follow; a database that is away slows no call."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import servers
from patience import until
from rakiza import Platform, build
from rakiza._kernel import Ports
from rakiza.resilience import CircuitBreaker, CircuitOpenError, Resilience, ResilienceSettings

PATHS = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
OTHER = """
import sys, threading
from rakiza import build
from rakiza.resilience import CircuitBreaker
shared = CircuitBreaker("مصرف", shared=True, min_calls=1, open_seconds=60)
own = CircuitBreaker("بريد", min_calls=1)
for breaker in (shared, own):
    breaker.on_change(lambda change, name=breaker.name: print(name, change.before, change.after, change.why, change.followed))
platform = build({"hub": {"home": sys.argv[2]}, "store": {"database_url": sys.argv[1]}, "logs": {"console": False}}, environ={})
listens = threading.Event()
held = platform.ctx.ports.signals.hear("resilience", lambda message: None, listens.set)
platform.start()
listens.wait()
print("ready")
threading.Event().wait()
"""


@pytest.fixture
def platform(erp_url: str, tmp_path: Path) -> Iterator[Platform]:
    settings = {"hub": {"home": str(tmp_path / "here")}, "store": {"database_url": erp_url}, "logs": {"console": False}}
    found, listens = build(settings, environ={}), threading.Event()
    held = found.ctx.ports.signals.hear("resilience", lambda _: None, listens.set)
    found.start()
    assert listens.wait(60)  # what is said before a bus listens it does not hear
    yield found
    assert held
    found.shutdown()


def test_the_others_follow_what_one_process_finds(
    platform: Platform, erp_url: str, tmp_path: Path, python_process: Callable[..., servers.Child]
) -> None:
    breaker, own = CircuitBreaker("مصرف", shared=True, min_calls=1, open_seconds=60), CircuitBreaker("بريد", min_calls=1)
    other = python_process(OTHER, erp_url, str(tmp_path / "there"), env=PATHS)
    other.wait_for("ready", 60)
    breaker.leave(breaker.enter(), failed=True)
    other.wait_for("مصرف closed open failures True", 60)
    own.force_open(60)
    breaker.force_close(600, "صيانة")
    other.wait_for("مصرف open forced_closed صيانة True", 60)
    breaker.reset()
    assert other.wait_for("مصرف forced_closed closed reset True", 60)
    assert [line for line in other.lines if "بريد" in line] == []


def test_every_shared_breaker_of_a_name_follows_the_others_not_only_the_one_shown(platform: Platform) -> None:
    hidden, own, shown = (CircuitBreaker("مصرف", shared=shared) for shared in (True, False, True))
    message = '{"origin":"x","name":"مصرف","state":"open","seconds":50.0,"by_hand":false,"why":"failures"}'
    platform.ctx.ports.signals.publish("resilience", message)
    until(lambda: (hidden.state, shown.state) == ("open", "open"))
    assert own.state == "closed"


def test_a_process_follows_the_others_and_tells_nobody_so(platform: Platform, tmp_path: Path) -> None:
    breaker = CircuitBreaker("مصرف", shared=True, min_calls=1, open_seconds=60)
    told: list[str] = []
    stranger = Resilience(ResilienceSettings(), platform.ctx.ports)
    held = platform.ctx.ports.signals.hear("resilience", told.append, lambda: None)
    message = '{"origin":"x","name":"مصرف","state":"open","seconds":50.0,"by_hand":false,"why":"failures"}'
    platform.ctx.ports.signals.publish("resilience", message)
    until(lambda: breaker.state == "open")
    with pytest.raises(CircuitOpenError) as refused:
        breaker.enter()
    assert 45 < refused.value.retry_after_seconds <= 50
    breaker.force_close(600, "نعم")
    until(lambda: len(told) == 2)
    platform.ctx.ports.signals.publish("resilience", message)
    platform.ctx.ports.signals.publish("resilience", "ليست رسالة")
    platform.ctx.ports.signals.publish("resilience", message.replace("مصرف", "غيره"))
    until(lambda: len(told) == 5)
    assert (breaker.state, breaker.forced) == ("closed", "closed")  # what an operator said here stays
    stranger.publish()
    assert [text for text in told if "نعم" in text] == [told[1]]
    assert held


class Broken:
    """Signals of a database that is away."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = True

    def publish(self, topic: str, message: str, *, tx: object = None) -> None:
        if self.away:
            raise OSError("the database is away")
        self.sent.append(message)

    def hear(self, topic: str, call: object, lost: object) -> object:
        return call


def test_what_could_not_be_told_is_told_later_with_the_time_that_is_left_and_only_the_latest() -> None:
    ports, woken = Ports(), []
    ports.signals = signals = Broken()  # type: ignore[assignment]
    resilience = Resilience(ports=ports)
    resilience.wake = lambda: woken.append(1)
    resilience.start()
    try:
        breaker = CircuitBreaker("مصرف", shared=True, min_calls=1, open_seconds=60)
        breaker.leave(breaker.enter(), failed=True)
        assert (breaker.state, woken) == ("open", [1])
        with pytest.raises(OSError, match="away"):
            resilience.publish()
        breaker.reset()
        breaker.force_open(30, "صيانة")
        signals.away = False
        resilience.publish()
        resilience.publish()
        assert len(signals.sent) == 1
        assert '"state":"open"' in signals.sent[0]
        assert 0 < float(signals.sent[0].partition('"seconds":')[2].partition(",")[0]) <= 30
    finally:
        resilience.stop()


def test_sharing_can_be_switched_off() -> None:
    ports = Ports()
    ports.signals = signals = Broken()  # type: ignore[assignment]
    resilience = Resilience(ResilienceSettings(share=False), ports)
    resilience.start()
    try:
        breaker = CircuitBreaker("مصرف", shared=True)
        breaker.force_open(30)
        resilience.publish()
        assert signals.sent == []
    finally:
        resilience.stop()
