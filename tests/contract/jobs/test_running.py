"""How jobs run and end: order, limits, retries, cancellation, what comes after, on both databases."""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from patience import until
from rakiza._kernel import SYSTEM_CLOCK
from rakiza.errors import NotFoundError
from rakiza.jobs import Backoff, Cancel, JobError, JobFailedError, Jobs, JobStateError, Retry, RunningJob, Snooze
from rakiza.jobs._core import done
from rakiza.jobs._worker import Worker
from rakiza.store import Store, StoreUnavailableError
from rakiza.testing import FrozenClock

Column = Callable[..., list[Any]]


def test_priority_comes_first_then_time_then_the_id(jobs: Jobs, clock: FrozenClock) -> None:
    order: list[int] = []
    jobs.job("n")(lambda n: order.append(n))  # noqa: PLW0108 - the argument has a name
    jobs.add_jobs({"task": "n", "payload": {"n": n}, "priority": 5} for n in range(100, 130))
    jobs.add_job("n", {"n": 1}, delay=10)
    clock.advance(60)
    jobs.add_jobs({"task": "n", "payload": {"n": n}, "priority": 0} for n in range(20))
    jobs.add_job("n", {"n": 2}, priority=5)
    worker = jobs.worker(concurrency=1)
    worker.start()
    until(lambda: len(order) == 52)
    worker.stop()
    assert order == [1, *range(20), *range(100, 130), 2]


def test_an_exception_is_tried_again_after_a_pause_until_the_attempts_are_used_up(jobs: Jobs, clock: FrozenClock) -> None:
    attempts: list[int] = []

    @jobs.job("fragile", max_attempts=3, backoff=Backoff(base=10, jitter=False))
    async def fragile(job: RunningJob) -> None:
        attempts.append(job.attempt)
        raise ValueError("تعذر الاتصال")

    made = jobs.add_job("fragile")
    jobs.drain()
    assert (attempts, jobs.get_job(made.id).state, jobs.get_job(made.id).waits_for) == ([1], "retry", "time")
    clock.advance(9)
    jobs.drain()
    assert attempts == [1]
    clock.advance(2)
    jobs.drain()
    clock.advance(21)
    jobs.drain()
    assert (attempts, jobs.get_job(made.id).state) == ([1, 2, 3], "failed")
    with pytest.raises(JobFailedError, match="failed"):
        jobs.wait(made.id)
    failures = jobs.failures(made.id)
    assert [(one.attempt, one.type, one.message) for one in failures] == [(n, "ValueError", "تعذر الاتصال") for n in (1, 2, 3)]
    assert "in fragile" in failures[0].traceback


def test_a_person_lets_a_failed_job_run_again_with_other_arguments(jobs: Jobs) -> None:
    @jobs.job("strict", max_attempts=1)
    def strict(amount: int) -> int:
        if amount < 0:
            raise ValueError("سالب")
        return amount

    made = jobs.add_job("strict", {"amount": -5})
    jobs.drain()
    with pytest.raises(JobError, match="amount"):
        jobs.retry(made.id, {"amount": "x"})
    jobs.retry(made.id, {"amount": 7})
    jobs.drain()
    job = jobs.get_job(made.id)
    assert (job.state, job.result, job.attempt) == ("done", 7, 2)
    with pytest.raises(JobStateError, match="is done"):
        jobs.retry(made.id)
    with pytest.raises(NotFoundError):
        jobs.retry(10**9)


def test_a_handler_says_how_its_job_goes_on(jobs: Jobs, clock: FrozenClock) -> None:
    calls: list[str] = []

    @jobs.job("retry", max_attempts=2)
    def retry() -> None:
        calls.append("retry")
        raise Retry("مشغول", after=100)

    @jobs.job("snooze", max_attempts=1)
    async def snooze(job: RunningJob) -> str:
        calls.append(f"snooze {job.attempt}")
        if len([one for one in calls if one.startswith("snooze")]) < 3:
            raise Snooze(50)
        return "تم"

    @jobs.job("cancel")
    def cancel() -> None:
        raise Cancel("العنوان غير موجود")

    ids = [jobs.add_job(name).id for name in ("retry", "snooze", "cancel")]
    jobs.drain()
    assert [jobs.get_job(one).state for one in ids] == ["retry", "ready", "cancelled"]
    assert jobs.failures(ids[2])[0].message == "العنوان غير موجود"
    for _ in range(3):
        clock.advance(51)
        jobs.drain()
    assert sorted(calls) == ["retry"] * 2 + ["snooze 1"] * 3
    assert [jobs.get_job(one).state for one in ids] == ["failed", "done", "cancelled"]
    assert jobs.get_job(ids[1]).result == "تم"


def test_a_pause_that_is_none_ends_the_attempt_and_not_the_worker(live: Jobs) -> None:
    class HintError(Exception):
        retry_after_seconds = float("inf")

    @live.job("text", max_attempts=1)
    def text() -> None:
        raise Retry(after="60")  # type: ignore[arg-type]

    @live.job("endless", max_attempts=1)
    async def endless() -> None:
        raise Snooze(1e12)

    @live.job("changed", max_attempts=1)
    async def changed() -> None:
        outcome = Retry()
        outcome.after = "soon"  # type: ignore[assignment]
        raise outcome

    @live.job("hint", max_attempts=1)
    def hint() -> None:
        raise HintError

    ids = [live.add_job(name).id for name in ("text", "endless", "changed")]
    hinted = live.add_job("hint").id
    worker = live.start(concurrency=1)
    until(lambda: all(live.get_job(one).state == "failed" for one in ids))
    until(lambda: live.get_job(hinted).waits_for == "time")
    assert (live.get_job(hinted).state, worker.alive) == ("retry", True)


def test_each_retry_by_a_person_gives_as_many_attempts_as_the_job_had(jobs: Jobs) -> None:
    @jobs.job("bad", max_attempts=2, backoff=Backoff(base=0))
    def bad() -> None:
        raise ValueError

    made = jobs.add_job("bad")
    for attempts in (2, 4, 6):
        jobs.drain()
        job = jobs.get_job(made.id)
        assert (job.state, job.attempt, job.max_attempts) == ("failed", attempts, attempts)
        jobs.retry(made.id)


def test_an_error_that_knows_when_to_come_back_uses_up_no_attempt(jobs: Jobs, clock: FrozenClock) -> None:
    class CircuitOpenError(Exception):
        retry_after_seconds = 30.0

    calls: list[int] = []

    @jobs.job("guarded", max_attempts=1)
    async def guarded(job: RunningJob) -> None:
        calls.append(job.attempt)
        if len(calls) < 4:
            raise CircuitOpenError("the circuit is open")

    made = jobs.add_job("guarded")
    for _ in range(4):
        jobs.drain()
        clock.advance(31)
    assert (calls, jobs.get_job(made.id).state) == ([1, 1, 1, 1], "done")


def test_a_job_that_is_unknown_waits_for_a_worker_that_knows_it(jobs: Jobs, store: Store, clock: FrozenClock) -> None:
    made = jobs.add_job("strange:job", {"وصف": "قيمة"})
    jobs.drain()
    job = jobs.get_job(made.id)
    assert (job.state, job.waits_for, job.attempt) == ("ready", "handler", 0)
    jobs.job("strange:job")(lambda job: dict(job.payload))
    jobs.drain()
    assert jobs.get_job(made.id).result == {"وصف": "قيمة"}


def test_a_processor_takes_every_job_of_its_queue(jobs: Jobs) -> None:
    emails = jobs.get_queue("emails")

    @emails.process
    async def send(job):  # type: ignore[no-untyped-def]
        return f"{job.task} {job.data['to']}"

    jobs.job("special", queue="emails")(lambda to: "special")
    first, second = emails.add("welcome", {"to": "سارة"}), jobs.add_job("special", {"to": "x"})
    jobs.drain()
    assert [jobs.get_job(one.id).result for one in (first, second)] == ["welcome سارة", "special"]


def test_keys_and_queues_limit_what_runs_at_once(live: Jobs) -> None:
    running: dict[str, int] = {}
    most: dict[str, int] = {}
    lock = threading.Lock()

    @contextmanager
    def counted(job: RunningJob) -> Iterator[None]:
        names = [f"queue {job.queue}", f"key {job.payload['project']}", "all"]
        with lock:
            for name in names:
                running[name] = running.get(name, 0) + 1
                most[name] = max(most.get(name, 0), running[name])
        yield
        with lock:
            for name in names:
                running[name] -= 1

    live.around(counted)

    @live.job("import", concurrency_key="project:{project}", key_limit=2)
    async def work(project: str, n: int) -> None:
        await asyncio.sleep(0.005)

    live.add_jobs({"task": "import", "payload": {"project": "برج", "n": n}} for n in range(40))
    live.add_jobs({"task": "import", "payload": {"project": "فيلا", "n": n}, "queue": "narrow"} for n in range(20))
    live.scale("narrow", max_running=1)
    workers = [live.worker(concurrency=8) for _ in range(2)]
    for worker in workers:
        worker.start()
    until(lambda: live.tally.totals["done"] == 60)
    for worker in workers:
        worker.stop()
    assert most["key برج"] == 2
    assert most["queue narrow"] == 1
    assert most["all"] <= 3


def test_a_thousand_jobs_of_a_busy_key_do_not_keep_others_waiting(jobs: Jobs, column: Column) -> None:
    started, go = threading.Event(), threading.Event()

    @jobs.job("held", concurrency_key="k")
    def held(n: int) -> None:
        started.set()
        go.wait(20)

    jobs.job("free")(lambda: None)
    jobs.add_jobs({"task": "held", "payload": {"n": n}} for n in range(1000))
    last = jobs.add_job("free", priority=9)
    worker = jobs.worker(concurrency=4)
    worker.start()
    started.wait(20)
    until(lambda: jobs.get_job(last.id).state == "done")
    assert column("waits_for").count("key") == 999
    go.set()
    until(lambda: jobs.tally.totals["done"] >= 20)
    worker.stop()


def test_a_rate_bounds_the_starts_of_a_queue(jobs: Jobs, clock: FrozenClock) -> None:
    jobs.job("call", queue="slow")(lambda n: None)
    jobs.add_jobs({"task": "call", "payload": {"n": n}, "queue": "slow"} for n in range(25))
    jobs.scale("slow", rate=10, rate_seconds=60)
    worker = jobs.worker()
    worker.start()
    until(lambda: jobs.tally.totals["done"] == 10)
    time.sleep(0.3)
    assert jobs.tally.totals["done"] == 10
    clock.advance(30)
    until(lambda: jobs.tally.totals["done"] == 15)
    clock.advance(60)
    until(lambda: jobs.tally.totals["done"] == 25)
    worker.stop()


def test_a_rate_bounds_the_starts_of_each_key_and_leaves_others_alone(jobs: Jobs, clock: FrozenClock, column: Column) -> None:
    order: list[str] = []
    jobs.job("call", queue="slow", concurrency_key="{to}", key_limit=50)(lambda to, n: order.append(to))
    jobs.add_jobs({"task": "call", "payload": {"to": "بنك", "n": n}, "queue": "slow"} for n in range(12))
    jobs.add_jobs({"task": "call", "payload": {"to": "مورد", "n": n}, "queue": "slow"} for n in range(3))
    jobs.scale("slow", key_rate=4, key_rate_seconds=60)
    jobs.drain()
    assert (order.count("بنك"), order.count("مورد")) == (4, 3)
    assert column("waits_for").count("time") == 8
    for minute in (1, 2):
        clock.advance(61)
        jobs.drain()
        assert order.count("بنك") == 4 * (minute + 1)


def test_a_paused_queue_starts_nothing_and_goes_on_when_resumed(live: Jobs) -> None:
    live.job("a", queue="q1")(lambda: None)
    live.job("b", queue="q2")(lambda: None)
    live.add_job("a")
    live.add_job("b")
    live.pause("q1")
    worker = live.start()
    until(lambda: live.get_stats()["q2"]["done"] == 1)
    time.sleep(0.2)
    assert live.get_stats()["q1"]["ready"] == 1
    live.resume("q1")
    until(lambda: live.get_stats()["q1"]["done"] == 1)
    assert worker.alive
    with pytest.raises(NotFoundError):
        live.pause("nobody")
    with pytest.raises(JobError):
        live.scale("q1", max_running=-1)
    with pytest.raises(JobError, match="no limit"):
        live.scale("q1", speed=3)


def test_cancelling_ends_waiting_and_running_jobs(live: Jobs) -> None:
    began, ended = threading.Event(), []

    @live.job("async")
    async def forever() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("async")

    @live.job("thread")
    def busy(job: RunningJob) -> None:
        try:
            for n in range(6000):
                job.progress(n / 60, "يعمل")
                time.sleep(0.01)
        finally:
            ended.append("thread")

    ids = [live.add_job(name).id for name in ("async", "thread")]
    waiting = live.add_job("async", delay=3600).id
    live.start()
    began.wait(20)
    until(lambda: live.get_job(ids[1]).progress is not None)
    for one in (*ids, waiting):
        live.cancel(one)
    until(lambda: all(live.get_job(one).state == "cancelled" for one in (*ids, waiting)))
    assert sorted(ended) == ["async", "thread"]
    with pytest.raises(JobStateError):
        live.cancel(waiting)


def test_a_job_somebody_cancelled_is_not_tried_again_when_its_handler_fails_or_its_worker_dies(live: Jobs) -> None:
    began, go = threading.Event(), threading.Event()

    @live.job("deaf", max_attempts=5, backoff=Backoff(base=0))
    def deaf() -> None:
        began.set()
        go.wait(20)
        raise ValueError("لم يسمع")

    made = live.add_job("deaf")
    after = live.add_job("deaf", after=[made.id])
    live.start()
    began.wait(20)
    live.cancel(made.id)
    go.set()
    until(lambda: live.get_job(made.id).state == "cancelled")
    assert live.get_job(after.id).state == "cancelled"
    assert [one.message for one in live.failures(made.id)] == ["لم يسمع"]
    lost = live.add_job("nobody").id
    live.stop()
    with live.store.begin() as tx:
        tx.driver_connection.execute("update rakiza_jobs_job set waits_for = null where waits_for = 'handler'")
        assert live.engine.claim_one(tx, "dead", lost) is not None
    live.cancel(lost)
    live.engine.bury([])
    assert live.get_job(lost).state == "cancelled"


def test_a_coroutine_cancelled_before_its_first_step_ends_and_sys_exit_harms_nobody(live: Jobs) -> None:
    blocked, go, ran = threading.Event(), threading.Event(), []

    @live.job("block")
    async def block() -> None:
        blocked.set()
        go.wait(20)

    @live.job("late")
    async def late() -> None:
        ran.append("late")

    @live.job("exit", max_attempts=1)
    async def leave() -> None:
        sys.exit(3)

    live.add_job("block")
    worker = live.start()
    blocked.wait(20)
    unborn = live.add_job("late")
    until(lambda: live.get_job(unborn.id).state == "running")
    live.cancel(unborn.id)
    until(lambda: all(run.running.cancelled for run in list(worker.runs.values()) if run.job.id == unborn.id))
    go.set()
    until(lambda: live.get_job(unborn.id).state == "cancelled")
    left = live.add_job("exit")
    until(lambda: live.get_job(left.id).state == "failed")
    again = live.add_job("late")
    until(lambda: live.get_job(again.id).state == "done")
    assert ran == ["late"]


def test_draining_leaves_paused_queues_alone(jobs: Jobs) -> None:
    jobs.job("a", queue="q1")(lambda: None)
    made = jobs.add_job("a")
    jobs.pause("q1")
    assert jobs.drain() == 0
    assert jobs.drain("q1") == 0
    jobs.resume("q1")
    assert jobs.drain("q1") == 1
    assert jobs.get_job(made.id).state == "done"


def test_what_a_job_said_is_kept_when_the_database_is_away_at_its_end(live: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles: list[int] = []
    settle = live.engine.settle

    def fragile(*given: Any) -> set[int]:
        if given[2] and len(troubles) < 2:
            troubles.append(1)
            raise StoreUnavailableError("gone")
        return settle(*given)

    monkeypatch.setattr(live.engine, "settle", fragile)

    @live.job("talk")
    def talk(job: RunningJob) -> str:
        job.log("سطر أول")
        job.progress(70, "كاد")
        return "تم"

    made = live.add_job("talk")
    live.start()
    until(lambda: live.get_job(made.id).state == "done")
    assert (len(troubles), live.get_job(made.id).progress) == (2, 70)
    assert [message for _, _, message in live.log_of(made.id)] == ["سطر أول"]


def test_a_worker_that_heard_nobody_for_a_while_takes_nobody_for_dead(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = jobs.worker(), jobs.worker()
    first.id, second.id = "first", "second"
    jobs.engine.hello("first", (), 1)
    jobs.engine.hello("second", (), 1)
    moment = [1000.0]
    monkeypatch.setattr(SYSTEM_CLOCK.__class__, "monotonic", lambda self: moment[0])
    first._bury_dead()
    moment[0] += jobs.settings.lease_seconds * 3
    first._bury_dead()
    assert {row[0] for row in jobs.engine.workers()} == {"first", "second"}, "the database was away, the others may be well"
    for _ in range(8):
        moment[0] += jobs.settings.lease_seconds / 5
        first._bury_dead()
    assert {row[0] for row in jobs.engine.workers()} == {"first"}, "nothing was heard for a whole lease"


def test_an_attempt_that_takes_too_long_is_ended_and_counts(live: Jobs) -> None:
    @live.job("slow", timeout_seconds=0.2, max_attempts=2, backoff=Backoff(base=0))
    async def slow() -> None:
        await asyncio.sleep(60)

    @live.job("loop", timeout_seconds=0.2, max_attempts=1)
    def loop(job: RunningJob) -> None:
        while True:
            job.check()
            time.sleep(0.01)

    ids = [live.add_job("slow").id, live.add_job("loop").id]
    live.start()
    until(lambda: all(live.get_job(one).state == "failed" for one in ids))
    assert [one.type for one in live.failures(ids[0])] == ["JobTimeout", "JobTimeout"]
    assert [one.type for one in live.failures(ids[1])] == ["JobTimeout"]


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (lambda job: job.log(5), TypeError, "job.log\\(\\) takes a text, not int: '5'"),
        (lambda job: job.log(b"x"), TypeError, "a text, not bytes"),
        (lambda job: job.log("x", ["info"]), JobError, "no level"),
        (lambda job: job.progress("40"), TypeError, "a number from 0 to 100, not '40'"),
        (lambda job: job.progress(True), TypeError, "not True"),
        (lambda job: job.progress(None), TypeError, "not None"),
        (lambda job: job.progress(40, 5), TypeError, "second argument a text, not int"),
        (lambda job: job.progress(float("nan")), ValueError, "not nan"),
        (lambda job: job.progress(Decimal("inf")), ValueError, "not Infinity"),
    ],
)
def test_what_a_job_says_must_be_a_text_or_a_number(jobs: Jobs, wrong: Any, kind: type[Exception], message: str) -> None:
    raised: list[Exception] = []

    @jobs.job("says")
    def says(job: RunningJob) -> None:
        job.progress(Decimal("12.7"), "نص")
        try:
            wrong(job)
        except (TypeError, ValueError, JobError) as error:
            raised.append(error)

    made = jobs.add_job("says")
    jobs.drain()
    assert [type(error) for error in raised] == [kind]
    assert re.search(message, str(raised[0]))
    assert (jobs.get_job(made.id).progress, jobs.get_job(made.id).progress_text) == (12, "نص")


def test_progress_and_log_lines_are_seen_while_the_job_runs(live: Jobs, store: Store) -> None:
    go = threading.Event()

    @live.job("import")
    def work(job: RunningJob) -> str:
        job.progress(40, "قُرئ 400 بند")
        job.log("صفحة البنود", "warning")
        go.wait(20)
        job.log("انتهى")
        job.progress(100)
        return "ok"

    made = live.add_job("import")
    live.start()
    until(lambda: live.get_job(made.id).progress == 40)
    assert live.get_job(made.id).progress_text == "قُرئ 400 بند"
    go.set()
    until(lambda: live.get_job(made.id).state == "done")
    assert live.get_job(made.id).progress == 100
    assert [(level, message) for _, level, message in live.log_of(made.id)] == [("warning", "صفحة البنود"), ("info", "انتهى")]


def test_jobs_come_one_after_another_and_a_batch_ends_with_a_last_one(jobs: Jobs) -> None:
    order: list[object] = []
    jobs.job("step")(lambda n: order.append(n))  # noqa: PLW0108 - the argument has a name
    jobs.job("last")(lambda of: order.append(of))  # noqa: PLW0108 - the argument has a name
    jobs.chain([("step", {"n": 1}), ("step", {"n": 2}), ("step", {"n": 3})])
    jobs.drain()
    assert order == [1, 2, 3]
    order.clear()
    receipts = jobs.batch(({"task": "step", "payload": {"n": n}} for n in range(30)), then=("last", {"of": "الكل"}))
    assert jobs.get_job(receipts[-1].id).waits_for == "jobs"
    jobs.drain()
    assert (sorted(order[:-1], key=str), order[-1]) == (sorted(range(30), key=str), "الكل")
    assert not jobs.add_job("step", {"n": 7}, after=[receipts[0].id]).duplicate
    jobs.drain()
    assert order[-1] == 7, "what it waits for was done already"


def test_a_job_that_is_put_after_one_that_ends_at_this_moment_is_not_forgotten(jobs: Jobs) -> None:
    jobs.job("step")(lambda: None)
    first = jobs.add_job("step").id
    with jobs.store.begin() as tx:
        claimed = jobs.engine.claim_one(tx, "hand", first)
    assert claimed is not None
    placed, receipts = threading.Event(), []

    def put_after() -> None:
        with jobs.store.begin() as tx:
            receipts.append(jobs.add_job("step", after=[first], tx=tx))
            placed.set()
            time.sleep(0.3)  # who ends the first job has begun to by then, and waits

    thread = threading.Thread(target=put_after)
    thread.start()
    placed.wait(20)
    with jobs.store.begin() as tx:
        assert jobs.engine.settle(tx, "hand", [(claimed, done(claimed, jobs.engine.now(), None))]) == {first}
    thread.join(20)
    assert jobs.get_job(receipts[0].id).waits_for is None


def test_what_waits_for_a_failed_job_waits_and_for_a_cancelled_one_is_cancelled(jobs: Jobs) -> None:
    @jobs.job("maybe", max_attempts=1)
    def maybe(ok: bool) -> None:
        if not ok:
            raise ValueError

    jobs.job("next")(lambda: None)
    first = jobs.add_job("maybe", {"ok": False})
    second = jobs.add_job("next", after=[first.id])
    third = jobs.add_job("next", after=[second.id])
    jobs.drain()
    assert [jobs.get_job(one.id).waits_for for one in (second, third)] == ["jobs", "jobs"]
    jobs.retry(first.id, {"ok": True})
    jobs.drain()
    assert [jobs.get_job(one.id).state for one in (first, second, third)] == ["done"] * 3
    first = jobs.add_job("maybe", {"ok": False}, delay=60)
    second = jobs.add_job("next", after=[first.id])
    third = jobs.add_job("next", after=[second.id])
    jobs.cancel(first.id)
    assert [jobs.get_job(one.id).state for one in (first, second, third)] == ["cancelled"] * 3
    with pytest.raises(JobError, match="was cancelled"):
        jobs.add_job("next", after=[first.id])


def test_a_stop_gives_back_what_did_not_end_in_time_and_cuts_nothing_that_did(live: Jobs) -> None:
    finished: list[int] = []

    @live.job("short")
    async def short(n: int) -> None:
        await asyncio.sleep(0.2)
        finished.append(n)

    @live.job("long")
    async def long() -> None:
        await asyncio.sleep(60)

    live.add_jobs({"task": "short", "payload": {"n": n}} for n in range(10))
    endless = live.add_job("long")
    worker = live.start()
    until(lambda: len(worker.runs) == 11)
    live.stop(grace_seconds=2)
    assert sorted(finished) == list(range(10))
    job = live.get_job(endless.id)
    assert (job.state, job.attempt) == ("ready", 0)
    assert live.get_stats()["default"]["done"] == 10


def test_a_job_taken_by_others_cannot_be_finished_by_the_worker_that_lost_it(jobs: Jobs, column: Column) -> None:
    go, began = threading.Event(), threading.Event()
    ran: list[int] = []

    @jobs.job("slow")
    def slow(job: RunningJob) -> str:
        ran.append(job.attempt)
        began.set()
        go.wait(20)
        return f"attempt {job.attempt}"

    made = jobs.add_job("slow")
    first = jobs.worker()
    first.start()
    began.wait(20)
    jobs.engine.bury([first.id])
    second = jobs.worker()
    second.start()
    until(lambda: ran == [1, 2])
    go.set()
    until(lambda: jobs.get_job(made.id).state == "done")
    assert jobs.get_job(made.id).result == "attempt 2"
    first.stop()
    second.stop()
    assert column("attempt") == [2]


def test_a_job_that_kills_three_workers_has_failed(jobs: Jobs) -> None:
    jobs.job("killer", max_attempts=50)(lambda: None)
    made = jobs.add_job("killer")
    for number in (1, 2, 3):
        with jobs.store.begin() as tx:
            jobs.engine.promote(tx)
            assert jobs.engine.claim_one(tx, f"dead {number}", made.id) is not None
        jobs.engine.bury([])
    job = jobs.get_job(made.id)
    assert (job.state, job.attempt) == ("failed", 3)
    assert {one.type for one in jobs.failures(made.id)} == {"WorkerDied"}


def test_finished_jobs_are_pruned_after_their_time(jobs: Jobs, clock: FrozenClock, column: Column) -> None:
    jobs.job("ok")(lambda: None)

    @jobs.job("bad", max_attempts=1)
    def bad(job: RunningJob) -> None:
        job.log("سطر")
        raise ValueError

    for _ in range(3):
        jobs.add_job("ok")
    failed = jobs.add_job("bad").id
    jobs.drain()
    kept = jobs.add_job("ok", delay=10**7).id
    clock.advance(jobs.settings.keep_done_hours * 3600 + 1)
    jobs.prune()
    assert column("id") == [failed, kept]
    clock.advance(jobs.settings.keep_failed_days * 86400)
    jobs.prune()
    assert column("id") == [kept]
    assert column("id", "log") == []


def test_many_workers_of_one_process_have_names_that_differ(jobs: Jobs) -> None:
    made = [Worker(jobs.engine, jobs.registry, jobs.settings, jobs._execution, jobs.tally) for _ in range(60)]
    for worker in made:
        worker._register()  # one in 256 was named like another, which sixty find nearly every time
    assert len({worker.id for worker in made}) == 60
