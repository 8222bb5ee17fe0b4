"""Exact amounts."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noufal import money
from rakiza.errors import ValidationError


@given(st.integers(-(10**18), 10**18), st.integers(1, 10**12))
def test_half_up_is_the_rounding_of_invoices(numerator: int, denominator: int) -> None:
    exact = (Decimal(numerator) / Decimal(denominator)) if denominator else Decimal(0)
    got = money.half_up(numerator, denominator)
    assert abs(2 * (got * denominator - numerator)) <= denominator
    if abs(2 * (got * denominator - numerator)) == denominator:
        assert abs(got) * denominator > abs(numerator)
    assert abs(Decimal(got) - exact) <= Decimal("0.5000001")


@given(st.integers(0, money.MAX_QUANTITY), st.integers(0, 10**9))
def test_a_line_is_quantity_times_price(quantity: int, price: int) -> None:
    exact = Decimal(quantity) / money.MILLION * Decimal(price) / money.RATE_UNITS
    assert money.money_text(money.line_amount(quantity, price)) == str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


@given(st.integers(0, 10**15), st.integers(0, money.MILLION))
def test_earned_never_exceeds_the_amount(amount: int, progress: int) -> None:
    assert 0 <= money.earned_amount(amount, progress) <= amount
    assert money.earned_amount(amount, money.MILLION) == amount


@given(st.integers(0, money.MAX_QUANTITY))
def test_quantities_read_back(quantity: int) -> None:
    assert money.parse_scaled("quantity", money.quantity_text(quantity), money.MILLION, money.MAX_QUANTITY) == quantity


@given(st.integers(0, money.MAX_RATE))
def test_rates_read_back(rate: int) -> None:
    assert money.parse_scaled("unit_price", money.rate_text(rate), money.RATE_UNITS, money.MAX_RATE) == rate


@pytest.mark.parametrize(
    ("text", "value"), [("١٢٫٥", 12_500_000), (" 7. ", 7_000_000), (".5", 500_000), ("000.5000000000", 500_000), ("۳", 3_000_000)]
)
def test_spellings_of_numbers(text: str, value: int) -> None:
    assert money.parse_scaled("quantity", text, money.MILLION, money.MAX_QUANTITY) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a number"),
        (".", "not a number"),
        ("عشرة", "not a number"),
        ("1,5", "not a number"),
        ("NaN", "not a number"),
        ("Infinity", "not a number"),
        ("1e999999999", "not a number"),
        ("1E-1000000", "not a number"),
        ("-1", "negative"),
        ("0.0000001", "decimal places"),
        ("0.00000100000000000000000000000000001", "decimal places"),
        ("1000000000.000001", "largest"),
        ("9" * 5000, "largest"),
    ],
)
def test_what_is_no_quantity_is_named(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        money.parse_scaled("quantity", text, money.MILLION, money.MAX_QUANTITY)
    (finding,) = caught.value.errors or ()
    assert finding["field"] == "quantity"  # type: ignore[index]
    assert len(caught.value.detail) < 200
    assert caught.value.message_ar


def test_shares_and_tax() -> None:
    assert money.vat_amount(79_419_500, 1_500) == 11_912_925
    assert (money.ratio_text(1, 3), money.ratio_text(2, 3), money.ratio_text(5, 0)) == ("33.33", "66.67", "0.00")
    assert (money.share_text(333_333), money.share_text(1_000_000), money.basis_points_text(1_500)) == ("33.3333", "100.00", "15.00")
    assert money.money_text(-5) == "-0.05"
