"""The pages of the console stand beside any application, at `/console/` and, where that is the host's, at `/_rakiza/console/`."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

import laid
from rakiza import Platform, integrate
from rakiza.console import Console, ConsoleSettings
from rakiza.console import service as console_service

PAGE = '<!doctype html><title>ركيزة</title><script nonce="__NONCE__" src="/console/assets/index-1.js"></script>'
Get = Callable[[str], httpx.Response]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    (folder / "assets/index-1.js").write_text("'مرحبا'", encoding="utf-8")
    return folder


def flask_app() -> Flask:
    app = Flask("host")
    app.add_url_rule("/", "home", view_func=lambda: "المضيف")
    return app


def fastapi_app() -> FastAPI:
    app = FastAPI()
    app.get("/")(lambda: "المضيف")
    return app


@pytest.fixture(params=[flask_app, fastapi_app], ids=["flask", "fastapi"])
def app(request: pytest.FixtureRequest) -> object:
    return request.param()


@pytest.fixture
def start(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Get]]:
    monkeypatch.setattr(Console.__init__, "__defaults__", (None, built))
    running: list[Platform] = []

    def started(app: object, **parts: object) -> Get:
        platform = integrate(app, {"hub": {"home": str(laid.home(tmp_path / "home", "app"))}}, **parts)
        running.append(platform)
        return lambda path: answered(app, platform, path)

    yield started
    for platform in running:
        platform.shutdown()


def answered(app: object, platform: Platform, path: str) -> httpx.Response:
    if isinstance(app, Flask):
        reply = app.test_client().get(path)
        return httpx.Response(reply.status_code, headers=list(reply.headers), content=reply.data)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=platform.app), base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_the_pages_and_their_assets_stand_beside_the_application(app: object, start: Callable[..., Get]) -> None:
    get = start(app)
    assert "المضيف" in get("/").text
    entrance = get("/console")
    assert (entrance.status_code, entrance.headers["location"]) == (308, "/console/")
    for path in ("/console/", "/console/sign-in", "/console/traces/0af7651916cd43dd8448eb211c80319c", "/console/سجلات"):
        page = get(path)
        assert page.status_code == 200, path
        assert "ركيزة" in page.text
        nonce = page.text.partition('nonce="')[2].partition('"')[0]
        assert f"'nonce-{nonce}'" in page.headers["content-security-policy"]
        assert "require-trusted-types-for 'script'" in page.headers["content-security-policy"]
    asset = get("/console/assets/index-1.js")
    assert asset.text == "'مرحبا'"
    assert "immutable" in asset.headers["cache-control"]
    assert get("/console/assets/nothing.js").status_code == 404


def test_the_pages_carry_no_data(app: object, start: Callable[..., Get]) -> None:
    get = start(app)
    assert get("/console/logs").status_code == 200
    assert get("/_rakiza/api/users/me").status_code == 401


def test_a_host_with_its_own_console_keeps_it(start: Callable[..., Get]) -> None:
    app = flask_app()
    app.add_url_rule("/console/", "console", view_func=lambda: "لوحة المضيف")
    get = start(app)
    assert get("/console/").text == "لوحة المضيف"
    page = get("/_rakiza/console/health")
    assert 'src="/_rakiza/console/assets/index-1.js"' in page.text
    assert get("/_rakiza/console/assets/index-1.js").status_code == 200
    assert get("/_rakiza/console").headers["location"] == "/_rakiza/console/"


def test_the_console_can_be_switched_off(app: object, start: Callable[..., Get]) -> None:
    assert start(app, console={"enabled": False})("/console/").status_code == 404


def test_without_the_built_pages_the_page_says_how_to_build_them(app: object, start: Callable[..., Get], built: Path) -> None:
    (built / "index.html").unlink()
    assert not Console(ConsoleSettings(), built).built
    page = start(app)("/console/")
    assert page.status_code == 200
    assert "make ui" in page.text


def test_the_folder_is_the_one_that_the_build_writes() -> None:
    assert console_service.STATIC.parts[-3:] == ("rakiza", "console", "static")
