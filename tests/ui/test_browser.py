"""The ERP as a person meets it: the real server, the built interface, Chromium; in both languages and themes, wide and on a phone."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

import bills
from browsing import LOOKS, Desk, Desks, assert_fits, opened, settle
from servers import Child, free_port

SERVE = "import sys; from noufal.cli import main; sys.argv = ['noufal', *sys.argv[1:]]; main()"
CREATE = "body => fetch('/api/projects', {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify(body)}).then(r => r.ok)"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

EVERY_PAIR = (("ar", "light", 1440), ("en", "dark", 1440), ("ar", "dark", 390), ("en", "light", 390))  # of language, theme and width
BILL = "/projects/OFFICE-07/boq"
PATHS = ("/projects", "/projects/OFFICE-07", "/account")
JUDGED = [*((BILL, *look) for look in EVERY_PAIR), *((path, *look) for look in LOOKS for path in PATHS)]


class Site:
    """A running ERP with the demonstration projects."""

    def __init__(self, home: Path) -> None:
        self.env, self.home = {"NOUFAL_HOME": str(home)}, home
        port = free_port()
        self.child = Child(SERVE, "serve", "--demo", "--port", str(port), env=self.env, cwd=home)
        self.child.wait_for("sign in once with this link")
        self.address = f"http://127.0.0.1:{port}"

    def link_for(self, email: str) -> str:
        """Create an administrator and return his one-time link."""
        with Child(SERVE, "user", "create", email, "--role", "admin", env=self.env, cwd=self.home) as child:
            token = child.wait_for("one-time sign-in").partition("#token=")[2]
            child.finish()
        return f"{self.address}/sign-in#token={token}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    started = Site(tmp_path_factory.mktemp("site"))
    yield started
    started.child.close()


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
    sign_in(page, site.link_for("مساح@example.com"))
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


def test_every_page_is_accessible_and_fits_in_both_languages_and_themes(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    first = opened(browser, faults)
    sign_in(first.new_page(), site.link_for("قارئ@example.com"))
    desks = Desks(browser, first.storage_state(), f"{site.address}/account")
    first.close()
    for path, lang, theme, width in JUDGED:
        page = desks.page(lang, theme, width)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(site.address + path)
        settle(page)
        page.locator("main h1").first.wait_for()
        assert_fits(page, f"{path} {lang} {theme} {width}", lang, width)
    assert faults + desks.tidy() == []
    desks.close()


def test_a_link_serves_once_and_a_session_ends_with_sign_out(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    link = site.link_for("مرة@example.com")
    sign_in(page, link)
    assert [cookie["name"] for cookie in context.cookies()] == ["__Host-sid"]
    assert "token" not in page.url
    status = "fetch('/api/users/me').then(r => r.status)"
    assert page.evaluate(status) == 200
    assert page.evaluate("fetch('/api/auth/logout', {method: 'POST'}).then(r => r.status)") == 204
    assert page.evaluate(status) == 401
    context.close()
    other = opened(browser, faults)
    page = other.new_page()
    page.goto(link)
    page.locator("[role=alert]").first.wait_for()
    assert "/sign-in" in page.url
    other.close()


def test_a_change_that_is_refused_while_data_are_restored_is_told_plainly(erp: str, erp_desk: Desk) -> None:
    page = erp_desk()
    refused = {"status": 503, "code": "maintenance", "title": "Data are being restored"}
    page.route(
        "**/api/users/me",
        lambda route: route.fulfill(status=503, json=refused, headers={"retry-after": "2"}) if route.request.method == "PATCH" else route.continue_(),
    )
    page.goto(f"{erp}account")
    page.get_by_label("الاسم", exact=True).fill("سلمى")
    page.get_by_role("button", name="حفظ").first.click()
    page.get_by_text("تُستعاد البيانات الآن فلا يمكن الحفظ").wait_for()
    banner = page.locator("main").get_by_text("التصفح متاح، والحفظ متوقف")
    banner.wait_for()
    banner.wait_for(state="detached")
