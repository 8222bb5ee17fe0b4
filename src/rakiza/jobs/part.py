"""The job queue as a part."""

from collections.abc import Callable, Iterator
from typing import cast

from rakiza._kernel import Check, CheckResult, Context, Finding, Part, SettingsError, judged
from rakiza.bus import Bus
from rakiza.store import Store, StoreError, Transaction
from rakiza.telemetry import Telemetry

from ._browsing import Browser
from ._restored import restored
from .commands import commands
from .http import routes
from .service import MIGRATIONS, Jobs
from .settings import JobSettings

OLD_SECONDS = 300.0


def part(settings: JobSettings, ctx: Context) -> Part:
    """Build the queue on the platform's database; it works in this process when the settings and the process say so."""
    store = ctx.need("store", Store)
    if store.dialect == "sqlite" and settings.lease_seconds <= store.settings.busy_timeout_seconds:
        above = f"must be above RAKIZA_STORE_BUSY_TIMEOUT_SECONDS ({store.settings.busy_timeout_seconds:g})"
        raise SettingsError(f"RAKIZA_JOBS_LEASE_SECONDS = {settings.lease_seconds:g} {above}: a worker that waits to write would look dead")
    jobs = Jobs(store, ctx.need("bus", Bus), settings, clock=ctx.clock, supervisor=ctx.supervisor, pool=ctx.pool, ctx=ctx)
    jobs.engine.maintenance = ctx.maintenance
    ctx.ports.queue = jobs
    browser = Browser(jobs.store, ctx.clock, now=jobs.engine.now, lease_seconds=settings.lease_seconds, scrub=ctx.scrub)
    if ctx.has("telemetry"):
        _watch(ctx.need("telemetry", Telemetry), jobs, browser)

    def start() -> None:
        jobs.open()
        if jobs.settings.work and ctx.works:
            jobs.start()

    return Part(
        name="jobs",
        service=jobs,
        needs=("store", "bus"),
        migrations=MIGRATIONS,
        checks=(Check(name="jobs", fn=lambda: look(jobs), required=False, component_type="component"),),
        examine=lambda _: _examine(browser),
        routes=routes(jobs, browser, ctx.ports),
        commands=commands(jobs, browser, ctx.ports),
        start=start,
        drain=jobs.stop,
        stop=jobs.close,
        restored=lambda tx: restored(cast("Transaction", tx), jobs.store, ctx.clock.now()),
    )


def look(jobs: Jobs) -> CheckResult:
    """Warn of a worker whose threads ended, of jobs nobody can stop, and of jobs that wait although nobody works."""
    waiting = jobs.engine.oldest_seconds()
    trouble = None
    if any(not worker.alive for worker in jobs.workers):
        trouble = "a worker of this process has ended: restart the process"
    elif overdue := [run for worker in jobs.workers for run in worker.overdue()]:
        trouble = f"job {overdue[0].job.id} {overdue[0].job.task} is past its time limit and cannot be stopped: use run_in='process'"
    elif waiting is not None and waiting > OLD_SECONDS:
        trouble = f"the oldest job waits for {waiting:,.0f} s: are there workers enough, and do they serve its queue?"
    return CheckResult("warn" if trouble else "pass", round(waiting or 0.0, 1), "seconds the oldest job waits", trouble)


def _examine(browser: Browser) -> Iterator[Finding]:
    """Yield whether somebody works, which queues stand still, and what has failed for good."""
    stats = browser.stats()
    alive, waiting = sum(one.alive for one in stats.workers), stats.totals["ready"]
    seen = f"{alive} workers are alive, {waiting:,} jobs could start"
    yield judged("workers", not alive, seen, "start one: `worker`, or `serve`, which works too", "fail" if waiting else "warn")
    still = ", ".join(one.name for one in stats.queues if one.paused)
    yield judged("queues", bool(still), f"standing still: {still or 'none'}", "look at the jobs, then `jobs resume QUEUE`", "warn")
    failed = stats.totals["failed"]
    mend = "`jobs list --state failed`, then `jobs retry ID` or `jobs discard ID`"
    yield judged("failed_jobs", bool(failed), f"{failed:,} jobs have failed for good", mend, "warn")


def _watch(telemetry: Telemetry, jobs: Jobs, browser: Browser) -> None:
    metrics = telemetry.metrics
    durations = metrics.histogram("jobs_duration_seconds", "How long attempts ran, by handler and by the state they ended in", ("task", "state"))
    children: dict[tuple[str, str], Callable[[float], None]] = {}

    def observe(task: str, state: str, seconds: float) -> None:
        found = children.get((task, state))
        if found is None:
            found = children[task, state] = durations.labels(task, state).observe
        found(seconds)

    jobs.tally.observe = observe
    for name in jobs.tally.totals:
        metrics.watch(f"jobs_{name}", f"Attempts of this process that ended so: {name}", lambda name=name: jobs.tally.totals[name])  # type: ignore[misc]
    metrics.watch("jobs_running", "Jobs this process works on", lambda: sum(len(worker.runs) for worker in jobs.workers))
    metrics.watch("jobs_in_line", "Jobs that could start now", lambda: _read(browser))
    metrics.watch("jobs_oldest_seconds", "How long the first job in line has been waiting", lambda: jobs.engine.oldest_seconds() or 0.0)


def _read(browser: Browser) -> float:
    try:
        return browser.counts().of("ready")
    except StoreError:
        return float("nan")
