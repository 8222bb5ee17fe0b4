"""One side in a process of its own: `python -m benchmarks.backup.side MODULE OPTIONS` does what the module's functions named like the tables say."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Given = dict[str, Any]
Figures = dict[str, float]
TICKS = 100
SETTLE_SECONDS = 0.3  # until a server has taken note of a process that ended


def timed(work: Callable[[], object], server: int = 0) -> tuple[float, float]:
    """Return the seconds a piece of work took, and the processor time of this process, its children and a PostgreSQL server."""
    before, begun = _processor(server), time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    time.sleep(SETTLE_SECONDS if server else 0)
    return seconds, _processor(server) - before


def _processor(server: int) -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used) + (_of_server(server) if server else 0.0)


def _of_server(server: int) -> float:
    """Return the processor time of a server: those of its processes that have ended are counted in its own."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if path.parent.name == str(server) or fields[1] == str(server):
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


@contextmanager
def written_to(file: str, figures: Figures, wait_seconds: float = 0) -> Iterator[None]:
    """Let another process write into a database for the length of a block, and add how it fared to the figures."""
    command = [sys.executable, "-m", "benchmarks.backup.writer", file, str(wait_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=turns.ROOT) as writer:
        if writer.stdin is None or writer.stdout is None:
            raise RuntimeError("no pipes")
        writer.stdout.readline()
        time.sleep(0.5)
        yield
        time.sleep(0.2)
        writer.stdin.close()
        figures |= json.loads(writer.stdout.readline() or '{"p50": NaN, "p99": NaN, "max": NaN, "locked": NaN}')


def megabytes(path: str | Path) -> float:
    """Return the size of a file."""
    return Path(path).stat().st_size / 1024 / 1024


if __name__ == "__main__":
    module, options = importlib.import_module(sys.argv[1]), json.loads(sys.argv[2])
    turns.serve(lambda case, given: getattr(module, case)(options | given))
