"""What an operator reads and does about the logs: one suite over Flask and FastAPI, through the pass."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

import laid
from rakiza import Platform, integrate
from rakiza._kernel import Request, RequestContext
from rakiza.logs import http as logs_http

KEY = "an-operators-key-of-enough-length"


class Site:
    """One application with the platform, asked as an operator unless said otherwise."""

    def __init__(self, kind: str, home: Path) -> None:
        self.app: Any = Flask("site") if kind == "flask" else FastAPI()
        logs = {"console": False, "max_bytes": 4096}
        given = {"hub": {"home": str(laid.home(home)), "name": "site"}, "security": {"ops_api_key": KEY}, "logs": logs}
        self.platform: Platform = integrate(self.app, given)
        self.platform.start()
        transport = httpx.WSGITransport(self.app) if kind == "flask" else None
        self._wsgi = httpx.Client(transport=transport, base_url="http://site.example") if transport else None

    def ask(self, method: str, path: str, key: str = KEY, body: object = None) -> httpx.Response:
        given: dict[str, Any] = (
            {"headers": {"x-api-key": key} if key else {}, "json": body} if body is not None else {"headers": {"x-api-key": key} if key else {}}
        )
        if self._wsgi is not None:
            return self._wsgi.request(method, path, **given)

        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://site.example") as client:
                return await client.request(method, path, **given)

        return asyncio.run(asked())

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.platform.logs.path("audit").read_text().splitlines()]


@pytest.fixture(params=["flask", "fastapi"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(request.param, tmp_path)
    yield made
    made.platform.shutdown()
    if made._wsgi is not None:
        made._wsgi.close()


PATHS = [
    ("GET", "/api/logs"),
    ("GET", "/api/logs/files"),
    ("GET", "/api/logs/levels"),
    ("GET", "/api/logs/stream"),
    ("GET", "/api/logs/download/site.log"),
]
PATHS += [("PUT", "/api/logs/levels/site"), ("DELETE", "/api/logs/levels/site")]


def test_only_operators_come_in(site: Site) -> None:
    for method, path in PATHS:
        assert site.ask(method, path, key="", body={} if method == "PUT" else None).status_code == 401, path


def test_a_search_in_arabic_finds_the_lines_as_they_stand_in_the_file(site: Site) -> None:
    for number in range(60):
        logging.getLogger("site.crane").info("رفعت الحديد رقم %d", number)
        logging.getLogger("site.mixer").warning("توقفت الخلاطة")
    for prefix in ("", "/_rakiza"):
        page = site.ask("GET", f"{prefix}/api/logs?q={quote('الحديد رقم')}&limit=7").json()
        assert [item["message"] for item in page["items"]] == [f"رفعت الحديد رقم {number}" for number in range(59, 52, -1)]
        assert page["complete"] is False
        assert page["scanned_bytes"] > 0
        assert page["took_ms"] >= 0
    following = site.ask("GET", f"/api/logs?q={quote('الحديد رقم')}&limit=500&cursor={page['next_cursor']}").json()
    assert [item["message"] for item in following["items"]][::52] == ["رفعت الحديد رقم 52", "رفعت الحديد رقم 0"]
    assert (following["next_cursor"], following["complete"]) == (None, True)
    raw = [json.loads(line) for path in site.platform.logs.folder.glob("site.log*") for line in path.read_text().splitlines()]
    assert page["items"][0] in raw
    assert {item["level"] for item in site.ask("GET", "/api/logs?level=WARNING&logger=site").json()["items"]} == {"WARNING"}


def test_requests_are_found_by_their_ids_and_times(site: Site) -> None:
    answer = site.ask("GET", "/api/logs/files")
    site.platform.logs.flush()
    request_id = answer.headers["x-request-id"]
    (item,) = site.ask("GET", f"/api/logs?file=requests&request_id={request_id}").json()["items"]
    assert item["path"] == "/api/logs/files"
    at = item["timestamp"]
    for moment in (quote(at), at):  # a plus sign that nobody escaped, too
        assert item in site.ask("GET", f"/api/logs?file=requests&since={moment}&until={moment}").json()["items"]
    assert site.ask("GET", "/api/logs?file=requests&until=2001-01-01").json()["items"] == []


def test_wrong_questions_are_answered_422(site: Site) -> None:
    for query in ("limit=0", "limit=501", "limit=x", "cursor=x", "since=yesterday", "file=../etc/passwd", "file=levels", "q=" + "x" * 501):
        answer = site.ask("GET", f"/api/logs?{query}")
        assert answer.status_code == 422, query
        assert answer.headers["content-type"] == "application/problem+json", query


def test_files_are_listed_and_downloaded_and_nothing_else_is(site: Site) -> None:
    for _ in range(60):
        logging.getLogger("site").error("خطأ")
    (site.platform.logs.folder / "secret.log").write_text("x")
    (site.platform.logs.folder / "site.log.7").symlink_to("/etc/passwd")
    listed = site.ask("GET", "/api/logs/files").json()
    names = [one["name"] for one in listed["files"]]
    assert listed["dropped"] == 0
    assert {"site.log", "site.log.1", "site_errors.log"} <= set(names)
    assert not {"secret.log", "site.log.7"} & set(names)
    assert {one["kind"] for one in listed["files"]} >= {"app", "errors"}
    assert all("T" in one["modified"] and one["size_bytes"] >= 0 for one in listed["files"])
    answer = site.ask("GET", "/api/logs/download/site.log.1")
    assert answer.content == (site.platform.logs.folder / "site.log.1").read_bytes()
    assert "site.log.1" in answer.headers["content-disposition"]
    for name in (
        "secret.log",
        "site.log.7",
        "..%2fsecret.log",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%2e%2e",
        ".site_levels.json",
        "site.log%00",
        "site.log/",
    ):
        assert site.ask("GET", f"/api/logs/download/{name}").status_code == 404, name
    assert [one["resource"] for one in site.audited() if one["action"] == "DOWNLOAD"] == ["log:site.log.1"]


def test_a_level_is_changed_listed_audited_and_given_back(site: Site) -> None:
    changed = site.ask("PUT", "/api/logs/levels/site.crane", body={"level": "DEBUG", "seconds": 600})
    assert changed.status_code == 200
    assert changed.json()["level"] == "DEBUG"
    assert "T" in changed.json()["expires_at"]
    logging.getLogger("site.crane").debug("تفصيل")
    assert [item["message"] for item in site.ask("GET", "/api/logs?file=debug").json()["items"]] == ["تفصيل"]
    site.platform.logs.sample("site.mixer", 0.5)
    listed = site.ask("GET", "/api/logs/levels").json()
    assert changed.json() in listed["levels"]
    assert {"logger": "root", "level": "INFO", "effective": "INFO", "expires_at": None} in listed["levels"]
    assert listed["sampling"] == [{"logger": "site.mixer", "ratio": 0.5}]
    assert site.ask("DELETE", "/api/logs/levels/site.crane").json()["effective"] == "INFO"
    assert site.ask("DELETE", "/api/logs/levels/site.crane").status_code == 404
    assert [(one["action"], one["resource"]) for one in site.audited()[-2:]] == [("UPDATE", "logger:site.crane"), ("RESET", "logger:site.crane")]


def test_a_wrong_level_is_refused(site: Site) -> None:
    for body in ({"level": "LOUD"}, {"level": "DEBUG", "seconds": 0}, {"level": "DEBUG", "seconds": 10**9}, {"level": "DEBUG", "x": 1}, {}):
        assert site.ask("PUT", "/api/logs/levels/site.crane", body=body).status_code == 422, body
        assert logging.getLogger("site.crane").level == logging.NOTSET, body


def test_the_stream_shows_what_any_process_writes_and_pings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_http, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(logs_http, "PING_SECONDS", 0.05)
    route = next(one for one in site.platform.routes() if one.path == "/api/logs/stream")
    logging.getLogger("site").warning("قبل")
    request = Request("GET", route.path, {}, RequestContext("r", "t", "s"), query_string=b"logger=site&level=WARNING")

    async def follow() -> bytes:
        stream: Any = route.handler(request).stream  # type: ignore[union-attr]
        seen = await anext(stream)
        for number in range(30):
            logging.getLogger("site").warning("تنبيه %d", number)
            logging.getLogger("other").warning("آخر")
        line = {"timestamp": "2026-11-23T15:30:00+03:00", "level": "WARNING", "logger": "site", "message": "من عملية أخرى"}
        with site.platform.logs.path("app").open("a") as other:
            other.write(json.dumps(line, ensure_ascii=False) + "\n")
        async with asyncio.timeout(20):
            while "أخرى".encode() not in seen or b": ping" not in seen:
                seen += await anext(stream)
        with contextlib.suppress(StopAsyncIteration):
            await stream.aclose()
        return bytes(seen)

    events = [json.loads(line.removeprefix(b"data: ")) for line in asyncio.run(follow()).split(b"\n") if line.startswith(b"data: ")]
    assert [event["message"] for event in events] == [*(f"تنبيه {number}" for number in range(30)), "من عملية أخرى"]


def test_health_knows_the_logs(site: Site) -> None:
    found = site.ask("GET", "/healthz").json()["checks"]["logs"][0]
    assert (found["status"], found["observedValue"], found["required"]) == ("pass", 0, False)
