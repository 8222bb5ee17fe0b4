"""Who changed an item of the bill, from what and when: the drawer of the BOQ page over figures that are known."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browsing import Desk, assert_fits, settle

BILL = "projects/TOWER-07/boq"
HISTORY = "**/boq/items/*/history"


def entry(version: int, changes: list[dict[str, Any]], source: str | None = None) -> dict[str, Any]:
    head = {"version": version, "at": f"2026-11-2{version}T07:30:00Z", "by": "عبدالله السبيعي"}
    return {**head, "action": "imported" if source else "changed", "source": source, "changes": changes}


def come(page: Page, erp: str) -> None:
    page.goto(erp + BILL)
    page.locator("[role=grid] .row .editable").first.wait_for()
    settle(page)


def past(page: Page) -> str:
    """Ask for the history of the first item by key and return what the drawer says."""
    page.locator("[role=grid]").focus()
    page.keyboard.press("Control+Home")
    page.keyboard.press("j")
    page.keyboard.press("h")
    page.locator("dialog ol, dialog .notice, dialog .empty").first.wait_for()
    return page.locator("dialog").inner_text().replace("\u2068", "").replace("\u2069", "")


def test_an_edit_appears_first_with_what_it_changed(erp: str, erp_desk: Desk) -> None:
    page = erp_desk()
    come(page, erp)
    cell = page.locator("[role=grid] .row").first.locator(".editable").first
    before = cell.inner_text().strip()
    cell.dblclick()
    page.keyboard.press("Control+a")
    page.keyboard.type("١٢٫٥")
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        page.keyboard.press("Enter")
    assert "1.001" in past(page)
    first = page.locator("dialog ol li").first
    expect(first.locator("strong")).to_have_text("سارة القحطاني")
    assert [first.locator(".was bdi").inner_text(), first.locator(".new bdi").inner_text()] == [before, "12.50"]
    assert page.locator("dialog ol li").last.inner_text().count("مقايسة الأعمال المدنية.xlsx") == 1
    page.locator("dialog select").select_option(label="سعر الوحدة")
    assert set(page.locator("dialog ol dt").all_inner_texts()) == {"سعر الوحدة"}
    page.keyboard.press("Escape")
    expect(page.locator("[role=grid]")).to_be_focused()
    page.locator("[role=grid] .row").nth(2).hover()
    page.locator("[role=grid] .row").nth(2).get_by_role("button", name="تاريخ البند").click()
    page.locator("dialog ol").wait_for()
    assert "1.003" in page.locator("dialog").inner_text()


def test_amounts_stand_as_on_the_page_and_prices_may_be_hidden(erp: str, erp_desk: Desk) -> None:
    page = erp_desk()
    come(page, erp)
    entries = [
        entry(3, [{"field": "unit_price", "from": "1250.00", "to": "1400.0000"}, {"field": "progress", "from": "0", "to": "33.33"}]),
        entry(2, [{"field": "unit_price", "from": None, "to": None}]),
        entry(1, [{"field": "description", "from": None, "to": "خرسانة C30"}], "BOQ rev B.xlsx"),
    ]
    item = {"id": 1, "code": "1.001", "description": "خرسانة"}
    page.route(HISTORY, lambda route: route.fulfill(json={"item": item, "entries": entries}))
    shown = past(page)
    for words in ("1,250.00", "1,400.00", "+12.0%", "33.3%", "ر.س", "السعر مخفي عنك", "استيراد من BOQ rev B.xlsx", "خرسانة C30"):
        assert words in shown, words
    assert page.locator("dialog .new bdi").first.evaluate("number => getComputedStyle(number).direction") == "ltr"
    page.unroute_all()
    page.keyboard.press("Escape")
    page.route(HISTORY, lambda route: route.fulfill(json={"item": item, "entries": []}))
    assert "لم يتغير هذا البند" in past(page)


@pytest.mark.parametrize(("lang", "theme", "width"), [("ar", "dark", 1440), ("en", "light", 390)])
def test_the_drawer_is_accessible_and_fits(erp: str, erp_desk: Desk, lang: str, theme: str, width: int) -> None:
    page = erp_desk(lang, theme, width)
    page.goto(erp + BILL)
    if width < 700:
        page.locator("[role=grid] .open").first.tap()
        page.get_by_role("button", name="Item history").click()
    else:
        page.locator("[role=grid] .row .editable").first.wait_for()
        past(page)
    page.locator("dialog ol").wait_for()
    assert_fits(page, f"history {lang} {theme} {width}", lang, width)


def test_a_history_that_is_away_gives_its_number_and_is_asked_again(erp: str, erp_desk: Desk) -> None:
    page = erp_desk()
    come(page, erp)
    page.route(HISTORY, lambda route: route.fulfill(status=503, json={"code": "unavailable", "request_id": "0198c0de-77aa-7000"}))
    assert "0198c0de-77aa-7000" in past(page)
    page.unroute_all()
    page.get_by_role("button", name="إعادة المحاولة").click()
    page.locator("dialog ol").wait_for()
