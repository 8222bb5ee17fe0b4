"""Write the demonstration projects into an empty system, and name the caller of the command line."""

from noufal.boq import Bill, BillItem, BillSection
from noufal.demo import DemoBill, building_bill, villa_bill
from noufal.membership import GLOBAL_PERMISSIONS
from noufal.money import vat_amount
from noufal.part import Erp
from noufal.projects import NewProject
from rakiza._kernel import Principal

COMMAND_LINE = Principal(
    id="command-line", name="noufal", email="", role="admin", permissions=GLOBAL_PERMISSIONS["admin"] | {"projects.create"}, kind="system"
)


def seed_demo(erp: Erp) -> list[str]:
    """Write the two demonstration projects when there is no project at all; return the codes written."""
    if erp.projects.page(COMMAND_LINE, 1).total:
        return []
    return [_write(erp, bill) for bill in (villa_bill(), building_bill())]


def _write(erp: Erp, demo: DemoBill) -> str:
    new = NewProject(
        code=demo.code,
        name=demo.name,
        name_en=demo.name_en,
        client=demo.client,
        start_date=demo.start_date,
        finish_date=demo.finish_date,
        vat_rate=f"{demo.vat_rate / 100:.2f}",
    )
    store = erp.bills.store
    with store.begin() as tx:  # the project and its bill, or neither
        erp.projects.create(COMMAND_LINE, new)
        access = erp.projects.access(tx, COMMAND_LINE, demo.code, "boq.import")
        erp.importer.write(COMMAND_LINE, access, _bill(demo), {line.code: line.progress for line in demo.items})
    return demo.code


def _bill(demo: DemoBill) -> Bill:
    items = [
        BillItem(
            position=number,
            section=line.section,
            code=line.code,
            description=line.description,
            note=None,
            unit=line.unit,
            unit_code=line.unit_code,
            quantity=line.quantity,
            unit_price=line.unit_price,
            amount=line.amount,
            rate_only=False,
            row=number,
        )
        for number, line in enumerate(demo.items, 1)
    ]
    sections = [BillSection(number, one.code, one.title) for number, one in enumerate(demo.sections, 1)]
    vat = vat_amount(demo.net, demo.vat_rate)
    return Bill(
        file_name="demo",
        sha256="",
        sheet="",
        layout="sectioned",
        columns=[],
        sections=sections,
        items=items,
        net=demo.net,
        vat_rate=demo.vat_rate,
        vat=vat,
        gross=demo.net + vat,
        stated_total=None,
        differences=[],
        ignored_rows=[],
        warnings=[],
        errors=[],
        counts={},
    )
