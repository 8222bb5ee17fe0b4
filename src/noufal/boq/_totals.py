"""Compare the totals written in a sheet with the sums of its items."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from ._findings import Findings, column_letter, excerpt, money
from ._layout import is_grand, is_vat
from ._numbers import BASIS_POINTS, PRICE_SCALE, QUANTITY_SCALE, vat_amount

_HALALA: Final = Decimal("0.01")


class Sums(msgspec.Struct):
    """Hold running sums in halalas: of the section, since the last total, so far; and the exact sum so far in 1/10¹⁰ SAR."""

    section: int = 0
    since_total: int = 0
    net: int = 0
    exact: int = 0

    def add(self, amount: int, exact: int) -> None:
        """Add one line."""
        self.section += amount
        self.since_total += amount
        self.net += amount
        self.exact += exact


class StatedTotal(msgspec.Struct):
    """Hold a total row: its label, its value in SAR, the sums when it came, and how many items stood before it."""

    row: int
    label: str
    value: Decimal
    sums: tuple[int, ...]
    items_before: int

    @property
    def halalas(self) -> int:
        """Return the value rounded half up to halalas."""
        return int((self.value * 100).quantize(Decimal(1), ROUND_HALF_UP))


class Totals:
    """Collect total rows and judge them when all items are known."""

    def __init__(self, vat_rate: int, column: int) -> None:
        self.vat_rate = vat_rate
        self.column = column_letter(column) if column >= 0 else None
        self.rows: list[StatedTotal] = []

    def add(self, row: int, label: str, value: Decimal, sums: Sums, items_before: int) -> None:
        """Add a total row (index from 0)."""
        self.rows.append(StatedTotal(row, label, value, (sums.section, sums.since_total, sums.net), items_before))
        if not is_vat(label):
            sums.since_total = 0

    def judge(self, findings: Findings, sums: Sums, items: int, first_row: int) -> int | None:
        """Report totals that fit nothing and return the stated total of the bill in halalas, or None."""
        final = [total for total in self.rows if total.items_before == items or total.row < first_row]
        grand = self._grand_total(final, sums, first_row)
        for total in self.rows:
            if total is grand:
                self._judge_grand(total, findings, sums)
            elif not self._fits_part(total, sums):
                self._report_part(total, findings)
        return grand.halalas if grand else None

    def _grand_total(self, final: list[StatedTotal], sums: Sums, first_row: int) -> StatedTotal | None:
        candidates = [total for total in final if not is_vat(total.label)]
        for rate in (0, self.vat_rate):
            for total in candidates:
                if self._fits_bill(total, sums, rate):
                    return total
        labelled = [total for total in candidates if total.label or total.row >= first_row]
        unexplained = [total for total in labelled if is_grand(total.label) or not self._fits_part(total, sums)]
        return max(unexplained, key=lambda total: (is_grand(total.label), -total.row), default=None)

    def _judge_grand(self, total: StatedTotal, findings: Findings, sums: Sums) -> None:
        if any(self._fits_bill(total, sums, rate) for rate in (0, self.vat_rate)):
            return
        gross = sums.net + vat_amount(sums.net, self.vat_rate)
        findings.add(
            "differences",
            "stated_total_mismatch",
            total.row + 1,
            self.column,
            stated=money(total.halalas),
            net=money(sums.net),
            gross=money(gross),
        )

    def _fits_bill(self, total: StatedTotal, sums: Sums, rate: int) -> bool:
        rounded = sums.net + vat_amount(sums.net, rate)
        exact = Decimal(sums.exact * (BASIS_POINTS + rate)) / (QUANTITY_SCALE * PRICE_SCALE * BASIS_POINTS)
        return total.halalas == rounded or abs(total.value - exact) < _HALALA

    def _fits_part(self, total: StatedTotal, sums: Sums) -> bool:
        for part in (*total.sums, sums.net):
            vat = vat_amount(part, self.vat_rate)
            if any(abs(total.halalas - amount) <= 1 for amount in (part, vat, part + vat)):
                return True
        return False

    def _report_part(self, total: StatedTotal, findings: Findings) -> None:
        if not total.label:
            findings.add("ignored_rows", "unlabelled_number", total.row + 1, value=money(total.halalas))
            return
        label, since = excerpt(total.label), total.sums[1] or total.sums[2]
        computed = vat_amount(total.sums[2], self.vat_rate) if is_vat(total.label) else since
        findings.add(
            "differences", "subtotal_mismatch", total.row + 1, self.column, value=label, stated=money(total.halalas), computed=money(computed)
        )
