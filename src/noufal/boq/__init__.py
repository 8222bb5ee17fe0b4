"""Bills of quantities: read from workbooks exactly, kept as integers, edited line by line, exported again.

    from noufal.boq import canonical_unit, scaled
    assert canonical_unit("م.ط") == "m"
    assert scaled("١٢٫٥", 1_000_000) == 12_500_000
"""

from ._importer import Importer, Report
from ._model import Bill, BillItem, BillSection
from ._numbers import PRICE_SCALE, QUANTITY_SCALE, canonical_unit, scaled
from .service import Bills, Item, ItemChange, ItemPage, ItemQuery, Summary
from .tables import bill_sums

__all__ = [
    "PRICE_SCALE",
    "QUANTITY_SCALE",
    "Bill",
    "BillItem",
    "BillSection",
    "Bills",
    "Importer",
    "Item",
    "ItemChange",
    "ItemPage",
    "ItemQuery",
    "Report",
    "Summary",
    "bill_sums",
    "canonical_unit",
    "scaled",
]
