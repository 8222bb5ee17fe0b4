"""The monitor by itself: the specified calls, settings, samples in the background."""

import time
from pathlib import Path

import msgspec
import pytest

from rakiza._kernel import SettingsError, SettingsReader
from rakiza.monitoring import MonitoringSettings, SystemMonitor
from rakiza.testing import FrozenClock


def test_the_specified_calls_work_alone() -> None:
    monitor = SystemMonitor(warning_threshold={"cpu": 80.0, "ram": 85.0, "disk": 90.0})
    metrics = monitor.get_current_metrics()
    assert metrics.ram_total_gb >= metrics.ram_used_gb > 0
    assert metrics.disk_free_gb >= 0
    with pytest.raises(AttributeError):
        metrics.cpu_percent = 1.0  # type: ignore[misc]
    status = monitor.get_health_status()
    assert list(status) == ["status", "timestamp", "metrics", "warnings"]
    assert status["status"] in {"healthy", "warning", "critical"}
    summary = monitor.get_metrics_summary(last_n=60)
    assert summary["period"] == "Last 60 readings"
    assert list(summary["cpu"]) == ["avg", "min", "max", "current"]  # type: ignore[call-overload]
    time.sleep(0.01)
    assert isinstance(monitor.get_process_metrics(top_n=10), list)


def test_warnings_name_what_is_above_in_the_language_asked_for() -> None:
    monitor = SystemMonitor(warning_threshold={"ram": 0.001, "cpu": 0, "disk": 100})
    status = monitor.get_health_status()
    (text,) = status["warnings"]  # type: ignore[misc]
    assert text.startswith("Memory at ")
    assert text.endswith(" %, above 0.001 %")
    (arabic,) = monitor.get_health_status(arabic=True)["warnings"]  # type: ignore[misc]
    assert arabic.startswith("الذاكرة عند ")


def test_critical_is_halfway_to_full() -> None:
    assert MonitoringSettings(thresholds={"disk": 90}).rules(5)["disk"].bounds == (90.0, 95.0)
    assert MonitoringSettings(thresholds={"p95": 300}).rules(5)["p95"].bounds == (300.0, 600.0)


def test_readings_come_at_their_interval_and_are_bounded() -> None:
    clock = FrozenClock()
    monitor = SystemMonitor(settings=MonitoringSettings(interval_seconds=60), clock=clock)
    for _ in range(60):
        clock.advance(5)
        monitor.tick()
    assert len(monitor._readings) == 5
    assert monitor.get_metrics_summary(3)["readings"] == 3
    assert monitor._readings.maxlen == 10_080


def test_a_clock_that_jumps_back_breaks_nothing() -> None:
    class Jumping(FrozenClock):
        """Go on monotonically while the wall clock is set back."""

        back = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.back

    clock = Jumping()
    monitor = SystemMonitor(clock=clock)
    for _ in range(5):
        clock.advance(5)
        monitor.tick()
    clock.back += 7_200
    clock.advance(-7_200)
    for _ in range(5):
        clock.advance(5)
        monitor.tick()
    assert 0 <= monitor.get_current_metrics().cpu_percent <= 100
    assert len(monitor.get_health_status()) == 4
    chart = monitor.history("1h")
    assert isinstance(chart["t"], list)
    assert len(chart["t"]) == 720


def test_it_samples_in_the_background_and_stops() -> None:
    monitor = SystemMonitor()
    monitor.start_monitoring(interval=0.1)
    end = time.monotonic() + 10
    while len(monitor._readings) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(monitor._readings) >= 4
    first = monitor.get_current_metrics()
    monitor.stop_monitoring()
    seen = len(monitor._readings)
    time.sleep(0.3)
    assert len(monitor._readings) == seen
    monitor.start_monitoring(interval=60)
    monitor.start_monitoring(interval=30)
    assert monitor.interval == 30
    assert monitor.get_current_metrics() is monitor.get_current_metrics()
    assert monitor.get_current_metrics() is not first
    monitor.stop_monitoring()
    monitor.stop_monitoring()


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_an_interval_that_is_none_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        SystemMonitor().start_monitoring(interval)


@pytest.mark.parametrize("thresholds", [{"قرص": 1}, {"cpu": -1}, {"cpu": float("nan")}, "not json", "[1]", '{"cpu": "high"}'])
def test_thresholds_nobody_could_mean_are_refused(thresholds: str | dict[str, float]) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        MonitoringSettings(thresholds=thresholds)
    with pytest.raises(SettingsError, match=r"(?i)thresholds"):
        SettingsReader({"monitoring": {"thresholds": thresholds}}, environ={}, dotenv={}).read(MonitoringSettings)


@pytest.mark.parametrize("url", ["ftp://x/", "hooks.example", "http://", "https:///path", "https://hooks.example/رمز", "http://x:99999/"])
def test_a_webhook_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"alert_webhook_url|[Pp]ort"):
        MonitoringSettings(alert_webhook_url=url)


def test_settings_have_their_specified_names() -> None:
    environ = {"ENABLE_MONITORING": "false", "MONITORING_INTERVAL": "30", "MONITORING_CPU_THRESHOLD": "70", "MONITORING_THRESHOLDS": '{"disk": 75}'}
    config = {"MONITORING_THRESHOLDS": {"cpu": 60, "ram": 65.5}, "MONITORING_RAM_THRESHOLD": 50}
    read = SettingsReader(environ=environ, dotenv={}).read(MonitoringSettings)
    assert (read.enabled, read.interval_seconds) == (False, 30.0)
    assert {name: read.limits()[name] for name in ("cpu", "ram", "disk")} == {"cpu": 70.0, "ram": 85.0, "disk": 75.0}
    flask = SettingsReader(config=config, environ=environ, dotenv={}).read(MonitoringSettings).limits()
    assert {name: flask[name] for name in ("cpu", "ram", "disk")} == {"cpu": 60.0, "ram": 65.5, "disk": 90.0}
    assert msgspec.structs.asdict(MonitoringSettings())["interval_seconds"] == 60.0


def test_a_folder_that_comes_later_is_no_trouble(tmp_path: Path) -> None:
    assert SystemMonitor(folder=tmp_path / "بيانات").get_current_metrics().disk_total_gb > 0
