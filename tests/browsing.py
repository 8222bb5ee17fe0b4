"""Chromium for the tests of pages: fresh profiles that note what goes wrong, and what every page must be."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

AXE = Path(__file__).parents[1] / "ui/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]


def opened(browser: Browser, faults: list[str], *, lang: str = "ar", theme: str = "light", width: int = 1440, state: Any = None) -> BrowserContext:
    """Return a fresh browser profile; what its pages report as errors is added to `faults`."""
    size = {"width": width, "height": 900 if width > 700 else 844}
    context = browser.new_context(viewport=size, locale="ar" if lang == "ar" else "en-GB", has_touch=width < 700, storage_state=state)
    context.set_default_timeout(15_000)
    context.add_init_script(f"try {{ localStorage.setItem('noufal', JSON.stringify({{lang: '{lang}', theme: '{theme}'}})) }} catch {{}}")
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    return context


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")


def assert_fits(page: Page, where: str, lang: str, width: int) -> None:
    """Fail unless the page runs in the direction of its language, fits its window and has no fault that axe finds."""
    assert page.evaluate("document.documentElement.dir") == ("rtl" if lang == "ar" else "ltr"), where
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{where} scrolls sideways"
    if width < 700:
        # The bar at the bottom covers whatever is under it until one scrolls; axe would call that too small a target.
        page.set_viewport_size({"width": width, "height": max(2600, page.evaluate("document.documentElement.scrollHeight"))})
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(RULES)}}})")
    broken = [f"{one['id']}: {one['nodes'][0]['html'][:120]} {one['nodes'][0]['failureSummary']}" for one in found["violations"]]
    assert broken == [], where
