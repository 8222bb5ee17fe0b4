"""Schedules fire when the clock on the wall says so, never twice and never not, against a walk through every minute."""

import sys
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rakiza.errors import MissingExtraError
from rakiza.jobs._triggers import KINDS, Cron, Interval, firings, latest, next_times, read_interval, trigger
from rakiza.jobs._wording import describe
from rakiza.jobs.errors import ScheduleError

MINUTE = timedelta(minutes=1)
CHANGES = {
    "Europe/Berlin spring": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Europe/Berlin autumn": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/New_York spring": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "America/New_York autumn": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Africa/Cairo spring, at midnight": ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),
    "Africa/Cairo autumn, at midnight": ("Africa/Cairo", datetime(2026, 10, 29, 21, tzinfo=UTC)),
    "Australia/Lord_Howe autumn, half an hour": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Australia/Lord_Howe spring, half an hour": ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Antarctica/Troll spring, two hours": ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Pacific/Apia, a day left out": ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    "Asia/Riyadh, no change": ("Asia/Riyadh", datetime(2026, 3, 29, 1, tzinfo=UTC)),
}


class Walk(NamedTuple):
    """Hold every minute of a week around a change of the clocks."""

    minutes: list[tuple[datetime, datetime]]  # the moment, and what the clock on the wall shows
    seen: dict[datetime, datetime]  # the first moment the wall shows a time

    @property
    def end(self) -> datetime:
        return self.minutes[-1][0]


@lru_cache
def walk(change: str) -> Walk:
    name, moment = CHANGES[change]
    zone, start = ZoneInfo(name), moment - timedelta(days=3, hours=12)
    minutes = [(at, at.astimezone(zone).replace(tzinfo=None, fold=0)) for at in (start + MINUTE * number for number in range(7 * 24 * 60))]
    seen: dict[datetime, datetime] = {}
    for at, wall in minutes:
        seen.setdefault(wall, at)
    return Walk(minutes, seen)


class Expression(NamedTuple):
    """Hold a cron expression and what each of its fields allows."""

    text: str
    minute: frozenset[int]
    hour: frozenset[int]
    day: frozenset[int]
    month: frozenset[int]
    weekday: frozenset[int]

    def matches(self, wall: datetime) -> bool:
        day, weekday = wall.day in self.day, wall.isoweekday() % 7 in self.weekday
        fields = self.text.split()
        dates = day or weekday if not fields[2].startswith("*") and not fields[4].startswith("*") else day and weekday
        return dates and wall.minute in self.minute and wall.hour in self.hour and wall.month in self.month


def oracle(expression: Expression, change: str) -> list[datetime]:
    """Return the firings of the week by looking at every minute of it."""
    week = walk(change)
    if expression.hour == frozenset(range(24)):
        return [at for at, wall in week.minutes if expression.matches(wall)]
    found = {at for wall, at in week.seen.items() if expression.matches(wall)}
    for (_, before), (at, after) in zip(week.minutes, week.minutes[1:], strict=False):
        skipped = (before + MINUTE * number for number in range(1, int((after - before) / MINUTE)))
        if any(expression.matches(wall) for wall in skipped):
            found.add(at)
    return sorted(found)


def fields(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """Return one field as text and as the values it allows."""
    value = st.integers(low, high)

    def chosen(values: list[int]) -> tuple[str, frozenset[int]]:
        return ",".join(map(str, values)), frozenset(values)

    def spread(bounds: list[int], step: int) -> tuple[str, frozenset[int]]:
        first, last = min(bounds), max(bounds)
        return f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))

    every = st.just(("*", frozenset(range(low, high + 1))))
    steps = st.integers(1, 30).map(lambda step: (f"*/{step}", frozenset(range(low, high + 1, step))))
    ranges = st.builds(spread, st.lists(value, min_size=2, max_size=2), st.integers(1, 5))
    return st.one_of(every, steps, ranges, st.lists(value, min_size=1, max_size=4).map(chosen))


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
    free = [number >= 2 and draw(st.booleans()) for number in range(5)]
    drawn = [("*", frozenset(range(low, high + 1))) if every else draw(fields(low, high)) for every, (low, high) in zip(free, bounds, strict=True)]
    return Expression(" ".join(text for text, _ in drawn), *(values for _, values in drawn))


def plain(text: str) -> Expression:
    """Return an expression whose fields are `*`, a number or a list."""
    bounds = [(0, 60), (0, 24), (1, 32), (1, 13), (0, 7)]
    values = (frozenset(range(*each)) if one == "*" else frozenset(map(int, one.split(","))) for one, each in zip(text.split(), bounds, strict=True))
    return Expression(text, *values)


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=5)  # of each change of the clocks, beside those that are named
@given(expression=expressions(), hours=st.integers(-84, 80))
@example(expression=plain("30 2 * * *"), hours=-30)
@example(expression=plain("30 * * * *"), hours=-3)
@example(expression=plain("0,30 0,1,2,3,23 * * *"), hours=-30)
@example(expression=plain("15 * 29 3 *"), hours=-30)
def test_it_fires_at_the_minutes_the_wall_shows(change: str, expression: Expression, hours: int) -> None:
    name, moment = CHANGES[change]
    start, end = moment + timedelta(hours=hours), walk(change).end
    try:
        found = trigger("cron", expression.text, name, start)
    except ScheduleError:
        clock = timedelta(hours=min(expression.hour), minutes=min(expression.minute))
        assert not any(expression.matches(datetime(2000, 1, 1) + timedelta(days=day) + clock) for day in range(366))  # noqa: DTZ001
        return
    wanted = [at for at in oracle(expression, change) if at > start]
    fired = []
    for at in islice(firings(found, start), 60):
        if at > end:
            break
        fired.append(at)
    assert fired == (wanted[:60] if len(fired) == 60 else wanted)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("text", ["30 2 * * *", "0 0 * * *", "30 23 * * *", "0 * * * *", "45 * * * *", "0,20,40 * * * *", "10,50 1,2,3 * * *"])
def test_a_whole_week_holds_every_firing_once(change: str, text: str) -> None:
    name, moment = CHANGES[change]
    start = moment - timedelta(days=3, hours=12)
    end = walk(change).end
    fired = []
    for at in firings(Cron(text, ZoneInfo(name)), start - MINUTE):
        if at > end:
            break
        fired.append(at)
    assert fired == oracle(plain(text), change)


def local(text: str, zone: str, start: str, n: int) -> list[str]:
    return [at.isoformat(timespec="minutes") for at in next_times("cron", text, zone, datetime.fromisoformat(start).astimezone(UTC), n=n)]


def test_the_nights_of_the_change_in_words() -> None:
    spring, autumn = "2026-03-28T12:00+01:00", "2026-10-24T12:00+02:00"
    assert local("30 2 * * *", "Europe/Berlin", spring, 2) == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]
    assert local("30 2 * * *", "Europe/Berlin", autumn, 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    hours = ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]
    assert local("0 * * * *", "Europe/Berlin", "2026-10-25T01:30+02:00", 3) == hours
    assert local("0 * * * *", "Europe/Berlin", "2026-03-29T00:30+01:00", 2) == ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]
    assert local("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00+02:00", 2) == ["2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"]
    assert local("0 2 * * *", "Asia/Riyadh", "2026-11-27T00:00+03:00", 2) == ["2026-11-27T02:00+03:00", "2026-11-28T02:00+03:00"]


ZONES = st.sampled_from(["Africa/Casablanca", *(name for name, _ in CHANGES.values())])
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2036, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


@given(expressions(), ZONES, MOMENTS, st.floats(0, 1))
def test_the_next_firing_is_the_next_from_everywhere_before_it(expression: Expression, zone: str, moment: datetime, part: float) -> None:
    try:
        found = trigger("cron", expression.text, zone, moment)
    except ScheduleError:
        return
    fires = found.next_after(moment)
    assert fires is not None
    assert fires > moment
    between = moment + (fires - moment) * part
    if between < fires:
        assert found.next_after(between) == fires
    following = found.next_after(fires)
    assert following is not None
    assert following > fires


def test_seconds_come_first_in_six_fields() -> None:
    start = datetime(2026, 10, 25, 0, 59, 57, 500, tzinfo=UTC)
    found = [at.second for at in islice(firings(Cron("*/2 * * * * *", ZoneInfo("Europe/Berlin")), start), 3)]
    assert found == [58, 0, 2]
    fixed = Cron("*/20 0 2 * * *", ZoneInfo("Europe/Berlin"))
    assert [at.isoformat() for at in islice(firings(fixed, datetime(2026, 10, 25, 0, 0, 30, tzinfo=UTC)), 2)] == [
        "2026-10-25T00:00:40+00:00", "2026-10-26T01:00:00+00:00"
    ]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        *(("0 0 * * 0", [29]), ("0 0 * * 7", [29]), ("0 0 * * sun", [29]), ("0 0 * * SUN", [29]), ("0 0 * * 1", [30]), ("0 0 * * 5-7", [27, 28, 29])),
        *(("0 0 * * fri-mon", [27, 28, 29, 30]), ("0 0 * * mon-fri/2", [27, 30]), ("0 0 * * */3", [28, 29]), ("0 0 ? * 6", [28])),
        *(("0 0 27 nov ?", [27]), ("0 0 29 * 5", [27, 29]), ("0 0 */2 * 5", [27]), ("0 0 28/2 11 *", [28, 30]), ("٠ ٠ ٢٧ ١١ *", [27])),
        *(("@weekly", [29]), ("@daily", [27, 28, 29, 30])),
    ],
)  # fmt: skip
def test_days_are_counted_as_cron_counts_them(text: str, days: list[int]) -> None:
    start = datetime(2026, 11, 26, 12, tzinfo=UTC)  # a Thursday
    found = islice(firings(Cron(text, ZoneInfo("UTC")), start), 10)
    assert [at.day for at in found if at < datetime(2026, 12, 1, tzinfo=UTC)] == days


def test_dates_that_are_rare() -> None:
    leap = Cron("0 0 29 2 *", ZoneInfo("Asia/Riyadh"))
    assert [at.year for at in islice(firings(leap, datetime(2026, 1, 1, tzinfo=UTC)), 3)] == [2028, 2032, 2036]
    last = Cron("0 12 31 * *", ZoneInfo("UTC"))
    assert [at.month for at in islice(firings(last, datetime(2026, 1, 1, tzinfo=UTC)), 7)] == [1, 3, 5, 7, 8, 10, 12]
    either = Cron("0 0 30 2 1", ZoneInfo("UTC"))  # the 30th of February, or a Monday in February
    assert [at.day for at in islice(firings(either, datetime(2026, 1, 1, tzinfo=UTC)), 2)] == [2, 9]


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_date_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="never fires"):
        Cron(text, ZoneInfo("UTC"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *"),
        *("1,,2 * * * *", "-1 * * * *", "1- * * * *", "* * L * *", "* * * * mon#2", "@every 5m", "@reboot", "* * * اثنين *", "1.5 * * * *"),
        "² * * * *",
    ],
)
def test_a_wrong_cron_expression_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        trigger("cron", text, "UTC", datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.hint
    assert caught.value.status == 422


TEXTS = st.text(max_size=300) | st.from_regex(r"[\d*/,@PTHMSW -]{0,40}")


@given(st.sampled_from(KINDS), TEXTS, st.sampled_from(["UTC", "Asia/Riyadh"]) | st.text(max_size=80))
def test_anything_is_read_or_refused(kind: str, expression: str, zone: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    try:
        found = next_times(kind, expression, zone, now, n=2)
    except ScheduleError:
        return
    assert all(at > now for at in found)
    assert all(describe(kind, expression, zone))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("1.5", 1.5), ("30m", 1800), ("6h", 21600), ("1d", 86400), ("1d12h", 129600), ("1w", 604800)),
        *(("PT15M", 900), ("P1DT1H", 90000), ("pt1h30m", 5400), ("٣٠m", 1800), (" 5m ", 300)),
    ],
)
def test_intervals_are_read(text: str, seconds: float) -> None:
    assert read_interval(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0", "0.5", "-5", "P1M", "P1Y", "5x", "h", "P", "PT", "1m1h", "9999d", "nan", "1e3", "9" * 150])
def test_a_wrong_interval_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ScheduleError, match="no interval") as caught:
        read_interval(text)
    assert caught.value.hint


@given(MOMENTS, st.timedeltas(timedelta(seconds=1), timedelta(days=3660)), st.timedeltas(timedelta(days=-2), timedelta(days=9000)))
def test_an_interval_keeps_to_its_anchor(anchor: datetime, length: timedelta, passed: timedelta) -> None:
    moment = anchor + passed
    fires = Interval(length, anchor).next_after(moment)
    assert fires is not None
    assert fires > max(moment, anchor)
    assert fires - length <= max(moment, anchor)
    assert (fires - anchor) % length == timedelta()


def test_once_is_one_moment() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert [at.isoformat() for at in next_times("once", "2026-12-01T10:00", "Asia/Riyadh", now)] == ["2026-12-01T10:00:00+03:00"]
    assert next_times("once", "2026-12-01T10:00+01:00", "Asia/Riyadh", now)[0] == datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert next_times("once", "2025-12-01T10:00Z", "Asia/Riyadh", now) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("Asia/Riyad", "Asia/Riyadh"), ("riyadh", "Asia/Riyadh"), ("Europe/berlin", "Europe/Berlin"), ("New York", "America/New_York")),
        *(("", "IANA"), ("../etc/passwd", "IANA"), ("الرياض", "IANA"), ("a\0b", "names are"), ("x" * 190, "IANA")),
    ],
)
def test_an_unknown_zone_is_refused_with_what_may_be_meant(name: str, meant: str) -> None:
    with pytest.raises(ScheduleError, match="no time zone") as caught:
        trigger("cron", "0 2 * * *", name, datetime(2026, 1, 1, tzinfo=UTC))
    assert meant in (caught.value.hint or "")


def test_an_unknown_kind_and_long_texts_are_refused() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ScheduleError, match="kind"):
        trigger("sometimes", "", "UTC", now)
    with pytest.raises(ScheduleError, match="at most 200"):
        trigger("cron", "*/" + "1" * 5000 + " * * * *", "UTC", now)


@given(expressions(), st.integers(0, 60 * 24 * 400), st.integers(0, 60 * 24 * 40))
def test_the_latest_of_what_was_missed(expression: Expression, first: int, passed: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC) + MINUTE * first
    try:
        found = trigger("cron", expression.text, "Europe/Berlin", start)
    except ScheduleError:
        return
    slot = found.next_after(start)
    assert slot is not None
    now = slot + MINUTE * passed
    last = latest(found, slot, now)
    following = found.next_after(last)
    assert slot <= last <= now
    assert following is None or following > now
    assert found.next_after(last - timedelta(microseconds=1)) == last


@pytest.mark.parametrize(
    ("kind", "text", "english", "arabic"),
    [
        ("cron", "0 2 * * *", "Every day at 02:00 (Asia/Riyadh)", "كل يوم الساعة 02:00 (Asia/Riyadh)"),
        ("cron", "@daily", "Every day at 00:00 (Asia/Riyadh)", "كل يوم الساعة 00:00 (Asia/Riyadh)"),
        ("cron", "30 0 2 * * *", "Every day at 02:00:30 (Asia/Riyadh)", "كل يوم الساعة 02:00:30 (Asia/Riyadh)"),
        ("cron", "*/5 * * * *", "Every 5 minutes", "كل 5 دقائق"),
        ("cron", "* * * * *", "Every minute", "كل دقيقة"),
        ("cron", "*/2 * * * * *", "Every 2 seconds", "كل ثانيتين"),
        ("cron", "* * * * * *", "Every second", "كل ثانية"),
        ("cron", "0 * * * *", "Every hour", "كل ساعة"),
        ("cron", "0 */12 * * *", "Every 12 hours", "كل 12 ساعة"),
        ("cron", "15 * * * *", "Every hour at minute 15", "كل ساعة عند الدقيقة 15"),
        ("cron", "0 8 * * sun-thu", "Sunday to Thursday at 08:00 (Asia/Riyadh)", "من الأحد إلى الخميس الساعة 08:00 (Asia/Riyadh)"),
        ("cron", "0 8 * * 4", "Every Thursday at 08:00 (Asia/Riyadh)", "كل يوم خميس الساعة 08:00 (Asia/Riyadh)"),
        ("cron", "0 8,14 * * 0,2", "Sunday and Tuesday at 08:00 and 14:00 (Asia/Riyadh)", "أيام الأحد والثلاثاء الساعة 08:00 و14:00 (Asia/Riyadh)"),
        ("cron", "0 9 1 * *", "On day 1 of every month at 09:00 (Asia/Riyadh)", "اليوم 1 من كل شهر الساعة 09:00 (Asia/Riyadh)"),
        ("cron", "0 9 1 jan *", "Every year on 1 January at 09:00 (Asia/Riyadh)", "كل سنة في 1 يناير الساعة 09:00 (Asia/Riyadh)"),
        ("cron", "0 9 1,15 * *", "0 9 1,15 * * (Asia/Riyadh)", "0 9 1,15 * * (Asia/Riyadh)"),
        ("cron", "*/7 * * * *", "*/7 * * * * (Asia/Riyadh)", "*/7 * * * * (Asia/Riyadh)"),
        ("interval", "1h", "Every hour", "كل ساعة"),
        ("interval", "6h", "Every 6 hours", "كل 6 ساعات"),
        ("interval", "PT11M", "Every 11 minutes", "كل 11 دقيقة"),
        ("interval", "103m", "Every 103 minutes", "كل 103 دقائق"),
        ("interval", "1.5", "Every 1.5 seconds", "كل 1.5 ثانية"),
        ("interval", "1234567", "Every 1,234,567 seconds", "كل 1,234,567 ثانية"),
        ("once", "2026-12-01T07:00Z", "Once on 2026-12-01 at 10:00 (Asia/Riyadh)", "مرة واحدة في 2026-12-01 الساعة 10:00 (Asia/Riyadh)"),
    ],
)
def test_people_read_a_schedule_in_words(kind: str, text: str, english: str, arabic: str) -> None:
    assert describe(kind, text, "Asia/Riyadh") == (english, arabic)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apscheduler.triggers.cron", None)
    with pytest.raises(MissingExtraError) as caught:
        Cron("* * * * *", ZoneInfo("UTC"))
    assert caught.value.hint == "pip install 'rakiza[jobs]'"
