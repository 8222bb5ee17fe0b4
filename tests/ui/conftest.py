"""One Chromium for a module of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from browsing import FLAGS
from servers import Child

ROOT = Path(__file__).parents[2]
MOCK = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0] + '/console_mock.py', run_name='__main__')
"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Serve the built console over its stand-in for the operator API."""
    if not (ROOT / "src/rakiza/console/static/index.html").exists():
        pytest.skip("the interface is not built: make ui")
    child = Child(MOCK, str(ROOT / "ui/dev"), "0")
    yield child.wait_for("the mock serves").partition("serves ")[2].strip()
    child.close()
