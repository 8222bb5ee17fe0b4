"""What operators and the clock do with backups: recorded, and seen by every process while it is at work."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Recipe
from rakiza._kernel.ports import Ports
from rakiza.errors import AppError, capture_message
from rakiza.store import StorageError
from rakiza.store.objects import shown_address

from ._aside import Comparison, Slice
from ._attached import Extracted
from ._core import BackupInfo, Copy, Progress
from ._drills import Drill
from ._maintenance import HOST
from ._outcomes import Aside, Restoration, Verification
from ._process import Worker, born, last_words
from .errors import BackupError, BackupRefusedError, BackupRunningError, NoRoomError
from .service import DatabaseBackup

PROGRESS, LAST = ".progress", ".last"
"""Files of the folder: how far the work at hand is, and how the last one ended. Their names are none of a backup."""
START = "start"
"""The step of a process that was started and is not at work yet."""
log = logging.getLogger("rakiza.backup")


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Show the work at hand."""

    what: str
    step: str
    percent: float | None
    done_bytes: int
    total_bytes: int
    seconds_left: float | None
    filename: str | None


class _Note(msgspec.Struct, frozen=True):
    """Say in the folder who is at work."""

    host: str
    pid: int
    running: Running
    born: float | None = None
    """When that process began: its number may be another's by now."""
    epoch: str = ""
    """That of the live database when the work began."""
    at: datetime | None = None


class Last(msgspec.Struct, frozen=True, kw_only=True):
    """Say how the last work ended; `error` is empty when it ended well."""

    what: str
    error: str = ""
    filename: str | None = None
    at: datetime | None = None
    rows: int | None = None
    seconds: float | None = None
    seconds_away: float | None = None
    safety_backup: str = ""
    before: str = ""


Shown = Callable[[Running], object]


class _Task(NamedTuple):
    what: str
    filename: str | None
    shown: Shown | None


DIRECT = _Task("backup", None, None)
_task: ContextVar[_Task | None] = ContextVar("rakiza_backup_task", default=None)


class Desk:
    """Do what is asked for with the backups of a platform, record it, and tell how far it is."""

    def __init__(self, manager: DatabaseBackup, ports: Ports) -> None:
        self.manager, self._ports = manager, ports
        manager.told, manager.ended, manager.audit = self._tell, self._end_direct, lambda: ports.audit
        manager.drilled = self._drilled
        self.failures, self._epoch = 0, ""
        self.look: Callable[[], object] = tuple
        """Sees whether there is maintenance at this moment."""
        self.scrub: Callable[[str], str] = str
        """Takes secrets out of what a process said last."""

    # -- what is done

    def create(self, prefix: str = "backup", *, shown: Shown | None = None) -> BackupInfo:
        """Make a backup; raises as `create_backup` does."""
        with self._at_work(_Task("backup", None, shown)):
            return self.manager.create_backup(prefix)

    def verify(self, filename: str, *, deep: bool = True, shown: Shown | None = None) -> Verification:
        """Look at a backup; raises as `verify_backup` does."""
        with self._at_work(_Task("verify", filename, shown)):
            found = self.manager.verify_backup(filename, deep=deep)
            self._remember("verify", found.problem)
        details = {"ok": found.ok, "deep": deep, "problem": found.problem or None}
        self._ports.audit.record("BACKUP_VERIFIED", "VERIFY", f"backup:{filename}", details)
        return found

    def drill(self, *, shown: Shown | None = None) -> Verification:
        """Try the newest backup; raises as `drill` does."""
        with self._at_work(_Task("drill", None, shown)):
            found = self.manager.drill()
            self._remember("drill", found.problem)
        return found

    def _drilled(self, drill: Drill) -> None:
        """Record a drill, whoever asked for it; one that failed is an error somebody has to look into."""
        self._ports.audit.record("BACKUP_DRILLED", "DRILL", f"backup:{drill.filename}", {"ok": drill.ok, "problem": drill.problem or None})
        if not drill.ok:
            capture_message(f"the drill of the backups failed: {drill.problem}")

    def restore(self, filename: str, *, safety_backup: bool = True, shown: Shown | None = None) -> Restoration:
        """Bring a backup back; raises as `restore_backup` does."""
        with self._at_work(_Task("restore", filename, shown)):
            done = self.manager.restore_backup(filename, safety_backup=safety_backup)
            self._restored("restore", done)
        return done

    def undo(self, *, shown: Shown | None = None) -> Restoration:
        """Take the newest restore back; raises as `undo` does."""
        with self._at_work(_Task("undo", None, shown)):
            done = self.manager.undo()
            self._restored("undo", done)
        return done

    def hand_over(self, what: str, filename: str, command: Sequence[str], recipe: Recipe) -> None:
        """Let a process of its own do it, which goes on when this one ends; raise BackupRunningError, BackupRefusedError, BackupError."""
        with self.manager.folder.working():
            if (running := self.running()) is not None and running.step == START:
                raise BackupRunningError("a restore has just begun", hint="wait for its end, then try again")
            try:
                worker = Worker(self.manager.folder.path, recipe, ["backup", *command, "--json"])
            except OSError as error:
                raise BackupError(f"no process can be started for it: {error.strerror or error}") from error
            self._task_began(_Task(what, filename, None), worker.pid)
        worker.go()
    def settle(self) -> None:
        """Tell a database that another tool brought back what it must know; raises as `settle` does."""
        self.manager.settle()
        self._ports.audit.record("BACKUP_SETTLED", "RESTORE", "database")

    def aside(self, filename: str, target: str, wanted: Slice, *, shown: Shown | None = None) -> Aside:
        """Bring a backup to life beside the live data; raises as `restore_aside` does."""
        with self._at_work(_Task("aside", filename, shown)):
            done = self.manager.restore_aside(filename, target, wanted)
        self._ports.audit.record("BACKUP_ASIDE", "ASIDE", f"backup:{filename}", {"database": done.database, "rows": done.rows})
        return done

    def compare(self, filename: str, wanted: Slice, show: int, *, shown: Shown | None = None) -> Comparison:
        """Compare a backup with the live data; raises as `compare_backup` does."""
        with self._at_work(_Task("compare", filename, shown)):
            found = self.manager.compare_backup(filename, wanted, show=show)
        self._ports.audit.record("BACKUP_COMPARED", "COMPARE", f"backup:{filename}", {"same": found.same, "shown": show})
        return found

    def extract(self, filename: str, to: Path) -> Extracted:
        """Take the files of a backup out into a folder; raises as `extract_files` does."""
        taken = self.manager.extract_files(filename, to)
        self._ports.audit.record("BACKUP_EXTRACTED", "EXTRACT", f"backup:{filename}", {"folder": taken.folder, "files": taken.files})
        return taken

    def copy(self, filename: str, url: str, *, shown: Shown | None = None, last: bool = True) -> Copy:
        """Take a backup to one of the other places; raises as `Offsite.copy` does."""
        with self._at_work(_Task("copy", filename, shown)):
            done = self.manager.offsite.copy(filename, url, last=last)
        self._ports.audit.record("BACKUP_COPIED", "COPY", f"backup:{filename}", {"url": done.url})
        return done

    def copy_everywhere(self, filename: str, *, shown: Shown | None = None) -> list[Copy]:
        """Take a backup to all other places and return how it went in each; raise ValueError for what is no name, BackupNotFoundError."""
        self.manager.get_backup(filename)
        for url in self.manager.offsite.places:
            with contextlib.suppress(StorageError, BackupError, BackupRefusedError):  # the manifest tells of it
                self.copy(filename, url, shown=shown)
        return [one for one in self.manager.get_backup(filename).copies if one.url in self.manager.offsite.places]

    def fetch(self, filename: str, url: str, *, shown: Shown | None = None) -> BackupInfo:
        """Bring a backup from another place into the folder; raises as `fetch_backup` does."""
        with self._at_work(_Task("fetch", filename, shown)):
            found = self.manager.fetch_backup(filename, url)
        self._ports.audit.record("BACKUP_FETCHED", "FETCH", f"backup:{found.filename}", {"url": shown_address(url)})
        return found

    # -- how far it is

    @contextlib.contextmanager
    def _at_work(self, task: _Task) -> Iterator[None]:
        token, self._epoch = _task.set(task), self.manager.epoch()
        try:
            yield
            if task.what == "backup":
                self._remember(task.what, "")
        except (BackupError, NoRoomError) as error:
            self.failures += 1
            self._remember(task.what, error.detail, task.filename)
            raise
        except AppError as error:
            if self._is_own(task.what):  # it was handed over to this process, and somebody waits for its word
                self._remember(task.what, error.detail, task.filename)
            raise
        finally:
            _task.reset(token)
            if self._is_own(task.what):
                self._file(PROGRESS).unlink(missing_ok=True)

    def _end_direct(self) -> None:
        if _task.get() is None and self._is_own(DIRECT.what):
            self._file(PROGRESS).unlink(missing_ok=True)

    def _is_own(self, what: str) -> bool:
        note = self._note()
        return note is not None and (note.host, note.pid) == (HOST, os.getpid()) and note.running.what == what

    def _task_began(self, task: _Task, pid: int) -> None:
        self._epoch = self.manager.epoch()
        running = Running(what=task.what, step=START, percent=None, done_bytes=0, total_bytes=0, seconds_left=None, filename=task.filename)
        self._write(PROGRESS, self._signed(running, pid))

    def _signed(self, running: Running, pid: int) -> _Note:
        return _Note(HOST, pid, running, born(pid), self._epoch, SYSTEM_CLOCK.now())

    def _file(self, name: str) -> Path:
        return self.manager.folder.path / name

    def _tell(self, progress: Progress) -> None:
        task = _task.get() or DIRECT
        running = Running(
            what=task.what, step=progress.step, percent=progress.percent, done_bytes=progress.done_bytes, total_bytes=progress.total_bytes,
            seconds_left=progress.seconds_left, filename=task.filename,
        )  # fmt: skip
        self._write(PROGRESS, self._signed(running, os.getpid()))
        if task.shown is not None:
            task.shown(running)

    def _remember(self, what: str, error: str, filename: str | None = None) -> None:
        self._write(LAST, Last(what=what, error=error, filename=filename, at=SYSTEM_CLOCK.now()))

    def _restored(self, what: str, done: Restoration) -> None:
        how = {name: getattr(done, name) for name in ("filename", "rows", "seconds", "seconds_away", "safety_backup", "before")}
        self._write(LAST, Last(what=what, at=SYSTEM_CLOCK.now(), **how))

    def _write(self, name: str, what: object) -> None:
        """Replace a file of the folder; a full disk or a folder nobody may write is told by the work itself."""
        new = self._file(f"{name}.{os.getpid()}.new")
        with contextlib.suppress(OSError):
            new.write_bytes(msgspec.json.encode(what))
            new.replace(self._file(name))

    def _note(self) -> _Note | None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._file(PROGRESS).read_bytes(), type=_Note)
        return None

    def running(self) -> Running | None:
        """Return the work at hand, of whichever process of this machine; none when nobody is at work, also after a kill."""
        note = self._note()
        return note.running if note is not None and _is_at_work(note) else None

    def last(self) -> Last | None:
        """Return how the last work ended, none before the first; one whose process is gone without a word was interrupted."""
        note = self._note()
        if note is not None and note.host == HOST and not _is_at_work(note):
            return self._interrupted(note)
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._file(LAST).read_bytes(), type=Last)
        return None

    def _interrupted(self, note: _Note) -> Last:
        running = note.running
        said = f"the process ended at the step {running.step!r} without a word"
        if running.what in {"restore", "undo"}:
            changed = note.epoch != self.manager.epoch()
            said += "; live data are those that were brought back" if changed else "; live data are as they were"
            words = last_words(self.manager.folder.path)
            said += f"; it said last: {self.scrub(words)}" if words else ""
        return Last(what=running.what, error=said, filename=running.filename, at=note.at)


def _is_at_work(note: _Note) -> bool:
    return note.host == HOST and (began := born(note.pid)) is not None and began == note.born
