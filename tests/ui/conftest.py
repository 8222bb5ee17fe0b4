"""Chromium and the stand-ins for the tests of pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Browser, Page, StorageState, sync_playwright

from browsing import Desk, Desks, serious
from servers import Child

ROOT = Path(__file__).parents[2]
MOCK = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.path[0] + '/' + sys.argv[0], run_name='__main__')
"""


@pytest.fixture(scope="module")
def browser(chromium_address: str) -> Iterator[Browser]:
    """Connect for a module: while Playwright is there it has an event loop in this thread, which other tests want for themselves."""
    with sync_playwright() as playwright:
        connected = playwright.chromium.connect_over_cdp(chromium_address)
        yield connected
        connected.close()


def stand_in(script: str, built: str) -> Iterator[str]:
    """Serve a built interface over its stand-in for the API; yield the address."""
    if not (ROOT / built / "static/index.html").exists():
        pytest.skip("the interface is not built: make ui")
    child = Child(MOCK, str(ROOT / "ui/dev"), script, "0")
    yield child.wait_for("the mock serves").partition("serves ")[2].strip()
    child.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Serve the console."""
    yield from stand_in("console_mock.py", "src/rakiza/console")


@pytest.fixture(scope="module")
def erp() -> Iterator[str]:
    """Serve the ERP."""
    yield from stand_in("mock.py", "src/noufal")


def signed_in(link: str) -> StorageState:
    """Sign in where a one-time link leads, without a browser, and return the cookies for one."""
    answer = httpx.post(link, json={"token": "demo"}, headers={"sec-fetch-site": "same-origin"})
    assert answer.status_code == 200, answer.text
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    where: dict[str, Any] = {"domain": "127.0.0.1", "path": "/", "expires": -1}
    cookie: Any = {"name": name, "value": value, **where, "httpOnly": True, "secure": True, "sameSite": "Lax"}
    return {"cookies": [cookie], "origins": []}


@pytest.fixture(scope="module")
def desks(address: str, browser: Browser) -> Iterator[Desks]:
    opened = Desks(browser, signed_in(urljoin(address, "/_rakiza/api/auth/link")), f"{address}account")
    yield opened
    opened.close()


@pytest.fixture
def desk(desks: Desks) -> Iterator[Desk]:
    """Return a function that gives the page of a look (`lang`, `theme`, `width`); they must end without a fault in the browser."""
    yield desks.page
    assert serious(desks.tidy()) == []


@pytest.fixture
def tab(desk: Desk) -> Page:
    """Return an Arabic page of somebody who may do everything."""
    return desk()


@pytest.fixture(scope="module")
def erp_desks(erp: str, browser: Browser) -> Iterator[Desks]:
    opened = Desks(browser, signed_in(urljoin(erp, "/api/auth/link")), f"{erp}account")
    yield opened
    opened.close()


@pytest.fixture
def erp_desk(erp_desks: Desks) -> Iterator[Desk]:
    """Return a function that gives the page of a look of the ERP; nothing may fail on it but what a test says is away."""
    yield erp_desks.page
    assert [fault for fault in erp_desks.tidy() if "status of 503" not in fault] == []
