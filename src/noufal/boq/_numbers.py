"""Turn the spellings of numbers, units and Arabic text found in bills into one form each."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import Final

# rounding has one owner; the readers of a bill take it from here
from noufal.money import half_up as half_up  # noqa: PLC0414
from noufal.money import line_amount as line_amount  # noqa: PLC0414
from noufal.money import vat_amount as vat_amount  # noqa: PLC0414

QUANTITY_SCALE: Final = 1_000_000
PRICE_SCALE: Final = 10_000
HALALAS: Final = 100
BASIS_POINTS: Final = 10_000

_EXACT_FLOAT: Final = 2.0**53

_INVISIBLE: Final = [0x0640, 0x00AD, 0xFEFF, 0x0670, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x064B, 0x0660)]
_DIGITS: Final = {ord(char): str(value) for digits in ("٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹") for value, char in enumerate(digits)}
_DROP: Final[dict[int, str | None]] = dict.fromkeys(_INVISIBLE)
_MARKS: Final[dict[int, str | None]] = dict.fromkeys(code for code in _INVISIBLE if code not in range(0x0640, 0x0671))
_CONTROLS: Final[dict[int, str | None]] = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A})
_LETTERS: Final = {ord(char): "ا" for char in "أإآٱ"} | {ord("ى"): "ي", ord("ة"): "ه"}
_TEXT_TABLE: Final = _DROP | _DIGITS | _LETTERS | {0x066B: ".", 0x066C: ","}
_NUMBER_TABLE: Final = _DROP | _DIGITS | {0x066B: ".", 0x066C: ",", 0x060C: ",", 0x2212: "-", 0x2013: "-", 0x2014: "-", 0x00A0: " ", 0x202F: " "}

_CURRENCY: Final = r"(?:s\.?a\.?r\.?|s\.?r\.?|ر\.?\s?س\.?|ريال(?:\s+سعودي)?|﷼|\u20c1)"
_CURRENCY_START: Final = re.compile(rf"^{_CURRENCY}\s*(?=[-(\d.])", re.IGNORECASE)
_CURRENCY_END: Final = re.compile(rf"(?<=[-)\d.])\s*{_CURRENCY}$", re.IGNORECASE)
_PLAIN: Final = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_COMMA_GROUPS: Final = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_DOT_GROUPS: Final = re.compile(r"[1-9]\d{0,2}(?:(?:\.\d{3})+,\d+|(?:\.\d{3}){2,})")
_SPACE_GROUPS: Final = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?")
_DIGIT_MIX: Final = re.compile(r"[\d.,' ]*\d[\d.,' ]*")
_DASHES: Final = frozenset("-–—−_ـ")


class NotANumber(ValueError):  # noqa: N818 - it names what the cell is
    """Say that a cell which must hold a number holds something else."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class AmbiguousNumber(NotANumber):
    """Say that a number can be read in two ways, as "1,5" can: one and a half, or fifteen."""


class TooManyDecimals(ValueError):  # noqa: N818 - it names what the number has
    """Say that a number has more decimals than can be kept without rounding."""

    def __init__(self, number: Decimal) -> None:
        super().__init__(str(number))
        self.number = number


def normalise_text(text: str) -> str:
    """Fold a text for matching and searching: case, harakat, tatweel, alef, ya, ta marbuta, digits, marks of direction and blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_TEXT_TABLE).casefold().split())


def clean_text(text: str) -> str:
    """Strip a text, unify its line ends and drop control characters; nothing else is changed, since the bill shows text as it was written."""
    if "\r" in text or "_x000" in text:
        text = text.replace("_x000D_", "").replace("_x000d_", "").replace("\r\n", "\n").replace("\r", "\n")
    if not text.isprintable():
        text = text.translate(_CONTROLS)
    return text.strip()


def clean_code(text: str) -> str:
    """Strip a code of blanks, marks of direction and control characters, which cannot be seen and would make two equal codes differ."""
    return text.translate(_MARKS).translate(_CONTROLS).strip()


def is_dash(text: str) -> bool:
    """Tell whether a text stands for "no number": blank, or only dashes."""
    return all(char in _DASHES or char.isspace() for char in text.translate(_MARKS))


def parse_decimal(value: object) -> Decimal:
    """Read a number in any usual spelling; raises `AmbiguousNumber` for "1,5" and `NotANumber` for anything else that is not one number."""
    if isinstance(value, bool):
        raise NotANumber(str(value))
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, float):
        return _from_float(value)
    if isinstance(value, str):
        return _from_text(value)
    raise NotANumber(str(value))


def scaled(value: object, scale: int) -> int:
    """Read a number as an integer count of 1/scale; raises `TooManyDecimals` besides the errors of `parse_decimal`."""
    if type(value) is float:
        if value.is_integer():
            return int(value) * scale
        nearest = round(value * scale) if abs(value) * scale < _EXACT_FLOAT else 0
        if nearest / scale == value:
            return nearest
    number = parse_decimal(value)
    product = number * scale
    if product != product.to_integral_value():
        raise TooManyDecimals(number)
    return int(product)


def _from_float(value: float) -> Decimal:
    # Fifteen significant digits are what a spreadsheet keeps; the rest is noise of binary fractions (12.350000000000001).
    number = Decimal(format(value, ".15g"))
    if not number.is_finite():
        raise NotANumber(str(value))
    return number


def _from_text(original: str) -> Decimal:
    text = original.translate(_NUMBER_TABLE).strip().removeprefix("'").strip()
    text = _CURRENCY_END.sub("", _CURRENCY_START.sub("", text)).strip()
    negative, text = _split_sign(text)
    digits = _ungroup(text, original)
    number = Decimal(digits)
    return -number if negative else number


def _split_sign(text: str) -> tuple[bool, str]:
    if text.startswith("(") and text.endswith(")"):
        return True, text[1:-1].strip()
    if text.startswith("-"):
        return True, text[1:].strip()
    if text.endswith("-"):
        return True, text[:-1].strip()
    return False, text.removeprefix("+").strip()


def _ungroup(text: str, original: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    if _COMMA_GROUPS.fullmatch(text):
        return text.replace(",", "")
    if _DOT_GROUPS.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    if _SPACE_GROUPS.fullmatch(text):
        return text.replace(" ", "").replace(",", ".")
    raise AmbiguousNumber(original) if _DIGIT_MIX.fullmatch(text) else NotANumber(original)


_UNIT_SPELLINGS: Final = {
    "m2": "م2|متر مربع|م مربع|متر مسطح|م مسطح|متر2|مسطح|m2|sqm|sq m|sq mt|square meter|square metre|mt2",
    "m3": "م3|متر مكعب|م مكعب|متر3|مكعب|m3|cum|cu m|cbm|cubic meter|cubic metre|mt3",
    "m": "مط|م ط|متر طولي|م طولي|متر|م|ml|lm|rm|m|mtr|meter|metre|lin m|linear meter|linear metre|running meter",
    "no": "عدد|قطعه|وحده|حبه|قطع|no|nos|nr|ea|each|pc|pcs|piece|pieces|number|unit|units",
    "ton": "طن|طن متري|t|ton|tons|tonne|tonnes|mt",
    "kg": "كجم|كغ|كغم|كيلو جرام|كيلو غرام|kg|kgs|kilogram",
    "point": "نقطه|نقاط|point|points|pt|pts",
    "set": "مجموعه|طقم|set|sets",
    "lump_sum": "مقطوعيه|المقطوعيه|بالمقطوعيه|شامل|بالمقطوع|مقطوع|ls|lump sum|lumpsum|lot",
    "day": "يوم|ايام|day|days",
    "month": "شهر|اشهر|شهور|month|months",
    "hour": "ساعه|ساعات|hour|hours|hr|hrs",
}
_UNIT_NOISE: Final = re.compile(r"[\s./\\_()-]+")
_UNITS: Final = {spelling.replace(" ", ""): unit for unit, spellings in _UNIT_SPELLINGS.items() for spelling in spellings.split("|")}


@lru_cache(maxsize=4096)
def canonical_unit(text: str) -> str | None:
    """Return the code of a unit of measure (m2, m3, m, no, ton, kg, point, set, lump_sum, day, month, hour), or None for an unknown one."""
    return _UNITS.get(_UNIT_NOISE.sub("", normalise_text(text)))
