"""Start Python processes by forking one that has imported the platform already: milliseconds each instead of a second of imports.

A forked process is as real as another: it has its own memory, working folder, environment and number, and a test kills, freezes and waits
for it in the same way. What it shares with its brothers is only that the modules were imported before its environment was known.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

SOURCE = "import forks, sys; exec(forks.serve(int(sys.argv[1])))"
HEADER, STATUS = struct.Struct("!I"), struct.Struct("!i")
IMPORTED = (
    *("noufal.app", "noufal.cli", "noufal.part", "rakiza.cli", "rakiza.serve", "flask", "psycopg", "starlette.applications", "uvicorn"),
    # what the platform imports only when it starts, half of the work of a short process
    *("alembic.command", "alembic.op", "apscheduler.triggers.cron", "cryptography.hazmat.primitives.asymmetric.ed25519", "encodings.ascii"),
    *("encodings.cp437", "litestar.plugins.pydantic", "psutil", "pwdlib.hashers.argon2", "sqlalchemy.ext.compiler", "tarfile", "typer._adapters"),
    *("rakiza.backup.part", "rakiza.console.part", "rakiza.mail.part", "rakiza.monitoring.part", "rakiza.outbound.part", "rakiza.web.litestar"),
    *("rakiza.backup._backends.sqlite", "rakiza.bus._backends.sqlite", "rakiza.events._backends.sqlite", "rakiza.mail._backends.smtp"),
)
"""What nearly every process of the tests imports."""


class Forked:
    """A process made by `start`, with what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, handle: int, status: int, stdout: "IO[str]") -> None:
        """Take the process's number, its handle of the kernel and the pipe its status comes by."""
        self.pid, self.stdout = pid, stdout
        self._handle, self._status, self._lock = handle, status, threading.Lock()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how the process ended, none while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return how the process ended; raise subprocess.TimeoutExpired when it has not in so many seconds."""
        found = self._look(timeout)
        if found is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return found

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            with self._lock:
                if self.returncode is None:
                    told = os.read(self._status, STATUS.size)
                    self.returncode = STATUS.unpack(told)[0] if told else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, none to a process that has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        os.close(self._handle)
        os.close(self._status)


class Forker:
    """The process that forks, one for each process of the tests."""

    def __init__(self) -> None:
        """Start it; it ends with this process."""
        ours, theirs = socket.socketpair()
        with theirs:
            paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            command = [sys.executable, "-u", "-c", SOURCE, str(theirs.fileno())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env={**os.environ, **paths})
        self._socket, self._lock = ours, threading.Lock()

    def start(self, source: str, arguments: tuple[str, ...], env: dict[str, str], cwd: Path | None) -> Forked:
        """Fork a process that runs the source text."""
        output, write = os.pipe()
        status, tell = os.pipe()
        asked = json.dumps({"source": source, "arguments": arguments, "env": env, "cwd": str(cwd) if cwd else os.getcwd()}).encode()
        try:
            with self._lock:
                socket.send_fds(self._socket, [HEADER.pack(len(asked))], [write, tell])
                self._socket.sendall(asked)
                told, handles, _, _ = socket.recv_fds(self._socket, HEADER.size, 1)
        finally:
            os.close(write)
            os.close(tell)
        if not handles:
            raise RuntimeError("the process that forks has ended")
        return Forked(HEADER.unpack(told)[0], handles[0], status, open(output, encoding="utf-8"))

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()


@functools.cache
def _forker() -> Forker:
    forker = Forker()
    atexit.register(forker.close)
    return forker


def start(source: str, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> "Forked | subprocess.Popen[str]":
    """Run Python source in a process of its own, `env` added to this one's environment, both its outputs in one pipe."""
    if possible(source, env or {}):
        return _forker().start(source, arguments, {**os.environ, **(env or {})}, cwd)
    return subprocess.Popen(
        [sys.executable, "-u", "-c", source, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )


def possible(source: str, env: dict[str, str]) -> bool:
    """Tell whether a fork does the same as a new interpreter: not for what decides how one starts, or what is imported."""
    decides = any(name.startswith(("PYTHON", "LD_", "MALLOC")) and name != "PYTHONPATH" for name in env)
    return hasattr(os, "pidfd_open") and "sys.modules" not in source and not decides


def serve(descriptor: int) -> str:
    """Fork for each request until the other side closes; return, in a forked process, the source it is to run."""
    from rakiza.hub import ROOMS

    for name in (*(f"rakiza.{room}.part" for room in ROOMS), *IMPORTED):
        with contextlib.suppress(ImportError):
            __import__(name)
    gc.freeze()  # a collection in a forked process would copy every page
    with socket.socket(fileno=descriptor) as asking, selectors.DefaultSelector() as watched:
        watched.register(asking, selectors.EVENT_READ)
        ended: dict[int, tuple[int, int]] = {}
        while True:
            for key, _ in watched.select():
                if key.fileobj is not asking:
                    _tell(watched, ended, key.fd)
                    continue
                header, given, _, _ = socket.recv_fds(asking, HEADER.size, 2)
                if not header:
                    os._exit(0)
                text = asking.recv(HEADER.unpack(header)[0], socket.MSG_WAITALL)
                pid = os.fork()
                if pid == 0:
                    for handle, (_, tell) in ended.items():
                        os.close(handle)
                        os.close(tell)
                    watched.close()
                    asking.close()
                    return _become(json.loads(text), *given)
                handle = os.pidfd_open(pid)
                socket.send_fds(asking, [HEADER.pack(pid)], [handle])
                os.close(given[0])
                watched.register(handle, selectors.EVENT_READ)
                ended[handle] = (pid, given[1])


def _tell(watched: selectors.BaseSelector, ended: dict[int, tuple[int, int]], handle: int) -> None:
    pid, tell = ended.pop(handle)
    watched.unregister(handle)
    os.close(handle)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(tell, STATUS.pack(status))
    os.close(tell)


def _become(asked: dict[str, Any], output: int, tell: int) -> str:
    os.close(tell)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background, whose processes ignore it
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    sys.argv = ["-c", *asked["arguments"]]
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    sys.path[1:1] = added
    return str(asked["source"])
