"""The rule against requests forged by another site, as a table."""

import itertools

import pytest

from rakiza.security import cross_site

HOST = b"erp.example.com"
OWN, BAD, NULL = b"https://erp.example.com", b"https://evil.example", b"null"
SITES = (b"same-origin", b"none", b"same-site", b"cross-site", None)
ORIGINS = (OWN, BAD, NULL, None)
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def refused(method: str, site: bytes | None, origin: bytes | None, session: bool, **more: object) -> bool:
    headers = {name: value for name, value in ((b"sec-fetch-site", site), (b"origin", origin)) if value is not None}
    return cross_site(method, headers, has_session=session, host=HOST, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("site", "origin", "session"), list(itertools.product(SITES, ORIGINS, (True, False))))
def test_safe_methods_pass_whatever_they_say(site: bytes | None, origin: bytes | None, session: bool) -> None:
    assert not any(refused(method, site, origin, session) for method in ("GET", "HEAD", "OPTIONS"))


@pytest.mark.parametrize(("method", "origin", "session"), list(itertools.product(UNSAFE, ORIGINS, (True, False))))
def test_the_browsers_word_decides_before_the_origin(method: str, origin: bytes | None, session: bool) -> None:
    assert [refused(method, site, origin, session) for site in SITES[:4]] == [False, False, True, True]


@pytest.mark.parametrize(("method", "session"), list(itertools.product(UNSAFE, (True, False))))
def test_without_it_the_origin_must_be_our_host(method: str, session: bool) -> None:
    assert [refused(method, None, origin, session) for origin in (OWN, BAD, NULL)] == [False, True, True]


@pytest.mark.parametrize("method", UNSAFE)
def test_with_no_evidence_only_a_cookie_is_refused(method: str) -> None:
    assert refused(method, None, None, session=True)
    assert not refused(method, None, None, session=False)


def test_a_forged_sign_in_is_refused_before_there_is_a_session() -> None:
    assert refused("POST", b"cross-site", BAD, session=False)


def test_an_unknown_word_of_the_browser_is_refused_and_an_empty_one_is_absent() -> None:
    assert refused("POST", b"same-planet", OWN, session=True)
    assert not refused("POST", b"", OWN, session=True)


def test_behind_a_proxy_the_external_names_count() -> None:
    headers = {b"origin": b"https://erp.example.com"}
    assert cross_site("POST", headers, has_session=True, host=b"10.0.0.7:8000")
    assert not cross_site("POST", headers, has_session=True, host=b"10.0.0.7:8000", allowed_hosts=(HOST,))


LOOKALIKES = [b"https://erp.example.com.evil.example", b"https://evil.example/erp.example.com", b"https://erp.example.com:8443", b"https://"]


@pytest.mark.parametrize("origin", LOOKALIKES)
def test_a_host_that_only_looks_like_ours_is_refused(origin: bytes) -> None:
    assert refused("POST", None, origin, session=True)


def test_host_names_have_no_case() -> None:
    assert not cross_site("POST", {b"origin": b"https://erp.example.com"}, has_session=True, host=b"ERP.Example.COM")


def test_an_api_key_is_no_ambient_credential_but_does_not_cover_a_cookie() -> None:
    headers = {b"x-api-key": b"k" * 32, b"sec-fetch-site": b"cross-site"}
    assert not cross_site("POST", headers, has_session=False, host=HOST)
    assert cross_site("POST", headers, has_session=True, host=HOST)


def test_a_websocket_handshake_is_judged_though_it_is_a_get() -> None:
    assert refused("GET", b"cross-site", None, True, websocket=True)
    assert refused("GET", None, BAD, True, websocket=True)
    assert refused("GET", None, None, True, websocket=True)
    assert not refused("GET", None, OWN, True, websocket=True)
    assert not refused("GET", b"same-origin", OWN, True, websocket=True)
