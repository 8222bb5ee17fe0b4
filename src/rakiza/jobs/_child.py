"""The child's side of a job that runs in a process of its own.

The channel is a socket with a line of JSON for each message, so that standard output stays the handler's. The lifeline is a pipe
nobody writes to: when the parent's end of it closes, however the parent ended, the child and what it started are killed.
"""

import fcntl
import os
import pkgutil
import signal
import socket
import threading
import traceback
from typing import Any, cast

import msgspec

from rakiza._kernel import describe

from ._core import Claimed, clean
from ._definitions import REGISTRY, Arguments, Handler
from ._process import Answer, Raised, Request
from ._running import RunningJob, Said
from .errors import Outcome


class Channel:
    """Write lines to the parent, one at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._lock = end, threading.Lock()
        self.job: ReportingJob | None = None

    def say(self, answer: Answer) -> None:
        """Send one answer; after it no job has anything more to say."""
        with self._lock:
            self.job = None
            self._end.sendall(msgspec.json.encode(answer) + b"\n")

    def report(self, job: "ReportingJob", answer: Answer) -> None:
        """Send what a job says as long as it runs; a thread it left behind is not heard."""
        with self._lock:
            if self.job is job:
                self._end.sendall(msgspec.json.encode(answer) + b"\n")


class ReportingJob(RunningJob):
    """Tell the parent at once what the handler says."""

    __slots__ = ("_channel", "_told")

    def __init__(self, job: Claimed, channel: Channel) -> None:
        super().__init__(job)
        self._channel = channel
        self._told: tuple[int, str | None] | None = None

    def progress(self, percent: float, text: str | None = None) -> None:
        """Tell how far the job is."""
        super().progress(percent, text)
        self._report()

    def log(self, message: str, level: str = "info") -> None:
        """Add a line to the job's log."""
        super().log(message, level)
        self._report()

    def _report(self) -> None:
        said = self.said() or Said(None, [])
        news = said.progress if said.progress != self._told else None
        if news is not None or said.lines:
            self._told = news or self._told
            self._channel.report(self, Answer(progress=news, lines=said.lines))


def work(line: bytes, channel: Channel) -> Answer:
    """Run one job and return how it ended."""
    try:
        request = msgspec.json.decode(line, type=Request, strict=False)  # SQLite has numbers for truth values
        function = handler(request)
        channel.job = job = ReportingJob(request.job, channel)
        given = Arguments(request.job.task, function).read(request.job.payload, job)
        result = call(request, function, given)
        return Answer(done=True) if result is None else Answer(done=True, result=msgspec.Raw(msgspec.json.encode(result)))
    except BaseException as error:  # noqa: BLE001 - border: the job run
        return Answer(done=True, raised=raised(error))


def handler(request: Request) -> Handler:
    """Import the module of a handler and return the one registered there for the task."""
    found = cast("Handler", pkgutil.resolve_name(f"{request.module}:{request.name}"))
    known = REGISTRY.find(request.job.task)
    if known is not None and (known.function.__module__, known.function.__qualname__) == (request.module, request.name):
        return known.function
    return found


def call(request: Request, function: Handler, given: dict[str, Any]) -> object:
    """Call a handler with the request its job belongs to at hand."""
    if request.around is None:
        return function(**given)
    with request.around.entered(request.job.task):
        return function(**given)


def raised(error: BaseException) -> Raised:
    """Return what the parent is told of an error."""
    outcome = isinstance(error, Outcome)
    after = getattr(error, "after" if outcome else "retry_after_seconds", None)
    seconds = float(after) if isinstance(after, int | float) else None
    trace = "".join(traceback.format_exception(error))
    return Raised(clean(type(error).__name__), clean(describe(error)), clean(trace), outcome, seconds)


def end_with_parent(lifeline: int) -> None:
    """Let this process group be killed when the parent's end of the pipe closes: on Linux by the kernel, whatever holds the interpreter then."""
    os.set_inheritable(lifeline, False)
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    # Elsewhere, and when the parent ended before this line, a thread sees it.
    threading.Thread(target=_wait_for_end, args=(lifeline,), name="rakiza-jobs-lifeline", daemon=True).start()


def _wait_for_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _ignore(_signal: int, _frame: object) -> None:
    """Do nothing: a service manager tells every process to end, and the parent decides what becomes of the job."""


def main(channel_file: int, lifeline: int) -> None:
    """Serve jobs until the parent hangs up."""
    end_with_parent(lifeline)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)
    with socket.socket(fileno=channel_file) as end, end.makefile("rb") as requests:
        end.set_inheritable(False)
        channel = Channel(end)
        channel.say(Answer(ready=True))
        for line in requests:
            channel.say(work(line, channel) if line.strip() else Answer(ready=True))
