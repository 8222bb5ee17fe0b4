"""Write a bill of quantities as a workbook that reads back as the same bill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final, Literal, TypeAlias

import msgspec
import xlsxwriter  # type: ignore[import-untyped]
from xlsxwriter.format import Format  # type: ignore[import-untyped]
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]

from ._layout import leading_number
from ._numbers import BASIS_POINTS, HALALAS, PRICE_SCALE, QUANTITY_SCALE, vat_amount

Language: TypeAlias = Literal["ar", "en"]

PROGRESS_SCALE: Final = 1_000_000
# Writing a formula costs as much as three numbers; a sheet longer than this is read by programs, not edited by hand.
FORMULA_LINES: Final = 20_000
_SHEET_NAME_LENGTH: Final = 31
_FORBIDDEN_IN_SHEET_NAME: Final = dict.fromkeys(map(ord, "[]:*?/\\"), " ")
_TEXTS: Final[dict[Language, dict[str, str]]] = {
    "ar": {
        "code": "رقم البند",
        "description": "وصف البند",
        "unit": "الوحدة",
        "quantity": "الكمية",
        "unit_price": "سعر الوحدة",
        "amount": "الإجمالي",
        "progress": "نسبة الإنجاز",
        "note": "ملاحظات",
        "category": "القسم",
        "net": "الإجمالي قبل الضريبة",
        "vat": "ضريبة القيمة المضافة {rate}%",
        "gross": "الإجمالي شامل الضريبة",
    },
    "en": {
        "code": "Item No.",
        "description": "Description",
        "unit": "Unit",
        "quantity": "Quantity",
        "unit_price": "Unit Price",
        "amount": "Total",
        "progress": "Progress",
        "note": "Notes",
        "category": "Section",
        "net": "Total excluding VAT",
        "vat": "VAT {rate}%",
        "gross": "Total including VAT",
    },
}
_WIDTHS: Final = {
    "code": 12,
    "description": 56,
    "unit": 10,
    "quantity": 13,
    "unit_price": 14,
    "amount": 17,
    "progress": 13,
    "note": 36,
    "category": 28,
}
_FORMATS: Final = {
    "header": {"bold": True, "bg_color": "#DDE5EC", "border": 1, "text_wrap": True, "valign": "vcenter", "align": "center"},
    "section": {"bold": True, "bg_color": "#F1F4F7", "valign": "vcenter", "text_wrap": True},
    "text": {"text_wrap": True, "valign": "top", "num_format": "@"},
    "whole": {"num_format": "#,##0", "valign": "top"},
    "quantity": {"num_format": "#,##0.0#####", "valign": "top"},
    "price": {"num_format": "#,##0.00##", "valign": "top"},
    "amount": {"num_format": "#,##0.00", "valign": "top"},
    "progress": {"num_format": "0.00##%", "valign": "top"},
    "total_label": {"bold": True, "top": 1},
    "total": {"bold": True, "top": 1, "num_format": "#,##0.00"},
}


class ExportSection(msgspec.Struct, frozen=True):
    """Name a section; rows point at it by its place in the list, from 0."""

    code: str | None
    title: str


class ExportRow(msgspec.Struct, frozen=True):
    """Hold one line: quantity and progress in millionths (progress 1,000,000 = done), price in 1/10,000 SAR, amount in halalas."""

    section: int
    code: str
    description: str
    note: str | None
    unit: str
    quantity: int
    unit_price: int
    amount: int
    rate_only: bool
    progress: int


def write_bill(
    out: BinaryIO | Path,
    *,
    title: str,
    sheet_name: str,
    language: Language,
    sections: Iterable[ExportSection],
    rows: Iterable[ExportRow],
    vat_rate_bp: int,
    show_prices: bool,
) -> None:
    """Write a bill to a file: right to left in Arabic, section rows, totals with VAT (rate in basis points); without prices if told so."""
    lines, names = list(rows), list(sections)
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(str(out) if isinstance(out, Path) else out, options)
    book.set_properties({"title": title})
    grouped = _unbroken(lines)
    writer = _Writer(book, sheet_name, language, show_prices=show_prices, with_category=not grouped)
    writer.live = len(lines) <= FORMULA_LINES
    writer.header(title)
    if grouped:
        writer.sections(names, lines)
    else:
        for line in lines:
            writer.line(line, names[line.section].title)
    if show_prices:
        writer.totals(sum(line.amount for line in lines), vat_rate_bp)
    book.close()


def _unbroken(lines: Sequence[ExportRow]) -> bool:
    """Tell whether the sections follow each other in order, so that one row can head each."""
    return all(earlier.section <= later.section for earlier, later in pairwise(lines))


class _Writer:
    """Write a sheet row by row, from the top, as constant memory demands."""

    def __init__(self, book: xlsxwriter.Workbook, name: str, language: Language, *, show_prices: bool, with_category: bool) -> None:
        clean = name.translate(_FORBIDDEN_IN_SHEET_NAME).strip(" '")[:_SHEET_NAME_LENGTH].strip(" '")
        self.sheet: Worksheet = book.add_worksheet(clean or "BOQ")
        self.texts = _TEXTS[language]
        self.formats: dict[str, Format] = {kind: book.add_format(options) for kind, options in _FORMATS.items()}
        prices = ["unit_price", "amount"] if show_prices else []
        category = ["category"] if with_category else []
        self.fields = ["code", "description", "unit", "quantity", *prices, "progress", *category, "note"]
        self.places = {field: column for column, field in enumerate(self.fields)}
        self.row = 0
        self.live = True
        if language == "ar":
            self.sheet.right_to_left()

    def header(self, title: str) -> None:
        sheet = self.sheet
        for column, field in enumerate(self.fields):
            sheet.set_column(column, column, _WIDTHS[field])
            sheet.write_string(0, column, self.texts[field], self.formats["header"])
        sheet.freeze_panes(1, 2)
        sheet.repeat_rows(0)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.fit_to_pages(1, 0)
        sheet.set_header("&C" + title.replace("&", "&&")[:200])
        sheet.set_footer("&C&P / &N")
        self.row = 1

    def sections(self, names: Sequence[ExportSection], lines: Sequence[ExportRow]) -> None:
        place = 0
        for index, section in enumerate(names):
            self.section(section)
            while place < len(lines) and lines[place].section == index:
                self.line(lines[place])
                place += 1

    def section(self, section: ExportSection) -> None:
        first, last = 0, len(self.fields) - 1
        if section.code and section.code != leading_number(section.title):
            self.sheet.write_string(self.row, 0, section.code, self.formats["section"])
            first = 1
        self.sheet.merge_range(self.row, first, self.row, last, "", self.formats["section"])
        self.sheet.write_string(self.row, first, section.title, self.formats["section"])
        self.row += 1

    def line(self, line: ExportRow, category: str = "") -> None:
        self._text("code", line.code)
        self._text("description", line.description)
        self._text("unit", line.unit)
        if not line.rate_only:
            self._number("quantity", line.quantity, QUANTITY_SCALE, "quantity" if line.quantity % QUANTITY_SCALE else "whole")
        self._prices(line)
        self._number("progress", line.progress, PROGRESS_SCALE, "progress")
        self._text("category", category)
        self._text("note", line.note or "")
        self.row += 1

    def _prices(self, line: ExportRow) -> None:
        if "amount" not in self.places:
            return
        self._number("unit_price", line.unit_price, PRICE_SCALE, "price")
        if not self.live:
            self._number("amount", line.amount, HALALAS, "amount")
            return
        quantity, price = (f"{chr(65 + self.places[field])}{self.row + 1}" for field in ("quantity", "unit_price"))
        value = line.amount / HALALAS
        self.sheet.write_formula(self.row, self.places["amount"], f"=ROUND({quantity}*{price},2)", self.formats["amount"], value)

    def _text(self, field: str, text: str) -> None:
        if text and field in self.places:
            self.sheet.write_string(self.row, self.places[field], text, self.formats["text"])

    def _number(self, field: str, value: int, scale: int, kind: str) -> None:
        self.sheet.write_number(self.row, self.places[field], value / scale, self.formats[kind])

    def totals(self, net: int, vat_rate: int) -> None:
        """Write the three totals; the sum runs over the lines, since section rows hold no numbers."""
        column, last = self.places["amount"], self.row
        letter = chr(65 + column)
        vat = vat_amount(net, vat_rate)
        rate = f"{vat_rate / 100:g}"
        formulas = (
            ("net", f"=SUM({letter}2:{letter}{last})", net),
            ("vat", f"=ROUND({letter}{last + 1}*{vat_rate}/{BASIS_POINTS},2)", vat),
            ("gross", f"={letter}{last + 1}+{letter}{last + 2}", net + vat),
        )
        for name, formula, value in formulas:
            self.sheet.merge_range(self.row, 0, self.row, column - 1, "", self.formats["total_label"])
            self.sheet.write_string(self.row, 0, self.texts[name].format(rate=rate), self.formats["total_label"])
            self.sheet.write_formula(self.row, column, formula, self.formats["total"], value / HALALAS)
            self.row += 1
