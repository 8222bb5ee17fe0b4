"""The console on the real server: who comes in, what he sees first, the ways between it and the ERP."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import assert_fits, opened, settle
from servers import Child, free_port

RUN = "import sys; from noufal.cli import main; sys.argv = ['noufal', *sys.argv[1:]]; main()"
HOST = """
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
from flask import Flask
from rakiza import integrate
from rakiza.caching import cached
from rakiza.resilience import CircuitBreaker
app = Flask('host')
app.add_url_rule('/console/', 'console', lambda: 'لوحة المضيف')
integrate(app, {'hub': {'home': sys.argv[2], 'environment': 'development'}})
greeting = cached(ttl=300, key_prefix='greeting')(lambda name: f'مرحبا {name}')
print(greeting('سارة'), greeting('سارة'))
bank = CircuitBreaker('bank-api', min_calls=2)
for fails in (int, int):
    try:
        bank.call(fails, 'x')
    except ValueError:
        pass
server = make_server('127.0.0.1', int(sys.argv[1]), app, type('Server', (ThreadingMixIn, WSGIServer), {'daemon_threads': True}))
print('the host serves', flush=True)
server.serve_forever()
"""


class Site:
    """A running ERP with its console, and one-time links to it."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.env, self.home = {"NOUFAL_HOME": str(home), **settings}, home
        port = free_port()
        self.child = Child(RUN, "serve", "--demo", "--port", str(port), env=self.env, cwd=home)
        self.token = self.child.wait_for("sign in once with this link").partition("#token=")[2]
        self.address = f"http://127.0.0.1:{port}"

    def link_for(self, email: str, role: str) -> str:
        """Create a user and return the token of his one-time link."""
        with Child(RUN, "user", "create", email, "--role", role, env=self.env, cwd=self.home) as child:
            token = child.wait_for("one-time sign-in").partition("#token=")[2]
            child.finish()
        return token


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    started = Site(tmp_path_factory.mktemp("site"))
    yield started
    started.child.close()


@pytest.fixture
def own(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Yield a site of the test's own, in the environment it names."""
    started = Site(tmp_path, **getattr(request, "param", {}))
    yield started
    started.child.close()


def enter(page: Page, site: Site, token: str) -> None:
    page.goto(f"{site.address}/console/sign-in#token={token}")
    page.wait_for_url("**/console/")
    settle(page)


def serious(faults: list[str]) -> list[str]:
    """Return the faults without the browser's own lines on rooms that are not built yet: the page asks once and leaves them out."""
    return [fault for fault in faults if "Failed to load resource: the server responded with a status of 404" not in fault]


def test_an_operator_sees_first_how_the_system_is_under_the_strict_policy(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    context.add_init_script("document.addEventListener('securitypolicyviolation', e => (window.refused ??= []).push(e.violatedDirective))")
    page = context.new_page()
    enter(page, site, site.link_for("مشغل@example.com", "admin"))
    answer = page.evaluate("fetch('/console/').then(r => r.headers.get('content-security-policy'))")
    assert "require-trusted-types-for 'script'" in answer
    assert "unsafe" not in answer
    assert json.dumps(page.evaluate("window.refused ?? []")) == "[]"
    assert "token" not in page.url
    verdict = page.locator("main section").first
    assert re.search("النظام بخير|يحتاج نظرك|عطل", verdict.inner_text())
    page.locator("nav a[href='/console/health']").first.click()
    page.locator("main table").wait_for()
    assert "database" in page.locator("main table").inner_text()
    assert "قاعدة البيانات" in page.locator("main table").inner_text()
    for path in ("", "health", "requests"):
        page.goto(f"{site.address}/console/{path}")
        settle(page)
        page.locator("main h1").first.wait_for()
        assert_fits(page, path, "ar", 1440)
    context.close()
    assert serious(faults) == []


def test_the_erp_and_the_console_lead_to_each_other(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    page.goto(f"{site.address}/sign-in#token={site.link_for('مدير@example.com', 'admin')}")
    page.wait_for_url("**/projects*")
    page.locator("nav a[href='/console/']").click()
    page.wait_for_url("**/console/")
    page.locator("nav a[href='/']").click()
    page.wait_for_url("**/projects")
    context.close()
    assert serious(faults) == []


def test_a_member_is_told_that_the_console_is_not_his(site: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    page.goto(f"{site.address}/console/sign-in#token={site.link_for('عضو@example.com', 'member')}")
    page.get_by_role("heading", name="لا صلاحية لك هنا").nth(1).wait_for()
    assert "عضو@example.com" in page.locator("main").inner_text()
    assert_fits(page, "no access", "ar", 1440)
    page.get_by_role("button", name="تسجيل الخروج").click()
    page.wait_for_url("**/console/sign-in")
    context.close()
    assert serious(faults) == []


def test_without_a_session_every_page_asks_to_sign_in_and_returns(site: Site, browser: Browser) -> None:
    context = opened(browser, [])
    page = context.new_page()
    page.goto(f"{site.address}/console/requests?tab=statements")
    page.wait_for_url("**/console/sign-in?next=*")
    page.goto(f"{page.url}#token={site.link_for('عائد@example.com', 'admin')}")
    page.wait_for_url("**/console/requests?tab=statements")
    context.close()


@pytest.mark.parametrize("own", [{"APP_ENV": "development"}], indirect=True, ids=["development"])
def test_in_development_this_machine_reads_without_signing_in(own: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults, lang="en", theme="dark")
    page = context.new_page()
    page.goto(f"{own.address}/console/")
    page.locator("main section").first.wait_for()
    page.get_by_role("button", name="User menu").click()
    page.get_by_role("menuitem", name="Sign in").click()
    page.wait_for_url("**/console/sign-in")
    context.close()
    assert serious(faults) == []


def test_a_host_with_its_own_console_shows_ours_elsewhere(python_process: Callable[..., Child], tmp_path: Path, browser: Browser) -> None:
    port = free_port()
    child = python_process(HOST, str(port), str(tmp_path), env={"APP_ENV": "development"}, cwd=tmp_path)
    child.wait_for("the host serves")
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/console/")
    assert page.locator("body").inner_text() == "لوحة المضيف"
    page.goto(f"http://127.0.0.1:{port}/_rakiza/console/")
    page.locator("main section").first.wait_for()
    page.locator("nav a[href='/_rakiza/console/health']").first.click()
    page.locator("main section.notice").wait_for()
    assert page.url.endswith("/_rakiza/console/health")
    page.locator("nav a[href='/_rakiza/console/cache']").first.click()
    row = page.get_by_role("region", name="حسب البادئة").locator("tbody tr", has_text="greeting").first
    assert re.search(r"50\.0%\s+1\s+1\s", row.inner_text())
    expect(page.get_by_role("region", name="أكثر ما لم يوجد")).to_contain_text("greeting:سارة")
    page.locator("nav a[href='/_rakiza/console/resilience']").first.click()
    page.get_by_role("heading", name="قاطع واحد يمنع النداءات").wait_for()
    bank = page.locator("main tbody tr", has_text="bank-api").first
    expect(bank).to_contain_text("مفتوح")
    expect(bank.locator("xpath=following-sibling::tr[1]")).to_contain_text("أخفقت نداءات كثيرة")
    context.close()
    assert serious(faults) == []


def test_a_backup_is_made_tried_and_brought_back(own: Site, browser: Browser) -> None:
    faults: list[str] = []
    context = opened(browser, faults)
    page = context.new_page()
    enter(page, own, own.token)
    page.goto(f"{own.address}/console/backups")
    page.get_by_role("heading", name="لا نسخ احتياطية بعد").wait_for()
    page.get_by_role("button", name="انسخ الآن").click()
    page.get_by_text("أُنشئت نسخة وتُحقّق منها.").wait_for()
    page.get_by_role("button", name="تجربة استعادة").click()
    page.get_by_text("نجحت تجربة الاستعادة.").wait_for()
    page.get_by_role("heading", name=re.compile("عمر أحدث نسخة سليمة")).wait_for()
    assert page.get_by_role("region", name="3-2-1").locator("li").count() == 7
    row = page.locator("main tbody tr").first
    name = row.locator("bdi").first.inner_text()
    row.get_by_role("button", name=re.compile("^تثبيت")).click()
    expect(row.locator(".tag")).to_have_text("مثبتة")
    row.get_by_role("button", name=re.compile("^تحقق من")).click()
    page.get_by_text(re.compile("سليمة\\.")).wait_for()
    assert_fits(page, "backups", "ar", 1440)
    row.get_by_role("button", name=re.compile("^استعادة")).click()
    page.locator("dialog").get_by_role("textbox").fill(name)
    page.locator("dialog .danger").click()
    page.get_by_role("button", name="سجّل الدخول من جديد").click()  # everyone is signed out
    page.wait_for_url("**/console/sign-in*")
    context.close()
    assert [fault for fault in serious(faults) if "401" not in fault] == []
