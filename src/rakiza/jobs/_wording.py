"""How people read a schedule, in English and Arabic: pure."""

from datetime import timedelta

from ._triggers import CRON, DAY, HOUR, INTERVAL, MINUTE, MONTH, SECONDS, WEEKDAY, Cron, Field, find_zone, read_interval, read_moment

Text = tuple[str, str]
MAX_CLOCKS = 4
UNITS = {
    604_800: ("week", "أسبوع", "أسبوعين", "أسابيع"),
    86_400: ("day", "يوم", "يومين", "أيام"),
    3_600: ("hour", "ساعة", "ساعتين", "ساعات"),
    60: ("minute", "دقيقة", "دقيقتين", "دقائق"),
    1: ("second", "ثانية", "ثانيتين", "ثوان"),
}
DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
DAYS_AR = ("الأحد", "الاثنين", "الثلاثاء", "الأربعاء", "الخميس", "الجمعة", "السبت")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
MONTHS_AR = ("يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو", "يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر")


def describe(kind: str, expression: str, timezone: str) -> Text:
    """Return a schedule in words, English and Arabic, where its shape is a common one, else the expression; raise ScheduleError."""
    zone = find_zone(timezone)
    if kind == INTERVAL:
        return every(read_interval(expression))
    if kind == CRON:
        return _cron(Cron(expression, zone).fields, timezone) or (f"{expression} ({timezone})",) * 2
    at = read_moment(expression, zone).astimezone(zone)
    clock = f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"
    return f"Once on {at:%Y-%m-%d} at {clock} ({timezone})", f"مرة واحدة في {at:%Y-%m-%d} الساعة {clock} ({timezone})"


def every(length: timedelta) -> Text:
    """Return "every so often" in the largest unit that fits."""
    unit = next((size for size in UNITS if length % timedelta(seconds=size) == timedelta()), 1)
    count = length / timedelta(seconds=unit)
    name, one, two, few = UNITS[unit]
    number = f"{count:,.6f}".rstrip("0").rstrip(".")
    if count == 1:
        return f"Every {name}", f"كل {one}"
    # Arabic counts: two has a form of its own, 3 to 10 (and 103 to 110) take the plural, all others the singular.
    arabic = two if count == 2 else f"{number} {few if count % 100 in range(3, 11) else one}"
    return f"Every {number} {name}s", f"كل {arabic}"


def _cron(fields: dict[Field, frozenset[int]], timezone: str) -> Text | None:
    if all(fields[field] == field.every for field in (DAY, MONTH, WEEKDAY)) and (steady := _steady(fields)):
        return steady
    days, clocks = _days(fields), _clocks(fields)
    if days is None or not clocks:
        return None
    at, at_ar = " and ".join(clocks), " و".join(clocks)
    return f"{days[0]} at {at} ({timezone})", f"{days[1]} الساعة {at_ar} ({timezone})"


def _steady(fields: dict[Field, frozenset[int]]) -> Text | None:
    """Describe what fires evenly through the day."""
    second, minute, hour = (_step(fields[field], field.high + 1) for field in (SECONDS, MINUTE, HOUR))
    if second and (minute, hour) == (1, 1):
        return every(timedelta(seconds=second))
    if second == 60 and minute and hour == 1:
        return every(timedelta(minutes=minute))
    if (second, minute) == (60, 60) and hour and hour < 24:
        return every(timedelta(hours=hour))
    if second == 60 and hour == 1 and len(fields[MINUTE]) == 1:
        (at,) = fields[MINUTE]
        return f"Every hour at minute {at}", f"كل ساعة عند الدقيقة {at}"
    return None


def _step(values: frozenset[int], size: int) -> int | None:
    """Return the step of values that lie evenly from 0 and divide the whole."""
    step = size // len(values)
    return step if size % step == 0 and values == set(range(0, size, step)) else None


def _clocks(fields: dict[Field, frozenset[int]]) -> list[str]:
    """Return the times of day when they are few."""
    if len(fields[SECONDS]) != 1 or len(fields[MINUTE]) != 1 or len(fields[HOUR]) > MAX_CLOCKS:
        return []
    (second,), (minute,) = fields[SECONDS], fields[MINUTE]
    return [f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "") for hour in sorted(fields[HOUR])]


def _days(fields: dict[Field, frozenset[int]]) -> Text | None:
    day, month, weekday = sorted(fields[DAY]), sorted(fields[MONTH]), sorted(fields[WEEKDAY])
    every_day, every_month, every_weekday = fields[DAY] == DAY.every, fields[MONTH] == MONTH.every, fields[WEEKDAY] == WEEKDAY.every
    if every_day and every_month:
        return ("Every day", "كل يوم") if every_weekday else _weekdays(weekday)
    if not every_weekday or len(day) != 1:
        return None
    if every_month:
        return f"On day {day[0]} of every month", f"اليوم {day[0]} من كل شهر"
    if len(month) == 1:
        return f"Every year on {day[0]} {MONTHS[month[0] - 1]}", f"كل سنة في {day[0]} {MONTHS_AR[month[0] - 1]}"
    return None


def _weekdays(days: list[int]) -> Text:
    names, arabic = [DAYS[day] for day in days], [DAYS_AR[day] for day in days]
    if len(days) == 1:
        return f"Every {names[0]}", f"كل يوم {arabic[0].removeprefix('ال')}"
    if len(days) > 2 and days[-1] - days[0] == len(days) - 1:
        return f"{names[0]} to {names[-1]}", f"من {arabic[0]} إلى {arabic[-1]}"
    return f"{', '.join(names[:-1])} and {names[-1]}", f"أيام {' و'.join(arabic)}"
