"""Schedules on both databases: each firing is one job, whoever leads, whatever was missed and however the clock jumps."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from rakiza.errors import NotFoundError
from rakiza.jobs import JobArgumentsError, Jobs, JobSettings, Registry, ScheduleError, ScheduleNotFoundError, Schedules
from rakiza.jobs.tables import METADATA
from rakiza.store import Store, StoreUnavailableError
from rakiza.store.migrate import differences
from rakiza.testing import FrozenClock

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, MINUTE = 3600, 60
Column = Callable[..., list[Any]]
Slots = Callable[[], list[str]]
ON_ONE = pytest.mark.parametrize("jobs_url", ["sqlite"], indirect=True)
"""What a clock says and what a declaration may be has nothing to do with the kind of the database."""


@pytest.fixture
def schedules(jobs: Jobs) -> Schedules:
    return jobs.schedules


@pytest.fixture
def slots(store: Store) -> Slots:
    """Return which firings have a job, in order of the jobs."""

    def read() -> list[str]:
        with store.read() as tx:
            found = tx.execute(sa.text("select cast(context as text) from rakiza_jobs_job order by id")).scalars()
            return [msgspec.json.decode(text)["scheduled_for"].removesuffix("+00:00") for text in found]

    return read


@pytest.fixture
def other(store: Store, settings: JobSettings, clock: FrozenClock) -> Iterator[Jobs]:
    """A second process, as far as the database can tell."""
    made = Jobs(store, settings=settings, clock=clock, registry=Registry())
    yield made
    made.close()


def at(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat().removesuffix("+00:00")


def test_migrated_tables_are_the_declared_ones(store: Store) -> None:
    assert [line for line in differences(store, METADATA, Jobs.migrations.prefix) if "schedule" in line or "lease" in line] == []


def test_a_schedule_fires_at_its_moment_and_says_so(jobs: Jobs, clock: FrozenClock, slots: Slots, column: Column) -> None:
    given = {"task": "report:send", "payload": {"المشروع": "فيلا النرجس"}, "queue": "reports", "tags": ["ليلي"]}
    jobs.schedule("ملخص-الليل", cron="0 2 * * *", timezone="Asia/Riyadh", **given)
    before = jobs.schedules.get("ملخص-الليل")
    assert before.next_at == datetime(2026, 1, 1, 23, tzinfo=UTC)
    assert [each.isoformat() for each in before.next[:2]] == ["2026-01-02T02:00:00+03:00", "2026-01-03T02:00:00+03:00"]
    assert (before.text_en, before.text_ar) == ("Every day at 02:00 (Asia/Riyadh)", "كل يوم الساعة 02:00 (Asia/Riyadh)")
    clock.advance(23 * HOUR - 1)
    assert jobs.schedules.tick() == 0
    clock.advance(1)
    assert jobs.schedules.tick() == 1
    assert jobs.schedules.tick() == 0
    assert slots() == [at(23)]
    assert (column("queue"), column("task"), column("state")) == (["reports"], ["report:send"], ["ready"])
    assert jobs.get_job(column("id")[0]).payload == {"المشروع": "فيلا النرجس"}
    after = jobs.schedules.get("ملخص-الليل")
    assert (after.last_at, after.last_state, after.last_job_id, after.queue) == (before.next_at, "ready", column("id")[0], "reports")
    assert after.next_at == datetime(2026, 1, 2, 23, tzinfo=UTC)


def test_a_handler_sees_which_firing_it_works_on(jobs: Jobs, clock: FrozenClock) -> None:
    seen: list[datetime | None] = []
    jobs.job("report:send")(lambda job: seen.append(job.scheduled_for))
    jobs.schedule("تقرير", task="report:send", every=timedelta(hours=6))
    clock.advance(6 * HOUR + 30)
    jobs.schedules.tick()
    jobs.drain()
    jobs.add_job("report:send")
    jobs.drain()
    assert seen == [START + timedelta(hours=6), None]
    assert jobs.schedules.get("تقرير").last_state == "done"


@ON_ONE
@pytest.mark.parametrize("missed", ["once", "skip", "all"])
def test_what_is_only_late_is_made_up_for(schedules: Schedules, clock: FrozenClock, slots: Slots, missed: str) -> None:
    schedules.declare("ت", "t", cron="*/10 * * * * *", missed=missed)
    clock.advance(65)  # the first one is 55 s late
    while schedules.tick():
        pass
    assert slots() == [at(seconds / HOUR) for seconds in (10, 20, 30, 40, 50, 60)]


@pytest.mark.parametrize(
    ("missed", "fired"), [("once", [at(5)]), ("skip", []), ("all", [at(1), at(2), at(3), at(4), at(5)])]
)
def test_what_was_missed_goes_by_the_policy(
    schedules: Schedules, clock: FrozenClock, slots: Slots, missed: str, fired: list[str]
) -> None:
    schedules.declare("كل ساعة", "t", cron="@hourly", missed=missed)
    clock.advance(5.5 * HOUR)
    while schedules.tick():
        pass
    assert slots() == fired
    assert schedules.get("كل ساعة").next_at == START + timedelta(hours=6)
    clock.advance(HOUR)
    assert schedules.tick() == 1


@ON_ONE
def test_skipping_keeps_what_is_only_late(schedules: Schedules, clock: FrozenClock, slots: Slots) -> None:
    schedules.declare("ت", "t", cron="*/30 * * * * *", missed="skip")
    clock.advance(HOUR + 1)
    while schedules.tick():
        pass
    assert slots() == [at(1 - 30 / HOUR), at(1)]


def test_a_long_arrear_is_made_up_for_in_parts_and_holds_up_no_other(schedules: Schedules, clock: FrozenClock, column: Column) -> None:
    schedules.declare("متأخر", "late", cron="* * * * *", missed="all")
    schedules.declare("آخر", "other", cron="0 4 * * *")
    clock.advance(4 * HOUR)
    assert schedules.tick() == 2
    assert column("task").count("late") == 50
    assert column("task").count("other") == 1
    schedules.tick()
    assert len(column("id")) == 151
    while schedules.tick():
        pass
    assert column("task").count("late") == 240


@ON_ONE
def test_many_schedules_of_one_moment(schedules: Schedules, clock: FrozenClock, column: Column) -> None:
    for number in range(120):
        schedules.declare(f"جدول {number}", "t", cron="0 2 * * *")
    clock.advance(2 * HOUR)
    assert (schedules.tick(), schedules.tick(), schedules.tick()) == (100, 20, 0)
    assert len(column("id")) == 120


def test_two_that_both_believe_to_lead_fire_once(jobs: Jobs, jobs_url: str, settings: JobSettings, clock: FrozenClock, slots: Slots) -> None:
    far = Store(jobs_url)
    both = [jobs, Jobs(far, settings=settings, clock=clock, registry=Registry())]
    for number in range(5):
        jobs.schedule(f"جدول {number}", task="t", cron="* * * * *")
    errors: list[BaseException] = []

    def race(one: Jobs, barrier: threading.Barrier) -> None:
        try:
            barrier.wait()
            one.schedules._fire_due(clock.now())
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    for _ in range(6):
        clock.advance(MINUTE)
        barrier = threading.Barrier(4)
        threads = [threading.Thread(target=race, args=(one, barrier)) for one in both * 2]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        jobs.schedules._fire_due(clock.now())
    far.close()
    assert errors == []
    assert sorted(slots()) == sorted(at(minute / 60) for minute in range(1, 7) for _ in range(5))


def test_a_schedule_read_before_it_moved_does_not_fire(jobs: Jobs, other: Jobs, clock: FrozenClock, slots: Slots) -> None:
    """What a leader that stood still for a while does with the rows it read before."""
    jobs.schedule("ت", task="t", cron="@hourly")
    clock.advance(HOUR)
    read = jobs.schedules._read("ت")
    assert other.schedules.tick() == 1
    with jobs.store.begin() as tx:
        assert not jobs.schedules._advance(tx, read, clock.now(), 100)
    assert slots() == [at(1)]


def test_a_pause_between_reading_and_firing_holds(jobs: Jobs, clock: FrozenClock, slots: Slots) -> None:
    jobs.schedule("ت", task="t", cron="@hourly")
    clock.advance(HOUR)
    read = jobs.schedules._read("ت")
    jobs.pause_schedule("ت")
    with jobs.store.begin() as tx:
        assert not jobs.schedules._advance(tx, read, clock.now(), 100)
    assert slots() == []


# -- the lease


def test_one_leads_until_its_lease_runs_out(jobs: Jobs, other: Jobs, clock: FrozenClock, slots: Slots, settings: JobSettings) -> None:
    jobs.schedule("ت", task="t", every=400)
    assert jobs.schedules.leader() is None
    jobs.schedules.tick()
    assert jobs.schedules.leader() == other.schedules.leader() == jobs.schedules.me
    clock.advance(400)
    assert other.schedules.tick() == 0
    assert jobs.schedules.tick() == 1  # and renews
    clock.advance(settings.lease_seconds - 150)
    assert other.schedules.tick() == 0
    clock.advance(151)
    assert other.schedules.leader() is None
    assert other.schedules.tick() == 1
    assert other.schedules.leader() == other.schedules.me
    assert jobs.schedules.tick() == 0
    assert len(slots()) == 2


def test_a_leader_that_stops_makes_room_at_once(jobs: Jobs, other: Jobs, clock: FrozenClock) -> None:
    jobs.schedule("ت", task="t", cron="@hourly")
    jobs.schedules.tick()
    clock.advance(HOUR)
    jobs.schedules.stop()
    assert jobs.schedules.tick() == 0
    assert other.schedules.tick() == 1


def test_a_lease_from_before_the_clock_was_set_back_does_not_hold_for_ever(jobs: Jobs, other: Jobs, clock: FrozenClock) -> None:
    jobs.schedules.tick()
    clock.advance(-24 * HOUR)
    other.schedules.tick()
    assert other.schedules.leader() == other.schedules.me
    jobs.schedules.tick()
    assert jobs.schedules.leader() == other.schedules.me


@ON_ONE
def test_a_clock_set_back_fires_nothing_twice(schedules: Schedules, clock: FrozenClock, slots: Slots) -> None:
    schedules.declare("ت", "t", cron="@hourly")
    for _ in range(3):
        clock.advance(HOUR)
        schedules.tick()
    clock.advance(-2.5 * HOUR)
    for _ in range(5):
        schedules.tick()
        clock.advance(HOUR)
    assert slots() == [at(1), at(2), at(3), at(4)]


@ON_ONE
@pytest.mark.parametrize(
    ("cron", "start", "fired"),
    [
        ("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=UTC), ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]),
        ("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), ["2026-03-29T01:00:00", "2026-03-30T00:30:00"]),
        ("0 1-3 * * *", datetime(2026, 10, 24, 22, 30, tzinfo=UTC), ["2026-10-24T23:00:00", "2026-10-25T00:00:00", "2026-10-25T02:00:00"]),
        ("0 * * * *", datetime(2026, 10, 24, 23, 30, tzinfo=UTC), ["2026-10-25T00:00:00", "2026-10-25T01:00:00", "2026-10-25T02:00:00"]),
        ("0 * * * *", datetime(2026, 3, 28, 23, 30, tzinfo=UTC), ["2026-03-29T00:00:00", "2026-03-29T01:00:00", "2026-03-29T02:00:00"]),
    ],
    ids=["fixed in autumn", "fixed in spring", "some hours in autumn", "hourly in autumn", "hourly in spring"],
)
def test_the_nights_in_which_the_clocks_change(
    *, store: Store, settings: JobSettings, slots: Slots, cron: str, start: datetime, fired: list[str]
) -> None:
    clock = FrozenClock(start)
    night = Jobs(store, settings=settings, clock=clock, registry=Registry())
    night.schedule("ليلي", task="t", cron=cron, timezone="Europe/Berlin")
    while len(slots()) < len(fired) and clock.now() < start + timedelta(days=3):
        clock.advance(HOUR)
        night.schedules.tick()
    assert slots() == fired
    night.close()


# -- what code says and people do


def test_a_declaration_said_again_changes_nothing(jobs: Jobs, other: Jobs, clock: FrozenClock, slots: Slots) -> None:
    jobs.schedule("ت", task="t", cron="@hourly", payload={"أ": 1})
    clock.advance(1.5 * HOUR)
    other.schedule("ت", task="t", cron="@hourly", payload={"أ": 1})
    assert other.schedules.tick() == 1
    assert slots() == [at(1)]


def test_an_edit_stays_until_the_declaration_changes(jobs: Jobs, clock: FrozenClock) -> None:
    jobs.schedule("ت", task="t", cron="0 2 * * *")
    shown = jobs.edit_schedule("ت", "cron", "0 5 * * *", "Asia/Riyadh", payload={"ملاحظة": "بعد الفجر"}, missed="skip")
    assert (shown.expression, shown.edited, shown.declared, shown.payload, shown.missed) == ("0 5 * * *", True, True, {"ملاحظة": "بعد الفجر"}, "skip")
    assert shown.next_at == START + timedelta(hours=2)
    jobs.schedule("ت", task="t", cron="0 2 * * *")
    assert jobs.schedules.get("ت").expression == "0 5 * * *"
    jobs.schedule("ت", task="t", cron="0 3 * * *")
    found = jobs.schedules.get("ت")
    assert (found.expression, found.edited, found.payload, found.missed) == ("0 3 * * *", False, {}, "once")
    assert found.next_at == START + timedelta(hours=3)


@ON_ONE
def test_a_declaration_that_changes_other_things_loses_no_firing(jobs: Jobs, clock: FrozenClock, slots: Slots) -> None:
    jobs.schedule("ت", task="t", cron="@hourly")
    clock.advance(HOUR + 1)
    jobs.schedule("ت", task="t", cron="@hourly", payload={"جديد": True})
    jobs.schedules.tick()
    assert slots() == [at(1)]


@ON_ONE
def test_a_declaration_leaves_a_pause_alone(jobs: Jobs) -> None:
    jobs.schedule("ت", task="t", cron="@hourly")
    jobs.pause_schedule("ت")
    jobs.schedule("ت", task="t", cron="@daily")
    found = jobs.schedules.get("ت")
    assert (found.enabled, found.next_at, found.next, found.expression) == (False, None, [], "@daily")


def test_a_paused_schedule_fires_nothing_and_misses_nothing(jobs: Jobs, clock: FrozenClock, slots: Slots) -> None:
    jobs.schedule("ت", task="t", cron="@hourly", missed="all")
    jobs.pause_schedule("ت")
    clock.advance(5.5 * HOUR)
    assert jobs.schedules.tick() == 0
    assert jobs.resume_schedule("ت").next_at == START + timedelta(hours=6)
    clock.advance(0.5 * HOUR)
    jobs.schedules.tick()
    assert slots() == [at(6)]


def test_to_run_now_shifts_nothing(jobs: Jobs, clock: FrozenClock, slots: Slots, column: Column) -> None:
    jobs.schedule("ت", task="t", cron="@hourly", priority=3)
    clock.advance(0.5 * HOUR)
    job_id = jobs.run_schedule("ت")
    found = jobs.schedules.get("ت")
    assert (found.last_job_id, found.last_at, found.next_at) == (job_id, clock.now(), START + timedelta(hours=1))
    jobs.run_schedule("ت")
    clock.advance(0.5 * HOUR)
    jobs.schedules.tick()
    assert slots() == [at(0.5), at(0.5), at(1)]
    assert column("priority") == [3, 3, 3]


@ON_ONE
def test_an_interval_counts_from_its_declaration(jobs: Jobs, clock: FrozenClock, slots: Slots) -> None:
    jobs.schedule("ت", task="t", every=timedelta(minutes=90))
    clock.advance(1.7 * HOUR)
    jobs.schedules.tick()
    jobs.schedule("ت", task="t", every=timedelta(minutes=90))  # a restart
    clock.advance(1.4 * HOUR)
    jobs.schedules.tick()
    assert slots() == [at(1.5), at(3)]


@ON_ONE
def test_one_moment_fires_once(jobs: Jobs, clock: FrozenClock, slots: Slots) -> None:
    def declare() -> None:
        jobs.schedule("مرة", task="t", at=START + timedelta(hours=2))

    declare()
    clock.advance(5 * HOUR)
    assert jobs.schedules.tick() == 1
    declare()
    jobs.resume_schedule("مرة")
    clock.advance(HOUR)
    assert jobs.schedules.tick() == 0
    assert slots() == [at(2)]
    assert jobs.schedules.get("مرة").next == []


@ON_ONE
def test_a_moment_before_the_declaration_does_not_fire_unless_it_is_just_late(
    jobs: Jobs, clock: FrozenClock, slots: Slots, caplog: pytest.LogCaptureFixture
) -> None:
    clock.advance(HOUR)
    jobs.schedule("قديم", task="t", at=START)
    assert "قديم is declared after its moment" in caplog.text
    jobs.schedule("للتو", task="t", at=START + timedelta(seconds=HOUR - 5))
    jobs.schedules.tick()
    assert slots() == [at(1 - 5 / HOUR)]


def test_a_schedule_is_taken_away_and_its_jobs_stay(jobs: Jobs, clock: FrozenClock, slots: Slots) -> None:
    jobs.schedule("ت", task="t", cron="@hourly")
    clock.advance(HOUR)
    jobs.schedules.tick()
    jobs.unschedule("ت")
    clock.advance(HOUR)
    assert jobs.schedules.tick() == 0
    assert len(slots()) == 1
    assert jobs.schedules.all() == []


def test_a_declaration_shares_the_fate_of_its_transaction(jobs: Jobs, store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.begin():
        jobs.schedule("ت", task="t", cron="@hourly")
        raise ZeroDivisionError
    assert jobs.schedules.all() == []


def test_processes_that_start_together_declare_once(jobs: Jobs, jobs_url: str, settings: JobSettings, clock: FrozenClock) -> None:
    stores = [Store(jobs_url) for _ in range(3)]
    others = [Jobs(store, settings=settings, clock=clock, registry=Registry()) for store in stores]
    barrier, errors = threading.Barrier(3), []

    def declare(one: Jobs) -> None:
        barrier.wait()
        try:
            for number in range(10):
                one.schedule(f"جدول {number}", task="t", cron="@hourly")
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=declare, args=(one,)) for one in others]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    [store.close() for store in stores]
    assert errors == []
    assert len(jobs.schedules.all()) == 10


@ON_ONE
def test_it_is_awaited_where_a_loop_runs(jobs: Jobs, clock: FrozenClock) -> None:
    async def work() -> int:
        await jobs.schedule("ت", task="t", cron="@hourly")  # type: ignore[func-returns-value]
        await jobs.pause_schedule("ت")  # type: ignore[misc]
        return await jobs.run_schedule("ت")  # type: ignore[misc]

    assert jobs.get_job(asyncio.run(work())).task == "t"


# -- what is refused


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "one of"),
    ({"cron": "@daily", "every": 5}, "one of"),
    ({"cron": "99 * * * *"}, "minute"),
    ({"cron": "0 0 30 2 *"}, "never fires"),
    ({"every": 0}, "interval"),
    ({"at": datetime(2027, 1, 1)}, "time zone"),  # noqa: DTZ001 - what is refused
    ({"cron": "@daily", "timezone": "Asia/Riyad"}, "time zone"),
    ({"cron": "@daily", "missed": "sometimes"}, "missed"),
    ({"cron": "@daily", "prioritty": 1}, "prioritty"),
    ({"cron": "@daily", "priority": -1}, "priority"),
    ({"cron": "@daily", "unique": True}, "unique"),
]


@ON_ONE
def test_a_declaration_that_cannot_be_is_refused(jobs: Jobs) -> None:
    for given, words in WRONG:
        with pytest.raises(Exception, match=words) as caught:
            jobs.schedule("ت", task="t", **given)
        assert caught.value.status == 422, given  # type: ignore[attr-defined]
    for name in ("", "a/b", "a\nb", "س" * 201):
        with pytest.raises(ScheduleError, match="named"):
            jobs.schedule(name, task="t", cron="@daily")
    assert jobs.schedules.all() == []


@ON_ONE
def test_arguments_are_checked_where_they_are_given(jobs: Jobs) -> None:
    def send(to: str) -> None: ...

    jobs.job("mail")(send)
    with pytest.raises(JobArgumentsError, match="to"):
        jobs.schedule("ت", task="mail", payload={"to": 5}, cron="@daily")
    jobs.schedule("ت", task="mail", payload={"to": "سارة"}, cron="@daily")
    with pytest.raises(JobArgumentsError, match="to"):
        jobs.edit_schedule("ت", "cron", "@daily", "UTC", payload={"to": None})
    assert jobs.schedules.get("ت").payload == {"to": "سارة"}


@ON_ONE
def test_edits_that_cannot_be_are_refused(jobs: Jobs) -> None:
    jobs.schedule("ت", task="t", cron="@daily")
    wrong = [("cron", "x", "1 fields"), ("once", "2020-01-01T00:00Z", "past"), ("often", "5", "kind"), ("interval", "0", "interval")]
    for kind, expression, words in wrong:
        with pytest.raises(ScheduleError, match=words):
            jobs.edit_schedule("ت", kind, expression, "UTC")
        with pytest.raises(ScheduleError, match=words):
            jobs.schedules.preview(kind, expression, "UTC")
    with pytest.raises(ScheduleError, match="missed"):
        jobs.edit_schedule("ت", "cron", "@daily", "UTC", missed="x")
    assert not jobs.schedules.get("ت").edited


@ON_ONE
def test_a_schedule_there_is_not(jobs: Jobs) -> None:
    calls = [jobs.unschedule, jobs.pause_schedule, jobs.resume_schedule, jobs.run_schedule, jobs.schedules.get]
    for call in [*calls, lambda name: jobs.edit_schedule(name, "cron", "@daily", "UTC")]:
        with pytest.raises(ScheduleNotFoundError, match="لا شيء"):
            call("لا شيء")  # type: ignore[operator]
    assert issubclass(ScheduleNotFoundError, NotFoundError)


@ON_ONE
def test_a_preview(jobs: Jobs) -> None:
    times, english, arabic = jobs.schedules.preview("interval", "6h", "Asia/Riyadh")
    assert (english, arabic) == ("Every 6 hours", "كل 6 ساعات")
    assert [each.isoformat() for each in times[:2]] == ["2026-01-01T09:00:00+03:00", "2026-01-01T15:00:00+03:00"]


# -- trouble


def test_one_that_cannot_fire_does_not_stop_the_others_and_says_why(
    jobs: Jobs, store: Store, settings: JobSettings, clock: FrozenClock, slots: Slots
) -> None:
    jobs.schedule("أ خاطئ", task="mail", payload={"to": "سارة"}, cron="@hourly")
    jobs.schedule("ب سليم", task="t", cron="@hourly")
    newer = Jobs(store, settings=settings, clock=clock, registry=Registry())

    @newer.job("mail")
    def send(to: str, subject: str) -> None: ...

    clock.advance(HOUR)
    assert newer.schedules.tick() == 2
    assert slots() == [at(1)]
    wrong, sound = newer.schedules.all()
    assert wrong.error is not None
    assert "subject" in wrong.error
    assert (wrong.next_at, wrong.last_at, sound.error) == (START + timedelta(hours=2), None, None)
    newer.edit_schedule("أ خاطئ", "cron", "@hourly", "UTC", payload={"to": "سارة", "subject": "تقرير"})
    assert newer.schedules.get("أ خاطئ").error is None
    clock.advance(HOUR)
    newer.schedules.tick()
    assert len(slots()) == 3
    newer.close()


@pytest.mark.parametrize(("column_name", "value"), [("expression", "قديم"), ("timezone", "Mars/Base"), ("kind", "often"), ("payload", '"x"')])
def test_a_row_nobody_can_read_any_more_stops_nothing(
    *, jobs: Jobs, store: Store, clock: FrozenClock, slots: Slots, column_name: str, value: str
) -> None:
    jobs.schedule("أ", task="t", cron="@hourly")
    jobs.schedule("ب", task="t", cron="@hourly")
    kind = "json" if column_name == "payload" else "text"
    with store.begin() as tx:
        given = f"cast(:value as {kind})" if store.dialect == "postgresql" else ":value"
        tx.execute(sa.text(f"update rakiza_jobs_schedule set {column_name} = {given} where name = 'أ'"), {"value": value})
    clock.advance(HOUR)
    jobs.schedules.tick()
    assert slots() == [at(1)]
    if column_name != "payload":
        assert jobs.schedules.get("أ").error is not None
        assert jobs.schedules.get("أ").text_en
    clock.advance(HOUR)
    jobs.schedules.tick()
    assert slots() == [at(1), at(2)]


@ON_ONE
def test_when_the_database_fails_nothing_moves(store: Store, jobs: Jobs, clock: FrozenClock, slots: Slots) -> None:
    def fail(*_: object, **__: object) -> int:
        raise StoreUnavailableError("the line was cut")

    broken = Schedules(store, jobs.engine.bus, clock.now, fail, check=lambda *_: None)
    jobs.schedule("ت", task="t", cron="@hourly")
    clock.advance(HOUR)
    with pytest.raises(StoreUnavailableError):
        broken.tick()
    found = jobs.schedules.get("ت")
    assert (found.error, found.next_at, slots()) == (None, START + timedelta(hours=1), [])


def test_the_job_belongs_to_the_tenant_of_the_schedule(jobs: Jobs, store: Store, clock: FrozenClock, column: Column) -> None:
    jobs.schedule("ت", task="t", cron="@hourly")
    with store.begin() as tx:
        tx.execute(sa.text("update rakiza_jobs_schedule set tenant_id = 'شركة البناء'"))
    clock.advance(HOUR)
    jobs.schedules.tick()
    assert column("tenant_id") == ["شركة البناء"]
