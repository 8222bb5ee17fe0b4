"""What an operator sees of errors, over a whole platform, under ASGI and WSGI."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

import laid
from rakiza import integrate
from rakiza.errors import capture_exception, capture_message

KEY = {"X-API-Key": "an-operators-key-of-enough-length"}


class Site:
    """One application with an error, asked without a server."""

    def __init__(self, kind: str, home: Path) -> None:
        self.app: Any = Flask("site") if kind == "flask" else FastAPI()
        self.kind = kind
        self.app.get("/fails")(fails)
        settings = {"hub": {"home": str(laid.home(home, "app"))}, "security": {"ops_api_key": KEY["X-API-Key"]}, "logs": {"console": False}}
        self.platform = integrate(self.app, settings)
        self.platform.start()

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] = KEY) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://site.example") as client:
                return await client.request(method, path, content=content, headers=headers)

        content = None if body is None else json.dumps(body).encode()
        if self.kind == "fastapi":
            return asyncio.run(send())
        with httpx.Client(transport=httpx.WSGITransport(self.app.wsgi_app), base_url="http://site.example") as client:
            return client.request(method, path, content=content, headers=headers)


def fails() -> str:
    logging.getLogger("noufal").warning("قبل الفشل، token=hunter2")
    try:
        raise ValueError("فشل المشروع، password=hunter2")
    except ValueError:
        capture_exception()
        raise


@pytest.fixture(params=["flask", "fastapi"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    found = Site(request.param, tmp_path)
    yield found
    found.platform.shutdown()


def test_an_error_is_one_group_with_what_led_to_it(site: Site) -> None:
    answer = site.ask("GET", "/fails")
    assert answer.status_code == 500
    page = site.ask("GET", "/api/errors").json()
    (item,) = page["items"]
    assert (item["kind"], item["count"], item["state"], page["next_cursor"]) == ("ValueError", 1, "open", None)
    assert item["message"] == "فشل المشروع، password=[redacted]"
    assert item["request_id"] == answer.headers["x-request-id"]
    assert page["counts"] == {"open": 1, "resolved": 0, "ignored": 0, "regressed": 0}
    one = site.ask("GET", f"/api/errors/{item['id']}").json()
    assert {name: one[name] for name in item} == item
    assert one["culprit"].endswith(":fails")
    assert [crumb["message"] for crumb in one["sample"]["breadcrumbs"]] == ["قبل الفشل، token=[redacted]"]
    assert (one["sample"]["path"], one["sample"]["method"]) == ("/fails", "GET")
    assert [entry["request_id"] for entry in one["recent"]] == [item["request_id"]]
    assert (len(one["hourly"]), sum(one["hourly"])) == (24, 1)
    assert "hunter2" not in json.dumps(one)


def test_operators_resolve_and_errors_come_back(site: Site) -> None:
    site.ask("GET", "/fails")
    key = site.ask("GET", "/api/errors").json()["items"][0]["id"]
    assert site.ask("POST", f"/api/errors/{key}/state", {"state": "resolved"}).json()["state"] == "resolved"
    assert site.ask("GET", "/api/errors?state=open").json()["items"] == []
    site.ask("GET", "/fails")
    (item,) = site.ask("GET", "/_rakiza/api/errors?state=regressed").json()["items"]
    assert (item["id"], item["count"]) == (key, 2)
    audit = (Path(site.platform.ctx.home) / "logs").rglob("*audit*")
    assert "ERROR_STATE" in "".join(file.read_text(encoding="utf-8") for file in audit)


def test_what_is_refused(site: Site) -> None:
    assert site.ask("GET", "/api/errors", headers={}).status_code == 401
    assert site.ask("POST", "/api/errors/x/state", {"state": "open"}, headers={}).status_code in {401, 403}
    for query in ("limit=0", "limit=501", "limit=x", "state=none", "cursor=x", "cursor=2026~1", "q=" + "م" * 201):
        assert site.ask("GET", f"/api/errors?{query}").status_code == 422, query
    missing = site.ask("GET", "/api/errors/0000000000000000")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert site.ask("POST", "/api/errors/0000000000000000/state", {"state": "open"}).status_code == 404
    assert site.ask("POST", "/api/errors/0000000000000000/state", {"state": "regressed"}).status_code == 422


def test_pages_hold_every_group_once(site: Site) -> None:
    words = ("ألف", "باء", "جيم", "دال", "هاء")
    for word in words:
        capture_message(f"فشل {word}", "warning")
    found, cursor = [], ""
    while cursor is not None:
        page = site.ask("GET", f"/api/errors?limit=2&cursor={cursor.replace('+', '%2B')}").json()
        found += [item["message"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert sorted(found) == sorted(f"فشل {word}" for word in words)
    assert [item["message"] for item in site.ask("GET", "/api/errors?q=جيم").json()["items"]] == ["فشل جيم"]
