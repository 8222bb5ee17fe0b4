"""Workbooks of bills in the layouts met in practice, spelt in every way met in practice."""

from __future__ import annotations

import io
import random
import zipfile
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

import xlsxwriter

MADE = datetime(2026, 9, 19, 8, 30)  # noqa: DTZ001 - a workbook knows no zone
"""When every workbook was made, so that the same lines are the same file in any second."""
ENGLISH = {
    "code": "Item No.",
    "description": "Description",
    "unit": "Unit",
    "quantity": "Qty",
    "unit_price": "Rate (SAR)",
    "amount": "Amount",
    "category": "Section",
    "serial": "Serial No.",
    "repeat": "Category",
    "item": "Item",
    "item_category": "Item Description",
    "specification": "Specifications",
    "mandatory": "Mandatory List Product",
    "construction": "Construction Code",
    "attachments": "Attachments",
    "measure": "Unit of Measure",
    "quantity_a": "Quantity",
    "price_a": "Unit Price",
    "total_a": "Total",
}
ARABIC_B = {
    "code": "رقم البند",
    "description": "وصف البند",
    "unit": "الوحدة",
    "quantity": "الكمية",
    "unit_price": "سعر الوحدة",
    "amount": "الإجمالي",
}
ARABIC_C = ARABIC_B | {"code": "الكود", "description": "الوصف", "category": "التصنيف"}
ARABIC_A = {
    "serial": "الرقم التسلسلي",
    "repeat": "الفئة",
    "item": "البند",
    "item_category": "وصف البند",
    "specification": "المواصفات",
    "mandatory": "منتج من القائمة الإلزامية",
    "construction": "الرمز الإنشائي",
    "attachments": "مرفقات",
    "measure": "وحدة القياس",
    "quantity_a": "الكمية",
    "price_a": "سعر الوحدة",
    "total_a": "الإجمالي",
}
FIRST_HEADER_SPELLINGS = ("الرقم التسلسلي", "لرقم التسلسلي", "رقم التسلسلي")


@dataclass(frozen=True)
class Line:
    """One item as a contractor means it."""

    section: str
    code: str
    description: str
    unit: str
    quantity: Decimal
    price: Decimal

    @property
    def amount(self) -> Decimal:
        return (self.quantity * self.price).quantize(Decimal("0.01"), ROUND_HALF_UP)


@dataclass(frozen=True)
class Formula:
    """A formula and the result stored with it (None: not stored)."""

    text: str
    value: Decimal | int | None


@dataclass(frozen=True)
class Spelling:
    """How a workbook departs from the plain form of its layout."""

    english: bool = False
    shuffle: int | None = None
    numbers: str = "number"  # number, comma, arabic, marked
    formulas: str = "stored"  # plain, stored, missing, zero
    tatweel: bool = False
    top: int = 0
    hidden_rows: tuple[int, ...] = ()
    hidden_columns: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)


def lines(count: int = 30, sections: int = 5) -> list[Line]:
    """Return items in sections, with fractions, repeated descriptions and a unit inside a description."""
    works = [
        ("خرسانة مسلحة للقواعد (350 كجم/م³)", "م³"),
        ("حفر لعمق 1.5 متر", "م³"),
        ("بلوك أسمنتي 20 سم", "م²"),
        ("دهان داخلي ثلاثة أوجه", "م٢"),
        ("حديد تسليح", "طن"),
        ("سور من البلوك", "م.ط"),
        ("باب خشبي", "عدد"),
    ]
    names = ["أعمال الحفر", "أعمال الخرسانة", "أعمال المباني", "أعمال التشطيبات", "أعمال كهرباء", "أعمال صحية", "أعمال خارجية"]
    made = []
    for index in range(count):
        place = index * sections // count
        work, unit = works[index % len(works)]
        quantity = Decimal(index * 7 % 90 + 3) + Decimal(index % 4) / 4
        price = Decimal(index * 13 % 400 + 12) + Decimal(index % 3) * Decimal("0.35")
        made.append(Line(f"{names[place % len(names)]}", f"{place + 1}.{index + 1}", f"{work} - مرحلة {index % 2 + 1}", unit, quantity, price))
    return made


def total(items: list[Line]) -> Decimal:
    """Return the sum of the rounded lines."""
    return sum((line.amount for line in items), Decimal(0))


def layout_b(items: list[Line], spelling: Spelling = Spelling()) -> bytes:
    """Write a bill with section rows in merged cells and one total row."""
    sheet = _Sheet(ARABIC_B, spelling)
    sheet.header()
    section = None
    for line in items:
        if line.section != section:
            section = line.section
            sheet.merged_title(f"{line.code.split('.')[0]}. {section}")
        sheet.line({"code": line.code, "description": line.description, "unit": line.unit}, line, ("quantity", "unit_price", "amount"))
    sheet.total_row("الإجمالي الكلي للمشروع", total(items), "amount")
    return sheet.close()


def layout_c(items: list[Line], spelling: Spelling = Spelling()) -> bytes:
    """Write a flat bill whose last column is the category."""
    sheet = _Sheet(ARABIC_C, spelling)
    sheet.header()
    for line in items:
        texts = {"code": line.code, "description": line.description, "unit": line.unit, "category": line.section}
        sheet.line(texts, line, ("quantity", "unit_price", "amount"))
    return sheet.close()


def layout_a(items: list[Line], spelling: Spelling = Spelling(), page: int = 6) -> bytes:
    """Write a bill as the government procurement platform prints it."""
    spelling = replace(spelling, hidden_columns=("item_category", "construction", "attachments", *spelling.hidden_columns))
    sheet = _Sheet(ARABIC_A, spelling, left=3, second_total=True)
    net = total(items)
    sheet.title("مشروع إنشاء مبنى خدمات")
    sheet.title("مدة العقد 24 شهرًا")
    sheet.total_row("الإجمالي", net, "total_a")
    sheet.total_row("الإجمالي شامل الضريبة", net * Decimal("1.15"), "total_a")
    for index, line in enumerate(items):
        if index % page == 0:
            sheet.header(first=FIRST_HEADER_SPELLINGS[index // page % 3], height=2)
        texts = {
            "serial": str(index + 1),
            "repeat": str(index + 1),
            "item": line.description,
            "item_category": f"{line.section} {index + 1}",
            "specification": f"حسب المواصفات العامة للبند رقم {index + 1}. " * (30 if index == 2 else 1),
            "measure": line.unit,
        }
        if index == 4:
            texts |= {"mandatory": "نعم", "construction": "SA-4471"}
        sheet.line(texts, line, ("quantity_a", "price_a", "total_a"))
        if index == 5:
            sheet.beyond("هل السعر شامل التركيب؟")
    sheet.total_row("", net, "total_a")
    sheet.total_row("", net * Decimal("1.15"), "total_a")
    for _ in range(3):
        sheet.phantom("total_a")
    return with_macros(sheet.close())


def with_macros(data: bytes) -> bytes:
    """Add a member that looks like macros."""
    return with_member(data, "xl/vbaProject.bin", b"\xd0\xcf\x11\xe0 macros")


def with_member(data: bytes, name: str, content: bytes) -> bytes:
    """Add or replace a member of a package."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            if info.filename != name:
                target.writestr(info.filename, source.read(info))
        target.writestr(name, content)
    return out.getvalue()


def table(rows: list[list[object]], *, name: str = "BOQ", merges: tuple[str, ...] = (), formats: dict[str, str] | None = None) -> bytes:
    """Write rows as they are: text as text, numbers as numbers, `Formula` as a formula, None as nothing."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"created": MADE})
    sheet = book.add_worksheet(name)
    shown = {column: book.add_format({"num_format": text}) for column, text in (formats or {}).items()}
    for index, row in enumerate(rows):
        for column, cell in enumerate(row):
            _write(sheet, index, column, cell, shown.get(chr(65 + column)))
    for area in merges:
        first = area.split(":", maxsplit=1)[0]
        row, column = int(first[1:]) - 1, ord(first[0]) - 65
        sheet.merge_range(area, rows[row][column])
    book.close()
    return out.getvalue()


def _write(sheet: xlsxwriter.worksheet.Worksheet, row: int, column: int, cell: object, shown: object = None) -> None:
    if isinstance(cell, Formula):
        sheet.write_formula(row, column, cell.text, shown, "" if cell.value is None else float(cell.value))
    elif isinstance(cell, str):
        sheet.write_string(row, column, cell, shown)
    elif cell is not None:
        sheet.write_number(row, column, float(cell), shown)


def spell(value: Decimal, how: str) -> object:
    """Spell a number as a number, or as one of the texts people type."""
    if how == "number":
        return value
    text = f"{value.normalize():,f}" if how != "arabic" else f"{value.normalize():,f}".translate(str.maketrans("0123456789,.", "٠١٢٣٤٥٦٧٨٩٬٫"))
    return f"\u200f{text} ر.س" if how == "marked" else text


def stretch(text: str) -> str:
    """Put tatweel and harakat into Arabic words, as typists do to fill a cell."""
    return " ".join(word[:2] + "ـــ" + word[2:] if len(word) > 3 and "\u0600" < word[1] < "\u0700" else word for word in text.split(" "))


class _Sheet:
    def __init__(self, headers: dict[str, str], spelling: Spelling, left: int = 0, *, second_total: bool = False) -> None:
        self.out = io.BytesIO()
        self.book = xlsxwriter.Workbook(self.out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
        self.book.set_properties({"created": MADE})
        self.sheet = self.book.add_worksheet("جدول الكميات")
        self.headers, self.spelling, self.second_total = headers, spelling, second_total
        order = list(headers)
        if spelling.shuffle is not None:
            random.Random(spelling.shuffle).shuffle(order)  # noqa: S311 - an order, not a secret
        self.places = {name: left + index for index, name in enumerate(order)}
        self.row = spelling.top
        self.lines = 0
        self.sheet.right_to_left()
        for name in spelling.hidden_columns:
            self.sheet.set_column(self.places[name], self.places[name], None, None, {"hidden": True})

    def text(self, name: str) -> str:
        word = ENGLISH[name] if self.spelling.english else self.headers[name]
        return stretch(word) if self.spelling.tatweel and not self.spelling.english else word

    def header(self, first: str | None = None, height: int = 1) -> None:
        for position, (name, column) in enumerate(self.places.items()):
            text = first if first and position == 0 and not self.spelling.english and self.spelling.shuffle is None else self.text(name)
            self._head(column, text, height)
        if self.second_total:
            self._head(max(self.places.values()) + 1, self.text("total_a"), height)
        self.row += height

    def _head(self, column: int, text: str, height: int) -> None:
        if height > 1:
            self.sheet.merge_range(self.row, column, self.row + height - 1, column, text)
        else:
            self.sheet.write_string(self.row, column, text)

    def title(self, text: str) -> None:
        self.sheet.write_string(self.row, min(self.places.values()), text)
        self.row += 1

    def merged_title(self, text: str) -> None:
        self.sheet.merge_range(self.row, min(self.places.values()), self.row, max(self.places.values()), text)
        self.row += 1

    def line(self, texts: dict[str, str], line: Line, numbers: tuple[str, str, str]) -> None:
        for name, text in texts.items():
            self.sheet.write_string(self.row, self.places[name], text)
        quantity, price, amount = numbers
        how = self.spelling.numbers
        _write(self.sheet, self.row, self.places[quantity], spell(line.quantity, how))
        _write(self.sheet, self.row, self.places[price], spell(line.price, how))
        self._amount(amount, line.amount, f"=ROUND({self._name(quantity)}*{self._name(price)},2)")
        if self.lines in self.spelling.hidden_rows:
            self.sheet.set_row(self.row, None, None, {"hidden": True})
        self.lines += 1
        self.row += 1

    def _name(self, column: str) -> str:
        return f"{chr(65 + self.places[column])}{self.row + 1}"

    def _amount(self, column: str, value: Decimal, formula: str) -> None:
        how = self.spelling.formulas
        stored = {"stored": value, "missing": None, "zero": 0}
        cell = spell(value, self.spelling.numbers) if how == "plain" else Formula(formula, stored[how])
        _write(self.sheet, self.row, self.places[column], cell)

    def total_row(self, label: str, value: Decimal, amount: str) -> None:
        column = self.places[amount]
        if label:
            place = self.places.get("description", self.places.get("item", 0))
            self.sheet.write_string(self.row, place, label)
        self._amount(amount, value, f"=SUM({chr(65 + column)}2:{chr(65 + column)}3)")
        self.row += 1

    def beyond(self, text: str) -> None:
        self.sheet.write_string(self.row - 1, max(self.places.values()) + 4, text)

    def phantom(self, amount: str) -> None:
        stored = {"missing": None}.get(self.spelling.formulas, 0)
        _write(self.sheet, self.row, self.places[amount], Formula(f"=N{self.row + 1}*M{self.row + 1}", stored))
        self.row += 1

    def close(self) -> bytes:
        self.book.close()
        return self.out.getvalue()
