"""What an import has to say about a workbook, in English and Arabic."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Lists = Literal["differences", "ignored_rows", "warnings", "errors"]

SHOWN_FINDINGS: Final = 500

MESSAGES: Final[dict[str, tuple[str, str]]] = {
    # errors: nothing is written
    "not_a_number": (
        "{field_en} must be a number, but the cell holds “{value}”.",
        "{field_ar}: يجب أن تكون رقمًا، والخلية تحوي «{value}».",
    ),
    "ambiguous_number": (
        "{field_en} “{value}” can be read in two ways. Write it with a point for decimals (1.5) or without a comma (15).",
        "{field_ar} «{value}» تُقرأ بوجهين. اكتبها بنقطة للكسور (1.5) أو بلا فاصلة (15).",
    ),
    "negative_number": ("{field_en} is negative ({value}).", "{field_ar} سالبة ({value})."),
    "number_too_large": ("{field_en} is too large to be meant ({value}).", "{field_ar} أكبر من المعقول ({value})."),
    "too_many_decimals": (
        "{field_en} {value} has more than {limit} decimals. Round it in the workbook; it is never rounded silently.",
        "{field_ar} {value} فيها أكثر من {limit} منازل عشرية. قرّبها في الملف، فلا تقريب من دون علمك.",
    ),
    "formula_without_value": (
        "{field_en} is a formula whose result is not stored in the file. Open the file in Excel and save it again.",
        "{field_ar} معادلة لم تُحفظ نتيجتها في الملف. افتح الملف في إكسل واحفظه من جديد.",
    ),
    "duplicate_code": (
        "Item code “{value}” is already used in row {other}.",
        "كود البند «{value}» مستخدم من قبل في الصف {other}.",
    ),
    "missing_description": ("The item has no description.", "البند بلا وصف."),
    "price_not_derivable": (
        "There is no unit price, and total {value} divided by the quantity has more than 4 decimals.",
        "لا يوجد سعر وحدة، وقسمة الإجمالي {value} على الكمية تعطي أكثر من 4 منازل عشرية.",
    ),
    "text_too_long": ("The text has {value} characters; the most is {limit}.", "طول النص {value} حرفًا، والحد الأقصى {limit}."),
    "split_amounts": (
        "Riyals and halalas stand in two columns. Join them in one column with decimals.",
        "الريالات والهللات في عمودين. اجمعهما في عمود واحد بكسور عشرية.",
    ),
    "no_items": ("No items were found under the header.", "لم يُعثر على أي بند تحت صف العناوين."),
    # differences: shown, nothing is blocked
    "total_mismatch": (
        "Quantity × price is {computed}, but the sheet states {stated}. The computed amount is used.",
        "الكمية × السعر = {computed}، والمكتوب {stated}. يُعتمد المحسوب.",
    ),
    "subtotal_mismatch": (
        "“{value}” states {stated}, but the items above it add up to {computed}.",
        "«{value}» مكتوب فيه {stated}، ومجموع البنود قبله {computed}.",
    ),
    "stated_total_mismatch": (
        "The stated total {stated} is neither the sum before VAT ({net}) nor with VAT ({gross}).",
        "الإجمالي المكتوب {stated} لا يساوي المجموع قبل الضريبة ({net}) ولا بعدها ({gross}).",
    ),
    # rows that are not imported
    "above_header": ("Title above the header: “{value}”.", "عنوان فوق صف الأعمدة: «{value}»."),
    "note_row": ("Note, not an item: “{value}”.", "ملاحظة وليست بندًا: «{value}»."),
    "text_after_items": ("Text after the last item: “{value}”.", "نص بعد آخر بند: «{value}»."),
    "unused_heading": ("Heading that no item belongs to: “{value}”.", "عنوان لا يتبعه بند: «{value}»."),
    "unlabelled_number": ("A number without item or label: {value}.", "رقم بلا بند ولا عنوان: {value}."),
    "not_an_item": ("Neither description nor unit nor code: “{value}”.", "لا وصف ولا وحدة ولا كود: «{value}»."),
    # warnings
    "macros": (
        "The workbook contains macros. They are never run, and an export does not carry them.",
        "الملف يحوي وحدات ماكرو. لا تُشغَّل أبدًا ولا تُصدَّر.",
    ),
    "hidden_rows": ("{count} hidden rows were imported too (rows {value}).", "استُوردت أيضًا صفوف مخفية عددها {count} (الصفوف {value})."),
    "hidden_columns": ("Hidden columns were read too: {value}.", "قُرئت أيضًا أعمدة مخفية: {value}."),
    "hidden_sheet": ("The bill was read from a hidden sheet.", "قُرئت المقايسة من ورقة مخفية."),
    "sheets_not_imported": ("Other sheets were not imported: {value}.", "لم تُستورد الأوراق الأخرى: {value}."),
    "column_not_imported": ("Column {value} is not part of a bill and was not imported.", "العمود {value} ليس من أعمدة المقايسة ولم يُستورد."),
    "no_price_column": ("There is no price column; all prices are zero.", "لا يوجد عمود للسعر، فالأسعار كلها صفر."),
    "prices_would_go": (
        "The file has no price column, but the project's items have prices; they would all become zero. Import a file with prices.",
        "لا يوجد عمود للسعر في الملف وبنود المشروع مسعّرة، فستصبح الأسعار كلها صفرًا. استورد ملفًا فيه الأسعار.",
    ),
    "no_code_column": ("There is no code column; items are numbered in order.", "لا يوجد عمود للكود، فرُقّمت البنود بالترتيب."),
    "no_unit_column": ("There is no unit column.", "لا يوجد عمود للوحدة."),
    "totals_computed": (
        "{count} line totals are formulas without a stored result; they were computed.",
        "إجماليات {count} من البنود معادلات بلا نتيجة محفوظة، فحُسبت.",
    ),
    "unknown_unit": ("Unit “{value}” is not known; it is kept as written.", "الوحدة «{value}» غير معروفة، وتبقى كما كُتبت."),
    "missing_unit": ("The item has no unit.", "البند بلا وحدة."),
    "rate_only": ("No quantity: the item is priced by rate only.", "لا كمية: البند مسعّر بسعر الوحدة فقط."),
    "missing_price": ("The item has no price; zero is used.", "البند بلا سعر، فيُعتمد صفر."),
    "missing_quantity": ("The item has neither quantity nor price.", "البند بلا كمية ولا سعر."),
    "zero_quantity": ("The quantity is zero.", "الكمية صفر."),
    "lump_sum_assumed": ("Only a total is given: read as quantity 1 at that price.", "لا يوجد إلا الإجمالي: قُرئ كمية 1 بهذا السعر."),
    "price_derived": ("No unit price: total ÷ quantity gives {value}.", "لا سعر وحدة: الإجمالي ÷ الكمية = {value}."),
    "missing_code": ("The item has no code; “{value}” was given.", "البند بلا كود، فأُعطي «{value}»."),
    "code_is_a_date": (
        "Excel turned the code into a date ({value}). Format the column as text and correct it.",
        "حوّل إكسل الكود إلى تاريخ ({value}). اجعل تنسيق العمود نصًا وصحّحه.",
    ),
    "serial_gaps": ("Serial numbers are missing: {value}.", "أرقام تسلسلية ناقصة: {value}."),
    "codes_restart": (
        "Numbering starts again in every section; each code is preceded by its section's number (2-1).",
        "الترقيم يبدأ من جديد في كل قسم، فسُبق كل كود برقم قسمه (2-1).",
    ),
}

FIELD_NAMES: Final[dict[str, tuple[str, str]]] = {
    "code": ("Code", "الكود"),
    "description": ("Description", "الوصف"),
    "unit": ("Unit", "الوحدة"),
    "quantity": ("Quantity", "الكمية"),
    "unit_price": ("Unit price", "قيمة سعر الوحدة"),
    "amount": ("Total", "قيمة الإجمالي"),
}


class Finding(msgspec.Struct, frozen=True):
    """Name a place in a sheet (row from 1, column by letter) and what was found there."""

    sheet: str
    row: int | None
    column: str | None
    code: str
    message_en: str
    message_ar: str


class UnreadableWorkbook(ValueError):  # noqa: N818 - it names what the file is
    """Say why a file cannot be read as a bill at all, and what to do about it."""

    def __init__(self, code: str, message_en: str, message_ar: str, hint_en: str, hint_ar: str) -> None:
        super().__init__(message_en)
        self.code = code
        self.message_en = message_en
        self.message_ar = message_ar
        self.hint_en = hint_en
        self.hint_ar = hint_ar


class Findings:
    """Collect findings: every one is counted, the first `SHOWN_FINDINGS` of each list are kept."""

    def __init__(self, sheet: str, shown: int = SHOWN_FINDINGS) -> None:
        self.sheet = sheet
        self.shown = shown
        self.lists: dict[Lists, list[Finding]] = {"differences": [], "ignored_rows": [], "warnings": [], "errors": []}
        self.counts: dict[str, int] = dict.fromkeys(self.lists, 0)

    def add(self, kind: Lists, code: str, row: int | None = None, column: str | None = None, **values: object) -> None:
        """Add one finding; `values` fill the places of its message."""
        self.counts[kind] += 1
        if len(self.lists[kind]) < self.shown:
            english, arabic = message(code, **values)
            self.lists[kind].append(Finding(self.sheet, row, column, code, english, arabic))


def message(code: str, **values: object) -> tuple[str, str]:
    """Return the English and Arabic text of a finding."""
    english, arabic = MESSAGES[code]
    return english.format(**values), arabic.format(**values)


def column_letter(index: int) -> str:
    """Return the letters of a column counted from 0."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def money(amount: int) -> str:
    """Return halalas as riyals with two decimals."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def excerpt(text: str, length: int = 80) -> str:
    """Return the first words of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
