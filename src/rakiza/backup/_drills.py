"""Reports of drills in the folder of the backups: whoever tried one and however it went, the newest ones."""

import contextlib
from collections.abc import Iterable
from datetime import datetime

import msgspec

from ._core import Manifest, Moment
from ._folder import Folder

FILE = ".drills.jsonl"
KEPT, SHOWN = 100, 20



class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """Tell how one drill went; `filename` is empty when there was no backup to try."""

    at: Moment
    filename: str
    ok: bool
    problem: str = ""
    rows: int = 0
    seconds: float = 0.0


_decoder = msgspec.json.Decoder(Drill)


def drills(folder: Folder) -> list[Drill]:
    """Return the reports, the newest first; a line that was cut or is of another version is passed over."""
    found: list[Drill] = []
    with contextlib.suppress(OSError):
        for line in (folder.path / FILE).read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                found.append(_decoder.decode(line))
    return found[::-1][:KEPT]


def report(folder: Folder, drill: Drill) -> None:
    """Add a report and let the oldest go, for who works in the folder alone; a full disk is told by the drill itself."""
    new, lines = folder.part(FILE), [msgspec.json.encode(one) for one in (*reversed(drills(folder)[: KEPT - 1]), drill)]
    with contextlib.suppress(OSError):
        new.write_bytes(b"".join(line + b"\n" for line in lines))
        new.replace(folder.path / FILE)


def last_good(folder: Folder) -> datetime | None:
    """Return when a backup last came to life in a drill, also when that backup is gone meanwhile."""
    return next((one.at for one in drills(folder) if one.ok), None)


def stalest(manifests: Iterable[Manifest], newest: str) -> Manifest | None:
    """Return the good older backup whose bytes were looked at the longest ago: in time all of them are."""
    older = [(one.verified_at, one.file, one) for one in manifests if one.file != newest and one.verified_at is not None]
    return min(older)[2] if older else None
