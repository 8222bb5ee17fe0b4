"""What users call for schedules: the methods of the queue that block, or are awaited where an event loop runs."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from rakiza._kernel import WorkerPool, both

from ._schedules import Schedules, ScheduleView


class Scheduling:
    """Give the queue its schedules."""

    pool: WorkerPool
    schedules: Schedules
    opened: bool
    declarations: list[Callable[[], None]]

    def schedule(
        self,
        name: str,
        cron: str | None = None,
        *,
        task: str | None = None,
        payload: Mapping[str, object] | None = None,
        every: float | timedelta | str | None = None,
        at: datetime | None = None,
        timezone: str = "UTC",
        missed: str = "once",
        **options: object,
    ) -> None:
        """Let a job be enqueued by `cron`, `every` so many seconds or `at` one moment, in a `timezone`; blocks, or is awaited where a loop runs.

        Before the start of the platform it is kept and declared then; said again at each start it changes nothing. Without `task` the
        schedule's own name is the task. `missed` is `once`, `skip` or `all`; other options are those of a job.
        Raises ScheduleError, JobArgumentsError, MissingExtraError.
        """

        def work() -> None:
            self.schedules.declare(name, task or name, payload, cron=cron, every=every, at=at, timezone=timezone, missed=missed, **options)

        if not self.opened:  # the tables may not be there yet
            self.declarations.append(work)
            return None
        return both(self.pool, work)

    def unschedule(self, name: str) -> None:
        """Take a schedule away; blocks, or is awaited. Raises ScheduleNotFoundError."""
        return both(self.pool, lambda: self.schedules.unschedule(name))

    def pause_schedule(self, name: str) -> ScheduleView:
        """Let a schedule fire no more until it is resumed; blocks, or is awaited. Raises ScheduleNotFoundError."""
        return both(self.pool, lambda: self.schedules.pause(name))

    def resume_schedule(self, name: str) -> ScheduleView:
        """Let a schedule fire again from now on; blocks, or is awaited. Raises ScheduleNotFoundError."""
        return both(self.pool, lambda: self.schedules.resume(name))

    def edit_schedule(
        self, name: str, kind: str, expression: str, timezone: str, *,
        payload: Mapping[str, object] | None = None, missed: str | None = None, enabled: bool | None = None,
    ) -> ScheduleView:  # fmt: skip
        """Change when, and with what, a schedule fires; blocks, or is awaited. Raises ScheduleError, JobArgumentsError, ScheduleNotFoundError."""
        return both(self.pool, lambda: self.schedules.edit(name, kind, expression, timezone, payload=payload, missed=missed, enabled=enabled))

    def run_schedule(self, name: str) -> int:
        """Enqueue the job of a schedule at once and return its id; blocks, or is awaited. Raises ScheduleNotFoundError."""
        return both(self.pool, lambda: self.schedules.run_now(name))
