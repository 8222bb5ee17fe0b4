from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
import python_calamine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bills import Spelling, layout_a, layout_b, layout_c, lines
from noufal.boq._bill import Bill, read_bill
from noufal.boq._export import ExportRow, ExportSection, Language, write_bill
from noufal.boq._numbers import canonical_unit, line_amount
from noufal.boq._workbook import Limits, open_workbook

LANGUAGES: list[Language] = ["ar", "en"]
SECTIONS = [ExportSection("1", "1. أعمال الحفر"), ExportSection("B", "أعمال الخرسانة")]
ROWS = [
    ExportRow(0, "1.10", "حفر حتى منسوب التأسيس", None, "م³", 12_500_000, 453_500, 56_688, rate_only=False, progress=333_300),
    ExportRow(1, "2.1", "=1+1", "@ملاحظة\nسطر ثان", "م²", 1, 1, 0, rate_only=False, progress=0),
    ExportRow(1, "2.2", "+5 http://example.com", "-", "عدد", 0, 90_000, 0, rate_only=True, progress=1_000_000),
]


def export(sections: list[ExportSection], rows: list[ExportRow], language: Language = "ar", *, show_prices: bool = True) -> bytes:
    out = io.BytesIO()
    write_bill(
        out,
        title="فيلا & مسبح",
        sheet_name="مقايسة: فيلا",
        language=language,
        sections=sections,
        rows=rows,
        vat_rate_bp=1500,
        show_prices=show_prices,
    )
    return out.getvalue()


def export_of(bill: Bill, language: Language = "ar") -> bytes:
    rows = [
        ExportRow(
            item.section, item.code, item.description, item.note, item.unit, item.quantity, item.unit_price, item.amount, item.rate_only, 500_000
        )
        for item in bill.items
    ]
    return export([ExportSection(section.code, section.title) for section in bill.sections], rows, language)


def substance(bill: Bill) -> tuple[object, ...]:
    items = [
        (i.position, i.section, i.code, i.description, i.note, i.unit, i.unit_code, i.quantity, i.unit_price, i.amount, i.rate_only)
        for i in bill.items
    ]
    return items, [(s.position, s.code, s.title) for s in bill.sections], bill.net, bill.vat, bill.gross


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("layout", [layout_a, layout_b, layout_c])
def test_export_of_an_import_reads_back_identical(layout: object, language: Language) -> None:
    bill = read_bill(layout(lines(60, 6), Spelling()), "a.xlsx")  # type: ignore[operator]
    again = read_bill(export_of(bill, language), "b.xlsx")
    assert substance(again) == substance(bill)
    assert again.stated_total == bill.net
    assert again.counts == {"differences": 0, "ignored_rows": 0, "warnings": 0, "errors": 0}


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn", "Cf", "Zl", "Zp"]), min_size=1, max_size=40)
TEXTS = WORDS.map(lambda text: f"بند {text}".strip())
UNITS = st.sampled_from(["م²", "م³", "عدد", "طن", "م.ط", "مقطوعية", "برميل"])


@st.composite
def bills(draw: st.DrawFn) -> tuple[list[ExportSection], list[ExportRow]]:
    count = draw(st.integers(1, 4))
    sections = [ExportSection(None, f"أعمال {draw(WORDS).strip()} {index}".replace("  ", " ")) for index in range(count)]
    rows = []
    for number in range(draw(st.integers(count, 12))):
        quantity = draw(st.integers(1, 10**9 * 10**6) if number % 2 else st.integers(1, 10**9))
        price = draw(st.integers(0, 10**7))
        section = min(number, count - 1) if draw(st.booleans()) or number < count else draw(st.integers(0, count - 1))
        note = draw(st.none() | TEXTS)
        rows.append(
            ExportRow(
                section,
                f"{number}.{number}",
                draw(TEXTS),
                note,
                draw(UNITS),
                quantity,
                price,
                line_amount(quantity, price),
                rate_only=False,
                progress=0,
            )
        )
    return sections, rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bills(), st.sampled_from(LANGUAGES))
def test_any_bill_reads_back_identical(made: tuple[list[ExportSection], list[ExportRow]], language: Language) -> None:
    sections, rows = made
    bill = read_bill(export(sections, rows, language), "a.xlsx")
    assert bill.errors == []
    assert bill.differences == []
    read = [(bill.sections[i.section].title, i.code, i.description, i.note, i.unit, i.quantity, i.unit_price, i.amount) for i in bill.items]
    assert read == [(sections[r.section].title, r.code, r.description, r.note, r.unit, r.quantity, r.unit_price, r.amount) for r in rows]
    assert bill.net == sum(row.amount for row in rows)
    assert [item.unit_code for item in bill.items] == [canonical_unit(row.unit) for row in rows]


def test_header_totals_direction_and_names() -> None:
    data = export(SECTIONS, ROWS)
    sheet = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0)
    cells = sheet.to_python(skip_empty_area=False)
    assert sheet.name == "مقايسة  فيلا"
    assert cells[0] == ["رقم البند", "وصف البند", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي", "نسبة الإنجاز", "ملاحظات"]
    assert cells[1][0] == "1. أعمال الحفر"
    assert cells[2][:7] == ["1.10", "حفر حتى منسوب التأسيس", "م³", 12.5, 45.35, 566.88, 0.3333]
    assert cells[3][:2] == ["B", "أعمال الخرسانة"]
    assert [(row[0], row[5]) for row in cells[-3:]] == [
        ("الإجمالي قبل الضريبة", 566.88),
        ("ضريبة القيمة المضافة 15%", 85.03),
        ("الإجمالي شامل الضريبة", 651.91),
    ]
    assert len(cells) == 1 + 2 + 3 + 3
    assert ((1, 0), (1, 7)) in (sheet.merged_cell_ranges or [])
    assert b'rightToLeft="1"' in member(data, "xl/worksheets/sheet1.xml")
    assert b"rightToLeft" not in member(export(SECTIONS, ROWS, "en"), "xl/worksheets/sheet1.xml")


def member(data: bytes, path: str) -> bytes:
    import zipfile

    return zipfile.ZipFile(io.BytesIO(data)).read(path)


def test_texts_never_become_formulas_or_links() -> None:
    data = export(SECTIONS, ROWS)
    xml = member(data, "xl/worksheets/sheet1.xml").decode()
    assert "<f>1+1</f>" not in xml
    assert "hyperlink" not in xml
    bill = read_bill(data, "a.xlsx")
    assert [item.description for item in bill.items] == [row.description for row in ROWS]
    assert [item.note for item in bill.items] == [None, "@ملاحظة\nسطر ثان", "-"]
    assert [item.rate_only for item in bill.items] == [False, False, True]
    assert [(section.code, section.title) for section in bill.sections] == [("1", "1. أعمال الحفر"), ("B", "أعمال الخرسانة")]


def test_line_totals_are_formulas_with_stored_results() -> None:
    grid = open_workbook(export(SECTIONS, ROWS), Limits())
    facts = grid.load(grid.names[0]).facts
    assert facts.blank_formulas == set()
    assert b"<f>ROUND(D3*E3,2)</f>" in member(export(SECTIONS, ROWS), "xl/worksheets/sheet1.xml")


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_prices_no_amount_leaves(language: Language) -> None:
    data = export(SECTIONS, ROWS, language, show_prices=False)
    cells = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python(skip_empty_area=False)
    numbers = {cell for row in cells for cell in row if isinstance(cell, float)}
    assert numbers == {12.5, 0.3333, 1e-6, 0.0, 1.0}
    assert len(cells[0]) == 6
    assert len(cells) == 1 + 2 + 3
    bill = read_bill(data, "a.xlsx")
    assert bill.warnings[0].code == "no_price_column"
    assert bill.net == 0


def test_interleaved_sections_keep_the_order_of_rows() -> None:
    rows = [ExportRow(place % 2, str(place), f"بند {place}", None, "عدد", 10**6, 10**4, 100, rate_only=False, progress=0) for place in range(6)]
    bill = read_bill(export(SECTIONS, rows), "a.xlsx")
    assert bill.layout == "flat"
    assert [item.code for item in bill.items] == ["0", "1", "2", "3", "4", "5"]
    assert [item.section for item in bill.items] == [0, 1, 0, 1, 0, 1]


def test_a_path_and_an_empty_bill(tmp_path: Path) -> None:
    path = tmp_path / "bill.xlsx"
    write_bill(path, title="", sheet_name="[]:", language="en", sections=[], rows=[], vat_rate_bp=1500, show_prices=True)
    bill = read_bill(path, "bill.xlsx")
    assert [error.code for error in bill.errors] == ["no_items"]
    assert bill.sheet == "BOQ"


def test_amounts_stay_exact_over_many_lines() -> None:
    rows = [
        ExportRow(0, str(n), "بند", None, "م²", 333_333 + n, 33_333, line_amount(333_333 + n, 33_333), rate_only=False, progress=0)
        for n in range(1, 2000)
    ]
    bill = read_bill(export(SECTIONS[:1], rows), "a.xlsx")
    assert bill.net == sum(row.amount for row in rows)
    assert Decimal(bill.stated_total or 0) == bill.net
