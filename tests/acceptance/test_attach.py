"""Single rooms for an application: `init_…(app)` is one line over `attach`."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

from rakiza import integrate
from rakiza._kernel import attach
from rakiza.health import Health
from rakiza.hub import platform_of
from rakiza.logs import Logs, init_logging
from rakiza.monitoring import init_monitoring


@pytest.fixture
def flask_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.chdir(tmp_path)
    app = Flask("site")
    app.config.update(LOG_DIR=str(tmp_path / "سجلات"), RAKIZA_LOGS_CONSOLE=False)
    app.get("/hello")(lambda: "أهلا")
    yield app
    platform = platform_of(app)
    if platform is not None:
        platform.shutdown()


def test_each_room_joins_the_one_platform_around_the_application(flask_app: Flask, tmp_path: Path) -> None:
    logs = attach(flask_app, "logs", Logs)
    gc.collect()  # nobody but the application holds the platform
    health = attach(flask_app, "health", Health)
    platform = platform_of(flask_app)
    assert platform is not None
    assert (platform.logs, platform.health) == (logs, health)
    assert flask_app.test_client().get("/hello").text == "أهلا"
    assert flask_app.test_client().get("/readyz").text == "ready"
    logs.flush()
    assert '"path":"/hello"' in (tmp_path / "سجلات" / "app_requests.log").read_text()


def test_a_room_that_another_is_named_for_is_refused(flask_app: Flask) -> None:
    with pytest.raises(TypeError, match="'logs' is a Logs, not a Health"):
        attach(flask_app, "logs", Health)


def test_an_asgi_framework_starts_its_rooms_with_its_first_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = FastAPI()
    attach(app, "logs", Logs)

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site.example") as client:
            return [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/nowhere")]

    assert asyncio.run(ask()) == [200, 200, 404]
    platform = platform_of(app)
    assert platform is not None
    platform.shutdown()
    assert (tmp_path / "var" / "logs" / "app_requests.log").read_text().count('"path":"/nowhere"') == 1


def test_a_bare_callable_is_told_what_to_do_instead() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=r"platform\.app"):
        attach(app, "logs", Logs)


def test_the_schema_is_watched(tmp_path: Path) -> None:
    app = Flask("site")
    platform = integrate(app, {"hub": {"home": str(tmp_path)}, "logs": {"console": False}})
    checks = platform.health.report(with_details=True)["checks"]
    assert isinstance(checks, dict)
    assert checks["migrations"][0]["status"] == "pass"
    with platform.store.begin() as tx:
        tx.driver_connection.execute("UPDATE rakiza_security_version SET version_num = 'future'")
    look = next(seen.check.fn for seen in platform.health.observations() if seen.check.name == "migrations")
    with pytest.raises(Exception, match="future"):
        look()
    platform.shutdown()


def test_the_specified_groups_reach_their_rooms(tmp_path: Path) -> None:
    sentry = {"dsn": "http://key@127.0.0.1:9/1", "environment": "staging"}
    platform = integrate(Flask("site"), {"hub": {"home": str(tmp_path)}}, sentry=sentry, logger={"level": "info", "pretty_print": True})
    assert (platform.errors.settings.sentry_dsn, platform.errors.settings.environment) == (sentry["dsn"], "staging")
    assert (platform.logs.settings.level, platform.logs.settings.pretty) == ("info", True)
    platform.shutdown()


def test_the_four_lines_of_the_specification_give_logs_and_monitoring(flask_app: Flask) -> None:
    flask_app.config.update(MONITORING_THRESHOLDS={"cpu": 81.0, "ram": 86.0, "disk": 91.0}, OPS_API_KEY="an-operators-key-of-enough-length")
    assert isinstance(init_logging(flask_app), Logs)
    monitor = init_monitoring(flask_app)
    assert monitor.settings.limits()["cpu"] == 81.0
    headers = {"x-api-key": "an-operators-key-of-enough-length"}
    for path in ("health", "metrics", "summary?last=60", "processes?top=10"):
        answer = flask_app.test_client().get(f"/api/monitoring/{path}", headers=headers)
        assert answer.status_code == 200, path
        answer.close()
    checks = flask_app.test_client().get("/healthz", headers=headers).json["checks"]
    assert {"cpu", "memory", "disk"} <= set(checks)
    assert all("time" in found[0] for found in checks.values())
