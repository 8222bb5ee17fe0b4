"""The workbooks of the tests themselves."""

import io
import zipfile

import bills


def test_the_same_lines_are_the_same_file_in_any_second() -> None:
    lines = bills.lines(5)
    for content in (bills.layout_b(lines), bills.layout_c(lines), bills.table([["الكود"], ["1"]])):
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            assert b"2026-09-19T08:30:00Z</dcterms:created>" in package.read("docProps/core.xml")
            assert {member.date_time for member in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
