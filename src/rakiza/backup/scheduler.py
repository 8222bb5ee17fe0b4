"""Backups by the clock: in front of the one scheduler of the job queue, or with a thread of its own where there is no queue."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from math import inf

import msgspec

from rakiza._kernel import SYSTEM_CLOCK, Clock, Supervisor
from rakiza._kernel.tasks import after_fork
from rakiza.errors import AppError
from rakiza.jobs import Jobs, ScheduleNotFoundError, Trigger, trigger

from ._drills import drills
from .errors import BackupRunningError
from .service import DatabaseBackup

TASK, DRILL_TASK = TASKS = ("backup:create", "backup:drill")
DAILY, INTERVAL, DRILL = NAMES = ("backup-daily", "backup-interval", "backup-drill")
DRILL_DAYS = {"daily": "* * *", "weekly": "* * fri", "monthly": "1 * *"}
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 60.0
"""How long one waits for another process that works in the folder."""
log = logging.getLogger("rakiza.backup")


class ScheduledBackup(msgspec.Struct, frozen=True):
    """Show one schedule; `trigger` says it in words, `trigger_ar` in Arabic ones."""

    name: str
    next_run_time: datetime | None
    trigger: str
    trigger_ar: str


class BackupScheduler:
    """Make backups by the clock: `BackupScheduler(manager).schedule_daily_backup(hour=2, minute=0)`.

    In a platform a schedule is a row of the job queue's scheduler: it fires once over all processes, and one that was missed is made up for
    once. Alone it fires while this object runs, and makes up once for what was missed since the newest backup. The clocks of the `timezone`
    neither skip nor double a night.
    """

    def __init__(self, manager: DatabaseBackup, *, timezone: str = "UTC", clock: Clock = SYSTEM_CLOCK) -> None:
        self._manager, self._timezone = manager, timezone
        self._own = _OwnScheduler(manager, clock)

    @property
    def _jobs(self) -> Jobs | None:
        return self._manager.jobs

    def schedule_daily_backup(self, hour: int = 2, minute: int = 0) -> None:
        """Make a backup every day at a time of the zone; blocks. Raises ScheduleError for a time or a zone there is not."""
        self._schedule(DAILY, "cron", f"{minute} {hour} * * *")

    def schedule_interval_backup(self, hours: float = 6) -> None:
        """Make a backup every so many hours; blocks. Raises ScheduleError for an interval that cannot be."""
        self._schedule(INTERVAL, "interval", f"{hours * 3600:.0f}")

    def schedule_drill(self, every: str = "weekly", hour: int = 4, minute: int = 0) -> None:
        """Try the newest backup `daily`, `weekly` (Friday) or `monthly` (the 1st); blocks. Raises ScheduleError for a time or a zone there is not."""
        self._schedule(DRILL, "cron", f"{minute} {hour} {DRILL_DAYS[every]}")

    def _schedule(self, name: str, kind: str, expression: str) -> None:
        jobs = self._jobs
        self._manager.schedules.add(name)
        if jobs is None:
            self._own.add(name, partial(trigger, kind, expression, self._timezone), expression)
            return
        given = {"cron" if kind == "cron" else "every": expression}
        declare = jobs.schedules.declare if jobs.opened else jobs.schedule
        declare(name, task=DRILL_TASK if name == DRILL else TASK, timezone=self._timezone, **given)  # type: ignore[arg-type]

    def cancel(self, *names: str) -> None:
        """Take schedules away, all of them when none is named; blocks."""
        jobs = self._jobs
        for name in names or NAMES:
            self._manager.schedules.discard(name)
            self._own.remove(name)
            if jobs is None or not jobs.opened:
                continue
            with suppress(ScheduleNotFoundError):
                jobs.schedules.get(name)  # first, so that a start with nothing to take away does not wait for the one who writes
                jobs.schedules.unschedule(name)

    def start(self) -> None:
        """Begin to fire; in a platform the workers of the job queue do."""
        if self._jobs is None:
            self._own.start()

    def stop(self) -> None:
        """Fire no more in this process; in a platform the schedules stay."""
        self._own.stop()

    def get_jobs(self) -> list[ScheduledBackup]:
        """Return the schedules: `name`, `next_run_time` and `trigger`; blocks."""
        jobs = self._jobs
        if jobs is None:
            return self._own.shown()
        if not jobs.opened:
            return []
        found = [ScheduledBackup(one.name, one.next_at, one.text_en, one.text_ar) for one in jobs.schedules.all() if one.task in TASKS]
        return sorted(found, key=lambda one: one.name == DRILL)


class _OwnScheduler:
    """Fire in a thread of this process."""

    def __init__(self, manager: DatabaseBackup, clock: Clock) -> None:
        self._manager, self.clock = manager, clock
        self._restart()
        after_fork(self._restart)
        self._entries: dict[str, tuple[Trigger, str, datetime | None]] = {}
        self._fired: dict[str, float] = {}
        self._seen = clock.now()
        self._supervisor: Supervisor | None = None

    def _restart(self) -> None:
        self._lock = threading.Lock()

    def add(self, name: str, made: Callable[[datetime], Trigger], said: str) -> None:
        """Count from the newest backup or the last drill, where there is one: what was missed since then is due at once."""
        done = self._done(name)
        found = made(done)
        with self._lock:
            self._entries[name] = (found, said, found.next_after(done))

    def _done(self, name: str) -> datetime:
        folder, now = self._manager.folder, self.clock.now()
        moments = [one.at for one in drills(folder)] if name == DRILL else [one.timestamp for one in self._manager.list_backups() if not one.safety]
        return max((at for at in moments if at <= now), default=now)

    def remove(self, name: str) -> None:
        with self._lock:
            self._entries.pop(name, None)

    def start(self) -> None:
        if self._supervisor is None:
            self._supervisor = Supervisor(self.clock)
            self._supervisor.every("backup-schedules", LOOK_SECONDS, self.run)
            self._supervisor.start()

    def stop(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.stop()

    def run(self) -> None:
        """Make one backup, and one drill, when something is due, however many firings were missed."""
        now = self.clock.now()
        with self._lock:
            if now < self._seen:
                self._set_back(now)
            self._seen = now
            due = [name for name, (_, _, at) in self._entries.items() if at is not None and at <= now]
            for name in due:
                self._move(name, self._entries[name][0].next_after(now))
                self._fired[name] = self.clock.monotonic()
        for work, names in ((self._manager.create_backup, {*due} - {DRILL}), (self._manager.drill, {*due} & {DRILL})):
            if names:
                self._do(work, sorted(names), now)

    def _set_back(self, now: datetime) -> None:
        """Fire at the times of a clock that was set back, but not a second time for one that has just fired."""
        for name, (found, _, at) in self._entries.items():
            first = found.next_after(now)
            second = found.next_after(first) if first is not None else None
            if at is None or first is None or second is None:
                continue
            gap = self.clock.monotonic() - self._fired.get(name, -inf) + (first - now).total_seconds()
            self._move(name, min(at, second if gap * 2 < (second - first).total_seconds() else first))

    def _move(self, name: str, at: datetime | None) -> None:
        found, said, _ = self._entries[name]
        self._entries[name] = (found, said, at)

    def _do(self, work: Callable[[], object], names: list[str], now: datetime) -> None:
        try:
            work()
        except BackupRunningError:
            with self._lock:
                for name in names:
                    if name in self._entries:
                        self._move(name, now + timedelta(seconds=AGAIN_SECONDS))
        except AppError as error:
            log.error("the work of %s could not be done: %s", ", ".join(names), error.detail)

    def shown(self) -> list[ScheduledBackup]:
        with self._lock:
            return [ScheduledBackup(name, at, said, said) for name, (_, said, at) in self._entries.items()]
