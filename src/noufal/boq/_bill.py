"""Read a bill of quantities from a workbook: sections, items, exact amounts, and a report of everything that is odd."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from ._findings import FIELD_NAMES, Finding, Findings, UnreadableWorkbook, column_letter, excerpt, money
from ._layout import (
    Field,
    Header,
    RowClassifier,
    RowKind,
    category_title,
    choose_sheet,
    is_filled,
    is_summary,
    is_total,
    leading_number,
)
from ._model import Bill, BillItem, BillSection, ColumnUse, Layout
from ._numbers import (
    HALALAS,
    PRICE_SCALE,
    QUANTITY_SCALE,
    AmbiguousNumber,
    NotANumber,
    TooManyDecimals,
    canonical_unit,
    clean_code,
    clean_text,
    is_dash,
    line_amount,
    normalise_text,
    parse_decimal,
    scaled,
    vat_amount,
)
from ._progress import Tell, quiet, stepped
from ._totals import Sums, Totals
from ._workbook import Cell, Grid, Limits, Workbook, open_workbook

__all__ = ["Bill", "BillItem", "BillSection", "ColumnUse", "Finding", "Limits", "UnreadableWorkbook", "read_bill"]

Source: TypeAlias = Path | str | bytes | BinaryIO

_MOST_QUANTITY: Final = 1_000_000_000 * QUANTITY_SCALE
_MOST_PRICE: Final = 1_000_000_000_000 * PRICE_SCALE
_MOST_AMOUNT: Final = 1_000_000_000_000 * HALALAS
_TEXT_LENGTH: Final = 32_767
_CODE_LENGTH: Final = 200  # codes are indexed
_LABEL_LENGTH: Final = 40
_HALALA_HEADERS: Final = frozenset({"هلله", "هلل", "هللات", "halala", "halalas"})
_FIELDS_SHOWN: Final = {"mark": "note"}
_EXACT: Final = QUANTITY_SCALE * PRICE_SCALE
_RATE_ONLY_WORDS: Final = frozenset({"ro", "r o", "rate only", "rateonly", "سعر فقط", "سعر الوحده فقط", "فئه فقط"})
_DECIMALS: Final[dict[str, int]] = {"quantity": 6, "unit_price": 4}


def read_bill(source: Source, file_name: str, *, vat_rate_bp: int = 1500, limits: Limits | None = None, tell: Tell = quiet) -> Bill:
    """Read a bill from a path, bytes or an open file; raises `UnreadableWorkbook` when there is no bill to read."""
    limits = limits or Limits()
    tell("open", 0, 1)
    data = _read_bytes(source, limits)
    book = open_workbook(data, limits)
    grid, header, others = choose_sheet(book)
    builder = _Builder(book, grid, header, vat_rate_bp)
    builder.warn_about_file(others)
    builder.read(tell)
    return builder.bill(file_name, hashlib.sha256(data).hexdigest())


def _read_bytes(source: Source, limits: Limits) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            return file.read(limits.file_bytes + 1)
    return source.read(limits.file_bytes + 1)


class _Builder:
    """Turn classified rows into sections, items and findings."""

    def __init__(self, book: Workbook, grid: Grid, header: Header, vat_rate: int) -> None:
        self.book, self.grid, self.header, self.vat_rate = book, grid, header, vat_rate
        self.rows_as = RowClassifier(grid, header)
        self.findings = Findings(grid.name)
        self.category = header.column("category")
        self.notes = [index for index, field in header.fields.items() if field in {"note", "mark"}]
        self.sections: list[BillSection] = []
        self.titles: dict[str, int] = {}
        self.items: list[BillItem] = []
        self.sums = Sums()
        self.totals = Totals(vat_rate, self.rows_as.amount)
        self.current = -1
        self.pending: tuple[int, str | None, str] | None = None
        self.code_decimals: dict[int, int] | None = None
        self.unstated: list[tuple[int, int]] = []
        self.states_totals = False
        self.computed_totals = 0
        self.has_headings = False
        self.in_summary = False

    # -- the rows in order

    def read(self, tell: Tell) -> None:
        """Read every row under the header."""
        for row in self.grid.rows:
            row.append("")
        kinds = self._classify()
        self._read_title_rows()
        last_item = max((index for index, kind in kinds if kind in {"item", "priced"}), default=-1)
        for index, kind in stepped(kinds, "read", len(kinds), tell):
            self._read_row(index, kind, after_items=index > last_item)
        self._drop_pending()
        self._check_codes()
        if not self.items and not self.findings.counts["errors"]:
            self.findings.add("errors", "no_items", self.header.row + 1)

    def _read_row(self, index: int, kind: RowKind, *, after_items: bool) -> None:
        row = self.grid.rows[index]
        if kind == "item":
            self.in_summary = False
            self._read_item(index, row)
        elif kind == "priced":
            (self._read_total if self._is_sum(index, row) else self._read_item)(index, row)
        elif kind in {"section", "heading"}:
            self._read_heading(index, after_items=after_items)
        elif kind in {"subtotal", "number"}:
            self._read_total(index, row)
        else:
            self._ignore(index, "note_row" if kind == "note" else "not_an_item")

    def _is_sum(self, index: int, row: list[Cell]) -> bool:
        """Tell whether a titled amount repeats a sum: in a summary, or without code and equal to what the rows above give."""
        if self.in_summary:
            return True
        value = self._value_of(row)
        sums = {self.sums.section, self.sums.since_total, self.sums.net}
        return value is not None and not self._code_text(index, row) and int(value * HALALAS) in sums

    def _classify(self) -> list[tuple[int, RowKind]]:
        classify, start = self.rows_as.classify, self.header.row + 1
        kinds: list[tuple[int, RowKind]] = []
        for index, row in enumerate(self.grid.rows[start:], start):
            kind = classify(row, index)
            if kind not in {"blank", "header"}:
                kinds.append((index, kind))
        if any(kind == "section" for _, kind in kinds):
            kinds = [(index, "note" if kind == "heading" and not self._code_text(index, self.grid.rows[index]) else kind) for index, kind in kinds]
        return [(index, self._settle(position, kinds)) for position, (index, _) in enumerate(kinds)]

    def _settle(self, position: int, kinds: list[tuple[int, RowKind]]) -> RowKind:
        """Decide a titled row with an amount only: the heading of the items whose codes follow its own, else a lump sum."""
        index, kind = kinds[position]
        if kind != "priced_heading":
            return kind
        code = self._code_text(index, self.grid.rows[index])
        following = next((row for row, name in kinds[position + 1 :] if name in {"item", "priced_heading"}), None)
        if code and following is not None:
            next_code = self._code_text(following, self.grid.rows[following])
            if next_code.startswith((f"{code}.", f"{code}-", f"{code}/")):
                return "heading"
        return "priced"

    def _read_title_rows(self) -> None:
        for index, row in enumerate(self.grid.rows[: self.header.row]):
            texts = [cell for cell in row if isinstance(cell, str) and is_filled(cell)]
            label = next((text for text in texts if is_total(text)), "")
            number = self._value_of(row)
            if number and (label or not texts):
                self.totals.add(index, label, number, Sums(), 0)
            elif texts and len(label) not in range(1, _LABEL_LENGTH):
                self.findings.add("ignored_rows", "above_header", index + 1, value=excerpt(_text_of(row)))

    def _ignore(self, index: int, code: str) -> None:
        self.findings.add("ignored_rows", code, index + 1, value=excerpt(_text_of(self.grid.rows[index])))

    # -- sections

    def _read_heading(self, index: int, *, after_items: bool) -> None:
        row = self.grid.rows[index]
        if after_items:
            self._ignore(index, "text_after_items")
            return
        code = self._code_text(index, row)
        title = clean_text(_plain(row[self.rows_as.description]))
        if not title:
            title, code = next((clean_text(cell) for cell in row if isinstance(cell, str) and is_filled(cell)), code), ""
        if is_summary(title):
            self.in_summary = True
            self._ignore(index, "note_row")
            return
        self.sums.section = 0
        if self.category >= 0:
            self._drop_pending()
            self.pending = (index, code or None, title)
            return
        self.has_headings = True
        self._add_section(code or None, title)

    def _add_section(self, code: str | None, title: str) -> None:
        self.sections.append(BillSection(len(self.sections) + 1, code or leading_number(title) or None, title))
        self.current = len(self.sections) - 1

    def _drop_pending(self) -> None:
        if self.pending is not None:
            self._ignore(self.pending[0], "unused_heading")
            self.pending = None

    def _section_of(self, row: list[Cell]) -> int:
        written = clean_text(str(row[self.category])) if self.category >= 0 else ""
        if written:
            self._enter(None, category_title(written) if self.header.platform else written)
        elif self.pending is not None:
            _, code, title = self.pending
            self._enter(code, title)
        elif self.current < 0:
            self._enter(None, self.grid.name)
        return self.current

    def _enter(self, code: str | None, title: str) -> None:
        key = normalise_text(title)
        if self.pending is not None and normalise_text(self.pending[2]) == key:
            code, self.pending = self.pending[1], None
        elif self.pending is not None:
            self._drop_pending()
        if key in self.titles:
            self.current = self.titles[key]
            return
        self._add_section(code, title)
        self.titles[key] = self.current
        self.sums.section = 0

    # -- items

    def _read_item(self, index: int, row: list[Cell]) -> None:
        errors = self.findings.counts["errors"]
        use = self.rows_as
        description = self._text(index, row, use.description)
        if not description:
            self._error("missing_description", index, use.description)
        quantity = self._number("quantity", index, use.quantity, QUANTITY_SCALE, _MOST_QUANTITY)
        price = self._number("unit_price", index, use.price, PRICE_SCALE, _MOST_PRICE)
        stated = self._stated_amount(index, row)
        unit = self._text(index, row, use.unit)
        section = self._section_of(row)
        code = self._item_code(index, row)
        if self.findings.counts["errors"] > errors:
            return
        quantity, price = self._complete(index, quantity, price, stated)
        if self.findings.counts["errors"] > errors:
            return
        self._add_item(index, (section, code, description, unit), quantity, price)
        if stated is not None and self.findings.counts["errors"] == errors:
            self._check_line(index, self.items[-1], stated)

    def _add_item(self, index: int, head: tuple[int, str, str, str], quantity: int | None, price: int) -> None:
        section, code, description, unit = head
        counted = quantity or 0
        amount = line_amount(counted, price)
        if amount > _MOST_AMOUNT:
            self._error("number_too_large", index, self.rows_as.amount, "amount", value=money(amount))
            return
        self.sums.add(amount, counted * price)
        unit_code = self._unit_code(index, unit)
        note = self._note(self.grid.rows[index])
        item = BillItem(len(self.items) + 1, section, code, description, note, unit, unit_code, counted, price, amount, quantity is None, index + 1)
        self.items.append(item)

    def _unit_code(self, index: int, unit: str) -> str | None:
        if unit:
            known = canonical_unit(unit)
            if known is None:
                self._warn("unknown_unit", index, self.rows_as.unit, value=excerpt(unit, 30))
            return known
        if self.rows_as.unit >= 0:
            self._warn("missing_unit", index, self.rows_as.unit)
        return None

    def _complete(self, index: int, quantity: int | None, price: int | None, stated: Decimal | None) -> tuple[int | None, int]:
        """Fill in what a line leaves out: a lump sum's quantity, a price that total ÷ quantity gives; report a rate without quantity."""
        use = self.rows_as
        if price is None and stated:
            if stated < 0:
                self._error("negative_number", index, use.amount, "amount", value=stated)
                return quantity, 0
            counted = quantity or QUANTITY_SCALE
            derived = stated * _EXACT / counted
            if derived != derived.to_integral_value():
                self._error("price_not_derivable", index, use.amount, value=stated)
                return quantity, 0
            price = int(derived)
            code = "price_derived" if quantity else "lump_sum_assumed"
            self._warn(code, index, use.amount, value=Decimal(price) / PRICE_SCALE)
            return counted, price
        if quantity is None:
            self._warn("rate_only" if price is not None else "missing_quantity", index, use.quantity)
        elif quantity == 0:
            self._warn("zero_quantity", index, use.quantity)
        if price is None and quantity is not None and use.price >= 0:
            self._warn("missing_price", index, use.price)
        return quantity, price or 0

    def _text(self, index: int, row: list[Cell], column: int) -> str:
        cell = row[column]
        text = clean_text(_plain(cell))
        if len(text) > _TEXT_LENGTH:
            self._error("text_too_long", index, column, value=len(text), limit=_TEXT_LENGTH)
        return text

    def _note(self, row: list[Cell]) -> str | None:
        """Join the note columns, and what stands to the right of the table (a question about the item)."""
        parts = []
        for column in self.notes:
            if is_filled(row[column]):
                text = clean_text(_plain(row[column]))
                named = self.header.fields[column] == "mark"
                parts.append(f"{clean_text(self.header.texts[column])}: {text}" if named else text)
        beyond = range(self.rows_as.last + 1, self.grid.width)
        parts += [clean_text(_plain(row[column])) for column in beyond if is_filled(row[column]) and column not in self.header.texts]
        return "\n".join(parts) or None

    # -- codes

    def _code_text(self, index: int, row: list[Cell]) -> str:
        cell = row[self.rows_as.code]
        if isinstance(cell, str):
            return clean_code(cell)
        if type(cell) is float:
            decimals = self._decimals().get(index)
            return f"{cell:.{decimals}f}" if decimals is not None and len(_plain(cell).partition(".")[2]) <= decimals else _plain(cell)
        return _plain(cell)

    def _decimals(self) -> dict[int, int]:
        if self.code_decimals is None:
            self.code_decimals = self.book.fixed_decimals(self.grid.name, self.rows_as.code)
        return self.code_decimals

    def _item_code(self, index: int, row: list[Cell]) -> str:
        use = self.rows_as
        if use.code < 0:
            return str(len(self.items) + 1)
        cell = row[use.code]
        code = self._code_text(index, row)
        if code and not isinstance(cell, str | float | int):
            self._warn("code_is_a_date", index, use.code, value=code)
        if len(code) > _CODE_LENGTH:
            self._error("text_too_long", index, use.code, value=len(code), limit=_CODE_LENGTH)
        return code

    def _check_codes(self) -> None:
        self._name_uncoded()
        self._report_gaps()
        if self._codes_restart():
            for item in self.items:
                item.code = f"{item.section + 1}-{item.code}"
            self.findings.add("warnings", "codes_restart", None, column_letter(self.rows_as.code))
            return
        rows: dict[str, int] = {}
        for item in self.items:
            first = rows.setdefault(item.code, item.row)
            if first != item.row:
                self._error("duplicate_code", item.row - 1, self.rows_as.code, "code", value=item.code, other=first)

    def _report_gaps(self) -> None:
        """Report missing serial numbers of a platform's bill, which numbers its items without gaps."""
        codes = {item.code for item in self.items}
        if self.header.platform and all(code.isdecimal() for code in codes):
            numbers = {int(code) for code in codes}
            missing = [number for number in range(1, min(max(numbers, default=0), len(codes) * 2)) if number not in numbers]
            if missing:
                shown = ", ".join(map(str, missing[:20])) + (" …" if len(missing) > 20 else "")
                self.findings.add("warnings", "serial_gaps", None, column_letter(self.rows_as.code), value=shown)

    def _name_uncoded(self) -> None:
        taken = {item.code for item in self.items}
        for item in self.items:
            if not item.code:
                number = item.position
                while str(number) in taken:
                    number += 1
                item.code = str(number)
                taken.add(item.code)
                self._warn("missing_code", item.row - 1, self.rows_as.code, value=item.code)

    def _codes_restart(self) -> bool:
        """Tell whether every section starts the same short numbering again (1, 2, 3 … or A, B, C …)."""
        if len(self.sections) < 2 or self.rows_as.code < 0:
            return False
        codes: dict[int, list[str]] = {}
        for item in self.items:
            codes.setdefault(item.section, []).append(item.code)
        firsts = {section[0] for section in codes.values()}
        plain = all(code.isdigit() or len(code) == 1 for section in codes.values() for code in section)
        unique = all(len(set(section)) == len(section) for section in codes.values())
        return len(codes) > 1 and len(firsts) == 1 and plain and unique

    # -- numbers

    def _number(self, field: Field, index: int, column: int, scale: int, most: int) -> int | None:
        """Return a cell as an integer count of 1/scale, None for a blank or dash; a bad number is an error."""
        cell = self.grid.rows[index][column]
        if type(cell) is str and (not cell or stands_for_none(cell)):
            self._missing_number(field, index, column)
            return None
        try:
            value = scaled(cell, scale)
        except TooManyDecimals as error:
            self._error("too_many_decimals", index, column, field, value=error.number, limit=_DECIMALS[field])
            return None
        except NotANumber as error:
            self._bad_number(error, field, index, column)
            return None
        if value < 0 or value > most:
            self._error("negative_number" if value < 0 else "number_too_large", index, column, field, value=_plain(cell))
            return None
        return value

    def _bad_number(self, error: NotANumber, field: Field, index: int, column: int) -> None:
        code = "ambiguous_number" if isinstance(error, AmbiguousNumber) else "not_a_number"
        self._error(code, index, column, field, value=excerpt(error.text, 40))

    def _missing_number(self, field: Field, index: int, column: int) -> None:
        facts = self.grid.facts
        if (index, column) in facts.blank_formulas:
            self._error("formula_without_value", index, column, field)
        elif text := facts.error_cells.get((index, column)):
            self._error("not_a_number", index, column, field, value=text)

    def _stated_amount(self, index: int, row: list[Cell]) -> Decimal | None:
        """Return the total a line states; it is only a check, so a formula without a stored result counts as none."""
        column = self.rows_as.amount
        cell = row[column]
        if (index, column) in self.grid.facts.blank_formulas or (index, column) in self.grid.facts.zero_formulas:
            self.computed_totals += 1
            return None
        if isinstance(cell, str) and is_dash(cell):
            return None
        try:
            return parse_decimal(cell)
        except NotANumber as error:
            self._bad_number(error, "amount", index, column)
            return None

    def _check_line(self, index: int, item: BillItem, stated: Decimal) -> None:
        self.states_totals = self.states_totals or stated != 0
        if stated == 0:
            self.unstated.append((index, item.amount))
        elif 2 * abs(int(stated * _EXACT) - item.quantity * item.unit_price) > _EXACT // HALALAS:
            self._differ(index, item.amount, stated)

    def _differ(self, index: int, amount: int, stated: Decimal) -> None:
        column = column_letter(self.rows_as.amount)
        self.findings.add("differences", "total_mismatch", index + 1, column, computed=money(amount), stated=money_text(stated))

    def _read_total(self, index: int, row: list[Cell]) -> None:
        texts = [cell for cell in row if isinstance(cell, str) and cell and not _is_code(cell)]
        label = next((text for text in texts if is_total(text)), texts[0] if texts else "")
        if value := self._value_of(row):
            self.totals.add(index, clean_text(label), value, self.sums, len(self.items))

    def _value_of(self, row: list[Cell]) -> Decimal | None:
        """Return the number of a total row: in the column of totals, else the last one."""
        for cell in (row[self.rows_as.amount], *reversed(row)):
            try:
                return parse_decimal(cell)
            except NotANumber:
                continue
        return None

    # -- the report

    def warn_about_file(self, others: list[str]) -> None:
        """Report what the reader of the file should know: macros, hidden parts, sheets and columns that are not imported."""
        warn, use = self.findings, self.rows_as
        if self.book.has_macros:
            warn.add("warnings", "macros")
        if self.grid.name in self.book.hidden:
            warn.add("warnings", "hidden_sheet")
        if others:
            warn.add("warnings", "sheets_not_imported", value=", ".join(excerpt(name, 40) for name in others[:20]))
        missing = {"no_code_column": use.code, "no_unit_column": use.unit, "no_price_column": max(use.price, use.amount)}
        for code, column in missing.items():
            if column < 0:
                warn.add("warnings", code, self.header.row + 1)
        self._warn_about_columns()
        self._refuse_split_amounts()

    def _refuse_split_amounts(self) -> None:
        """Refuse prices whose halalas stand in a column of their own: they would be lost."""
        for index in (self.header.row, self.header.row + 1):
            for column, cell in enumerate(self.grid.rows[index] if index < len(self.grid.rows) else ()):
                if isinstance(cell, str) and normalise_text(cell) in _HALALA_HEADERS:
                    self.findings.add("errors", "split_amounts", index + 1, column_letter(column))
                    return

    def _warn_about_columns(self) -> None:
        hidden = [
            column_letter(column)
            for first, last in self.grid.facts.hidden_columns
            for column in range(first, min(last + 1, self.grid.width))
            if column in self.header.texts
        ]
        if hidden:
            self.findings.add("warnings", "hidden_columns", self.header.row + 1, None, value=", ".join(hidden))
        for column, text in self.header.texts.items():
            if column not in self.header.fields and self._says_more(column, text):
                letter = column_letter(column)
                self.findings.add("warnings", "column_not_imported", self.header.row + 1, letter, value=f"{letter} “{excerpt(text, 40)}”")

    def _says_more(self, column: int, text: str) -> bool:
        """Tell whether a column holds anything besides its header, repeated, and the codes of the items."""
        code = self.rows_as.code
        body = self.grid.rows[self.header.row + 1 :]
        return any(is_filled(row[column]) and row[column] != text and (code < 0 or row[column] != row[code]) for row in body)

    def _warn_about_rows(self) -> None:
        hidden = [item.row for item in self.items if item.row - 1 in self.grid.facts.hidden_rows]
        if hidden:
            shown = ", ".join(map(str, hidden[:20])) + (" …" if len(hidden) > 20 else "")
            self.findings.add("warnings", "hidden_rows", hidden[0], count=len(hidden), value=shown)
        if self.computed_totals:
            self.findings.add("warnings", "totals_computed", None, column_letter(self.rows_as.amount), count=self.computed_totals)
        for index, amount in self.unstated if self.states_totals else ():
            if amount:
                self._differ(index, amount, Decimal(0))

    def bill(self, file_name: str, sha256: str) -> Bill:
        """Return the bill with its sums and findings."""
        first_row = self.header.row + 1
        stated = self.totals.judge(self.findings, self.sums, len(self.items), first_row)
        self._warn_about_rows()
        net = self.sums.net
        vat = vat_amount(net, self.vat_rate)
        return Bill(
            file_name=file_name,
            sha256=sha256,
            sheet=self.grid.name,
            layout=self._layout(),
            columns=self._columns(),
            sections=self.sections,
            items=self.items,
            net=net,
            vat_rate=self.vat_rate,
            vat=vat,
            gross=net + vat,
            stated_total=stated,
            **self.findings.lists,
            counts=self.findings.counts,
        )

    def _layout(self) -> Layout:
        if self.header.platform:
            return "platform"
        return "sectioned" if self.category < 0 and self.has_headings else "flat"

    def _columns(self) -> list[ColumnUse]:
        return [
            ColumnUse(_FIELDS_SHOWN.get(field, field), clean_text(self.header.texts[index]), column_letter(index))
            for index, field in self.header.fields.items()
        ]

    def _warn(self, code: str, index: int, column: int, **values: object) -> None:
        self.findings.add("warnings", code, index + 1, column_letter(column) if column >= 0 else None, **values)

    def _error(self, code: str, index: int, column: int, field: Field | None = None, **values: object) -> None:
        names = FIELD_NAMES.get(field or "", ("", ""))
        letter = column_letter(column) if column >= 0 else None
        self.findings.add("errors", code, index + 1, letter, field_en=names[0], field_ar=names[1], **values)


def stands_for_none(text: str) -> bool:
    """Tell whether a text in a column of numbers says that there is none."""
    return is_dash(text) or normalise_text(text).replace(".", "").replace("/", "") in _RATE_ONLY_WORDS


def money_text(value: Decimal) -> str:
    """Return an amount as stated, with two decimals at least."""
    return format(value.quantize(Decimal("0.01")) if value == value.quantize(Decimal("0.01")) else value.normalize(), "f")


def _plain(cell: Cell) -> str:
    """Return a cell that is not text as the text it shows: 1.1, not 1.1000000000000001; dates as ISO 8601."""
    if isinstance(cell, float):
        return format(parse_decimal(cell).normalize(), "f")
    return cell if isinstance(cell, str) else str(cell)


def _is_code(text: str) -> bool:
    return not any(char.isalpha() for char in text)


def _text_of(row: list[Cell]) -> str:
    return " | ".join(_plain(cell).strip() for cell in row if is_filled(cell))
