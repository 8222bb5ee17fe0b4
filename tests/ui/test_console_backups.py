"""The console's page of backups, over a stand-in that obeys."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from browsing import DOWN, LOOKS, Desk, assert_fits, hold, reader, said, settle

BARE: dict[str, Any] = {
    "running": None, "next": [], "policy": {"last": 7, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0}, "newest_good": None, "drilled_at": None,
    "free_bytes": 1_000_000_000, "last_error": None, "checklist": [], "folder": "/srv/نسخ", "drills": [], "offsite": [], "encryption": None,
}  # fmt: skip


def altered(page: Page, **changes: Any) -> dict[str, Any]:
    """Let the page see the stand-in's state with these changes, which are returned: emptied, it is seen as it is."""

    def answer(route: Route) -> None:
        real = route.fetch()
        route.fulfill(response=real, json={**real.json(), **changes})

    page.route("**/backup/status", answer)
    return changes


def underway(page: Page, what: str, step: str) -> dict[str, Any]:
    """Let the page see this step half done until the changes are emptied: the stand-in's own work ends, seen or not."""
    share = {"percent": 40.0, "done_bytes": 400_000, "total_bytes": 1_000_000, "seconds_left": 3.0}
    return altered(page, running={"what": what, "filename": None, "step": step, **share})


def rows(page: Page, region: str = "النسخ الاحتياطية") -> Any:
    return page.get_by_role("region", name=region, exact=True).locator("tbody tr:not(.narrow, .more)")


@pytest.mark.parametrize(("lang", "theme", "width"), LOOKS)
def test_the_page_is_accessible_and_fits_and_does_not_jump(address: str, desk: Desk, lang: str, theme: str, width: int) -> None:
    page = desk(lang, theme, width)
    page.goto(f"{address}backups")
    page.locator("main tbody tr").first.wait_for()
    page.locator("main figure").first.wait_for()
    settle(page)
    assert page.evaluate("window.shift") < 0.02
    page.locator("main .turn").first.click()
    page.locator("section[aria-labelledby=places] .cap button").click()
    page.locator("section[aria-labelledby=places] tbody tr").first.wait_for()
    assert_fits(page, f"{lang} {theme} {width}", lang, width)


def test_a_backup_is_made_while_the_page_tells_how_far_it_is(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    rows(tab).first.wait_for()
    before = rows(tab).count()
    create = tab.get_by_role("button", name="انسخ الآن")
    held = hold(tab, "**/backup/create")
    seen = underway(tab, "backup", "pack")
    create.click()
    standing = tab.locator("main .notice.tone-info")
    standing.get_by_role("heading", name="تُنشأ نسخة احتياطية").wait_for()
    assert standing.get_by_role("progressbar").get_attribute("aria-valuenow") == "40"
    expect(create).to_be_disabled()
    seen.clear()
    held[0].continue_()
    tab.get_by_text("أُنشئت نسخة وتُحقّق منها.").wait_for()
    expect(rows(tab)).to_have_count(before + 1)
    expect(create).to_be_enabled()
    tab.get_by_role("button", name="تجربة استعادة").click()
    tab.get_by_text("نجحت تجربة الاستعادة.").wait_for()
    expect(rows(tab).first.locator("td").nth(4)).to_contain_text("مجرّبة")


def test_a_damaged_backup_is_told_of_and_a_good_one_too(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    tab.get_by_role("button", name=re.compile("تحقق من .*month_end")).first.click()
    alert = tab.locator("main [role=alert]")
    expect(alert).to_contain_text(re.compile("month_end.* تالفة"))
    expect(alert).to_contain_text("another SHA-256")
    oldest = rows(tab).filter(has_text="before-the-migration")
    oldest.get_by_role("button", name=re.compile("تحقق من")).click()
    tab.get_by_text(re.compile("before-the-migration.* سليمة")).wait_for()
    expect(alert).to_have_count(0)


def confirmed(page: Page, name: str, *, safety: bool = True) -> None:
    """Answer the dialog of a restore as it wants to be answered."""
    dialog = page.locator("dialog")
    dialog.get_by_role("textbox").fill(name)
    if not safety:
        dialog.get_by_role("checkbox").uncheck()
    dialog.locator(".danger").click()


def chosen(page: Page, address: str) -> str:
    """Open the dialog that restores an older backup; return its name."""
    page.goto(f"{address}backups?sort=timestamp")
    row = rows(page).filter(has_text="db.zst").nth(1)
    name = row.locator("td bdi").first.inner_text()
    row.get_by_role("button", name=re.compile("استعادة")).click()
    return name


def test_a_restore_wants_the_name_of_the_file_and_is_seen_to_its_end_and_undone(tab: Page, address: str) -> None:
    name = chosen(tab, address)
    dialog = tab.locator("dialog")
    expect(dialog).to_contain_text(re.compile("[\\d,]+ صف"))
    expect(dialog.locator("li")).to_have_count(5)
    yes, word = dialog.locator(".danger"), dialog.get_by_role("textbox")
    expect(yes).to_be_disabled()
    word.fill(name[:-1])
    tab.keyboard.press("Enter")
    expect(yes).to_be_disabled()
    copies = rows(tab, "نسخ الأمان")
    before = copies.count()
    seen = underway(tab, "restore", "unpack")
    with tab.expect_request(re.compile(f"/backup/restore/{re.escape(name)}$")) as sent:
        confirmed(tab, f" {name} ")
    assert sent.value.post_data_json == {"confirm": name, "safety_backup": True}
    notice = tab.locator("main .notice.tone-info")
    notice.get_by_role("heading", name="تُستعاد نسخة احتياطية").wait_for()
    expect(notice.locator("li[aria-current=step]")).to_have_count(1)
    seen.clear()
    state = tab.get_by_role("region", name="الحالة")
    expect(state).to_contain_text(re.compile(f"استُعيدت .*{re.escape(name)}"))
    expect(copies).to_have_count(before + 1)
    kept = copies.last.locator("td bdi").first.inner_text()
    state.get_by_role("button", name="تراجع عن الاستعادة").click()
    expect(dialog).to_contain_text("ما كانت عليه قبل الاستعادة")
    with tab.expect_request("**/backup/undo") as sent:
        confirmed(tab, kept)
    assert sent.value.post_data_json == {"confirm": kept}
    expect(state).to_contain_text("تُرُوجع عن الاستعادة")


def test_maintenance_is_said_above_every_page_while_it_lasts(tab: Page, address: str) -> None:
    altered(tab, maintenance={"since": "2026-11-27T10:00:00Z", "what": "restore"})
    tab.goto(f"{address}backups")
    tab.locator("main").get_by_text("تُستعاد البيانات الآن").wait_for()
    altered(tab, maintenance=None)
    tab.goto(f"{address}backups")
    rows(tab).first.wait_for()
    expect(tab.locator("main").get_by_text("تُستعاد البيانات الآن")).to_have_count(0)


def test_a_restore_is_watched_though_the_server_falls_silent_and_the_sign_in_ends(tab: Page, address: str) -> None:
    answer = {"status": 503, "json": {"code": "unavailable"}}
    name = chosen(tab, address)
    tab.route("**/backup/restore/**", lambda route: route.fulfill(status=202, json={"success": True, "restore": {"filename": name}}))
    tab.route("**/backup/status", lambda route: route.fulfill(**answer))
    confirmed(tab, name, safety=False)
    tab.get_by_text("لا يجيب الخادم الآن").wait_for()
    answer = {"status": 401, "json": {"code": "unauthorized"}}
    tab.get_by_role("heading", name="انتهت جلسات الجميع").wait_for()
    assert "/backups" in tab.url
    tab.get_by_role("button", name="سجّل الدخول من جديد").click()
    tab.wait_for_url(re.compile("sign-in.next=.*backups"))


def test_what_a_restore_could_not_do_is_said_with_its_hint(tab: Page, address: str) -> None:
    name = chosen(tab, address)
    refused = {"code": "backup_refused", "message_ar": "مرفوض حفاظا على البيانات", "hint": "name the key by RAKIZA_BACKUP_IDENTITY_FILE"}
    tab.route("**/backup/restore/**", lambda route: route.fulfill(status=409, json=refused))
    with tab.expect_request("**/backup/restore/**") as sent:
        confirmed(tab, name, safety=False)
    assert sent.value.post_data_json["safety_backup"] is False
    expect(tab.locator("main [role=alert]")).to_contain_text("RAKIZA_BACKUP_IDENTITY_FILE")
    tab.unroute("**/backup/restore/**")
    altered(
        tab, last_error="the process was killed; live data are as they were", last={"what": "restore", "error": "x", "at": "2026-11-27T10:00:00Z"}
    )
    expect(tab.get_by_role("region", name="الحالة")).to_contain_text("live data are as they were")


def test_what_goes_with_a_backup_and_where_its_copies_are_is_shown(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    first = rows(tab).filter(has_text=".age").first
    name = first.locator("td bdi").first.inner_text()
    expect(first).to_contain_text("مشفّرة")
    first.get_by_role("button", name=re.compile("^تفاصيل")).click()
    expect(tab.locator("tr.more")).to_contain_text("files.tar.zst.age")
    expect(tab.locator("tr.more li", has_text="file:///mnt")).to_contain_text(re.compile("تنتظر النقل|موجودة"))
    first.get_by_role("button", name=re.compile("نقل .* الأماكن")).click()
    tab.get_by_text(re.compile(f"نُقلت .*{re.escape(name)}.* الأماكن الأخرى كلها")).wait_for()
    failed = {"success": False, "copies": [{"url": "s3://company", "state": "failed", "at": None, "error": "access is denied"}]}
    tab.route("**/backup/offsite/*", lambda route: route.fulfill(json=failed))
    first.get_by_role("button", name=re.compile("نقل .* الأماكن")).click()
    expect(tab.locator("main [role=alert]")).to_contain_text("s3://company: access is denied")


def test_a_backup_that_is_only_elsewhere_is_brought_here(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    places = tab.get_by_role("region", name="الأماكن الأخرى")
    expect(places.locator("li", has_text="file:///mnt")).to_contain_text("the share is not mounted")
    assert places.locator("table").count() == 0  # the places are asked only when somebody wants to see it
    places.get_by_role("button", name="اعرض ما فيها").click()
    with tab.expect_request("**/backup/fetch") as sent:
        places.get_by_role("button", name=re.compile("^اجلبها")).click()
    name = sent.value.post_data_json["filename"]
    tab.get_by_text(re.compile(f"جُلبت .*{re.escape(name)}")).wait_for()
    expect(rows(tab).filter(has_text=name)).to_have_count(1)
    expect(places.locator("tbody tr").filter(has_text=name)).to_contain_text("موجودة هنا")


def test_drills_and_encryption_are_told_as_they_are(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    drills = tab.get_by_role("region", name="تجارب الاستعادة")
    expect(drills.locator("tbody tr", has_text="أخفقت")).to_have_count(1)
    expect(drills).to_contain_text("51,998 rows were restored")
    safe = tab.get_by_role("region", name="3-2-1")
    expect(safe).to_contain_text("age1ql3z")
    altered(tab, encryption=None, offsite=[], drills=[])
    expect(safe).to_contain_text("النسخ غير مشفّرة")
    expect(drills).to_contain_text("لم تُجرّب استعادة قط")
    expect(tab.get_by_role("region", name="الأماكن الأخرى").locator("pre")).to_contain_text("RAKIZA_BACKUP_OFFSITE")


def test_a_pinned_backup_cannot_be_deleted_and_another_can(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    row = rows(tab).nth(4)
    name = row.locator("td bdi").first.inner_text()
    row = rows(tab).filter(has_text=name)
    row.get_by_role("button", name=re.compile("^تثبيت")).click()
    expect(row.locator(".tag")).to_have_text("مثبتة")
    gone = row.get_by_role("button", name=re.compile("^حذف"))
    expect(gone).to_be_disabled()
    row.get_by_role("button", name=re.compile("إلغاء تثبيت")).click()
    gone.click()
    assert name in tab.locator("dialog").inner_text()
    tab.locator("dialog .danger").click()
    expect(row).to_have_count(0)
    refused = {"code": "backup_refused", "message_ar": "مرفوض حفاظا على البيانات", "hint": "make another one first"}
    tab.route("**/backup/delete/**", lambda route: route.fulfill(status=409, json=refused))
    rows(tab).first.get_by_role("button", name=re.compile("^حذف")).click()
    tab.locator("dialog .danger").click()
    alert = tab.locator("main [role=alert]")
    expect(alert).to_contain_text("مرفوض حفاظا على البيانات")
    expect(alert).to_contain_text("make another one first")


def test_a_backup_is_downloaded(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    link = rows(tab).first.get_by_role("link", name=re.compile("تنزيل"))
    link.wait_for()
    name = rows(tab).first.locator("td bdi").first.inner_text()
    with tab.expect_download() as taken:
        link.click()
    assert taken.value.url.endswith(f"/_rakiza/api/backup/download/{name}")


def test_the_page_says_how_safe_the_data_are(tab: Page, address: str) -> None:
    tab.goto(f"{address}backups")
    tab.locator("main .notice.tone-warn").get_by_role("heading", name=re.compile("عمر أحدث نسخة سليمة")).wait_for()
    text = said(tab)
    assert {"ينقص أمر من القائمة", "أحدث 7 نسخ", "أحدث نسخة لكل من 14 يوما"} <= set(re.split(r"\n|\t", text)), text
    checklist = tab.get_by_role("region", name="3-2-1")
    expect(checklist.locator("li.tone-bad")).to_have_text(
        re.compile("ناقص:.*وسيطي تخزين.*ضع مجلد النسخ على قرص غير قرص قاعدة البيانات.*all copies seen")
    )
    assert checklist.locator("li.tone-ok").count() == 6
    altered(tab, newest_good=None, last_error="the disk gives back other bytes", next=[])
    banner = tab.locator("main .notice.tone-bad")
    banner.get_by_role("heading", name="لا توجد نسخة سليمة").wait_for()
    expect(banner).to_contain_text("the disk gives back other bytes")
    expect(banner).to_contain_text("لا موعد لنسخة تالية")


def test_without_backups_the_page_says_where_they_go_and_how_to_begin(tab: Page, address: str) -> None:
    tab.route("**/backup/list", lambda route: route.fulfill(json={"backups": []}))
    altered(tab, **BARE)
    tab.goto(f"{address}backups")
    tab.get_by_role("heading", name="لا نسخ احتياطية بعد").wait_for()
    assert "/srv/نسخ" in said(tab)
    assert {"BACKUP_DIR=/srv/backups", "ENABLE_BACKUP_SCHEDULER=true"} <= set(tab.locator("main pre").first.inner_text().splitlines())
    assert tab.locator("main table").count() == 0
    with tab.expect_request("**/backup/create"):
        tab.get_by_role("button", name="انسخ الآن").click()
    tab.locator("main .notice.tone-info").wait_for()


def test_who_may_only_read_changes_nothing(tab: Page, address: str) -> None:
    reader(tab)
    tab.goto(f"{address}backups")
    rows(tab).first.wait_for()
    assert tab.get_by_role("button", name=re.compile("^(انسخ|تجربة|تحقق من|تثبيت|استعادة|حذف|نقل|اجلبها|تراجع)")).count() == 0
    assert tab.locator("main a[download]").count() == 0


def test_the_page_appears_only_where_the_room_is_there(tab: Page, address: str) -> None:
    tab.goto(f"{address}account")
    name = tab.get_by_role("navigation").first.get_by_role("link", name="النسخ الاحتياطية")
    name.wait_for()
    missing = re.compile("/_rakiza/api/backup")
    tab.route(missing, lambda route: route.fulfill(status=503, body=DOWN, content_type="application/problem+json"))
    tab.goto(f"{address}backups")
    tab.locator("main [role=alert]").first.wait_for()
    assert "0198c0de-77aa-7000" in said(tab)
    tab.unroute(missing)
    tab.route(missing, lambda route: route.fulfill(status=404, json={"code": "not_found"}))
    tab.goto(f"{address}backups")
    tab.get_by_role("heading", name="الصفحة غير موجودة").first.wait_for()
    assert name.count() == 0
