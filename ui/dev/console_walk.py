"""Walk the console's pages against its mock: axe, CSP, layout shift, screenshots. `python ui/dev/console_walk.py [folder [ar_light_1440 [page]]]`."""

import subprocess
import sys
from pathlib import Path

import console_mock
import walk
from playwright.sync_api import sync_playwright

PORT = 8174
BASE = f"http://127.0.0.1:{PORT}"
EVENTS = console_mock.events_mock.EVENTS
JOBS = console_mock.jobs_mock.JOBS
JOB = {job["state"]: number for number, job in reversed(JOBS.items())}
FIRST = {event["aggregate_type"]: event["position"] for event in reversed(EVENTS)}
LAST_OF = {event["aggregate_type"]: event["position"] for event in EVENTS}
ERASED = max(event["position"] for event in EVENTS if event["personal"] and event["personal"]["erased"])
PAGES = {"overview": "", "health": "health", "requests": "requests", "slow": "requests?tab=statements", "traces": "traces", "trace": f"traces/{console_mock.ident(3)}", "trace_deep": f"traces/{console_mock.ident(1)}", "trace_many": f"traces/{console_mock.ident(2)}", "logs": "logs", "logs_request": f"logs?request_id={console_mock.ident(52)}", "logs_audit": "logs?file=audit", "logs_nowhere": "logs?q=nowhere", "errors": "errors", "errors_all": "errors?state=all", "errors_none": "errors?q=zzz", "error": "errors/1", "error_long": "errors/2", "events": "events", "events_none": "events?tag=zzz", "streams": "events?tab=streams", "stream": "events?tab=stream&aggregate_type=BoqItem&aggregate_id=TOWER-07/59", "event": "events/2300", "event_compared": f"events/{LAST_OF['Rate']}", "event_first": f"events/{FIRST['Project']}", "event_erased": f"events/{ERASED}", "event_new": "events/2400", "event_gone": "events/999999", "projections": "projections", "jobs": "jobs", **{f"jobs_{state}": f"jobs?state={state}" for state in JOB}, "jobs_found": "jobs?state=failed&q=المستخلص&queue=emails&tag=بريد", "jobs_none": "jobs?q=zzz", **{f"job_{state}": f"jobs/{number}" for state, number in JOB.items()}, "job_gone": "jobs/999999", "schedules": "schedules", "cache": "cache", "cache_prefix": "cache?prefix=boq&range=24h", "cache_none": "cache?q=zzz", "resilience": "resilience", "resilience_day": "resilience?range=24h", "backups": "backups", "audit": "audit", "audit_none": "audit?q=zzz", "account": "account", "not_found": "nowhere"}
DOWN = '{"status": 503, "title": "Service unavailable", "code": "unavailable", "request_id": "0198c0de-77aa-7000"}'


def states(page, tag, folder):
    """Look at a page whose parts are slow, away, or broken altogether."""
    held = []
    page.route("**/_rakiza/**", lambda route: held.append(route) if "users/me" not in route.request.url else route.continue_())
    page.goto(f"{BASE}/console/")
    page.wait_for_timeout(900)
    walk.look(page, f"loading_{tag}", folder)
    for route in held:
        route.abort()
    page.unroute_all()
    gone = ("history", "alerts", "/errors", "processes", "runtime")
    page.route("**/_rakiza/api/**", lambda route: route.fulfill(status=404, json={"code": "not_found"}) if any(part in route.request.url for part in gone) else route.continue_())
    page.goto(f"{BASE}/console/")
    walk.settle(page)
    walk.look(page, f"partial_{tag}", folder)
    page.unroute_all()
    page.route("**/_rakiza/**", lambda route: route.continue_() if "users/me" in route.request.url else route.fulfill(status=503, body=DOWN, content_type="application/problem+json"))
    page.goto(f"{BASE}/console/")
    walk.settle(page)
    walk.look(page, f"broken_{tag}", folder)
    page.unroute_all()


ALTERED = {"state": "done", "checked": 2400, "total": 2400, "started_at": "2026-11-27T09:00:00Z", "finished_at": "2026-11-27T09:00:04Z", "result": {"ok": False, "size": 2388, "root": "ab" * 32, "events": 2400, "seals": 61, "findings": [
    {"code": "leaf", "position": 1204, "message_en": "The payload is not the one that was sealed: unit_price was changed after 2026-11-20", "message_ar": "المحتوى غير الذي خُتم: تغيّر سعر الوحدة بعد ختمه"},
    {"code": "gap", "position": None, "message_en": "Positions 2101 to 2103 are missing", "message_ar": "المواضع من 2101 إلى 2103 مفقودة"}]}}


def event_states(page, tag, folder):
    """Look at what the pages of events become when one works with them."""
    page.goto(f"{BASE}/console/audit")
    walk.settle(page)
    page.locator("main .verify .btn").click()
    page.wait_for_timeout(700)
    walk.look(page, f"audit_running_{tag}", folder)
    page.locator("main .verdict").wait_for()
    page.locator("main [data-row]").nth(20).click()
    walk.look(page, f"audit_intact_{tag}", folder)
    page.locator("main .under .btn.ghost:not(.icon)").last.click()
    page.locator("dialog .notice").wait_for()
    walk.look(page, f"audit_proof_{tag}", folder)
    page.route("**/audit/verify", lambda route: route.fulfill(json=ALTERED))
    page.goto(f"{BASE}/console/audit")
    walk.settle(page)
    walk.look(page, f"audit_altered_{tag}", folder)
    page.unroute_all()
    page.goto(f"{BASE}/console/projections")
    walk.settle(page)
    page.locator("main .letters:visible").first.click()
    page.locator("main .do .btn:visible, main .narrow .btn:not(.letters):visible").nth(1).click()
    walk.look(page, f"projections_ask_{tag}", folder)
    page.locator("dialog .danger").click()
    page.wait_for_timeout(900)
    walk.look(page, f"projections_rebuild_{tag}", folder)
    page.route("**/events/projections", lambda route: route.fulfill(json={"head": 2400, "projections": []}))
    page.goto(f"{BASE}/console/projections")
    walk.settle(page)
    walk.look(page, f"projections_none_{tag}", folder)
    page.unroute_all()
    page.route("**/_rakiza/api/**", lambda route: route.continue_() if "users/me" in route.request.url else route.fulfill(status=503, body=DOWN, content_type="application/problem+json"))
    for name in ("events", "projections", "audit"):
        page.goto(f"{BASE}/console/{name}")
        walk.settle(page)
        walk.look(page, f"{name}_broken_{tag}", folder)
    page.unroute_all()


def job_states(page, tag, folder):
    """Look at what the pages of jobs become when one works with them."""
    page.goto(f"{BASE}/console/jobs?state=delayed")
    walk.settle(page)
    page.locator("main thead input[type=checkbox]").check()
    page.locator("main .bulk [aria-pressed]").click()
    walk.look(page, f"jobs_bulk_{tag}", folder)
    page.locator("main .bulk .btn:not(.ghost)").first.click()
    page.locator("dialog .danger").wait_for()
    walk.look(page, f"jobs_ask_{tag}", folder)
    page.keyboard.press("Escape")
    page.locator("main .side .do .btn").nth(3).click()
    page.locator("dialog input").nth(1).fill("-3")
    page.locator("dialog .primary").click()
    walk.look(page, f"jobs_scale_{tag}", folder)
    page.goto(f"{BASE}/console/jobs/{JOB['failed']}")
    walk.settle(page)
    page.locator("main details summary").last.click()
    walk.look(page, f"job_trace_{tag}", folder)
    page.locator("main .head ~ .actions .btn").nth(2).click()
    page.locator("dialog textarea").fill('{"to": 17}')
    page.locator("dialog .primary").click()
    page.locator("dialog .fault").wait_for()
    walk.look(page, f"job_edit_{tag}", folder)
    page.keyboard.press("Escape")
    page.locator("main .head ~ .actions .btn").nth(3).click()
    walk.look(page, f"job_new_{tag}", folder)
    page.goto(f"{BASE}/console/jobs/{JOB['running']}")
    walk.settle(page)
    page.locator("main .head ~ .actions .btn").first.click()
    page.locator("dialog .danger").click()
    page.locator("main .notice").wait_for()
    walk.look(page, f"job_cancelling_{tag}", folder)
    page.goto(f"{BASE}/console/schedules")
    walk.settle(page)
    page.locator("main .btn.slim.icon:visible").nth(1).click()
    page.wait_for_timeout(600)
    walk.look(page, f"schedules_edit_{tag}", folder)
    page.locator("dialog .input").first.fill("61 * * * *")
    page.locator("dialog .fault").wait_for()
    walk.look(page, f"schedules_wrong_{tag}", folder)
    page.route("**/jobs/schedules", lambda route: route.fulfill(json={"schedules": [], "leader": None}))
    page.goto(f"{BASE}/console/schedules")
    walk.settle(page)
    walk.look(page, f"schedules_none_{tag}", folder)
    page.unroute_all()
    page.route("**/_rakiza/api/**", lambda route: route.continue_() if "users/me" in route.request.url else route.fulfill(status=503, body=DOWN, content_type="application/problem+json"))
    for name in ("jobs", "jobs/7", "schedules"):
        page.goto(f"{BASE}/console/{name}")
        walk.settle(page)
        walk.look(page, f"{name.replace('/', '_')}_broken_{tag}", folder)
    page.unroute_all()


FALLBACK = {"state": "fallback", "since": "2026-11-27T09:41:07Z", "redis": {"address": "cache-1.internal:6379", "up": False, "last_error": "TimeoutError: no answer within 0.1 s from cache-1.internal:6379", "errors": 214, "latency_ms": None}}
UNUSED = {"total_keys": 0, "total_requests": 0, "hits": 0, "misses": 0, "state": "in_memory", "cache_type": "in_memory", "redis": None}


def answering(value):
    return lambda route: route.fulfill(json=value)


def cache_states(page, tag, folder):
    """Look at the cache without Redis, without use, and while something is evicted."""
    for name, part in (("fallback", FALLBACK), ("unused", UNUSED)):
        page.route("**/cache/stats", answering({**console_mock.cache_mock.stats(), **part}))
        page.goto(f"{BASE}/console/cache")
        walk.settle(page)
        walk.look(page, f"cache_{name}_{tag}", folder)
        page.unroute_all()
    page.goto(f"{BASE}/console/cache")
    walk.settle(page)
    page.locator("main .head .danger").click()
    page.locator("dialog input").fill("x")
    walk.look(page, f"cache_clear_{tag}", folder)
    page.keyboard.press("Escape")
    page.locator("main button.tag:visible").first.click()
    walk.look(page, f"cache_tag_{tag}", folder)


def breaker_states(page, tag, folder):
    """Look at breakers that all are well, at one that is forced, and at none."""
    page.goto(f"{BASE}/console/resilience")
    walk.settle(page)
    page.locator("main button.bare[aria-expanded]").first.click()
    page.locator("main .actions .btn:visible, main .do .btn:visible").first.click()
    page.locator("dialog .danger").click()
    walk.look(page, f"resilience_force_{tag}", folder)
    whole = console_mock.resilience_mock.whole()
    calm = {**whole, "breakers": [one for one in whole["breakers"] if one["state"] == "closed" and not one["forced"]], "deadlines": {"missed": []}}
    for name, answer in (("calm", calm), ("none", {"breakers": [], "bulkheads": [], "limits": [], "budgets": [], "deadlines": {"missed": []}})):
        page.route("**/api/resilience", answering(answer))
        page.goto(f"{BASE}/console/resilience")
        walk.settle(page)
        walk.look(page, f"resilience_{name}_{tag}", folder)
        page.unroute_all()


BARE = {"running": None, "next": [], "policy": {"last": 7, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0}, "newest_good": None, "drilled_at": None, "free_bytes": 142_500_000_000, "last_error": None, "folder": "/srv/backups", "checklist": [{"name": name, "ok": False, "said": ""} for name in ("scheduler", "recent", "drill", "disk", "offsite")]}


def backup_states(page, tag, folder):
    """Look at what the page of backups becomes when one works with it."""
    page.goto(f"{BASE}/console/backups")
    walk.settle(page)
    page.locator("main .head .primary").click()
    page.locator("main [role=progressbar]").wait_for()
    walk.look(page, f"backups_running_{tag}", folder)
    page.locator("main .head .primary:enabled").wait_for()
    page.locator("main [data-row]:visible").nth(2).click()
    walk.look(page, f"backups_restore_{tag}", folder)
    page.keyboard.press("Escape")
    page.locator("main tbody tr", has_text="month_end").first.locator("xpath=.|following-sibling::tr[1]").locator("[data-row]:visible").first.click()
    page.locator("main [role=alert]").wait_for()
    walk.look(page, f"backups_damaged_{tag}", folder)
    page.route("**/backup/list", lambda route: route.fulfill(json={"backups": []}))
    page.route("**/backup/status", lambda route: route.fulfill(json=BARE))
    page.goto(f"{BASE}/console/backups")
    walk.settle(page)
    walk.look(page, f"backups_none_{tag}", folder)
    page.unroute_all()


def visit(browser, lang, theme, width, folder, only):
    size = {"width": width, "height": 900 if width > 700 else 844}
    context = browser.new_context(viewport=size, locale="ar" if lang == "ar" else "en-GB", has_touch=width < 700)
    context.add_init_script(f"localStorage.setItem('noufal', JSON.stringify({{lang: '{lang}', theme: '{theme}'}}))")
    context.add_init_script(walk.SHIFT)
    page = context.new_page()
    page.on("pageerror", lambda error: walk.note(f"{page.url}: {error}"))
    page.on("console", lambda message: walk.note(f"{page.url}: {message.text}") if "Content Security" in message.text or "Trusted" in message.text else None)
    tag = f"{lang}_{theme}_{width}"
    page.goto(f"{BASE}/console/sign-in")
    walk.settle(page)
    walk.look(page, f"console_sign_in_{tag}", folder)
    page.goto(f"{BASE}/console/sign-in#token=demo")
    page.wait_for_url("**/console/")
    for name, path in PAGES.items():
        if only and not name.startswith(only):
            continue
        page.goto(f"{BASE}/console/{path}")
        walk.settle(page)
        if (shift := page.evaluate("window.__shift")) >= 0.02:
            walk.note(f"{name}_{tag}: layout shift {shift:.3f}")
        page.set_viewport_size({"width": width, "height": min(4000, page.evaluate("document.documentElement.scrollHeight"))})
        walk.look(page, f"{name}_{tag}", folder)
        page.set_viewport_size(size)
    if only in ("", "events_states"):
        event_states(page, tag, folder)
    if only in ("", "jobs_states"):
        job_states(page, tag, folder)
    if only in ("", "cache_states"):
        cache_states(page, tag, folder)
    if only in ("", "resilience_states"):
        breaker_states(page, tag, folder)
    if only in ("", "backups_states"):
        backup_states(page, tag, folder)
    if only in ("", "states"):
        states(page, tag, folder)
    context.close()


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    chosen, only = [*sys.argv[2:], "", ""][:2]
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen([sys.executable, str(walk.HERE / "console_mock.py"), str(PORT)], stdout=subprocess.PIPE)
    try:
        server.stdout.readline()  # it says so when it serves
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            for lang, theme, width in [(lang, theme, width) for lang in ("ar", "en") for theme in ("light", "dark") for width in (1440, 390)]:
                if f"{lang}_{theme}_{width}".startswith(chosen):
                    visit(browser, lang, theme, width, folder, only)
            browser.close()
    finally:
        server.terminate()
    sys.stdout.write(f"{len(walk.faults)} faults\n")
    return 1 if walk.faults else 0


if __name__ == "__main__":
    sys.exit(main())
