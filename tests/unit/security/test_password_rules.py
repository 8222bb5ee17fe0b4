"""The rule for new passwords."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.security import password_problems
from rakiza.security._password_rules import ENOUGH, normal_password, strength

CONTEXT = ("noufal", "sara.alharbi", "سارة الحربي")


def codes(password: str) -> list[str]:
    return [problem.code for problem in password_problems(password, 15, CONTEXT)]


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "سبعة جمال تعبر الوادي ليلا",
        "الخرسانة تجف في ثلاثة أيام",
        "kX9#vQ2!pL7@zR4$",
        "my dog eats green curtains",
        "x" + "𝄞é漢字ñ" + "ردهة واسعة",
    ],
)
def test_a_phrase_of_ones_own_is_good(password: str) -> None:
    assert codes(password) == []


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "Password123456789",
        "P@ssw0rd!P@ssw0rd!",
        "aaaaaaaaaaaaaaaaaa",
        "123456789012345678",
        "qwertyuiopasdfghjkl",
        "abcabcabcabcabcabc",
        "noufal-noufal-2026",
        "sara.alharbi sara.alharbi",
        "سارةالحربي سارةالحربي",
        "محمد محمد محمد محمد",
        "بسم الله الرحمن الرحيم",
        "ضصثقفغعهخحجدضصثقفغ",
        "!!!!!!!!!!!!!!!!!!!!",
        "Ｐａｓｓｗｏｒｄ Ｐａｓｓｗｏｒｄ",
    ],
)
def test_what_is_tried_first_is_refused(password: str) -> None:
    assert codes(password) == ["too_guessable"]


def test_length_is_counted_in_characters_not_bytes() -> None:
    assert codes("سبعة جمال تعبر"[:14]) == ["too_short"]
    assert codes("قصيرة") == ["too_short"]
    assert codes("ﷺ") == codes("ﷺﷺ") == ["too_short"]
    assert codes("words of mine " * 90) == ["too_long"]
    assert codes("a long phrase may have more than sixty four characters and that is welcome here") == []


def test_each_problem_is_told_in_both_languages() -> None:
    (problem,) = password_problems("short", 15, field="password")
    assert problem.field == "password"
    assert "15" in problem.message_en
    assert "15" in problem.message_ar


@given(st.text(min_size=1, max_size=7), st.integers(min_value=2, max_value=40))
def test_repeating_a_little_never_makes_a_lot(unit: str, times: int) -> None:
    assert strength(unit * times) < ENOUGH or len(normal_password(unit).casefold()) >= ENOUGH


def test_random_passwords_pass() -> None:
    assert [password_problems(secrets.token_urlsafe(18), 15) for _ in range(200)] == [[]] * 200


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=4))
def test_any_text_is_judged_and_context_never_helps(password: str, context: list[str]) -> None:
    problems = {problem.code for problem in password_problems(password, 15, context)}
    assert problems <= {"too_short", "too_long", "too_guessable"}
    assert strength(password, context) <= len(normal_password(password).casefold())


@given(st.text(max_size=50))
def test_one_spelling_is_hashed(password: str) -> None:
    assert normal_password(normal_password(password)) == normal_password(password)
