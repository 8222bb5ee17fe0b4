"""Bills of quantities: read from workbooks exactly, kept as integers, edited line by line, exported again.

    report = importer.run(caller, "VILLA-01", Path("bill.xlsx"), "bill.xlsx", dry_run=True)
"""

from ._importer import Importer, Report
from .service import Bills, Item, ItemChange, ItemPage, ItemQuery, Summary
from .tables import bill_sums

__all__ = ["Bills", "Importer", "Item", "ItemChange", "ItemPage", "ItemQuery", "Report", "Summary", "bill_sums"]
