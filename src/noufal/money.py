"""Exact amounts: halalas, rates in 1/10,000 of the currency, quantities and shares in millionths; never a float.

Rounding is half up everywhere, as invoices are checked.
"""

import re

from rakiza.errors import ValidationError

HALALAS = 100
RATE_UNITS = 10_000
MILLION = 1_000_000
MAX_QUANTITY = 1_000_000_000 * MILLION
MAX_RATE = 1_000_000_000_000 * RATE_UNITS
MAX_AMOUNT = 1_000_000_000_000 * HALALAS
_DECIMAL = re.compile(r"(?=\.?\d)(\d*)(?:\.(\d*))?")
_NEGATIVE = re.compile(r"-\s*[\d.]+")


def half_up(numerator: int, denominator: int) -> int:
    """Return the quotient rounded half up, away from zero; the denominator is positive."""
    if numerator < 0:
        return -half_up(-numerator, denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def line_amount(quantity: int, unit_price: int) -> int:
    """Return the halalas of `quantity` (millionths) at `unit_price` (1/10,000)."""
    return half_up(quantity * unit_price * HALALAS, MILLION * RATE_UNITS)


def earned_amount(amount: int, progress: int) -> int:
    """Return the halalas earned of `amount` at `progress` (millionths of the whole)."""
    return half_up(amount * progress, MILLION)


def vat_amount(net: int, rate_bp: int) -> int:
    """Return the halalas of value added tax on `net` at `rate_bp` (1/100 per cent)."""
    return half_up(net * rate_bp, 10_000)


def money_text(halalas: int) -> str:
    """Return halalas as a decimal text with two places."""
    sign = "-" if halalas < 0 else ""
    whole, part = divmod(abs(halalas), HALALAS)
    return f"{sign}{whole}.{part:02d}"


def rate_text(rate: int) -> str:
    """Return a unit rate with two to four places."""
    whole, part = divmod(rate, RATE_UNITS)
    return f"{whole}.{part // 100:02d}" if part % 100 == 0 else f"{whole}.{part:04d}".rstrip("0")


def quantity_text(quantity: int) -> str:
    """Return a quantity without trailing zeros."""
    whole, part = divmod(quantity, MILLION)
    return f"{whole}.{part:06d}".rstrip("0") if part else str(whole)


def share_text(share: int) -> str:
    """Return a share of the whole (millionths) as per cent with two to four places."""
    return rate_text(share)


def basis_points_text(points: int) -> str:
    """Return 1/100 per cent as per cent with two places."""
    return money_text(points)


def ratio_text(part: int, whole: int) -> str:
    """Return part of whole as per cent with two places; `0.00` of nothing."""
    return money_text(half_up(part * 10_000, whole)) if whole else "0.00"


def parse_scaled(field: str, text: str, scale: int, maximum: int) -> int:
    """Read a decimal text as an integer of 1/`scale`; raise ValidationError naming the field for text, signs, too many places or too much."""
    clean = text.strip().replace("\u066b", ".")
    if _NEGATIVE.fullmatch(clean):
        raise refused(field, f"{clean} is negative", f"القيمة {clean} سالبة")
    number = _DECIMAL.fullmatch(clean)
    if number is None:
        shown = clean[:40]
        raise refused(field, f"{shown!r} is not a number", f"«{shown}» ليس رقما")
    whole, part = _latin(number[1]).lstrip("0"), _latin(number[2] or "").rstrip("0")
    places = len(str(scale)) - 1
    if len(part) > places:
        raise refused(field, f"more than {places} decimal places", f"أكثر من {places} منازل عشرية")
    most = maximum // scale
    scaled = int(whole + part.ljust(places, "0") or "0") if len(whole) <= len(str(most)) else maximum + 1
    if scaled > maximum:
        raise refused(field, f"more than the largest allowed, {most}", f"أكبر من المسموح وهو {most}")
    return scaled


def _latin(digits: str) -> str:
    return "".join(str(int(digit)) for digit in digits)


def refused(field: str, message_en: str, message_ar: str) -> ValidationError:
    """Return the refusal of one field in both languages."""
    finding = {"field": field, "message_en": message_en, "message_ar": message_ar}
    return ValidationError(f"{field}: {message_en}", message_ar=message_ar, errors=[finding])
