from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noufal.boq._numbers import (
    AmbiguousNumber,
    NotANumber,
    TooManyDecimals,
    canonical_unit,
    clean_code,
    clean_text,
    half_up,
    is_dash,
    line_amount,
    normalise_text,
    parse_decimal,
    scaled,
    vat_amount,
)

ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
PERSIAN_DIGITS = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
NUMBERS = st.decimals(min_value=0, max_value=Decimal("999999999.9999"), places=4)


def spellings(number: Decimal) -> list[str]:
    plain, grouped = f"{number:f}", f"{number:,f}"
    whole, _, fraction = grouped.partition(".")
    european = f"{whole.replace(',', '.')},{fraction}"
    return [
        plain,
        grouped,
        plain.translate(ARABIC_DIGITS).replace(".", "٫"),
        grouped.translate(ARABIC_DIGITS).replace(",", "٬").replace(".", "٫"),
        plain.translate(PERSIAN_DIGITS),
        f"\u200f{grouped}\u200e ر.س",
        f"SAR {grouped}",
        f"'{plain}",
        f"  {grouped.replace(',', chr(0xA0))} ",
        f"+{plain}",
        *([european] if "." in european else []),
    ]


@given(NUMBERS)
def test_every_spelling_gives_the_same_number(number: Decimal) -> None:
    assert {parse_decimal(text) for text in spellings(number)} == {number}


@given(NUMBERS)
def test_negative_spellings(number: Decimal) -> None:
    grouped = f"{number:,f}"
    assert {parse_decimal(text) for text in (f"-{grouped}", f"{grouped}-", f"({grouped})", f"−{grouped}")} == {-number}


@given(st.integers(0, 10**15))
def test_price_survives_the_float_of_a_spreadsheet(price: int) -> None:
    assert scaled(price / 10_000, 10_000) == price


@given(st.integers(0, 10**12), st.integers(0, 10**9))
def test_line_amount_is_the_exact_product_rounded_half_up(quantity: int, price: int) -> None:
    exact = Decimal(quantity) * price / 10**8
    assert 0 <= line_amount(quantity, price) - (exact - Decimal("0.5")) <= 1


@pytest.mark.parametrize("text", ["1,5", "١٬٥", "1,23,456", "0,123", "1.2.3", "12,34", "1,2345", "1.234,5,6"])
def test_ambiguous_numbers_are_refused(text: str) -> None:
    with pytest.raises(AmbiguousNumber):
        parse_decimal(text)


@pytest.mark.parametrize("value", ["", "عشرة", "12 م", "nan", "inf", "1e5", "12%", True, None, "ر.س", "1,5x", float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(NotANumber) as caught:
        parse_decimal(value)
    assert not isinstance(caught.value, AmbiguousNumber)


def test_binary_noise_is_not_a_decimal() -> None:
    assert scaled(0.1 + 0.2, 10_000) == 3_000
    assert scaled(12.350000000000001, 10_000) == 123_500


def test_decimals_are_never_rounded_silently() -> None:
    for value in (1.23456, "33.33333", 100 / 3):
        with pytest.raises(TooManyDecimals):
            scaled(value, 10_000)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"), [(5, 10, 1), (4, 10, 0), (15, 10, 2), (-5, 10, -1), (-4, 10, 0), (0, 7, 0), (7, 2, 4)]
)
def test_half_up(numerator: int, denominator: int, expected: int) -> None:
    assert half_up(numerator, denominator) == expected


def test_vat_of_the_worked_example() -> None:
    assert vat_amount(79_419_500, 1500) == 11_912_925
    assert vat_amount(26_470_522, 1500) == 3_970_578


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("أعمال دكّ وردم", "اعمال دك وردم"),
        ("الخـــرسانة", "الخرسانه"),
        ("مبنى", "مبني"),
        ("\u200fالإجمالي\u202c", "الاجمالي"),
        ("م²", "م2"),
        ("㎡", "m2"),
        ("١٢٫٥", "12.5"),
        ("BOQ\u00a0 Item\n", "boq item"),
        ("ﻻ", "لا"),
    ],
)
def test_texts_that_match(one: str, other: str) -> None:
    assert normalise_text(one) == normalise_text(other)


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise_text(text)
    assert normalise_text(once) == once


@pytest.mark.parametrize(
    ("unit", "spellings"),
    [
        ("m2", "م2|م²|م٢|م 2|㎡|m²|M2|sqm|متر مربع|متر مسطح|Sq.m"),
        ("m3", "م3|م³|㎥|cum|متر مكعب|M³"),
        ("m", "مط|م.ط|م ط|متر طولي|متر|ml|LM|rm|م"),
        ("no", "عدد|قطعة|وحدة|حبة|No|No.|nr|ea|pcs"),
        ("ton", "طن|t|Ton"),
        ("kg", "كجم|كغ|kg"),
        ("point", "نقطة|Point"),
        ("set", "مجموعة|طقم|set"),
        ("lump_sum", "مقطوعية|شامل|بالمقطوع|LS|L.S.|Lump Sum"),
        ("day", "يوم|day"),
        ("month", "شهر|month"),
        ("hour", "ساعة|hour"),
    ],
)
def test_units(unit: str, spellings: str) -> None:
    assert {spelling: canonical_unit(spelling) for spelling in spellings.split("|")} == dict.fromkeys(spellings.split("|"), unit)


@pytest.mark.parametrize("text", ["", "برميل", "م4", "box"])
def test_unknown_units_are_never_guessed(text: str) -> None:
    assert canonical_unit(text) is None


def test_texts_are_kept_as_written() -> None:
    assert clean_text("  دكّ\r\nوردم ") == "دكّ\nوردم"
    assert clean_code("\u200f1.10\u200e ") == "1.10"
    assert clean_code("أعـم-001") == "أعـم-001"


@pytest.mark.parametrize(("text", "dash"), [("-", True), (" – ", True), ("", True), ("\u200f—", True), ("-5", False), ("0", False)])
def test_dashes(text: str, dash: bool) -> None:
    assert is_dash(text) is dash
