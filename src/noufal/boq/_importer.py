"""Write a bill that was read: all or nothing, matched by code with what the project already has."""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec
from sqlalchemy import func, insert, select

from noufal._history import Fact
from noufal.money import basis_points_text, money_text
from noufal.projects import DEFAULT_VAT_BP, Access, NewProject
from rakiza._kernel import Principal
from rakiza._kernel.tasks import after_fork
from rakiza.errors import NotFoundError, ValidationError
from rakiza.store import Transaction

from ._bill import read_bill
from ._findings import Finding, UnreadableWorkbook, message
from ._model import Bill, ColumnUse
from ._progress import Tell, quiet
from ._revision import Changes, Ledger, facts
from .service import Bills, recount
from .tables import bill_import, section

PARALLEL_IMPORTS = 2
LONGEST_FILE_NAME = 200


Keep = Callable[[Transaction, "Report"], object]


class SectionLine(msgspec.Struct):
    """Sum one section of a bill that was read."""

    title: str
    items: int
    total: str


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
        self.bills = bills
        self._ledger = Ledger(bills.store)
        self._restart()
        after_fork(self._restart)

    def _restart(self) -> None:
        self._slots = threading.BoundedSemaphore(PARALLEL_IMPORTS)  # each may hold a 50 MB workbook in memory

    def run(
        self,
        caller: Principal,
        code: str,
        source: Path | bytes | BinaryIO,
        file_name: str,
        *,
        dry_run: bool,
        create: NewProject | None = None,
        tell: Tell = quiet,
        keep: Keep = lambda _tx, _report: None,
    ) -> Report:
        """Read a workbook and, unless `dry_run`, write it in one transaction; `create` is the project to make with it when there is none.

        `tell` hears how far it is; `keep` gets the report in the transaction that writes. Raises ValidationError for a file that is no bill,
        and with the report for a bill with errors: nothing is written then.
        """
        access = self._access(caller, code, or_none=create is not None)
        with self._slots:
            bill = self._read(source, clean_file_name(file_name), access.vat_rate_bp if access else DEFAULT_VAT_BP, tell)
            tell("compare", 0, 1)
            if dry_run:
                return self._preview(access, bill)
            if bill.errors:
                raise _rejected(bill)
            with self.bills.store.begin() as tx:
                if access is None and create is not None:
                    self.bills.projects.create(caller, create)
                access = self.bills.projects.access(tx, caller, code, "boq.import")
                refuse_lost_prices(tx, access, bill)
                if bill.errors:
                    raise _rejected(bill)
                report = self.write(caller, access, bill, tell=tell)
                keep(tx, report)
                return report

    def write(self, caller: Principal, access: Access, bill: Bill, progress: Mapping[str, int] | None = None, *, tell: Tell = quiet) -> Report:
        """Write a bill in one transaction; `progress` gives new items (by code) their share of the whole in millionths."""
        bills, now = self.bills, self.bills.clock.now()
        with bills.store.begin() as tx:
            bills.projects.lock(tx, access)
            revision = self._ledger.compare(tx, access, bill)
            changes = revision.counts()
            if revision.empty() and self._same_file(tx, access, bill):
                return msgspec.structs.replace(_report(bill, changes), unchanged=True)
            import_id = _write_import(tx, caller, access, bill, now)
            self._ledger.write(tx, access, bill, revision, now=now, import_id=import_id, progress=progress or {}, tell=tell)
            recount(tx, project_id=access.project_id)
            bills.projects.changed(tx, access.tenant, access.code)
            bills.history.record(tx, caller, access.code, chain([_imported(bill, changes)], facts(bill, revision)))
            details = {"file": bill.file_name, "sha256": bill.sha256, "items": len(bill.items), **msgspec.structs.asdict(changes)}
            bills.audit.record("sensitive_update", "IMPORT", f"project:{access.code}/boq", details, caller.id, tx=tx)
        return msgspec.structs.replace(_report(bill, changes), written=True)

    def _access(self, caller: Principal, code: str, *, or_none: bool) -> Access | None:
        try:
            with self.bills.store.read() as tx:
                return self.bills.projects.access(tx, caller, code, "boq.import")
        except NotFoundError:
            if or_none:
                return None
            raise

    @staticmethod
    def _read(source: Path | bytes | BinaryIO, file_name: str, vat_rate_bp: int, tell: Tell) -> Bill:
        try:
            return read_bill(source, file_name, vat_rate_bp=vat_rate_bp, tell=tell)
        except UnreadableWorkbook as error:
            raise refused_file(error) from None

    def _preview(self, access: Access | None, bill: Bill) -> Report:
        if access is None:
            return _report(bill, Changes(added=len(bill.items)), dry_run=True)
        with self.bills.store.read() as tx:
            refuse_lost_prices(tx, access, bill)
            revision = self._ledger.compare(tx, access, bill)
            same = revision.empty() and self._same_file(tx, access, bill)
        return msgspec.structs.replace(_report(bill, revision.counts(), dry_run=True), unchanged=same)

    def _same_file(self, tx: Transaction, access: Access, bill: Bill) -> bool:
        last = self.bills.last_import(tx, access)
        return last is not None and last[3] == bill.sha256


def _write_import(tx: Transaction, caller: Principal, access: Access, bill: Bill, now: datetime) -> int:
    row = {"file_name": bill.file_name, "sha256": bill.sha256, "items": len(bill.items), "net": bill.net, "imported_at": now}
    who = {"imported_by": caller.name, "user_id": caller.id}
    made = insert(bill_import).values(tenant_id=access.tenant, project_id=access.project_id, **row, **who).returning(bill_import.c.id)
    return int(tx.execute(made).scalar_one())


def _imported(bill: Bill, changes: Changes) -> Fact:
    totals = {"net_total": money_text(bill.net), "vat_total": money_text(bill.vat), "gross_total": money_text(bill.gross)}
    counts = {"items": len(bill.items), "sections": len(bill.sections), **msgspec.structs.asdict(changes)}
    return Fact("boq.imported", {"file": bill.file_name, "sha256": bill.sha256, **counts, **totals, "vat_rate": basis_points_text(bill.vat_rate)})


def refused_file(error: UnreadableWorkbook) -> ValidationError:
    """Return the refusal of a file that is no bill."""
    finding = Finding("", None, None, error.code, error.message_en, error.message_ar)
    return ValidationError(error.message_en, code=error.code, hint=error.hint_en, message_ar=error.message_ar, errors=[finding])


def refuse_lost_prices(tx: Transaction, access: Access, bill: Bill) -> None:
    """Make a bill without prices an error for a project that has them: an export made without prices would set them all to zero."""
    if not any(warning.code == "no_price_column" for warning in bill.warnings):
        return
    if tx.scalar(select(func.sum(section.c.amount)).where(section.c.tenant_id == access.tenant, section.c.project_id == access.project_id)):
        bill.errors.append(Finding(bill.sheet, None, None, "prices_would_go", *message("prices_would_go")))
        bill.counts["errors"] += 1


def clean_file_name(name: str) -> str:
    """Return the last part of a file's name without signs that hide or reorder text, at most 200 characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = " ".join("".join(sign if sign.isprintable() else " " for sign in last).split())
    stem, dot, suffix = clean.rpartition(".")
    if len(clean) > LONGEST_FILE_NAME:
        clean = stem[: LONGEST_FILE_NAME - 1 - len(suffix)] + dot + suffix if len(suffix) < 10 else clean[:LONGEST_FILE_NAME]
    return clean or "workbook"


def _rejected(bill: Bill) -> ValidationError:
    return ValidationError(
        f"{bill.counts['errors']} errors in {bill.file_name}; nothing was written",
        code="import_rejected",
        message_ar="في الملف أخطاء ولم يُكتب شيء",
        errors=bill.errors,
        extra={"report": _report(bill, Changes())},
    )


def _report(bill: Bill, changes: Changes, *, dry_run: bool = False) -> Report:
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
        changes=changes,
    )
