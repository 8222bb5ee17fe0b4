"""The job that every side runs: it writes lines to a file, which many processes extend and one reads.

`R 0` when the tables of a new store are made, `S number` when a job that takes time began, `E number put began ended` when one ended;
times are seconds of the machine's monotonic clock, which is one for all processes.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CUSTOMER = "شركة البناء الحديث"


def payload(number: int) -> dict[str, object]:
    """Return the arguments of one job, put now."""
    return {"number": number, "put": time.monotonic(), "customer": CUSTOMER}


class Journal:
    """Run jobs and write down that they ran."""

    def __init__(self, path: str, seconds: float) -> None:
        """Append to the file; every job takes so many seconds."""
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        self.seconds = seconds

    def ready(self) -> None:
        """Tell that there are tables."""
        os.write(self._file, b"R 0\n")

    async def awaited(self, number: int, put: float) -> None:
        """Run one job on the event loop."""
        began = self._began(number)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        self._ended(number, put, began)

    def plain(self, number: int, put: float) -> None:
        """Run one job in a thread."""
        began = self._began(number)
        if self.seconds:
            time.sleep(self.seconds)
        self._ended(number, put, began)

    def _began(self, number: int) -> float:
        if self.seconds:
            os.write(self._file, b"S %d\n" % number)
        return time.monotonic()

    def _ended(self, number: int, put: float, began: float) -> None:
        os.write(self._file, b"E %d %.6f %.6f %.6f\n" % (number, put, began, time.monotonic()))


class Ended(NamedTuple):
    """Tell when one job was put, began and ended."""

    number: int
    put: float
    began: float
    ended: float


class Reading:
    """Follow the file from outside."""

    def __init__(self, path: Path) -> None:
        """Begin at the start of the file."""
        self._path, self._offset, self.started, self.ended = path, 0, list[int](), list[Ended]()
        self.tables = False
        path.touch()

    def go_on(self) -> int:
        """Read what was written since, and return how many jobs have ended."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")
        self._offset += len(whole[0]) + len(whole[1])
        for line in whole[0].splitlines():
            self._take(line.split())
        return len(self.ended)

    def _take(self, words: list[bytes]) -> None:
        match words[0]:
            case b"R":
                self.tables = True
            case b"S":
                self.started.append(int(words[1]))
            case _:
                self.ended.append(Ended(int(words[1]), *map(float, words[2:])))

    def wait(self, wanted: int, seconds: float) -> bool:
        """Return whether the jobs with numbers below `wanted` end in time."""
        return self._wait(lambda: len(self.ended) >= wanted and len(self.numbers(wanted)) == wanted, seconds)

    def wait_for_tables(self, seconds: float) -> bool:
        """Return whether the tables are made in time."""
        return self._wait(lambda: self.tables, seconds)

    def wait_for_first(self, seconds: float) -> bool:
        """Return whether any job ends in time."""
        return self._wait(lambda: bool(self.ended), seconds)

    def _wait(self, true: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        self.go_on()
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
            self.go_on()
        return True

    def numbers(self, below: int) -> set[int]:
        """Return which of the jobs with numbers below it have ended."""
        return {each.number for each in self.ended if each.number < below}

    def prove(self, wanted: int, *, once: bool) -> list[Ended]:
        """Return what ended. Raises RuntimeError unless all jobs with numbers below `wanted` did, `once`: and none twice."""
        found = [each for each in self.ended if each.number < wanted]
        if len(self.numbers(wanted)) != wanted or (once and len(found) != wanted):
            raise RuntimeError(f"{wanted} jobs were put, {len(self.numbers(wanted))} ended, {len(found)} times in all")
        return found
