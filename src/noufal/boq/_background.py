"""Import large files as jobs: taken in the request, read and written by a worker, exactly once, with progress."""

from datetime import datetime, timedelta
from typing import BinaryIO, cast

import msgspec
from sqlalchemy import delete, insert, select, update

from noufal._http import Problem
from rakiza._kernel import Principal, current
from rakiza.errors import AppError, ForbiddenError, NotFoundError, ValidationError, problem
from rakiza.jobs import Jobs, JobView, Retry, RunningJob
from rakiza.security import Security
from rakiza.store import Transaction, as_utc

from ._findings import UnreadableWorkbook
from ._importer import Importer, Report, clean_file_name, refused_file
from ._progress import Tell
from ._spool import Spool
from ._workbook import Limits, glance
from .service import BIGGEST_KEY
from .tables import upload

TASK = "boq:import"
OPTIONS: dict[str, object] = {"queue": "imports", "concurrency_key": "project:{code}", "key_limit": 1, "max_attempts": 3}
UNKNOWN_FILE_HOURS, KEEP_DAYS = 24, 30
ENDED = frozenset({"done", "failed", "cancelled"})
SHARES = {"open": (2, 8), "read": (8, 50), "compare": (50, 55), "write": (55, 97)}
"""Where each stage begins and ends, in per cent of the whole."""
TEXTS = {
    "open": ("يُفتح الملف", "Opening the file"),
    "read": ("الصفوف المقروءة: {done:,} من {total:,}", "Rows read: {done:,} of {total:,}"),
    "compare": ("يُقارن بجدول الكميات الحالي", "Comparing with the bill there is"),
    "write": ("البنود المكتوبة: {done:,} من {total:,}", "Items written: {done:,} of {total:,}"),
}
GONE = {
    "failed": ("import_failed", "several attempts at the import failed; nothing was written", "تعذر الاستيراد بعد عدة محاولات ولم يُكتب شيء"),
    "cancelled": ("import_cancelled", "an operator cancelled the import; nothing was written", "ألغى المشغّل الاستيراد ولم يُكتب شيء"),
}


class Accepted(msgspec.Struct, frozen=True):
    """Name the job that imports a file."""

    job_id: int


class ImportTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Be the arguments of the job: the project, the file as it was called and as it is kept, and for whom it is imported."""

    code: str
    file: str
    upload: str
    user_id: str
    dry_run: bool


class ImportOutcome(msgspec.Struct, omit_defaults=True):
    """Hold what came of an import: its report, or why there is none."""

    report: Report | None = None
    problem: Problem | None = None


class ImportState(msgspec.Struct, kw_only=True):
    """Show how far an import is; at the end `report`, or `problem` when there is none."""

    job_id: int
    file: str
    dry_run: bool
    created_at: datetime
    state: str
    progress: int | None
    progress_text_en: str | None
    progress_text_ar: str | None
    report: Report | None
    problem: Problem | None


class BackgroundImports:
    """Import files in the background for whoever may import them."""

    def __init__(self, importer: Importer, jobs: Jobs, security: Security, spool: Spool, *, limit_bytes: int) -> None:
        self._importer, self._jobs, self._security, self._spool = importer, jobs, security, spool
        self._bills = importer.bills
        self.limit_bytes = limit_bytes
        """Files larger than this are imported by a job when the caller does not say."""
        jobs.job(TASK, **OPTIONS)(self.work)

    def take(self, caller: Principal, code: str, file: BinaryIO, size: int, file_name: str, *, dry_run: bool) -> Accepted:
        """Keep a file and enqueue its import; raise NotFoundError, ForbiddenError, ValidationError for what cannot be a workbook."""
        with self._bills.store.read() as tx:
            self._bills.projects.access(tx, caller, code, "boq.import")
        try:
            glance(file, size, Limits())
        except UnreadableWorkbook as error:
            raise refused_file(error) from None
        name, shown = self._spool.take(file), clean_file_name(file_name)
        task = ImportTask(code, shown, name, caller.id, dry_run)
        try:
            with self._bills.store.begin() as tx:
                access = self._bills.projects.access(tx, caller, code, "boq.import")
                job_id = self._jobs.add_job(TASK, task, tenant=access.tenant, tx=tx).id
                row = {"tenant_id": access.tenant, "project_id": access.project_id, "job_id": job_id, "spool": name, "file_name": shown}
                tx.execute(insert(upload).values(**row, dry_run=dry_run, created_at=self._bills.clock.now()))
        except BaseException:
            self._spool.drop(name)
            raise
        return Accepted(job_id)

    def work(self, task: ImportTask, job: RunningJob) -> dict[str, object]:
        """Be the job: what another attempt would not mend is its result, and what an earlier attempt has written is not written again."""
        outcome = self._outcome(job) or self._import(task, job)
        self._spool.drop(task.upload)
        return _brief(outcome)

    def _import(self, task: ImportTask, job: RunningJob) -> ImportOutcome:
        def keep(tx: Transaction, report: Report) -> None:
            self._keep(tx, job, ImportOutcome(report=report))

        path = self._spool.path(task.upload)
        if not path.is_file():
            raise Retry(f"{task.file} is not in {self._spool.folder}, which every worker must share with the server that took the file")
        try:
            caller = self._security.principal(task.user_id)
            report = self._importer.run(caller, task.code, path, task.file, dry_run=task.dry_run, tell=_teller(job), keep=keep)
            outcome = ImportOutcome(report=report)
        except (ValidationError, NotFoundError, ForbiddenError) as refused:
            outcome = _refused(refused)
        if task.dry_run or not (outcome.report and (outcome.report.written or outcome.report.unchanged)):
            with self._bills.store.begin() as tx:
                self._keep(tx, job, outcome)
        return outcome

    def _outcome(self, job: RunningJob) -> ImportOutcome | None:
        with self._bills.store.read() as tx:
            text = tx.scalar(select(upload.c.outcome).where(upload.c.tenant_id == job.tenant, upload.c.job_id == job.id))
        return None if text is None else msgspec.json.decode(text, type=ImportOutcome)

    @staticmethod
    def _keep(tx: Transaction, job: RunningJob, outcome: ImportOutcome) -> None:
        """Write what came of it; raise Retry, which undoes the transaction, when another attempt was faster."""
        mine = (upload.c.tenant_id == job.tenant, upload.c.job_id == job.id, upload.c.outcome.is_(None))
        if tx.execute(update(upload).where(*mine).values(outcome=msgspec.json.encode(outcome).decode())).rowcount == 0:
            raise Retry("another attempt at this import was faster")

    def look(self, caller: Principal, code: str, job_id: int) -> ImportState:
        """Return how far an import is; raise NotFoundError for one of another project, ForbiddenError."""
        job = self._job(job_id)  # first: a job that is done has an outcome
        with self._bills.store.read() as tx:
            access = self._bills.projects.access(tx, caller, code, "boq.import")
            mine = (upload.c.tenant_id == access.tenant, upload.c.project_id == access.project_id, upload.c.job_id == min(job_id, BIGGEST_KEY))
            row = tx.execute(select(upload).where(*mine)).one_or_none()
        if row is None:
            raise NotFoundError(f"no import {job_id} in this project", message_ar="لا يوجد استيراد بهذا الرقم في هذا المشروع")
        outcome = msgspec.json.decode(row.outcome, type=ImportOutcome) if row.outcome is not None else ImportOutcome()
        state = "done" if row.outcome is not None else job.state if job else "failed"
        if state in GONE:
            number, detail, detail_ar = GONE[state]
            outcome.problem = _problem(AppError(detail, code=number, message_ar=detail_ar))
        percent, text_ar, text_en = _said(job) if job and state not in ENDED else (100 if state == "done" else None, None, None)
        return ImportState(
            job_id=job_id,
            file=row.file_name,
            dry_run=row.dry_run,
            created_at=as_utc(row.created_at),
            state=state,
            progress=percent,
            progress_text_en=text_en,
            progress_text_ar=text_ar,
            report=outcome.report,
            problem=outcome.problem,
        )

    def _job(self, job_id: int) -> JobView | None:
        try:
            return self._jobs.get_job(job_id) if job_id <= BIGGEST_KEY else None
        except NotFoundError:
            return None

    def sweep(self) -> None:
        """Delete the files of imports that have ended and those nobody knew for a day, and what was reported long ago."""
        now = self._bills.clock.now()
        unknown = (now - timedelta(hours=UNKNOWN_FILE_HOURS)).timestamp()
        for name, came in self._spool.files():
            with self._bills.store.read() as tx:
                row = tx.execute(select(upload.c.job_id, upload.c.outcome).where(upload.c.spool == name)).one_or_none()
            if (came < unknown) if row is None else (row.outcome is not None or self._has_ended(row.job_id)):
                self._spool.drop(name)
        with self._bills.store.begin() as tx:
            tx.execute(delete(upload).where(upload.c.created_at < now - timedelta(days=KEEP_DAYS)))

    def _has_ended(self, job_id: int) -> bool:
        job = self._job(job_id)
        return job is None or job.state in ENDED


def _teller(job: RunningJob) -> Tell:
    def tell(stage: str, done: int, total: int) -> None:
        begin, end = SHARES[stage]
        said = (text.format(done=done, total=total) for text in TEXTS[stage])
        job.progress(begin + (end - begin) * done / max(1, total), "\n".join(said))

    return tell


def _said(job: JobView) -> tuple[int | None, str | None, str | None]:
    """Return the progress of a job, and its text in Arabic and English."""
    arabic, _, english = (job.progress_text or "").partition("\n")
    return job.progress, arabic or None, english or None


def _refused(error: AppError) -> ImportOutcome:
    report = (error.extra or {}).get("report")
    return ImportOutcome(report=report) if isinstance(report, Report) else ImportOutcome(problem=_problem(error))


def _problem(error: AppError) -> Problem:
    context = current()
    return msgspec.json.decode(problem(error, context.request_id if context else ""), type=Problem)


def _brief(outcome: ImportOutcome) -> dict[str, object]:
    """Return what the job's own result says; the report may be larger than a result."""
    if outcome.report is None:
        return {"written": False, "refused": cast("Problem", outcome.problem).code}
    names = ("written", "unchanged", "items", "net_total", "counts", "changes")
    return {name: msgspec.to_builtins(getattr(outcome.report, name)) for name in names}
