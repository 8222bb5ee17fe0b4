"""A worker: takes jobs as far as it has room, writes their outcomes in the same transaction, and shows that it lives."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from rakiza._kernel import SYSTEM_CLOCK, token
from rakiza.bus import Listener
from rakiza.store import StoreError, Transaction

from ._core import Claimed, Line, Settled, returned, unknown
from ._definitions import Registry
from ._engine import CONTROL, TOPIC, Engine, QueueRow, WorkerGone, is_gone
from ._execution import Execution, Run
from ._running import RunningJob, Said
from ._tally import Tally
from .errors import JobCancelled, JobTimeout
from .settings import JobSettings

PULSE_SECONDS = 0.25
PROMOTE_SECONDS = 0.02
QUEUES_SECONDS = 1.0
LIMITED_SECONDS = 0.05
TROUBLE_SECONDS = 0.5
TIDY_SECONDS = 60.0
LINGER_SECONDS = 0.0005
"""How long to wait for others to end as well, while more run than have ended: one transaction for all of them costs half as much."""
BEATS = 5
"""How often within its lease a worker shows that it lives."""
log = logging.getLogger("rakiza.jobs")
Finish = Callable[[Run, Settled, BaseException | None], None]


class Worker:
    """Work on the jobs of some queues, or of all, `concurrency` at a time, in threads of its own."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        settings: JobSettings,
        make: Callable[[int, Finish, Callable[[], object]], Execution],
        tally: Tally,
        *,
        queues: Sequence[str] = (),
        concurrency: int | None = None,
    ) -> None:
        self._engine, self._registry, self._settings, self._tally = engine, registry, settings, tally
        self.queues, self.concurrency = tuple(queues), concurrency or settings.concurrency
        self._wake, self._idle, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._execution = make(self.concurrency, self._finish, self._wake.set)
        self.id = ""
        self.runs: dict[tuple[int, int], Run] = {}
        """The attempts at work by job and attempt: an earlier attempt at the same job may still be ending."""
        self._abandoned: set[Run] = set()
        """Attempts that belong to others by now and have not ended here: each still takes up a thread."""
        self._finished: deque[tuple[Claimed, Settled, RunningJob | None]] = deque()
        self._mutex = threading.Lock()
        """Held where an attempt leaves `runs` and its outcome joins `_finished`: whoever looks sees it in one of them."""
        self._stopping = self._control = self._gone = False
        self._doubt = False
        """Whether the database may hold jobs of this worker that it does not know of: a commit got no answer."""
        self._rows: dict[str, QueueRow] = {}
        self._looked = self._promoted = -1e9
        self._next_moment: datetime | None = None
        self._limited = False
        self._known = -1
        self._tidied = SYSTEM_CLOCK.monotonic()
        self._seen: dict[str, tuple[object, float]] = {}
        self._watched = -1e9
        self._listeners: list[Listener] = []
        self._threads: list[threading.Thread] = []
        self._owner = os.getpid()

    # -- life

    def start(self) -> None:
        """Begin to work; raise StoreError when the database cannot be reached."""
        self._engine.sync_clock()
        self._register()
        self._beat()
        bus = self._engine.bus
        self._listeners = [bus.on(TOPIC, self._wake.set), bus.on(CONTROL, self._heed)]
        for name, run in (("work", self._work), ("pulse", self._pulse)):
            self._threads.append(threading.Thread(target=run, name=f"rakiza-jobs-{name}", daemon=True))
            self._threads[-1].start()

    def _register(self) -> None:
        self.id = f"{os.uname().nodename}-{os.getpid()}-{token(32)}"
        self._engine.hello(self.id, self.queues, self.concurrency)

    def stop(self, grace_seconds: float | None = None) -> None:
        """Take no more jobs, wait for those at work, give back what is not done in time without counting an attempt."""
        if not self._threads or self._owner != os.getpid():
            return
        with self._mutex:
            self._stopping = True
            busy = bool(self.runs)
        self._wake.set()
        if busy:
            with suppress(StoreError):
                self._engine.beat(self.id, len(self.runs), stopping=True)
            self._wait_idle(self._settings.grace_seconds if grace_seconds is None else grace_seconds)
        with self._mutex:
            late = list(self.runs.values())
            self.runs.clear()
            self._finished.extend((run.job, returned(run.job), run.running) for run in late)
        for run in late:
            log.warning("job %d %s is given back: it did not end in time", run.job.id, run.job.task)
            self._execution.stop(run, JobCancelled("the worker stops"))
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(5.0)
        self._execution.close()
        try:
            self._flush()
            self._engine.bury([self.id])
        except StoreError as error:
            log.warning("worker %s could not say goodbye: %s", self.id, error)
        self._threads, self._listeners = [], []

    def forget(self) -> None:
        """Hear nothing more in a forked child: a thread of the parent may hold what its listeners would set."""
        self._listeners = []

    def _wait_idle(self, seconds: float) -> None:
        # In slices, so that a signal that came just before a wait is heard.
        give_up = SYSTEM_CLOCK.monotonic() + seconds
        while not self._idle.wait(max(0.0, min(PULSE_SECONDS, give_up - SYSTEM_CLOCK.monotonic()))):
            if SYSTEM_CLOCK.monotonic() >= give_up:
                return

    @property
    def alive(self) -> bool:
        """Tell whether its threads run."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def overdue(self) -> list[Run]:
        """Return the attempts whose time is over and that did not end: plain functions nobody can stop."""
        now = SYSTEM_CLOCK.monotonic()
        with self._mutex:
            runs = [*self.runs.values(), *self._abandoned]
        return [run for run in runs if now > run.due + self._settings.grace_seconds]

    def _heed(self) -> None:
        self._control = True
        self._looked = -1e9
        self._wake.set()

    # -- the dispatcher

    def _work(self) -> None:
        trouble = 0
        while True:
            self._wake.wait(self._pause() if not trouble else TROUBLE_SECONDS)
            self._wake.clear()
            if 0 < len(self._finished) < len(self.runs):
                time.sleep(LINGER_SECONDS)
            try:
                self._turn()
                trouble = 0
            except WorkerGone:
                self._gone = True
                self._wake.set()
            except Exception as error:
                trouble += 1
                if trouble & (trouble - 1) == 0:
                    level = logging.WARNING if isinstance(error, StoreError) else logging.ERROR
                    log.log(level, "worker %s cannot reach its queue (%d times): %s", self.id, trouble, error, exc_info=level == logging.ERROR)
            if self._stopped.is_set() and (not self._finished or trouble > BEATS):
                return

    def _pause(self) -> float:
        if self._limited:
            return LIMITED_SECONDS
        if self._next_moment is None:
            return self._settings.poll_seconds
        ahead = (self._next_moment - self._engine.now()).total_seconds()
        return min(self._settings.poll_seconds, max(PROMOTE_SECONDS, ahead))

    def _turn(self) -> None:
        """Write what finished and take as many jobs as there is room for, in one transaction."""
        if self._gone:
            self._come_back()
        with self._mutex:
            finished, known = list(self._finished), set(self.runs)
            self._finished.clear()
        known |= {(job.id, job.attempt) for job, _, _ in finished}
        free = 0 if self._stopping or self._engine.inline or self._engine.maintenance.on else self.concurrency - len(self.runs) - len(self._abandoned)
        if not finished and free <= 0 and not self._doubt:
            return
        said = _said(running for _, _, running in finished if running is not None)
        try:
            with self._engine.store.begin() as tx:
                self._engine.note(tx, self.id, said)
                lost = self._write(tx, finished)
                taken = self._engine.unattended(tx, self.id, known) if self._doubt else []
                taken += self._claim(tx, free - len(taken)) if free > len(taken) else []
        except BaseException:
            _say_again(said)
            self._finished.extendleft(reversed(finished))
            self._doubt = True  # the transaction may stand all the same: only its answer was lost
            raise
        for job in lost if not self._doubt else ():
            log.warning("job %d %s ended after it was given to another worker; its outcome is dropped", job.id, job.task)
        self._doubt = False
        self._begin(taken)

    def _write(self, tx: Transaction, finished: Sequence[tuple[Claimed, Settled, RunningJob | None]]) -> list[Claimed]:
        written = self._engine.settle(tx, self.id, [(job, settled) for job, settled, _ in finished])
        return [job for job, _, _ in finished if job.id not in written]

    def _claim(self, tx: Transaction, free: int) -> list[Claimed]:
        now = SYSTEM_CLOCK.monotonic()
        if now - self._looked >= QUEUES_SECONDS:
            self._looked = now
            self._rows = self._engine.queues(tx)
        if now - self._promoted >= PROMOTE_SECONDS:
            self._promoted = now
            self._next_moment = self._engine.promote(tx)
        lines, counted = self._lines(tx, free)
        taken, self._limited = self._engine.claim(tx, self.id, lines, free)
        for row, allowed, wanted in counted:
            started = sum(job.queue == row.name for job in taken)
            self._engine.spend(tx, row, started)
            self._limited = self._limited or (started == allowed < wanted)
        return taken

    def _lines(self, tx: Transaction, free: int) -> tuple[dict[str, Line], list[tuple[QueueRow, int, int]]]:
        """Return the room in each queue, and for those with global limits what they allow of what would have room here."""
        lines, counted = {}, []
        for row in self._rows.values():
            if row.paused or (self.queues and row.name not in self.queues):
                continue
            here = sum(run.job.queue == row.name for run in list(self.runs.values())) if row.concurrency is not None else 0
            room = wanted = free if row.concurrency is None else min(free, row.concurrency - here)
            if row.counted:
                room = self._engine.allow(tx, row, wanted)
                counted.append((row, room, wanted))
            lines[row.name] = Line(row.name, room, row.per_key, row.key_rate, row.key_rate_seconds)
        return lines, counted

    def _begin(self, jobs: Sequence[Claimed]) -> None:
        runs = [run for job in jobs if (run := self._run(job)) is not None]
        with self._mutex:
            if self._stopping:  # since the jobs were taken
                self._finished.extend((run.job, returned(run.job), None) for run in runs)
                runs = []
            self.runs.update((run.key, run) for run in runs)
        if self._stopping:
            self._wake.set()
        if runs:
            self._execution.start(runs)

    def _run(self, job: Claimed) -> Run | None:
        definition, now = self._registry.find(job.task, job.queue), SYSTEM_CLOCK.monotonic()
        if definition is None:
            log.warning("job %d: no handler of %r is registered here; it waits for a worker that has one", job.id, job.task)
            self._finished.append((job, unknown(job), None))
            self._wake.set()
            return None
        timeout = job.timeout_seconds or definition.options.timeout_seconds or self._settings.timeout_seconds
        waited = max(0.0, (self._engine.now() - job.run_at).total_seconds())
        return Run(job, definition, now, now + timeout, waited)

    def _finish(self, run: Run, settled: Settled, _error: BaseException | None) -> None:
        with self._mutex:
            owned = self.runs.pop(run.key, None) is not None
            if owned:
                self._finished.append((run.job, settled, run.running))
            self._abandoned.discard(run)
            last = not self.runs
        if self._stopping and last:
            self._idle.set()
        if owned:
            seconds = SYSTEM_CLOCK.monotonic() - run.began
            self._tally.note(run.job.queue, run.job.task, settled.state, seconds, run.waited)
            self._tally.observe(run.definition.name, settled.state, seconds)

    # -- the pulse

    def _pulse(self) -> None:
        beat = flushed = 0.0
        trouble = 0
        while not self._stopped.wait(PULSE_SECONDS):
            now, due = SYSTEM_CLOCK.monotonic(), self._settings.lease_seconds / BEATS
            try:
                self._end_overdue(now)
                if now - beat >= due:
                    self._beat()
                    beat, self._control = now, True
                if self._control:
                    self._control = False
                    self._look_after()
                if now - flushed >= 2 * PULSE_SECONDS:
                    flushed = now
                    self._flush()
                trouble = 0
            except StoreError as error:
                trouble += 1
                if trouble & (trouble - 1) == 0:
                    log.warning("worker %s cannot show that it lives (%d times): %s", self.id, trouble, error)
            except Exception:
                log.exception("the pulse of worker %s failed", self.id)

    def _beat(self) -> None:
        self._engine.sync_clock()
        worker = self.id
        if not self._engine.beat(worker, len(self.runs), stopping=self._stopping) and worker == self.id:
            self._gone = True
            self._wake.set()
        self._bury_dead()
        if (version := self._registry.version) != self._known:
            self._engine.add_queues(self._registry.queues())
            self._known = version
            self._heed()
        if self._engine.recognise(self._registry.names(), self._registry.processed()):
            self._wake.set()
        if (now := SYSTEM_CLOCK.monotonic()) - self._tidied > TIDY_SECONDS:
            self._tidied = now
            self._engine.free_stuck_keys()

    def _come_back(self) -> None:
        """Start anew under another name: others took this worker for dead and have its jobs by now."""
        log.warning("worker %s was taken for dead; its jobs are worked on elsewhere", self.id)
        with self._mutex:
            lost = list(self.runs.values())
            self.runs.clear()
            self._abandoned.update(lost)
        for run in lost:
            self._execution.stop(run, JobCancelled("its worker was taken for dead"))
        self._register()
        self._gone = False

    def _bury_dead(self) -> None:
        """Give the jobs of dead workers to others: ended processes of this machine, and those not heard of for a lease by our own clock."""
        now, dead = SYSTEM_CLOCK.monotonic(), {}
        before = self._seen if now - self._watched < self._settings.lease_seconds / 2 else {}  # we stood still, and maybe all did
        self._watched, self._seen = now, {}
        for worker, place, pid, sign in self._engine.workers():
            since = before[worker][1] if worker in before and before[worker][0] == sign else now
            self._seen[worker] = (sign, since)
            if worker != self.id and (is_gone(place, pid) or now - since > self._settings.lease_seconds):
                dead[worker] = sign
        if dead or (not self._engine.inline and self._engine.any_orphan()):
            number = self._engine.bury(dead, dead)
            log.warning("%d workers are dead (%s); %d jobs are given to others", len(dead), ", ".join(dead), number)

    def _end_overdue(self, now: float) -> None:
        for run in list(self.runs.values()):
            if now > run.due and run.running.stop is None:
                self._execution.stop(run, JobTimeout(f"it took longer than {run.due - run.began:g} s"))

    def _look_after(self) -> None:
        """End what somebody cancelled; see whether the database holds jobs of this worker that it does not know of."""
        taken = self._engine.jobs_of(self.id)
        with self._mutex:
            runs, known = dict(self.runs), {(job.id, job.attempt) for job, _, _ in self._finished}
        for key, run in runs.items():
            if taken.get(key) and run.running.stop is None:
                self._execution.stop(run, JobCancelled())
        if taken.keys() - runs.keys() - known:
            self._doubt = True
            self._wake.set()

    def _flush(self) -> None:
        with self._mutex:
            runs = list(self.runs.values())
        said = _said(run.running for run in runs)
        if not said and not self._tally.dirty:
            return
        try:
            with self._engine.store.begin() as tx:
                self._engine.note(tx, self.id, said)
                self._tally.flush(tx)
        except StoreError:
            _say_again(said)
            raise


def _said(jobs: Iterable[RunningJob]) -> list[tuple[RunningJob, Said]]:
    return [(job, one) for job in jobs if (one := job.said()) is not None]


def _say_again(said: Iterable[tuple[RunningJob, Said]]) -> None:
    for job, one in said:
        job.say_again(one)

