"""Bills of quantities: read from workbooks exactly, kept as integers, edited line by line, exported again.

    from pathlib import Path
    from noufal.app import create_platform
    from noufal.part import Erp
    from noufal.projects import NewProject
    from noufal.seed import COMMAND_LINE
    Path("bill.csv").write_text("البند,الوصف,الوحدة,الكمية,سعر الوحدة\\n1,حفر,م³,12.5,18\\n", encoding="utf-8")
    platform = create_platform()
    platform.start()
    erp = platform.service("noufal", Erp)
    erp.projects.create(COMMAND_LINE, NewProject(code="VILLA-09", name="فيلا النرجس"))
    report = erp.importer.run(COMMAND_LINE, "VILLA-09", Path("bill.csv"), "bill.csv", dry_run=True)
    assert (report.items, report.net_total, report.written) == (1, "225.00", False)
    platform.shutdown()
"""

from ._background import Accepted, BackgroundImports, ImportOutcome, ImportState
from ._history import HistoryEntry, ItemHistory, Timeline
from ._importer import Importer, Report
from ._model import Bill, BillItem, BillSection
from ._numbers import PRICE_SCALE, QUANTITY_SCALE, canonical_unit, scaled
from ._spool import Spool
from .service import Bills, Item, ItemChange, ItemPage, ItemQuery, Summary
from .tables import bill_sums

__all__ = [
    "PRICE_SCALE",
    "QUANTITY_SCALE",
    "Accepted",
    "BackgroundImports",
    "Bill",
    "BillItem",
    "BillSection",
    "Bills",
    "HistoryEntry",
    "ImportOutcome",
    "ImportState",
    "Importer",
    "Item",
    "ItemChange",
    "ItemHistory",
    "ItemPage",
    "ItemQuery",
    "Report",
    "Spool",
    "Summary",
    "Timeline",
    "bill_sums",
    "canonical_unit",
    "scaled",
]
