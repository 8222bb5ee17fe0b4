from __future__ import annotations

import contextlib
import io
import zipfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bills import layout_a, lines, table, with_member
from noufal.boq._bill import UnreadableWorkbook, read_bill
from noufal.boq._numbers import line_amount

HEAD = ["رقم البند", "وصف البند", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي"]
WORKBOOK = layout_a(lines(20, 3))
MEMBERS = [name for name in zipfile.ZipFile(io.BytesIO(WORKBOOK)).namelist() if name.endswith((".xml", ".rels"))]
CELLS = st.sampled_from(
    [
        "",
        None,
        "1",
        "2",
        "-",
        "حفر",
        "أعمال الحفر",
        "م3",
        10,
        1.5,
        "1,5",
        "الإجمالي",
        "المجموع",
        "الكمية",
        "\u200f12",
        "ملاحظة: شامل",
        "#REF!",
        -1,
        1e15,
        "ملخص",
    ]
)
ROWS = st.lists(st.lists(CELLS, max_size=8), max_size=12)
CALM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@CALM
@given(ROWS)
def test_no_row_is_lost_without_a_word(rows: list[list[object]]) -> None:
    bill = read_bill(table([HEAD, *rows]), "a.xlsx")
    assert bill.net == sum(item.amount for item in bill.items)
    assert bill.gross == bill.net + bill.vat
    assert [item.position for item in bill.items] == list(range(1, len(bill.items) + 1))
    assert all(item.amount == line_amount(item.quantity, item.unit_price) >= 0 for item in bill.items)
    assert all(0 <= item.section < len(bill.sections) for item in bill.items)
    assert {item.row for item in bill.items}.isdisjoint(finding.row for finding in bill.ignored_rows)
    counted = {"errors": bill.errors, "differences": bill.differences, "warnings": bill.warnings, "ignored_rows": bill.ignored_rows}
    assert bill.counts == {name: len(found) for name, found in counted.items()}
    assert bill.items or bill.errors


@CALM
@given(ROWS, st.sampled_from([",", ";", "\t"]))
def test_any_text_reads_or_is_refused_with_a_reason(rows: list[list[object]], delimiter: str) -> None:
    text = "\n".join(delimiter.join("" if cell is None else str(cell) for cell in row) for row in [HEAD, *rows])
    with contextlib.suppress(UnreadableWorkbook):
        assert read_bill(text.encode(), "a.csv").sheet == "CSV"


@CALM
@given(st.lists(st.tuples(st.integers(0, len(WORKBOOK) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_file_reads_or_is_refused_with_a_reason(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WORKBOOK)
    for place, value in changes:
        data[place] = value
    with contextlib.suppress(UnreadableWorkbook):
        read_bill(bytes(data), "a.xlsx")


@CALM
@given(st.sampled_from(MEMBERS), st.floats(0, 1, exclude_max=True), st.integers(0, 30), st.binary(max_size=20))
def test_a_damaged_member_reads_or_is_refused_with_a_reason(name: str, share: float, gone: int, put: bytes) -> None:
    content = zipfile.ZipFile(io.BytesIO(WORKBOOK)).read(name)
    place = int(share * len(content))
    with contextlib.suppress(UnreadableWorkbook):
        read_bill(with_member(WORKBOOK, name, content[:place] + put + content[place + gone :]), "a.xlsx")
