"""Backups as a part."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import sqlalchemy as sa

from rakiza._kernel import Check, CheckResult, Context, Migrations, Part, SettingsError, UnitOfWork
from rakiza._kernel.ports import RESTORED
from rakiza.caching import CacheManager
from rakiza.errors import ValidationError
from rakiza.jobs import Cancel, Jobs, RunningJob, ScheduleError, Snooze, trigger
from rakiza.jobs.tables import JOB, QUEUE
from rakiza.security import Security
from rakiza.store import MigrationError, StorageError, Store, StoreError, Transaction, epoch_of, migrate
from rakiza.telemetry import Telemetry

from ._attached import Entry
from ._core import Copy, Manifest, overdue
from ._desk import Desk, Running
from ._drills import drills
from ._examination import examine
from ._maintenance import Announcer
from ._offsite import COPY_TASK
from ._outcomes import Verification
from ._pitr import pitr_command
from .commands import commands
from .errors import BackupNotFoundError, BackupRefusedError, BackupRunningError
from .http import routes
from .scheduler import AGAIN_SECONDS, DAILY, DRILL, DRILL_TASK, TASK, TASKS, BackupScheduler
from .service import DatabaseBackup
from .settings import BackupSettings

LINE = "backups"
"""The queue of backups, which goes on after a restore: the next night must not be without one."""
COPY_ATTEMPTS = 300
LONGEST_SECONDS = 6 * 3600.0
DRILL_AFTER_HOURS = 2
DOTENV = Path(".env")
log = logging.getLogger("rakiza.backup")


def part(settings: BackupSettings, ctx: Context) -> Part:
    """Build backups of the platform's database, in a folder, by the clock when the settings say so."""
    store = ctx.need("store", Store)
    manager = _manager(settings, ctx, store)
    manager.ready, manager.restored = partial(_bring_up_to_date, ctx), [partial(_tell_all, ctx)]
    manager.keep_before = settings.keep_before
    manager.swapped, manager.epoch, manager.scrub = partial(_forget_all, ctx), partial(epoch_of, store), ctx.scrub
    announcer = Announcer(manager.folder.path, ctx, publishes=store.dialect == "postgresql")
    manager.quiet = announcer.during
    _check_places(manager)
    desk = Desk(manager, ctx.ports)
    desk.look, desk.scrub = announcer.look, ctx.redactor.text
    if ctx.has("jobs"):
        manager.jobs = ctx.need("jobs", Jobs)
        _take_jobs(manager.jobs, desk)
        _take_copy_job(manager.jobs, desk)
    scheduler = BackupScheduler(manager, timezone=settings.timezone, clock=ctx.clock)
    if settings.scheduler:
        _check_time(settings, ctx)
    if ctx.has("telemetry"):
        _watch(ctx.need("telemetry", Telemetry), desk, ctx)
    heard = ctx.ports.signals.hear(RESTORED, lambda _: _forget_sessions(ctx), lambda: _forget_sessions(ctx))
    return Part(
        name="backup",
        service=manager,
        needs=("store",),
        checks=(Check(name="backup", fn=lambda: look(manager, settings, ctx), required=False, component_type="datastore"),),
        routes=routes(desk, scheduler, settings, ctx),
        examine=partial(examine, manager, scheduler, settings, ctx),
        commands=(*commands(desk), pitr_command(store, settings, ctx.app_name)),
        start=partial(_start, scheduler, manager, settings, ctx),
        stop=partial(_stop, scheduler, heard),
        restored=_go_on if ctx.has("jobs") else None,
    )


def _manager(settings: BackupSettings, ctx: Context, store: Store) -> DatabaseBackup:
    try:
        manager = DatabaseBackup(
            store.settings.database_url or store.url,
            settings.folder or ctx.home / "backups",
            policy=settings.policy, text=settings.format == "text", app=ctx.app_name, megabytes_a_second=settings.megabytes_a_second,
            recipients=settings.recipients, identity_file=settings.identity_file, include=settings.include if settings.attach else (),
            offsite=settings.offsite, offsite_delete=settings.offsite_delete, offsite_timeout_seconds=settings.offsite_timeout_seconds,
            clock=ctx.clock,
        )  # fmt: skip
    except ValueError as error:
        raise SettingsError(f"RAKIZA_BACKUP_RECIPIENTS: {error}") from None
    if settings.attach:
        manager.attachments = partial(_attachments, ctx)
    return manager


def _attachments(ctx: Context, encrypted: bool) -> Iterator[Entry]:
    """Yield the settings in force, secrets among them only where nobody else reads them, and the files the rooms keep outside the database."""
    shown = ctx.reader.sources(masked=not encrypted)
    yield Entry("configuration/settings.json", msgspec.json.format(msgspec.json.encode(shown)))
    if encrypted and DOTENV.is_file():
        yield Entry("configuration/.env", DOTENV.absolute())
    for one in ctx.parts:
        yield from (Entry(f"{one.name}/{path.name}", path) for path in one.files if path.is_file())


def _check_time(settings: BackupSettings, ctx: Context) -> None:
    try:
        trigger("cron", f"{settings.minute} {settings.hour} * * *", settings.timezone, ctx.clock.now())
    except ScheduleError as error:
        raise SettingsError(f"RAKIZA_BACKUP_TIMEZONE = {settings.timezone!r}: {error.detail}; {error.hint}") from None


def _check_places(manager: DatabaseBackup) -> None:
    try:
        _ = manager.offsite.places
    except StorageError as error:
        raise SettingsError(f"RAKIZA_BACKUP_OFFSITE: {error.detail}; {error.hint}") from None


def _start(scheduler: BackupScheduler, manager: DatabaseBackup, settings: BackupSettings, ctx: Context) -> None:
    if settings.scheduler:
        scheduler.schedule_daily_backup(settings.hour, settings.minute)
        if settings.drill != "off" and manager.keys.opens(manager.keys.recipients):  # without the key no backup comes to life here
            scheduler.schedule_drill(settings.drill, (settings.hour + DRILL_AFTER_HOURS) % 24, settings.minute)
        if ctx.works:
            scheduler.start()
    for name in {DAILY, DRILL} - manager.schedules:  # nobody asks for it any more
        scheduler.cancel(name)
    if ctx.works and manager.jobs is not None and manager.jobs.opened:
        manager.spread()  # what a restore or a kill left without a job


def _stop(scheduler: BackupScheduler, _heard: object) -> None:
    scheduler.stop()


def _take_jobs(jobs: Jobs, desk: Desk) -> None:
    """Make and try backups as jobs, which wait while another process is at work with the folder."""

    @jobs.job(TASK, queue=LINE, timeout_seconds=LONGEST_SECONDS, max_attempts=3)
    def create(job: RunningJob) -> dict[str, object]:
        with _alone():
            made = desk.create(shown=partial(_follow, job))
        return {"filename": made.filename, "size_mb": made.size_mb}

    @jobs.job(DRILL_TASK, queue=LINE, timeout_seconds=LONGEST_SECONDS, max_attempts=3)
    def drill(job: RunningJob) -> Verification:
        try:
            with _alone():
                return desk.drill(shown=partial(_follow, job))
        except BackupRefusedError as error:  # without the key it cannot be tried here, however often
            raise Cancel(error.detail) from None


def _follow(job: RunningJob, running: Running) -> None:
    job.check()
    job.progress(int(running.percent or 0), running.step)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    try:
        yield
    except BackupRunningError as error:
        raise Snooze(AGAIN_SECONDS, error.detail) from None


def _take_copy_job(jobs: Jobs, desk: Desk) -> None:
    """Take one backup to one place; a place that is down is tried again for about a day, and once more after every backup."""

    @jobs.job(COPY_TASK, queue=LINE, timeout_seconds=LONGEST_SECONDS, max_attempts=COPY_ATTEMPTS)
    def copy(job: RunningJob, filename: str, place: str) -> dict[str, object]:
        try:
            done = desk.copy(filename, place, shown=partial(_follow, job), last=job.attempt >= job.max_attempts)
        except (BackupNotFoundError, BackupRefusedError, ValidationError) as error:
            raise Cancel(error.detail) from None
        return {"filename": filename, "url": done.url}


# -- after a restore


def _bring_up_to_date(ctx: Context, aside: Store) -> None:
    """Run the migrations a backup of an older version lacks; raise BackupRefusedError for one of a newer version."""
    rooms: list[Migrations] = [one.migrations for one in ctx.parts if one.migrations is not None]
    try:
        migrate(aside, rooms)
    except MigrationError as error:
        raise BackupRefusedError(f"the backup does not fit this program: {error.detail}; live data are as they were", hint=error.hint) from error


def _tell_all(ctx: Context, tx: Transaction) -> None:
    for one in ctx.parts:
        if one.restored is not None:
            one.restored(tx)


def _go_on(tx: UnitOfWork) -> None:
    """Let backups go on, without the one that was at work when its own copy was made."""
    own = cast("Transaction", tx)
    own.execute(sa.delete(JOB).where(JOB.c.task.in_(TASKS), JOB.c.finished_at.is_(None)))
    own.execute(sa.update(QUEUE).where(QUEUE.c.name == LINE).values(paused=False))


def _forget_all(ctx: Context) -> None:
    """Let every process forget what it knew of the data of before."""
    _forget_sessions(ctx)
    if ctx.has("caching"):
        ctx.need("caching", CacheManager).clear()
    try:
        ctx.ports.signals.publish(RESTORED, "restored")
    except StoreError as error:
        log.warning("other processes were not told of the restore: %s", error)


def _forget_sessions(ctx: Context) -> None:
    if ctx.has("security"):
        ctx.need("security", Security).forget_sessions()


# -- how it goes


def look(manager: DatabaseBackup, settings: BackupSettings, ctx: Context) -> CheckResult:
    """Warn when the newest good backup is too old for a scheduler that is on, the last drill failed, a copy did, or the folder cannot be written."""
    hours = _age_hours(manager, ctx)
    observed = None if hours is None else round(hours, 2)
    for english, arabic in _troubles(manager, settings, ctx, hours):
        return CheckResult("warn", observed, "hours", english, arabic)
    left = manager.damaged()
    return CheckResult("pass", observed, "hours", f"{left[0].name} was no database and lies beside the live one; nobody needs it" if left else None)


def _troubles(manager: DatabaseBackup, settings: BackupSettings, ctx: Context, hours: float | None) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, the worst first, in English and in Arabic."""
    folder = manager.folder.path
    if not writable(folder):
        yield (
            f"{folder} cannot be written: name a folder in BACKUP_DIR that the user of this process may write",
            f"تتعذر الكتابة في {folder}: اختر في BACKUP_DIR مجلدا يستطيع مستخدم هذه العملية الكتابة فيه",
        )
    tried = next(iter(drills(manager.folder)), None)
    if tried is not None and not tried.ok:
        yield f"the last drill failed: {tried.problem}", f"أخفقت آخر تجربة للنسخ الاحتياطية: {tried.problem}"
    if settings.scheduler and hours is None:
        yield "there is no good backup yet: make one with `backup create`", "لا توجد نسخة احتياطية سليمة بعد: أنشئ واحدة بالأمر `backup create`"
    if settings.scheduler and hours is not None and hours > settings.max_age_hours:
        yield (
            f"the newest good backup is {hours:,.1f} h old: does a worker run, and what does `backup list` say?",
            f"مضى على أحدث نسخة احتياطية سليمة {hours:,.1f} ساعة: هل يعمل عامل، وماذا يقول `backup list`؟",
        )
    for name, copy in _missing(manager, settings, ctx):
        yield f"{name} has no copy in {copy.url}: {copy.error or 'no worker took it there'}", f"لا نسخة من {name} في {copy.url}: {copy.error}"


def _missing(manager: DatabaseBackup, settings: BackupSettings, ctx: Context) -> list[tuple[str, Copy]]:
    longest = timedelta(hours=settings.max_age_hours)
    return overdue(manager.folder.manifests(), manager.offsite.places, ctx.clock.now(), longest)


def writable(folder: Path) -> bool:
    """Tell whether files can be made in a folder, or the folder itself where there is none yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _newest_good(manager: DatabaseBackup) -> Manifest | None:
    return next((one for one in manager.folder.manifests() if one.verified_at is not None), None)


def _age_hours(manager: DatabaseBackup, ctx: Context) -> float | None:
    newest = _newest_good(manager)
    return None if newest is None else (ctx.clock.now() - newest.created_at).total_seconds() / 3600


def _watch(telemetry: Telemetry, desk: Desk, ctx: Context) -> None:
    def measured(read: Callable[[Manifest], float]) -> Callable[[], float]:
        return lambda: read(newest) if (newest := _newest_good(desk.manager)) is not None else float("nan")

    watch = telemetry.metrics.watch
    age = measured(lambda newest: (ctx.clock.now() - newest.created_at).total_seconds())
    watch("backup_newest_age_seconds", "How old the newest good backup is; not a number when there is none", age)
    tried = lambda: (ctx.clock.now() - at).total_seconds() if (at := desk.manager.drilled_at()) is not None else float("nan")  # noqa: E731
    watch("backup_drill_age_seconds", "How long ago a backup last came to life in a drill; not a number when none ever did", tried)
    watch("backup_newest_bytes", "How large it is", measured(lambda newest: newest.size))
    watch("backup_total_bytes", "How large all backups are", lambda: sum(one.size for one in desk.manager.folder.manifests()))
    offsite = desk.manager.offsite
    watch("backup_copies_failed", "Backups that could not be taken to another place", lambda: sum(one.failed for one in offsite.standing()))
    watch("backup_failures", "Backups, looks and restores of this process that failed", lambda: desk.failures)
