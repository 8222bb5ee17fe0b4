"""Response headers, the session cookie, and addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel import token
from rakiza.security import COOKIE, JSON_CSP, base_headers, cleared_cookie, html_csp, session_cookie, session_token
from rakiza.security._core import client_network, is_local_host, normal_email, normal_name, token_hash


def test_the_policy_of_a_page_is_the_one_that_was_scored() -> None:
    assert html_csp("n0nce") == (
        b"default-src 'none'; script-src 'nonce-n0nce' 'strict-dynamic'; style-src 'self' 'nonce-n0nce'; img-src 'self'; font-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; "
        b"trusted-types svelte-trusted-html"
    )
    assert JSON_CSP == b"default-src 'none'; frame-ancestors 'none'"


def test_base_headers_name_each_protection_once() -> None:
    headers = base_headers(hsts=True)
    names = [name for name, _ in headers]
    assert len(names) == len(set(names))
    assert dict(headers)[b"strict-transport-security"] == b"max-age=63072000; includeSubDomains"
    assert dict(headers)[b"cross-origin-embedder-policy"] == b"require-corp"
    assert dict(base_headers(hsts=True, preload=True))[b"strict-transport-security"].endswith(b"; preload")
    assert b"strict-transport-security" not in dict(base_headers(hsts=False))


def test_the_cookie_is_bound_to_the_host_and_hidden_from_scripts() -> None:
    assert session_cookie("abc") == b"__Host-sid=abc; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert cleared_cookie() == b"__Host-sid=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"


def test_a_token_travels_through_the_cookie_header() -> None:
    secret = token()
    assert session_token(f"theme=dark; {COOKIE}={secret}; lang=ar".encode()) == secret
    assert session_token(f"x{COOKIE}={secret}".encode()) is None
    assert session_token(f"{COOKIE}={secret}x".encode()) is None
    assert secret not in token_hash(secret)


@given(st.binary(max_size=300))
def test_any_cookie_header_is_read_without_an_error(header: bytes) -> None:
    found = session_token(header)
    assert found is None or len(found) == 43


@given(st.text(alphabet="abcXYZ019-_", min_size=43, max_size=43), st.lists(st.sampled_from([b"a=b", b"", b"=", b"__Host-sidx=1", b"c"]), max_size=5))
def test_the_token_is_found_among_other_cookies(secret: str, others: list[bytes]) -> None:
    assert session_token(b"; ".join([*others, f"{COOKIE}={secret}".encode()])) == secret


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.8.8.8:80", "[::1]:8000", "erp.localhost:1"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize("host", ["", "example.com", "localhost.evil.example", "192.168.1.5:8000", "[fe80::1]", "127.0.0.1.evil.example"])
def test_other_hosts_are_not(host: str) -> None:
    assert not is_local_host(host)


def test_addresses_are_counted_by_customer() -> None:
    assert client_network("2001:db8:1:2:aaaa::1") == client_network("2001:db8:1:2:bbbb::2") == "2001:db8:1:2::/64"
    assert client_network("::ffff:203.0.113.7") == client_network("203.0.113.7") == "203.0.113.7"
    assert client_network("testclient") == "testclient"


def test_an_email_address_has_one_spelling() -> None:
    assert normal_email("  Sara@Example.COM ") == "sara@example.com"
    assert normal_email("ｓａｒａ@example.com") == "sara@example.com"
    assert normal_email("سارة@مثال.السعودية") == "سارة@مثال.السعودية"


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_normalising_an_address_twice_changes_nothing(local: str, domain: str) -> None:
    try:
        once = normal_email(f"{local}@{domain}")
    except ValueError:
        return
    assert normal_email(once) == once


NO_ADDRESSES = ["", "sara", "@example.com", "sara@", "a@b@c", "sa ra@example.com", "a@b\r\nc", "x" * 250 + "@example.com"]
NO_ADDRESSES += ["sara\u202e@example.com", "sara\u200b@example.com"]


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="e-mail address"):
        normal_email(text)


def test_names_keep_their_letters_and_lose_tricks() -> None:
    assert normal_name("  محمّد بن عبد الله <المدير> ") == "محمّد بن عبد الله <المدير>"
    for text in ("", "   ", "a\nb", "a\u202eb", "x" * 201):
        with pytest.raises(ValueError, match="name"):
            normal_name(text)
