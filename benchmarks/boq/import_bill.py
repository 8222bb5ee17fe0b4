"""Measure the import of a 100,000-row bill: seconds and peak memory, beside openpyxl when it is installed.

Run: python benchmarks/boq/import_bill.py [rows]
"""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import xlsxwriter

HEADERS = ("رقم البند", "وصف البند", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي", "ملاحظات")


def write_sheet(path: Path, rows: int) -> None:
    """Write a bill with a section every 500 rows and line totals as formulas."""
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    sheet = book.add_worksheet("BOQ")
    sheet.write_row(0, 0, HEADERS)
    row = 1
    for number in range(rows - 1):
        if number % 500 == 0:
            sheet.write_string(row, 1, f"أعمال المرحلة {number // 500 + 1} من المشروع")
        else:
            quantity, price = 10 + number % 977 + 0.25, 5 + number % 311 + 0.35
            sheet.write_row(row, 0, (f"{number // 500 + 1}.{number % 500}", f"توريد وتركيب بند رقم {number} حسب المواصفات", "م²", quantity, price))
            sheet.write_formula(row, 5, f"=ROUND(D{row + 1}*E{row + 1},2)", None, round(quantity * price, 2))
            sheet.write_string(row, 6, "حسب المخططات")
        row += 1
    book.close()


OURS = """
import sys; from noufal.boq._bill import read_bill
bill = read_bill(sys.argv[1], "big.xlsx")
print(len(bill.items), "items,", len(bill.sections), "sections,", bill.counts)
"""
EXPORT = """
import sys, time; from pathlib import Path; from noufal.boq._bill import read_bill; from noufal.boq._export import *
bill = read_bill(sys.argv[1], "big.xlsx"); started = time.perf_counter()
sections = [ExportSection(section.code, section.title) for section in bill.sections]
rows = (ExportRow(i.section, i.code, i.description, i.note, i.unit, i.quantity, i.unit_price, i.amount, i.rate_only, 0) for i in bill.items)
out = Path(sys.argv[1] + ".out.xlsx")
write_bill(out, title="t", sheet_name="BOQ", language="ar", sections=sections, rows=rows, vat_rate_bp=1500, show_prices=True)
print(f"export alone {time.perf_counter() - started:.2f} s")
back = read_bill(out, "big.xlsx")
for item in (*bill.items, *back.items): item.row = 0
print("read back identical:", back.items == bill.items)
"""
PEER = """
import sys, openpyxl
book = openpyxl.load_workbook(sys.argv[1], read_only=True, data_only=True)
print(sum(1 for row in book.active.iter_rows(values_only=True) if row[3]), "rows with a quantity")
"""


def measure(name: str, code: str, path: Path) -> None:
    """Run code in a process of its own and print its time and peak memory."""
    wrapper = f"{code}\nimport resource\nprint('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, 'MB')"
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", wrapper, str(path)], capture_output=True, text=True, check=True)
    wall, cpu = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    print(f"{name}: {wall:.2f} s wall, {cpu:.2f} s CPU; {' | '.join(done.stdout.splitlines())}")


def main() -> None:
    """Generate the sheet and measure each reader once."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.xlsx"
        write_sheet(path, rows)
        print(f"{rows} rows, {path.stat().st_size / 1e6:.1f} MB")
        measure("read_bill", OURS, path)
        measure("read, export, read back", EXPORT, path)
        if importlib.util.find_spec("openpyxl"):
            measure("openpyxl read-only", PEER, path)
        else:
            print("openpyxl is not installed: no peer measured")


if __name__ == "__main__":
    main()
