"""What would hurt backups in production, and what the tools that keep every moment have done of late."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from rakiza._kernel import Context, Finding, judged
from rakiza.store import Store

from ._checklist import checklist
from ._pitr import CONFIG, ENGINE, called, stanza_of
from .errors import BackupError
from .scheduler import BackupScheduler
from .service import DatabaseBackup
from .settings import BackupSettings

MENDS = {
    "scheduler": "set ENABLE_BACKUP_SCHEDULER=true, and let a worker run", "recent": "`backup create`", "drill": "`backup drill`",
    "disk": "make room, or name a folder on another disk in BACKUP_DIR", "copies": "name a place in RAKIZA_BACKUP_OFFSITE",
    "media": "name a folder on another disk in BACKUP_DIR, or a place in RAKIZA_BACKUP_OFFSITE",
    "offsite": "name a place outside this machine in RAKIZA_BACKUP_OFFSITE",
}  # fmt: skip
HOW = "read docs/how_to/backups.md"
FULL_DAYS = 8
QUIET = timedelta(hours=1)
RUN_SECONDS = 120
MENDED = "read the server's log; run `doctor` as its user (postgres) with the secrets in the environment; `backup pitr pgbackrest` prints every step"
SAID_CHARACTERS = 300
_ARCHIVE = sa.text(
    "select current_setting('archive_mode') as mode, current_setting('archive_command') as command, current_setting('wal_level') as level,"
    " last_archived_time as archived, last_failed_time as failed, last_failed_wal as wal, now() as now from pg_stat_archiver"
)


def examine(manager: DatabaseBackup, scheduler: BackupScheduler, settings: BackupSettings, ctx: Context, deep: bool) -> Iterator[Finding]:
    """Yield what the list of 3-2-1 says, whether the programs are there, who reads the backups, and how every moment is kept."""
    now, store = ctx.clock.now(), ctx.need("store", Store)
    for item in checklist(manager, scheduler, settings, now):
        yield judged(f"backup_{item.name}", not item.ok, item.said, MENDS.get(item.name, HOW), "fail" if item.name == "recent" else "warn")
    try:
        yield Finding("backup_programs", "ok", manager.programs())
    except BackupError as error:
        yield Finding("backup_programs", "fail", error.detail, error.hint or "")
    yield from _private("backup_folder", manager.folder.path)
    yield from _private("backup_key", settings.identity_file)
    if store.dialect == "postgresql":
        yield from _archive(store, settings, stanza_of(ctx.app_name))
    if settings.pitr != "none" and ENGINE[settings.pitr] != store.dialect:
        said = f"RAKIZA_BACKUP_PITR is {settings.pitr}, and the database is {store.dialect}"
        yield Finding("pitr_tool", "fail", said, "name the tool for it, or none")
    elif settings.pitr == "pgbackrest":
        yield from _pgbackrest(settings, stanza_of(ctx.app_name), now, deep)
    elif settings.pitr == "litestream":
        yield from _litestream(Path(store.url.removeprefix("sqlite:///")), settings.pitr_config or CONFIG["litestream"])


def _private(name: str, path: Path | None) -> Iterator[Finding]:
    """Yield whether others on this machine read what is ours alone, nothing for what is not there."""
    if path is not None and path.exists():
        mode = path.stat().st_mode & 0o777
        mend = f"others here may read every row: chmod {'700' if path.is_dir() else '600'} {path}"
        yield judged(name, bool(mode & 0o077), f"{path} has mode {mode:o}", mend, "warn" if path.is_dir() else "fail")


# -- PostgreSQL


def _archive(store: Store, settings: BackupSettings, stanza: str) -> Iterator[Finding]:
    """Yield whether the server hands its WAL over, to the tool that is meant, and whether that has worked of late."""
    with store.read() as tx:
        seen = tx.execute(_ARCHIVE).one()
    if settings.pitr == "pgbackrest":
        ours = seen.mode != "off" and seen.level != "minimal" and "pgbackrest" in seen.command and f"--stanza={stanza} " in seen.command
        said = f"archive_mode is {seen.mode}, wal_level {seen.level}, archive_command {seen.command!r}"
        yield judged("pitr_archive", not ours, said, "`backup pitr pgbackrest` prints the lines of postgresql.conf; then restart the server")
    if seen.mode != "off":
        failing = seen.failed is not None and (seen.archived is None or seen.failed > seen.archived)
        said = f"the server could not archive {seen.wal}, last at {seen.failed}" if failing else f"WAL was last archived at {seen.archived}"
        mend = "its disk fills and later moments are lost: read the server's log; `doctor --deep` tries the way"
        yield judged("pitr_archived", failing, said, mend)
        if not failing:
            late = seen.archived is None or seen.now - seen.archived > QUIET
            yield judged("pitr_latest", late, said, "set archive_timeout = 60, so that a quiet hour is not lost", "warn")


def _pgbackrest(settings: BackupSettings, stanza: str, now: datetime, deep: bool) -> Iterator[Finding]:
    program = shutil.which("pgbackrest")
    mend = "install pgbackrest, or run `doctor` on the machine of the server"
    yield judged("pitr_program", program is None, program or "there is no pgbackrest on this machine", mend)
    if program is None:
        return
    run = called(settings.pitr_config, stanza)
    error, out = _ran([*run, "--output=json", "info"])
    yield from _copies(out, settings.max_age_hours, now) if not error else [Finding("pitr_backups", "fail", error, MENDED)]
    if deep:
        error, _ = _ran([*run, "check"])
        yield judged("pitr_check", bool(error), error or "a file of WAL went all the way to the repository", MENDED)


def _copies(out: str, max_age_hours: float, now: datetime) -> Iterator[Finding]:
    """Yield what pgBackRest says of its backups (`info`, pgbackrest.org/command.html#command-info)."""
    stanza: dict[str, Any] = next(iter(msgspec.json.decode(out)), {"status": {"code": 1, "message": "missing stanza path"}})
    if stanza["status"]["code"]:
        mend = "stanza-create, check, then a full backup: `backup pitr pgbackrest` prints them"
        yield Finding("pitr_backups", "fail", stanza["status"]["message"], mend)
        return
    copies = stanza["backup"]
    newest, full = (_age(now, (one for one in copies if one["type"] in kinds)) for kinds in ({"full", "diff", "incr"}, {"full"}))
    old = newest > timedelta(hours=max_age_hours) or full > timedelta(days=FULL_DAYS)
    said = f"the newest backup is {_hours(newest)} old, the newest full one {_hours(full)}"
    yield judged("pitr_backups", old, said, "does cron run it? `backup pitr pgbackrest` prints the lines")
    broken = ", ".join(one["label"] for one in copies if one.get("error"))
    mend = "the disk of the server fails: restore an older backup aside and compare"
    yield judged("pitr_pages", bool(broken), f"backups with damaged pages: {broken or 'none'}", mend)


def _age(now: datetime, copies: Iterable[dict[str, Any]]) -> timedelta:
    return timedelta(seconds=now.timestamp() - max((one["timestamp"]["stop"] for one in copies), default=0))


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:,.1f} h"


def _ran(command: Sequence[str]) -> tuple[str, str]:
    """Return why a program failed, empty when it did not, and what it printed."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} {command[-1]}: {error}", ""
    said = " ".join((done.stderr + done.stdout if done.returncode else "").split())
    return said[:SAID_CHARACTERS] or (f"{command[0]} {command[-1]} ended with {done.returncode}" if done.returncode else ""), done.stdout


# -- SQLite


def _litestream(path: Path, config: Path) -> Iterator[Finding]:
    """Yield whether Litestream knows the file, and whether it follows it: its own notes lie beside it (litestream.io/how-it-works)."""
    mend = f"`backup pitr litestream --to {config}` writes one"
    try:
        known = str(path) in config.read_text(encoding="utf-8")
        yield judged("pitr_config", not known, f"{config} names {path if known else 'other files'}", mend)
    except (OSError, UnicodeDecodeError) as error:
        yield Finding("pitr_config", "fail", f"{config} cannot be read: {error}", mend)
    notes = path.parent / f".{path.name}-litestream"
    followed, written = (max((file.stat().st_mtime for file in files), default=0.0) for files in (_files(notes), [path, _wal(path)]))
    behind = timedelta(seconds=max(0.0, written - followed))
    said = f"it is {_hours(behind)} behind the last write" if followed else f"there are no notes of it in {notes}"
    yield judged("pitr_followed", not followed or behind > QUIET, said, f"run beside the application: litestream replicate -config {config}")


def _wal(path: Path) -> Path:
    wal = path.with_name(f"{path.name}-wal")
    return wal if wal.exists() else path


def _files(folder: Path) -> list[Path]:
    return [Path(at, name) for at, _, names in os.walk(folder) for name in names]
