"""One queue of a platform."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from ._core import Enqueued
from ._definitions import Definition, Options, Registry, check_queue

if TYPE_CHECKING:
    from .service import Jobs

F = TypeVar("F", bound=Callable[..., object])


class Queue:
    """Be one queue: put jobs into it, and say who handles all of its jobs."""

    def __init__(self, name: str, registry: Registry, jobs: "Callable[[], Jobs]") -> None:
        """Name a queue; raise JobError for a name that cannot be."""
        self.name, self._registry, self._jobs = check_queue(name), registry, jobs

    def process(self, function: F) -> F:
        """Let a function handle every job of this queue that has no handler of its own."""
        self._registry.add_processor(self.name, Definition(f"queue:{self.name}", function, Options(queue=self.name)))
        return function

    def add(self, task: str, payload: Mapping[str, object] | msgspec.Struct | None = None, **options: object) -> Enqueued:
        """Put a job into this queue; options and errors are those of `Jobs.add_job`."""
        return self._jobs().add_job(task, payload, **cast("dict[str, Any]", {"queue": self.name, **options}))

    def pause(self) -> None:
        """Let no further job of this queue start, on any worker."""
        self._jobs().pause(self.name)

    def resume(self) -> None:
        """Let the jobs of this queue start again."""
        self._jobs().resume(self.name)


