"""The endpoints of backups: the specified ones, and what the console shows and does."""

import contextlib
from collections.abc import Iterator, Sequence

import msgspec

from rakiza._kernel import OPS_ADMIN, OPS_READ, OPS_WRITE, Context, Request, Response, Route, json_response
from rakiza._kernel.http import Handler
from rakiza.errors import ValidationError

from ._backends import Undoable
from ._checklist import checklist, free_bytes
from ._core import BackupInfo, moment_of
from ._desk import Desk
from ._drills import SHOWN, drills
from ._offsite import NEWEST
from ._outcomes import Verification
from .errors import BackupError
from .scheduler import BackupScheduler
from .service import DatabaseBackup
from .settings import BackupSettings

_UNCACHED = (b"cache-control", b"no-store")


class Confirmation(msgspec.Struct):
    """Say again which backup is to take the place of the live data."""

    confirm: str = ""
    safety_backup: bool = True


class Undo(msgspec.Struct):
    """Say again what is to take the place of the live data."""

    confirm: str = ""


class Fetch(msgspec.Struct):
    """Name a backup in another place; `newest` is the newest there."""

    url: str
    filename: str = NEWEST


class Pin(msgspec.Struct):
    """Say whether a backup is kept whatever the policy says."""

    pinned: bool = True


def routes(desk: Desk, scheduler: BackupScheduler, settings: BackupSettings, ctx: Context) -> tuple[Route, ...]:
    """Return the routes of backups."""
    do = _Endpoints(desk, scheduler, settings, ctx)
    api, one = "/api/backup", "{filename}"

    def read(path: str, handler: Handler, summary: str, permission: str = OPS_READ) -> Route:
        return Route(method="GET", path=f"{api}/{path}", handler=handler, permission=permission, summary=summary)

    def write(path: str, handler: Handler, summary: str, body: type | None = None, permission: str = OPS_WRITE) -> Route:
        return Route(method="POST", path=f"{api}/{path}", handler=handler, permission=permission, summary=summary, request_type=body, always=True)

    return (
        write("create", do.create, "Make a backup"),
        read("list", do.list, "All backups, the newest first"),
        read("stats", do.stats, "How many backups there are and how large"),
        read("status", do.status, "What is at work, what comes next, what is lacking"),
        write(f"verify/{one}", do.verify, "Bring a backup to life aside and compare it"),
        write("drill", do.drill, "Try the newest backup"),
        write(f"restore/{one}", do.restore, "Put a backup in the place of the live data", Confirmation, OPS_ADMIN),
        write("undo", do.undo, "Take the newest restore back", Undo, OPS_ADMIN),
        write(f"pin/{one}", do.pin, "Keep a backup whatever the policy says, or no more", Pin),
        Route(method="DELETE", path=f"{api}/delete/{one}", handler=do.delete, permission=OPS_WRITE, summary="Delete a backup", always=True),
        read("offsite", do.offsite, "All backups in the other places"),
        write(f"offsite/{one}", do.copy, "Take a backup to all other places now"),
        write("fetch", do.fetch, "Bring a backup from another place into the folder", Fetch, OPS_ADMIN),
        read(f"download/{one}", do.download, "Download a backup", OPS_ADMIN),
    )


class _Endpoints:
    def __init__(self, desk: Desk, scheduler: BackupScheduler, settings: BackupSettings, ctx: Context) -> None:
        self._desk, self._manager = desk, desk.manager
        self._scheduler, self._settings, self._ctx = scheduler, settings, ctx

    def create(self, _: Request) -> Response:
        made = self._desk.create()
        return json_response({"success": True, "backup": {"filename": made.filename, "size_mb": made.size_mb, "timestamp": made.timestamp}})

    def list(self, _: Request) -> Response:
        return json_response({"backups": [row(one) for one in self._manager.list_backups()]})

    def stats(self, _: Request) -> Response:
        return json_response(self._manager.get_backup_stats())

    def status(self, _: Request) -> Response:
        self._desk.look()
        last, stats = self._desk.last(), self._manager.get_backup_stats()
        return json_response({
            "running": self._desk.running(),
            "next": self._scheduler.get_jobs(),
            "policy": self._settings.policy,
            "newest_good": stats["newest_good"],
            "drilled_at": stats["drilled_at"],
            "before": _before(self._manager),
            "drills": drills(self._manager.folder)[:SHOWN],
            "free_bytes": free_bytes(self._manager.folder.path),
            "last": last,
            "last_error": last.error or None if last is not None else None,
            "maintenance": self._ctx.maintenance.pause,
            "undo": self._undoable(),
            "checklist": checklist(self._manager, self._scheduler, self._settings, self._ctx.clock.now()),
            "folder": str(self._manager.folder.path),
            "encryption": self._encryption(),
            "offsite": self._manager.offsite.standing(),
        })  # fmt: skip

    def _encryption(self) -> dict[str, object] | None:
        keys = self._manager.keys
        return {"recipients": keys.recipients, "readable": keys.opens(keys.recipients)} if keys.recipients else None

    def verify(self, request: Request) -> Response:
        with _named(request) as filename:
            return self._looked(self._desk.verify(filename))

    def drill(self, _: Request) -> Response:
        return self._looked(self._desk.drill())

    def _looked(self, found: Verification) -> Response:
        backup = next((row(one) for one in self._manager.list_backups() if one.filename == found.filename), None)
        return json_response({"success": found.ok, "backup": backup, "problem": found.problem or None, "note": found.note or None})

    def restore(self, request: Request) -> Response:
        asked = request.decode(Confirmation)
        with _named(request) as filename:
            self._manager.keys.check(filename, self._manager.check_known(filename).encrypted)
            if asked.confirm != filename:
                said = f"confirm must be {filename!r}: a restore takes the place of the live data"
                raise ValidationError(said, message_ar="اكتب اسم النسخة في confirm: الاستعادة تحل محل البيانات الحية")
        safety = "--safety" if asked.safety_backup else "--no-safety"
        return self._begun("restore", filename, ["restore", filename, "--yes", safety])

    def undo(self, request: Request) -> Response:
        asked, found = request.decode(Undo), self._manager.undoable()
        if found is None or asked.confirm != found.filename:
            said = f"confirm must be {found.filename!r}, which takes the place of the live data" if found else "there is nothing to undo"
            raise ValidationError(said, message_ar="اكتب في confirm اسم ما سيعود محل البيانات الحية" if found else "لا شيء يمكن التراجع عنه")
        return self._begun("undo", found.filename, ["undo", "--yes"])

    def _begun(self, what: str, filename: str, command: Sequence[str]) -> Response:
        self._desk.hand_over(what, filename, command, self._ctx.recipe())
        return json_response({"success": True, "restore": {"filename": filename}}, 202)

    def _undoable(self) -> Undoable | None:
        with contextlib.suppress(BackupError):
            return self._manager.undoable()
        return None

    def pin(self, request: Request) -> Response:
        asked = request.decode(Pin)
        with _named(request) as filename:
            return json_response({"success": True, "backup": row(self._manager.pin(filename, asked.pinned))})

    def offsite(self, _: Request) -> Response:
        return json_response({"backups": [one for url in self._manager.offsite.places for one in away(self._manager, url)]})

    def copy(self, request: Request) -> Response:
        with _named(request) as filename:
            copies = self._desk.copy_everywhere(filename)
        return json_response({"success": bool(copies) and all(one.state == "ok" for one in copies), "copies": copies})

    def fetch(self, request: Request) -> Response:
        asked = request.decode(Fetch)
        url = self._manager.offsite.place(asked.url).url  # over HTTP nobody names a place the settings do not
        with _named(request, asked.filename) as filename:
            return json_response({"success": True, "backup": row(self._desk.fetch(filename, url))})

    def delete(self, request: Request) -> Response:
        with _named(request) as filename:
            self._manager.delete_backup(filename)
        return json_response({"success": True})

    def download(self, request: Request) -> Response:
        with _named(request) as filename:
            path = self._manager.path_of(filename)
        self._ctx.ports.audit.record("sensitive_read", "DOWNLOAD", f"backup:{filename}")
        headers = [(b"content-disposition", f'attachment; filename="{filename}"'.encode()), _UNCACHED]
        return Response(file=path, headers=headers, content_type=b"application/octet-stream")


def row(one: BackupInfo) -> dict[str, object]:
    """Return what a list shows of a backup."""
    return {
        "filename": one.filename, "size_mb": one.size_mb, "timestamp": one.timestamp, "compressed": one.compressed, "kind": one.kind,
        "database_type": one.database_type, "pinned": one.pinned, "verified_at": one.verified_at, "drilled_at": one.drilled_at, "rows": one.rows,
        "safety": one.safety, "seconds": one.seconds, "encrypted": one.encrypted,
        "parts": [{"name": part.name, "size_mb": part.size_mb, "files": part.files} for part in one.parts], "copies": one.copies,
    }  # fmt: skip


def _before(manager: DatabaseBackup) -> list[Undoable] | None:
    """Return the databases that restores put aside, none while the server is away."""
    with contextlib.suppress(BackupError):
        return manager.put_aside()
    return None


def away(manager: DatabaseBackup, url: str) -> list[dict[str, object]]:
    """Return what a list shows of the backups in another place; raise as `OffsiteStore.list` does."""
    place, here = manager.offsite.place(url, any_place=True), {one.filename for one in manager.list_backups()}
    return [
        {"url": place.url, "filename": name, "size_mb": round(size / 1024 / 1024, 2), "timestamp": moment_of(name), "here": name in here}
        for name, size in place.list()
    ]


@contextlib.contextmanager
def _named(request: Request, filename: str = "") -> Iterator[str]:
    """Give the name in the path, or another one; what is no name of a backup is refused (422), a path among it."""
    try:
        yield filename or request.params["filename"]
    except ValueError as error:
        if isinstance(error, msgspec.DecodeError):
            raise
        raise ValidationError(str(error), message_ar="هذا ليس اسم نسخة احتياطية") from None
