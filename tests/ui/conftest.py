"""One Chromium for a module of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from browsing import FLAGS, opened, serious
from servers import Child

ROOT = Path(__file__).parents[2]
MOCK = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.path[0] + '/' + sys.argv[0], run_name='__main__')
"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


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


@pytest.fixture
def tab(address: str, browser: Browser) -> Iterator[Page]:
    """Return an Arabic page of somebody who may do everything; it must end without a fault in the browser."""
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    page.goto(f"{address}sign-in?next=/console/account#token=demo")
    page.wait_for_url(f"{address}account")
    yield page
    context.close()
    assert serious(faults) == []
