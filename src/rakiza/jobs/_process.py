"""Run jobs that keep a processor busy in child processes: one job at a time each, kept for the next one, killed when a job must end."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Principal, RequestContext, current, time_left, use_context
from rakiza._kernel.tasks import after_fork

from ._core import Claimed
from ._definitions import Definition
from ._running import RunningJob
from .errors import Cancel, ProcessDied, Retry, Snooze

LOOK_SECONDS = 0.1
END_SECONDS = 1.0
PIECE_BYTES = 1 << 18
# The path of this process, so that the child finds what this process found, and nothing that lies in the working folder by chance.
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from rakiza.jobs._child import main; main(int(sys.argv[1]), int(sys.argv[2]))"


class Around(msgspec.Struct, frozen=True):
    """Carry the request a job belongs to."""

    request_id: str
    trace_id: str
    span_id: str
    tenant: str
    principal: Principal | None
    left: float | None = None

    @classmethod
    def of(cls, context: RequestContext) -> "Around":
        """Return what a child is told of a context."""
        return cls(context.request_id, context.trace_id, context.span_id, context.tenant, context.principal, time_left())

    @contextmanager
    def entered(self, task: str) -> Iterator[None]:
        """Make it the context of the block."""
        context = RequestContext(self.request_id, self.trace_id, self.span_id, method="JOB", path=task)
        context.tenant, context.principal = self.tenant, self.principal
        context.expires_at = SYSTEM_CLOCK.monotonic() + self.left if self.left is not None else 0.0
        with use_context(context):
            yield


class Request(msgspec.Struct, frozen=True):
    """Ask a child to run one job by the handler at `module:name`."""

    module: str
    name: str
    job: Claimed
    around: Around | None


class Raised(msgspec.Struct, frozen=True):
    """Tell what a handler raised; `after` are the seconds it asked to wait."""

    kind: str
    message: str
    traceback: str
    outcome: bool
    after: float | None

    def error(self) -> BaseException:
        """Return an error of the same name that shows the child's traceback."""
        made: BaseException
        match self.kind if self.outcome else "":
            case "Retry":
                made = Retry(self.message, after=self.after)
            case "Snooze":
                made = Snooze(self.after or 0.0, self.message)
            case "Cancel" | "JobCancelled":
                made = Cancel(self.message)
            case _:
                made = type(self.kind, (HandlerError,), {"retry_after_seconds": self.after})(self.message)
        made.add_note(self.traceback)
        return made


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Say one thing to the parent: that the child is ready, what the job said, or how it ended."""

    ready: bool = False
    done: bool = False
    progress: tuple[int, str | None] | None = None
    lines: list[tuple[str, str]] = []
    result: msgspec.Raw = msgspec.Raw()
    raised: Raised | None = None


class HandlerError(Exception):
    """Stand for what a handler raised in a child."""


class Processes:
    """Keep at most so many children, each started when it is needed."""

    def __init__(self, most: int | None = None) -> None:
        """Allow `most` children, as many as there are processors when not said."""
        self._most = most or os.cpu_count() or 1
        self._room, self._lock = threading.BoundedSemaphore(self._most), threading.Lock()
        self._begin()
        after_fork(self.forget)

    def _begin(self) -> None:
        self._children: set[_Child] = set()
        self._idle: list[_Child] = []

    def run(self, definition: Definition, job: Claimed, running: RunningJob) -> msgspec.Raw | None:
        """Run a job and return its result as JSON; blocks.

        Raises what the handler raised, `running.stop` once that is set (the child is killed then), and ProcessDied.
        """
        function, context = definition.function, current()
        request = Request(function.__module__, function.__qualname__, job, Around.of(context) if context else None)
        while not self._room.acquire(timeout=LOOK_SECONDS):
            running.check()
        try:
            child = self._take()
            try:
                while not child.greet(running):
                    self._give_back(child)
                    child = self._take()
                answer = child.work(request, running)
            finally:
                self._give_back(child)
        finally:
            self._room.release()
        if answer.raised is not None:
            raise answer.raised.error()
        return answer.result if memoryview(answer.result).nbytes else None

    def _take(self) -> "_Child":
        with self._lock:
            if self._idle:
                return self._idle.pop()
            child = _Child()
            self._children.add(child)
            return child

    def _give_back(self, child: "_Child") -> None:
        with self._lock:
            if child.free and child in self._children:
                self._idle.append(child)
                return
            self._children.discard(child)
        child.end()

    def close(self) -> None:
        """Kill every child; who waits for one is told that it died."""
        with self._lock:
            children, idle = self._children, self._idle
            self._begin()
        for child in children:
            child.kill()
        for child in idle:
            child.end()

    def forget(self) -> None:
        """Leave the children to the parent of a fork."""
        for child in self._children:
            child.forget()
        self._room, self._lock = threading.BoundedSemaphore(self._most), threading.Lock()
        self._begin()


class _Child:
    """Be the parent's side of one child process."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        path = msgspec.json.encode(sys.path).decode()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this interpreter and this code
                [sys.executable, "-P", "-c", BOOT, str(theirs.fileno()), str(lifeline), path],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,
            )
        except BaseException:
            self._hang_up()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.free, self._new, self._buffer = False, True, bytearray()
        self._poll = select.poll()
        self._poll.register(self._channel, select.POLLIN)

    def greet(self, running: RunningJob) -> bool:
        """Wait for a sign of life; tell whether it came, for a child may have died while it had nothing to do. Raise ProcessDied for a new one."""
        new, self._new, self.free = self._new, False, False
        try:
            if not new:
                self._send(b"")
            return self._next(running).ready
        except ProcessDied:
            if new:
                raise
            return False

    def work(self, request: Request, running: RunningJob) -> Answer:
        """Run one job and return how it ended, after telling `running` what it said; raise `running.stop` and ProcessDied."""
        self._send(msgspec.json.encode(request))
        while True:
            answer = self._next(running)
            for level, message in answer.lines:
                running.log(message, level)
            if answer.progress is not None:
                running.progress(*answer.progress)
            if answer.done:
                self.free = True
                return answer

    def _send(self, line: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is seen at the next answer
            self._channel.sendall(line + b"\n")

    def _next(self, running: RunningJob) -> Answer:
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0:
            running.check()
            seen, dead = len(self._buffer), self.process.poll() is not None
            if self._poll.poll(LOOK_SECONDS * 1000):
                with suppress(ConnectionResetError):
                    self._buffer += self._channel.recv(PIECE_BYTES)
                dead = len(self._buffer) == seen
            if dead:
                raise self._died()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return msgspec.json.decode(line, type=Answer)

    def _died(self) -> ProcessDied:
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(END_SECONDS)
            how = f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with the exit code {code}"
            return ProcessDied(f"the process of the job {how}", code)
        return ProcessDied("the process of the job closed its channel", None)

    def kill(self) -> None:
        """Kill the child and what it started."""
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill the child, wait for it and close what leads to it."""
        self.kill()
        self.process.wait()
        self._hang_up()

    def forget(self) -> None:
        """Close this process's copies of what leads to the child of another one."""
        self.process.returncode = 0
        self._hang_up()

    def _hang_up(self) -> None:
        self._channel.close()
        os.close(self._lifeline)
