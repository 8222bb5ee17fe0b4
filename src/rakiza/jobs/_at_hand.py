"""The queue of the platform at hand: what decorators and plain calls of an application use."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from rakiza._kernel import service_at_hand

from ._core import Enqueued
from ._definitions import REGISTRY, registering
from ._queue import Queue
from .service import Jobs

F = TypeVar("F", bound=Callable[..., object])


class QueueManager:
    """Reach the queues of the platform at hand by their names."""

    @staticmethod
    def get_queue(name: str) -> Queue:
        """Return a queue, which need not exist yet."""
        return get_queue(name)

    @staticmethod
    def close_all(grace_seconds: float | None = None) -> None:
        """Let the workers of this process end what they do and give the rest back."""
        jobs = service_at_hand("jobs", Jobs)
        if jobs is not None:
            jobs.stop(grace_seconds)


queue_manager = QueueManager()


def jobs_at_hand() -> Jobs:
    """Return the queue of the platform that serves the request at hand, else of the one started last; raise LookupError without one."""
    jobs = service_at_hand("jobs", Jobs)
    if jobs is None:
        raise LookupError("no platform with the part jobs runs in this process: call integrate() and start it, or use platform.jobs")
    return jobs


def job(name: str, **options: object) -> Callable[[F], F]:
    """Register the handler of a kind of job with every platform of this process; the function itself stays as it is.

    Options: `queue max_attempts timeout_seconds priority backoff unique unique_for concurrency_key key_limit tags`, and
    `run_in="process"` for work that keeps a processor busy. Raises JobError.
    """
    return registering(REGISTRY, name, options)


def get_queue(name: str) -> Queue:
    """Return a queue of the platform at hand, which need not exist yet."""
    return Queue(name, REGISTRY, jobs_at_hand)


def add_job(task: str, payload: Mapping[str, object] | msgspec.Struct | None = None, **options: object) -> Enqueued:
    """Write a job with the platform at hand; options and errors are those of `Jobs.add_job`, and LookupError without a platform."""
    return jobs_at_hand().add_job(task, payload, **cast("dict[str, Any]", options))


