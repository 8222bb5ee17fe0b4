"""Run jobs: coroutines on one loop, plain functions in threads, heavy ones in processes; whatever they do becomes one outcome."""

import asyncio
import logging
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Context, LoopThread, Principal, RequestContext, span_id, trace_id, use_context
from rakiza.errors import capture_exception
from rakiza.telemetry import Telemetry

from ._core import Backoff, Claimed, Settled, check_size, clean, done, ended, failed
from ._definitions import Definition
from ._process import Processes
from ._running import RunningJob
from .errors import JobArgumentsError, JobCancelled, JobTimeout, Outcome

if TYPE_CHECKING:
    from ._engine import Now

log = logging.getLogger("rakiza.jobs")
Around = Callable[[RunningJob], AbstractContextManager[object]]


class Carried(msgspec.Struct, omit_defaults=True):
    """Carry what belongs to the work that enqueued a job: its trace, its request and its user."""

    traceparent: str | None = None
    request_id: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    scheduled_for: str | None = None


class Run:
    """Hold one attempt at one job while it is at work."""

    __slots__ = ("began", "definition", "due", "job", "running", "stepped", "task", "waited")

    def __init__(self, job: Claimed, definition: Definition, began: float, due: float, waited: float) -> None:
        self.job, self.definition, self.began, self.due, self.waited = job, definition, began, due, waited
        self.running = RunningJob(job)
        self.task: asyncio.Task[None] | None = None
        self.stepped = False

    @property
    def key(self) -> tuple[int, int]:
        """Return the job and the attempt."""
        return self.job.id, self.job.attempt


class Threads:
    """Keep threads that end with the process, as many as were ever needed at once."""

    def __init__(self) -> None:
        self._threads = self._idle = 0
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def start(self, call: Callable[[], None]) -> None:
        """Run `call` in a thread."""
        with self._lock:
            if self._idle <= self._calls.qsize():
                self._threads += 1
                threading.Thread(target=self._serve, name=f"rakiza-jobs-{self._threads}", daemon=True).start()
        self._calls.put(call)

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            call = self._calls.get()
            with self._lock:
                self._idle -= 1
            if call is None:
                return
            call()

    def close(self) -> None:
        """Let the threads end once they are idle."""
        with self._lock:
            for _ in range(self._threads):
                self._calls.put(None)
            self._threads = self._idle = 0


class Execution:
    """Start attempts and hand each one's outcome to `finish`."""

    def __init__(
        self,
        concurrency: int,
        backoff: Backoff,
        max_result_bytes: int,
        now: "Now",
        finish: Callable[[Run, Settled, BaseException | None], None],
        *,
        wake: Callable[[], object],
        around: Sequence[Around] = (),
        ctx: Context | None = None,
    ) -> None:
        self._backoff, self._max_result_bytes, self._now, self._finish, self._around, self._ctx = backoff, max_result_bytes, now, finish, around, ctx
        self._wake, self._waking = wake, False
        self._loop, self._threads = LoopThread("rakiza-jobs-loop"), Threads()
        self._processes = Processes()
        self._telemetry = ctx.need("telemetry", Telemetry) if ctx is not None and ctx.has("telemetry") else None

    def start(self, runs: Sequence[Run]) -> None:
        """Start attempts, those on the loop by one wake-up of it."""
        if on_loop := [run for run in runs if run.definition.is_async]:
            self._loop.loop.call_soon_threadsafe(self._start_on_loop, on_loop)
        for run in runs:
            if not run.definition.is_async:
                self._threads.start(lambda run=run: self.run_here(run))  # type: ignore[misc]

    def _start_on_loop(self, runs: Sequence[Run]) -> None:
        for run in runs:
            run.task = self._loop.loop.create_task(self._run_async(run))

    def stop(self, run: Run, reason: JobCancelled | JobTimeout) -> None:
        """Ask an attempt to end: a coroutine is cancelled, a plain function finds out by `check()` or `progress()`."""
        run.running.stop = reason
        if run.definition.is_async:
            # A task that is cancelled before its first step would end without a word; that step finds out by itself.
            self._loop.loop.call_soon_threadsafe(lambda: run.task.cancel() if run.task is not None and run.stepped else None)

    def close(self) -> None:
        """End the loop and its thread, the threads that are idle, and every child process."""
        self._loop.close()
        self._processes.close()
        self._threads.close()

    # -- one attempt

    async def _run_async(self, run: Run) -> None:
        run.stepped = True
        context, result = self._context(run), None
        error: BaseException | None = None
        with use_context(context):
            try:
                with self._hooks(run):
                    run.running.check()
                    result = await run.definition.function(**self._arguments(run))
            except asyncio.CancelledError as cancelled:
                error = run.running.stop or cancelled
            except BaseException as raised:  # noqa: BLE001 - border: the job run
                error = raised
        self._end(run, context, result, error)

    def run_here(self, run: Run) -> None:
        """Run one attempt of a plain function in this thread."""
        context, result = self._context(run), None
        error: BaseException | None = None
        with use_context(context):
            try:
                with self._hooks(run):
                    run.running.check()
                    result = self._call(run)
            except BaseException as raised:  # noqa: BLE001 - border: the job run
                error = raised
        self._end(run, context, result, error)

    def run_inline(self, run: Run) -> None:
        """Run one attempt and wait for its end, a coroutine on the loop of this execution."""
        if run.definition.is_async:
            self._loop.call(self._run_async(run))
        else:
            self.run_here(run)

    def _call(self, run: Run) -> Any:
        given = self._arguments(run)
        if run.definition.in_process:
            return self._processes.run(run.definition, run.job, run.running)
        return run.definition.function(**given)

    @staticmethod
    def _arguments(run: Run) -> dict[str, Any]:
        try:
            return run.definition.arguments.read(run.job.payload, run.running)
        except msgspec.ValidationError as error:
            raise JobArgumentsError(f"the arguments no longer fit the handler: {error}") from None

    @contextmanager
    def _hooked(self, run: Run) -> Iterator[None]:
        with ExitStack() as stack:
            for around in self._around:
                stack.enter_context(around(run.running))
            yield

    def _hooks(self, run: Run) -> AbstractContextManager[object]:
        return self._hooked(run) if self._around else nullcontext()

    def _context(self, run: Run) -> RequestContext:
        job, said = run.job, msgspec.json.decode(run.job.context, type=Carried) if run.job.context else _NOTHING
        if self._telemetry is not None:
            parent = said.traceparent.encode() if said.traceparent else None
            context = self._telemetry.begin("JOB", job.task, "", parent, trusted=True)
        else:
            context = RequestContext(trace_id(), trace_id(), span_id(), method="JOB", path=job.task)
        context.request_id = said.request_id or context.request_id
        context.tenant, context.owner, context.expires_at = job.tenant, self._ctx, run.due
        if said.user_id is not None:
            context.principal = Principal(said.user_id, said.user_name or "", "", "", frozenset(), "job", tenant=job.tenant)
        return context

    def _end(self, run: Run, context: RequestContext, result: Any, error: BaseException | None) -> None:
        job, text = run.job, None
        if error is None:
            try:
                text = self._encoded(result)
            except Exception as wrong:  # noqa: BLE001 - border: the job run
                error = wrong
        settled = done(job, self._now(), text) if error is None else self._failed(run, context, error)
        if self._telemetry is not None:
            said = {"messaging.operation.type": "process", "messaging.destination.name": job.queue, "messaging.message.id": str(job.id)}
            seconds = max(0.0, SYSTEM_CLOCK.monotonic() - run.began)
            failure = error if error is not None and not isinstance(error, Outcome) else None
            self._telemetry.finish_work(context, f"process {job.task}", seconds, failure, said)
        self._finish(run, settled, error)
        if not run.definition.is_async:
            self._wake()
        elif not self._waking:  # once for all that end in this round of the loop
            self._waking = True
            self._loop.loop.call_soon(self._wake_after_round)

    def _wake_after_round(self) -> None:
        self._waking = False
        self._wake()

    def _encoded(self, result: Any) -> str | None:
        if result is None:
            return None
        text = msgspec.json.encode(result).decode()
        check_size(text, self._max_result_bytes, "result")
        return text

    def _failed(self, run: Run, context: RequestContext, error: BaseException) -> Settled:
        job, expected = run.job, isinstance(error, Outcome)
        told = "" if expected else clean("".join(traceback.format_exception(error)))
        try:
            settled = ended(job, self._now(), error, run.definition.options.backoff or self._backoff, told)
        except Exception as wrong:  # noqa: BLE001 - border: the job run
            settled = failed(job, self._now(), wrong, self._backoff, told)  # a pause that is none, say
        if not expected:
            with use_context(context):
                log.warning("job %d %s: attempt %d of %d failed: %s", job.id, job.task, job.attempt, job.max_attempts, error)
                if isinstance(error, Exception) and not isinstance(error, JobTimeout):
                    capture_exception(error)
        return settled


_NOTHING = Carried()
