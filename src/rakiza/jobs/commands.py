"""Commands for the queue and its schedules."""

import sys
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from rakiza._kernel import Command, Ports
from rakiza.errors import ValidationError

from ._browsing import Browser, JobLine
from ._bulk import Bulk, Bulked, Worklist
from ._core import SHOWN
from ._filters import JobFilter
from .service import Jobs


def commands(jobs: Jobs, browser: Browser, ports: Ports) -> tuple[Command, ...]:
    """Return the commands of the queue and its schedules."""
    desk = Desk(jobs, browser, ports)
    return (
        Command("jobs list", lambda: _list(browser), "List jobs: of a state, a queue, a task, or those that hold a text"),
        Command("jobs stats", lambda: _stats(browser), "Show how many jobs each queue has in each state, and who works"),
        Command("jobs retry", lambda: _on_jobs(desk, "retry"), "Run a failed job again, or all of them"),
        Command("jobs cancel", lambda: _on_jobs(desk, "cancel"), "Cancel a job, or give up all that failed"),
        Command("jobs discard", lambda: _on_jobs(desk, "discard"), "Give a failed job up, or all of them"),
        Command("jobs pause", lambda: _pause(desk), "Let no further job of a queue start"),
        Command("jobs resume", lambda: _resume(desk), "Let the jobs of a queue start again"),
        Command("schedules list", lambda: _schedules(jobs), "List the schedules and when each fires next"),
        Command("schedules run", lambda: _on_schedule(desk, "run"), "Enqueue the job of a schedule now"),
        Command("schedules pause", lambda: _on_schedule(desk, "pause"), "Let a schedule fire no more"),
        Command("schedules resume", lambda: _on_schedule(desk, "resume"), "Let a schedule fire again from now on"),
    )


Action = Literal["retry", "cancel", "discard"]
DONE: dict[Action, str] = {"retry": "it runs again", "cancel": "cancelled, or asked to end", "discard": "given up"}


class Desk:
    """Do what an operator asks for at the command line, and record it."""

    def __init__(self, jobs: Jobs, browser: Browser, ports: Ports) -> None:
        self._jobs, self._ports, self._worklist = jobs, ports, Worklist(jobs, browser)

    def on_one(self, action: Action, job_id: int) -> None:
        """Retry, cancel or give up one job; raise NotFoundError, JobStateError."""
        work: dict[Action, Callable[[int], int]] = {"retry": self._jobs.retry, "cancel": self._jobs.cancel, "discard": self._jobs.discard}
        with self._jobs.store.begin() as tx:
            work[action](job_id)
            self._ports.audit.record(f"job.{action}", action.upper(), f"job:{job_id}", tx=tx)

    def on_failed(self, action: Literal["retry", "discard"], queue: str) -> Bulked:
        """Retry or give up every failed job, of one queue if wanted."""
        done = Bulked(0, 0)
        try:
            self._worklist.run(Bulk(action=action, filter=JobFilter(state="failed", queue=queue)), done)
        finally:
            details = {"filter": {"state": "failed", "queue": queue}, "matched": done.matched, "changed": done.changed}
            self._ports.audit.record(f"job.{action}", action.upper(), "jobs", details)
        return done

    def pause(self, queue: str, *, paused: bool) -> None:
        """Pause or resume a queue; raise NotFoundError."""
        action = "pause" if paused else "resume"
        with self._jobs.store.begin() as tx:
            self._jobs.scale(queue, paused=paused)
            self._ports.audit.record(f"queue.{action}", action.upper(), f"queue:{queue}", tx=tx)

    def on_schedule(self, action: Literal["run", "pause", "resume"], name: str) -> object:
        """Run, pause or resume a schedule and return what came of it; raise ScheduleNotFoundError."""
        work = {"run": self._jobs.schedules.run_now, "pause": self._jobs.schedules.pause, "resume": self._jobs.schedules.resume}[action]
        with self._jobs.store.begin() as tx:
            found = work(name)
            self._ports.audit.record(f"schedule.{action}", action.upper(), f"schedule:{name}", tx=tx)
        return found


def _list(browser: Browser) -> Callable[..., None]:
    def list_jobs(*, state: str = "", queue: str = "", task: str = "", q: str = "", limit: int = 50, json: bool = False) -> None:
        """List jobs: of a state, a queue, a task, or those that hold a text in id, task, arguments or tags; --json for a script."""
        given = {"state": state or None, "queue": queue, "task": task, "q": q}
        try:
            chosen = msgspec.convert(given, JobFilter)
        except msgspec.ValidationError as error:
            raise ValidationError(str(error), hint=f"states are {', '.join(SHOWN)}") from None
        page = browser.page(chosen, max(1, min(limit, 500)), open_payload=False)
        if json:
            _say(msgspec.json.encode(page).decode())
            return
        for line in page.jobs:
            _say(_text(line))
        if page.next:
            shown = "looked at many and stopped" if page.capped else f"{len(page.jobs)} shown"
            _say(f"there may be more ({shown}): narrow the search or raise --limit")

    return list_jobs


def _text(line: JobLine) -> str:
    how = f"{line.state} ({line.reason})" if line.reason else line.state
    last = line.error if line.error and line.state in {"failed", "retry"} else line.args
    return "\t".join(
        (str(line.id), how, line.queue, line.task, f"{line.attempt}/{line.max_attempts}", line.run_at.isoformat(timespec="seconds"), last)
    )


def _stats(browser: Browser) -> Callable[..., None]:
    def stats(json: bool = False) -> None:
        """Show how many jobs each queue has in each state, and who works; --json for a script."""
        found = browser.stats()
        if json:
            _say(msgspec.json.encode(found).decode())
            return
        _say(f"{'queue':20}" + "".join(f"{state:>10}" for state in SHOWN))
        for queue in found.queues:
            name = f"{queue.name} (paused)" if queue.paused else queue.name
            _say(f"{name:20}" + "".join(f"{getattr(queue, state):>10,}" for state in SHOWN))
        for worker in found.workers:
            how = "alive" if worker.alive else "not heard of"
            _say(f"worker {worker.id} on {worker.host}: {worker.running} of {worker.concurrency} at work, {how}")
        for task in found.unknown_tasks:
            _say(f"nobody knows the task {task!r}")

    return stats


def _on_jobs(desk: Desk, action: Action) -> Callable[..., None]:
    import typer  # the command line is there when this is built

    def on_jobs(job_id: Annotated[int, typer.Argument(metavar="[ID]")] = 0, all_failed: bool = False, queue: str = "") -> None:
        if bool(job_id) == all_failed:
            raise ValidationError("name one job by its id, or say --all-failed", hint="--queue NAME takes only those of a queue")
        if job_id:
            desk.on_one(action, job_id)
            _say(f"job {job_id}: {DONE[action]}")
        else:
            done = desk.on_failed("retry" if action == "retry" else "discard", queue)
            _say(f"{done.changed:,} of {done.matched:,} failed jobs {'run again' if action == 'retry' else 'are given up'}")

    return on_jobs


def _pause(desk: Desk) -> Callable[..., None]:
    def pause(queue: str) -> None:
        """Let no further job of a queue start, on any worker; those at work go on."""
        desk.pause(queue, paused=True)
        _say(f"{queue} is paused")

    return pause


def _resume(desk: Desk) -> Callable[..., None]:
    def resume(queue: str) -> None:
        """Let the jobs of a queue start again."""
        desk.pause(queue, paused=False)
        _say(f"{queue} goes on")

    return resume


def _schedules(jobs: Jobs) -> Callable[..., None]:
    def list_schedules(json: bool = False) -> None:
        """List the schedules and when each fires next; --json for a script."""
        found = jobs.schedules.all()
        if json:
            _say(msgspec.json.encode(found).decode())
            return
        for one in found:
            fires = one.next[0].isoformat(timespec="seconds") if one.next else "never" if one.enabled else "paused"
            _say("\t".join((one.name, fires, one.task, one.text_en, one.error or "")))
        _say(f"fired by {jobs.schedules.leader() or 'nobody: no worker runs'}")

    return list_schedules


def _on_schedule(desk: Desk, action: Literal["run", "pause", "resume"]) -> Callable[..., None]:
    def on_schedule(name: str) -> None:
        found = desk.on_schedule(action, name)
        _say(f"{name}: job {found} is in the queue" if action == "run" else f"{name} {'is paused' if action == 'pause' else 'fires again'}")

    return on_schedule


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
