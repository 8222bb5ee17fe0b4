"""The console's pages of the cache and of the breakers, over stand-ins that obey."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from browsing import DOWN, LOOKS, Desk, assert_fits, reader, said, settle, until

PAGES = {"cache": "المخبأ", "resilience": "الصمود"}
CALM = {"deadlines": {"missed": []}}
NOTHING: dict[str, Any] = {"breakers": [], "bulkheads": [], "limits": [], "budgets": [], **CALM}


def altered(page: Page, pattern: str, change: Any) -> None:
    """Let the page see the stand-in's answer changed."""

    def answer(route: Route) -> None:
        real = route.fetch()
        route.fulfill(response=real, json=change(real.json()))

    page.route(pattern, answer)


@pytest.mark.parametrize(("lang", "theme", "width"), LOOKS)
def test_both_pages_are_accessible_and_fit_and_do_not_jump(address: str, desk: Desk, lang: str, theme: str, width: int) -> None:
    page = desk(lang, theme, width)
    for path in PAGES:
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(address + path)
        page.locator("main tbody tr").first.wait_for()
        settle(page)
        assert page.evaluate("window.shift") < 0.02, f"{path} {lang} {theme} {width}"
        if path == "resilience":
            page.locator("main .under button[aria-expanded]").first.click()
        assert_fits(page, f"{path} {lang} {theme} {width}", lang, width)


def test_what_is_evicted_is_gone(tab: Page, address: str) -> None:
    tab.goto(f"{address}cache?q=user:1")
    keys = tab.get_by_role("region", name="المفاتيح في هذه العملية")
    expect(keys.locator("tbody tr")).to_have_count(11)
    keys.get_by_role("button", name=re.compile("إخراج المفتاح .*user:17")).click()
    keys.get_by_text("أُخرج مفتاح واحد.").wait_for()
    expect(keys.locator("tbody tr")).to_have_count(10)
    prefixes = tab.get_by_role("region", name="حسب البادئة")
    count = prefixes.locator("tbody tr", has_text="sql").first.locator("td").nth(6)
    expect(count).to_have_text("40")
    prefixes.get_by_role("button", name=re.compile("إخراج البادئة .*sql")).click()
    assert "40 مفتاحا من هذه العملية" in tab.locator("dialog").inner_text()
    tab.locator("dialog .danger").click()
    prefixes.get_by_text("أُخرج 40 مفتاحا.").wait_for()
    expect(count).to_have_text("0")
    tag = tab.get_by_role("textbox", name="الوسم")
    tag.fill(" project:VILLA-01 ")
    tab.keyboard.press("Enter")
    with tab.expect_request("**/cache/evict") as sent:
        tab.locator("dialog .danger").click()
    assert sent.value.post_data_json == {"tag": "project:VILLA-01"}
    tab.get_by_text("أُخرجت 3 مفاتيح.").wait_for()
    expect(tag).to_have_value("")


def test_everything_is_cleared_only_after_the_word_is_typed(tab: Page, address: str) -> None:
    tab.route("**/cache/clear", lambda route: route.fulfill(json={"success": True, "message": "Cache cleared successfully"}))
    tab.goto(f"{address}cache")
    tab.get_by_role("button", name="مسح كل شيء").click()
    dialog = tab.locator("dialog")
    yes = dialog.locator(".danger")
    expect(yes).to_be_disabled()
    word = dialog.get_by_label("اكتب")
    expect(word).to_be_focused()
    word.fill("مس")
    tab.keyboard.press("Enter")
    expect(yes).to_be_disabled()
    word.fill("مسح ")
    with tab.expect_request("**/cache/clear"):
        yes.click()
    tab.get_by_text("مُسح كل شيء.").wait_for()


def test_a_prefix_narrows_the_keys_and_the_chart(tab: Page, address: str) -> None:
    tab.goto(f"{address}cache")
    chart = tab.locator("main figure")
    expect(chart.locator(".value")).to_have_count(6)
    tab.get_by_role("region", name="حسب البادئة").get_by_role("link", name="gantt").click()
    until(tab, "[...document.querySelectorAll('main .two .key .mono')].every(key => key.innerText.startsWith('gantt:'))")
    expect(chart.locator(".value")).to_have_count(1)
    with tab.expect_request(re.compile("/cache/history.range=24h")):
        tab.get_by_label("يوم").check(force=True)
    assert "prefix=gantt&range=24h" in tab.url
    tab.get_by_role("button", name="نسبة الإصابة").click()
    names = tab.get_by_role("region", name="حسب البادئة").locator("tbody tr:not(.narrow) td:first-child")
    expect(names).to_have_text(["boq", "user", "permissions", "gantt", "sql", "exchange-rate"])
    tab.keyboard.press("/")
    tab.keyboard.type("لا شيء")
    tab.get_by_text("لا شيء يطابق ما كتبت").wait_for()


def test_the_cache_says_how_it_works_and_since_when(tab: Page, address: str) -> None:
    lost = {"address": "cache-1.internal:6379", "up": False, "last_error": "TimeoutError: no answer", "errors": 3, "latency_ms": None}
    altered(tab, "**/cache/stats", lambda stats: {**stats, "state": "fallback", "since": "2026-11-27T06:41:07Z", "hit_rate": 41.2, "redis": lost})
    tab.goto(f"{address}cache")
    banner = tab.locator("main .notice.tone-warn")
    banner.get_by_role("heading", name=re.compile(r"العمل من الذاكرة منذ .*\d\d:\d\d:07")).wait_for()
    assert {"TimeoutError: no answer", "cache-1.internal:6379", "3 أخطاء"} <= set(re.split(r"\n|\t", said(tab))), said(tab)
    assert "ضعيفة: دون 70%" in tab.locator("main dd.tone-warn").inner_text()
    unused = {"state": "in_memory", "cache_type": "in_memory", "redis": None, "total_keys": 0, "total_requests": 0}
    altered(tab, "**/cache/stats", lambda stats: {**stats, **unused})
    tab.reload()
    tab.get_by_role("heading", name="لا شيء في المخبأ بعد").wait_for()
    assert "@cached(" in tab.locator("main pre").inner_text()
    assert "REDIS_URL" in tab.locator("main .notice.tone-info").inner_text()
    assert tab.get_by_role("button", name="مسح كل شيء").count() == 0


def test_a_breaker_is_forced_with_a_reason_and_reset(tab: Page, address: str) -> None:
    tab.goto(f"{address}resilience")
    row = tab.locator("main tbody tr", has_text="smtp").first
    expect(row.locator(".standing")).to_contain_text("مغلق")
    row.get_by_role("button", name=re.compile("فتح .*smtp")).click()
    dialog = tab.locator("dialog")
    dialog.locator(".danger").click()
    reason = dialog.get_by_label("السبب")
    expect(reason).to_be_focused()
    dialog.get_by_text("اكتب السبب لمن يأتي بعدك.").wait_for()
    reason.fill("x")
    dialog.locator(".danger").click()
    dialog.get_by_text("اكتب أكثر من حرف").wait_for()
    reason.fill(" صيانة الخادم ")
    dialog.get_by_label("ساعة", exact=False).check(force=True)
    with tab.expect_request("**/resilience/breakers/smtp/open") as sent:
        dialog.locator(".danger").click()
    assert sent.value.post_data_json == {"for_seconds": 3600, "reason": "صيانة الخادم"}
    expect(row.locator(".standing")).to_contain_text("مفتوح بأمر")
    tab.get_by_role("heading", name="3 قواطع تمنع النداءات").wait_for()
    under = row.locator("xpath=following-sibling::tr[1]")
    expect(under).to_contain_text("صيانة الخادم")
    under.locator("button[aria-expanded]").click()
    expect(under.locator("ol li").first).to_contain_text(re.compile("مغلق.*مفتوح.*صيانة الخادم", re.DOTALL))
    row.get_by_role("button", name=re.compile("تصفير .*smtp")).click()
    dialog.locator(".danger").click()
    expect(row.locator(".standing")).to_contain_text("مغلق")
    tab.get_by_role("heading", name="قاطعان يمنعان النداءات").wait_for()


def test_an_open_breaker_counts_down_and_shows_what_it_was(tab: Page, address: str) -> None:
    tab.goto(f"{address}resilience")
    row = tab.locator("main tbody tr", has_text="bank-api").first
    left = row.locator(".standing .small")
    expect(left).to_contain_text("يُفحص بعد")
    before = left.inner_text()
    until(tab, f"document.querySelector('main .standing .small').innerText !== {before!r}")
    strip = tab.get_by_role("img", name=re.compile("bank-api.*في آخر.*ساعة.*فُتح 3 مرات"))
    assert strip.locator(".open").count() == 3
    assert strip.evaluate("strip => getComputedStyle(strip).direction") == "ltr"
    meter = tab.locator("main tbody tr", has_text="gosi").first.locator(".meter").first
    assert meter.evaluate("meter => [meter.firstChild.style.inlineSize, meter.querySelector('i').style.insetInlineStart]") == ["64%", "50%"]


def test_calm_breakers_and_none_are_told_apart(tab: Page, address: str) -> None:
    well = re.compile("redis|webhook")
    altered(tab, "**/api/resilience", lambda seen: {**seen, **CALM, "breakers": [one for one in seen["breakers"] if well.match(one["name"])]})
    tab.goto(f"{address}resilience")
    tab.locator("main .notice.tone-ok").get_by_role("heading", name="القاطعان يمرّران النداءات").wait_for()
    tab.get_by_text("لم تفت مهلة.").wait_for()
    tab.route("**/api/resilience", lambda route: route.fulfill(json=NOTHING))
    tab.get_by_role("heading", name="لا قواطع بعد").wait_for()
    assert "@resilient(" in tab.locator("main pre").inner_text()
    assert tab.locator("main table").count() == 0


def test_who_may_only_read_changes_nothing(tab: Page, address: str) -> None:
    reader(tab)
    for path, words in (("cache", "إخراج|مسح"), ("resilience", "فتح|إغلاق|تصفير")):
        tab.goto(address + path)
        tab.locator("main tbody tr").first.wait_for()
        assert tab.get_by_role("button", name=re.compile(words)).count() == 0
    assert tab.locator("main input[type=text]").count() == 0


def test_the_pages_appear_only_where_the_rooms_are_there(tab: Page, address: str) -> None:
    tab.goto(f"{address}account")
    names = tab.get_by_role("navigation").first.get_by_role("link")
    tab.get_by_role("link", name="الصمود").wait_for()
    missing = re.compile("/_rakiza/api/(cache|resilience)")
    tab.route(missing, lambda route: route.fulfill(status=503, body=DOWN, content_type="application/problem+json"))
    for path in PAGES:
        tab.goto(address + path)
        tab.locator("main [role=alert]").first.wait_for()
        assert "0198c0de-77aa-7000" in said(tab)
    tab.unroute(missing)
    tab.route(missing, lambda route: route.fulfill(status=404, json={"code": "not_found"}))
    tab.goto(f"{address}cache")
    tab.get_by_role("heading", name="الصفحة غير موجودة").first.wait_for()
    assert not set(PAGES.values()) & set(names.all_inner_texts())
