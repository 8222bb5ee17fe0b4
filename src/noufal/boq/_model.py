"""Hold a bill of quantities as it was read."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ._findings import Finding

Layout: TypeAlias = Literal["flat", "sectioned", "platform"]


class ColumnUse(msgspec.Struct, frozen=True):
    """Say which column was read as which field."""

    field: str
    header: str
    column: str


class BillSection(msgspec.Struct):
    """Hold one section; `position` counts from 1, the title is as written, number included."""

    position: int
    code: str | None
    title: str


class BillItem(msgspec.Struct):
    """Hold one line: quantity in millionths, price in 1/10,000 SAR, amount in halalas; `section` indexes `Bill.sections`."""

    position: int
    section: int
    code: str
    description: str
    note: str | None
    unit: str
    unit_code: str | None
    quantity: int
    unit_price: int
    amount: int
    rate_only: bool
    row: int


class Bill(msgspec.Struct):
    """Hold a bill as read; amounts in halalas, VAT rate in basis points; with `errors` it must not be written."""

    file_name: str
    sha256: str
    sheet: str
    layout: Layout
    columns: list[ColumnUse]
    sections: list[BillSection]
    items: list[BillItem]
    net: int
    vat_rate: int
    vat: int
    gross: int
    stated_total: int | None
    differences: list[Finding]
    ignored_rows: list[Finding]
    warnings: list[Finding]
    errors: list[Finding]
    counts: dict[str, int]
