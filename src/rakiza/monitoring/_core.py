"""What can be decided without input, output or a clock: limits of a container, requests and their quantiles, rollups, alarms."""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import add, mul, sub
from typing import NamedTuple

from rakiza._kernel.http import OWN_PREFIX
from rakiza.telemetry import BUCKETS, RequestTotals

Row = Sequence[float]
MAX_ROUTES = 300
"""Routes counted one by one; the rest is counted together. The console's own requests are left out."""
LOOK_SECONDS, MAX_LOOKS = 60.0, 62

# -- the limits of a container (Documentation/admin-guide/cgroup-v2.rst)


class Limits(NamedTuple):
    """Hold what the control groups of this process leave it, none where nothing is limited."""

    memory: int | None = None
    memory_used: int = 0
    swap: int | None = None
    swap_used: int = 0
    cpus: float | None = None
    cpu_seconds: float = 0.0


def limits_of(levels: Sequence[Mapping[str, str]]) -> Limits:
    """Return the tightest limits among the files of a group and of those above it; what cannot be read limits nothing."""
    found = Limits()
    if sizes := [(size, at) for at, files in enumerate(levels) if (size := _number(files["memory.max"])) is not None]:
        size, at = min(sizes)
        used = (_number(levels[at]["memory.current"]) or 0) - _stat(levels[at]["memory.stat"], "inactive_file")
        found = Limits(size, max(0, used), _number(levels[at]["memory.swap.max"]), _number(levels[at]["memory.swap.current"]) or 0)
    if quotas := [(quota, at) for at, files in enumerate(levels) if (quota := _quota(files["cpu.max"])) is not None]:
        quota, at = min(quotas)
        found = found._replace(cpus=quota, cpu_seconds=_stat(levels[at]["cpu.stat"], "usage_usec") / 1e6)
    return found


def _number(text: str) -> int | None:
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() else None


def _quota(text: str) -> float | None:
    most, each = map(_number, (text + " ").split(" ", 2)[:2])
    return most / each if most and each else None


def _stat(text: str, name: str) -> int:
    return next((_number(line.partition(" ")[2]) or 0 for line in text.splitlines() if line.startswith(name + " ")), 0)


# -- requests: a tuple of those that failed (5xx), their seconds, and how many took at most each bound: the last of these counts all

Source = Callable[[], Mapping[tuple[str, str, int], RequestTotals]]
Totals = tuple[float, ...]
Routes = dict[tuple[str, str], Totals]
NONE: Totals = (0, 0.0, *(0,) * (len(BUCKETS) + 1))


def by_route(totals: Mapping[tuple[str, str, int], RequestTotals]) -> Routes:
    """Add up the statuses of each method and route."""
    found: Routes = {}
    for (method, route, status), seen in totals.items():
        if not route.startswith(OWN_PREFIX):
            key = (method, route) if len(found) < MAX_ROUTES or (method, route) in found else ("OTHER", "other")
            more = (seen.count if status >= 500 else 0, seen.seconds, *seen.buckets)
            found[key] = tuple(map(add, found.get(key, NONE), more))
    return found


def since(before: Routes, after: Routes) -> Routes:
    """Return what came between two looks at the totals; totals that shrank began anew."""
    old = {key: held for key, held in before.items() if key in after and held[-1] <= after[key][-1]}
    return {key: tuple(map(sub, new, old.get(key, NONE))) for key, new in after.items() if new[-1] > old.get(key, NONE)[-1]}


def total(routes: Routes) -> Totals:
    return tuple(map(sum, zip(NONE, *routes.values(), strict=True)))


class Requests:
    """Keep a look at the totals for each minute of the last hour; routes that were quiet are shared from look to look."""

    def __init__(self, source: Source, now: float) -> None:
        self._source = source
        self._latest: tuple[float, Routes] = (now, {})
        self._looks = [self._latest]

    def look(self, now: float) -> Totals:
        """Take the totals anew and return what came since the look before."""
        before = self._latest[1]
        found = {key: before[key] if before.get(key) == new else new for key, new in by_route(self._source()).items()}
        self._latest = (now, found)
        if now - self._looks[-1][0] >= LOOK_SECONDS:
            self._looks = [*self._looks, self._latest][-MAX_LOOKS:]
        return total(since(before, found))

    def restart(self) -> None:
        """Begin anew: after a fork, what was counted before is the parent's."""
        self._latest = (self._latest[0], by_route(self._source()))
        self._looks = [self._latest]

    def window(self, seconds: float) -> tuple[float, Routes]:
        """Return how long the window really is, and what each route did in it; it ends with the latest look."""
        (now, latest), looks = self._latest, self._looks
        at, before = next((look for look in reversed(looks) if now - look[0] >= seconds), looks[0])
        return now - at, since(before, latest)


def quantile(share: float, buckets: Row) -> float | None:
    """Return the seconds that `share` of the requests took at most; linear inside a bucket (`histogram_quantile` of Prometheus)."""
    rank = share * buckets[-1]
    at = next(number for number, count in enumerate(buckets) if count >= rank)
    if buckets[-1] <= 0 or at == len(BUCKETS):
        return BUCKETS[-1] if buckets[-1] > 0 else None
    start, below = (BUCKETS[at - 1], buckets[at - 1]) if at else (0.0, 0.0)
    return start + (BUCKETS[at] - start) * (rank - below) / (buckets[at] - below)


def times(buckets: Row, suffix: str = "_ms") -> dict[str, float | None]:
    """Return the median, p95 and p99 in milliseconds."""
    found = {name: quantile(share, buckets) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    return {name + suffix: None if value is None else round(value * 1000, 2) for name, value in found.items()}


# -- rollups: a row is a weight, the gauges, the longest delay of the loop (NaN without one), the failed requests, the buckets

GAUGES = ("cpu", "ram", "disk", "net_sent", "net_recv", "disk_read", "disk_write")
LAG, ERRORS = len(GAUGES) + 1, len(GAUGES) + 2
SERIES = (*GAUGES, "requests", "errors", "p50", "p95", "p99", "loop_lag")


def combine(rows: Sequence[Row]) -> list[float]:
    """Return several rows as one, whatever their order: gauges are averaged by weight, delays keep the longest, counts are added."""
    columns = list(zip(*rows, strict=True))
    weight = sum(columns[0])
    gauges = [sum(map(mul, columns[0], column)) / weight for column in columns[1:LAG]]
    lag = max((value for value in columns[LAG] if not math.isnan(value)), default=math.nan)
    return [weight, *gauges, lag, *map(sum, columns[ERRORS:])]


def shown(row: Row, seconds: float) -> dict[str, float | None]:
    """Return the point of a chart that covers `seconds`: percent, bytes and requests per second, milliseconds; none for what is unknown."""
    found = {**dict(zip(GAUGES, row[1:], strict=False)), "loop_lag": row[LAG], "requests": row[-1] / seconds, "errors": row[ERRORS] / seconds}
    return {name: None if math.isnan(value) else round(value, 2) for name, value in found.items()} | times(row[ERRORS + 1 :], "")


# -- alarms


CHECK = "check:"
"""How the name of an alert begins that a health check raises; its value is 0 for `pass`, 1 for `warn`, 2 for `fail`."""
CHECK_BOUNDS = (0.5, 1.5)


class Rule(NamedTuple):
    """Switch on after so many readings in a row above a bound, off after as many a margin below it; one bound to warn, one that is critical."""

    bounds: tuple[float, float]
    margin: float
    readings: int


class Alarm(NamedTuple):
    on: bool = False
    against: int = 0


def step(alarm: Alarm, rule: Rule, bound: float, value: float) -> Alarm:
    """Return the alarm of one bound after one more reading."""
    against = alarm.against + 1 if (value < bound - rule.margin if alarm.on else value > bound) else 0
    return Alarm(not alarm.on) if against >= rule.readings else Alarm(alarm.on, against)
