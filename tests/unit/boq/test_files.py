from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
import xlsxwriter

from bills import layout_b, lines, table, total, with_macros, with_member
from noufal.boq._bill import Limits, UnreadableWorkbook, read_bill

HEAD = ["رقم البند", "وصف البند", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي"]
ROWS = [["1.1", "حفر وإزالة تربة", "م³", "250", "45", "11250"], ["1.10", "ردم", "م³", "1,180.5", "35", "41317.5"]]
NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
GOOD = table([HEAD, ["1", "حفر", "م³", 10, 45, 450]])


def sheet_xml(row: str, reference: str, value: str = "1", head: str = "") -> bytes:
    cells = f'<row r="{row}"><c r="{reference}" t="str"><v>{value}</v></c></row>'
    return f'{head}<worksheet xmlns="{NAMESPACE}"><sheetData>{cells}</sheetData></worksheet>'.encode()


def refusal(data: bytes, name: str = "a.xlsx", limits: Limits | None = None) -> UnreadableWorkbook:
    with pytest.raises(UnreadableWorkbook) as caught:
        read_bill(data, name, limits=limits)
    error = caught.value
    for text in (error.message_ar, error.hint_ar):
        assert any("\u0600" <= letter <= "\u06ff" for letter in text)
    assert error.message_en
    assert error.hint_en
    assert "{" not in error.message_en + error.message_ar
    return error


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0", b"%PDF-1.7 \n", b"<html><table><tr><td>1</td></tr></table>", b"\x00\x01\x02\x03"])
def test_other_files_are_refused(data: bytes) -> None:
    assert refusal(data).code == "not_a_workbook"


def test_other_packages_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as package:
        package.writestr("word/document.xml", "<w/>")
    assert refusal(out.getvalue()).code == "not_a_workbook"


@pytest.mark.parametrize("data", [b"PK\x03\x04 but not a package", GOOD[:-400], GOOD[: len(GOOD) // 2]])
def test_damaged_packages_are_refused(data: bytes) -> None:
    assert refusal(data).code == "damaged"


def test_damaged_members_are_refused() -> None:
    assert refusal(with_member(GOOD, "xl/worksheets/sheet1.xml", b"<worksheet><sheetData><row")).code == "damaged"
    assert refusal(with_member(GOOD, "xl/workbook.xml", b"not xml")).code == "damaged"


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf", table([])])
def test_empty_files_are_refused(data: bytes) -> None:
    assert refusal(data).code == "empty"


def test_protected_workbooks_are_refused() -> None:
    compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000) + "EncryptedPackage".encode("utf-16-le") + bytes(1000)
    error = refusal(compound)
    assert error.code == "encrypted"
    assert "كلمة مرور" in error.message_ar


def test_damaged_old_workbooks_are_refused() -> None:
    assert refusal(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "a.xls").code == "damaged"


def test_file_size_limit_counts_for_bytes_paths_and_streams(tmp_path: Path) -> None:
    limits = Limits(file_bytes=1000)
    path = tmp_path / "a.xlsx"
    path.write_bytes(GOOD)
    assert refusal(GOOD, limits=limits).code == "too_large"
    for source in (path, path.open("rb")):
        with pytest.raises(UnreadableWorkbook, match="larger than"):
            read_bill(source, "a.xlsx", limits=limits)
        if not isinstance(source, Path):
            source.close()


def test_bytes_paths_and_streams_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(GOOD)
    bills = [read_bill(source, "a.xlsx") for source in (GOOD, path, io.BytesIO(GOOD))]
    assert bills[0] == bills[1] == bills[2]
    assert len(bills[0].sha256) == 64


def test_bombs_are_refused_by_size_and_by_ratio() -> None:
    bomb = with_member(GOOD, "xl/sharedStrings.xml", b"<sst>" + b" " * 30_000_000 + b"</sst>")
    assert refusal(bomb).code == "zip_bomb"
    assert refusal(bomb, limits=Limits(ratio=10**9, unpacked_bytes=20_000_000)).code == "zip_bomb"


def test_a_directory_that_lies_about_sizes_is_no_way_around() -> None:
    bomb = bytearray(with_member(GOOD, "xl/sharedStrings.xml", b" " * 30_000_000))
    at = bomb.rindex(b"xl/sharedStrings.xml") - 46
    assert bomb[at : at + 4] == b"PK\x01\x02"
    struct.pack_into("<I", bomb, at + 24, 100)
    assert refusal(bytes(bomb)).code == "zip_bomb"


def test_a_plain_sheet_that_packs_well_is_read() -> None:
    data = layout_b(lines(3000, 3))
    assert len(read_bill(data, "a.xlsx").items) == 3000


def test_entities_are_not_expanded() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    sheet = sheet_xml("1", "A1", "&l11;", f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{laughs}]>')
    assert refusal(with_member(GOOD, "xl/worksheets/sheet1.xml", sheet)).code in {"damaged", "empty"}


def test_row_and_column_limits() -> None:
    limits = Limits(rows=10, columns=8)
    rows = [[str(number), "حفر", "م³", 1, 1, 1] for number in range(12)]
    assert refusal(table([HEAD, *rows]), limits=limits).code == "too_many_rows"
    assert refusal(table([[*HEAD, None, None, None, "بعيد"], rows[0]]), limits=limits).code == "too_many_columns"
    text = "\n".join(",".join(map(str, row)) for row in [HEAD, *rows])
    assert refusal(text.encode(), "a.csv", limits).code == "too_many_rows"
    assert refusal((",".join(HEAD) + ",,,x").encode(), "a.csv", limits).code == "too_many_columns"


@pytest.mark.parametrize("reference", ["XFD1048576", "XFD1", "A1048576"])
def test_one_far_cell_costs_no_memory(reference: str) -> None:
    row = reference.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    sheet = sheet_xml(row, reference)
    assert refusal(with_member(GOOD, "xl/worksheets/sheet1.xml", sheet)).code in {"too_many_rows", "too_many_columns"}


def test_one_endless_row_costs_no_memory() -> None:
    head = f'<worksheet xmlns="{NAMESPACE}"><sheetData><row r="1">'.encode()
    body = b"".join(b"<c><v>%d</v></c>" % (number * number) for number in range(2_000_000))
    tail = b"</row></sheetData></worksheet>"
    assert refusal(with_member(GOOD, "xl/worksheets/sheet1.xml", head + body + tail)).code == "zip_bomb"


def test_a_cell_that_contradicts_its_row_is_refused() -> None:
    sheet = sheet_xml("6", "A1048576")
    assert refusal(with_member(GOOD, "xl/worksheets/sheet1.xml", sheet)).code == "damaged"


def test_no_header_names_what_was_sought_and_the_nearest_row() -> None:
    error = refusal(table([["تقرير الموقع"], ["التاريخ", "الوصف", "الكمية المنفذة؟", "العمال"], ["1", "صب", 5, 7]]))
    assert error.code == "no_header"
    for word in ("unit price (سعر الوحدة)", "row 2", "العمال", "description (الوصف)"):
        assert word in error.message_en
    assert "صف عناوين" in error.message_ar


def test_header_below_row_fifty_is_not_sought() -> None:
    assert refusal(table([["x"]] * 50 + [HEAD, ["1", "حفر", "م³", 10, 45, 450]])).code == "no_header"
    assert len(read_bill(table([["x"]] * 49 + [HEAD, ["1", "حفر", "م³", 10, 45, 450]]), "a.xlsx").items) == 1


def test_the_best_sheet_is_chosen_and_the_others_named() -> None:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    cover = book.add_worksheet("غلاف")
    cover.write_string(0, 0, "مشروع فيلا")
    hidden = book.add_worksheet("قديم")
    bill = book.add_worksheet("المقايسة")
    book.add_worksheet("فارغة")
    for sheet in (hidden, bill):
        sheet.write_row(0, 0, HEAD)
        sheet.write_row(1, 0, ["1", "حفر", "م³", 10, 45, 450])
    hidden.write_row(2, 0, ["2", "ردم", "م³", 10, 45, 450])
    hidden.hide()
    book.close()
    read = read_bill(out.getvalue(), "a.xlsx")
    assert read.sheet == "المقايسة"
    (warning,) = read.warnings
    assert warning.code == "sheets_not_imported"
    assert "غلاف, قديم" in warning.message_ar


def test_macros_are_said_and_never_run() -> None:
    (warning,) = read_bill(with_macros(GOOD), "a.xlsm").warnings
    assert warning.code == "macros"
    assert "never run" in warning.message_en


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1256", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(encoding: str, delimiter: str) -> None:
    rows = [HEAD, *ROWS, ["", "الإجمالي الكلي", "", "", "", "52567.5"]]
    text = "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    if encoding == "cp1256":
        text = text.replace("م³", "م3")
    bill = read_bill(text.encode(encoding), "مقايسة.csv")
    assert [item.code for item in bill.items] == ["1.1", "1.10"]
    assert bill.net == bill.stated_total == 5_256_750
    assert bill.counts == {"differences": 0, "ignored_rows": 0, "warnings": 0, "errors": 0}


def test_csv_quotes_lines_and_leading_apostrophe() -> None:
    text = 'Item,Description,Unit,Qty,Rate,Amount\n\'1.1,"خرسانة, مسلحة\nمقاومة",م³,\'10,"\u200f1,200.50 ر.س",12005\n'
    (item,) = read_bill(text.encode(), "a.csv").items
    assert (item.code, item.description, item.quantity, item.unit_price) == ("1.1", "خرسانة, مسلحة\nمقاومة", 10_000_000, 12_005_000)


def test_csv_of_every_layout_row_kind() -> None:
    rows = [HEAD, ["أعمال الحفر"], *ROWS, HEAD, ["2.1", "صب", "م³", "-", "90"], [], ["", "المجموع", "", "", "", "52567.5"]]
    bill = read_bill("\n".join(";".join(row) for row in rows).encode(), "a.csv")
    assert (bill.layout, len(bill.sections), len(bill.items), bill.stated_total) == ("sectioned", 1, 3, 5_256_750)


def test_the_name_of_a_file_is_never_its_kind() -> None:
    assert read_bill(GOOD, "مقايسة.csv").net == 45_000
    assert read_bill("Item,Description,Unit,Qty,Rate\n1,حفر,م3,2,3\n".encode(), "a.xlsx").net == 600


def test_sheet_names_reach_the_findings() -> None:
    items = lines(5, 1)
    bill = read_bill(layout_b(items), "فيلا 850 ألف.xlsx")
    assert bill.net == int(total(items) * 100)
    assert bill.sheet == "جدول الكميات"
    assert bill.file_name == "فيلا 850 ألف.xlsx"
