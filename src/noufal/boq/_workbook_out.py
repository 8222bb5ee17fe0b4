"""A bill as a workbook, written to a temporary file that goes when it is closed."""

import tempfile
from typing import BinaryIO, cast

from sqlalchemy import select

from rakiza._kernel import Principal

from ._export import ExportRow, ExportSection, Language, write_bill
from .service import Bills
from .tables import item, section

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def export_bill(bills: Bills, caller: Principal, code: str, language: Language) -> BinaryIO:
    """Return the bill of a project as an open .xlsx file at its start; without prices for a role that does not see them."""
    access = bills.projects.read_access(caller, code, "boq.export")
    with bills.store.read() as tx:
        sections = tx.execute(
            select(section.c.id, section.c.code, section.c.title).where(section.c.project_id == access.project_id).order_by(section.c.position)
        ).all()
        places = {row.id: place for place, row in enumerate(sections)}
        lines = tx.execute(select(item).where(item.c.project_id == access.project_id).order_by(item.c.position)).mappings().all()
    rows = (
        ExportRow(
            places[line["section_id"]],
            line["code"],
            line["description"],
            line["note"],
            line["unit"],
            line["quantity"],
            line["unit_price"],
            line["amount"],
            line["rate_only"],
            line["progress"],
        )
        for line in lines
    )
    file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller streams and closes it
    write_bill(
        file,
        title=access.name if language == "ar" else access.name_en or access.name,
        sheet_name=code,
        language=language,
        sections=[ExportSection(row.code, row.title) for row in sections],
        rows=rows,
        vat_rate_bp=access.vat_rate_bp,
        show_prices=access.may("boq.prices"),
    )
    file.seek(0)
    return file
