"""What the receiver's mail program shows is what was written, in either language."""

import html
import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.mail import Mail
from rakiza.mail._core import CONTROL, UNSENDABLE, address
from rakiza.mail._message import Letter
from rakiza.mail._templates import TEMPLATES

NAMES = {"application": "نوفل", "name": "سارة", "inviter": "خالد", "expires": "2026-11-28", "link": "https://erp.example/set?a=1&b=2"}
ALERT = {"host": "site-1", "level_ar": "حرج", "level_en": "critical", "message_ar": "القرص عند 91٪", "message_en": "Disk at 91 %", "since": "09:00"}
DATA: dict[str, str | int | float | bool] = {
    **NAMES, **ALERT, "ended": "09:10", "file": "مقايسة.xlsx", "project": "VILLA-01", "items": 400, "total": "1,250.00", "errors": 0,
    "date": "2026-11-27", "summary_ar": "٣ مشاريع", "summary_en": "3 projects",
}  # fmt: skip
LINES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(lambda text: text.strip() and not CONTROL.search(text))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip() and not UNSENDABLE.search(text))


def rendered(mail: Mail, sender: str = "نوفل <no-reply@example.com>", **how: bool) -> bytes:
    return Letter(mail, address(sender), "<one@example.com>", datetime(2026, 11, 27, tzinfo=UTC)).render(**how)


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, EmailMessage, policy=default)  # type: ignore[arg-type]


def part(message: EmailMessage, kind: str) -> str:
    return next(str(one.get_content()) for one in message.walk() if one.get_content_type() == f"text/{kind}")


def header(raw: bytes, name: str) -> str:
    """Return a header as RFC 2047 reads it."""
    return str(make_header(decode_header(re.sub(r"\r?\n", "", str(message_from_bytes(raw)[name])))))


@given(LINES)
def test_any_subject_comes_back(subject: str) -> None:
    raw = rendered(Mail(to="a@example.com", subject=subject, body="x"))
    assert header(raw, "subject").split() == subject.split()
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))


@given(LINES.filter(lambda name: not set('<>"') & set(name)))
def test_any_name_comes_back(name: str) -> None:
    kept = address(f"{name[:200]} <a@example.com>").name
    raw = rendered(Mail(to=f"{name[:200]} <a@example.com>", subject="x", body="x"))
    found = header(raw, "to")
    assert found.endswith("a@example.com>") or found == "a@example.com"
    assert found.rpartition("<")[0].strip().strip('"').replace("\\\\", "\\").split() == kept.split()
    assert raw.isascii()


@given(TEXTS)
def test_any_text_comes_back(text: str) -> None:
    for readable in (False, True):
        message = read(rendered(Mail(to="a@example.com", subject="x", body=text), readable=readable))
        assert re.sub(r"\r\n|\r", "\n", part(message, "plain")) == re.sub(r"\r\n?", "\n", text)


def test_plain_english_is_sent_as_it_is() -> None:
    raw = rendered(Mail(to="Sara <a@example.com>", subject="Your invoice 42", body="It is due."), sender="Noufal <n@example.com>")
    assert b"Subject: Your invoice 42\r\n" in raw
    assert b'To: "Sara" <a@example.com>\r\n' in raw
    assert read(raw).get_content_type() == "text/plain"


def test_arabic_text_is_also_a_page_from_right_to_left_that_shows_markup() -> None:
    message = read(rendered(Mail(to="a@example.com", subject="س", body="السعر <b>10</b>\nانظر https://erp.example/?a=1&b=2.\n\nشكرا")))
    assert [one.get_content_type() for one in message.iter_parts()] == ["text/plain", "text/html"]
    page = part(message, "html")
    assert '<html lang="ar" dir="rtl">' in page
    assert "<p>السعر &lt;b&gt;10&lt;/b&gt;<br>انظر " in page
    assert '<a href="https://erp.example/?a=1&amp;b=2">https://erp.example/?a=1&amp;b=2</a>.</p><p>شكرا</p>' in page


def test_a_page_of_the_callers_own_is_kept() -> None:
    whole = "<!DOCTYPE html><html><body>مرحباً</body></html>"
    assert part(read(rendered(Mail(to="a@example.com", subject="س", body="مرحباً", html=whole))), "html") == whole
    page = part(read(rendered(Mail(to="a@example.com", subject="x", body="Hello", html="<p>Hello</p>"))), "html")
    assert page.startswith('<!doctype html><html lang="en" dir="ltr">')
    assert '"><p>Hello</p></body>' in page


def test_the_language_can_be_said() -> None:
    assert 'lang="ar"' in part(read(rendered(Mail(to="a@example.com", subject="x", body="ERP مرحباً", language="ar"))), "html")


@pytest.mark.parametrize("name", list(TEMPLATES))
@pytest.mark.parametrize("language", ["ar", "en", None])
def test_every_template_says_everything_in_its_language(name: str, language: str | None) -> None:
    message = read(rendered(Mail(to="a@example.com", template=name, data=DATA, language=language)))  # type: ignore[arg-type]
    text, page = part(message, "plain"), part(message, "html")
    assert "{" not in text + str(message["subject"])
    assert ('dir="rtl"' in page, 'dir="ltr"' in page) == (language != "en", language != "ar")
    assert bool(re.search("[ء-ي]", text.replace(str(DATA["application"]), ""))) or language == "en"
    for field in {field for each in (TEMPLATES[name].values() if language is None else [TEMPLATES[name][language]]) for field in each.fields}:
        assert str(DATA[field]) in text + str(message["subject"])


def test_both_languages_of_a_template_need_the_same() -> None:
    assert TEMPLATES
    for name, each in TEMPLATES.items():
        assert set(each) == {"ar", "en"}, name
        needed = {language: {field.removesuffix(f"_{language}") for field in one.fields} for language, one in each.items()}
        assert needed["ar"] == needed["en"], name


def test_values_are_text_and_nothing_more() -> None:
    evil = "{name.__class__} <script>alert('س')</script>\r\nBcc: x@example.com"
    message = read(rendered(Mail(to="a@example.com", template="invitation", data={**DATA, "application": evil, "inviter": evil})))
    assert "bcc" not in message
    assert "{name.__class__} <script>" in part(message, "plain")
    assert "<script>" not in part(message, "html")
    assert "&lt;script&gt;" in part(message, "html")


def test_values_keep_their_order_in_arabic_text_and_links_lead_where_they_should() -> None:
    data = {**DATA, "expires": "2026-11-28T09:00:00+03:00", "name": "سارة\u2069\u2069"}
    message = read(rendered(Mail(to="a@example.com", template="invitation", data=data, language="ar")))
    assert "<bdi>2026-11-28T09:00:00+03:00</bdi>" in part(message, "html")
    assert f'<bdi><a href="{html.escape(NAMES["link"])}">' in part(message, "html")
    assert part(message, "html").count("<bdi>") == part(message, "html").count("</bdi>")
    assert not re.search("[\u2068\u2069]", part(message, "plain") + str(message["subject"]))
