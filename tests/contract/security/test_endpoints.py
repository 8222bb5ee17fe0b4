"""The endpoints of sign-in, driven as the request pass drives them."""

import asyncio
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rakiza._kernel import PUBLIC, SIGNED_IN, Command, Context, Credentials, Part, Request, RequestContext, Response, Route, SettingsReader
from rakiza.errors import AppError, BadRequestError, ForbiddenError, UnauthorizedError, ValidationError, problem
from rakiza.security import COOKIE, BadCredentialsError, LinkExpiredError, Security, SecuritySettings, WeakPasswordError, part
from rakiza.security.http import routes
from rakiza.store import Store

PASSWORD = "سبعة جمال تعبر الوادي"
LOGIN = {"email": "sara@example.com", "password": PASSWORD}


class Browser:
    """Keep a cookie and call the routes with it."""

    def __init__(self, security: Security) -> None:
        self.security = security
        self.routes = {(route.method, route.path): route for route in routes(security)}
        self.cookie: str | None = None
        self.last_cookie = b""

    def __call__(self, target: str, body: object = None, *, secure: bool = True, host: str = "erp.example.com", api_key: str = "") -> Response:
        method, _, path = target.partition(" ")
        context = RequestContext("r", "t", "s", client="203.0.113.5", method=method, path=path)
        context.principal = self.security.authenticate(Credentials(session=self.cookie, api_key=api_key or None))
        headers = {b"host": host.encode(), b"user-agent": b"Firefox"}
        if self.cookie:
            headers[b"cookie"] = f"theme=dark; {COOKIE}={self.cookie}".encode()
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, headers, context, body=raw, secure=secure)
        response = asyncio.run(self._answer(self.routes[method, path], request))
        self._keep(response)
        return response

    @staticmethod
    async def _answer(route: Route, request: Request) -> Response:
        answer = route.handler(request)
        return answer if isinstance(answer, Response) else await answer

    def _keep(self, response: Response) -> None:
        for name, value in response.headers:
            if name == b"set-cookie":
                self.last_cookie = value
                self.cookie = value.partition(b";")[0].partition(b"=")[2].decode() or None


@pytest.fixture
def browser(security: Security) -> Browser:
    security.create_user("Sara@Example.com", "سارة الحربي", role="admin", password=PASSWORD)
    return Browser(security)


def test_every_route_declares_its_permission(security: Security) -> None:
    declared = {(route.method, route.path): route.permission for route in routes(security)}
    assert declared == {
        ("POST", "/api/auth/login"): PUBLIC,
        ("POST", "/api/auth/link"): PUBLIC,
        ("POST", "/api/auth/logout"): PUBLIC,
        ("GET", "/api/users/me"): SIGNED_IN,
        ("PATCH", "/api/users/me"): SIGNED_IN,
        ("POST", "/api/users/me/password"): SIGNED_IN,
    }
    assert all(route.max_body_bytes <= 64 * 1024 for route in routes(security))


def test_sign_in_gives_me_and_a_cookie(browser: Browser) -> None:
    response = browser("POST /api/auth/login", LOGIN)
    assert response.status == 200
    me = json.loads(response.body)
    assert me == json.loads(browser("GET /api/users/me").body)
    assert set(me) == {"id", "name", "email", "role", "permissions", "locale"}
    assert (me["name"], me["email"], me["role"], me["locale"]) == ("سارة الحربي", "sara@example.com", "admin", None)
    assert "users.manage" in me["permissions"]
    assert browser.last_cookie.endswith(b"; Path=/; Secure; HttpOnly; SameSite=Lax")


def test_a_second_sign_in_ends_the_first_session(browser: Browser) -> None:
    browser("POST /api/auth/login", LOGIN)
    first = browser.cookie
    browser("POST /api/auth/login", LOGIN)
    assert browser.cookie != first
    assert browser.security.authenticate(Credentials(session=first)) is None


def test_the_problem_of_a_wrong_password_tells_nothing(browser: Browser) -> None:
    bodies = set()
    for email in ("sara@example.com", "nobody@example.com"):
        with pytest.raises(BadCredentialsError) as caught:
            browser("POST /api/auth/login", {"email": email, "password": "wrong"})
        bodies.add(problem(caught.value, "r"))
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["code"] == "bad_credentials"
    assert browser.cookie is None


def test_signing_out_clears_the_cookie_and_needs_no_session(browser: Browser) -> None:
    browser("POST /api/auth/login", LOGIN)
    session = browser.cookie
    assert browser("POST /api/auth/logout").status == 204
    assert browser.last_cookie == b"__Host-sid=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
    assert browser.security.authenticate(Credentials(session=session)) is None
    assert browser("POST /api/auth/logout").status == 204
    with pytest.raises(UnauthorizedError):
        browser("GET /api/users/me")


def test_a_link_signs_in_and_a_password_is_set_without_the_old_one(browser: Browser) -> None:
    user = browser.security.create_user("khalid@example.com", "خالد")
    link = {"token": browser.security.create_link(user)}
    assert json.loads(browser("POST /api/auth/link", link).body)["email"] == "khalid@example.com"
    first = browser.cookie
    with pytest.raises(WeakPasswordError) as caught:
        browser("POST /api/users/me/password", {"new": "khalid khalid khalid"})
    body = json.loads(problem(caught.value))
    assert (body["status"], body["code"], body["errors"][0]["field"]) == (422, "weak_password", "new")
    assert body["errors"][0]["message_ar"]
    assert browser("POST /api/users/me/password", {"new": "green curtains and slow trains"}).status == 204
    assert browser.cookie != first
    assert json.loads(browser("GET /api/users/me").body)["email"] == "khalid@example.com"
    with pytest.raises(LinkExpiredError):
        browser("POST /api/auth/link", link)


def test_name_and_language_are_ones_own_to_change(browser: Browser) -> None:
    browser("POST /api/auth/login", LOGIN)
    assert json.loads(browser("PATCH /api/users/me", {"locale": "ar"}).body)["locale"] == "ar"
    changed = json.loads(browser("PATCH /api/users/me", {"name": " سارة بنت علي "}).body)
    assert (changed["name"], changed["locale"]) == ("سارة بنت علي", "ar")
    assert json.loads(browser("PATCH /api/users/me", {"locale": None}).body)["locale"] is None
    assert json.loads(browser("GET /api/users/me").body)["name"] == "سارة بنت علي"
    with pytest.raises(ValidationError):
        browser("PATCH /api/users/me", {"name": ""})
    for body in ({"locale": "fr"}, {"role": "admin"}, {"email": "x@example.com"}, {"name": 5}):
        with pytest.raises(msgspec.ValidationError):
            browser("PATCH /api/users/me", body)


def test_over_plain_http_one_signs_in_on_this_machine_only(browser: Browser) -> None:
    for host in ("erp.example.com", "192.168.1.5:8000", "localhost.evil.example"):
        for path, body in (("login", LOGIN), ("link", {"token": "x"})):
            with pytest.raises(BadRequestError) as caught:
                browser(f"POST /api/auth/{path}", body, secure=False, host=host)
            assert caught.value.stable_code == "insecure_transport"
            assert caught.value.hint
    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        assert browser("POST /api/auth/login", LOGIN, secure=False, host=host).status == 200


MISSHAPEN = [b"", b"{}", b"[]", b"{", b'{"email":"a","password":"b","role":"admin"}', b'{"email":1,"password":"b"}', b"\xff\xfe"]


@pytest.mark.parametrize("body", MISSHAPEN)
def test_a_body_of_another_shape_is_refused(browser: Browser, body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        browser("POST /api/auth/login", body)


def test_a_one_time_code_is_refused_while_nothing_checks_it(browser: Browser) -> None:
    assert browser("POST /api/auth/login", {**LOGIN, "totp": None}).status == 200
    with pytest.raises(ValidationError, match="totp"):
        browser("POST /api/auth/login", {**LOGIN, "totp": "123456"})


def test_an_operator_key_is_nobody_with_a_profile(store: Store) -> None:
    key = "k3y-of-the-operator-0123456789"
    browser = Browser(Security(store, SecuritySettings(ops_api_key=key)))
    assert json.loads(browser("GET /api/users/me", api_key=key).body)["role"] == "admin"
    for call in ("PATCH /api/users/me", "POST /api/users/me/password"):
        with pytest.raises(ForbiddenError):
            browser(call, {"name": "x", "new": "green curtains and slow trains"}, api_key=key)


def test_a_full_queue_is_answered_at_once(store: Store) -> None:
    security = Security(store, SecuritySettings(hashing_threads=1, hashing_queue=1, argon2_memory_kib=8, argon2_time=1))

    async def storm() -> list[object]:
        started = asyncio.Event()
        loop = asyncio.get_running_loop()
        release = threading.Event()

        def slow() -> str:
            loop.call_soon_threadsafe(started.set)
            release.wait(10)
            return "done"

        first = asyncio.create_task(security.passwords.run(slow))
        await started.wait()
        second = asyncio.create_task(security.passwords.run(slow))
        await asyncio.sleep(0)
        third = await asyncio.gather(security.passwords.run(slow), return_exceptions=True)
        waiting = security.passwords.waiting
        release.set()
        return [await first, await second, *third, waiting]

    first, second, third, waiting = asyncio.run(storm())
    security.close()
    assert (first, second, waiting) == ("done", "done", 1)
    assert isinstance(third, AppError)
    assert (third.status, third.stable_code, third.headers["retry-after"]) == (503, "sign_in_busy", "2")


# -- the part and its commands


@pytest.fixture
def built(store: Store) -> tuple[Context, Part]:
    context = Context("noufal", SettingsReader(environ={}, dotenv={}))
    context.add(Part(name="store", service=store))
    made = part(SecuritySettings(argon2_memory_kib=8, argon2_time=1), context)
    context.add(made)
    return context, made


def command(made: Part, name: str) -> Callable[..., None]:
    found: dict[str, Command] = {each.name: each for each in made.commands}
    return found[name].build()


def test_the_part_becomes_the_authenticator_and_reports_a_house_without_users(built: tuple[Context, Part]) -> None:
    context, made = built
    security = made.service
    assert isinstance(security, Security)
    assert context.ports.authenticator is security
    (check,) = made.checks
    result: Any = check.fn()
    assert result.status == "warn"
    assert "user create" in result.output
    security.first_admin("admin@localhost", PASSWORD)
    result = check.fn()
    assert result.status == "pass"
    assert made.stop
    made.stop()
    context.pool.close()


def test_a_user_is_made_on_the_command_line(built: tuple[Context, Part], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _, made = built
    security = made.service
    assert isinstance(security, Security)
    command(made, "user create")("Khalid@example.com", name="خالد", role="operator")
    shown = capsys.readouterr().out
    assert "khalid@example.com (operator)" in shown
    link = shown.rpartition("#token=")[2].strip()
    assert security.sign_in_by_link(link)[1].name == "خالد"
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    command(made, "user set-password")("KHALID@example.com")
    assert security.sign_in("khalid@example.com", PASSWORD)[1].role == "operator"
    command(made, "user list")()
    command(made, "user list")(json=True)
    text, _, listed = capsys.readouterr().out.partition("[")
    assert "khalid@example.com\tخالد\toperator\tactive" in text
    assert json.loads("[" + listed)[0]["has_password"] is True
    assert PASSWORD not in text + listed
    with pytest.raises(AppError, match="no user"):
        command(made, "user set-password")("nobody@example.com")
