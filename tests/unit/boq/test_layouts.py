from __future__ import annotations

import pytest

from bills import Formula, Spelling, layout_a, layout_b, layout_c, lines, table, total
from noufal.boq._bill import Bill, read_bill

ITEMS = lines()
NET = int(total(ITEMS) * 100)
LAYOUTS = {"platform": layout_a, "sectioned": layout_b, "flat": layout_c}
SPELLINGS = {
    "plain": Spelling(),
    "english": Spelling(english=True),
    **{f"order {seed}": Spelling(shuffle=seed) for seed in range(12)},
    "thousands": Spelling(numbers="comma", formulas="plain"),
    "arabic digits": Spelling(numbers="arabic", formulas="plain"),
    "marks and currency": Spelling(numbers="marked", formulas="plain"),
    "no stored results": Spelling(formulas="missing"),
    "zero results": Spelling(formulas="zero"),
    "tatweel": Spelling(tatweel=True),
    "header at row 20": Spelling(top=19),
    "hidden rows": Spelling(hidden_rows=(3, 4, 17)),
    "much at once": Spelling(english=True, shuffle=3, numbers="marked", formulas="missing", top=19),
    "much else": Spelling(shuffle=5, numbers="arabic", formulas="zero", tatweel=True, top=40, hidden_rows=(0,)),
}


def codes(bill: Bill, kind: str) -> list[str]:
    return [finding.code for finding in getattr(bill, kind)]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_spelling_of_a_layout_gives_the_same_bill(layout: str, name: str) -> None:
    bill = read_bill(LAYOUTS[layout](ITEMS, SPELLINGS[name]), "مقايسة.xlsx")

    assert bill.errors == []
    assert bill.differences == []
    assert bill.net == NET
    assert bill.layout == layout
    assert [item.description for item in bill.items] == [line.description for line in ITEMS]
    assert [item.amount for item in bill.items] == [int(line.amount * 100) for line in ITEMS]
    assert [item.unit for item in bill.items] == [line.unit for line in ITEMS]
    assert [item.unit_code for item in bill.items][:7] == ["m3", "m3", "m2", "m2", "ton", "m", "no"]
    assert len(bill.sections) == 5
    assert [bill.sections[item.section].title.split(". ")[-1] for item in bill.items] == [line.section for line in ITEMS]
    assert set(codes(bill, "ignored_rows")) <= {"above_header"}
    assert bill.counts["ignored_rows"] == (2 if layout == "platform" else 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vat_and_stated_total(layout: str) -> None:
    bill = read_bill(LAYOUTS[layout](ITEMS), "a.xlsx", vat_rate_bp=1500)
    assert bill.gross == bill.net + bill.vat
    assert bill.stated_total == (None if layout == "flat" else NET)


def test_platform_details() -> None:
    bill = read_bill(layout_a(ITEMS), "a.xlsm")
    assert [item.code for item in bill.items] == [str(number) for number in range(1, 31)]
    assert [section.title for section in bill.sections] == list(dict.fromkeys(line.section for line in ITEMS))
    third, fifth, sixth = bill.items[2].note or "", bill.items[4].note or "", bill.items[5].note or ""
    assert len(third) > 1000
    assert "الرمز الإنشائي: SA-4471" in fifth
    assert "منتج من القائمة الإلزامية: نعم" in fifth
    assert sixth.endswith("هل السعر شامل التركيب؟")
    warnings = {finding.code: finding for finding in bill.warnings}
    assert set(warnings) == {"macros", "hidden_columns"}
    assert "ماكرو" in warnings["macros"].message_ar
    assert "G, J, K" in warnings["hidden_columns"].message_en
    assert [use.column for use in bill.columns if use.field == "amount"] == ["O"]


def test_hidden_rows_are_imported_and_said() -> None:
    bill = read_bill(layout_b(ITEMS, Spelling(hidden_rows=(3, 4))), "a.xlsx")
    (warning,) = bill.warnings
    assert warning.code == "hidden_rows"
    assert "6, 7" in warning.message_en
    assert "مخفية" in warning.message_ar


def test_computed_totals_are_said() -> None:
    (warning,) = read_bill(layout_c(ITEMS, Spelling(formulas="missing")), "a.xlsx").warnings
    assert (warning.code, warning.column) == ("totals_computed", "F")


HEAD = ["رقم البند", "وصف البند", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي"]
ONE = ["1.1", "حفر", "م³", 10, 45, 450]
TWO = ["1.2", "ردم", "م³", 2.5, 30.25, 75.63]


def test_sections_without_merged_cells() -> None:
    bill = read_bill(table([HEAD, ["1", "أعمال الحفر"], ONE, [None, "أعمال الردم"], TWO]), "a.xlsx")
    assert [(section.code, section.title) for section in bill.sections] == [("1", "أعمال الحفر"), (None, "أعمال الردم")]
    assert [item.section for item in bill.items] == [0, 1]


def test_header_repeated_in_other_words_and_languages() -> None:
    english = ["Item", "Description", "Unit", "Qty", "Rate", "Amount"]
    numbers = [1, 2, 3, 4, 5, 6]
    bill = read_bill(table([HEAD, numbers, ONE, english, TWO, ["بند", *HEAD[1:]], ["1.3", "نقل", "م³", 1, 1, 1]]), "a.xlsx")
    assert len(bill.items) == 3
    assert bill.counts == {"differences": 0, "ignored_rows": 0, "warnings": 0, "errors": 0}


@pytest.mark.parametrize(
    "headers",
    [
        ["Item", "Description", "Unit", "Qty", "Rate", "Amount"],
        ["S/N", "Description of Works", "UOM", "Quantity", "Unit Rate (SAR)", "Total Price (SAR)"],
        ["م", "بيان الأعمال", "الوحدة", "الكمية", "السعر الإفرادي (ريال)", "السعر الإجمالي (ريال)"],
        ["Item No. / رقم البند", "الوصف / Description", "Unit / الوحدة", "Qty\nالكمية", "Unit Price سعر الوحدة", "Total الإجمالي"],
        ["#", "البيان:", "وحدة القياس", "الكميات", "الفئة", "القيمة"],
        ["البند", "الوصف", "الوحدة", "الكمية", "السعر", "المبلغ"],
    ],
)
def test_header_variants(headers: list[object]) -> None:
    bill = read_bill(table([headers, ONE, TWO]), "a.xlsx")
    assert [use.field for use in bill.columns] == ["code", "description", "unit", "quantity", "unit_price", "amount"]
    assert bill.net == 52_563


def test_subtotals_and_grand_totals_are_recognised() -> None:
    rows = [
        HEAD,
        ["1", "أعمال الحفر"],
        ONE,
        [None, "إجمالي أعمال الحفر", None, None, None, 450],
        ["2", "أعمال الردم"],
        TWO,
        [None, "المجموع", None, None, None, 75.63],
        [None, "الإجمالي الكلي", None, None, None, 525.63],
        [None, "ضريبة القيمة المضافة 15%", None, None, None, 78.84],
        [None, "الإجمالي شامل الضريبة", None, None, None, 604.47],
    ]
    bill = read_bill(table(rows), "a.xlsx")
    assert (bill.net, bill.vat, bill.gross, bill.stated_total) == (52_563, 7_884, 60_447, 52_563)
    assert bill.counts == {"differences": 0, "ignored_rows": 0, "warnings": 0, "errors": 0}


def test_wrong_subtotal_and_total_are_differences() -> None:
    rows = [HEAD, ONE, [None, "مجموع الباب", None, None, None, 451], TWO, [None, "الإجمالي العام", None, None, None, 999]]
    bill = read_bill(table(rows), "a.xlsx")
    subtotal, grand = bill.differences
    assert (subtotal.code, subtotal.row, subtotal.column) == ("subtotal_mismatch", 3, "F")
    assert (grand.code, grand.row, grand.column) == ("stated_total_mismatch", 5, "F")
    assert "525.63" in grand.message_ar
    assert "604.47" in grand.message_en
    assert bill.stated_total == 99_900


def test_wrong_line_total_is_a_difference_and_the_product_counts() -> None:
    bill = read_bill(table([HEAD, [*ONE[:5], 540], TWO]), "a.xlsx")
    (difference,) = bill.differences
    assert (difference.sheet, difference.row, difference.column, difference.code) == ("BOQ", 2, "F", "total_mismatch")
    assert "450.00" in difference.message_en
    assert "540.00" in difference.message_ar
    assert bill.net == 52_563
    assert bill.errors == []


def test_unrounded_line_formulas_are_no_difference() -> None:
    rows = [HEAD, ["1", "حفر", "م³", 12.345, 7.77, Formula("=D2*E2", 12.345 * 7.77)], ["2", "ردم", "م³", 0.333, 3.33, Formula("=D3*E3", 1.10889)]]
    bill = read_bill(table([*rows, [None, "الإجمالي", None, None, None, Formula("=SUM(F2:F3)", 12.345 * 7.77 + 1.10889)]]), "a.xlsx")
    assert bill.differences == []
    assert bill.net == 9592 + 111


def test_notes_and_text_after_the_items_are_listed() -> None:
    rows = [["مشروع فيلا"], HEAD, [None, "ملاحظة: الأسعار شاملة النقل"], ONE, [], [None, "توقيع المقاول"]]
    bill = read_bill(table(rows), "a.xlsx")
    assert [(finding.code, finding.row) for finding in bill.ignored_rows] == [("above_header", 1), ("note_row", 3), ("text_after_items", 6)]
    assert all("«" in finding.message_ar and "“" in finding.message_en for finding in bill.ignored_rows)
    assert [section.title for section in bill.sections] == ["BOQ"]


def test_rate_only_lump_sum_and_derived_price() -> None:
    rows = [
        HEAD,
        ["1", "سعر احتياطي", "م³", "-", 45, None],
        ["2", "أعمال مؤقتة", "مقطوعية", None, None, 12000],
        ["3", "نقل", "م³", 4, None, 50],
        ["4", "بند بلا سعر", "م³", 4, None, None],
    ]
    bill = read_bill(table(rows), "a.xlsx")
    assert [(item.quantity, item.unit_price, item.amount, item.rate_only) for item in bill.items] == [
        (0, 450_000, 0, True),
        (1_000_000, 120_000_000, 1_200_000, False),
        (4_000_000, 125_000, 5_000, False),
        (4_000_000, 0, 0, False),
    ]
    assert codes(bill, "warnings") == ["rate_only", "lump_sum_assumed", "price_derived", "missing_price"]
    assert bill.errors == []


def test_repeated_descriptions_are_fine() -> None:
    bill = read_bill(table([HEAD, ONE, ["1.2", *ONE[1:]]]), "a.xlsx")
    assert len(bill.items) == 2
    assert bill.errors == []


def test_codes_stay_text() -> None:
    rows = [HEAD, [1.1, *ONE[1:]], [1.1, *TWO[1:]], ["1.20", *ONE[1:]]]
    data = table(rows)
    bill = read_bill(data, "a.xlsx")
    assert [item.code for item in bill.items] == ["1.1", "1.1", "1.20"]
    shown = read_bill(table([HEAD, [1.1, *ONE[1:]], [2, *TWO[1:]]], formats={"A": "0.00"}), "a.xlsx")
    assert [item.code for item in shown.items] == ["1.10", "2.00"]
    plain = read_bill(table([HEAD, [1.1, *ONE[1:]], [2, *TWO[1:]]]), "a.xlsx")
    assert [item.code for item in plain.items] == ["1.1", "2"]


def test_numbering_that_restarts_in_every_section() -> None:
    rows = [HEAD, [None, "أعمال الحفر"], ["1", *ONE[1:]], ["2", *TWO[1:]], [None, "أعمال الردم"], ["1", *ONE[1:]]]
    bill = read_bill(table(rows), "a.xlsx")
    assert [item.code for item in bill.items] == ["1-1", "1-2", "2-1"]
    assert codes(bill, "warnings") == ["codes_restart"]
    assert bill.errors == []


def test_items_without_codes_are_numbered() -> None:
    bill = read_bill(table([HEAD[1:], ONE[1:], TWO[1:]]), "a.xlsx")
    assert [item.code for item in bill.items] == ["1", "2"]
    assert codes(bill, "warnings") == ["no_code_column"]
    blank = read_bill(table([HEAD, ["2", *ONE[1:]], [None, *TWO[1:]]]), "a.xlsx")
    assert [item.code for item in blank.items] == ["2", "3"]
    assert codes(blank, "warnings") == ["missing_code"]


def test_unknown_unit_is_a_warning() -> None:
    bill = read_bill(table([HEAD, ["1", "زيت", "برميل", 1, 2, 2]]), "a.xlsx")
    assert bill.items[0].unit_code is None
    assert [(finding.code, finding.row, finding.column) for finding in bill.warnings] == [("unknown_unit", 2, "C")]
    assert "برميل" in bill.warnings[0].message_ar


def test_multi_line_cells() -> None:
    bill = read_bill(table([HEAD, ["1", "خرسانة\nمسلحة", "م³", 1, 2, 2]]), "a.xlsx")
    assert bill.items[0].description == "خرسانة\nمسلحة"


def test_many_pages() -> None:
    bill = read_bill(layout_a(lines(100, 7), page=9), "a.xlsx")
    assert len(bill.items) == 100
    assert len(bill.sections) == 7


def test_short_repeated_descriptions_with_numbers_are_descriptions() -> None:
    rows = [[str(number), f"مرحلة {number % 3}", "م³", 1, 1, 1] for number in range(12)]
    bill = read_bill(table([HEAD, *rows]), "a.xlsx")
    assert [item.description for item in bill.items] == [row[1] for row in rows]


def test_header_of_two_rows() -> None:
    head = ["م", "بيان الأعمال", "الوحدة", "الكمية", "سعر الوحدة", None, "الإجمالي"]
    divided = [None, None, None, None, "رقمًا", "كتابة", None]
    item = ["1", "حفر", "م³", 10, 45, "خمسة وأربعون ريالًا", 450]
    total_row = [None, None, None, None, None, "الإجمالي", 450]
    bill = read_bill(table([head, divided, item, total_row], merges=("E1:F1",)), "a.xlsx")
    assert (bill.net, bill.stated_total) == (45_000, 45_000)
    assert bill.counts == {"differences": 0, "ignored_rows": 0, "warnings": 0, "errors": 0}


def test_halalas_in_a_column_of_their_own_are_refused() -> None:
    head = ["م", "بيان الأعمال", "الوحدة", "الكمية", "السعر", None]
    bill = read_bill(table([head, [None, None, None, None, "ريال", "هللة"], ["1", "حفر", "م³", 10, 45, 50]], merges=("E1:F1",)), "a.xlsx")
    (error,) = bill.errors
    assert (error.code, error.row, error.column) == ("split_amounts", 2, "F")
    assert "هللات" in error.message_ar


def test_summary_below_the_bill_is_not_imported_twice() -> None:
    rows = [HEAD, ONE, TWO, ["ملخص المقايسة"], ["1", "أعمال الحفر", None, None, None, 525.63], [None, "الإجمالي", None, None, None, 525.63]]
    bill = read_bill(table(rows), "a.xlsx")
    assert [item.code for item in bill.items] == ["1.1", "1.2"]
    assert (bill.net, bill.stated_total, bill.differences) == (52_563, 52_563, [])


def test_heading_with_the_sum_of_its_items() -> None:
    rows = [HEAD, ["1", "أعمال الحفر", None, None, None, 525.63], ONE, TWO, ["2", "رخصة البلدية", None, None, None, 1000]]
    bill = read_bill(table(rows), "a.xlsx")
    assert [section.title for section in bill.sections] == ["أعمال الحفر"]
    assert [(item.code, item.amount) for item in bill.items] == [("1.1", 45_000), ("1.2", 7_563), ("2", 100_000)]
    assert codes(bill, "warnings") == ["lump_sum_assumed", "missing_unit"]


def test_collection_row_without_label_of_a_total() -> None:
    bill = read_bill(table([HEAD, ONE, TWO, [None, "ينقل إلى الصفحة التالية", None, None, None, 525.63], ["1.3", *ONE[1:]]]), "a.xlsx")
    assert len(bill.items) == 3
    assert bill.net == 97_563
    assert bill.differences == []


def test_notes_between_merged_section_titles() -> None:
    rows = [HEAD, ["أعمال الحفر"], ONE, [None, "يشمل النقل إلى خارج الموقع"], TWO]
    bill = read_bill(table(rows, merges=("A2:F2",)), "a.xlsx")
    assert [section.title for section in bill.sections] == ["أعمال الحفر"]
    assert [item.section for item in bill.items] == [0, 0]
    assert codes(bill, "ignored_rows") == ["note_row"]


PLATFORM = ["الرقم التسلسلي", "الفئة", "البند", "وصف البند", "المواصفات", "وحدة القياس", "الكمية", "سعر الوحدة", "الإجمالي"]


def test_platform_with_categories_in_rows_of_their_own() -> None:
    rows = [
        PLATFORM,
        [None, None, "أعمال الحفر"],
        ["1", "1", "حفر القواعد", None, "حسب الكود", "م3", 10, 45, 450],
        [None, None, "أعمال الردم"],
        ["2", "2", "ردم حول القواعد", None, None, "م3", 10, 45, 450],
    ]
    bill = read_bill(table(rows), "a.xlsx")
    assert bill.layout == "platform"
    assert [section.title for section in bill.sections] == ["أعمال الحفر", "أعمال الردم"]
    assert [(item.section, item.description, item.note) for item in bill.items] == [
        (0, "حفر القواعد", "حسب الكود"),
        (1, "ردم حول القواعد", None),
    ]
    assert bill.counts["ignored_rows"] == 0


def test_platform_whose_description_describes() -> None:
    works = ["توريد وصب خرسانة عادية", "توريد وتركيب بلوك", "دهان الجدران الداخلية", "تركيب أبواب خشبية", "نقل المخلفات"]
    rows = [[str(n), str(n), f"بند {work}", work, "حسب الكود", "م2", 1, 2, 2] for n, work in enumerate(works, 1)]
    bill = read_bill(table([PLATFORM, *rows]), "a.xlsx")
    assert len(bill.sections) == 1
    assert [item.note for item in bill.items] == [f"{work}\nحسب الكود" for work in works]


def test_missing_serial_numbers_of_a_platform_bill_are_said() -> None:
    rows = [[str(n), str(n), f"بند {n}", f"أعمال {n}", None, "م2", 1, 2, 2] for n in (1, 2, 5, 6)]
    (warning,) = read_bill(table([PLATFORM, *rows]), "a.xlsx").warnings
    assert (warning.code, warning.column) == ("serial_gaps", "A")
    assert "3, 4" in warning.message_ar
