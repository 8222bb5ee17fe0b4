"""Ours: `DatabaseBackup` as an application uses it."""

from __future__ import annotations

import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.backup.side import megabytes, timed, written_to
from rakiza.backup import DatabaseBackup
from rakiza.backup._streams import Pace, zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.backup.side import Figures, Given

WAIT_SECONDS = 120


def copy(given: Given) -> Figures:
    """Take the snapshot alone."""
    figures: Figures = {}
    folder = Path(given["folder"])
    backend: Any = DatabaseBackup(f"sqlite:///{given['file']}", folder)._backend
    with written_to(given["file"], figures):
        figures["seconds"], figures["processor"] = timed(lambda: backend._snapshot(folder / "copy.db", Pace(None)))
    (folder / "copy.db").unlink()
    return figures

def sqlite(given: Given) -> Figures:
    """Make a backup, look at it, and bring it back."""
    return _whole(f"sqlite:///{given['file']}", given)

def postgresql(given: Given) -> Figures:
    """Make a backup, look at it, and bring it back."""
    return _whole(given["url"].replace("postgresql:", "postgresql+psycopg:"), given)

def _whole(url: str, given: Given) -> Figures:
    folder, server, kept = Path(given["folder"]) / "ours", given.get("server", 0), []
    backup = DatabaseBackup(url, folder, text=bool(given.get("text")))
    seconds, processor = timed(lambda: kept.append(backup.create_backup()), server)
    size = megabytes(backup.path_of(kept[0].filename))
    verify, _ = timed(lambda: kept.append(backup.verify_backup(kept[0].filename)), server)
    if not kept[1]:
        raise RuntimeError(kept[1].problem)
    told: Figures = {}
    with written_to(given["file"], told, WAIT_SECONDS) if "file" in given else nullcontext():
        restore, restore_processor = timed(lambda: kept.append(backup.restore_backup(kept[0].filename, safety_backup=False)), server)
    shutil.rmtree(folder)
    if kept[2].before:
        with psycopg.connect(given["url"], autocommit=True) as admin:
            admin.execute(f'drop database "{kept[2].before}" with (force)'.encode())
    return {
        "seconds": seconds, "processor": processor, "mb": size, "verify": verify, "restore": restore, "restore_processor": restore_processor,
        "away": told["max"] / 1000 if told else kept[2].seconds_away,
    }

def memory(given: Given) -> Figures:
    """Tell how much memory each piece of work takes at most, above what the process had before."""
    folder, kept = Path(given["folder"]) / "memory", []
    url = given["url"].replace("postgresql:", "postgresql+psycopg:") if given["database"] == "postgresql" else f"sqlite:///{given['file']}"
    backup = DatabaseBackup(url, folder)
    zstd()
    raw, base = backup._backend.size() / 1024 / 1024, _kilobytes("VmRSS")
    figures = {"raw": raw, "create": _grown(lambda: kept.append(backup.create_backup()), base)}
    figures["verify"] = _grown(lambda: kept.append(backup.verify_backup(kept[0].filename)), base)
    figures["restore"] = _grown(lambda: kept.append(backup.restore_backup(kept[0].filename, safety_backup=False)), base)
    shutil.rmtree(folder)
    return figures if kept[1] else dict.fromkeys(figures, math.nan)

def _grown(work: Callable[[], object], base: int) -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    work()
    return (_kilobytes("VmHWM") - base) / 1024

def _kilobytes(name: str) -> int:
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
