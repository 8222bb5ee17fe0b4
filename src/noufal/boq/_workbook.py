"""Read the cells of a workbook safely: .xlsx, .xlsm, .xls and .csv."""

from __future__ import annotations

import copy
import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from typing import IO, BinaryIO, Final, Literal, TypeAlias

import msgspec
import python_calamine
from lxml import etree

from ._findings import UnreadableWorkbook

Cell: TypeAlias = int | float | str | bool | time | date | datetime | timedelta
Span: TypeAlias = tuple[int, int]

_ZIP: Final = b"PK\x03\x04"
_COMPOUND_FILE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NOTHING: Final = b"\0 \r\n\t\xef\xbb\xbf"
_CHUNK_BYTES: Final = 1 << 18
_RATIO_FLOOR_BYTES: Final = 10_000_000
_MEMBERS: Final = 10_000
_ROW_BYTES: Final = 32_000_000
_TWO_DECIMALS_FORMAT: Final = 2
_FIXED_DECIMALS: Final = re.compile(r"0\.(0+)(?:_\))?(?:;.*)?")
_REFERENCE: Final = re.compile(r"[A-Z]{1,3}")
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT_RELATION: Final = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"


class Limits(msgspec.Struct, frozen=True):
    """Bound what a workbook may cost: bytes on disk, bytes unpacked, unpacked ÷ packed, rows, columns."""

    file_bytes: int = 50_000_000
    unpacked_bytes: int = 400_000_000
    ratio: int = 100
    rows: int = 200_000
    columns: int = 200
    header_rows: int = 50


_SAVE_AS: Final = ("Open it in Excel and save it as .xlsx.", "افتحه في إكسل واحفظه بصيغة ‎.xlsx.")
_SPLIT: Final = ("Delete empty rows and columns, or split the file.", "احذف الصفوف والأعمدة الفارغة أو قسّم الملف.")
_REASONS: Final[dict[str, tuple[str, str, str, str]]] = {
    "not_a_workbook": ("The file is not an Excel workbook or a CSV file.", "الملف ليس مصنف إكسل ولا ملف CSV.", *_SAVE_AS),
    "encrypted": (
        "The workbook is protected by a password.",
        "المصنف محمي بكلمة مرور.",
        "Remove the password in Excel (File › Info) and try again.",
        "أزل كلمة المرور في إكسل (ملف › معلومات) ثم أعد المحاولة.",
    ),
    "empty": ("The file holds no data.", "الملف بلا بيانات.", "Choose the file that holds the bill.", "اختر الملف الذي فيه المقايسة."),
    "too_large": ("The file is larger than {limit} MB.", "حجم الملف أكبر من {limit} ميغابايت.", *_SPLIT),
    "zip_bomb": (
        "The file unpacks to far more than a bill needs.",
        "الملف ينفك إلى حجم أكبر بكثير مما تحتاجه مقايسة.",
        *_SAVE_AS,
    ),
    "too_many_rows": ("Sheet “{sheet}” has more than {limit} rows.", "في الورقة «{sheet}» أكثر من {limit} صف.", *_SPLIT),
    "too_many_columns": ("Sheet “{sheet}” has more than {limit} columns.", "في الورقة «{sheet}» أكثر من {limit} عمود.", *_SPLIT),
    "damaged": ("The workbook is damaged: {reason}.", "المصنف تالف: {reason}.", *_SAVE_AS),
}


def unreadable(code: str, **values: object) -> UnreadableWorkbook:
    """Return the refusal of a file, with its message in both languages."""
    return UnreadableWorkbook(code, *(text.format(**values) for text in _REASONS[code]))


class SheetFacts(msgspec.Struct):
    """Hold what the cell reader does not tell: hidden rows and columns, formulas whose result is missing or zero, error cells."""

    hidden_rows: set[int] = msgspec.field(default_factory=set)
    hidden_columns: list[Span] = msgspec.field(default_factory=list)
    blank_formulas: set[Span] = msgspec.field(default_factory=set)
    zero_formulas: set[Span] = msgspec.field(default_factory=set)
    error_cells: dict[Span, str] = msgspec.field(default_factory=dict)
    knows_formulas: bool = False


class Grid(msgspec.Struct):
    """Hold one sheet: rows of equal width counted from the sheet's own first cell, merged ranges, and its facts."""

    name: str
    rows: list[list[Cell]]
    merged: dict[int, list[Span]]
    facts: SheetFacts
    width: int


class Workbook:
    """Give the sheets of a file one by one; a sheet is measured before it is loaded."""

    def __init__(self, kind: Literal["xlsx", "xls", "csv"], limits: Limits) -> None:
        self.kind = kind
        self.limits = limits
        self.names: list[str] = []
        self.hidden: set[str] = set()
        self.has_macros = False
        self._load: Callable[[str], Grid] = self._missing
        self._code_formats: Callable[[str, int], dict[int, int]] = lambda _sheet, _column: {}

    def load(self, name: str) -> Grid:
        """Return one sheet; raises `UnreadableWorkbook` when it is too large or damaged."""
        return self._load(name)

    def fixed_decimals(self, name: str, column: int) -> dict[int, int]:
        """Return row → number of decimals shown, for the cells of a column with a format like 0.00 (the code 1.1 shown as 1.10)."""
        return self._code_formats(name, column)

    def _missing(self, name: str) -> Grid:
        raise unreadable("damaged", reason=name)


def glance(file: BinaryIO, size: int, limits: Limits) -> None:
    """Raise `UnreadableWorkbook` for a file that can be refused without reading it: too large, empty, or a package that is no workbook."""
    if size > limits.file_bytes:
        raise unreadable("too_large", limit=limits.file_bytes // 1_000_000)
    file.seek(0)
    head = file.read(_CHUNK_BYTES)
    if len(head) == size and not head.strip(_NOTHING):
        raise unreadable("empty")
    if head.startswith(_ZIP):
        try:
            with zipfile.ZipFile(file) as package:
                members = {_member_name(info): info.file_size for info in package.infolist()}
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise unreadable("damaged", reason=error) from error
        if "xl/workbook.xml" not in members:
            raise unreadable("not_a_workbook")
        if len(members) > _MEMBERS or sum(members.values()) > limits.unpacked_bytes:
            raise unreadable("zip_bomb")
    elif not head.startswith(_COMPOUND_FILE) and _is_no_text(head):
        raise unreadable("not_a_workbook")


def open_workbook(data: bytes, limits: Limits) -> Workbook:
    """Open a file by its content, never by its name; raises `UnreadableWorkbook`."""
    if len(data) > limits.file_bytes:
        raise unreadable("too_large", limit=limits.file_bytes // 1_000_000)
    if not data.strip(_NOTHING):
        raise unreadable("empty")
    if data.startswith(_ZIP):
        return _Package(data, limits).workbook()
    if data.startswith(_COMPOUND_FILE):
        return _open_compound(data, limits)
    return _open_csv(data, limits)


# -- .xlsx -----------------------------------------------------------------------------------------------------------


class _Package:
    """Guard a zip package: every member is measured by unpacking it, since its directory may lie."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise unreadable("damaged", reason=error) from error
        self.members = {_member_name(info): info for info in self.zip.infolist()}

    def workbook(self) -> Workbook:
        if "xl/workbook.xml" not in self.members:
            raise unreadable("not_a_workbook")
        self._measure()
        book = Workbook("xlsx", self.limits)
        reader = _open_calamine(self.data)
        paths = self._sheet_paths()
        sheets = [sheet for sheet in reader.sheets_metadata if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet]
        book.names = [sheet.name for sheet in sheets if sheet.name in paths]
        book.hidden = {sheet.name for sheet in sheets if sheet.visible != python_calamine.SheetVisibleEnum.Visible}
        book.has_macros = any(name.endswith("vbaproject.bin") for name in self.members)
        book._load = lambda name: _load_grid(reader, name, self._facts(name, paths[name]), self.limits)
        book._code_formats = lambda name, column: self._column_decimals(paths[name], column)
        return book

    def _measure(self) -> None:
        if len(self.members) > _MEMBERS:
            raise unreadable("zip_bomb")
        if sum(info.file_size for info in self.members.values()) > self.limits.unpacked_bytes:
            raise unreadable("zip_bomb")
        left = self.limits.unpacked_bytes
        for name, info in self.members.items():
            if name.endswith((".xml", ".rels")):
                left -= self._unpacked_size(info, left)
        unpacked = self.limits.unpacked_bytes - left
        if unpacked > _RATIO_FLOOR_BYTES and unpacked > self.limits.ratio * len(self.data):
            raise unreadable("zip_bomb")

    def _unpacked_size(self, info: zipfile.ZipInfo, left: int) -> int:
        size = 0
        with self._open(info, left + 1) as stream:
            while chunk := _read(stream):
                size += len(chunk)
        if size > left:
            raise unreadable("zip_bomb")
        return size

    def _open(self, info: zipfile.ZipInfo, most: int) -> IO[bytes]:
        if info.flag_bits & 0x1:
            raise unreadable("encrypted")
        # The directory's own size would end the reading early and hide what another reader then unpacks in full.
        honest = copy.copy(info)
        honest.file_size = most
        del honest.CRC
        try:
            return self.zip.open(honest)
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise unreadable("damaged", reason=error) from error

    def stream(self, path: str) -> IO[bytes]:
        info = self.members.get(path.lower())
        if info is None:
            raise unreadable("damaged", reason=path)
        return self._open(info, self.limits.unpacked_bytes)

    def _sheet_paths(self) -> dict[str, str]:
        targets = {node.get("Id", ""): node.get("Target", "") for node in self._small_xml("xl/_rels/workbook.xml.rels")}
        sheets = {}
        for node in self._small_xml("xl/workbook.xml").iter("{*}sheet"):
            target = targets.get(node.get(_RELATION) or node.get(_STRICT_RELATION) or "", "")
            path = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            if path.lower() in self.members:
                sheets[node.get("name", "")] = path
        return sheets

    def _small_xml(self, path: str) -> etree._Element:
        with self.stream(path) as stream:
            try:
                root: etree._Element = etree.parse(stream, _safe_parser()).getroot()
            except (etree.XMLSyntaxError, zipfile.BadZipFile) as error:
                raise unreadable("damaged", reason=error) from error
        return root

    def _facts(self, name: str, path: str) -> SheetFacts:
        with self.stream(path) as stream:
            return _scan_sheet(stream, name, self.limits)

    def _column_decimals(self, path: str, column: int) -> dict[int, int]:
        formats = self._decimals_by_style()
        return _scan_styles(self.stream(path), column, formats) if formats else {}

    def _decimals_by_style(self) -> dict[str, int]:
        if "xl/styles.xml" not in self.members:
            return {}
        root = self._small_xml("xl/styles.xml")
        formats = {_TWO_DECIMALS_FORMAT: 2}
        for node in root.iter("{*}numFmt"):
            if match := _FIXED_DECIMALS.fullmatch(node.get("formatCode", "")):
                formats[_integer(node.get("numFmtId"))] = len(match[1])
        styles = root.find("{*}cellXfs")
        kinds = [_integer(node.get("numFmtId")) for node in styles] if styles is not None else []
        return {str(index): formats[kind] for index, kind in enumerate(kinds) if kind in formats}


def _member_name(info: zipfile.ZipInfo) -> str:
    return info.filename.replace("\\", "/").lstrip("/").lower()


def _read(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(_CHUNK_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise unreadable("damaged", reason=error) from error


def _safe_parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _integer(text: str | None, default: int = 1) -> int:
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise unreadable("damaged", reason=text)
    return int(text)


class _RowGuard:
    """Stop a sheet whose single row would fill memory: the parser holds one row at a time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.since_row = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self.stream.read(size)
        last = chunk.rfind(b"row")
        self.since_row = len(chunk) - last if last >= 0 else self.since_row + len(chunk)
        if self.since_row > _ROW_BYTES:
            raise unreadable("zip_bomb")
        return chunk


def _iterate(stream: IO[bytes], tags: tuple[str, ...]) -> Iterator[etree._Element]:
    guarded = _RowGuard(stream)
    events = etree.iterparse(guarded, events=("end",), tag=tags, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        for _event, node in events:
            yield node
    except etree.XMLSyntaxError as error:
        raise unreadable("damaged", reason=error) from error


def _forget(node: etree._Element) -> None:
    node.clear()
    parent = node.getparent()
    while parent is not None and node.getprevious() is not None:
        del parent[0]


def _scan_sheet(stream: IO[bytes], name: str, limits: Limits) -> SheetFacts:
    facts = SheetFacts(knows_formulas=True)
    letters: set[str] = set()
    row = 0
    for node in _iterate(stream, ("{*}row", "{*}col")):
        if node.tag.endswith("}col"):
            if node.get("hidden") in {"1", "true"}:
                facts.hidden_columns.append((_integer(node.get("min")) - 1, _integer(node.get("max")) - 1))
            continue
        row = _integer(node.get("r"), row + 1)
        if row > limits.rows and len(node):
            raise unreadable("too_many_rows", sheet=name, limit=limits.rows)
        if node.get("hidden") in {"1", "true"}:
            facts.hidden_rows.add(row - 1)
        _scan_cells(node, row, facts, letters)
        if len(node) > limits.columns:
            raise unreadable("too_many_columns", sheet=name, limit=limits.columns)
        _forget(node)
    _check_letters(letters, name, limits)
    return facts


def _scan_cells(row_node: etree._Element, row: int, facts: SheetFacts, letters: set[str]) -> None:
    suffix = str(row)
    length = len(suffix)
    for position, cell in enumerate(row_node):
        reference = cell.get("r")
        if reference is None:
            place = position
        elif reference.endswith(suffix):
            letters.add(reference[:-length])
            place = -1
        else:
            raise unreadable("damaged", reason=reference)
        if cell.get("t") == "e" or (len(cell) and cell[0].tag.endswith("}f")):
            _scan_formula(cell, row - 1, place if reference is None else column_index(reference[:-length]), facts)


def _scan_formula(cell: etree._Element, row: int, column: int, facts: SheetFacts) -> None:
    value = cell.findtext("{*}v") or ""
    if cell.get("t") == "e":
        facts.error_cells[row, column] = value or "#ERROR"
    elif not value:
        facts.blank_formulas.add((row, column))
    elif value in {"0", "0.0"}:
        facts.zero_formulas.add((row, column))


def _check_letters(letters: set[str], name: str, limits: Limits) -> None:
    for column in letters:
        if not _REFERENCE.fullmatch(column):
            raise unreadable("damaged", reason=column)
        if column_index(column) >= limits.columns:
            raise unreadable("too_many_columns", sheet=name, limit=limits.columns)


def column_index(letters: str) -> int:
    """Return the index from 0 of a column named by capital letters; raises `UnreadableWorkbook` for any other name."""
    if not _REFERENCE.fullmatch(letters):
        raise unreadable("damaged", reason=letters)
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - 64
    return index - 1


def _scan_styles(stream: IO[bytes], column: int, formats: dict[str, int]) -> dict[int, int]:
    decimals = {}
    with stream:
        for node in _iterate(stream, ("{*}row",)):
            for cell in node:
                style = formats.get(cell.get("s", ""))
                reference = cell.get("r", "")
                if style is not None and reference and column_index(reference.rstrip("0123456789")) == column:
                    decimals[_integer(node.get("r")) - 1] = style
            _forget(node)
    return decimals


# -- cells -----------------------------------------------------------------------------------------------------------


def _open_calamine(data: bytes) -> python_calamine.CalamineWorkbook:
    try:
        return python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    except python_calamine.PasswordError as error:
        raise unreadable("encrypted") from error
    except python_calamine.CalamineError as error:
        raise unreadable("damaged", reason=error) from error


def _open_compound(data: bytes, limits: Limits) -> Workbook:
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise unreadable("encrypted")
    reader = _open_calamine(data)
    book = Workbook("xls", limits)
    book.names = list(reader.sheet_names)
    book.hidden = {sheet.name for sheet in reader.sheets_metadata if sheet.visible != python_calamine.SheetVisibleEnum.Visible}
    book.has_macros = "_VBA_PROJECT".encode("utf-16-le") in data
    book._load = lambda name: _load_grid(reader, name, SheetFacts(), limits)
    return book


def _load_grid(reader: python_calamine.CalamineWorkbook, name: str, facts: SheetFacts, limits: Limits) -> Grid:
    try:
        sheet = reader.get_sheet_by_name(name)
    except python_calamine.CalamineError as error:
        raise unreadable("damaged", reason=error) from error
    height, width = (sheet.end[0] + 1, sheet.end[1] + 1) if sheet.end else (0, 0)
    if height > limits.rows:
        raise unreadable("too_many_rows", sheet=name, limit=limits.rows)
    if width > limits.columns:
        raise unreadable("too_many_columns", sheet=name, limit=limits.columns)
    rows: list[list[Cell]] = sheet.to_python(skip_empty_area=False) if height else []
    merged: dict[int, list[Span]] = {}
    for (top, left), (_bottom, right) in sheet.merged_cell_ranges or ():
        if right > left:
            merged.setdefault(top, []).append((left, right))
    return Grid(name, rows, merged, facts, width)


# -- .csv ------------------------------------------------------------------------------------------------------------


def _open_csv(data: bytes, limits: Limits) -> Workbook:
    text = _decode(data)
    book = Workbook("csv", limits)
    book.names = ["CSV"]
    book._load = lambda name: _csv_grid(text, name, limits)
    return book


def _is_no_text(data: bytes) -> bool:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    return b"\0" in data or data.lstrip()[:5].lower() in {b"<html", b"<!doc", b"%pdf-"}


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif _is_no_text(data):
        raise unreadable("not_a_workbook")
    else:
        encodings = ["utf-8-sig", "cp1256"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise unreadable("not_a_workbook")


def _csv_grid(text: str, name: str, limits: Limits) -> Grid:
    rows: list[list[Cell]] = []
    width = 0
    for fields in _records(text, _delimiter(text)):
        rows.append([field.removeprefix("'") for field in fields])
        width = max(width, len(fields))
        if len(rows) > limits.rows:
            raise unreadable("too_many_rows", sheet=name, limit=limits.rows)
        if width > limits.columns:
            raise unreadable("too_many_columns", sheet=name, limit=limits.columns)
    for row in rows:
        row.extend([""] * (width - len(row)))
    return Grid(name, rows, {}, SheetFacts(), width)


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise unreadable("damaged", reason=error) from error


def _delimiter(text: str) -> str:
    """Return the delimiter that cuts the first lines into the most fields."""

    def fields(delimiter: str) -> int:
        lines = _records(text[:20_000], delimiter)
        return sum(len(line) - 1 for line, _ in zip(lines, range(50), strict=False))

    return max(",;\t", key=fields)
