"""Read log files backwards and follow a growing one; a look at the bytes comes before a look at the fields."""

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from rakiza._kernel import SYSTEM_CLOCK

from ._core import encoded
from ._writer import BLOCK_BYTES, GZIP, MAX_LINE_BYTES

PACKED_BLOCK_BYTES = 4 * 1024 * 1024  # a packed file is read from its beginning for every block
MAX_SCANNED_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 0.5
Place = tuple[str, int]
_UNREADABLE = (FileNotFoundError, EOFError, gzip.BadGzipFile, zlib.error)


class Conditions:
    """Decide whether a line is looked for: it holds all texts, and its fields and its time are as asked."""

    def __init__(self, texts: list[str], fields: dict[str, str], since: datetime | None = None, until: datetime | None = None) -> None:
        self._fields = {name: value for name, value in fields.items() if value}
        self.since, self._until = since, until
        # Written as the files write it, in small letters: bytes are compared without regard to the case of Latin letters.
        needles = [text for text in (*texts, *self._fields.values()) if text and (text in texts or "," not in text)]
        self._needles = sorted((encoded(text)[1:-1].lower() for text in needles), key=len, reverse=True)

    def within(self, region: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield place and text of the lines looked for in a region of whole lines, the last first."""
        end = region.rfind(b"\n") + 1
        lowered = region.lower() if self._needles else region
        needle = self._needles[0] if self._needles else b"\n"
        while end > 0 and (found := lowered.rfind(needle, 0, end)) >= 0:
            start, stop = region.rfind(b"\n", 0, found) + 1, region.find(b"\n", found)
            if self.hold(region[start:stop]):
                yield start, region[start:stop]
            end = start

    def hold(self, line: bytes) -> bool:
        """Tell whether a line without its newline is looked for."""
        lowered = line.lower()
        if not line or not all(needle in lowered for needle in self._needles):
            return False
        if not self._fields and self.since is None and self._until is None:
            return True
        try:
            given = msgspec.json.decode(line, type=dict[str, object])
            at = datetime.fromisoformat(str(given.get("timestamp")))
        except (ValueError, RecursionError):  # no line of ours
            return False
        right = all(_fits(name, str(given.get(name)), wanted) for name, wanted in self._fields.items())
        return right and (self.since is None or at >= self.since) and (self._until is None or at <= self._until)


def _fits(name: str, value: str, wanted: str) -> bool:
    if name == "level":
        return value in wanted.upper().split(",")
    return value == wanted or (name == "logger" and value.startswith(wanted + "."))


class _File:
    """Read one file backwards, plain or packed; `key` names it however it is moved or packed."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._source: IO[bytes] | gzip.GzipFile = raw
        status = os.fstat(raw.fileno())
        self.modified, number, self.size, self._block = status.st_mtime, status.st_ino, status.st_size, BLOCK_BYTES
        head = raw.read(64)
        if head.startswith(GZIP):
            name = head[10:].partition(b"\0")[0].removesuffix(b".log")
            number = int(name) if head[3] == 8 and name.isdigit() else number
            self.size = int.from_bytes(os.pread(raw.fileno(), 4, status.st_size - 4), "little")
            self._block = PACKED_BLOCK_BYTES
            raw.seek(0)
            self._source = gzip.GzipFile(fileobj=raw, mode="rb")
        first_line = self.read(0, 4096).partition(b"\n")[0]
        self.key = f"{number:x}.{zlib.crc32(first_line):x}"  # both: the number of a file that is gone is soon given to another

    def read(self, start: int, end: int) -> bytes:
        self._source.seek(start)
        return self._source.read(end - start)

    def regions(self, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield place and bytes of regions of whole lines before `end`, the last first."""
        tail = b""
        while end > 0:
            start = max(0, end - self._block)
            data = self.read(start, end) + tail
            cut = data.find(b"\n") + 1 if start else 0
            if cut or not start:
                yield start + cut, data[cut:]
                tail = data[:cut]
            else:  # no line begins in this block
                tail = data if len(data) < MAX_LINE_BYTES else b""
            end = start


class Found(msgspec.Struct):
    """Hold what one call found, newest first, and where the next one goes on."""

    lines: list[bytes]
    cursor: str | None = None
    scanned_bytes: int = 0


def scan(live: Path, backup_count: int, wanted: Conditions, limit: int, cursor: str = "") -> Found:
    """Look through the live file and its rotated ones; raise ValueError for a cursor that is none."""
    key, _, offset = cursor.partition("-")
    if cursor and not (key and offset.isascii() and offset.isdigit()):
        raise ValueError("this is no cursor of a search in the logs")
    found, deadline = Found([]), SYSTEM_CLOCK.monotonic() + MAX_SECONDS
    for file in _opened(live, backup_count):
        if not key or file.key == key:
            end, key = (min(int(offset), file.size) if key else file.size), ""
            for start, region in file.regions(end if wanted.since is None or file.modified >= wanted.since.timestamp() else 0):
                found.scanned_bytes += len(region)
                for place, line in wanted.within(region):
                    found.lines.append(line)
                    if len(found.lines) >= limit:
                        found.cursor = f"{file.key}-{start + place}"
                        return found
                if found.scanned_bytes >= MAX_SCANNED_BYTES or SYSTEM_CLOCK.monotonic() >= deadline:
                    found.cursor = f"{file.key}-{start}"
                    return found
    return found


def _opened(live: Path, backup_count: int) -> Iterator[_File]:
    """Yield the files, newest first. A rotation meanwhile only moves them on, so that none is missed; one seen already is left out."""
    seen: set[str] = set()
    for number in range(backup_count + 2):
        rotated = live.with_name(f"{live.name}.{number}")
        for path in (live,) if number == 0 else (rotated, rotated.with_name(rotated.name + ".gz")):
            with contextlib.suppress(*_UNREADABLE), path.open("rb") as raw:
                file = _File(raw)
                if file.key not in seen and file.size:
                    seen.add(file.key)
                    yield file


def as_object(line: bytes) -> bytes:
    """Return a line as it is, or, when it is one of a file in plain text, as the message of a JSON object."""
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return encoded({"message": line.decode("utf-8", "replace")})
    return line


def follow(live: Path, backup_count: int, place: Place | None) -> tuple[list[bytes], Place]:
    """Return the next whole lines after a place, over rotations, and the place behind them; without a place only the present end."""
    found: tuple[list[bytes], Place] = ([], place or ("", 0))
    for file in _opened(live, backup_count):
        if place is None:
            start, region = next(file.regions(file.size))
            return [], (file.key, start + region.rfind(b"\n") + 1)
        start = place[1] if file.key == place[0] else 0
        data = file.read(start, start + MAX_LINE_BYTES)
        end = data.rfind(b"\n") + 1  # half a line is left for later: the next writer may cut it off
        if end or len(data) == MAX_LINE_BYTES:
            found = data[:end].split(b"\n")[:-1], (file.key, start + (end or len(data)))
        if file.key == place[0]:
            return found
    # The file followed so far is gone for good: what is there already is not news.
    return found if place is not None and not place[0] else follow(live, backup_count, None) if place is not None else found
