"""Settings of the job queue."""

from typing import ClassVar

from rakiza._kernel import RoomSettings


class JobSettings(RoomSettings, frozen=True, kw_only=True):
    """Say how jobs are worked on, tried again and kept."""

    room: ClassVar[str] = "jobs"

    work: bool = True
    """Work on jobs in the process of the application; false where `worker` processes do it."""
    concurrency: int = 16
    """How many jobs one process works on at the same time."""
    queues: tuple[str, ...] = ()
    """The queues this process works on; all when empty."""
    lease_seconds: float = 15.0
    """A worker that was not heard of for so long is dead and its jobs go to others; of a process of the same machine that is known at once."""
    poll_seconds: float = 1.0
    """How often to look for jobs when no signal came."""
    grace_seconds: float = 20.0
    """How long a stop waits for the jobs at work before it gives them back."""
    max_attempts: int = 10
    """How often a job is tried when it does not say."""
    timeout_seconds: float = 3600.0
    """How long an attempt may take when the job does not say."""
    backoff_seconds: float = 2.0
    """Longest pause before the second attempt; it doubles with each, the pause itself is drawn at random from it (full jitter)."""
    backoff_max_seconds: float = 600.0
    """Longest pause between two attempts."""
    max_payload_bytes: int = 65_536
    """How large the arguments of a job, and its result, may be as JSON."""
    keep_done_hours: float = 72.0
    """How long finished and cancelled jobs are kept."""
    keep_failed_days: float = 90.0
    """How long failed jobs are kept for somebody to look at."""

    def __post_init__(self) -> None:
        """Raise ValueError for a time or a number that cannot work."""
        for name in ("concurrency", "lease_seconds", "poll_seconds", "max_attempts", "timeout_seconds", "max_payload_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("grace_seconds", "backoff_seconds", "backoff_max_seconds", "keep_done_hours", "keep_failed_days"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
