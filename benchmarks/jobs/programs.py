"""Start the processes of the sides, ask them, watch what they cost, and end them gently or at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from benchmarks.http import peers_environment

if TYPE_CHECKING:
    from benchmarks.jobs.places import Places

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
INHERITED = os.environ  # noqa: TID251  a side is started with this process's variables plus the path of the project
ANSWER_SECONDS = 300
STOP_SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")
Figures = dict[str, float]


class Program(NamedTuple):
    """Name one side: its title, the kind of its store, and its module below `benchmarks.jobs` or its file for node."""

    title: str
    store: str
    module: str
    options: dict[str, Any] = {}  # noqa: RUF012  never changed

    @property
    def peer(self) -> bool:
        """Return whether it is somebody else's."""
        return self.module.startswith("peers")

    def command(self, role: str, given: dict[str, Any]) -> list[str]:
        """Return the command of one role."""
        text = json.dumps({"options": self.options} | given)
        if self.module.endswith(".js"):
            return ["node", str(PEERS.parent / self.module), role, text]
        python = str(peers_environment.peer_python()) if self.peer else sys.executable
        return [python, "-m", "benchmarks.jobs.side", f"benchmarks.jobs.{self.module}", role, text]


def install(programs: list[Program]) -> None:
    """Install the peers that are asked for, on first use and when their pins change."""
    peers_environment.PEERS = peers_environment.NODE_FOLDER = PEERS
    peers_environment.ENVIRONMENT = PEERS / ".venv"
    if any(each.module.endswith(".js") for each in programs):
        peers_environment.install_node_peers()
    if any(each.peer for each in programs):
        peers_environment.install_python_peers()


class Running:
    """Hold one process of a side."""

    def __init__(self, program: Program, places: Places, role: str, **given: object) -> None:
        """Start it, in a group of its own."""
        self._title, self._role, self._errors = program.title, role, places.file("errors")
        variables = {**INHERITED, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(program.command(role, given), env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors,
                                             start_new_session=True)

    def answer(self, seconds: float = ANSWER_SECONDS) -> Figures:
        """Wait for its end and return what it said. Raises RuntimeError with what went wrong."""
        try:
            said, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(self._failure(f"did not end in {seconds:g} s")) from None
        if self._process.returncode:
            raise RuntimeError(self._failure(f"ended with {self._process.returncode}"))
        return cast("Figures", json.loads(said.splitlines()[-1]))

    def stop(self) -> Figures:
        """Tell a worker to finish what has begun, and return what it says at its end."""
        self._process.send_signal(signal.SIGTERM)
        return self.answer(STOP_SECONDS)

    def kill(self) -> None:
        """End its whole group at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        cast("Any", self._process.stdout).close()

    def processor_seconds(self) -> float:
        """Return the processor time it and its children have used."""
        if self._process.poll() is not None:
            raise RuntimeError(self._failure(f"ended with {self._process.returncode}"))
        return sum(_ticks(pid) for pid in _family(self._process.pid)) / TICKS

    def _failure(self, what: str) -> str:
        return f"{self._title}, {self._role}: {what}: {self._errors.read_text(errors='replace')[-600:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()


def _family(pid: int) -> list[int]:
    children = [int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()]
    return [pid, *(grandchild for child in children for grandchild in _family(child))]


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
