"""The endpoints of monitoring under WSGI and ASGI alike, with the platform around an application."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from flask import Flask

import laid
from rakiza import Platform, integrate
from rakiza.hub import platform_of
from rakiza.monitoring import SystemMonitor, init_monitoring

KEY = "an-operators-key-of-enough-length"
HEADERS = {"X-API-Key": KEY}
Get = Callable[..., httpx.Response]
THRESHOLDS = {"cpu": 80.0, "ram": 85.0, "disk": 90.0}
SPECIFIED = [
    *("timestamp", "cpu_percent", "cpu_count", "ram_total_gb", "ram_used_gb", "ram_available_gb", "ram_percent", "swap_total_gb", "swap_used_gb"),
    *("swap_percent", "disk_total_gb", "disk_used_gb", "disk_free_gb", "disk_percent", "network_bytes_sent", "network_bytes_recv"),
]


def flask_app() -> Flask:
    app = Flask("site")
    app.get("/مشاريع/<name>")(lambda name: {"name": name})
    app.get("/fails", endpoint="fails")(lambda: ({"no": True}, 503))
    return app


def fast_app() -> FastAPI:
    app = FastAPI()

    @app.get("/مشاريع/{name}")
    async def hello(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/fails")
    async def fails() -> JSONResponse:
        return JSONResponse({"no": True}, 503)

    return app


def client(app: Any, kind: str) -> Get:
    """Return a function that asks the application in process."""
    if kind == "flask":


        def call(path: str, headers: dict[str, str] | None = None) -> httpx.Response:
            answer = app.test_client().get(path, headers=HEADERS if headers is None else headers)
            return httpx.Response(answer.status_code, headers=list(answer.headers), content=answer.data)

        return call

    async def ask(path: str, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site.example") as connection:
            return await connection.get(path, headers=headers)

    return lambda path, headers=None: asyncio.run(ask(path, HEADERS if headers is None else headers))


@pytest.fixture(params=["flask", "asgi"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Platform, Get]]:
    """Yield a started platform around an application of each kind, and how to ask it."""
    app: Any = flask_app() if request.param == "flask" else fast_app()
    settings = {"hub": {"home": str(laid.home(tmp_path)), "name": "site"}, "logs": {"console": False}, "security": {"ops_api_key": KEY}}
    platform = integrate(app, settings, monitoring={"thresholds": {**THRESHOLDS, "swap": 0}})
    platform.start()
    yield platform, client(app, request.param)
    platform.shutdown()
    platform.store.close()


@pytest.fixture
def get(site: tuple[Platform, Get]) -> Get:
    return site[1]


@pytest.fixture
def monitor(site: tuple[Platform, Get]) -> SystemMonitor:
    return site[0].service("monitoring", SystemMonitor)


def rounded(value: object) -> bool:
    return isinstance(value, float) and value == round(value, 1)


def test_health_is_as_specified(get: Get) -> None:
    body = get("/api/monitoring/health").json()
    assert list(body) == ["status", "timestamp", "metrics", "warnings"]
    assert body["status"] in {"healthy", "warning", "critical"}
    assert list(body["metrics"]) == ["cpu_percent", "ram_percent", "disk_percent"]
    assert all(map(rounded, body["metrics"].values()))
    assert all(isinstance(text, str) for text in body["warnings"])
    assert (body["status"] == "healthy") == (not body["warnings"])
    assert datetime.fromisoformat(body["timestamp"]).utcoffset() is not None


def test_metrics_are_as_specified(get: Get) -> None:
    body = get("/api/monitoring/metrics").json()
    assert list(body)[: len(SPECIFIED)] == SPECIFIED
    assert isinstance(body["cpu_count"], int)
    assert all(rounded(body[name]) for name in SPECIFIED if name.endswith(("_gb", "_percent")))
    assert {"network_sent_per_second", "disk_write_per_second", "load_average", "cgroup_cpu_quota"} < set(body)


def test_the_summary_is_as_specified(get: Get, monitor: SystemMonitor) -> None:
    monitor.tick()
    body = get("/api/monitoring/summary?last=60").json()
    assert list(body) == ["period", "readings", "cpu", "ram", "disk"]
    assert body["period"] == "Last 60 readings"
    for name in ("cpu", "ram", "disk"):
        seen = body[name]
        assert list(seen) == ["avg", "min", "max", "current"]
        assert all(map(rounded, seen.values()))
        assert seen["min"] <= seen["avg"] <= seen["max"]
        assert seen["min"] <= seen["current"] <= seen["max"]
    assert get("/api/monitoring/summary").json()["period"] == "Last 60 readings"


def test_processes_are_as_specified(get: Get) -> None:
    body = get("/api/monitoring/processes?top=10").json()
    assert list(body) == ["processes"]
    assert 0 < len(body["processes"]) <= 10
    for row in body["processes"]:
        assert list(row) == ["pid", "name", "cpu_percent", "memory_mb", "memory_percent", "status"]
        assert all(rounded(row[name]) for name in ("cpu_percent", "memory_mb", "memory_percent"))
    used = [row["cpu_percent"] for row in body["processes"]]
    assert used == sorted(used, reverse=True)
    assert len(get("/api/monitoring/processes?top=1").json()["processes"]) == 1


@pytest.mark.parametrize(("path", "field"), [("summary", "last"), ("processes", "top"), ("requests", "minutes")])
def test_numbers_nobody_could_mean_are_answered_422(get: Get, path: str, field: str) -> None:
    for value in ["-1", "0", "abc", "", "1000000000", "9" * 400, "%D9%A3", "1.5", "NaN", "1;drop", "%00", "%FF"]:
        answer = get(f"/api/monitoring/{path}?{field}={value}")
        assert answer.status_code == 422, (value, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["field"] == field
        assert "قيمة غير صحيحة" in answer.json()["errors"][0]["message_ar"]


def test_ranges_nobody_knows_are_answered_422(get: Get) -> None:
    for value in ["2h", "", "١h", "1H", "-1", "1h%00"]:
        answer = get(f"/api/monitoring/history?range={value}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "range"


def test_history_answers_at_once_after_the_start(get: Get) -> None:
    for name, step in {"1h": 5, "6h": 60, "24h": 120, "7d": 900, "30d": 3600, "1y": 86400}.items():
        body = get(f"/api/monitoring/history?range={name}").json()
        assert (list(body), body["step_seconds"]) == (["step_seconds", "t", "series"], step)
        assert len(body["t"]) <= 720
        series = ["cpu", "ram", "disk", "net_sent", "net_recv", "disk_read", "disk_write", "requests", "errors", "p50", "p95", "p99", "loop_lag"]
        assert list(body["series"]) == series
        assert all(len(values) == len(body["t"]) for values in body["series"].values())
        assert body["series"]["cpu"][-1] is not None or body["series"]["cpu"][-2] is not None
        assert body["series"]["cpu"][0] is None


def test_requests_are_counted_by_route(get: Get, monitor: SystemMonitor) -> None:
    for _ in range(30):
        assert get("/مشاريع/فيلا").status_code == 200
    for _ in range(10):
        assert get("/fails").status_code == 503
    get("/_rakiza/api/monitoring/health")
    monitor.tick()
    body = get("/api/monitoring/requests?minutes=60").json()
    assert (body["total"], body["errors"], body["error_rate"]) == (40, 10, 25.0)
    assert body["p50_ms"] <= body["p95_ms"] <= body["p99_ms"]
    assert body["rate"] > 0
    busiest, failing = body["routes"]
    assert list(busiest) == ["method", "route", "count", "errors", "p50_ms", "p95_ms", "p99_ms", "mean_ms", "share"]
    assert (busiest["method"], busiest["count"], busiest["errors"]) == ("GET", 30, 0)
    assert busiest["route"].startswith("/مشاريع/")
    assert (failing["route"], failing["count"], failing["errors"]) == ("/fails", 10, 10)
    assert 99.8 < busiest["share"] + failing["share"] < 100.2
    chart = get("/api/monitoring/history?range=1h").json()["series"]
    assert sum(value for value in chart["errors"] if value) > 0
    assert any(chart["p99"])


def test_an_error_rate_is_an_alert(get: Get, monitor: SystemMonitor) -> None:
    for _ in range(25):
        get("/fails")
    for _ in range(12):
        monitor.tick()
    body = get("/api/monitoring/alerts").json()
    alert = next(alert for alert in body["active"] if alert["name"] == "error_rate")
    assert list(alert) == ["name", "metric", "level", "value", "threshold", "since", "message_en", "message_ar"]
    assert (alert["level"], alert["value"]) == ("critical", 100.0)
    assert alert["message_ar"].startswith("الطلبات الفاشلة عند 100٪")


def test_what_was_slow_is_passed_on(get: Get, site: tuple[Platform, Get]) -> None:
    assert get("/api/monitoring/slow").json() == {"requests": [], "statements": [], "repeated": []}
    site[0].tracer.add_slow_statement("SELECT 'بند'", 9.0)
    (row,) = get("/api/monitoring/slow").json()["statements"]
    assert (row["count"], row["max_ms"]) == (1, 9000.0)


def test_the_process_is_described(get: Get) -> None:
    body = get("/api/monitoring/runtime").json()
    names = "version python pid started_at uptime_seconds threads rss_mb open_files gc_collections loop_lag_ms in_flight"
    assert " ".join(body) == names
    assert (body["version"] != "", body["in_flight"], body["threads"] > 2, body["rss_mb"] > 10) == (True, 1, True, True)
    assert body["uptime_seconds"] >= 0


def test_only_operators_may_look(get: Get) -> None:
    for name in ("health", "metrics", "summary", "processes", "history", "requests", "slow", "alerts", "runtime"):
        assert get(f"/api/monitoring/{name}", headers={}).status_code == 401
        assert get(f"/_rakiza/api/monitoring/{name}").status_code == 200


def test_warnings_come_in_the_caller_s_language(get: Get, monitor: SystemMonitor) -> None:
    rules = monitor.settings.rules(5)
    monitor.alerts.rules = {**rules, "ram": rules["ram"]._replace(bounds=(0.001, 50.0))}
    english = get("/api/monitoring/health").json()["warnings"]
    arabic = get("/api/monitoring/health", headers={**HEADERS, "accept-language": "ar-SA,ar;q=0.9"}).json()["warnings"]
    assert any(text.startswith("Memory at") for text in english)
    assert any(text.startswith("الذاكرة عند") for text in arabic)


def test_health_shows_the_machine(site: tuple[Platform, Get], monitor: SystemMonitor) -> None:
    checks = {seen.check.name: seen for seen in site[0].health.observations()}
    assert {"cpu", "memory", "disk"} <= set(checks)
    assert not any(checks[name].check.required for name in ("cpu", "memory", "disk"))
    look = checks["memory"].check.fn
    monitor.alerts.look({"ram": 0.0}, "now")
    assert look().status == "pass"  # type: ignore[union-attr]
    for _ in range(12):
        monitor.alerts.look({"ram": 99.0, "cpu": 99.0}, "now")
    assert look().status == "fail"  # type: ignore[union-attr]
    assert checks["cpu"].check.fn().status == "warn"  # type: ignore[union-attr]
    monitor._sampled -= 60
    assert "no sample for " in str(look().output)  # type: ignore[union-attr]
    assert look().status == "warn"  # type: ignore[union-attr]


def test_one_line_gives_flask_monitoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = flask_app()
    app.config.update(MONITORING_THRESHOLDS={"cpu": 70, "ram": 75, "disk": 80}, MONITORING_INTERVAL=30, OPS_API_KEY=KEY, RAKIZA_LOGS_CONSOLE=False)
    monitor = init_monitoring(app)
    try:
        assert isinstance(monitor, SystemMonitor)
        assert {name: monitor.settings.limits()[name] for name in ("cpu", "ram", "disk")} == {"cpu": 70.0, "ram": 75.0, "disk": 80.0}
        assert client(app, "flask")("/api/monitoring/health").status_code == 200
        assert monitor.interval == 30
    finally:
        platform = platform_of(app)
        assert platform is not None
        platform.shutdown()


def test_one_line_gives_an_asgi_framework_monitoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPS_API_KEY", KEY)
    app = fast_app()
    monitor = init_monitoring(app)
    assert client(app, "asgi")("/api/monitoring/metrics").json()["cpu_count"] == monitor.get_current_metrics().cpu_count
    platform = platform_of(app)
    assert platform is not None
    platform.shutdown()


def test_switched_off_it_asks_nothing_and_answers_nothing(tmp_path: Path) -> None:
    app = flask_app()
    app.config["ENABLE_MONITORING"] = False
    settings = {"hub": {"home": str(laid.home(tmp_path, "app"))}, "logs": {"console": False}, "security": {"ops_api_key": KEY}}
    platform = integrate(app, settings)
    platform.start()
    try:
        assert client(app, "flask")("/api/monitoring/health").status_code == 404
        assert platform.service("monitoring", SystemMonitor).get_current_metrics().cpu_count > 0
        assert "cpu" not in json.dumps(platform.health.report(with_details=True))
    finally:
        platform.shutdown()
