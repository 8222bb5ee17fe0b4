"""The ERP as a person meets it: the real server, the built interface, Chromium; in both languages and themes, wide and on a phone."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import bills
from servers import Child, free_port

AXE = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
SERVE = "import sys; from noufal.cli import main; sys.argv = ['noufal', *sys.argv[1:]]; main()"
CREATE = "body => fetch('/api/projects', {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify(body)}).then(r => r.ok)"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class Site:
    """A running ERP with the demonstration projects."""

    def __init__(self, child: Child, address: str, link: str) -> None:
        self.child, self.address, self.link = child, address, link


@pytest.fixture
def site(python_process: Callable[..., Child], database_url: str, tmp_path: Path) -> Site:
    port = free_port()
    env = {"NOUFAL_HOME": str(tmp_path), "DATABASE_URL": database_url}
    child = python_process(SERVE, "serve", "--demo", "--port", str(port), env=env, cwd=tmp_path)
    line = child.wait_for("sign in once with this link")
    return Site(child, f"http://127.0.0.1:{port}", line.partition("link: ")[2])


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


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


def sign_in(page: Page, link: str) -> None:
    page.goto(link)
    page.wait_for_url("**/projects*")
    settle(page)


def money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def test_a_surveyor_imports_edits_and_exports_a_bill(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    sign_in(page, site.link)
    items = bills.lines(30, 5)
    net = bills.total(items)
    page.evaluate(CREATE, {"code": "NEW-1", "name": "مشروع جديد"})
    page.goto(f"{site.address}/projects/NEW-1/boq")
    settle(page)
    page.locator("input[type=file]").first.set_input_files({"name": "مقايسة.xlsx", "mimeType": XLSX, "buffer": bills.layout_b(items)})
    report = page.locator("dialog .report")
    report.wait_for()
    assert money(net) in report.inner_text()
    page.locator("dialog footer .primary").click()
    page.locator("[role=grid] .row .editable").first.wait_for()
    settle(page)
    assert money(net) in page.locator("main").inner_text()

    cell = page.locator("[role=grid] [role=row] .editable").first
    cell.dblclick()
    page.keyboard.press("Control+a")
    page.keyboard.type("١٢٫٥")
    with page.expect_response(lambda response: response.request.method == "PATCH") as answer:
        page.keyboard.press("Enter")
    changed = answer.value.json()
    assert changed["quantity"] == "12.5"
    assert changed["version"] == 2
    summary = page.evaluate("fetch('/api/projects/NEW-1/boq/summary').then(r => r.json())")
    lines = page.evaluate("fetch('/api/projects/NEW-1/boq/items?limit=500').then(r => r.json())")["items"]
    assert Decimal(summary["total_cost"]) == sum(Decimal(line["total"]) for line in lines)

    with page.expect_download() as download:
        page.locator("a[href*='export.xlsx'], button:has-text('إكسل')").first.click()
    assert download.value.suggested_filename.endswith(".xlsx")
    assert Path(download.value.path()).read_bytes()[:2] == b"PK"
    context.close()
    assert faults == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_page_is_accessible_and_fits_in_both_languages_and_themes(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    first = opened(browser, faults)
    sign_in(first.new_page(), site.link)
    state = first.storage_state()
    first.close()
    axe = AXE.read_text(encoding="utf-8")
    for lang, theme, width in product(("ar", "en"), ("light", "dark"), (1440, 390)):
        context = opened(browser, faults, lang=lang, theme=theme, width=width, state=state)
        page = context.new_page()
        for path in ("/projects", "/projects/OFFICE-07", "/projects/OFFICE-07/boq", "/account"):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(site.address + path)
            settle(page)
            page.locator("main h1").first.wait_for()
            where = f"{path} {lang} {theme} {width}"
            assert page.evaluate("document.documentElement.dir") == ("rtl" if lang == "ar" else "ltr"), where
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{where} scrolls sideways"
            if width < 700:
                # The bar at the bottom covers whatever is under it until one scrolls; axe would call that too small a target.
                page.set_viewport_size({"width": width, "height": 2600})
            page.evaluate(axe)
            found = page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(RULES)}}})")
            broken = [f"{one['id']}: {one['nodes'][0]['html'][:120]} {one['nodes'][0]['failureSummary']}" for one in found["violations"]]
            assert broken == [], where
        context.close()
    assert faults == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_link_serves_once_and_a_session_ends_with_sign_out(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    sign_in(page, site.link)
    assert [cookie["name"] for cookie in context.cookies()] == ["__Host-sid"]
    assert "token" not in page.url
    status = "fetch('/api/users/me').then(r => r.status)"
    assert page.evaluate(status) == 200
    assert page.evaluate("fetch('/api/auth/logout', {method: 'POST'}).then(r => r.status)") == 204
    assert page.evaluate(status) == 401
    context.close()
    other = opened(browser, faults)
    page = other.new_page()
    page.goto(site.link)
    page.locator("[role=alert]").first.wait_for()
    assert "/sign-in" in page.url
    other.close()
