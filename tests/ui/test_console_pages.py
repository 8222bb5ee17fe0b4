"""Every page of the console over figures that are known: what it shows, its four states, its looks in both languages and themes."""

import json
import random
import re

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browsing import DOWN, LOOKS, Desk, assert_fits, assert_worded, hold, opened, reader, said, settle, until

# The mock's traces: one with errors, a deep one, one of 640 spans, one of a single span.
FAILED, DEEP, LONG, ALONE = (random.Random(at).randbytes(16).hex() for at in (3, 1, 2, 5))  # noqa: S311 - the mock's ids are made so
PAGES = ("", "health", "requests", "account", f"traces/{FAILED}", "traces", "logs", "errors", "errors/2")
VARIANTS = {
    390: (f"traces/{DEEP}", "logs?file=audit", "errors?state=all"),
    1440: ("requests?tab=statements", f"logs?trace_id={FAILED}", "logs?q=nowhere"),
}
"""What looks nearly like one of the pages, each in one look."""


@pytest.mark.parametrize(("lang", "theme", "width"), LOOKS)
def test_every_page_is_accessible_and_fits_and_does_not_jump(address: str, desk: Desk, lang: str, theme: str, width: int) -> None:
    page = desk(lang, theme, width)
    page.goto(address)  # its fonts and its scripts are here before it is judged
    settle(page)
    for path in (*PAGES, *VARIANTS[width]):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(address + path)
        settle(page)
        page.locator("main h1").first.wait_for()
        assert page.evaluate("window.shift") < 0.02, f"{path} {lang} {theme} {width}"
        assert_fits(page, f"{path} {lang} {theme} {width}", lang, width)


def test_a_page_has_its_words_in_the_language_that_was_chosen_before_it_and_after_it(tab: Page, address: str) -> None:
    tab.goto(f"{address}account")
    tab.get_by_role("link", name="الأخطاء").click()
    expect(tab.get_by_role("heading", name="الأخطاء", level=1)).to_be_visible()
    tab.get_by_role("button", name="English").click()
    expect(tab.get_by_role("heading", name="Errors", level=1)).to_be_visible()
    for name in ("Health", "Jobs", "Audit trail"):
        tab.get_by_role("link", name=name, exact=True).click()
        expect(tab.get_by_role("heading", name=name, level=1)).to_be_visible()
        settle(tab)
        assert_worded(tab, name)
        assert re.search("[\u0600-\u06ff]", tab.locator("main h2").first.inner_text()) is None


def test_the_overview_says_what_is_wrong_and_shows_the_figures(address: str, desk: Desk) -> None:
    page = desk()
    page.goto(address)
    settle(page)
    shown = said(page)
    for words in ("يحتاج نظرك", "المعالج فوق 80٪", "Redis", "10.1 من 16 GB", "7 من 8 ناجحة", "3 أيام وساعة", "postgres: writer"):
        assert words in shown, words
    assert re.search(r"منذ 2\d دقيقة", shown)
    assert re.search(r"معدل الطلبات\s+[\d.]+\s+في الثانية", shown)
    assert page.locator("canvas").count() == 3
    assert page.locator(".plot").first.evaluate("plot => getComputedStyle(plot).direction") == "ltr"
    page.get_by_text("عرض كجدول").first.click()
    page.locator("figure").first.locator("tbody tr").nth(39).wait_for()
    with page.expect_response(lambda answer: "range=7d" in answer.url):
        page.get_by_text("أسبوع").click()
    assert "range=7d" in page.url


def test_the_page_reads_again_every_few_seconds_and_rests_when_told(address: str, browser: Browser) -> None:
    context = opened(browser, [])
    page = context.new_page()
    page.goto(f"{address}sign-in?next=/console/account#token=demo")
    page.wait_for_url(f"{address}account")
    asked: list[str] = []
    page.clock.install()
    page.goto(address)
    settle(page)
    page.on("request", lambda request: asked.append(request.url) if "/monitoring/health" in request.url else None)
    with page.expect_request("**/monitoring/health*"):
        page.clock.run_for(5500)
    page.wait_for_timeout(300)
    assert len(asked) == 1
    page.get_by_role("button", name=re.compile("إيقاف التحديث")).click()
    page.clock.run_for(30_000)
    page.wait_for_timeout(300)
    assert len(asked) == 1
    context.close()


def test_the_overview_keeps_a_place_for_what_is_slow(address: str, desk: Desk) -> None:
    page = desk(*LOOKS[1])
    held = hold(page, re.compile("/(jobs|cache|backup)/stats"))
    page.goto(address)
    row = page.locator("main dl", has_text="Jobs running")
    row.locator(".skeleton").first.wait_for()
    page.get_by_role("heading", name="Slowest routes").wait_for()
    for one in held:
        one.continue_()
    expect(page.locator("main dl .skeleton")).to_have_count(0)
    expect(row.locator("dd").first).to_have_text(re.compile(r"\d"))
    assert page.evaluate("window.shift") < 0.02


def test_routes_are_sorted_and_found_and_the_address_says_how(address: str, desk: Desk) -> None:
    page = desk(*LOOKS[1])
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


def test_what_is_away_is_named_and_what_fails_gives_its_number(address: str, desk: Desk) -> None:
    page = desk(*LOOKS[1])
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
    for path in ("errors/1", "errors", f"traces/{FAILED}", "traces", "logs", "", "health", "requests"):
        page.goto(address + path)
        page.locator("[role=alert]").first.wait_for()
        assert "0198c0de-77aa-7000" in page.locator("[role=alert]").inner_text()
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    page.locator("main table").wait_for()


def test_traces_are_found_by_the_address_and_by_the_keyboard(address: str, desk: Desk) -> None:
    page = desk()
    page.goto(f"{address}traces")
    rows = page.locator("main tbody tr")
    rows.first.wait_for()
    assert rows.count() == 50
    page.get_by_role("button", name="مسارات أقدم").click()
    until(page, "document.querySelectorAll('main tbody tr').length === 100")
    page.keyboard.press("/")
    page.keyboard.type("boq/import")
    until(page, "[...document.querySelectorAll('main tbody tr')].every(row => row.innerText.includes('boq/import'))")
    page.get_by_label("ذات الأخطاء فقط").check()
    until(page, "[...document.querySelectorAll('main tbody .status')].every(cell => cell.innerText.includes('500'))")
    assert "q=boq%2Fimport" in page.url
    assert "errors=true" in page.url
    page.reload()
    rows.first.wait_for()
    assert all("500" in text for text in page.locator("main tbody .status").all_inner_texts())
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/console/traces/[0-9a-f]{32}$"))


@pytest.mark.parametrize("lang", ["ar", "en"])
def test_a_waterfall_runs_left_to_right_and_is_walked_by_keyboard(address: str, desk: Desk, lang: str) -> None:
    page = desk(lang)
    page.goto(f"{address}traces/{FAILED}")
    items = page.locator("[role=treeitem]")
    items.first.wait_for()
    assert items.count() == 6
    assert page.locator(".bar").nth(4).bounding_box()["x"] < page.locator(".bar").nth(5).bounding_box()["x"]  # type: ignore[index]
    items.first.focus()
    inward, outward = ("ArrowLeft", "ArrowRight") if lang == "ar" else ("ArrowRight", "ArrowLeft")
    page.keyboard.press(outward)
    assert items.count() == 1
    page.keyboard.press(inward)
    assert items.count() == 6
    page.keyboard.press("End")
    panel = page.locator("aside")
    assert "UPDATE noufal_boq_item" in panel.inner_text()
    assert "database is locked" in panel.inner_text()
    assert panel.locator("pre").first.evaluate("code => getComputedStyle(code).direction") == "ltr"
    page.keyboard.press("k")
    assert "SELECT noufal_boq_item" in panel.inner_text()
    logs, error = page.locator("main .actions a").last, page.locator("main .actions a").first
    assert "/console/errors/" in str(error.get_attribute("href"))
    logs.click()
    page.wait_for_url(f"**/console/logs?trace_id={FAILED}")


def test_a_waterfall_holds_one_span_and_very_many_and_its_words_stay_inside(address: str, desk: Desk) -> None:
    inside = """() => [...document.querySelectorAll('[role=treeitem]')].every(row => {
        const words = row.querySelector('.words').getBoundingClientRect(), track = row.querySelector('.track').getBoundingClientRect();
        return words.left >= track.left - 1 && words.right <= track.right + 1 })"""
    for look in (("ar", "light", 1440), ("ar", "dark", 390)):
        page = desk(*look)
        for trace, rows, words in ((ALONE, 1, "مرحلة واحدة"), (DEEP, 22, "22 مرحلة"), (LONG, 500, "تُعرض أول 500 مرحلة، وبقيت 140 مرحلة")):
            page.goto(f"{address}traces/{trace}")
            page.locator("[role=treeitem]").first.wait_for()
            assert page.locator("[role=treeitem]").count() == rows
            assert words in said(page)
            assert page.evaluate(inside), f"{trace} {look}"
        assert "لأن التي فوقها لم تُحفظ" in said(page)


def test_logs_are_searched_opened_and_followed_from_file_to_file(address: str, desk: Desk) -> None:
    page = desk()
    page.goto(f"{address}logs")
    lines = page.locator("main ol li")
    lines.first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("خرسانة مسلحة")
    until(page, "[...document.querySelectorAll('main ol li')].every(line => line.innerText.includes('خرسانة'))")
    assert "ولم يُبحث بعد في الأسطر الأقدم" in said(page)
    page.get_by_label("المستوى").select_option("error")
    until(page, "[...document.querySelectorAll('main ol .mark')].every(mark => mark.innerText === 'ERROR')")
    assert "level=error" in page.url
    first = lines.first
    first.locator("button").first.click()
    assert "Traceback (most recent call last)" in first.locator("pre").first.inner_text()
    whole = json.loads(first.locator("pre").last.inner_text())
    assert whole["level"] == "ERROR"
    assert first.locator("pre").last.evaluate("code => getComputedStyle(code).direction") == "ltr"
    assert first.locator("bdi[dir=auto]").evaluate("text => getComputedStyle(text).direction") == "rtl"
    first.get_by_role("link", name="هذا الطلب في كل الملفات").click()
    page.wait_for_url(f"**/logs?request_id={whole['request_id']}")
    until(page, "new Set([...document.querySelectorAll('main ol .file')].map(tag => tag.innerText)).size >= 4")
    times = page.locator("main ol time").evaluate_all("all => all.map(one => Date.parse(one.dateTime))")
    assert times == sorted(times, reverse=True)
    page.get_by_title("إزالة هذا المرشح").click()
    page.wait_for_url("**/logs")
    page.goto(f"{address}logs?q=nowhere")
    page.get_by_role("heading", name="لا شيء حتى الآن").wait_for()


def test_new_lines_arrive_wait_while_paused_and_never_grow_without_bound(address: str, desk: Desk) -> None:
    page = desk(*LOOKS[1])
    page.goto(f"{address}logs")
    page.get_by_role("button", name="Follow live").click()
    live = page.get_by_role("list", name="Follow live").locator("li.fresh")
    live.first.wait_for()
    assert "Connected" in said(page)
    page.get_by_role("button", name="Pause").click()
    page.get_by_text(re.compile(r"\d+ new lines? waits?")).wait_for()
    before = page.get_by_role("list", name="Follow live").locator("li").count()
    page.wait_for_timeout(900)
    assert page.get_by_role("list", name="Follow live").locator("li").count() == before
    page.get_by_role("button", name="Go on").click()
    until(page, f"document.querySelector('main ol').children.length > {before}")

    stamp = "2026-11-27T10:00:00+03:00"
    flood = "".join(f"data: {json.dumps({'timestamp': stamp, 'level': 'INFO', 'message': f'سطر {at}'})}\n\n" for at in range(2500))
    page.route("**/logs/stream*", lambda route: route.fulfill(body=flood, content_type="text/event-stream"))
    page.goto(f"{address}logs?live=true&level=warning")
    page.get_by_text("Connection lost; trying again").wait_for()
    page.get_by_text("سطر 2499", exact=True).first.wait_for()
    assert page.locator("main ol").first.locator("li").count() == 1000


def test_a_level_is_changed_for_a_while_and_only_by_who_may(address: str, desk: Desk) -> None:
    page = desk(*LOOKS[1])
    page.goto(f"{address}logs")
    page.get_by_role("button", name="Levels").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("Logger", exact=True).fill("noufal.boq")
    dialog.get_by_label("Level", exact=True).select_option("DEBUG")
    with page.expect_request(lambda request: request.method == "PUT") as sent:
        dialog.get_by_role("button", name="Change the level").click()
    assert sent.value.url.endswith("/logs/levels/noufal.boq")
    assert sent.value.post_data_json == {"level": "DEBUG", "seconds": 600}
    dialog.get_by_role("button", name="Set back").click()
    dialog.get_by_role("button", name="Set back").wait_for(state="detached")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Files").click()
    with page.expect_download() as download:
        dialog.locator("a[download]").first.click()
    assert download.value.suggested_filename.startswith("noufal")
    reader(page)
    page.goto(f"{address}logs")
    page.get_by_role("button", name="Levels").click()
    dialog.locator("table").wait_for()
    assert dialog.get_by_role("button", name="Change the level").count() == 0


def test_an_error_shows_its_stack_and_is_resolved_and_reopened(address: str, desk: Desk) -> None:
    page = desk()
    page.goto(f"{address}errors?state=regressed")
    rows = page.locator("main tbody tr")
    rows.first.wait_for()
    assert all("عادت" in text for text in rows.all_inner_texts())
    page.goto(f"{address}errors")
    rows.first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/errors/2")
    page.locator("main .source").first.wait_for()
    assert page.locator("main details.folded").get_attribute("open") is None
    assert page.locator("main details[open]").count() == 2
    assert "خرسانة" in said(page)
    assert page.locator("main .source").last.evaluate("code => getComputedStyle(code).direction") == "ltr"
    page.get_by_role("button", name="تعليم كمحلول").click()
    page.get_by_text("عُلّم الخطأ محلولا").wait_for()
    assert page.get_by_role("button", name="إعادة فتح").count() == 1
    page.get_by_role("button", name="تراجع").click()
    page.get_by_role("button", name="تعليم كمحلول").wait_for()
    page.get_by_role("link", name="المسار", exact=True).first.click()
    page.wait_for_url(re.compile("/traces/[0-9a-f]{32}$"))
    reader(page)
    page.goto(f"{address}errors/2")
    page.locator("main .source").first.wait_for()
    assert page.get_by_role("button", name="تعليم كمحلول").count() == 0
