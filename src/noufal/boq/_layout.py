"""Find the header of a bill and decide what each column and each row is."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import msgspec

from ._findings import UnreadableWorkbook, excerpt
from ._numbers import NotANumber, canonical_unit, normalise_text, parse_decimal
from ._workbook import Cell, Grid, Span, Workbook, unreadable

Field: TypeAlias = Literal["code", "description", "unit", "quantity", "unit_price", "amount", "category", "note", "mark", "progress", "ignored"]
RowKind: TypeAlias = Literal["blank", "header", "item", "section", "heading", "priced_heading", "priced", "subtotal", "number", "note", "other"]

_SAMPLE_ROWS: Final = 300
_HEADER_LENGTH: Final = 60
_TITLE_LENGTH: Final = 200
_NEEDED: Final = ("description", "quantity", "unit_price", "amount")

_FIELD_LABELS: Final = {
    "code": "code (الكود)",
    "description": "description (الوصف)",
    "unit": "unit (الوحدة)",
    "quantity": "quantity (الكمية)",
    "unit_price": "unit price (سعر الوحدة)",
    "amount": "total (الإجمالي)",
}

# Header words after normalising → fields they may head, with the trust put in the word.
_VOCABULARY: Final[tuple[tuple[Field, float, str], ...]] = (
    ("code", 3, "الكود|كود|كود البند|رمز البند|رقم البند|رقم|الرقم|م|ت|مسلسل|تسلسل|التسلسل|رقم الصنف|ر"),
    ("code", 3, "الرقم التسلسلي|لرقم التسلسلي|رقم التسلسلي|رقم تسلسلي"),
    ("code", 3, "code|item code|item no|item number|item ref|item id|no|number|ref|reference|boq ref|boq code|id|pos"),
    ("code", 3, "s n|sn|s no|sr|sr no|serial|serial no|serial number"),
    ("code", 2.5, "item|البند"),
    ("description", 3, "الوصف|وصف|وصف الاعمال|وصف العمل|وصف بنود الاعمال|البيان|بيان|بيان الاعمال|بيان البند"),
    ("description", 3, "اسم البند|بنود الاعمال|الاعمال|توصيف البند|اسم الصنف"),
    ("description", 3, "description|descriptions|description of work|description of works|work description|particulars"),
    ("description", 3, "item name|scope of work|boq description|activity"),
    ("description", 2.6, "وصف البند|item description|description of item"),
    ("description", 2, "البند|item|الصنف"),
    ("unit", 3, "الوحده|وحده|وحده القياس|وحده قياس|unit|units|uom|unit of measure|unit of measurement|measure unit"),
    ("quantity", 3, "الكميه|كميه|الكميات|كميه البند|الكميه التقديريه|الكميه التعاقديه"),
    ("quantity", 3, "qty|quantity|quantities|qnty|boq qty|contract qty|est qty|estimated quantity"),
    ("unit_price", 3, "سعر الوحده|سعر وحده|السعر الافرادي|سعر افرادي|السعر الفردي|سعر البند|سعر الوحده رقما"),
    ("unit_price", 3, "unit price|unit rate|rate|unit cost|rates"),
    ("unit_price", 2.5, "السعر|سعر|price|cost"),
    ("unit_price", 1.8, "الفئه"),
    ("amount", 3, "الاجمالي|اجمالي|اجمالي السعر|السعر الاجمالي|المبلغ الاجمالي|القيمه الاجماليه|اجمالي القيمه"),
    ("amount", 3, "السعر الكلي|القيمه الكليه|الاجمالي رقما|اجمالي المبلغ"),
    ("amount", 3, "amount|total|total price|total amount|total cost|line total|total value|net amount|extended price"),
    ("amount", 2.5, "المبلغ|القيمه|قيمه|value|sum|المجموع"),
    ("category", 3, "التصنيف|تصنيف|القسم|الباب|الفصل|نوع الاعمال|تصنيف البند"),
    ("category", 3, "category|section|division|trade|chapter|work section|classification|group"),
    ("category", 2, "الفئه|المجموعه"),
    ("category", 1.2, "وصف البند|item description"),
    ("note", 3, "ملاحظات|ملاحظه|الملاحظات|المواصفات|مواصفات|المواصفات الفنيه"),
    ("note", 3, "notes|note|remarks|remark|comment|comments|specification|specifications|specs"),
    ("mark", 3, "منتج من القائمه الالزاميه|القائمه الالزاميه|mandatory list|mandatory list product|product from the mandatory list"),
    ("mark", 3, "الرمز الانشائي|رمز انشائي|construction code|structural code|مرفقات|المرفقات|attachments|attachment"),
    ("progress", 3, "نسبه الانجاز|نسبه التنفيذ|الانجاز|progress|complete|percent complete|completion"),
)


def _by_phrase() -> dict[str, tuple[tuple[Field, float], ...]]:
    table: dict[str, tuple[tuple[Field, float], ...]] = {}
    for field, trust, phrases in _VOCABULARY:
        for phrase in phrases.split("|"):
            table[phrase] = (*table.get(phrase, ()), (field, trust))
    return table


_WORDS: Final = _by_phrase()

_PLATFORM_WORDS: Final = {
    "المواصفات",
    "منتج من القائمه الالزاميه",
    "الرمز الانشائي",
    "مرفقات",
    "specifications",
    "construction code",
    "mandatory list product",
    "attachments",
}
_PLATFORM_NEEDED: Final = ({"البند", "item"}, {"وصف البند", "item description"})
_PARENTHESES: Final = re.compile(r"[(\[{].*?[)\]}]")
_PUNCTUATION: Final = re.compile(r"[.:*#%،,;'\"_–—-]+")
_CURRENCY: Final = re.compile(r"\b(?:بال)?(?:ريال|sar|s r|sr|ر س)(?: سعودي)?\b|﷼")
_IN_WORDS: Final = re.compile(r"كتاب[هة]|كتابيا|in words|بالحروف")
_SPLIT: Final = re.compile(r"[\n/|()\[\]]|\s-\s")
_LATIN_RUN: Final = re.compile(r"[a-z][a-z .]*")
_TITLE_NUMBER: Final = re.compile(r"([\d٠-٩]+(?:[.\-/][\d٠-٩]+)*|[A-Za-z](?=[.)\-:]))[.)\-:\s]")
_TRAILING_NUMBER: Final = re.compile(r"[\s\-–_.:(]*\d+\)?\s*$")

_TOTAL: Final = re.compile(
    r"(?:^|\s)(?:و|ب|ل)?(?:ال)?(?:اجمالي|اجماليه|مجموع)(?:\s|:|$)|ضريبه القيمه|^الضريبه|^ضريبه|^صافي"
    r"|\b(?:grand|sub|net|gross|page)?[ -]?total\b|\bvat\b|value added tax|(?:carried|brought) (?:forward|to)|^ما قبله|^المنقول|^مرحل",
)
_VAT: Final = re.compile(r"^(?:مبلغ |قيمه |اجمالي |ال)?ضريبه|^(?:add )?vat\b|^value added tax")
_SUMMARY: Final = re.compile(r"(?:^|\s)(?:ال)?(?:ملخص|خلاصه)(?:\s|:|$)|\bsummary\b|^(?:to )?collection\b")
_NOTE: Final = re.compile(r"^(?:ملاحظ|ملحوظ|تنويه|تنبيه|note\b|notes\b|n\.?b\.?\b|remark|\*)")
_GRAND: Final = re.compile(r"(?:الكلي|العام|النهائي|للمشروع|الاجماليه|شامل|grand|overall|project|contract|incl|الصافي|excl)")


class Header(msgspec.Struct):
    """Hold where the header stands and which column carries which field (−1: none)."""

    row: int
    texts: dict[int, str]
    fields: dict[int, Field]
    score: float
    platform: bool

    def column(self, field: Field) -> int:
        """Return the column of a field, or −1."""
        return next((index for index, name in self.fields.items() if name == field), -1)


class HeaderGuess(msgspec.Struct):
    """Name the row that looked most like a header, for the message that none was found."""

    row: int
    texts: list[str]
    found: list[str]


@lru_cache(maxsize=8192)
def header_key(text: str) -> str:
    """Return a header's words without punctuation, parentheses and currency."""
    plain = _PUNCTUATION.sub(" ", _PARENTHESES.sub(" ", normalise_text(text)))
    return " ".join(_CURRENCY.sub(" ", plain).split())


@lru_cache(maxsize=8192)
def header_fields(text: str) -> tuple[tuple[Field, float], ...]:
    """Return the fields a header text may stand for, with the trust put in each."""
    if len(text) > _HEADER_LENGTH or _IN_WORDS.search(normalise_text(text)):
        return ()
    if found := _WORDS.get(header_key(text)):
        return found
    if text.strip() == "#":
        return (("code", 3),)
    if text.strip() == "%":
        return (("progress", 2),)
    parts = [header_key(part) for part in _SPLIT.split(text)]
    key = header_key(text)
    latin = " ".join(" ".join(_LATIN_RUN.findall(key)).split())
    parts += [latin, " ".join(_LATIN_RUN.sub(" ", key).split())]
    best: dict[Field, float] = {}
    for part in parts:
        for field, weight in _WORDS.get(part, ()):
            best[field] = max(best.get(field, 0), weight - 0.2)
    return tuple(best.items())


def find_header(grid: Grid, rows: int) -> Header | HeaderGuess:
    """Return the best header among the first rows, or the nearest guess when no row names the columns of a bill."""
    best: Header | None = None
    guess = HeaderGuess(0, [], [])
    for index, row in enumerate(grid.rows[:rows]):
        texts = {column: cell for column, cell in enumerate(row) if isinstance(cell, str) and cell.strip()}
        possible = {column: header_fields(text) for column, text in texts.items()}
        found: list[str] = sorted({field for fields in possible.values() for field, _ in fields})
        if len(found) > len(guess.found) or not guess.texts:
            guess = HeaderGuess(index, list(texts.values()), found)
        if sum(1 for fields in possible.values() if fields) < 3 or (best and _top(possible) <= best.score):
            continue
        header = _assign(grid, index, texts, possible)
        if _is_bill(header):
            best = header
    return best or guess


def _top(possible: dict[int, tuple[tuple[Field, float], ...]]) -> float:
    best: dict[Field, float] = {}
    for fields in possible.values():
        for field, weight in fields[:1]:
            best[field] = max(best.get(field, 0), weight)
    return sum(best.values())


def _is_bill(header: Header) -> bool:
    found = set(header.fields.values())
    return "description" in found and ("quantity" in found or "amount" in found) and len(found & {*_NEEDED, "code", "unit"}) >= 3


def _assign(grid: Grid, row: int, texts: dict[int, str], possible: dict[int, tuple[tuple[Field, float], ...]]) -> Header:
    keys = {header_key(text) for text in texts.values()}
    platform = bool(keys & _PLATFORM_WORDS) and all(keys & words for words in _PLATFORM_NEEDED)
    describing = [column for column, fields in possible.items() if any(field == "description" for field, _ in fields)]
    scored: list[tuple[float, int, Field]] = []
    for column, fields in possible.items():
        sample = [line[column] for line in grid.rows[row + 1 : row + 1 + _SAMPLE_ROWS] if column < len(line)]
        content = _Content(sample, texts[column])
        key = header_key(texts[column])
        describes = platform and key in _PLATFORM_NEEDED[1] and not content.names_categories()
        only = 3 if describing == [column] else 0
        scored += [
            (weight + content.bonus(field) + _platform_bonus(platform, key, field) + only * (field == "description"), -column, field)
            for field, weight in ((("note", 3.0),) if describes else fields)
        ]
    fields_of: dict[int, Field] = {}
    taken: set[Field] = set()
    for score, minus_column, field in sorted(scored, reverse=True):
        if -minus_column in fields_of or field in taken or score <= 0:
            continue
        fields_of[-minus_column] = field
        if field not in {"note", "mark"}:
            taken.add(field)
    return Header(row, texts, dict(sorted(fields_of.items())), _top(possible), platform)


def _platform_bonus(platform: bool, key: str, field: Field) -> float:
    if not platform:
        return 0
    if field == "description" and key in _PLATFORM_NEEDED[0]:
        return 3
    return 3 if field == "category" and key in _PLATFORM_NEEDED[1] else 0


class _Content:
    """Weigh what stands under a header: numbers, units, short codes, long texts, repeated categories."""

    def __init__(self, cells: list[Cell], header: str) -> None:
        self.texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip() and cell.strip() != header]
        self.filled = len(self.texts) + sum(1 for cell in cells if not isinstance(cell, str))
        numeric = sum(1 for cell in cells if isinstance(cell, int | float)) + sum(1 for text in self.texts if _reads_as_number(text))
        self.numeric = numeric / self.filled if self.filled else 0.0
        self.length = sum(map(len, self.texts)) / len(self.texts) if self.texts else 0.0

    def bonus(self, field: Field) -> float:
        if not self.filled:
            return -1.5
        if field in {"quantity", "unit_price", "amount"}:
            return 2 * self.numeric - 1
        if field == "description":
            return -2 * self.numeric + (1 if self.length > 12 else 0) - (1 if self._is_category(numbered_only=True) else 0)
        if field == "unit":
            known = sum(1 for text in self.texts if canonical_unit(text))
            return 1 if known * 2 >= self.filled else -2 * self.numeric
        if field == "category":
            return -2 * self.numeric + (1 if self._is_category(numbered_only=False) else 0)
        if field == "code":
            return -2 if self.length > 25 else 0.5
        return 0

    def names_categories(self) -> bool:
        """Tell whether the texts repeat or are numbered, as categories are, or there are none to tell by."""
        numbered = sum(1 for text in self.texts if _TRAILING_NUMBER.search(text))
        return numbered * 2 >= len(self.texts) or self._is_category(numbered_only=False)

    def _is_category(self, *, numbered_only: bool) -> bool:
        if len(self.texts) < 2:
            return False
        titles = {category_title(text) for text in self.texts}
        numbered = sum(1 for text in self.texts if _TRAILING_NUMBER.search(text))
        repeated = len(titles) <= 0.5 * len(self.texts)
        return repeated and (numbered * 2 >= len(self.texts) or not numbered_only)


def category_title(text: str) -> str:
    """Return a category without its running number: «أعمال كهرباء 12» → «أعمال كهرباء»."""
    return _TRAILING_NUMBER.sub("", text) or text


def leading_number(title: str) -> str:
    """Return the number a title begins with: «2. أعمال الخرسانة» → 2, or nothing."""
    match = _TITLE_NUMBER.match(title)
    return match[1] if match else ""


def _reads_as_number(text: str) -> bool:
    try:
        parse_decimal(text)
    except NotANumber:
        return False
    return True


def choose_sheet(book: Workbook) -> tuple[Grid, Header, list[str]]:
    """Return the sheet with the best header, a visible and longer one first among equals, and the names of the other filled sheets."""
    best: tuple[tuple[float, int], Grid, Header] | None = None
    guesses: list[tuple[str, HeaderGuess]] = []
    filled = []
    for name in book.names:
        grid = book.load(name)
        if not any(any(is_filled(cell) for cell in row) for row in grid.rows):
            continue
        filled.append(name)
        header = find_header(grid, book.limits.header_rows)
        if isinstance(header, HeaderGuess):
            guesses.append((name, header))
            continue
        rank = (header.score - (name in book.hidden), len(grid.rows))
        if best is None or rank > best[0]:
            best = (rank, grid, header)
    if not filled:
        raise unreadable("empty")
    if best is None:
        raise _no_header(guesses, book.limits.header_rows)
    return best[1], best[2], [name for name in filled if name != best[1].name]


def _no_header(guesses: list[tuple[str, HeaderGuess]], rows: int) -> UnreadableWorkbook:
    sheet, guess = max(guesses, key=lambda pair: len(pair[1].found))
    wanted = ", ".join(_FIELD_LABELS.values())
    shown = " | ".join(excerpt(text, 30) for text in guess.texts[:12]) or "-"
    found = ", ".join(_FIELD_LABELS.get(field, field) for field in guess.found) or "-"
    return UnreadableWorkbook(
        "no_header",
        f"No header row was found in the first {rows} rows. Looked for: {wanted}. "
        f"The nearest is row {guess.row + 1} of sheet “{sheet}”: {shown}. Recognised there: {found}.",
        f"لم يُعثر على صف عناوين في أول {rows} صفًا. المطلوب: {wanted}. أقرب صف هو {guess.row + 1} في الورقة «{sheet}»: {shown}. المعروف منه: {found}.",
        "Give the columns these names, description and quantity at least.",
        "سمِّ الأعمدة بهذه الأسماء، الوصف والكمية على الأقل.",
    )


# -- rows ------------------------------------------------------------------------------------------------------------


class RowClassifier:
    """Decide what each row under a header is, from its filled cells, its labels and its merged cells."""

    def __init__(self, grid: Grid, header: Header) -> None:
        column = header.column
        self.grid = grid
        self.header = header
        self.code, self.description, self.unit = column("code"), column("description"), column("unit")
        self.quantity, self.price, self.amount = column("quantity"), column("unit_price"), column("amount")
        self.numbers = [index for index in (self.quantity, self.price, self.amount) if index >= 0]
        self.last = max(header.fields)

    def classify(self, row: list[Cell], index: int) -> RowKind:
        """Return the kind of a row; `row` ends with one blank cell, which stands for the columns that do not exist."""
        if type(row[self.quantity]) is float and type(row[self.description]) is str and row[self.description] and row[self.unit]:
            return "item"
        filled = [column for column, cell in enumerate(row) if is_filled(cell)]
        if not filled or all(not row[column] for column in filled):
            return "blank"
        if self._is_header(row, filled) or self._continues_header(row, index, filled):
            return "header"
        if self._is_item(row):
            return "item"
        return self._classify_text(row, index, filled)

    def _is_item(self, row: list[Cell]) -> bool:
        described, united = is_filled(row[self.description]), is_filled(row[self.unit])
        coded = is_filled(row[self.code])
        counted = any(is_filled(row[column]) for column in (self.quantity, self.price))
        if not counted:
            return described and united
        if united:
            return described or coded or self._has_number(row)
        return ((self._has_number(row) and (described or coded)) or (described and coded)) and not self._label(row)

    def _has_number(self, row: list[Cell]) -> bool:
        return any(isinstance(row[column], int | float) or _reads_as_number(str(row[column])) for column in (self.quantity, self.price))

    def _is_header(self, row: list[Cell], filled: list[int]) -> bool:
        """Tell whether the row names the columns again, in the same or another language; its first cell may be spelt in any way."""
        named = 0
        for column in filled:
            field = self.header.fields.get(column)
            cell = row[column]
            if field is None or not isinstance(cell, str) or len(cell) > _HEADER_LENGTH:
                continue
            named += any(name == field for name, _ in header_fields(cell)) or header_key(cell) == header_key(self.header.texts[column])
        return named >= 3 and named * 2 >= len(filled)

    def _continues_header(self, row: list[Cell], index: int, filled: list[int]) -> bool:
        """Tell whether the row under the header numbers the columns (1, 2, 3 …) or divides those of numbers (in figures, in words)."""
        if index != self.header.row + 1:
            return False
        values = [str(row[column]).strip().removesuffix(".0") for column in self.header.fields]
        if values in ([str(number) for number in range(start, start + len(values))] for start in (0, 1)):
            return True
        texts = all(isinstance(row[column], str) and not _reads_as_number(str(row[column])) for column in filled)
        first = min(self.numbers)
        return texts and first <= min(filled) and self.code < first and self.description < first

    def _label(self, row: list[Cell]) -> str:
        return next((cell for cell in row if isinstance(cell, str) and cell and is_total(cell)), "")

    def _classify_text(self, row: list[Cell], index: int, filled: list[int]) -> RowKind:
        texts = [column for column in filled if isinstance(row[column], str) and not _reads_as_number(str(row[column]))]
        valued = any(column in filled and column not in texts for column in self.numbers)
        if not valued and texts and self._spans_row(row, index):
            return "note" if _is_note(str(row[texts[-1]])) else "section"
        if self._label(row):
            return "subtotal"
        if not texts:
            return "number"
        titled = any(is_filled(row[column]) for column in (self.code, self.description))
        if valued:
            return "priced_heading" if titled else "other"
        return self._heading(row, texts, filled)

    def _heading(self, row: list[Cell], texts: list[int], filled: list[int]) -> RowKind:
        text = str(row[self.description] or row[texts[0]])
        beyond = any(column > self.last or column not in self.header.fields for column in filled)
        titles = {self.code, self.description, self.header.column("category")}
        return "note" if _is_note(text) or beyond or (len(filled) > 1 and not titles.issuperset(filled)) else "heading"

    def _spans_row(self, row: list[Cell], index: int) -> bool:
        """Tell whether the row is one merged title: over the description and two more columns, and over the amount if it reads like a total."""
        spans: list[Span] = self.grid.merged.get(index, [])
        totalled = bool(self._label(row))
        return any(
            right - left >= 2 and left <= self.description <= right and (not totalled or left <= self.amount <= right) and is_filled(row[left])
            for left, right in spans
        )


def is_filled(cell: Cell) -> bool:
    """Tell whether a cell shows anything."""
    return bool(cell.strip()) if isinstance(cell, str) else True


@lru_cache(maxsize=2048)
def is_total(text: str) -> bool:
    """Tell whether a text labels a total, a subtotal or a tax."""
    return len(text) <= _TITLE_LENGTH and _TOTAL.search(normalise_text(text)) is not None


def is_summary(text: str) -> bool:
    """Tell whether a heading announces a summary: totals of sections, not items."""
    return len(text) <= _TITLE_LENGTH and _SUMMARY.search(normalise_text(text)) is not None


def is_vat(text: str) -> bool:
    """Tell whether a label names the tax itself, not a total with it."""
    return _VAT.search(normalise_text(text)) is not None


def is_grand(text: str) -> bool:
    """Tell whether a label names the total of the whole bill."""
    return _GRAND.search(normalise_text(text)) is not None


def _is_note(text: str) -> bool:
    return len(text) > _TITLE_LENGTH or _NOTE.match(normalise_text(text)) is not None
