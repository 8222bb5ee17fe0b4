"""What is promised where a job is enqueued: checked arguments, one transaction with the business rows, one job of a unique key."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from rakiza._kernel import Principal, RequestContext, use_context
from rakiza.jobs import JobArgumentsError, JobError, Jobs, JobStateError, RunningJob
from rakiza.store import Store, migrate
from rakiza.testing import FrozenClock

Column = Callable[..., list[Any]]


class Letter(msgspec.Struct):
    to: str
    copies: int = 1


@dataclasses.dataclass
class Parcel:
    weight: float


def test_arguments_are_checked_against_the_signature_where_the_job_is_enqueued(jobs: Jobs, column: Column) -> None:
    @jobs.job("greet")
    def greet(name: str, times: int = 1) -> str:
        return f"مرحبا {name}" * times

    @jobs.job("letter")
    def letter(post: Letter) -> str:
        return f"{post.to}x{post.copies}"

    @jobs.job("batch")
    def batch(letters: list[Letter]) -> None: ...

    @jobs.job("parcel")
    async def parcel(it: Parcel, job: RunningJob) -> list[object]:
        return [it.weight, job.attempt, dict(job.payload)]

    @jobs.job("open")
    def anything(job, **rest):  # type: ignore[no-untyped-def]
        return rest

    for task, payload, field in (
        ("greet", {"name": 5}, "name"),
        ("greet", {}, "name"),
        ("greet", {"nam": "سارة"}, "nam"),
        ("greet", {"name": "سارة", "more": 1}, "more"),
        ("letter", {}, "to"),
        ("batch", {"letters": [{"to": "x"}, {"copies": 2}]}, "letters[1].to"),
        ("batch", {"letters": 5}, "letters"),
        ("letter", {"to": "x", "copies": "two"}, "copies"),
        ("parcel", {"weight": None}, "weight"),
    ):
        with pytest.raises(JobArgumentsError) as caught:
            jobs.add_job(task, payload)
        assert caught.value.errors[0]["field"] == field, (task, payload, caught.value.errors)
    assert column("id") == []
    ids = [jobs.add_job("greet", {"name": "سارة", "times": 2}).id, jobs.add_job("letter", Letter("هند")).id]
    ids += [jobs.add_job("parcel", {"weight": 2}).id, jobs.add_job("open", {"a": "ب"}).id]
    jobs.drain()
    assert [jobs.get_job(one).result for one in ids] == ["مرحبا سارة" * 2, "هندx1", [2.0, 1, {"weight": 2}], {"a": "ب"}]


@pytest.mark.parametrize(
    ("payload", "options", "message"),
    [
        ({"text": "س" * 40_000}, {}, "80,011 bytes"),
        ({"what": {1, 2}.__iter__()}, {}, "no JSON"),
        ({"what": "\ud800"}, {}, "no JSON"),
        ([1], {}, "must have names"),
        ({}, {"priority": -1}, "priority"),
        ({}, {"max_attempts": 0}, "max_attempts"),
        ({}, {"timeout_seconds": -5}, "timeout_seconds"),
        ({}, {"run_at": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({}, {"tags": [""]}, "tags"),
        ({}, {"concurrency_key": "project:{project}"}, "project"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(jobs: Jobs, column: Column, payload: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        jobs.add_job("any", payload, **options)
    assert column("id") == []


@pytest.mark.parametrize("name", ["", "a/b", "/", ".", "..", "س" * 201, "صف\n", 5])
def test_a_queue_that_no_address_could_name_is_refused_where_it_is_named(jobs: Jobs, column: Column, name: Any) -> None:
    for define in (
        lambda: jobs.get_queue(name),
        lambda: jobs.add_job("any", {}, queue=name),
        lambda: jobs.job("any", queue=name),
        lambda: jobs.schedules.declare("nightly", "any", cron="0 5 * * *", queue=name),
    ):
        with pytest.raises(JobError, match="queue"):
            define()
    assert column("id") == []
    assert jobs.get_queue("تقارير الليل").name == "تقارير الليل"


def test_a_job_shares_the_fate_of_the_transaction_it_is_enqueued_in(jobs: Jobs, store: Store, column: Column) -> None:
    done: list[int] = []

    @jobs.job("invoice:send")
    def send(number: int) -> None:
        done.append(number)

    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        jobs.add_job("invoice:send", {"number": 1}, tx=tx)
        raise ZeroDivisionError
    with store.begin() as tx:
        jobs.add_job("invoice:send", {"number": 2}, tx=tx)
        with pytest.raises(ZeroDivisionError), tx.savepoint():
            jobs.add_job("invoice:send", {"number": 3}, tx=tx)
            raise ZeroDivisionError
    jobs.drain()
    assert done == [2]
    assert column("state") == ["done"]


def test_a_transaction_of_another_database_is_refused(jobs: Jobs, column: Column, tmp_path: Path) -> None:
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    migrate(other, [Jobs.migrations])
    with other.begin() as tx:
        for enqueue in (jobs.add_job, jobs.enqueue):
            with pytest.raises(JobError, match="another database"):
                enqueue("later", {}, tx=tx)
        assert tx.scalar(sa.text("select count(*) from rakiza_jobs_job")) == 0
    other.close()
    assert column("id") == []


def test_the_call_is_awaited_inside_a_loop_and_blocks_outside(jobs: Jobs, column: Column) -> None:
    async def inside() -> None:
        receipts = await asyncio.gather(*(jobs.add_job("later", {"n": n}) for n in range(5)))
        assert len({one.id for one in receipts}) == 5
        assert (await jobs.get_job(receipts[0].id)).state == "ready"

    asyncio.run(inside())
    assert jobs.add_job("later", {"n": 9}).id == max(column("id"))


def test_one_job_of_a_unique_key_waits_or_runs(jobs: Jobs, clock: FrozenClock) -> None:
    jobs.job("sum")(lambda project: None)
    first = jobs.add_job("sum", {"project": "TOWER-07"}, unique=True)
    again = jobs.add_job("sum", {"project": "TOWER-07"}, unique=True)
    other = jobs.add_job("sum", {"project": "VILLA-01"}, unique=True)
    assert (again.id, again.duplicate, other.duplicate) == (first.id, True, False)
    assert jobs.add_job("sum", {"project": "x"}, unique="مفتاح").id != jobs.add_job("sum", {"project": "x"}).id
    assert jobs.add_job("sum", {"project": "y"}, unique="مفتاح").duplicate
    jobs.drain()
    assert not jobs.add_job("sum", {"project": "TOWER-07"}, unique=True).duplicate, "the first one is done"
    hourly = jobs.add_job("sum", {"project": "z"}, unique=True, unique_for=timedelta(hours=1))
    jobs.drain()
    assert jobs.add_job("sum", {"project": "z"}, unique=True, unique_for=3600).id == hourly.id, "within the hour also when it is done"
    clock.advance(3600)
    assert not jobs.add_job("sum", {"project": "z"}, unique=True, unique_for=3600).duplicate


def test_unique_keys_belong_to_a_tenant(jobs: Jobs) -> None:
    assert not jobs.add_job("sum", {}, unique="k", tenant="a").duplicate
    assert not jobs.add_job("sum", {}, unique="k", tenant="b").duplicate
    assert jobs.add_job("sum", {}, unique="k", tenant="b").duplicate


def test_a_retried_job_whose_key_another_one_has_is_refused(jobs: Jobs) -> None:
    @jobs.job("once", max_attempts=1)
    def once() -> None:
        raise ValueError("تعذر")

    first = jobs.add_job("once", unique="k")
    jobs.drain()
    assert jobs.get_job(first.id).state == "failed"
    second = jobs.add_job("once", unique="k", delay=60)
    assert not second.duplicate
    with pytest.raises(JobStateError, match="unique key"):
        jobs.retry(first.id)
    assert jobs.get_job(first.id).state == "failed"
    jobs.cancel(second.id)
    jobs.retry(first.id)
    assert jobs.get_job(first.id).state == "retry"


def test_many_jobs_are_written_all_or_none(jobs: Jobs, column: Column) -> None:
    jobs.job("count")(lambda n: None)
    with pytest.raises(JobArgumentsError):
        jobs.add_jobs([*({"task": "count", "payload": {"n": n}} for n in range(700)), {"task": "count", "payload": {}}])
    assert column("id") == []
    receipts = jobs.add_jobs({"task": "count", "payload": {"n": n, }, "priority": n % 3, "tags": ["دفعة"]} for n in range(1100))
    assert [one.id for one in receipts] == column("id")
    assert [msgspec.json.decode(text)["n"] if isinstance(text, str) else text["n"] for text in column("payload")] == list(range(1100))


def test_what_belongs_to_the_work_at_hand_travels_with_the_job(jobs: Jobs) -> None:
    seen: list[tuple[object, ...]] = []

    @jobs.job("look")
    async def look(job: RunningJob) -> None:
        from rakiza._kernel import current

        here = current()
        assert here is not None
        assert here.principal is not None
        seen.append((job.tenant, here.tenant, here.trace_id, here.request_id, here.principal.id, here.principal.name))

    context = RequestContext("r" * 32, "a" * 32, "b" * 16, sampled=True)
    context.tenant, context.principal = "شركة", Principal("17", "سارة", "", "admin", frozenset(), "session")
    with use_context(context):
        jobs.add_job("look")
    jobs.drain()
    tenant, running_tenant, _, request_id, user, name = seen[0]
    assert (tenant, running_tenant, request_id, user, name) == ("شركة", "شركة", "r" * 32, "17", "سارة")


def test_a_moment_ahead_is_waited_for(jobs: Jobs, clock: FrozenClock) -> None:
    jobs.job("later")(lambda: None)
    delayed = jobs.add_job("later", delay=timedelta(minutes=5))
    dated = jobs.add_job("later", run_at=datetime(2026, 1, 1, 0, 10, tzinfo=UTC))
    now = jobs.add_job("later", run_at=datetime(2025, 1, 1, tzinfo=UTC))
    jobs.drain()
    assert [jobs.get_job(one.id).state for one in (delayed, dated, now)] == ["ready", "ready", "done"]
    assert jobs.get_job(delayed.id).waits_for == "time"
    clock.advance(301)
    jobs.drain()
    assert [jobs.get_job(one.id).state for one in (delayed, dated)] == ["done", "ready"]
    jobs.run_now(dated.id)
    jobs.drain()
    assert jobs.get_job(dated.id).state == "done"


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("t", {"unique_for": 60}, "`unique` is missing"),
        ("t", {"key_limit": 2}, "`concurrency_key` is missing"),
        ("t", {"unique": ""}, "empty"),
        ("t", {"delay": float("inf")}, "delay"),
        ("t", {"delay": float("nan")}, "delay"),
        ("t", {"delay": -5}, "delay"),
        ("t", {"queue": ""}, "queue"),
        ("t", {"queue": "ق\0"}, "queue"),
        ("t", {"max_attempts": 10**12}, "max_attempts"),
        ("t", {"prioritty": 1}, "prioritty"),
        ("t", {"after": [10**9]}, "no job 1000000000"),
        ("ط" * 300, {}, "cannot be named"),
        ("t\0", {}, "cannot be named"),
    ],
)
def test_options_that_mean_nothing_are_not_swallowed(jobs: Jobs, column: Column, task: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        jobs.add_jobs([{"task": task, **options}])
    assert column("id") == []


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": [{"y": float("inf")}]}])
def test_numbers_json_has_not_are_refused(jobs: Jobs, payload: dict[str, Any]) -> None:
    with pytest.raises(JobArgumentsError, match="no number"):
        jobs.add_job("any", payload)


def test_the_same_arguments_in_another_order_or_by_default_are_the_same_job(jobs: Jobs) -> None:
    jobs.job("sum")(lambda x, s=1: None)
    first = jobs.add_job("sum", {"x": 1, "s": 1}, unique=True)
    assert jobs.add_job("sum", {"s": 1, "x": 1}, unique=True).id == first.id
    assert jobs.add_job("sum", {"x": 1}, unique=True).id == first.id
    assert jobs.add_job("sum", {"x": 1, "s": 2}, unique=True).id != first.id


def test_a_handler_without_arguments_takes_none(jobs: Jobs) -> None:
    jobs.job("bare")(lambda: None)
    with pytest.raises(JobArgumentsError, match="typo"):
        jobs.add_job("bare", {"typo": 1})


def test_unique_for_slides_and_holds_while_the_job_waits(jobs: Jobs, clock: FrozenClock) -> None:
    jobs.job("sum")(lambda: None)
    clock.advance(59.5)  # half a second before a minute of the clock ends
    first = jobs.add_job("sum", unique="k", unique_for=60)
    jobs.drain()
    clock.advance(1)
    assert jobs.add_job("sum", unique="k", unique_for=60).id == first.id
    clock.advance(60)
    waiting = jobs.add_job("sum", unique="k", unique_for=60, delay=3600)
    clock.advance(120)
    assert jobs.add_job("sum", unique="k", unique_for=60).id == waiting.id, "it has not run yet"


def test_a_transaction_that_is_open_where_a_loop_runs_is_to_be_handed_over(jobs: Jobs, store: Store, column: Column) -> None:
    async def handler() -> None:
        with pytest.raises(JobError, match="a transaction is open"), store.begin():
            await jobs.add_job("later")
        with store.begin() as tx:
            receipt = await jobs.add_job("later", tx=tx)
            assert [one.id for one in await jobs.add_jobs([{"task": "later"}], tx=tx)] == [receipt.id + 1]

    asyncio.run(handler())
    assert len(column("id")) == 2
