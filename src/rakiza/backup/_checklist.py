"""What keeps data safe beyond the backup itself, told as it is: by the clock, recent, tried, room, and the three parts of 3-2-1."""

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from ._core import Manifest
from .scheduler import DRILL, BackupScheduler
from .service import DatabaseBackup
from .settings import BackupSettings

DRILL_DAYS = 31
ROOM_FOR = 3
"""The disk should take so many more backups as large as the newest."""
SHARES = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse.rclone", "ceph", "fuse.s3fs", "glusterfs", "fuse.glusterfs"})
MOUNTS = Path("/proc/self/mounts")


class Item(msgspec.Struct, frozen=True):
    """Tell whether one thing is as it should be, and what was seen."""

    name: str
    ok: bool
    said: str


class Held(NamedTuple):
    """Tell of one place that holds the data: `device` is the disk where it can be seen, `apart` whether it stands outside this machine."""

    said: str
    device: int | None
    apart: bool


def checklist(manager: DatabaseBackup, scheduler: BackupScheduler, settings: BackupSettings, now: datetime) -> list[Item]:
    """Return the list: scheduler, recent backup, drill, room on the disk, three copies, two media, and one in another place; blocks."""
    manifests = manager.folder.manifests()
    good = next((one for one in manifests if one.verified_at is not None), None)
    drilled = manager.drilled_at()
    coming = [one.next_run_time for one in scheduler.get_jobs() if one.next_run_time is not None and one.name != DRILL]
    recent = good is not None and now - good.created_at <= timedelta(hours=settings.max_age_hours)
    return [
        Item("scheduler", bool(coming), f"the next backup is made at {min(coming).isoformat()}" if coming else "nothing makes backups by the clock"),
        Item("recent", recent, f"the newest good backup is {good.file}" if good is not None else "there is no good backup"),
        Item("drill", drilled is not None and now - drilled <= timedelta(days=DRILL_DAYS), _said_of_drill(manager, drilled)),
        _room(manager, good.size if good is not None else 0),
        *_three_two_one(manager, manifests, good, timedelta(hours=settings.max_age_hours)),
    ]


def free_bytes(folder: Path) -> int | None:
    """Return how much room the disk of a folder has, none while there is no folder."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None


def _said_of_drill(manager: DatabaseBackup, drilled: datetime | None) -> str:
    if drilled is None and not manager.keys.opens(manager.keys.recipients):
        return "the key is not here: try a backup where it is, and restore it there"
    return f"a backup was last brought to life at {drilled.isoformat()}" if drilled is not None else "no backup was ever brought to life"


def _room(manager: DatabaseBackup, size: int) -> Item:
    free = free_bytes(manager.folder.path)
    if free is None:
        return Item("disk", False, f"there is no folder {manager.folder.path} yet")
    return Item("disk", free > ROOM_FOR * size, f"{free / 1024**3:,.1f} GB are free in {manager.folder.path}")


# -- three copies, two media, one in another place


def _three_two_one(manager: DatabaseBackup, manifests: Sequence[Manifest], good: Manifest | None, longest: timedelta) -> list[Item]:
    live = Held("the database", _device(manager.database_file), manager.database_file is None and not manager.database_here)
    here = [Held(f"the folder {manager.folder.path}", _device(manager.folder.path), _is_share(manager.folder.path))] if good is not None else []
    away = [_held(url, folder) for url, folder in _reached(manager, manifests, good, longest)]
    held = [live, *here, *away]
    media = {one.device if one.device is not None else one.said for one in held if one.device is not None or one.apart}
    apart = [one.said for one in away if one.apart]
    known = _places(copy.url for one in manifests for copy in one.copies if copy.state == "ok")
    old = f"the copies in {known} are older than they may be" if known else "no backup has a copy in another place"
    near = f"{_places(one.said for one in away)} is a folder of this machine" if away else old
    return [
        Item("copies", len(held) >= 3, f"{len(held)} of 3: {_places(one.said for one in held)}"),
        Item("media", len(media) >= 2, f"{len(media)} kinds of storage are seen" if len(media) >= 2 else "all copies seen are on one disk"),
        Item("offsite", bool(apart), _places(apart) if apart else near),
    ]


def _reached(manager: DatabaseBackup, manifests: Sequence[Manifest], good: Manifest | None, longest: timedelta) -> list[tuple[str, Path | None]]:
    """Return the places that hold a backup not much older than the newest good one here."""
    if good is None:
        return []
    fresh = {copy.url for one in manifests if good.created_at - one.created_at <= longest for copy in one.copies if copy.state == "ok"}
    return [(url, place.folder) for url, place in manager.offsite.places.items() if url in fresh]


def _held(url: str, folder: Path | None) -> Held:
    return Held(url, None, True) if folder is None else Held(url, _device(folder), _is_share(folder))


def _device(path: Path | None) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_dev if path is not None else None
    return None


def _is_share(path: Path) -> bool:
    """Tell whether a folder lies on a file system of another machine, as far as this one says."""
    with contextlib.suppress(OSError):
        mounts = [line.split(" ")[1:3] for line in MOUNTS.read_text(errors="replace").splitlines()]
        under = [(Path(at.replace("\\040", " ")), kind) for at, kind in mounts if path.resolve().is_relative_to(at.replace("\\040", " "))]
        return bool(under) and max(under, key=lambda one: len(one[0].parts))[1] in SHARES
    return False


def _places(urls: Iterable[str]) -> str:
    return ", ".join(sorted(set(urls)))
