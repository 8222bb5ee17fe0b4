"""Chromium for the tests of pages: fresh profiles that note what goes wrong, and what every page must be."""

import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Route, ViewportSize, expect

import patience
import servers

UI = Path(__file__).parents[1] / "ui"
AXE = UI / "node_modules/axe-core/axe.min.js"
MESSAGES = frozenset(json.loads((UI / "messages/en.json").read_text(encoding="utf-8")))
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
ASKED = {"runOnly": RULES, "resultTypes": ["violations"]}  # what passes is not described node by node, half of the work
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
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-component-extensions-with-background-pages"),
    *("--disable-breakpad", "--disable-default-apps", "--disable-extensions", "--disable-sync", "--disable-search-engine-choice-screen"),
    *("--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding"),
    *("--disable-dev-shm-usage", "--disable-popup-blocking", "--disable-hang-monitor", "--disable-ipc-flooding-protection"),
    *("--force-color-profile=srgb", "--password-store=basic", "--use-mock-keychain", "--allow-pre-commit-input", "--export-tagged-pdf"),
    "--disable-features=AcceptCHFrame,AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,DialMediaRouteProvider,"
    "GlobalMediaControls,HttpsUpgrades,LensOverlay,MediaRouter,OptimizationHints,PaintHolding,SpareRendererForSitePerProcess,"
    "ThirdPartyStoragePartitioning,Translate",
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    *("--disable-back-forward-cache", "--disable-checker-imaging", "--num-raster-threads=1", "--enable-features=NetworkServiceInProcess2"),
]
"""What Playwright starts Chromium with, and what saves it work."""

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


class Chromium:
    """One Chromium for many modules: each connects to it and leaves it running."""

    def __init__(self, binary: str) -> None:
        """Start it and wait until it can be connected to."""
        folder = servers.new_folder("chromium")
        flags = [*FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([binary, *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        (folder.parent / f"{folder.name}.pid").write_text(f"{self._process.pid}\n")
        told, wait = folder / "profile" / "DevToolsActivePort", threading.Event()
        for _ in range(PATIENCE_SECONDS * 50):
            if told.exists() and (lines := told.read_text().split("\n"))[1:]:
                self.address = f"http://127.0.0.1:{lines[0]}"
                return
            if self._process.poll() is not None:
                break
            wait.wait(0.02)
        self.close()
        raise RuntimeError(f"Chromium did not start: {(folder / 'log').read_text(errors='replace')[-1000:]}")

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


Desk = Callable[..., Page]


class Desks:
    """The pages of a module, one for each look: what is signed in and read once serves all its tests."""

    def __init__(self, browser: Browser, state: Any, address: str) -> None:
        """Take the browser, the cookies of who is signed in and a page to read first."""
        self._browser, self._state, self._address = browser, state, address
        self._pages: dict[tuple[str, str, int], Page] = {}
        self._kept: Any = {}
        self.faults: list[str] = []

    def page(self, lang: str = "ar", theme: str = "light", width: int = 1440) -> Page:
        """Return an empty page of somebody who may do everything."""
        look = (lang, theme, width)
        if look not in self._pages:
            context = opened(self._browser, self.faults, lang=lang, theme=theme, width=width, state=self._state)
            context.add_init_script(SHIFT)
            self._pages[look] = context.new_page()
            self._pages[look].goto(self._address)  # the fonts are here before a page is judged
            settle(self._pages[look])
            self._kept = self._pages[look].evaluate("({ ...sessionStorage })")
        return self._pages[look]

    def tidy(self) -> list[str]:
        """Leave every page as it was at first and return what went wrong on them."""
        for (_, _, width), page in self._pages.items():
            if page.url != "about:blank":
                page.unroute_all(behavior="ignoreErrors")
                page.evaluate("kept => { localStorage.clear(); sessionStorage.clear(); Object.assign(sessionStorage, kept) }", self._kept)
                page.goto("about:blank")
                page.set_viewport_size(_size(width))
        seen = list(self.faults)
        self.faults.clear()
        return seen

    def close(self) -> None:
        """Close every page."""
        for page in self._pages.values():
            page.context.close()


def opened(browser: Browser, faults: list[str], *, lang: str = "ar", theme: str = "light", width: int = 1440, state: Any = None) -> BrowserContext:
    """Return a fresh browser profile; what its pages report as errors is added to `faults`."""
    context = browser.new_context(viewport=_size(width), locale="ar" if lang == "ar" else "en-GB", has_touch=width < 700, storage_state=state)
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    context.add_init_script(f"try {{ localStorage.setItem('noufal', JSON.stringify({{lang: '{lang}', theme: '{theme}'}})) }} catch {{}}")
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    return context


def _size(width: int) -> ViewportSize:
    return {"width": width, "height": 900 if width > 700 else 844}


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
    found = page.evaluate(f"axe.run(document, {json.dumps(ASKED)}).then(found => found.violations)")
    broken = [f"{one['id']}: {one['nodes'][0]['html'][:120]} {one['nodes'][0]['failureSummary']}" for one in found]
    assert broken == [], f"{where}: {broken}"


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


def hold(page: Page, url: str | re.Pattern[str]) -> list[Route]:
    """Leave requests without an answer until the test goes on with what is returned."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(url, keep)
    return held


def reader(page: Page) -> None:
    """Take the permission to change anything from whoever signs in on this page."""

    def weaker(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "permissions": ["ops.read"]})

    page.route("**/users/me", weaker)
