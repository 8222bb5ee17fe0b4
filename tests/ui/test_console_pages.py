"""Every page of the console over figures that are known: what it shows, its four states, its looks in both languages and themes."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browsing import assert_fits, opened, settle
from servers import Child

ROOT = Path(__file__).parents[2]
MOCK = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0] + '/console_mock.py', run_name='__main__')
"""
SHIFT = """
window.shift = 0;
const add = list => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value };
new PerformanceObserver(add).observe({ type: 'layout-shift', buffered: true });
"""
DOWN = '{"status": 503, "title": "Service unavailable", "code": "unavailable", "request_id": "0198c0de-77aa-7000"}'
PAGES = ("", "health", "requests", "requests?tab=statements", "account")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if not (ROOT / "src/rakiza/console/static/index.html").exists():
        pytest.skip("the interface is not built: make ui")
    child = Child(MOCK, str(ROOT / "ui/dev"), "0")
    yield child.wait_for("the mock serves").partition("serves ")[2].strip()
    child.close()


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


def test_every_page_is_accessible_and_fits_in_both_languages_and_themes(address: str, browser: Browser) -> None:
    faults: list[str] = []
    first = opened(browser, faults)
    enter(first.new_page(), address)
    state = first.storage_state()
    first.close()
    for lang, theme, width in product(("ar", "en"), ("light", "dark"), (1440, 390)):
        context = opened(browser, faults, lang=lang, theme=theme, width=width, state=state)
        page = context.new_page()
        for path in PAGES:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address + path)
            settle(page)
            page.locator("main h1").first.wait_for()
            assert_fits(page, f"{path} {lang} {theme} {width}", lang, width)
        context.close()
    assert serious(faults) == []


def test_the_overview_says_what_is_wrong_and_shows_the_figures(address: str, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    enter(page, address)
    shown = said(page)
    for words in ("يحتاج نظرك", "المعالج فوق 80٪", "Redis", "10.1 من 16 GB", "7 من 8 ناجحة", "3 أيام وساعة", "postgres: writer"):
        assert words in shown, words
    assert re.search(r"منذ 2\d دقيقة", shown)
    assert re.search(r"معدل الطلبات\s+[\d.]+\s+في الثانية", shown)
    assert page.locator("canvas").count() == 3
    assert page.locator(".plot").first.evaluate("plot => getComputedStyle(plot).direction") == "ltr"
    page.get_by_text("عرض كجدول").first.click()
    assert page.locator("figure").first.locator("tbody tr").count() >= 40
    with page.expect_response(lambda answer: "range=7d" in answer.url):
        page.get_by_text("أسبوع").click()
    assert "range=7d" in page.url
    context.close()
    assert serious(faults) == []


def test_the_page_reads_again_every_few_seconds_and_rests_when_told(address: str, browser: Browser) -> None:
    context = opened(browser, [])
    page = context.new_page()
    enter(page, address)
    asked: list[str] = []
    page.clock.install()
    page.goto(address)
    settle(page)
    page.on("request", lambda request: asked.append(request.url) if "/monitoring/health" in request.url else None)
    page.clock.run_for(5500)
    page.wait_for_timeout(300)
    assert len(asked) == 1
    page.get_by_role("button", name=re.compile("إيقاف التحديث")).click()
    page.clock.run_for(30_000)
    page.wait_for_timeout(300)
    assert len(asked) == 1
    context.close()


def test_routes_are_sorted_and_found_and_the_address_says_how(address: str, browser: Browser) -> None:
    context = opened(browser, [], lang="en")
    page = context.new_page()
    enter(page, address)
    page.goto(f"{address}requests")
    first = page.locator("main tbody tr").first
    first.wait_for()
    page.get_by_role("button", name="p95").click()
    assert page.url.endswith("?sort=-p95_ms")
    expect(first).to_contain_text("boq/import")
    page.get_by_role("button", name="p95").click()
    expect(first).not_to_contain_text("boq/import")
    page.get_by_placeholder("Find a route").press_sequentially("export")
    expect(page.get_by_placeholder("Find a route")).to_be_focused()
    expect(page.locator("main tbody tr")).to_have_count(1)
    page.reload()
    expect(page.locator("main tbody tr")).to_have_count(1)
    page.goto(f"{address}requests?tab=requests")
    page.get_by_role("link", name="Trace", exact=True).first.click()
    page.wait_for_url(re.compile("/console/traces/[0-9a-f]{32}$"))
    context.close()


def test_what_is_away_is_named_and_what_fails_gives_its_number(address: str, browser: Browser) -> None:
    context = opened(browser, [], lang="en")
    page = context.new_page()
    enter(page, address)
    gone = ("history", "alerts", "/errors", "processes")

    def some(route: Route) -> None:
        away = any(part in route.request.url for part in gone)
        route.fulfill(status=404, json={"code": "not_found"}) if away else route.continue_()

    page.route("**/_rakiza/api/**", some)
    page.goto(address)
    settle(page)
    assert "Not shown at the moment: History, Alerts, Errors and Processes" in said(page)
    assert page.locator("canvas").count() == 0
    page.unroute_all()

    def none(route: Route) -> None:
        me = "users/me" in route.request.url
        route.continue_() if me else route.fulfill(status=503, body=DOWN, content_type="application/problem+json")

    page.route("**/_rakiza/**", none)
    for path in ("", "health", "requests"):
        page.goto(address + path)
        page.locator("[role=alert]").wait_for()
        assert "0198c0de-77aa-7000" in page.locator("[role=alert]").inner_text()
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    page.locator("main table").wait_for()
    context.close()


def test_pages_do_not_jump_while_they_load(address: str, browser: Browser) -> None:
    for width in (1440, 390):
        context = opened(browser, [], width=width)
        context.add_init_script(SHIFT)
        page = context.new_page()
        enter(page, address)
        for path in ("", "health", "requests", "requests?tab=statements"):
            page.goto(address + path)
            settle(page)
            assert page.evaluate("window.shift") < 0.02, f"{path} {width}"
        context.close()
