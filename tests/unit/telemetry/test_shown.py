"""What is shown of statements and addresses: no values, no secrets, bounded."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.telemetry._core import MAX_TEXT, bounded, shown_statement, shown_url


@pytest.mark.parametrize(
    ("sql", "name", "text"),
    [
        ("SELECT id FROM project WHERE code = ?", "SELECT project", "SELECT id FROM project WHERE code = ?"),
        ("select *\n  from   boq where name = 'فيلا ''النرجس''' and n = 12.5", "SELECT boq", "select * from boq where name = ? and n = ?"),
        ("INSERT INTO t1 (a, b2) VALUES (%(a)s, %(b)s)", "INSERT t1", "INSERT INTO t1 (a, b2) VALUES (%(a)s, …)"),
        ("SELECT 1 FROM x WHERE id IN (?, ?, ?, ?)", "SELECT x", "SELECT ? FROM x WHERE id IN (?, …)"),
        ("SELECT 1 FROM x WHERE id IN (1, 2, 3)", "SELECT x", "SELECT ? FROM x WHERE id IN (?, …)"),
        ("UPDATE x SET a = $1 -- don't say 'hunter2'\n WHERE b = 'secret'", "UPDATE x", "UPDATE x SET a = $1 WHERE b = ?"),
        ("SELECT /* it's 'x' */ a FROM y", "SELECT y", "SELECT a FROM y"),
        ("SELECT 'unfinished secret", "SELECT", "SELECT ?"),
        ("COMMIT", "COMMIT", "COMMIT"),
        ("", "", ""),
    ],
)
def test_statements_are_shown_without_values(sql: str, name: str, text: str) -> None:
    assert shown_statement(sql) == (name, text)


@given(st.text("ab'\n ", max_size=40), st.text("xyz", min_size=3, max_size=9))
def test_no_literal_is_ever_shown(before: str, secret: str) -> None:
    balanced = before.replace("'", "''")
    assert secret not in shown_statement(f"SELECT a FROM t WHERE b = '{balanced}{secret}'")[1]


@given(st.text(max_size=3000))
def test_any_statement_is_shown_in_one_bounded_line(sql: str) -> None:
    name, text = shown_statement(sql)
    assert max(len(name), len(text)) <= MAX_TEXT + 1
    assert not re.search(r"[\n\r\t]", text)
    (name + text).encode()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@bank.example:8443/transfer?token=hunter2#x", "https://bank.example:8443/transfer"),
        ("http://a:b@c@host/p", "http://host/p"),
        ("http://[::1]:80/مسار", "http://[::1]:80/مسار"),
        ("/relative?key=1", "/relative"),
        ("https://host/mail@here", "https://host/mail@here"),
        ("", ""),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(st.text())
def test_bounded_text_can_be_stored(text: str) -> None:
    assert bounded(text).encode()[:1] == bounded(text).encode("utf-8")[:1]
    assert bounded("\ud800" + text)[0] == "?"
