"""Write a bill that was read: all or nothing, matched by code with what the project already has."""

import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from noufal.money import basis_points_text, earned_amount, money_text
from noufal.projects import Access
from rakiza._kernel import Principal
from rakiza.errors import ValidationError
from rakiza.store import Transaction

from ._bill import read_bill
from ._findings import Finding, UnreadableWorkbook
from ._model import Bill, BillItem, ColumnUse
from ._numbers import normalise_text
from .service import Bills, recount
from .tables import bill_import, item, section

T = TypeVar("T")
PARALLEL_IMPORTS = 2
CHUNK = 5_000
_CONTENT = ("position", "description", "note", "unit", "unit_code", "quantity", "unit_price", "rate_only")


class SectionLine(msgspec.Struct):
    """Sum one section of a bill that was read."""

    title: str
    items: int
    total: str


class Changes(msgspec.Struct):
    """Count what an import would do to the items the project has."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


class Report(msgspec.Struct, kw_only=True):
    """Tell what was read from a file and what was, or would be, written."""

    file: str
    sha256: str
    sheet: str
    layout: str
    dry_run: bool
    written: bool
    unchanged: bool
    items: int
    sections: int
    net_total: str
    vat_rate: str
    vat_total: str
    gross_total: str
    stated_total: str | None
    differences: list[Finding]
    ignored_rows: list[Finding]
    warnings: list[Finding]
    errors: list[Finding]
    counts: dict[str, int]
    columns: list[ColumnUse]
    section_list: list[SectionLine]
    changes: Changes


class Importer:
    """Read workbooks, report, and write them."""

    def __init__(self, bills: Bills) -> None:
        self._bills = bills
        self._slots = threading.BoundedSemaphore(PARALLEL_IMPORTS)  # each may hold a 50 MB workbook in memory

    def run(self, caller: Principal, code: str, source: Path | bytes | BinaryIO, file_name: str, *, dry_run: bool) -> Report:
        """Read a workbook and, unless `dry_run`, write it in one transaction.

        Raises ValidationError for a file that is no bill, and with the report for a bill with errors: nothing is written then.
        """
        bills = self._bills
        with bills.store.read() as tx:
            access = bills.projects.access(tx, caller, code, "boq.import")
        with self._slots:
            bill = self._read(source, file_name, access.vat_rate_bp)
            if dry_run:
                with bills.store.read() as tx:
                    return self._report(bill, self._plan(tx, access, bill), dry_run=True)
            if bill.errors:
                report = self._report(bill, Changes(), dry_run=False)
                message = f"{bill.counts['errors']} errors in {file_name}; nothing was written"
                raise ValidationError(
                    message, code="import_rejected", message_ar="في الملف أخطاء ولم يُكتب شيء", errors=bill.errors, extra={"report": report}
                )
            return self.write(caller, access, bill)

    @staticmethod
    def _read(source: Path | bytes | BinaryIO, file_name: str, vat_rate_bp: int) -> Bill:
        try:
            return read_bill(source, file_name, vat_rate_bp=vat_rate_bp)
        except UnreadableWorkbook as error:
            finding = Finding("", None, None, error.code, error.message_en, error.message_ar)
            raise ValidationError(error.message_en, code=error.code, hint=error.hint_en, message_ar=error.message_ar, errors=[finding]) from None

    def write(self, caller: Principal, access: Access, bill: Bill, progress: Mapping[str, int] | None = None) -> Report:
        """Write a bill in one transaction; `progress` gives new items (by code) their share of the whole in millionths."""
        bills = self._bills
        now = bills.clock.now()
        with bills.store.begin() as tx:
            last = bills.last_import(tx, access)
            plan = self._plan(tx, access, bill)
            if last and last[3] == bill.sha256 and not (plan.added or plan.changed or plan.removed):
                return msgspec.structs.replace(self._report(bill, plan, dry_run=False), unchanged=True)
            sections = self._write_sections(tx, access, bill)
            _write_items(tx, access, bill, sections, now=now, progress=progress or {})
            _drop_unused_sections(tx, access, sections)
            recount(tx, project_id=access.project_id)
            tx.execute(
                insert(bill_import).values(
                    tenant_id=access.tenant,
                    project_id=access.project_id,
                    file_name=bill.file_name,
                    sha256=bill.sha256,
                    items=len(bill.items),
                    net=bill.net,
                    imported_at=now,
                    imported_by=caller.name,
                )
            )
            details = {"file": bill.file_name, "sha256": bill.sha256, "items": len(bill.items), **msgspec.structs.asdict(plan)}
            tx.after_commit(lambda: bills.audit.record("sensitive_update", "IMPORT", f"project:{access.code}/boq", details))
        return msgspec.structs.replace(self._report(bill, plan, dry_run=False), written=True)

    @staticmethod
    def _plan(tx: Transaction, access: Access, bill: Bill) -> Changes:
        columns = [item.c.code, section.c.title, *(item.c[name] for name in _CONTENT)]
        statement = select(*columns).join(section).where(item.c.tenant_id == access.tenant, item.c.project_id == access.project_id)
        had = {row[0]: row[1:] for row in map(tuple, tx.execute(statement))}
        plan = Changes()
        for number, line in enumerate(bill.items, 1):
            old = had.pop(line.code, None)
            if old is None:
                plan.added += 1
            elif old == (bill.sections[line.section].title, *_content(number, line).values()):
                plan.unchanged += 1
            else:
                plan.changed += 1
        plan.removed = len(had)
        return plan

    @staticmethod
    def _write_sections(tx: Transaction, access: Access, bill: Bill) -> list[int]:
        """Return the row of each section of the bill; a title the project has keeps its row."""
        mine = (section.c.tenant_id == access.tenant, section.c.project_id == access.project_id)
        had: dict[str, list[int]] = {}
        for row in tx.execute(select(section.c.id, section.c.title).where(*mine).order_by(section.c.position)):
            had.setdefault(row.title, []).append(row.id)
        found: list[int] = []
        for number, line in enumerate(bill.sections, 1):
            values = {"position": number, "code": line.code, "title": line.title}
            known = had.get(line.title)
            if known:
                identity = known.pop(0)
                tx.execute(update(section).where(section.c.id == identity).values(**values))
            else:
                made = insert(section).values(tenant_id=access.tenant, project_id=access.project_id, **values).returning(section.c.id)
                identity = tx.execute(made).scalar_one()
            found.append(identity)
        return found

    @staticmethod
    def _report(bill: Bill, plan: Changes, *, dry_run: bool) -> Report:
        counts, totals = [0] * len(bill.sections), [0] * len(bill.sections)
        for line in bill.items:
            counts[line.section] += 1
            totals[line.section] += line.amount
        return Report(
            file=bill.file_name,
            sha256=bill.sha256,
            sheet=bill.sheet,
            layout=bill.layout,
            dry_run=dry_run,
            written=False,
            unchanged=False,
            items=len(bill.items),
            sections=len(bill.sections),
            net_total=money_text(bill.net),
            vat_rate=basis_points_text(bill.vat_rate),
            vat_total=money_text(bill.vat),
            gross_total=money_text(bill.gross),
            stated_total=None if bill.stated_total is None else money_text(bill.stated_total),
            differences=bill.differences,
            ignored_rows=bill.ignored_rows,
            warnings=bill.warnings,
            errors=bill.errors,
            counts=bill.counts,
            columns=bill.columns,
            section_list=[SectionLine(one.title, counts[n], money_text(totals[n])) for n, one in enumerate(bill.sections)],
            changes=plan,
        )


def _content(number: int, line: BillItem) -> dict[str, object]:
    return {
        "position": number,
        "description": line.description,
        "note": line.note,
        "unit": line.unit,
        "unit_code": line.unit_code,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "rate_only": line.rate_only,
    }


def _write_items(tx: Transaction, access: Access, bill: Bill, sections: list[int], *, now: datetime, progress: Mapping[str, int]) -> None:
    """Insert new items, update known ones (their progress stays), delete those the bill no longer has."""
    mine = (item.c.tenant_id == access.tenant, item.c.project_id == access.project_id)
    had = {row.code: (row.id, row.progress) for row in tx.execute(select(item.c.id, item.c.code, item.c.progress).where(*mine))}
    new: list[dict[str, object]] = []
    known: list[dict[str, object]] = []
    for number, line in enumerate(bill.items, 1):
        values = _content(number, line)
        values |= {"section_id": sections[line.section], "amount": line.amount, "updated_at": now}
        values["search"] = normalise_text(f"{line.code} {line.description}")
        old = had.pop(line.code, None)
        if old is None:
            share = progress.get(line.code, 0)
            values |= {"progress": share, "earned": earned_amount(line.amount, share)}
            new.append({**values, "tenant_id": access.tenant, "project_id": access.project_id, "code": line.code})
        else:
            known.append({**values, "row": old[0], "earned": earned_amount(line.amount, old[1])})
    for chunk in _chunks([identity for identity, _ in had.values()]):
        tx.execute(delete(item).where(item.c.id.in_(chunk)))
    if known:
        changing: dict[str, object] = {name: bindparam(name) for name in known[0] if name != "row"}
        for part in _chunks(known):
            tx.execute(update(item).where(item.c.id == bindparam("row")).values(version=item.c.version + 1, **changing), part)
    for part in _chunks(new):
        tx.execute(insert(item), part)


def _drop_unused_sections(tx: Transaction, access: Access, kept: list[int]) -> None:
    used = set(kept)
    mine = (section.c.tenant_id == access.tenant, section.c.project_id == access.project_id)
    unused = [identity for identity in tx.execute(select(section.c.id).where(*mine)).scalars() if identity not in used]
    for chunk in _chunks(unused):
        tx.execute(delete(section).where(section.c.id.in_(chunk)))


def _chunks(values: list[T]) -> Iterable[list[T]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
