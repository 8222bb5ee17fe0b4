"""The console's pages of events, projections and the audit trail, over a log that is known."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from browsing import DOWN, LOOKS, Desk, assert_fits, reader, said, settle, until

LOG: list[dict[str, Any]] = runpy.run_path(str(Path(__file__).parents[2] / "ui/dev/events_mock.py"))["EVENTS"]
STATED = max(one["position"] for one in LOG[:2388] if one["event_type"] == "ItemChanged" and one["version"] > 3)
COMPARED = max(one["position"] for one in LOG if one["aggregate_type"] == "Rate")
ERASED = max(one["position"] for one in LOG if one["personal"] and one["personal"]["erased"])
STREAM = "events?tab=stream&aggregate_type=BoqItem&aggregate_id={}"
HERE = STREAM.format(LOG[STATED - 1]["aggregate_id"])
PATHS = ("events", f"events/{ERASED}", "projections", "audit")
VARIANTS = {390: HERE, 1440: "events?tab=streams"}
ALTERED = {
    "state": "done",
    "checked": 2400,
    "total": 2400,
    "started_at": "2026-11-27T09:00:00Z",
    "finished_at": "2026-11-27T09:00:04Z",
    "result": {
        "ok": False,
        "size": 2388,
        "root": "ab" * 32,
        "events": 2400,
        "seals": 61,
        "findings": [{"code": "leaf", "position": 1204, "message_en": "The payload was changed", "message_ar": "تغيّر المحتوى بعد ختمه"}],
    },
}


@pytest.mark.parametrize(("lang", "theme", "width"), LOOKS)
def test_every_page_is_accessible_and_fits_and_does_not_jump(address: str, desk: Desk, lang: str, theme: str, width: int) -> None:
    page = desk(lang, theme, width)
    for path in (*PATHS, VARIANTS[width]):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(address + path)
        settle(page)
        page.locator("main h1").first.wait_for()
        assert page.evaluate("window.shift") < 0.02, f"{path} {lang} {theme} {width}"
        assert_fits(page, f"{path} {lang} {theme} {width}", lang, width)


def test_events_are_read_page_by_page_and_found_by_the_address(tab: Page, address: str) -> None:
    tab.goto(f"{address}events")
    rows = tab.locator("main tbody tr")
    rows.first.wait_for()
    assert rows.count() == 50
    assert "2,400" in rows.first.inner_text()
    tab.get_by_role("button", name="أحداث أقدم").click()
    until(tab, "document.querySelectorAll('main tbody tr').length === 100")
    assert "2,301" in rows.nth(99).inner_text()
    tab.get_by_label("نوع الحدث").select_option("BoqImported")
    until(tab, "[...document.querySelectorAll('main tbody tr')].every(row => row.innerText.includes('BoqImported'))")
    tab.get_by_label("المستخدم", exact=True).fill("سارة القحطاني")
    until(tab, "[...document.querySelectorAll('main tbody tr')].every(row => row.innerText.includes('سارة القحطاني'))")
    assert "type=BoqImported" in tab.url
    tab.get_by_label("الوسم").fill("لا أحد")
    tab.get_by_role("heading", name="لا شيء يطابق ما كتبت").wait_for()
    tab.get_by_role("button", name="إزالة المرشحات").click()
    until(tab, "document.querySelectorAll('main tbody tr').length === 50")
    tab.goto(f"{address}events?until=2020-01-01")
    tab.get_by_role("heading", name="لا شيء يطابق ما كتبت").wait_for()


def test_a_stream_shows_all_its_events_and_leads_through_them_by_key(tab: Page, address: str) -> None:
    tab.goto(f"{address}events?tab=streams")
    tab.locator("main tbody tr").first.wait_for()
    tab.get_by_label("نوع الكيان").select_option("BoqItem")
    tab.keyboard.press("/")
    item = LOG[STATED - 1]["aggregate_id"]
    tab.get_by_placeholder("أول رقم الكيان").fill(item)
    until(tab, f"[...document.querySelectorAll('main tbody tr')].every(row => row.innerText.includes('{item}'))")
    tab.locator("main tbody a", has_text=re.compile(f"{item}$")).click()
    tab.get_by_role("heading", name=item).wait_for()
    rows = tab.locator("main tbody tr")
    whole = [one for one in LOG if (one["aggregate_type"], one["aggregate_id"]) == ("BoqItem", item)]
    expect(rows).to_have_count(len(whole))
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/events/{whole[-2]['position']}")
    tab.get_by_role("heading", name="ما تغيّر").wait_for()
    tab.keyboard.press("]")
    tab.wait_for_url(f"**/events/{whole[-1]['position']}")
    expect(tab.get_by_role("button", name="التالي في الدفق")).to_be_disabled()
    tab.keyboard.press("[")
    tab.wait_for_url(f"**/events/{whole[-2]['position']}")


def test_an_event_shows_what_it_states_and_what_differs_from_the_one_before(tab: Page, address: str) -> None:
    event = LOG[STATED - 1]
    (field, change), *_ = event["payload"]["changes"].items()
    tab.goto(f"{address}events/{STATED}")
    row = tab.locator("section", has=tab.get_by_role("heading", name="ما تغيّر")).locator("li")
    expect(row).to_have_count(1)
    assert [f"changes.{field}", change["from"], change["to"]] == [text for text in row.locator("bdi").all_inner_texts() if text]
    shown = tab.get_by_role("group", name="المحتوى")
    assert json.loads(shown.inner_text()) == event["payload"]
    assert shown.evaluate("code => getComputedStyle(code).direction") == "ltr"
    link = tab.get_by_role("link", name="المسار", exact=True)
    assert str(link.get_attribute("href")).endswith(f"/traces/{event['correlation_id']}")
    tab.goto(f"{address}events/{COMPARED}")
    fields = tab.locator("section", has=tab.get_by_role("heading", name="ما تغيّر")).locator("li .path")
    fields.first.wait_for()
    assert any(path.startswith("breakdown.materials.") for path in fields.all_inner_texts())
    assert "لم يُختم بعد" in said(tab)
    tab.goto(f"{address}events/{ERASED}")
    tab.get_by_role("heading", name="البيانات الشخصية").wait_for()
    personal = tab.locator("section", has=tab.get_by_role("heading", name="البيانات الشخصية"))
    assert personal.locator("li", has_text="مُحي").count() == 3


def test_the_browser_itself_computes_a_proof_and_notices_a_wrong_one(tab: Page, address: str) -> None:
    tab.goto(f"{address}events/{STATED}")
    tab.get_by_role("button", name="إثبات الوجود").click()
    tab.locator("dialog .tone-ok").wait_for()
    assert "2,388 حدثا" in tab.locator("dialog").inner_text().replace("\u2068", "").replace("\u2069", "")

    def tampered(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "leaf": "00" * 32})

    tab.route("**/audit/proof/*", tampered)
    tab.reload()
    tab.get_by_role("button", name="إثبات الوجود").click()
    tab.locator("dialog .tone-bad").wait_for()


def test_dead_letters_are_tried_again_and_a_projection_is_built_anew(tab: Page, address: str) -> None:
    tab.goto(f"{address}projections")
    tab.get_by_role("button", name="3 أحداث لم تُعالَج").first.click()
    letters = tab.get_by_role("region", name=re.compile("boq_totals")).locator("li")
    expect(letters).to_have_count(3)
    letters.filter(has_text="2,311").get_by_role("button").click()
    expect(letters).to_have_count(2)
    with tab.expect_request(lambda request: request.method == "POST") as sent:
        tab.get_by_role("button", name="إعادة الكل").click()
    assert sent.value.post_data_json == {"positions": None}
    tab.get_by_text(re.compile("أُعيد حدثان")).wait_for()

    tab.get_by_role("button", name=re.compile("إعادة البناء.*item_history")).first.click()
    assert "2,400 حدث" in tab.locator("dialog").inner_text().replace("\u2068", "").replace("\u2069", "")
    with tab.expect_request(lambda request: request.url.endswith("/projections/item_history/rebuild")):
        tab.locator("dialog .danger").click()
    tab.locator("main [role=progressbar]").wait_for()
    row = tab.locator("main tbody tr", has_text="item_history").first
    expect(row).to_contain_text("يُعاد بناؤه")
    expect(row).to_contain_text("يتابع")
    assert tab.locator("main [role=progressbar]").count() == 0


def test_without_projections_the_page_says_what_one_is(tab: Page, address: str) -> None:
    tab.route("**/events/projections", lambda route: route.fulfill(json={"head": 0, "projections": []}))
    tab.goto(f"{address}projections")
    tab.get_by_role("heading", name="لا إسقاطات بعد").wait_for()
    assert len(tab.locator("main pre").inner_text().strip().splitlines()) == 2


def test_the_audit_trail_is_searched_and_its_records_opened(tab: Page, address: str) -> None:
    tab.goto(f"{address}audit")
    rows = tab.locator("main tbody tr")
    rows.first.wait_for()
    tab.keyboard.press("/")
    tab.keyboard.type("permission")
    until(tab, "[...document.querySelectorAll('main tbody tr')].every(row => row.innerText.includes('permission.changed'))")
    assert "q=permission" in tab.url
    tab.locator("main tbody [data-row]").last.click()
    details = tab.get_by_role("group", name="التفاصيل")
    assert json.loads(details.inner_text())["method"] == "password"
    assert tab.get_by_role("link", name=re.compile("^الحدث")).count() == 1
    tab.get_by_role("button", name="إثبات الوجود").click()
    tab.locator("dialog .tone-ok").wait_for()
    tab.keyboard.press("Escape")
    tab.goto(f"{address}audit?since=2026-01-01")
    with tab.expect_download() as download:
        tab.get_by_role("link", name="تصدير للمدقق").click()
    assert "since=2025-12-31" in download.value.url or "since=2026-01-01" in download.value.url


def test_everyone_sees_whether_the_trail_is_intact_or_what_was_changed(tab: Page, address: str) -> None:
    tab.goto(f"{address}audit")
    tab.get_by_role("button", name="التحقق من السلامة").click()
    tab.locator("main [role=progressbar]").wait_for()
    tab.get_by_role("heading", name=re.compile("السجل سليم")).wait_for()
    assert "2,400 حدث كما كُتبت" in said(tab)
    tab.route("**/audit/verify", lambda route: route.fulfill(json=ALTERED))
    tab.reload()
    tab.get_by_role("heading", name="السجل تغيّر بعد كتابته في موضع واحد").wait_for()
    assert "تغيّر المحتوى بعد ختمه" in said(tab)
    tab.get_by_role("link", name=re.compile("الموضع")).click()
    tab.wait_for_url("**/events/1204")


def test_who_may_only_read_changes_and_takes_nothing(tab: Page, address: str) -> None:
    reader(tab)
    tab.goto(f"{address}projections")
    tab.locator("main tbody tr").first.wait_for()
    assert tab.get_by_role("button", name=re.compile("إعادة البناء")).count() == 0
    tab.goto(f"{address}audit")
    tab.locator("main tbody tr").first.wait_for()
    assert tab.get_by_role("button", name="التحقق من السلامة").count() == 0
    assert tab.get_by_role("link", name="تصدير للمدقق").count() == 0


def test_an_address_that_names_no_event_says_so(tab: Page, address: str) -> None:
    for wrong in ("projections", "1.5", "-1", "9" * 30):
        tab.goto(f"{address}events/{wrong}")
        tab.get_by_role("heading", name="الصفحة غير موجودة").first.wait_for()


def test_the_pages_appear_only_where_the_room_is_there(tab: Page, address: str) -> None:
    tab.goto(f"{address}account")
    names = tab.get_by_role("navigation").first.get_by_role("link")
    tab.get_by_role("link", name="سجل التدقيق").wait_for()
    assert {"الأحداث", "الإسقاطات", "سجل التدقيق"} < set(names.all_inner_texts())
    missing = re.compile("/_rakiza/api/(events|audit)")
    tab.route(missing, lambda route: route.fulfill(status=404, json={"code": "not_found"}))
    tab.goto(f"{address}events")
    tab.get_by_role("heading", name="الصفحة غير موجودة").first.wait_for()
    assert not {"الأحداث", "الإسقاطات", "سجل التدقيق"} & set(names.all_inner_texts())
    tab.unroute(missing)
    tab.route(missing, lambda route: route.fulfill(status=503, body=DOWN, content_type="application/problem+json"))
    for path in ("events", "events?tab=streams", "events/7", "projections", "audit"):
        tab.goto(address + path)
        tab.locator("main [role=alert]").first.wait_for()
        assert "0198c0de-77aa-7000" in tab.locator("main [role=alert]").first.inner_text()
