"""The usual ways: programs in a shell, and what the standard library has. Every file is on the disk before the time is up, as ours is."""

from __future__ import annotations

import gzip
import math
import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import psycopg

from benchmarks.backup.side import megabytes, timed, written_to
from benchmarks.events.databases import servers

if TYPE_CHECKING:
    from benchmarks.backup.side import Figures, Given

ALONE_SECONDS = 3


def copy(given: Given) -> Figures:
    """Copy a database that is written to."""
    figures: Figures = {}
    copied = Path(given["folder"]) / "copy.db"
    with written_to(given["file"], figures):
        figures["seconds"], figures["processor"] = timed(lambda: _copied(given["how"], given["file"], copied))
    copied.unlink(missing_ok=True)
    return figures | ({"seconds": math.nan, "processor": math.nan} if given["how"] == "nothing" else {})


def _copied(how: str, file: str, copied: Path) -> None:
    if how == "nothing":
        time.sleep(ALONE_SECONDS)
    elif how == "cp":
        _shell(f"cp {quote(file)} {quote(str(copied))}")
    else:
        with closing(sqlite3.connect(file)) as source:
            if how == "vacuum":
                source.execute("vacuum into ?", [str(copied)])
            else:
                with closing(sqlite3.connect(copied)) as target:
                    source.backup(target)


def sqlite(given: Given) -> Figures:
    """Make a compressed text of a database, and a database of it."""
    file, packed, new = quote(given["file"]), f"{given['folder']}/text.sql.gz", f"{given['folder']}/new.db"
    if given["how"] == "iterdump":
        seconds, processor = timed(lambda: _iterdump(given["file"], packed))
    else:
        seconds, processor = timed(lambda: _shell(f"sqlite3 {file} .dump | gzip -6 > {packed}; sync {packed}"))
    restore, restore_processor = timed(lambda: _shell(f"gzip -dc {packed} | sqlite3 {new}"))
    return _done(seconds, processor, packed, restore, restore_processor, new)


def _iterdump(file: str, packed: str) -> None:
    with closing(sqlite3.connect(file)) as connection, gzip.open(packed, "wt", 6, encoding="utf-8") as target:
        for line in connection.iterdump():
            target.write(line + "\n")
    os.sync()


def _done(seconds: float, processor: float, packed: str, restore: float, restore_processor: float, new: str = "") -> Figures:
    size = megabytes(packed)
    for each in filter(None, (packed, new)):
        Path(each).unlink()
    return {
        "seconds": seconds, "processor": processor, "mb": size, "verify": math.nan, "restore": restore, "restore_processor": restore_processor,
        "away": math.nan,
    }


def postgresql(given: Given) -> Figures:
    """Run pg_dump in one of its forms, and what brings its file back."""
    tools, url, packed, aside = servers.postgres_binaries(), quote(given["url"]), f"{given['folder']}/dump", "brought_back"
    dump, back = f"{tools}/pg_dump", quote(given["url"].replace(given["url"].partition("@/")[2].partition("?")[0], aside))
    ways = {
        "plain": (f"{dump} {url} > {packed}", f"{tools}/psql -qX1 -o /dev/null -v ON_ERROR_STOP=1 -f {packed} {back}"),
        "plain zstd": (f"{dump} {url} | zstd -qc -3 > {packed}", f"zstd -qdc {packed} | {tools}/psql -qX1 -o /dev/null -v ON_ERROR_STOP=1 {back}"),
        "custom": (f"{dump} -Fc {url} > {packed}", f"{tools}/pg_restore -1 -d {back} {packed}"),
        "custom 1": (f"{dump} -Fc -Z1 {url} > {packed}", f"{tools}/pg_restore -1 -d {back} {packed}"),
    }
    out, into = ways[given["how"]]
    seconds, processor = timed(lambda: _shell(f"{out}; sync {packed}"), given["server"])
    with psycopg.connect(given["url"], autocommit=True) as admin:
        admin.execute(f"create database {aside} template template0".encode())
        try:
            restore, restore_processor = timed(lambda: _shell(into), given["server"])
        finally:
            admin.execute(f"drop database {aside} with (force)".encode())
    return _done(seconds, processor, packed, restore, restore_processor)


def _shell(command: str) -> None:
    subprocess.run(["bash", "-ceo", "pipefail", command], check=True, stdout=subprocess.DEVNULL)
