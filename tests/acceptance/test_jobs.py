"""The queue in an application: the specified calls, its metrics, its check, its end."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import laid
from rakiza import integrate
from rakiza._kernel import current, use_context
from rakiza.hub import Platform
from rakiza.jobs import JobError, add_job, get_queue, job, queue_manager
from rakiza.testing import inline_jobs

DONE: list[str] = []


@job("acceptance:greet")
async def greet(name: str) -> str:
    return f"مرحبا {name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with laid.database(request, tmp_path) as url:
        yield url


async def application(scope: object, receive: object, send: object) -> None:
    raise AssertionError


def made(url: str, home: Path, **jobs: object) -> Platform:
    return integrate(application, {"hub": {"home": home}, "store": {"database_url": url}, "jobs": jobs})


def test_the_specified_calls_work_word_for_word(database_url: str, tmp_path: Path) -> None:
    email_queue = queue_manager.get_queue('emails')  # fmt: skip

    @email_queue.process
    async def send(job):  # type: ignore[no-untyped-def]
        DONE.append(f"{job.data['to']}: {job.data['subject']}")

    platform = made(database_url, tmp_path)
    platform.start()

    async def specified() -> None:
        receipt = await get_queue("emails").add("welcome", {"to": "user@example.com", "subject": "مرحباً"})
        greeted = await add_job("acceptance:greet", {"name": "سارة"})
        assert await asyncio.to_thread(platform.jobs.wait, greeted.id) == "مرحبا سارة"
        await asyncio.to_thread(platform.jobs.wait, receipt.id)

    asyncio.run(specified())
    assert DONE[-1] == "user@example.com: مرحباً"
    shown = platform.metrics.render().decode()
    assert 'jobs_duration_seconds_count{state="done",task="acceptance:greet"} 1.0' in shown
    assert "jobs_oldest_seconds" in shown
    queue_manager.close_all()
    platform.shutdown()
    assert platform.jobs.workers == []


def test_a_process_that_is_told_not_to_work_leaves_jobs_to_others(database_url: str, tmp_path: Path) -> None:
    web, worker = made(database_url, tmp_path / "web", work=False), made(database_url, tmp_path / "worker")
    web.start()
    receipt = web.jobs.add_job("acceptance:greet", {"name": "هند"})
    assert web.jobs.workers == []
    assert web.jobs.get_job(receipt.id).state == "ready"
    worker.start()
    assert web.jobs.wait(receipt.id) == "مرحبا هند"
    worker.shutdown()
    web.shutdown()


def test_inline_jobs_run_after_the_commit_and_not_after_a_rollback(database_url: str, tmp_path: Path) -> None:
    platform = made(database_url, tmp_path)
    platform.start()
    with inline_jobs(platform) as jobs:
        with platform.store.begin() as tx:
            receipt = jobs.add_job("acceptance:greet", {"name": "سارة"}, tx=tx)
            assert jobs.get_job(receipt.id).result is None
        assert jobs.get_job(receipt.id).result == "مرحبا سارة"
        with pytest.raises(ZeroDivisionError), platform.store.begin() as tx:
            lost = jobs.add_job("acceptance:greet", {"name": "x"}, tx=tx)
            raise ZeroDivisionError
        assert jobs.get_stats()["default"]["done"] == 1
        assert lost.id > receipt.id
    later = platform.jobs.add_job("acceptance:greet", {"name": "x"})
    assert platform.jobs.wait(later.id) == "مرحبا x"
    platform.shutdown()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_check_warns_when_nobody_works(database_url: str, tmp_path: Path) -> None:
    platform = made(database_url, tmp_path, work=False)
    platform.start()
    receipt = platform.jobs.add_job("acceptance:greet", {"name": "x"})
    with platform.store.begin() as tx:
        tx.driver_connection.execute("update rakiza_jobs_job set run_at = '2026-01-01T00:00:00.000000Z'")
    check = next(one for part in platform.parts for one in part.checks if one.name == "jobs")
    found = check.fn()
    assert (found.status, platform.jobs.get_job(receipt.id).state) == ("warn", "ready")  # type: ignore[union-attr]
    platform.shutdown()


def test_schedules_named_before_the_start_are_declared_by_it(sqlite_url: str, tmp_path: Path) -> None:
    platform = made(sqlite_url, tmp_path, work=False)
    platform.jobs.schedule("acceptance:greet", "0 2 * * *", payload={"name": "سارة"}, timezone="Asia/Riyadh")
    with pytest.raises(JobError, match="not there yet"):
        platform.jobs.add_job("acceptance:greet", {"name": "x"})
    platform.start()
    assert [(one.name, one.task, one.expression) for one in platform.jobs.schedules.all()] == [("acceptance:greet", "acceptance:greet", "0 2 * * *")]
    platform.shutdown()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_trace_of_who_enqueued_a_job_goes_on_in_it(database_url: str, tmp_path: Path) -> None:
    platform = made(database_url, tmp_path)

    @platform.jobs.job("acceptance:trace")
    async def trace() -> str:
        here = current()
        assert here is not None
        return here.trace_id

    platform.start()
    context = platform.tracer.begin("POST", "/invoices", "", None, trusted=True)
    with use_context(context):
        receipt = platform.jobs.add_job("acceptance:trace")
    assert platform.jobs.wait(receipt.id) == context.trace_id
    platform.shutdown()
