"""The console's pages of jobs and schedules, over a queue that works while one looks."""

import functools
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from browsing import DOWN, LOOKS, Desk, assert_fits, reader, said, settle, until

DEV = Path(__file__).parents[2] / "ui/dev"


@functools.cache
def known() -> dict[int, dict[str, Any]]:
    """Return the jobs that the stand-in begins with."""
    sys.path.insert(0, str(DEV))
    try:
        return runpy.run_path(str(DEV / "jobs_mock.py"))["JOBS"]
    finally:
        sys.path.remove(str(DEV))
        sys.modules.pop("mock", None)


def of(state: str) -> list[int]:
    return [number for number, job in known().items() if job["state"] == state]


def paths(width: int) -> tuple[str, ...]:
    if width < 700:
        return ("jobs", f"jobs/{of('running')[0]}", "schedules")
    return ("jobs?state=retry", f"jobs/{of('failed')[0]}", "schedules")


def rows_of(page: Page) -> Any:
    rows = page.locator("main .list tbody tr")
    rows.first.wait_for()
    return rows


@pytest.mark.parametrize(("lang", "theme", "width"), LOOKS)
def test_every_page_is_accessible_and_fits_and_does_not_jump(address: str, desk: Desk, lang: str, theme: str, width: int) -> None:
    page = desk(lang, theme, width)
    for path in paths(width):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(address + path)
        page.locator("main h1").first.wait_for()
        page.locator("main tbody tr, main .facts").first.wait_for()
        settle(page)
        assert page.evaluate("window.shift") < 0.02, f"{path} {lang} {theme} {width}"
        assert_fits(page, f"{path} {lang} {theme} {width}", lang, width)


def test_running_jobs_move_and_keep_their_places(tab: Page, address: str) -> None:
    tab.goto(f"{address}jobs")
    rows = rows_of(tab)
    names = "[...document.querySelectorAll('main .list tbody tr')].map(row => row.querySelector('[data-row] ~ .figure').innerText)"
    shares = "[...document.querySelectorAll('main .list td.progress [role=progressbar]')].map(bar => +bar.ariaValueNow)"
    before, moved = tab.evaluate(names), tab.evaluate(shares)
    assert rows.count() == 9
    assert moved
    until(tab, f"JSON.stringify({shares}) !== '{json.dumps(moved, separators=(',', ':'))}'")
    after = tab.evaluate(names)
    stayed = set(before) & set(after)
    assert stayed
    assert {name: before.index(name) for name in stayed} == {name: after.index(name) for name in stayed}


def test_jobs_are_found_by_what_they_hold_and_by_the_address(tab: Page, address: str) -> None:
    tab.goto(f"{address}jobs?state=done")
    rows = rows_of(tab)
    assert rows.count() == 50
    tab.keyboard.press("/")
    tab.keyboard.type("المستخلص رقم 7 ")
    until(tab, "[...document.querySelectorAll('main .list tbody tr')].every(row => row.innerText.includes('email:send'))")
    tab.locator("main .list .tag", has_text="بريد").first.click()
    tab.get_by_role("button", name=re.compile("الوسم")).wait_for()
    assert set(re.findall(r"state=done|tag=|q=", tab.url)) == {"state=done", "tag=", "q="}
    tab.locator("main .list select").select_option("invoices")
    tab.get_by_role("heading", name="لا شيء يطابق ما كتبت").wait_for()
    tab.get_by_role("button", name="إزالة المرشحات").click()
    until(tab, "document.querySelectorAll('main .list tbody tr').length === 50")
    tab.get_by_role("button", name="المزيد من المهام").click()
    until(tab, "document.querySelectorAll('main .list tbody tr').length === 100")
    tab.goto(f"{address}jobs?state=waiting")
    assert "عاملا يعرفها" in rows_of(tab).filter(has_text="legacy:sync").first.inner_text()
    tab.get_by_role("link", name="عرضها").click()
    expect(rows_of(tab)).to_have_count(len([number for number in of("waiting") if known()[number]["task"].startswith("legacy")]))


def test_a_job_that_moves_to_the_next_page_meanwhile_is_shown_once(tab: Page, address: str) -> None:
    tab.route("**/jobs?*after=50*", lambda route: route.continue_(url=route.request.url.replace("after=50", "after=49")))
    tab.goto(f"{address}jobs?state=done")
    rows = rows_of(tab)
    tab.get_by_role("button", name="المزيد من المهام").click()
    expect(rows).to_have_count(99)
    for _ in range(2):  # it is read again by itself, and what was read is shown before it is read once more
        with tab.expect_response("**/jobs?*after=49*"):
            pass
    expect(rows).to_have_count(99)


def test_keys_lead_through_the_list_and_pick_from_it(tab: Page, address: str) -> None:
    tab.goto(f"{address}jobs?state=cancelled")
    rows_of(tab)
    for key in ("j", "x", "j", "x"):
        tab.keyboard.press(key)
    tab.get_by_text("حُددت مهمتان").wait_for()
    tab.keyboard.press("x")
    tab.get_by_text("حُددت مهمة واحدة").wait_for()
    name = tab.evaluate("document.activeElement.closest('tr').querySelector('.figure').innerText").strip("#")
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/jobs/{name}")


def test_everything_that_matches_is_changed_after_its_number_was_said(tab: Page, address: str) -> None:
    tab.goto(f"{address}jobs?state=delayed")
    rows_of(tab)
    tab.get_by_label("تحديد كل المعروض").check()
    tab.get_by_text("حُددت 50 مهمة").wait_for()
    tab.get_by_role("button", name=re.compile("تحديد .*كل ما يطابق")).click()
    with tab.expect_request("**/jobs/bulk") as tried:
        tab.get_by_role("button", name="إلغاء", exact=True).click()
    assert tried.value.post_data_json == {"action": "cancel", "filter": {"state": "delayed"}, "dry_run": True}
    dialog = tab.locator("dialog")
    dialog.wait_for()
    assert "60 مهمة" in dialog.inner_text()
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name=re.compile("المعروضة فقط")).click()
    tab.get_by_role("button", name="إلغاء التحديد").click()
    for row in (0, 2):
        tab.locator("main .list tbody input").nth(row).check()
    tab.get_by_role("button", name="تشغيل الآن").click()
    with tab.expect_request("**/jobs/bulk") as sent:
        dialog.locator(".danger").click()
    assert len(sent.value.post_data_json["ids"]) == 2
    tab.get_by_text("تغيرت مهمتان.").wait_for()
    tab.get_by_role("link", name=re.compile("مؤجلة 58")).wait_for()


def test_a_queue_is_paused_and_limited(tab: Page, address: str) -> None:
    tab.goto(f"{address}jobs?state=ready")
    panel = tab.get_by_role("region", name="الطوابير")
    panel.get_by_role("button", name=re.compile("إيقاف الطابور .*default")).click()
    panel.get_by_role("button", name=re.compile("استئناف الطابور .*default")).wait_for()
    panel.get_by_role("button", name=re.compile("حدود الطابور .*default")).click()
    dialog = tab.locator("dialog")
    dialog.get_by_label("معا في كل عامل").fill("٣")
    dialog.get_by_label("معا لكل مفتاح").fill("-1")
    dialog.get_by_role("button", name="حفظ").click()
    dialog.get_by_text("اكتب عددا أكبر من صفر").wait_for()
    dialog.get_by_label("معا لكل مفتاح").fill("")
    with tab.expect_request("**/jobs/queues/default") as sent:
        dialog.get_by_role("button", name="حفظ").click()
    limits = ("max_running", "rate", "rate_seconds", "per_key", "key_rate", "key_rate_seconds")
    assert sent.value.post_data_json == {"concurrency": 3, **dict.fromkeys(limits)}
    panel.get_by_text("3 لكل عامل").wait_for()
    panel.get_by_role("button", name=re.compile("استئناف الطابور .*default")).click()
    panel.get_by_role("button", name=re.compile("إيقاف الطابور .*default")).wait_for()


def test_a_failed_job_tells_its_story_and_is_corrected(tab: Page, address: str) -> None:
    number = next(one for one in of("failed") if known()[one]["task"] == "email:send")
    job = known()[number]
    tab.goto(f"{address}jobs/{number}")
    tab.get_by_role("heading", name="email:send").wait_for()
    assert json.loads(tab.get_by_role("group", name="المدخلات").inner_text()) == job["payload"]
    story = tab.get_by_role("region", name="مجرى المهمة")
    assert story.locator("details").count() == 5
    story.locator("summary").last.click()
    trace = tab.get_by_role("group", name=re.compile("تتبع خطأ المحاولة"))
    assert job["errors"][-1]["message"] in trace.last.inner_text()
    assert trace.last.evaluate("code => getComputedStyle(code).direction") == "ltr"
    assert str(tab.get_by_role("link", name="المسار", exact=True).get_attribute("href")).endswith(job["traceparent"].split("-")[1])
    tab.get_by_role("button", name="تعديل وإعادة").click()
    field = tab.locator("dialog").get_by_label("المدخلات")
    for typed, fault in (('{"to": \n17', "ليس هذا نص JSON"), ('{"to": 17}', "في الحقل to")):
        field.fill(typed)
        tab.locator("dialog .primary").click()
        tab.locator("dialog .fault", has_text=fault).wait_for()
        expect(field).to_be_focused()
    field.fill(json.dumps({**job["payload"], "to": "سارة@noufal.test"}, ensure_ascii=False))
    tab.locator("dialog .primary").click()
    expect(tab.locator("dialog")).to_have_count(0)
    expect(tab.get_by_role("group", name="المدخلات")).to_contain_text("سارة@noufal.test")
    expect(story.locator(".state")).not_to_contain_text("فشلت")


def test_a_running_job_is_asked_to_stop_and_another_like_it_is_made(tab: Page, address: str) -> None:
    number = of("running")[0]
    tab.goto(f"{address}jobs/{number}")
    tab.get_by_role("button", name="إلغاء", exact=True).click()
    tab.locator("dialog .danger").click()
    tab.get_by_text("طُلب إلغاؤها").wait_for()
    assert tab.get_by_role("button", name="إلغاء", exact=True).count() == 0
    tab.get_by_role("button", name="مهمة جديدة مثلها").click()
    tab.get_by_label("التأجيل بالثواني").fill("٣٦٠٠")
    with tab.expect_request(lambda request: request.method == "POST") as sent:
        tab.get_by_role("button", name="إضافة المهمة").click()
    job = {name: known()[number][name] for name in ("task", "queue", "payload", "priority", "tags")}
    assert sent.value.post_data_json == {**job, "delay_seconds": 3600}
    tab.wait_for_url(re.compile(rf"/jobs/(?!{number}$)\d+$"))
    tab.get_by_role("button", name="تشغيل الآن").click()
    expect(tab.get_by_role("region", name="مجرى المهمة").locator(".state")).not_to_contain_text("مؤجلة")


def test_a_schedule_is_previewed_before_it_is_changed(tab: Page, address: str) -> None:
    tab.goto(f"{address}schedules")
    row = tab.locator("main tbody tr", has_text="overdue-invoices").first
    expect(row.locator(".tag")).to_have_text(["من البرنامج", "معدّل"])
    assert str(row.get_by_role("link", name="فشلت").get_attribute("href")).split("/")[-1] in map(str, of("failed"))
    night = tab.locator("main tbody tr", has_text="nightly-backup").first
    night.get_by_role("button", name=re.compile("تعديل .*nightly-backup")).click()
    time = tab.get_by_label("الوقت", exact=True)
    time.fill("61 * * * *")
    tab.locator("dialog .fault", has_text="a minute is 0 to 59").wait_for()
    time.fill("*/15 * * * *")
    tab.get_by_role("heading", name="كل 15 دقيقة").wait_for()
    assert tab.get_by_role("region", name="مرات التشغيل التالية").locator("li").count() == 5
    assert tab.locator("dialog .fault").count() == 0
    tab.get_by_role("button", name="حفظ").click()
    expect(night).to_contain_text("كل 15 دقيقة")
    expect(night).to_contain_text("معدّل")
    night.get_by_role("button", name=re.compile("إيقاف .*nightly-backup")).click()
    expect(night).to_contain_text("موقوف")
    night.get_by_role("button", name=re.compile("تشغيل الآن.*nightly-backup")).click()
    tab.get_by_text(re.compile("أُضيفت مهمة من .*nightly-backup")).wait_for()
    tab.get_by_role("button", name=re.compile("حذف .*mail-digest")).click()
    tab.locator("dialog .danger").click()
    expect(tab.locator("main tbody tr", has_text="mail-digest")).to_have_count(0)


def test_without_schedules_or_who_keeps_them_the_page_says_so(tab: Page, address: str) -> None:
    tab.route("**/jobs/schedules", lambda route: route.fulfill(json={"schedules": [], "leader": None}))
    tab.goto(f"{address}schedules")
    tab.get_by_role("heading", name="لا مواعيد بعد").wait_for()
    assert "platform.jobs.schedule(" in tab.locator("main pre").inner_text()

    def orphaned(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "leader": None})

    tab.route("**/jobs/schedules", orphaned)
    tab.reload()
    tab.locator("main .notice", has_text="لا عامل يتولى المواعيد").wait_for()


def test_who_may_only_read_changes_nothing(tab: Page, address: str) -> None:
    reader(tab)
    tab.goto(f"{address}jobs?state=failed")
    rows_of(tab)
    assert tab.locator("main input[type=checkbox]").count() == 0
    assert tab.get_by_role("button", name=re.compile("الطابور")).count() == 0
    tab.goto(f"{address}jobs/{of('failed')[-1]}")
    tab.get_by_role("region", name="مجرى المهمة").wait_for()
    assert tab.get_by_role("button", name=re.compile("إعادة|صرف|مثلها")).count() == 0
    tab.goto(f"{address}schedules")
    tab.locator("main tbody tr").first.wait_for()
    assert tab.get_by_role("button", name=re.compile("تشغيل|تعديل|حذف")).count() == 0


def test_the_overview_leads_to_the_jobs(tab: Page, address: str) -> None:
    tab.goto(address)
    figure = tab.locator("main dl > div", has_text="مهام فشلت")
    figure.get_by_role("link").click()
    tab.wait_for_url("**/jobs?state=failed")
    rows_of(tab)


def test_the_pages_appear_only_where_the_room_is_there(tab: Page, address: str) -> None:
    tab.goto(f"{address}account")
    names = tab.get_by_role("navigation").first.get_by_role("link")
    tab.get_by_role("link", name="المواعيد").wait_for()
    tab.goto(f"{address}jobs/{10**12}")
    tab.get_by_role("heading", name="لا مهمة بهذا الرقم", exact=False).wait_for()
    missing = re.compile("/_rakiza/api/jobs")
    tab.route(missing, lambda route: route.fulfill(status=503, body=DOWN, content_type="application/problem+json"))
    for path in ("jobs", "jobs/7", "schedules"):
        tab.goto(address + path)
        tab.locator("main [role=alert]").first.wait_for()
        assert "0198c0de-77aa-7000" in said(tab)
    tab.unroute(missing)
    tab.route(missing, lambda route: route.fulfill(status=404, json={"code": "not_found"}))
    tab.goto(f"{address}jobs")
    tab.get_by_role("heading", name="الصفحة غير موجودة").first.wait_for()
    assert not {"المهام", "المواعيد"} & set(names.all_inner_texts())
