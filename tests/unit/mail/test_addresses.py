"""Who can be written to, and what a message may say: refused before it is in the queue, with the path of what is wrong."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.mail import Mail
from rakiza.mail._core import address

GOOD = {"to": "user@example.com", "subject": "مرحباً", "body": "محتوى الرسالة"}


def refused(**fields: object) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(GOOD | fields), type=Mail)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "name", "spec"),
    [
        ("user@example.com", "", "user@example.com"),
        (" user@localhost ", "", "user@localhost"),
        ("<user@example.com>", "", "user@example.com"),
        ("سارة العتيبي <sara.o'neil+erp@example.co.uk>", "سارة العتيبي", "sara.o'neil+erp@example.co.uk"),
        ('"Doe, John" <j@example.com>', "Doe, John", "j@example.com"),
        ("سارة@مثال.السعودية", "", "سارة@xn--mgbh0fb.xn--mgberp4a5d4ar"),
        ("x" * 64 + "@example.com", "", "x" * 64 + "@example.com"),
    ],
)
def test_an_address_is_understood(text: str, name: str, spec: str) -> None:
    assert (address(text).name, address(text).spec(utf8=False)) == (name, spec)


@pytest.mark.parametrize(
    "text",
    [
        *("", "user", "@example.com", "user@", "a b@example.com", "a@b@example.com", "a..b@example.com", ".a@example.com", "a.@example.com"),
        *("a@-example.com", "a@exa mple.com", "a@example..com", "a@.com", "a@[10.0.0.1]", "a@exam_ple.com", "a,b@example.com"),
        *("a@example.com,b@example.com", "a@example.com\r\nBcc: x@example.com", "سارة\n <a@example.com>", "a\0@example.com"),
        *("A <a@example.com> <b@example.com>", "\ud800 <a@example.com>"),
        *("x" * 65 + "@example.com", "س" * 33 + "@example.com", "a@" + "x" * 64 + ".com", "a@" + "x." * 127 + "com", "n" * 201 + " <a@example.com>"),
        *("<a@example.com", "a@example.com>", "a@example.com <>", "a@\u202e.com"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no address|line break|too long"):
        address(text)


@given(st.text(max_size=80))
def test_whatever_is_taken_as_an_address_fits_into_one_line(text: str) -> None:
    try:
        taken = address(text)
    except ValueError:
        return
    assert taken.name.isprintable() or not any(mark in taken.name for mark in "\r\n\0")
    assert taken.spec(utf8=True).count("@") == 1
    assert address(taken.spec(utf8=True)) == msgspec.structs.replace(taken, name="")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"to": "a@example.com\nBcc: b@example.com"}, "to"),
        ({"to": ["a@example.com", "b@example.com\r\nX: y"]}, "to[1]"),
        ({"cc": ["لا عنوان"]}, "cc[0]"),
        ({"bcc": "x"}, "bcc"),
        ({"reply_to": "a@example.com\n"}, "reply_to"),
        ({"to": []}, "to"),
        ({"to": [f"u{number}@example.com" for number in range(101)]}, "to"),
        ({"subject": "مرحباً\r\nBcc: x@example.com"}, "subject"),
        ({"subject": "ع" * 901}, "subject"),
        ({"subject": " "}, "subject"),
        ({"body": ""}, "body"),
        ({"body": "س\0"}, "body"),
        ({"html": "<p>\0"}, "html"),
        ({"message_id": "<a@b>\r\nX: y"}, "message_id"),
        ({"message_id": "<../../../etc/x@b>"}, "message_id"),
        ({"template": "test", "data": {"application": "نوفل"}}, "template"),
        ({"template": "nothing"}, "template"),
        ({"subject": "", "body": "", "template": "password_link", "data": {"application": "نوفل"}}, "data.name"),
        ({"template": "test", "data": {"application": "نوفل\0"}}, "data.application"),
        ({"language": "fr"}, "language"),
        ({"data": {"a": [1]}}, "data[...]"),
    ],
)
def test_the_path_of_what_is_wrong_is_named(fields: dict[str, object], path: str) -> None:
    assert refused(**fields).endswith(f" - at `$.{path}`")


def test_what_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="`to`"):
        msgspec.json.decode('{"subject": "x", "body": "y"}', type=Mail)
    assert "`sent_to`" in refused(sent_to="x")


@pytest.mark.parametrize("link", ["javascript:alert(1)", "http://", "https://a b", "example.com"])
def test_a_link_leads_to_the_web(link: str) -> None:
    data = {"application": "نوفل", "name": "سارة", "expires": "غدا", "link": link}
    assert refused(subject="", body="", template="password_link", data=data).endswith("`$.data.link`")
