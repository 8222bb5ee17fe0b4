from __future__ import annotations

import io
from datetime import date

import pytest
import xlsxwriter

from bills import Formula, Spelling, layout_b, lines, table
from noufal.boq._bill import Bill, Finding, read_bill
from noufal.boq._findings import MESSAGES

HEAD = ["رقم البند", "وصف البند", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي"]
GOOD = ["1", "حفر", "م³", 10, 45, 450]


def read(*rows: list[object]) -> Bill:
    return read_bill(table([HEAD, *rows]), "مقايسة.xlsx")


def only_error(*rows: list[object]) -> Finding:
    bill = read(*rows)
    assert bill.counts["errors"] == len(bill.errors) == 1, bill.errors
    return bill.errors[0]


@pytest.mark.parametrize(
    ("row", "code", "column", "english", "arabic"),
    [
        (["2", "ردم", "م³", "عشرة", 45], "not_a_number", "D", "Quantity must be a number", "الكمية: يجب أن تكون رقمًا"),
        (["2", "ردم", "م³", 10, "خمسة"], "not_a_number", "E", "“خمسة”", "«خمسة»"),
        (["2", "ردم", "م³", 10, 45, "كثير"], "not_a_number", "F", "Total must be", "الإجمالي"),
        (["2", "ردم", None, "عشرة", None], "not_a_number", "D", "Quantity", "الكمية"),
        (["2", "ردم", "م³", "1,5", 45], "ambiguous_number", "D", "two ways", "بوجهين"),
        (["2", "ردم", "م³", 10, "١٬٥"], "ambiguous_number", "E", "1.5", "بنقطة للكسور"),
        (["2", "خصم", "م³", -10, 45], "negative_number", "D", "negative (-10)", "سالبة"),
        (["2", "خصم", "م³", 10, "(45)"], "negative_number", "E", "negative", "سالبة"),
        (["2", "خصم", None, None, None, -1], "negative_number", "F", "Total is negative (-1", "سالب"),
        (["2", "ردم", "م³", 1.5e9, 1], "number_too_large", "D", "too large", "أكبر من المعقول"),
        (["2", "ردم", "م³", 1e9, 1001], "number_too_large", "F", "too large", "أكبر من المعقول"),
        (["2", "ردم", "م³", 1, 2e12], "number_too_large", "E", "2000000000000", "أكبر من المعقول"),
        (["2", "ردم", "م³", 10, 33.33333], "too_many_decimals", "E", "more than 4 decimals", "أكثر من 4 منازل"),
        (["2", "ردم", "م³", 0.1234567, 1], "too_many_decimals", "D", "more than 6 decimals", "أكثر من 6 منازل"),
        (["2", None, "م³", 10, 45], "missing_description", "B", "no description", "بلا وصف"),
        (["1", "ردم", "م³", 10, 45], "duplicate_code", "A", "already used in row 2", "مستخدم من قبل في الصف 2"),
        (["2", "ردم", "م³", Formula("=A1*2", None), 45], "formula_without_value", "D", "not stored", "لم تُحفظ نتيجتها"),
        (["2", "ردم", "م³", 10, Formula("=A1*2", None)], "formula_without_value", "E", "save it again", "واحفظه من جديد"),
        (["2", "ردم", "م³", 3, None, 10], "price_not_derivable", "F", "divided by the quantity", "قسمة الإجمالي"),
    ],
)
def test_errors_block_and_name_the_cell(row: list[object], code: str, column: str, english: str, arabic: str) -> None:
    error = only_error(GOOD, row)
    assert (error.sheet, error.row, error.column, error.code) == ("BOQ", 3, column, code)
    assert english in error.message_en
    assert arabic in error.message_ar


def test_a_line_with_an_unreadable_number_is_not_summed() -> None:
    bill = read(GOOD, ["2", "ردم", "م³", "1,5", 45, 67.5])
    assert [item.code for item in bill.items] == ["1"]
    assert bill.net == 45_000


def test_error_cell_of_a_spreadsheet() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = book.add_worksheet("BOQ")
    sheet.write_row(0, 0, HEAD)
    sheet.write_row(1, 0, ["1", "حفر", "م³"])
    sheet.write_formula(1, 3, "=1/0", None, "#DIV/0!")
    sheet.write_number(1, 4, 45)
    book.close()
    (error,) = read_bill(out.getvalue(), "a.xlsx").errors
    assert (error.code, error.column) == ("not_a_number", "D")
    assert "#DIV/0!" in error.message_ar


def test_date_where_a_number_belongs_and_date_as_code() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "default_date_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet("BOQ")
    sheet.write_row(0, 0, HEAD)
    sheet.write_datetime(1, 0, date(2026, 1, 2))
    sheet.write_row(1, 1, ["حفر", "م³", 10, 45])
    sheet.write_row(2, 0, ["2", "ردم", "م³"])
    sheet.write_datetime(2, 3, date(2026, 1, 2))
    sheet.write_number(2, 4, 45)
    book.close()
    bill = read_bill(out.getvalue(), "a.xlsx")
    assert [(error.code, error.row, error.column) for error in bill.errors] == [("not_a_number", 3, "D")]
    assert [(warning.code, warning.row) for warning in bill.warnings] == [("code_is_a_date", 2)]
    assert bill.items[0].code == "2026-01-02"


def test_no_items() -> None:
    error = only_error()
    assert (error.code, error.row) == ("no_items", 1)
    assert "لم يُعثر على أي بند" in error.message_ar


def test_all_errors_are_reported_at_once_and_lists_are_bounded() -> None:
    bill = read(*([str(number), "ردم", "م³", "?", 45] for number in range(700)))
    assert bill.counts["errors"] == 700
    assert len(bill.errors) == 500
    assert bill.errors[499].row == 501


def test_duplicate_codes_across_sections_are_errors_unless_numbering_restarts() -> None:
    rows = [[None, "أعمال الحفر"], ["1", *GOOD[1:]], ["2", *GOOD[1:]], [None, "أعمال الردم"], ["2", *GOOD[1:]], ["3", *GOOD[1:]]]
    error = only_error(*rows)
    assert (error.code, error.row) == ("duplicate_code", 6)
    assert "row 4" in error.message_en


def test_a_bill_of_generated_lines_with_one_fault_has_one_error() -> None:
    items = lines(200, 6)
    assert read_bill(layout_b(items, Spelling(formulas="plain")), "a.xlsx").errors == []


@pytest.mark.parametrize("code", MESSAGES)
def test_every_message_stands_in_both_languages_with_the_same_places(code: str) -> None:
    english, arabic = MESSAGES[code]
    assert english.isascii() or "“" in english or "×" in english or "÷" in english
    assert any("\u0600" <= letter <= "\u06ff" for letter in arabic)

    def places(text: str) -> set[str]:
        return {part.partition("}")[0].removesuffix("_en").removesuffix("_ar") for part in text.split("{")[1:]}

    assert places(english) == places(arabic)
