"""The probes of a whole platform, under ASGI and WSGI."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

import laid
from rakiza import Platform, integrate
from rakiza._kernel import CheckResult

KEY = {"X-API-Key": "an-operators-key-of-enough-length"}


@pytest.fixture(params=["flask", "fastapi"])
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Platform]:
    settings = {"hub": {"home": str(laid.home(tmp_path, "app"))}, "security": {"ops_api_key": KEY["X-API-Key"]}, "logs": {"console": False}}
    settings["health"] = {"good_seconds": 600.0, "bad_seconds": 600.0}
    found = integrate(Flask("site") if request.param == "flask" else FastAPI(), settings)
    yield found
    found.shutdown()


def ask(platform: Platform, path: str, headers: dict[str, str] | None = None, times: int = 1) -> httpx.Response:
    app: Any = platform.app

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://site.example") as client:
            for _ in range(times):
                answer = await client.get(path, headers=headers)
            return answer

    if not isinstance(app, Flask):
        return asyncio.run(send())
    with httpx.Client(transport=httpx.WSGITransport(app.wsgi_app), base_url="http://site.example") as client:
        for _ in range(times):
            answer = client.get(path, headers=headers)
        return answer


def test_a_thousand_probes_cost_no_look(platform: Platform) -> None:
    looks: list[int] = []

    def look() -> CheckResult:
        looks.append(1)
        return CheckResult()

    platform.health.add_check("قاعدة", look)
    platform.start()
    platform.health.wait()
    for path in ("/readyz", "/healthz"):
        assert ask(platform, path, times=1000).status_code == 200
    assert len(looks) == 1


def test_the_form_is_the_one_asked_for(platform: Platform) -> None:
    platform.start()
    kinds = {accept: ask(platform, "/healthz", {"accept": accept}).headers["content-type"] for accept in ("*/*", "application/health+json")}
    assert set(kinds.values()) == {"application/health+json"}
    for accept in ("application/json", "text/html,application/xhtml+xml,*/*;q=0.8"):
        assert ask(platform, "/healthz", {"accept": accept}).headers["content-type"] == "application/json"
    text = ask(platform, "/healthz", {"accept": "text/plain"})
    assert (text.headers["content-type"].partition(";")[0], text.text) == ("text/plain", ask(platform, "/healthz").json()["status"])


def test_groups_and_details(platform: Platform) -> None:
    platform.health.add_check("بريد", lambda: CheckResult("fail", output="لا يجيب"), required=False)
    platform.start()
    platform.health.wait()
    assert ask(platform, "/healthz?group=required").json() == {"status": "pass"}
    assert ask(platform, "/healthz?group=optional").json() == {"status": "warn"}
    missing = ask(platform, "/healthz?group=غيره")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    checks = ask(platform, "/healthz?group=optional", KEY).json()["checks"]
    assert checks["بريد"][0]["output"] == "لا يجيب"
    assert {"clock", "بريد"} <= set(checks)
    assert "database" not in checks
    assert ask(platform, "/healthz/database").status_code == 401
    assert list(ask(platform, "/healthz/database", KEY).json()["checks"]) == ["database"]
    assert ask(platform, "/healthz/nothing", KEY).status_code == 404
