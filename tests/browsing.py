"""Chromium for the tests of pages: fresh profiles that note what goes wrong, and what every page must be."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

import patience

UI = Path(__file__).parents[1] / "ui"
AXE = UI / "node_modules/axe-core/axe.min.js"
MESSAGES = frozenset(json.loads((UI / "messages/en.json").read_text(encoding="utf-8")))
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SHIFT = """
window.shift = 0;
const add = list => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value };
new PerformanceObserver(add).observe({ type: 'layout-shift', buffered: true });
"""
DOWN = '{"status": 503, "title": "Service unavailable", "code": "unavailable", "request_id": "0198c0de-77aa-7000"}'
LOOKS = (("ar", "dark", 390), ("en", "light", 1440))
"""Both languages, both themes and both widths, each at odds with the other; test_browser.py goes through every pair."""
PATIENCE_SECONDS = patience.SECONDS
"""How long a test waits for what a page must show, on the busiest machine."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def opened(browser: Browser, faults: list[str], *, lang: str = "ar", theme: str = "light", width: int = 1440, state: Any = None) -> BrowserContext:
    """Return a fresh browser profile; what its pages report as errors is added to `faults`."""
    size = {"width": width, "height": 900 if width > 700 else 844}
    context = browser.new_context(viewport=size, locale="ar" if lang == "ar" else "en-GB", has_touch=width < 700, storage_state=state)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    context.add_init_script(f"try {{ localStorage.setItem('noufal', JSON.stringify({{lang: '{lang}', theme: '{theme}'}})) }} catch {{}}")
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    return context


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")


def assert_worded(page: Page, where: str) -> None:
    """Fail where a page shows the name of a message because its words did not come with it."""
    assert MESSAGES & set(page.locator("body").inner_text().split()) == frozenset(), where


def assert_fits(page: Page, where: str, lang: str, width: int) -> None:
    """Fail unless the page runs in the direction of its language, fits its window and has no fault that axe finds."""
    assert page.evaluate("document.documentElement.dir") == ("rtl" if lang == "ar" else "ltr"), where
    assert_worded(page, where)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{where} scrolls sideways"
    if width < 700:
        # The bar at the bottom covers whatever is under it until one scrolls; axe would call that too small a target.
        page.set_viewport_size({"width": width, "height": max(2600, page.evaluate("document.documentElement.scrollHeight"))})
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(RULES)}}})")
    broken = [f"{one['id']}: {one['nodes'][0]['html'][:120]} {one['nodes'][0]['failureSummary']}" for one in found["violations"]]
    assert broken == [], f"{where}: {broken}"


def enter(page: Page, address: str) -> None:
    page.goto(f"{address}sign-in#token=demo")
    page.wait_for_url("**/console/")
    settle(page)


def said(page: Page) -> str:
    """Return what the page says, without the marks that isolate names from the direction of their sentence."""
    return page.locator("main").inner_text().replace("\u2068", "").replace("\u2069", "")


def serious(faults: list[str]) -> list[str]:
    """Return the faults without the browser's own lines on the cache and the backups, which come later, and on a host without a page."""
    return [fault for fault in faults if "Failed to load resource" not in fault]


def until(page: Page, expression: str) -> None:
    """Wait until the expression holds; the page's CSP refuses what Playwright itself would wait with."""
    for _ in range(PATIENCE_SECONDS * 20):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


def reader(page: Page) -> None:
    """Take the permission to change anything from whoever signs in on this page."""

    def weaker(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "permissions": ["ops.read"]})

    page.route("**/users/me", weaker)
