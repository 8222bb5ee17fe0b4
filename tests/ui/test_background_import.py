"""A large bill on the page: progress in words, still there after a reload, the report or the reason at the end."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browsing import Desk, assert_fits, settle

BILL = "projects/VILLA-01/boq"


def come(page: Page, erp: str) -> None:
    page.goto(erp + BILL)
    page.locator(".zone, [role=grid] .row").first.wait_for()


def send(page: Page, name: str) -> None:
    page.locator("input[type=file]").last.set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": b"x" * 9_000})


def choose(page: Page, name: str) -> None:
    """Open the dialog where the project has a bill already; an empty one shows where to drop a file."""
    if not page.locator(".zone").count():
        page.get_by_role("button", name=name).first.click()
        page.locator("dialog .zone").wait_for()


def held(page: Page, state: dict[str, Any]) -> None:
    """Answer every question for the state of an import with this one."""
    whole = {"job_id": 1, "file": "big.xlsx", "dry_run": True, "progress": None, "progress_text_en": None, "progress_text_ar": None}
    page.route("**/imports/*", lambda route: route.fulfill(json={**whole, "report": None, "problem": None, **state}))


def test_progress_survives_a_reload_and_ends_with_the_report(erp: str, erp_desk: Desk) -> None:
    page = erp_desk()
    come(page, erp)
    running = {"state": "running", "progress": 38, "progress_text_ar": "الصفوف المقروءة: 61,000 من 100,000", "progress_text_en": "Rows read"}
    held(page, running)
    send(page, "big مقايسة.xlsx")
    dialog = page.locator("dialog")
    expect(dialog.get_by_role("status")).to_have_text("الصفوف المقروءة: 61,000 من 100,000")
    assert dialog.locator("progress").evaluate("bar => [bar.value, bar.max]") == [38, 100]
    page.reload()
    expect(dialog.get_by_role("status")).to_have_text("الصفوف المقروءة: 61,000 من 100,000")
    dialog.locator("footer button").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="عرض التقدم").click()
    expect(dialog.locator("progress")).to_be_visible()
    page.unroute_all()
    dialog.locator(".report").wait_for()
    assert "big مقايسة.xlsx" in dialog.inner_text()
    expect(dialog.locator("footer")).to_contain_text("اختر الملف نفسه من جديد")  # this page no longer holds it
    page.get_by_role("button", name="ملف آخر").click()
    send(page, "big مقايسة.xlsx")
    dialog.locator(".report").wait_for()
    dialog.locator("footer .primary").click()
    page.locator("[role=grid] .row").first.wait_for()
    expect(page.locator(".notice.tone-ok")).to_contain_text("big مقايسة.xlsx")
    page.reload()
    page.locator("[role=grid] .row").first.wait_for()
    expect(dialog).to_have_count(0)


def test_a_failed_import_says_why_and_is_tried_again(erp: str, erp_desk: Desk) -> None:
    page = erp_desk()
    come(page, erp)
    choose(page, "استيراد")
    send(page, "big fail.xlsx")
    failure = page.locator("dialog [role=alert]")
    expect(failure).to_contain_text("تعذر الاستيراد بعد عدة محاولات")
    held(page, {"state": "running", "progress": 6})
    failure.get_by_role("button", name="إعادة المحاولة").click()
    expect(page.locator("dialog progress")).to_be_visible()


@pytest.mark.parametrize(("lang", "theme", "width"), [("ar", "dark", 390), ("en", "light", 1440)])
def test_the_progress_is_accessible_and_fits(erp: str, erp_desk: Desk, lang: str, theme: str, width: int) -> None:
    page = erp_desk(lang, theme, width)
    come(page, erp)
    texts = {"progress_text_ar": "البنود المكتوبة: 47,000 من 100,000", "progress_text_en": "Items written: 47,000 of 100,000"}
    held(page, {"state": "running", "progress": 74, **texts})
    choose(page, "استيراد" if lang == "ar" else "Import")
    send(page, "big.xlsx")
    page.locator("dialog progress").wait_for()
    settle(page)
    assert_fits(page, f"import {lang} {theme} {width}", lang, width)
