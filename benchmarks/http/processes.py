"""Start a server on a core of its own and read what its whole process tree used."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple, Self

INHERITED = os.environ  # noqa: TID251  a server is started with this process's variables plus its own
START_SECONDS = 60


class StartError(Exception):
    """Say why a server did not answer, with the end of what it wrote."""


class Reply(NamedTuple):
    """Hold one HTTP reply; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def two_cores() -> tuple[int, int]:
    """Return the core of the server and the core of the load.

    Raises:
        StartError: this process may use fewer than two cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise StartError("two cores are needed, one for the server and one for the load")
    return cores[0], cores[1]


def free_port() -> int:
    """Return a TCP port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """Run one server pinned to a core, as a context manager."""

    def __init__(self, command: tuple[str, ...], variables: dict[str, str], folder: Path, core: int, ready_path: str = "/hello") -> None:
        self.port = free_port()
        self.folder = folder
        self.ready_path = ready_path
        self.sent = 0  # requests that this class made and saw answered
        self._command = ["taskset", "-c", str(core), *(part.replace("{port}", str(self.port)) for part in command)]
        self._variables = {**INHERITED, **variables, "PORT": str(self.port)}

    def __enter__(self) -> Self:
        with (self.folder / "server.output").open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StartError(f"the server ended with {self._process.returncode}:\n{self.tail()}")
            try:
                status = self.get(self.ready_path).status
            except (OSError, HTTPException):
                time.sleep(0.05)
                continue
            if status != 200:
                raise StartError(f"{self.ready_path} answered {status}:\n{self.tail()}")
            return
        raise StartError(f"no answer within {START_SECONDS} s:\n{self.tail()}")

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        """Send one GET on a connection of its own and count it."""
        return self.request("GET", path, headers=headers)

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """Send one request on a connection of its own and count it when it is for the ready path."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            reply = Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()
        self.sent += path == self.ready_path
        return reply

    def tail(self) -> str:
        """Return the last lines the server wrote to its terminal."""
        lines = (self.folder / "server.output").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def stop(self) -> None:
        """End the server and whatever it started, kindly first."""
        for sent, seconds in ((signal.SIGTERM, 8), (signal.SIGKILL, 8)):
            try:
                os.killpg(self._process.pid, sent)
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                return
            return

    def cpu_nanoseconds(self) -> int:
        """Return the processor time of every thread of the process tree so far."""
        return sum(_scheduled(stat) for pid in _tree(self._process.pid) for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"))

    def proportional_mib(self) -> float:
        """Return the tree's proportional set size in MiB (shared pages divided by their users)."""
        return sum(_pss_kib(pid) for pid in _tree(self._process.pid)) / 1024

    def resident_mib(self) -> float:
        """Return the sum of the tree's resident set sizes in MiB."""
        return sum(_rss_kib(pid) for pid in _tree(self._process.pid)) / 1024


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the thread or process has ended
        return ""


def _tree(pid: int) -> list[int]:
    children = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in _read(path).split()]
    return [pid, *(descendant for child in children for descendant in _tree(child))]


def _scheduled(stat: Path) -> int:
    fields = _read(stat).split()
    return int(fields[0]) if fields else 0


def _pss_kib(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+)", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE)
    return int(found[1]) if found else 0


def _rss_kib(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+)", _read(Path(f"/proc/{pid}/status")), re.MULTILINE)
    return int(found[1]) if found else 0
