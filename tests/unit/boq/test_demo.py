from __future__ import annotations

import io

import pytest

from noufal.boq._bill import read_bill
from noufal.boq._export import ExportRow, ExportSection, write_bill
from noufal.boq._numbers import line_amount
from noufal.demo import DemoBill, building_bill, villa_bill

BILLS = [villa_bill(), building_bill()]


def test_sizes() -> None:
    villa, building = BILLS
    assert len(villa.items) >= 32
    assert len(villa.sections) == 8
    assert len(building.items) == 400
    assert len(building.sections) == 13


@pytest.mark.parametrize("bill", BILLS, ids=["villa", "building"])
def test_every_line_is_whole(bill: DemoBill) -> None:
    assert len({item.code for item in bill.items}) == len(bill.items)
    for item in bill.items:
        assert item.unit_code is not None, item.unit
        assert item.amount == line_amount(item.quantity, item.unit_price) > 0
        assert 0 <= item.progress <= 1_000_000
    assert {item.section for item in bill.items} == set(range(len(bill.sections)))


@pytest.mark.parametrize("bill", BILLS, ids=["villa", "building"])
def test_work_goes_from_the_ground_up(bill: DemoBill) -> None:
    shares = []
    for place in range(len(bill.sections)):
        items = [item for item in bill.items if item.section == place]
        shares.append(sum(item.progress for item in items) / len(items))
    assert shares[0] == 1_000_000
    assert shares[-1] == 0
    assert sum(0 < share < 1_000_000 for share in shares) >= 3
    assert bill.start_date < bill.finish_date


def test_twice_the_same() -> None:
    assert building_bill() == building_bill()


@pytest.mark.parametrize("bill", BILLS, ids=["villa", "building"])
def test_a_demo_bill_survives_export_and_import(bill: DemoBill) -> None:
    out = io.BytesIO()
    rows = [ExportRow(i.section, i.code, i.description, None, i.unit, i.quantity, i.unit_price, i.amount, False, i.progress) for i in bill.items]
    sections = [ExportSection(section.code, section.title) for section in bill.sections]
    write_bill(out, title=bill.name, sheet_name="المقايسة", language="ar", sections=sections, rows=rows, vat_rate_bp=1500, show_prices=True)
    read = read_bill(out.getvalue(), "demo.xlsx")
    assert (read.net, len(read.items), [section.title for section in read.sections]) == (
        bill.net,
        len(bill.items),
        [section.title for section in bill.sections],
    )
    assert read.counts == {"differences": 0, "ignored_rows": 0, "warnings": 0, "errors": 0}
