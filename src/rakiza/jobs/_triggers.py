"""When a schedule fires, and how people read it: pure. The only place that imports APScheduler.

The clocks of a zone change: a fixed time of day that falls into the gap of spring fires at its end, one that comes twice in autumn fires the
first time. A cron whose hour is `*` follows the clock through both, so that no hour is without its firings and none of them is held back.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain, islice, takewhile
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from rakiza.errors import MissingExtraError

from .errors import ScheduleError

CRON, INTERVAL, ONCE = KINDS = ("cron", "interval", "once")
SECOND, MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)
LEAP_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
MAX_INTERVAL = timedelta(days=3660)
MAX_TEXT = 200
GRACE = timedelta(seconds=60)
"""A firing that is later than this was missed; one within it is only late."""
MISSED = ("once", "skip", "all")
ALIASES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}
_ITEM = re.compile(r"(?:(?P<all>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")
_CLOCK = r"(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d{1,6})?)S)?"
_LENGTHS = tuple(re.compile(form, re.IGNORECASE) for form in (rf"P(?:(\d+)W)?(?:(\d+)D)?(?:T{_CLOCK})?", rf"(?:(\d+)W)?(?:(\d+)D)?{_CLOCK}"))
_UNITS = (604_800, 86_400, 3_600, 60, 1)


class Trigger(Protocol):
    """Tell when a schedule fires."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first firing after a moment, in UTC; none when there is none."""
        ...


# -- cron


class Field(NamedTuple):
    """Describe one field of a cron expression: its name at APScheduler, its bounds, the names of its values from the lowest."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def every(self) -> frozenset[int]:
        """Return all values."""
        return frozenset(range(self.low, self.high + 1))

    def values(self, text: str) -> frozenset[int]:
        """Return the values a field's text allows, weekdays from Sunday 0; raise ScheduleError."""
        return frozenset(value for item in text.lower().split(",") for value in self._item(item))

    def _item(self, item: str) -> Iterator[int]:
        match = _ITEM.fullmatch(item)
        if match is None or (step := int(match["step"] or 1)) < 1:
            raise self._refused(item)
        if match["all"]:
            return iter(range(self.low, self.high + 1, step))
        first = self._value(match["first"])
        last = self._value(match["last"]) if match["last"] else self.high if match["step"] else first
        if self is not WEEKDAY:
            if last < first:
                raise self._refused(item)
            return iter(range(first, last + 1, step))
        last += 7 if last < first else 0  # fri-mon, and 5-7 whose end is Sunday
        return (value % 7 for value in range(first, last + 1, step))

    def _value(self, text: str) -> int:
        if text in self.names:
            return self.low + self.names.index(text)
        value = int(text) if text.isdecimal() else -1
        if not self.low <= value <= self.high + (self is WEEKDAY):  # Sunday is 0 and 7
            raise self._refused(text)
        return value

    def _refused(self, item: str) -> ScheduleError:
        names = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        hint = f"write {self.low}-{self.high}{names}, lists `1,2`, ranges `1-5`, steps `*/5`"
        return ScheduleError(f"{item!r} is no {self.name.replace('_', ' ')} of a cron expression", hint=hint)


SECONDS, MINUTE, HOUR, DAY = Field("second", 0, 59), Field("minute", 0, 59), Field("hour", 0, 23), Field("day", 1, 31)
MONTH = Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
WEEKDAY = Field("day_of_week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
FIELDS = (SECONDS, MINUTE, HOUR, DAY, MONTH, WEEKDAY)


class Cron:
    """Fire when the clock of a zone matches five fields, or six with the seconds first; raise ScheduleError."""

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        texts = ALIASES.get(expression.strip().lower(), expression).split()
        texts = ["0", *texts] if len(texts) == len(FIELDS) - 1 else texts
        if len(texts) != len(FIELDS):
            hint = "write minute, hour, day, month, weekday (`0 2 * * *`), with seconds first if needed (`*/2 * * * * *`), or @daily"
            raise ScheduleError(f"{expression!r} has {len(texts)} fields, a cron expression has 5", hint=hint)
        self.zone = zone
        self.fields = {field: field.values(text) for field, text in zip(FIELDS, texts, strict=True)}
        # As cron itself: with both a day and a weekday given, one of them is enough (crontab(5)).
        either = not any(text.startswith(("*", "?")) for text in texts[3:6:2])
        wanted = [{**self.fields, free: free.every} for free in (DAY, WEEKDAY)] if either else [self.fields]
        self._walls = [wall for wall in map(_wall_trigger, wanted) if wall.get_next_fire_time(None, LEAP_YEAR)]
        if not self._walls:
            raise ScheduleError(f"{expression!r} never fires: there is no such date", hint="30 February and 31 April do not exist")

    def _wall(self, start: datetime) -> datetime:
        """Return the first wall time from `start` on that matches."""
        given = start.replace(tzinfo=UTC)
        return min(wall for one in self._walls if (wall := one.get_next_fire_time(None, given))).replace(tzinfo=None)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first firing after a moment, in UTC."""
        local = moment.astimezone(self.zone)
        wall = local.replace(tzinfo=None, fold=0, microsecond=0)
        follow = self._following if self.fields[HOUR] == HOUR.every else self._once_a_day
        return follow(wall, bool(local.fold), moment.astimezone(UTC).replace(tzinfo=None)).replace(tzinfo=UTC)

    def _once_a_day(self, wall: datetime, again: bool, _: datetime) -> datetime:
        start = wall + SECOND
        if again:  # everything up to the end of the repeated hour has fired
            first, second = _moments(wall, self.zone)
            start = _change(first, second, self.zone) + (wall - first)
        found = self._wall(start)
        first, second = _moments(found, self.zone)
        return first if first <= second else _change(second, first, self.zone)

    def _following(self, wall: datetime, again: bool, moment: datetime) -> datetime:
        found = self._wall(wall + SECOND)
        first, second = _moments(wall, self.zone)
        if first < second and not again and found - (wall - first) >= (change := _change(first, second, self.zone)):
            found = self._wall(change + (wall - second))  # the hour begins again
        while True:
            first, second = _moments(found, self.zone)
            if first <= second:
                return first if first > moment else second
            found = self._wall(_change(second, first, self.zone) + (found - second))


class _WallTrigger(Protocol):
    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None: ...


def _wall_trigger(fields: dict[Field, frozenset[int]]) -> _WallTrigger:
    try:
        from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("jobs") from error
    # APScheduler counts weekdays from Monday; its own rules for changes of the clocks are left out by giving it wall times as UTC.
    given = {**fields, WEEKDAY: frozenset((value - 1) % 7 for value in fields[WEEKDAY])}
    texts = {field.name: "*" if values == field.every else ",".join(map(str, sorted(values))) for field, values in given.items()}
    trigger: _WallTrigger = CronTrigger(**texts, timezone=UTC)
    return trigger


def _moments(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the two readings of a wall time, in UTC without a zone: equal, or in order when it comes twice, or in disorder when it never comes."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1))
    return first, second


def _change(early: datetime, late: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clocks change between two moments, in UTC without a zone."""

    def offset(moment: datetime) -> timedelta | None:
        return moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()

    before = offset(early)
    while late - early > SECOND:
        middle = early + SECOND * ((late - early) // SECOND // 2)
        early, late = (middle, late) if offset(middle) == before else (early, middle)
    return late


# -- the other kinds


class Interval(NamedTuple):
    """Fire every so often since an anchor, so that restarts shift nothing."""

    length: timedelta
    anchor: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first firing after a moment, in UTC."""
        return self.anchor + self.length * ((max(moment, self.anchor) - self.anchor) // self.length + 1)


class Once(NamedTuple):
    """Fire at one moment."""

    at: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the moment while it lies ahead."""
        return self.at if self.at > moment else None


def read_interval(text: str) -> timedelta:
    """Return the length of `90` (seconds), `30m`, `6h`, `1d12h` or `PT15M`; raise ScheduleError outside of 1 s to ten years."""
    given = text.strip() + ("s" if text.strip()[-1:].isdecimal() else "")
    match = next((match for form in _LENGTHS if (match := form.fullmatch(given))), None)
    seconds = sum(unit * float(number or 0) for unit, number in zip(_UNITS, match.groups(), strict=True)) if match else 0.0
    if not 1 <= seconds <= MAX_INTERVAL.total_seconds():
        hint = "write seconds (`90`), `30m`, `6h`, `1d` or ISO 8601 (`PT15M`), from 1 s to 3660 days"
        raise ScheduleError(f"{text!r} is no interval", hint=hint)
    return timedelta(seconds=seconds)


def read_moment(text: str, zone: ZoneInfo) -> datetime:
    """Return the moment, in UTC, of an ISO 8601 time; one without an offset is read in the zone. Raise ScheduleError."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ScheduleError(f"{text!r} is no moment", hint="write ISO 8601: 2026-12-01T10:00+03:00") from None


def find_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name; raise ScheduleError with names that look like it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = {part: zone for zone in sorted(available_timezones()) for part in (zone.rpartition("/")[2].lower(), zone.lower())}
        near = dict.fromkeys(known[one] for one in get_close_matches(name.strip().lower().replace(" ", "_"), known, n=3))
        hint = f"did you mean {' or '.join(near)}?" if near else "names are those of the IANA database: Asia/Riyadh, Europe/Berlin, UTC"
        raise ScheduleError(f"there is no time zone {name!r}", hint=hint) from None


@lru_cache(256)
def trigger(kind: str, expression: str, timezone: str, anchor: datetime) -> Trigger:
    """Return the trigger of a schedule; intervals count from `anchor`. Raise ScheduleError or MissingExtraError."""
    if max(len(expression), len(timezone)) > MAX_TEXT:
        raise ScheduleError(f"an expression and a time zone have at most {MAX_TEXT} characters")
    zone = find_zone(timezone)
    match kind:
        case "cron":
            return Cron(expression, zone)
        case "interval":
            return Interval(read_interval(expression), anchor)
        case "once":
            return Once(read_moment(expression, zone))
    raise ScheduleError(f"there is no kind of schedule {kind!r}", hint=f"one of {', '.join(KINDS)}")


def firings(found: Trigger, moment: datetime) -> Iterator[datetime]:
    """Yield the firings after a moment."""
    while (fires := found.next_after(moment)) is not None:
        yield fires
        moment = fires


def next_times(kind: str, expression: str, timezone: str, now: datetime, *, anchor: datetime | None = None, n: int = 5) -> list[datetime]:
    """Return the next firings in the schedule's zone; raise ScheduleError."""
    zone = find_zone(timezone)
    return [fires.astimezone(zone) for fires in islice(firings(trigger(kind, expression, timezone, anchor or now), now), n)]


def latest(found: Trigger, slot: datetime, now: datetime) -> datetime:
    """Return the last firing up to `now`, given one of them."""
    until = now
    while (following := found.next_after(slot)) is not None and following <= now:
        middle = slot + (until - slot) / 2
        later = found.next_after(middle)
        if later is not None and later <= now:
            slot = later
        else:
            slot, until = following, middle
    return slot


def due(found: Trigger, slot: datetime, now: datetime, missed: str, most: int) -> tuple[list[datetime], datetime | None]:
    """Return which firings from `slot` to `now` are to be made up for, at most so many, and the one that follows them.

    Late ones all are. Once the first of them was missed, `once` makes up for the last one, `skip` for none that was missed, `all` for each.
    """
    if now - slot > GRACE and missed == "once":
        last = latest(found, slot, now)
        return [last], found.next_after(last)
    if now - slot > GRACE and missed == "skip":
        late = found.next_after(now - GRACE - MICROSECOND)
        if late is None or late > now:
            return [], late
        slot = late
    slots = list(islice(takewhile(lambda fires: fires <= now, chain([slot], firings(found, slot))), most))
    return slots, found.next_after(slots[-1])


def first(found: Trigger, now: datetime) -> datetime | None:
    """Return the first firing of a schedule that begins now: what lies before was not missed, but one moment may be a little late."""
    return found.next_after(now - GRACE if isinstance(found, Once) else now)
