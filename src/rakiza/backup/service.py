"""Backups of one database: made whole, looked at, kept by a policy, and brought back without a moment at which live data are mixed."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import sqlalchemy as sa

from rakiza._kernel import SYSTEM_CLOCK, Audit, Clock, Redactor
from rakiza._kernel.ports import NoAudit
from rakiza.errors import AppError
from rakiza.jobs import Jobs
from rakiza.store import Store, Transaction
from rakiza.store.service import parse_url

from ._aside import MAX_SHOWN, WHOLE, Comparison, Scrub, Slice, Tables, chosen, differences
from ._attached import ARCHIVE, Entry, Extracted, Missed, attach, check, entries, extract, weight
from ._backends import Backend, Restored, Seen, Undoable, outdated
from ._core import SAFETY_PREFIX, Attached, BackupInfo, Manifest, RetentionPolicy, archive_of, checked_name, checked_prefix, info_of, name_of, surplus
from ._crypt import Keys
from ._drills import Drill, last_good, report, stalest
from ._folder import Folder
from ._offsite import Offsite
from ._outcomes import Aside, Restoration, Verification
from ._streams import Pace, Reader, Sink, Told, blocks, digest_of
from .errors import BackupDamagedError, BackupError, BackupNotFoundError, BackupRefusedError

log = logging.getLogger("rakiza.backup")
PACKED_SHARE = 0.6
"""How large a packed backup may get, as a share of the database, for the look at the free room beforehand."""
UNKEPT = "mend that; when the live data are lost anyway, restore without a safety backup: --no-safety, or {\"safety_backup\": false} over HTTP"
RestoredHook = Callable[[Transaction], object]


class DatabaseBackup:
    """Keep backups of one database in a folder: `DatabaseBackup("sqlite:///var/app.db", backup_dir="backups", max_backups=7)`.

    `recipients` are public keys of age for which backups are encrypted, `identity_file` holds the secret one, for who restores; `include`
    names files and folders that go along. Raises StoreError for an address that cannot work, ValueError for a recipient that is none,
    MissingExtraError without the extra `backup` or `encryption`.
    """

    def __init__(
        self,
        database_url: str,
        backup_dir: str | Path = "backups",
        max_backups: int = 7,
        compress: bool = True,
        *,
        policy: RetentionPolicy | None = None,
        text: bool = False,
        app: str = "",
        megabytes_a_second: float = 0.0,
        offsite: Sequence[str] = (),
        offsite_delete: bool = True,
        offsite_timeout_seconds: float = 60.0,
        restored: Sequence[RestoredHook] = (),
        recipients: Sequence[str] = (),
        identity_file: str | Path | None = None,
        include: Sequence[str | Path] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.folder = Folder(Path(backup_dir))
        self.policy = policy or RetentionPolicy(last=max_backups)
        self.keys = Keys(recipients, None if identity_file is None else Path(identity_file))
        self._read: Reader = partial(blocks, unlocked=self.keys.unlocked)
        url = parse_url(database_url)
        self._url, self._backend = database_url, _backend(url, self._read)
        self._include = tuple(map(Path, include))
        self.attachments: Callable[[bool], Iterable[Entry]] | None = None
        """Gives what else goes along, given whether it will be encrypted."""
        self.database_file = Path(url.database or "").expanduser().absolute() if url.get_backend_name() == "sqlite" else None
        """The file of the live data, none on a server."""
        self.database_here = url.host in {None, "", "localhost", "127.0.0.1", "::1"}
        """Whether the live data are on this machine, as far as the address tells."""
        self._kind = self._backend.kind(text, compress)
        self._app, self._pace, self._clock = app, megabytes_a_second, clock
        self.offsite = Offsite(
            self.folder, self.policy, offsite, clock, self._paced, delete=offsite_delete, timeout_seconds=offsite_timeout_seconds
        )  # fmt: skip
        """The other places each backup is taken to."""
        self.restored = restored
        """What a restored database is told before it becomes the live one, in one transaction."""
        self.ready: Callable[[Store], object] | None = None
        """Brings a restored database up to date before it is told anything; what it raises leaves the live data as they were."""
        self.swapped: Callable[[], object] | None = None  # once the live data are others, to forget what was known
        self.jobs: Jobs | None = None  # whose scheduler makes backups by the clock; without one a BackupScheduler has a thread of its own
        self.told: Told | None = None  # told how far the work at hand is
        self.audit: Callable[[], Audit] = NoAudit  # gives what records what was done
        self.quiet: Callable[[str], AbstractContextManager[None]] = lambda _: contextlib.nullcontext()  # lets nobody write meanwhile
        self.epoch: Callable[[], str] = str  # tells which epoch of the live database this is
        self.ended: Callable[[], object] = tuple  # called when the work at hand is over
        self.scrub: Scrub = Redactor().nested  # takes secrets out of the rows that a comparison shows
        self.keep_before = 1  # how many of the databases that restores put aside are kept for longer than a day (PostgreSQL)
        self.drilled: Callable[[Drill], object] | None = None  # told how each drill went
        self.schedules: set[str] = set()  # names of those that this process has asked for

    # -- making and keeping

    def create_backup(self, name_prefix: str = "backup") -> BackupInfo:
        """Write a backup, check it, and let those go that the policy does not keep; return what was written.

        Raises ValueError for a prefix that is no plain name, BackupRunningError, NoRoomError, BackupError.
        """
        checked_prefix(name_prefix)
        with self._working():
            made = self._create(name_prefix)
            self._rotate()
        self.spread()
        with contextlib.suppress(BackupNotFoundError):
            made = self.folder.manifest(made.file)
        self.audit().record("BACKUP_CREATED", "CREATE", f"backup:{made.file}", {"size_bytes": made.size})
        return info_of(made)

    def spread(self) -> None:
        """Have every backup taken to the places it is not in yet: as jobs, or at once where there is no queue; it never fails."""
        self.offsite.spread(self.jobs if self.jobs is not None and self.jobs.opened else None)

    def _paced(self) -> Pace:
        return Pace(self.told, self._pace)

    def fetch_backup(self, filename: str, url: str) -> BackupInfo:
        """Bring a backup from another place into the folder, `newest` for the newest there; return it.

        Raises ValueError for what is no name, BackupNotFoundError, BackupDamagedError, BackupRefusedError when another backup of that name is
        here, StorageError, BackupRunningError, NoRoomError, BackupError.
        """
        place = self.offsite.place(url, any_place=True)
        with self._working():
            return info_of(self.offsite.fetch(filename, place))

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with self.folder.working():
            try:
                yield
            except OSError as error:
                raise BackupError(f"{error.filename or self.folder.path} cannot be used: {error.strerror or error}") from error
            finally:
                self.ended()

    def _create(self, prefix: str) -> Manifest:
        size = self._backend.size()
        attaches = bool(self._include or self.attachments) and prefix != SAFETY_PREFIX  # a restore brings back the database and no files
        files = weight(self._attached(lambda *_: None)) if attaches else 0
        self.folder.check_room(files + int(size * (PACKED_SHARE + (1.0 if self._backend.engine == "sqlite" else 0.0))))
        began, since = self._clock.now(), self._clock.monotonic()
        name = name_of(prefix, began, self._kind + self.keys.ending, (one.name for one in self.folder.path.iterdir()))
        part, scratch = self.folder.part(name), self.folder.part(f"{name}.scratch")
        pace = self._paced()
        sink = Sink(part, self._kind, self.keys)
        try:
            seen = self._backend.dump(sink, self._kind, scratch, pace)
            digest = sink.finish()
            parts = (self._attach(name, pace, files),) if attaches else ()
            manifest = Manifest(
                file=name, engine=self._backend.engine, kind=self._kind, created_at=began, size=sink.size, sha256=digest, raw_size=sink.raw_size,
                rows=seen.rows, schema=seen.schema, app=self._app, server=self._backend.server, epoch=self.epoch(),
                encrypted=self.keys.recipients, parts=parts, copies=self.offsite.waiting() if prefix != SAFETY_PREFIX else (),
            )  # fmt: skip
            _check_written(part, digest)
            self.folder.commit(part, msgspec.structs.replace(manifest, verified_at=self._clock.now(), seconds=self._since(since)))
        except OSError as error:
            raise BackupError(f"{name} could not be written: {error.strerror or error}") from error
        finally:
            sink.close()
            for left in (part, scratch, self.folder.part(f"{name}.json"), self.folder.part(archive_of(name, self.keys.ending))):
                left.unlink(missing_ok=True)
        return self.folder.manifest(name)

    def _attached(self, missed: Missed) -> Iterator[Entry]:
        """Yield what goes along: neither backups nor the database's own files nor the key that opens them, wherever they lie."""
        if self.attachments is not None:
            yield from self.attachments(bool(self.keys.recipients))
        own = (self.folder.path, *self._backend.files, *self.keys.files)
        yield from entries(self._include, frozenset(path.resolve() for path in own), missed)

    def _attach(self, name: str, pace: Pace, size: int) -> Attached:
        archive = archive_of(name, self.keys.ending)
        path = self.folder.part(archive)
        pace.begin("files", size)
        sink = Sink(path, ARCHIVE, self.keys)
        try:
            made = attach(archive, sink, self._attached, pace)
        finally:
            sink.close()
        _check_written(path, made.sha256)
        return made

    def _rotate(self) -> None:
        for name in surplus([info_of(one) for one in self.folder.manifests()], self.policy, self._clock.now()):
            self.folder.delete(name)
        try:
            for database in outdated(self._backend.put_aside(), self.keep_before, self._clock.now()):
                self._backend.let_go(database)
        except BackupError as error:  # the backup is made; the next one tries again
            log.warning("a database that a restore put aside could not be dropped: %s", error.detail)

    def put_aside(self) -> list[Undoable]:
        """Return the databases that restores put aside (PostgreSQL); blocks. Raise BackupError when the server is away."""
        return self._backend.put_aside()

    def damaged(self) -> list[Path]:
        """Return the files of the database that restores moved aside because they were none (SQLite)."""
        return self._backend.damaged()

    # -- looking

    def list_backups(self) -> list[BackupInfo]:
        """Return all whole backups, the newest first."""
        return [info_of(one) for one in self.folder.manifests()]

    def get_backup(self, filename: str) -> BackupInfo:
        """Return one backup; raise ValueError, BackupNotFoundError, BackupDamagedError."""
        return info_of(self.folder.manifest(filename))

    def path_of(self, filename: str) -> Path:
        """Return the file of a whole backup; raise ValueError, BackupNotFoundError, BackupDamagedError."""
        return self.folder.path / self.folder.manifest(filename).file

    def verify_backup(self, filename: str, *, deep: bool = True) -> Verification:
        """Check size and SHA-256, and `deep` bring the backup to life aside and count its rows; return what was found.

        An encrypted one whose key is not here is not brought to life: the answer is not `deep` then, and has a note.
        Raises ValueError for what is no name, BackupNotFoundError, BackupRunningError, NoRoomError, BackupError when it could not be tried.
        """
        self.check_known(filename)
        with self._working():
            return self._verified(self.check_known(filename), deep, drilled=False)

    def _verified(self, manifest: Manifest, deep: bool, drilled: bool) -> Verification:
        began, name = self._clock.monotonic(), manifest.file
        here = self.keys.opens(manifest.encrypted)
        note = "" if here or not deep else "its sum is right; it was not brought to life, since its key is not here"
        deep = deep and here
        try:
            seen = self._check(manifest, deep)
            for part in manifest.parts:
                check(self.folder.path / part.name, part, self._read if deep else None)
        except BackupDamagedError as error:
            self._change(name, verified_at=None, drilled_at=None)  # it no longer counts as a good one
            return Verification(filename=name, ok=False, deep=deep, problem=str(error), seconds=self._since(began))
        now = self._clock.now()
        self._change(name, verified_at=now, drilled_at=now if drilled else manifest.drilled_at)
        rows = sum((seen.rows if seen else manifest.rows).values())
        return Verification(filename=name, ok=True, deep=deep, rows=rows, seconds=self._since(began), note=note)

    def drill(self) -> Verification:
        """Bring the newest backup to life aside, compare and throw it away, sum the older one not looked at for longest, and report how it went.

        Raises as `verify_backup` does, and BackupRefusedError for an encrypted one whose key is not here; after the report.
        """
        with self._working():
            began, newest = self._clock.monotonic(), next(iter(self.folder.manifests()), None)
            name = newest.file if newest is not None else ""
            try:
                if newest is None:
                    raise BackupNotFoundError(f"there is no backup in {self.folder.path} to try")
                self.keys.check(name, newest.encrypted)
                found = self._verified(self.check_known(name), deep=True, drilled=True)
                older = stalest(self.folder.manifests(), name) if found else None
                rotten = self._verified(older, deep=False, drilled=False).problem if older is not None else ""
            except (AppError, OSError) as error:
                self._report(name, began, error.detail if isinstance(error, AppError) else error.strerror or str(error))
                raise
            found = msgspec.structs.replace(found, ok=False, problem=rotten) if rotten else found
            self._report(name, began, found.problem, found.rows)
            return found

    def _report(self, name: str, began: float, problem: str, rows: int = 0) -> None:
        drill = Drill(at=self._clock.now(), filename=name, ok=not problem, problem=problem, rows=rows, seconds=self._since(began))
        report(self.folder, drill)
        if self.drilled is not None:
            self.drilled(drill)

    def check_known(self, filename: str) -> Manifest:
        """Return the manifest of a backup of this kind of database; raise ValueError, BackupNotFoundError, BackupRefusedError."""
        checked_name(filename)
        manifest = self.folder.manifest(filename)
        if manifest.engine != self._backend.engine:
            raise BackupRefusedError(f"{filename} is of {manifest.engine}, and the database is {self._backend.engine}")
        return manifest

    def _whole(self, filename: str) -> Manifest:
        """Return the manifest of a backup whose key is here and whose bytes are those that were written."""
        manifest = self.check_known(filename)
        self.keys.check(filename, manifest.encrypted)
        self._check(manifest, deep=False)
        return manifest

    def _check(self, manifest: Manifest, deep: bool) -> Seen | None:
        path = self.folder.path / manifest.file
        size = path.stat().st_size
        if size != manifest.size:
            raise BackupDamagedError(f"{manifest.file} has {size:,} bytes where its manifest says {manifest.size:,}")
        if digest_of(path) != manifest.sha256:
            raise BackupDamagedError(f"{manifest.file} was changed: its SHA-256 is another than its manifest says")
        if not deep:
            return None
        self.folder.check_room(manifest.raw_size if manifest.engine == "sqlite" else 0)
        seen = self._backend.inspect(path, manifest.kind, self.folder.part(f"{manifest.file}.check"), self._paced())
        _compare(manifest, seen)
        return seen

    def get_backup_stats(self) -> dict[str, object]:
        """Return `total_backups total_size_mb oldest_backup newest_backup backups`, and when the newest was checked and tried."""
        backups = self.list_backups()
        rows = [{"filename": one.filename, "size_mb": one.size_mb, "timestamp": one.timestamp} for one in backups]
        return {
            "total_backups": len(backups),
            "total_size_mb": round(sum(one.size_bytes for one in backups) / 1024 / 1024, 2),
            "oldest_backup": backups[-1].timestamp if backups else None,
            "newest_backup": backups[0].timestamp if backups else None,
            "backups": rows,
            "newest_good": next((one.timestamp for one in backups if one.verified_at is not None), None),
            "drilled_at": self.drilled_at(),
        }

    def drilled_at(self) -> datetime | None:
        """Return when a backup last came to life in a drill, also one that is gone meanwhile."""
        known = (*(one.drilled_at for one in self.folder.manifests()), last_good(self.folder))
        return max((at for at in known if at is not None), default=None)

    # -- changing

    def pin(self, filename: str, pinned: bool = True) -> BackupInfo:
        """Keep a backup whatever the policy says, or no more; raise ValueError, BackupNotFoundError."""
        with self._working():
            changed = info_of(self._change(filename, pinned=pinned))
        event, action = ("BACKUP_PINNED", "PIN") if pinned else ("BACKUP_UNPINNED", "UNPIN")
        self.audit().record(event, action, f"backup:{filename}")
        return changed

    def _change(self, filename: str, **fields: object) -> Manifest:
        return self.folder.change(filename, lambda manifest: msgspec.structs.replace(manifest, **fields))

    def delete_backup(self, filename: str) -> bool:
        """Delete a backup; raise ValueError, BackupNotFoundError, BackupRefusedError for a pinned one or the last good one."""
        checked_name(filename)
        with self._working():
            with contextlib.suppress(BackupDamagedError):
                manifest = self.folder.manifest(filename)
                good = [one for one in self.folder.manifests() if one.verified_at is not None]
                if manifest.pinned:
                    raise BackupRefusedError(f"{filename} is pinned", hint="take the pin away first")
                if [one.file for one in good] == [filename]:
                    raise BackupRefusedError(f"{filename} is the last good backup", hint="make another one first")
            self.folder.delete(filename)
        self.audit().record("BACKUP_DELETED", "DELETE", f"backup:{filename}")
        return True

    def restore_backup(self, filename: str, *, safety_backup: bool = True, target_url: str | None = None) -> Restoration:
        """Let a backup take the place of the live data: checked first, brought to life aside, compared, and then at once or not at all.

        The live data are kept first in a backup of their own with all that was ever written to them; with `safety_backup` false nothing of
        them is kept on SQLite, and the database of before on PostgreSQL. With `target_url` the live data stay and the backup comes to life
        there, as `restore_aside` does it. Raises ValueError for what is no name,
        BackupNotFoundError, BackupRefusedError for another kind of database and for an encrypted one whose key is not here,
        BackupDamagedError, BackupRunningError, NoRoomError, BackupError; live data are then as they were.
        """
        if target_url is not None:
            done_aside = self.restore_aside(filename, target_url)
            return Restoration(filename=filename, rows=done_aside.rows, seconds=done_aside.seconds, seconds_away=0.0)
        manifest = self.check_known(filename)

        def work(steps: _Steps) -> Restored:
            self._whole(filename)
            self.folder.check_room(manifest.raw_size if manifest.engine == "sqlite" else 0)
            file, scratch = self.folder.path / filename, self.folder.part(f"{filename}.restore")
            return self._backend.restore(file, manifest.kind, scratch, Pace(self.told), steps)

        try:
            done = self._replace(filename, manifest, work, safety=safety_backup)
        except AppError as error:
            self.audit().record("BACKUP_RESTORE_FAILED", "RESTORE", f"backup:{filename}", {"problem": error.detail})
            raise
        if self._backend.engine == "sqlite" and not done.safety_backup:
            for one in self._safety_backups():
                with contextlib.suppress(AppError, OSError):  # the data are restored, whatever becomes of this note
                    self._change(one.file, overtaken=True)
        details = {"rows": done.rows, "safety_backup": done.safety_backup or None, "before": done.before or None}
        self.audit().record("BACKUP_RESTORED", "RESTORE", f"backup:{filename}", details)
        return done

    def undoable(self) -> Undoable | None:
        """Return what was live before the newest restore; raise BackupError when the database is away."""
        if self._backend.engine == "postgresql":
            return self._backend.before()
        return next((Undoable(one.file, one.created_at) for one in self._safety_backups()), None)

    def _safety_backups(self) -> list[Manifest]:
        return [one for one in self.folder.manifests() if info_of(one).safety and not one.overtaken]

    def undo(self) -> Restoration:
        """Let what was live before the newest restore be live again: the database of before, or the safety backup; undone once more by itself.

        Raises BackupNotFoundError when there is none, and as `restore_backup` does.
        """
        found = self.undoable()
        if found is None:
            raise BackupNotFoundError("there is nothing to undo: no data of before a restore are kept")
        if self._backend.engine == "sqlite":
            return self.restore_backup(found.filename)
        try:
            done = self._replace(found.filename, None, lambda steps: self._backend.undo(found.filename, Pace(self.told), steps), safety=False)
        except AppError as error:
            self.audit().record("BACKUP_RESTORE_FAILED", "UNDO", f"database:{found.filename}", {"problem": error.detail})
            raise
        self.audit().record("BACKUP_RESTORED", "UNDO", f"database:{found.filename}", {"before": done.before})
        return done

    def _replace(self, filename: str, manifest: Manifest | None, work: "Callable[[_Steps], Restored]", *, safety: bool) -> Restoration:
        """Walk the one road on which live data become others."""
        began = self._clock.monotonic()
        with self._working(), contextlib.ExitStack() as quiet:
            steps = _Steps(self, manifest, quiet, safety=safety)
            done = work(steps)
            if self.swapped is not None:
                self.swapped()
        return Restoration(
            filename=filename, rows=sum(manifest.rows.values()) if manifest else 0, seconds=self._since(began), seconds_away=done.seconds_away,
            safety_backup=steps.kept[-1] if steps.kept else "", before=done.before,
        )  # fmt: skip

    def settle(self) -> None:
        """Tell the live database what a restored one must know, when another tool has brought it back: sessions end, queues stand still.

        Raises BackupRefusedError for one of a newer version, BackupRunningError, BackupError.
        """
        with self._working():
            self.make_ready(self._url)
            self.tell_restored(self._url)
        if self.swapped is not None:
            self.swapped()

    def programs(self) -> str:
        """Return the programs backups are made with; raise BackupError for one that is missing or too old for the server."""
        return self._backend.programs()

    def extract_files(self, filename: str, to: str | Path) -> Extracted:
        """Take the files that go with a backup out into a new or empty folder, wholly or not at all; return what was taken.

        Raises ValueError for what is no name, BackupNotFoundError, also when no files go with it, BackupRefusedError for a folder that holds
        something or without the key, BackupDamagedError, BackupRunningError, BackupError.
        """
        with self._working():
            manifest = self.folder.manifest(filename)
            if not manifest.parts:
                raise BackupNotFoundError(f"no files go with {filename}", hint="RAKIZA_BACKUP_INCLUDE names what is taken along")
            self.keys.check(filename, manifest.encrypted)
            path = self.folder.path / manifest.parts[0].name
            check(path, manifest.parts[0], None)
            return extract(path, self._read, Path(to).absolute())

    def _kept_before(self) -> str:
        try:
            return self._create(SAFETY_PREFIX).file
        except BackupError as error:
            said = f"the live data could not be kept before the restore, and are as they were: {error}"
            raise BackupError(said, hint=UNKEPT) from error

    def _there(self) -> bool:
        try:
            return self._backend.size() > 0
        except BackupError:
            return False  # there is nothing to keep

    def make_ready(self, address: str) -> None:
        """Bring restored data up to date."""
        if self.ready is not None:
            with contextlib.closing(Store(address)) as store:
                self.ready(store)

    def tell_restored(self, address: str) -> None:
        """Tell them what restored ones must know."""
        if self.restored:
            with contextlib.closing(Store(address)) as store, store.begin() as tx:
                for hook in self.restored:
                    hook(tx)

    # -- beside the live data

    def restore_aside(self, filename: str, target: str, wanted: Slice = WHOLE) -> Aside:
        """Bring a backup, or some of its tables and rows, to life in a database that there is none of yet or that is empty.

        `target` is an address, or a file's path or the name of a database on the same server. It is checked and counted as for a restore;
        live data, sessions and queues are not touched, and nothing is told of it. Raises ValueError, ValidationError for tables and columns
        there are not, BackupNotFoundError, BackupRefusedError for the live database and one that is not empty, BackupDamagedError,
        BackupRunningError, BackupError.
        """
        began, kept = self._clock.monotonic(), dict[str, int]()
        self.check_known(filename)
        with self._working():
            manifest = self._whole(filename)
            url = parse_url(target) if "://" in target else self._backend.named(target)
            other = _backend(url, self._read)
            if other.engine != self._backend.engine:
                raise BackupRefusedError(f"{filename} is of {self._backend.engine}, and {shown_url(url)} is not")
            if self._backend.is_same(other):
                raise BackupRefusedError("that is the live database", hint="give another one; `backup restore` puts a backup in its place")

            def placed(tables: Tables, seen: Seen) -> None:
                _compare(manifest, seen)
                names = chosen(tables.shapes(), wanted)
                if wanted != WHOLE:
                    tables.keep(names, wanted)
                kept.update((name, tables.count(name, wanted)) for name in names)

            other.place(self.folder.path / filename, manifest.kind, Pace(self.told), placed)
        rows = sum(kept.values())
        return Aside(filename=filename, database=shown_url(url), tables=kept, rows=rows, seconds=self._since(began))

    def compare_backup(self, filename: str, wanted: Slice = WHOLE, *, show: int = 0) -> Comparison:
        """Compare a backup with the live data, table by table and row by row of the same primary key, and show some of the rows that differ.

        Live data are only read, in one state. Secrets are compared and not shown. Raises as `restore_aside` does, and ValueError for a
        `show` outside of 0 to 1000 rows of each table.
        """
        if not 0 <= show <= MAX_SHOWN:
            raise ValueError(f"show = {show} rows is not within 0 and {MAX_SHOWN}")
        began = self._clock.monotonic()
        self.check_known(filename)
        with self._working():
            manifest = self._whole(filename)
            self.folder.check_room(manifest.raw_size if manifest.engine == "sqlite" else 0)
            pace, scratch = Pace(self.told), self.folder.part(f"{filename}.compare")
            with self._backend.beside(self.folder.path / filename, manifest.kind, scratch, pace) as (backup, seen), self._backend.live() as live:
                _compare(manifest, seen)
                pace.begin("compare")
                found = tuple(differences(backup, live, wanted, show, self.scrub))
        return Comparison(filename=filename, same=all(one.same for one in found), tables=found, seconds=self._since(began))

    def _since(self, began: float) -> float:
        return round(self._clock.monotonic() - began, 3)


class _Steps:
    """Do around a restore what every database needs: make the new data ready, let nobody write, keep the old ones."""

    def __init__(self, backup: DatabaseBackup, manifest: Manifest | None, quiet: contextlib.ExitStack, *, safety: bool) -> None:
        self._backup, self._manifest, self._quiet = backup, manifest, quiet
        self._safety = safety and backup._there()  # now: the swap makes an empty file where there is none
        self._address = ""
        self.kept: list[str] = []

    def ready(self, address: str, seen: Seen | None) -> None:
        """Judge the data that stand aside, and bring them up to date."""
        self._address = address
        if self._manifest is not None and seen is not None:
            _compare(self._manifest, seen)
        self._backup.make_ready(address)

    def keep(self) -> None:
        """Keep the live data as they are now, and the first time tell those aside what restored ones must know."""
        address, self._address = self._address, ""
        whole = self._backup._backend.keeps_before  # then nobody need wait for the safety backup
        if address and not whole:
            self._quiet.enter_context(self._backup.quiet("restore"))
        if self._safety:
            self.kept.append(self._backup._kept_before())
            for earlier in self.kept[:-1]:
                self._backup.folder.delete(earlier)  # all of it is in the later one
        if address and whole:
            self._quiet.enter_context(self._backup.quiet("restore"))
        if address:
            self._backup.tell_restored(address)


def shown_url(url: sa.URL) -> str:
    """Return an address without what signs in there."""
    place = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    return f"{url.get_backend_name()}://{place}/{url.database}"


def _compare(manifest: Manifest, seen: Seen) -> None:
    """Raise BackupDamagedError when a backup holds other rows than its manifest says."""
    wrong = sorted(name for name in seen.rows.keys() | manifest.rows.keys() if seen.rows.get(name) != manifest.rows.get(name))
    if wrong:
        found, told = (rows.get(wrong[0], "no table") for rows in (seen.rows, manifest.rows))
        raise BackupDamagedError(f"{manifest.file} holds other rows than its manifest says: of {wrong[0]} {found}, not {told}")


def _check_written(path: Path, digest: str) -> None:
    if digest_of(path) != digest:
        raise BackupError(f"{path.name} was not written as it was meant: the disk gives back other bytes")


def _backend(url: sa.URL, read: Reader) -> Backend:
    if url.get_backend_name() == "sqlite":
        from ._backends.sqlite import SqliteBackend

        return SqliteBackend(Path(url.database or "").expanduser().absolute(), read)
    from ._backends.postgresql import PostgresqlBackend

    return PostgresqlBackend(url, read)
