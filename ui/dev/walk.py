"""Walk every page of the built UI against the mock: axe, CSP, layout shift, keyboard, screenshots. `python ui/dev/walk.py [folder for PNGs [ar_light_1440 | keys]]`."""

import json
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
AXE = (HERE.parent / "node_modules/axe-core/axe.min.js").read_text()
PORT = 8173
BASE = f"http://127.0.0.1:{PORT}"
SHIFT = """window.__shift = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.__shift += e.value; })
    .observe({ type: 'layout-shift', buffered: true });
    document.addEventListener('securitypolicyviolation', e => console.error('Content Security Policy: ' + e.violatedDirective + ' ' + e.blockedURI));"""
PAGES = {
    "projects": "/projects", "overview": "/projects/TOWER-07", "details": "/projects/TOWER-07?tab=details", "boq": "/projects/TOWER-07/boq",
    "boq_search": "/projects/TOWER-07/boq?q=%D8%A8%D8%A7%D8%A8&sort=-total", "boq_empty": "/projects/VILLA-01/boq", "overview_empty": "/projects/VILLA-01",
    "account": "/account?welcome=1", "missing": "/projects/NOPE", "not_found": "/nowhere",
}  # fmt: skip
faults: list[str] = []


def note(text: str) -> None:
    faults.append(text)
    sys.stderr.write(f"FAULT {text}\n")


def settle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(150)


def axe(page: Page, where: str) -> None:
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })")
    for rule in found["violations"]:
        note(f"{where}: axe {rule['id']}: {rule['nodes'][0]['target']} {rule['nodes'][0]['html'][:160]}")


def look(page: Page, name: str, folder: Path | None) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        note(f"{name}: the page scrolls sideways by {wide} px")
    if folder:
        page.screenshot(path=str(folder / f"{name}.png"))
    size = page.viewport_size
    if size["width"] < 700:
        page.set_viewport_size({"width": size["width"], "height": max(2600, page.evaluate("document.documentElement.scrollHeight"))})  # else the fixed bar covers what only needs scrolling
    axe(page, name)
    page.set_viewport_size(size)


def sign_in(page: Page) -> None:
    page.goto(f"{BASE}/sign-in#token=demo")
    page.wait_for_url("**/projects")
    settle(page)


def visit(browser, lang: str, theme: str, width: int, folder: Path | None) -> None:
    size = {"width": width, "height": 900 if width > 700 else 844}
    context = browser.new_context(viewport=size, locale="ar" if lang == "ar" else "en-GB", bypass_csp=False, has_touch=width < 700)
    context.add_init_script(f"localStorage.setItem('noufal', JSON.stringify({{lang: '{lang}', theme: '{theme}'}}))")
    context.add_init_script(SHIFT)
    page = context.new_page()
    page.on("pageerror", lambda error: note(f"{page.url}: {error}"))
    page.on("console", lambda message: note(f"{page.url}: {message.text}") if "Content Security" in message.text or "Trusted" in message.text else None)
    tag = f"{lang}_{theme}_{width}"
    page.goto(f"{BASE}/sign-in")
    settle(page)
    look(page, f"sign_in_{tag}", folder)
    sign_in(page)
    for name, path in PAGES.items():
        page.goto(BASE + path)
        settle(page)
        shift = page.evaluate("window.__shift")
        if shift >= 0.02:
            note(f"{name}_{tag}: layout shift {shift:.3f}")
        look(page, f"{name}_{tag}", folder)
    states(page, tag, width, folder)
    context.close()


def states(page: Page, tag: str, width: int, folder: Path | None) -> None:
    page.goto(f"{BASE}/projects")
    settle(page)
    page.locator("main .btn.primary").first.click()
    page.locator("dialog [type=submit]").click()
    settle(page)
    look(page, f"create_{tag}", folder)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("TOWER")
    settle(page)
    look(page, f"palette_{tag}", folder)
    for name in ("bill.xlsx", "bad.xlsx"):
        page.goto(f"{BASE}/projects/VILLA-01/boq")
        settle(page)
        page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": b"x" * 200_000})
        page.wait_for_selector("dialog .report")
        settle(page)
        look(page, f"report_{name[:-5]}_{tag}", folder)
    page.goto(f"{BASE}/projects/TOWER-07/boq")
    settle(page)
    if width < 700:
        page.locator("[role=grid] .open").nth(3).tap()
        settle(page)
        look(page, f"item_{tag}", folder)
        page.locator("dialog footer .ghost").tap()
        page.wait_for_selector("dialog ol")
        settle(page)
        look(page, f"history_{tag}", folder)
    else:
        page.locator("[role=grid]").focus()
        for key in "jjjjh":
            page.keyboard.press(key)
        page.wait_for_selector("dialog ol")
        settle(page)
        look(page, f"history_{tag}", folder)
        page.keyboard.press("Escape")
        page.locator("[role=gridcell].editable").nth(5).dblclick()
        page.keyboard.type("12,5")
        page.keyboard.press("Enter")
        settle(page)
        look(page, f"edit_fault_{tag}", folder)


def keyboard(browser) -> None:
    """Import a bill and edit it with the keyboard alone, in Arabic; then a conflict, an undo and 100,000 rows."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}, locale="ar").new_page()
    sign_in(page)
    page.goto(f"{BASE}/projects/VILLA-01/boq")
    settle(page)
    page.wait_for_selector(".zone")
    for _ in range(40):
        if page.evaluate("document.activeElement?.closest('.zone') !== null && document.activeElement.tagName === 'BUTTON'"):
            break
        page.keyboard.press("Tab")
    page.evaluate("document.querySelector('.zone input').addEventListener('click', e => { e.preventDefault(); window.__asked = navigator.userActivation.isActive })")
    page.keyboard.press("Enter")
    if not page.evaluate("window.__asked"):
        note("keyboard: Enter on the button does not open the file chooser")
    page.locator(".zone input").set_input_files({"name": "مقايسة.xlsx", "mimeType": "application/octet-stream", "buffer": b"x" * 90_000})
    page.wait_for_selector("dialog .report")
    for _ in range(20):
        if page.evaluate("document.activeElement?.matches('dialog footer .primary')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=grid] .row .editable")
    page.keyboard.press("/")
    page.keyboard.press("Enter")
    page.evaluate("document.querySelector('[role=grid]').focus()")
    value = lambda field: page.evaluate(f"fetch('/api/projects/VILLA-01/boq/items?limit=3').then(r => r.json()).then(p => p.items.map(i => i.{field}))")  # noqa: E731
    first = value("quantity")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("F2")
    page.keyboard.type("١٢٫٥")
    page.keyboard.press("Enter")
    page.keyboard.press("F2")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("7")
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    if value("quantity") != ["12.5", first[1], "7"]:
        note(f"keyboard: quantities {value('quantity')} after editing {first}")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    page.wait_for_timeout(500)
    if value("quantity")[2] != first[2]:
        note("keyboard: undo did not restore the third quantity")
    page.evaluate("""fetch('/api/projects/VILLA-01/boq/items?limit=1').then(r => r.json()).then(p => fetch('/api/projects/VILLA-01/boq/items/1',
        {method: 'PATCH', headers: {'content-type': 'application/json'}, body: JSON.stringify({version: p.items[0].version, progress: '10'})}))""")
    page.wait_for_timeout(300)
    page.keyboard.press("Control+Home")
    page.keyboard.press("j")
    page.keyboard.press("End")
    page.keyboard.type("60")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog table")
    if len(sys.argv) > 1:
        page.screenshot(path=f"{sys.argv[1]}/conflict.png")
    axe(page, "conflict")
    page.locator("dialog .primary").click()
    page.wait_for_timeout(500)
    if value("progress")[0] != "60":
        note(f"conflict: my value was not written: {value('progress')}")
    smooth(page)


def smooth(page: Page) -> None:
    page.goto(f"{BASE}/projects/METRO-100K/boq")
    settle(page)
    slow = page.evaluate("""new Promise(done => { const grid = document.querySelector('[role=grid]'), frames = []; let last = performance.now(), n = 0;
        const step = now => { frames.push(now - last); last = now; grid.scrollTop += 900; if (++n < 240) requestAnimationFrame(step);
            else done({ over50: frames.filter(f => f > 50).length, most: Math.round(Math.max(...frames)), median: frames.sort((a, b) => a - b)[120] }) };
        requestAnimationFrame(step) })""")
    page.evaluate("document.querySelector('[role=grid]').scrollTop = 2_000_000")
    page.wait_for_selector("[role=grid] .row .editable")
    page.locator("[role=grid]").focus()
    page.keyboard.press("Control+End")
    page.wait_for_timeout(600)
    last = page.locator("[role=grid] .row").last.inner_text()
    sys.stdout.write(f"scroll of 100,000 rows: {json.dumps(slow)}; last row {last.split()[0]}\n")
    if slow["over50"] > 24 or "13.100000" not in last:
        note(f"100k rows: {slow}, last row {last!r}")


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen([sys.executable, str(HERE / "mock.py"), str(PORT)])
    try:
        time.sleep(0.8)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            for lang, theme, width in [(lang, theme, width) for lang in ("ar", "en") for theme in ("light", "dark") for width in (1440, 390)]:
                if f"{lang}_{theme}_{width}".startswith(only):
                    visit(browser, lang, theme, width, folder)
            if only in ("", "keys"):
                keyboard(browser)
            browser.close()
    finally:
        server.terminate()
    sys.stdout.write(f"{len(faults)} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
