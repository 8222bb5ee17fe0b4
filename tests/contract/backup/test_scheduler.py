"""Backups by the clock: through the scheduler of the job queue, and alone."""

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from rakiza.backup import BackupScheduler, DatabaseBackup
from rakiza.backup._drills import drills
from rakiza.hub import Platform, build
from rakiza.jobs import Jobs, JobSettings, Registry, ScheduleError
from rakiza.store import Store, migrate
from rakiza.testing import FrozenClock

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def manager(tmp_path: Path, clock: FrozenClock) -> DatabaseBackup:
    with (store := Store(str(tmp_path / "app.db"))).begin() as tx:
        tx.execute(sa.text("create table invoice (name text)"))
    store.close()
    return DatabaseBackup(f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "نسخ", max_backups=100, clock=clock)


@pytest.fixture
def jobs(sqlite_url: str, clock: FrozenClock) -> Iterator[Jobs]:
    store = Store(sqlite_url)
    migrate(store, [Jobs.migrations])
    made = Jobs(store, settings=JobSettings(lease_seconds=600.0), clock=clock, registry=Registry())
    yield made
    made.close()
    store.close()


def at(clock: FrozenClock, moment: datetime) -> None:
    clock.advance((moment - clock.now()).total_seconds())


def test_alone_a_backup_is_made_at_its_time_and_once_for_what_was_missed(manager: DatabaseBackup, clock: FrozenClock) -> None:
    scheduler = BackupScheduler(manager, clock=clock)
    scheduler.schedule_daily_backup(hour=2, minute=0)
    scheduler.schedule_interval_backup(hours=6)
    found = {one.name: one for one in scheduler.get_jobs()}
    assert set(found) == {"backup-daily", "backup-interval"}
    daily = found["backup-daily"].next_run_time
    assert daily is not None
    assert (daily.hour, daily.minute, daily > clock.now()) == (2, 0, True)
    assert found["backup-daily"].trigger
    run = scheduler._own.run
    run()
    assert manager.list_backups() == []
    scheduler.cancel("backup-interval")
    at(clock, daily - timedelta(seconds=1))
    run()
    assert manager.list_backups() == []
    at(clock, daily)
    run()
    run()
    assert len(manager.list_backups()) == 1
    clock.advance(3 * 86_400)
    run()
    run()
    assert len(manager.list_backups()) == 2, "three nights were missed; one backup makes up for them"


def test_alone_it_runs_in_a_thread_that_ends(manager: DatabaseBackup, clock: FrozenClock) -> None:
    scheduler = BackupScheduler(manager, clock=clock)
    scheduler.schedule_interval_backup(hours=1)
    scheduler.start()
    scheduler.start()
    clock.advance(3601)
    end = time.monotonic() + 30
    while not manager.list_backups() and time.monotonic() < end:
        time.sleep(0.02)
    scheduler.stop()
    assert len(manager.list_backups()) == 1


def test_a_failing_backup_does_not_end_the_clock(tmp_path: Path, clock: FrozenClock, caplog: pytest.LogCaptureFixture) -> None:
    manager = DatabaseBackup(f"sqlite:///{tmp_path / 'later.db'}", tmp_path / "نسخ", clock=clock)
    scheduler = BackupScheduler(manager, clock=clock)
    scheduler.schedule_interval_backup(hours=1)
    clock.advance(3600)
    scheduler._own.run()
    assert "later.db" in caplog.text
    with (store := Store(str(tmp_path / "later.db"))).begin() as tx:
        tx.execute(sa.text("create table invoice (name text)"))
    store.close()
    clock.advance(3600)
    scheduler._own.run()
    assert len(manager.list_backups()) == 1


@pytest.mark.parametrize(("hour", "minute"), [(24, 0), (2, 60), (-1, 0)])
def test_a_time_there_is_not_is_refused(manager: DatabaseBackup, hour: int, minute: int) -> None:
    with pytest.raises(ScheduleError):
        BackupScheduler(manager).schedule_daily_backup(hour, minute)


def test_an_interval_and_a_zone_that_cannot_be_are_refused(manager: DatabaseBackup) -> None:
    with pytest.raises(ScheduleError):
        BackupScheduler(manager).schedule_interval_backup(hours=0)
    with pytest.raises(ScheduleError):
        BackupScheduler(manager, timezone="Asia/Nowhere").schedule_daily_backup()


@pytest.mark.parametrize(("first", "last"), [((2026, 3, 27), (2026, 3, 30)), ((2026, 10, 23), (2026, 10, 26))], ids=["spring", "autumn"])
def test_the_nights_of_the_clock_change_have_one_backup_each(
    manager: DatabaseBackup, jobs: Jobs, clock: FrozenClock, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    at(clock, datetime(*first, 12, tzinfo=BERLIN).astimezone(UTC))
    made: list[datetime] = []
    jobs.job("backup:create")(lambda: made.append(clock.now()))
    manager.jobs = jobs
    BackupScheduler(manager, timezone="Europe/Berlin").schedule_daily_backup(hour=2, minute=30)
    end = datetime(*last, 12, tzinfo=BERLIN)
    while clock.now() < end:
        clock.advance(1800)
        jobs.schedules.tick()
        jobs.drain()
    assert [moment.astimezone(BERLIN).day for moment in made] == list(range(first[2] + 1, last[2] + 1))


@pytest.mark.parametrize(("first", "last"), [((2026, 3, 27), (2026, 3, 31)), ((2026, 10, 23), (2026, 10, 27))], ids=["spring", "autumn"])
def test_alone_the_nights_of_the_clock_change_have_one_backup_each(
    manager: DatabaseBackup, clock: FrozenClock, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    at(clock, datetime(*first, 12, tzinfo=BERLIN).astimezone(UTC))
    scheduler = BackupScheduler(manager, timezone="Europe/Berlin", clock=clock)
    scheduler.schedule_daily_backup(hour=2, minute=30)
    while clock.now() < datetime(*last, 12, tzinfo=BERLIN):
        clock.advance(900)
        scheduler._own.run()
    made = [one.timestamp.astimezone(BERLIN).day for one in reversed(manager.list_backups())]
    assert made == list(range(first[2] + 1, last[2] + 1))


class SetClock(FrozenClock):
    """Let the wall clock be set while time goes on."""

    off = timedelta()

    def now(self) -> datetime:
        return super().now() + self.off


SET = [timedelta(seconds=-5), timedelta(hours=-1), timedelta(days=-1), timedelta(days=-400), timedelta(hours=1), timedelta(days=3)]


@pytest.mark.parametrize("jump", SET, ids=str)
@pytest.mark.parametrize("after", [1, 3600, 12 * 3600, 86_300], ids=lambda seconds: f"{seconds} s after a backup")
def test_alone_a_clock_that_is_set_neither_skips_nor_doubles_a_night(manager: DatabaseBackup, jump: timedelta, after: int) -> None:
    clock, made = SetClock(datetime(2026, 6, 1, 12, tzinfo=UTC)), list[float]()
    scheduler = BackupScheduler(manager, clock=clock)
    scheduler._own._manager = _Noting(manager, made, clock)  # type: ignore[assignment]
    scheduler.schedule_daily_backup(hour=2, minute=0)
    clock.advance(14 * 3600)
    scheduler._own.run()
    clock.advance(after)
    clock.off = jump
    for _ in range(4 * 96):
        scheduler._own.run()
        clock.advance(900)
    gaps = [later - earlier for earlier, later in itertools.pairwise(made)]
    assert gaps, "it goes on"
    assert min(gaps) >= 12 * 3600 or jump > timedelta(0), gaps
    assert max(gaps) <= 36 * 3600 + 900, gaps


class _Noting:
    """Note when a backup is asked for."""

    def __init__(self, manager: DatabaseBackup, made: list[float], clock: FrozenClock) -> None:
        self.folder, self.list_backups, self.drill = manager.folder, manager.list_backups, manager.drill
        self.create_backup = lambda: made.append(clock.monotonic())


def test_alone_a_late_start_makes_up_once_for_what_was_missed(manager: DatabaseBackup, clock: FrozenClock) -> None:
    at(clock, datetime(2026, 1, 10, 3, tzinfo=UTC))
    manager.create_backup()
    for days, made in ((0, 0), (0.5, 0), (3, 1), (0, 0)):
        clock.advance(days * 86_400)
        before = len(manager.list_backups())
        scheduler = BackupScheduler(manager, clock=clock)
        scheduler.schedule_daily_backup(hour=2, minute=0)
        scheduler._own.run()
        scheduler._own.run()
        assert len(manager.list_backups()) - before == made, days
    scheduler = BackupScheduler(manager, clock=clock)
    scheduler.schedule_interval_backup(hours=6)
    clock.advance(5 * 3600)
    again = BackupScheduler(manager, clock=clock)  # a start every five hours holds up no backup every six
    again.schedule_interval_backup(hours=6)
    clock.advance(3600)
    before = len(manager.list_backups())
    again._own.run()
    assert len(manager.list_backups()) == before + 1


def test_alone_drills_have_times_of_their_own_and_wait_for_who_is_at_work(manager: DatabaseBackup, clock: FrozenClock) -> None:
    scheduler = BackupScheduler(manager, clock=clock)
    manager.create_backup()
    for every, day in (("daily", 1), ("weekly", 2), ("monthly", 1)):  # 1 January 2026 is a Thursday
        scheduler.schedule_drill(every, hour=4)
        [one] = scheduler.get_jobs()
        assert one.next_run_time is not None
        assert (one.name, one.next_run_time.day, one.next_run_time.hour) == ("backup-drill", day, 4)
    scheduler.schedule_drill("daily", hour=4)
    clock.advance(86_400 + 4 * 3600)
    with manager.folder.working():
        scheduler._own.run()
    assert drills(manager.folder) == []
    clock.advance(60)
    scheduler._own.run()
    scheduler._own.run()
    assert [one.ok for one in drills(manager.folder)] == [True]
    assert len(manager.list_backups()) == 1


def test_in_front_of_the_queue_its_schedules_are_shown_and_taken_away(manager: DatabaseBackup, jobs: Jobs) -> None:
    jobs.job("backup:create")(lambda: None)
    manager.jobs = jobs
    scheduler = BackupScheduler(manager)
    scheduler.schedule_daily_backup(hour=2, minute=0)
    scheduler.schedule_interval_backup(hours=6)
    scheduler.start()
    found = {one.name: one for one in scheduler.get_jobs()}
    assert (set(found), all(one.next_run_time and one.trigger for one in found.values())) == ({"backup-daily", "backup-interval"}, True)
    assert all(any("\u0600" <= letter <= "\u06ff" for letter in one.trigger_ar) for one in found.values())
    assert {one.task for one in jobs.schedules.all()} == {"backup:create"}
    scheduler.cancel()
    scheduler.stop()
    assert (scheduler.get_jobs(), jobs.schedules.all()) == ([], [])


def test_a_start_without_backups_by_the_clock_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    def site() -> Platform:
        settings = {"hub": {"home": tmp_path}, "logs": {"console": False}, "jobs": {"work": False}, "store": {"busy_timeout_seconds": 0.5}}
        return build(settings, environ={})

    first, second = site(), site()
    first.start()
    with first.store.begin():
        second.start()
    for one in (second, first):
        one.shutdown()
