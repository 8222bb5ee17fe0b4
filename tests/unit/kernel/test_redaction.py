"""Secrets and personal data do not reach a log: by the name of a field, by the shape of a text, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza._kernel.redaction import MAX_CHARACTERS, REDACTED, Redactor, passes_luhn

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r"
NESTED = Redactor().nested
REDACTOR = Redactor(keys=("badge_no",), patterns=(r"CASE-\d+",), emails=True)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        (f"the token {JWT} expired", JWT),
        ("paid with 4111 1111 1111 1111 today", "1111 1111"),
        ("card=5500-0000-0000-0004", "5500"),
        ("دفعت من SA03 8000 0000 6080 1016 7519 أمس", "6080"),
        ("iban sa0380000000608010167519", "6080"),
        ("password=hunter2", "hunter2"),
        ('{"password": "my secret phrase", "x": 1}', "secret phrase"),
        (r"{\"api_key\":\"k-123456\"}", "k-123456"),
        ("user_password : hunter2 ok", "hunter2"),
        ("cannot open postgresql://noufal:hunter2@db/noufal", "hunter2"),
        ("Cookie: __Host-session=abc; theme=dark", "abc"),
        ("otp=123456", "123456"),
        ("كلمة المرور: سري١٢٣", "سري"),
        ("رقم الهوية = 1012345678", "1012345678"),
        ("badge_no=77", "77"),
        ("see CASE-4711", "4711"),
        ("mail to sara@example.com", "sara@"),
    ],
)
def test_a_secret_in_a_text_is_replaced(text: str, secret: str) -> None:
    cleaned = REDACTOR.text(text)
    assert secret not in cleaned
    assert REDACTED in cleaned
    assert Redactor(on=False).text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "بدأ الصب في البرج ٣ الساعة 14:30",
        "GET /api/projects/VILLA-09 took 12.5 ms",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
        "id 550e8400-e29b-41d4-a716-446655440000 at 1732700000123456789",
        "4111 1111 1111 1112 has a wrong check digit",
        "the passage is open; keyboard ok; monkey=1",
        "https://example.com/a:b@c",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize("key", ["password", "userPassword", "X-Api-Key", "refresh_token", "otp", "IBAN", "كلمة_المرور", "client secret", "badge_no"])
def test_a_field_with_a_telling_name_is_replaced(key: str) -> None:
    assert REDACTOR.value({"deep": [{key: "value", "method": "password", "2fa_enabled": False}]}) == {
        "deep": [{key: REDACTED, "method": "password", "2fa_enabled": False}]
    }


def test_a_flag_about_a_secret_is_no_secret() -> None:
    assert REDACTOR.value({"password_changed": True, "token": None}) == {"password_changed": True, "token": None}


class Hostile:
    """An object that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_any_value_becomes_something_json_can_hold() -> None:
    loop: list[object] = []
    loop += [loop, loop, loop]
    given: dict[object, object] = {
        1: Hostile(),
        "set": {1},
        "loop": loop,
        "big": 1 << 2000,
        "bytes": b"\xff",
        "long": "ا" * 10**6,
        "many": list(range(10**5)),
    }
    value = REDACTOR.value(given)
    assert isinstance(value, dict)
    assert value["1"] == "<Hostile whose text cannot be read>"
    assert value["set"] == [1]
    assert len(str(value)) < 100_000


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_no_value_is_too_odd(value: object) -> None:
    Redactor(on=False).value(value)


@given(st.text(alphabet=st.sampled_from("eyJ.:/@=- 0123456789passwordbearer'\"\\\nسر"), max_size=400))
def test_no_text_is_too_odd(text: str) -> None:
    REDACTOR.text(text * 50)


@pytest.mark.parametrize("piece", ["eyJa", "://a:", "password=", "password'", 'token"', "1 ", "4111 ", "SA03", "bearer ", "a.", "cookie: ", "a@a."])
def test_a_hostile_text_takes_no_longer_than_its_length(piece: str) -> None:
    REDACTOR.text(piece * (MAX_CHARACTERS // len(piece)))


@pytest.mark.parametrize(("number", "right"), [("4111111111111111", True), ("79927398713", True), ("79927398710", False), ("0", True)])
def test_luhn(number: str, *, right: bool) -> None:
    assert passes_luhn(number) is right


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2secret",
        'the {"password": "hunter2secret"} was sent',
        "login(passwd='hunter2secret')",
        "Authorization: Basic hunter2secret",
        "authorization: Bearer hunter2secret.x",
        "got Bearer hunter2secret",
        "postgresql://noufal:hunter2secret@db/app",
        "https://hunter2secret@sentry.example/5",
        "Cookie: a=1; session=hunter2secret; b=2",
        "api_key => hunter2secret",
        "X-API-Key: hunter2secret",
        "eyJhbGciOiJIUzI1NiJ9.hunter2secret.sig",
        "كلمة المرور: hunter2secret",
        "رمز التحقق = hunter2secret",
        '{"access_token": "hunter2' + "A" * 300 + '"}',
        "Authorization: Token hunter2secret",
        "postgresql://u:p:hunter2@db/x",
        "postgresql://u:p@hunter2@db/x",
        'password="ab\\"hunter2"',
        '{"password":["hunter2"]}',
        "b'password': b'hunter2'",
        "pin=hunter2",
        '{"cvv":"hunter2"}',
    ],
)
def test_secrets_in_texts_are_hidden(text: str) -> None:
    assert "hunter2" not in NESTED(text)
    assert NESTED(NESTED(text)) == NESTED(text)
    assert "hunter2" not in str(NESTED({"message": [text]}))


@pytest.mark.parametrize("text", ["فشل حفظ المستخلص رقم 12", "token expired", "session of user 5 ended", "basic information", "https://example.com/a@b"])
def test_other_texts_stay(text: str) -> None:
    assert NESTED(text) == text


@pytest.mark.parametrize("key", ["password", "X-Auth-Token", "Set-Cookie", "client_secret", "apiKey", "كلمة المرور"])
def test_what_stands_under_the_name_of_a_secret_is_hidden(key: str) -> None:
    assert NESTED({key: {"deep": "x"}, "name": "سارة"}) == {key: REDACTED, "name": "سارة"}


@given(st.text(max_size=3000))
def test_what_is_hidden_once_is_hidden(text: str) -> None:
    assert NESTED(NESTED(text)) == NESTED(text)


def test_a_deep_value_stays_within_its_bound() -> None:
    wide = [[[str(number) for number in range(30)] for _ in range(30)] for _ in range(30)]
    assert len(repr(REDACTOR.value(wide))) < 10_000
