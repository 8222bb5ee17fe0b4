"""What a component is shown as over time, addresses of what is looked at, the clock, checks that hang."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import Check, CheckResult, SettingsError, SettingsReader
from rakiza.health import Health, HealthSettings, Observation
from rakiza.health._backends.clock import HOLD_SECONDS, ClockWatch
from rakiza.health._core import settled, target
from rakiza.store import StoreSettings
from rakiza.testing import FrozenClock

FAST = HealthSettings(good_seconds=0.01, bad_seconds=0.01)
RESULTS = st.lists(st.sampled_from(["pass", "warn", "fail"]), min_size=1, max_size=30)


def shown(results: list[str], failures: int) -> list[str]:
    """Return what is shown after each look."""
    seen, bad, found = Observation(Check(name="x", fn=CheckResult), CheckResult("fail", output="not looked at yet")), 0, []
    for status in results:
        bad = bad + 1 if status == "fail" else 0
        result = settled(seen, CheckResult(status, output="عطل"), bad, failures)
        seen = Observation(seen.check, result, datetime.now(UTC))  # noqa: TID251 - any moment
        found.append(result.status)
    return found


@given(RESULTS, st.integers(1, 5))
def test_only_a_row_of_bad_looks_fails_what_was_well(results: list[str], failures: int) -> None:
    for number, (result, now) in enumerate(zip(results, shown(results, failures), strict=True)):
        row = results[max(0, number + 1 - failures) : number + 1]
        fails_from_the_start = set(results[: number + 1]) == {"fail"}
        full_row = len(row) == failures and set(row) == {"fail"}
        assert (now == "fail") == (fails_from_the_start or full_row)
        if result != "fail":
            assert now == result


def test_a_component_that_blinks_stays_ready_and_says_so() -> None:
    looks = iter(["pass", "fail", "pass", "fail", "fail", "pass"])
    health = Health(HealthSettings(good_seconds=0.001, bad_seconds=0.001, failures=2))
    health.add_check("طابعة", lambda: CheckResult(next(looks, "pass"), output="لا ورق"))
    states = []
    for _ in range(6):
        before = health.observations()[0].at
        while health.observations()[0].at == before:
            health.refresh()
            time.sleep(0.001)
        states.append((health.observations()[0].result.status, health.ready))
    assert states == [("pass", True), ("warn", True), ("pass", True), ("warn", True), ("fail", False), ("pass", True)]
    health.close()


def test_ten_checks_that_hang_do_not_keep_the_others_from_being_looked_at() -> None:
    release = threading.Event()
    looked: dict[str, int] = {}

    def hangs() -> CheckResult:
        release.wait(30)
        return CheckResult()

    def works(name: str) -> CheckResult:
        looked[name] = looked.get(name, 0) + 1
        return CheckResult()

    health = Health(FAST)
    for number in range(10):
        health.add_check(f"عالق {number}", hangs, timeout_seconds=0.05)
    for number in range(10):
        health.add_check(f"سليم {number}", lambda name=f"سليم {number}": works(name))
    end = time.monotonic() + 20
    while time.monotonic() < end and (len(looked) < 10 or min(looked.values()) < 3):
        health.refresh()
        time.sleep(0.005)
    states = {one.check.name: one.result.status for one in health.observations()}
    hanging = [thread for thread in threading.enumerate() if thread.name.startswith("rakiza-health-عالق")]
    release.set()
    assert min(looked.values()) >= 3
    assert {states[f"سليم {number}"] for number in range(10)} == {"pass"}
    assert {states[f"عالق {number}"] for number in range(10)} == {"fail"}
    assert len(hanging) == 10
    health.close()


def test_a_check_can_be_taken_away() -> None:
    health = Health(FAST)
    health.add_check("قديم", lambda: CheckResult("fail"))
    health.add_check("باق", CheckResult)
    health.wait()
    assert not health.ready
    health.remove_check("قديم")
    assert health.ready
    with pytest.raises(ValueError, match="قديم"):
        health.remove_check("قديم")
    health.add_check("قديم", CheckResult)
    health.close()


def test_groups_are_by_need_and_by_kind() -> None:
    health = Health(FAST)
    health.watch(Check(name="قاعدة", fn=CheckResult, component_type="datastore"))
    health.watch(Check(name="بريد", fn=lambda: CheckResult("fail"), required=False, component_type="service"))
    health.wait()
    assert health.report(with_details=False, group="required") == {"status": "pass"}
    assert health.report(with_details=False, group="optional") == {"status": "warn"}
    assert list(health.report(with_details=True, group="datastore")["checks"]) == ["قاعدة"]  # type: ignore[call-overload]
    with pytest.raises(KeyError, match="غيره"):
        health.report(with_details=False, group="غيره")
    health.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://bank.example/health", ("bank.example:443", "https", 443, "/health", False)),
        ("http://bank.example:81/a?b=c!", ("bank.example:81", "http", 81, "/a?b=c", True)),
        ("بنك=https://bank.example/x?k=v", ("بنك", "https", 443, "/x?k=v", False)),
        ("tcp://smtp:25", ("smtp:25", "tcp", 25, "/", False)),
        ("tcp://[::1]:25!", ("::1:25", "tcp", 25, "/", True)),
    ],
)
def test_addresses_of_services(text: str, expected: tuple[str, str, int, str, bool]) -> None:
    found = target(text)
    assert (found.name, found.scheme, found.port, found.path, found.required) == expected


@pytest.mark.parametrize("text", ["bank", "ftp://bank/x", "tcp://smtp", "https:///x", "tcp://smtp:port", "x=tcp://user:hunter2@smtp"])
def test_an_address_that_cannot_be_looked_at_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="cannot look at") as caught:
        SettingsReader({}, {}, {"RAKIZA_HEALTH_SERVICES": text}, {}).read(HealthSettings)
    assert "hunter2" not in str(caught.value)


def test_two_services_of_one_name_stop_the_start() -> None:
    with pytest.raises(SettingsError, match="the same name"):
        SettingsReader({}, {}, {"RAKIZA_HEALTH_SERVICES": "tcp://a:1,tcp://a:1"}, {}).read(HealthSettings)


def test_redis_by_its_parts_and_by_its_address() -> None:
    read = SettingsReader({}, {}, {"REDIS_HOST": "r.example", "REDIS_PASSWORD": "سر@خطير", "RAKIZA_HEALTH_REDIS_REQUIRED": "true"}, {}).read
    (redis,) = read(HealthSettings).targets(read(StoreSettings).redis_address)
    assert (redis.name, redis.host, redis.port, redis.password, redis.required) == ("redis", "r.example", 6379, "سر@خطير", True)
    assert "سر" not in repr(redis)
    assert HealthSettings().targets() == []


class Watch(FrozenClock):
    """A clock whose wall time can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.off = timedelta()

    def now(self) -> datetime:
        """Return the wall time, off by what was set."""
        return super().now() + self.off


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 5.0])
def test_a_jump_of_the_clock_is_a_warning_for_a_while(seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    clock = Watch()
    watch = ClockWatch(clock, 2.0, None)
    clock.advance(5)
    assert watch.look().status == "pass"
    clock.off = timedelta(seconds=seconds)
    clock.advance(5)
    assert watch.look().status == "warn"
    clock.advance(HOLD_SECONDS - 1)
    found = watch.look()
    assert (found.status, found.observed) == ("warn", seconds)
    clock.advance(2)
    assert watch.look().status == "pass"
    assert sum("jumped" in record.message for record in caplog.records) == 1
