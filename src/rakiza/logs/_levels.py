"""Levels of loggers changed while the application runs, for a while and in all its processes, and shares of noisy loggers."""

import contextlib
import logging
import os
import threading
from pathlib import Path

import msgspec

from rakiza._kernel import SYSTEM_CLOCK
from rakiza._kernel.ids import sample

MAX_CHANGED = 64
MAX_SECONDS = 86_400.0
MAX_KNOWN_NAMES = 4_096
Changed = dict[str, tuple[int, float]]


class Levels:
    """Hold what was changed: logger, level, end. It stands in a file beside the logs, which every process of the application reads.

    The end is in seconds of the machine's clock that never goes back and is the same for all processes.
    """

    def __init__(self, base: int, path: Path, ratios: dict[str, float]) -> None:
        self.base, self.ratios, self._path = base, ratios, path
        self.changed: Changed = {}
        self._before: dict[str, int] = {}
        self._shares: dict[str, float] = {}
        self.forget()

    def forget(self) -> None:
        """Take a new lock and read the file anew: after a fork, and after a stop."""
        self._lock = threading.RLock()
        self._seen = 0

    def change(self, name: str, level: int | None, seconds: float = 0.0) -> bool:
        """Give a logger a level for some seconds, or its own back; tell whether that changed anything. Raises ValueError out of bounds."""
        if level is not None and not 0 < seconds <= MAX_SECONDS:
            raise ValueError(f"a level may be changed for at most {MAX_SECONDS:.0f} seconds, not {seconds:g}")
        with self._lock:
            self.tick()
            wanted = {key: one for key, one in self.changed.items() if key != name}
            if level is not None:
                wanted[name] = (level, SYSTEM_CLOCK.monotonic() + seconds)
            if len(wanted) > MAX_CHANGED:
                raise ValueError(f"{MAX_CHANGED} loggers have a changed level already; reset one first")
            different, part = wanted != self.changed, self._path.with_name(f"{self._path.name}.{os.getpid()}")
            self.apply(wanted)
            with contextlib.suppress(OSError):  # without a place to write, the change holds in this process only
                self._path.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(msgspec.json.encode(wanted))
                part.replace(self._path)
                self._seen = self._path.stat().st_mtime_ns
            return different

    def tick(self) -> None:
        """Take over what other processes changed and end what is over."""
        with self._lock:
            wanted = self.changed
            with contextlib.suppress(OSError, msgspec.DecodeError):
                changed = self._path.stat().st_mtime_ns
                if changed != self._seen:
                    self._seen, wanted = changed, msgspec.json.decode(self._path.read_bytes(), type=Changed)
            self.apply(wanted)

    def apply(self, wanted: Changed) -> None:
        """Set the levels wanted and give the other loggers their own back."""
        now = SYSTEM_CLOCK.monotonic()
        live = {name: one for name, one in wanted.items() if now < one[1] <= now + MAX_SECONDS}  # not one of before a restart of the machine
        for name in self._before.keys() - live.keys():
            logging.getLogger(name).setLevel(self._before.pop(name))
        for name, (level, _) in live.items():
            if self.changed.get(name, (None, 0))[0] != level:
                self._before.setdefault(name, logging.getLogger(name).level)
                logging.getLogger(name).setLevel(level)
        self.changed = live

    def share(self, name: str, ratio: float) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError(f"a share is a number from 0 to 1, not {ratio:g}")
        self.ratios, self._shares = {**self.ratios, name: ratio}, {}

    def wanted(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be written: its level is high enough and it is not sampled away."""
        level, name = record.levelno, record.name
        if level < self.base and not any(one <= level and _covers(key, name) for key, (one, _) in self.changed.items()):
            return False
        if level >= logging.WARNING or not self.ratios:
            return True
        share = self._shares.get(name)
        if share is None:
            nearest = max((key for key in self.ratios if _covers(key, name)), key=len, default="")
            share = self.ratios.get(nearest, 1.0)
            if len(self._shares) < MAX_KNOWN_NAMES:
                self._shares[name] = share
        return share >= 1 or sample(share)


def _covers(name: str, other: str) -> bool:
    return name in {"root", other} or other.startswith(name + ".")
