"""The decisions of monitoring: quantiles, windows, rollups, alarms, limits of containers."""

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.monitoring._core import (
    ERRORS,
    LAG,
    MAX_ROUTES,
    NONE,
    Alarm,
    Limits,
    Requests,
    Rule,
    by_route,
    combine,
    limits_of,
    quantile,
    shown,
    since,
    step,
    times,
    total,
)
from rakiza.telemetry import BUCKETS, RequestTotals, Telemetry, TelemetrySettings


def counted(*seconds: float) -> RequestTotals:
    """Return the totals of requests that took so long."""
    return RequestTotals(len(seconds), sum(seconds), tuple(sum(each <= bound for each in seconds) for bound in (*BUCKETS, math.inf)))


# -- quantiles


def test_a_quantile_lies_in_its_bucket_in_proportion() -> None:
    buckets = counted(*[0.02] * 50, *[0.2] * 50).buckets
    assert quantile(0.5, buckets) == 0.025
    assert quantile(0.25, buckets) == pytest.approx(0.0175)  # halfway through 0.01 … 0.025
    assert quantile(0.75, buckets) == pytest.approx(0.175)  # halfway through 0.1 … 0.25
    assert quantile(1.0, buckets) == 0.25


def test_what_is_beyond_the_last_bound_is_shown_as_the_last_bound() -> None:
    assert quantile(0.99, counted(60.0, 90.0).buckets) == BUCKETS[-1]


def test_nothing_has_no_quantile() -> None:
    assert times(NONE[2:]) == {"p50_ms": None, "p95_ms": None, "p99_ms": None}


@given(st.lists(st.floats(0.0001, 9.9), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_is_never_further_off_than_its_bucket(seconds: list[float], share: float) -> None:
    found = quantile(share, counted(*seconds).buckets)
    assert found is not None
    true = sorted(seconds)[math.ceil(share * len(seconds)) - 1]
    bounds = (0.0, *BUCKETS)
    at = next(number for number, bound in enumerate(bounds) if true <= bound)
    assert bounds[at - 1] <= found <= bounds[at] + 1e-9


@given(st.lists(st.integers(0, 50), min_size=len(BUCKETS) + 1, max_size=len(BUCKETS) + 1))
def test_higher_quantiles_are_never_lower(counts: list[int]) -> None:
    found = times(list(accumulate(counts)), "")
    assert sum(counts) == 0 or found["p50"] <= found["p95"] <= found["p99"]  # type: ignore[operator]


# -- requests


def test_statuses_of_a_route_are_added_and_5xx_are_errors() -> None:
    own = {("GET", "/_rakiza/api/monitoring/health", 200): counted(0.1)}
    found = by_route({("GET", "/مشاريع", 200): counted(0.01, 0.02), ("GET", "/مشاريع", 503): counted(1.0), **own})
    assert list(found) == [("GET", "/مشاريع")]
    errors, seconds, *buckets = found["GET", "/مشاريع"]
    assert (errors, round(seconds, 2), buckets[-1]) == (1, 1.03, 3)


def test_routes_without_end_are_counted_together() -> None:
    found = by_route({("GET", f"/{number}", 200): counted(0.01) for number in range(MAX_ROUTES + 50)})
    assert len(found) == MAX_ROUTES + 1
    assert found["OTHER", "other"][-1] == 50
    assert total(found)[-1] == MAX_ROUTES + 50


def test_a_difference_forgets_quiet_routes_and_begins_anew_with_the_counter() -> None:
    before = by_route({("GET", "/a", 200): counted(0.1, 0.1), ("GET", "/b", 200): counted(0.1), ("GET", "/c", 200): counted(0.1, 0.2, 0.3)})
    after = by_route({("GET", "/a", 200): counted(0.1, 0.1, 0.4), ("GET", "/b", 200): counted(0.1), ("GET", "/c", 200): counted(0.2)})
    grown = since(before, after)
    assert {route: seen[-1] for (_, route), seen in grown.items()} == {"/a": 1, "/c": 1}
    assert grown["GET", "/a"][1] == pytest.approx(0.4)


def test_a_window_is_as_long_as_it_says() -> None:
    telemetry = Telemetry("noufal", TelemetrySettings(disabled=True))
    requests = Requests(telemetry.request_totals, 0.0)

    def serve(number: int) -> None:
        for _ in range(number):
            context = telemetry.begin("GET", "/مشاريع", "192.0.2.7", None, trusted=False)
            telemetry.finish(context, None, "/مشاريع", 200, 0.03, None, secure=True)

    for minute in range(1, 91):
        serve(minute)
        assert requests.look(minute * 60.0)[-1] == minute
    seconds, routes = requests.window(300)
    assert (seconds, routes["GET", "/مشاريع"][-1]) == (300.0, 86 + 87 + 88 + 89 + 90)
    assert requests.window(3600)[0] == 3600.0
    assert requests.window(7200)[0] == 61 * 60.0  # as far back as it remembers, and it says so
    serve(7)
    requests.restart()
    assert requests.look(5_500.0)[-1] == 0
    assert requests.window(300)[1] == {}


# -- rollups

known = st.floats(0, 1e9, width=32)
rows = st.builds(
    lambda gauges, rest: [1.0, *gauges, *rest],
    st.tuples(*[known] * (LAG - 1), st.one_of(known, st.just(math.nan))),
    st.lists(st.integers(0, 1000), min_size=len(NONE) - 1, max_size=len(NONE) - 1),
)


def same(one: list[float], other: list[float]) -> bool:
    return all((math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(one, other, strict=True))


@given(st.lists(rows, min_size=1, max_size=12), st.data())
def test_rows_may_be_combined_in_any_order_and_in_any_groups(seen: list[list[float]], data: st.DataObject) -> None:
    whole = combine(seen)
    mixed = data.draw(st.permutations(seen))
    cut = data.draw(st.integers(0, len(mixed)))
    parts = [combine(part) for part in (mixed[:cut], mixed[cut:]) if part]
    assert same(combine(parts), whole)


def test_a_point_shows_rates_and_leaves_unknown_values_out() -> None:
    row = [1.0, 12.0, 60.0, 70.0, 1e3, 2e3, 0.0, 0.0, math.nan, 2.0, *counted(*[0.02] * 10).buckets]
    point = shown(row, 5.0)
    assert len(row) == ERRORS + len(NONE) - 1
    assert (point["requests"], point["errors"], point["cpu"], point["net_recv"]) == (2.0, 0.4, 12.0, 2000.0)
    assert (point["disk_read"], point["loop_lag"]) == (0.0, None)
    assert point["p50"] == 17.5


# -- alarms

RULE = Rule((80.0, 90.0), 4.0, 3)
values = st.floats(0, 100)


def run(rule: Rule, readings: list[float], alarm: Alarm | None = None, bound: float = 80.0) -> list[bool]:
    alarm, seen = alarm or Alarm(), []
    for value in readings:
        alarm = step(alarm, rule, bound, value)
        seen.append(alarm.on)
    return seen


def test_an_alarm_waits_for_its_readings_and_for_its_margin() -> None:
    assert run(RULE, [81, 82, 79, 81, 82, 83]) == [False] * 5 + [True]
    assert run(RULE, [75, 77, 75, 75, 75], Alarm(on=True)) == [True] * 4 + [False]


@given(st.lists(st.floats(76, 80), max_size=100), st.booleans())
def test_nothing_changes_between_the_two_thresholds(readings: list[float], on: bool) -> None:
    assert set(run(RULE, readings, Alarm(on=on))) <= {on}


@given(st.lists(values, max_size=200), st.integers(1, 20))
def test_an_alarm_changes_at_most_once_in_its_readings(readings: list[float], needed: int) -> None:
    seen = [False, *run(RULE._replace(readings=needed), readings)]
    changes = [number for number in range(1, len(seen)) if seen[number] != seen[number - 1]]
    assert all(later - earlier >= needed for earlier, later in pairwise(changes))


@given(st.lists(values, max_size=100), st.integers(1, 20), st.booleans())
def test_no_raise_and_no_end_is_lost(readings: list[float], needed: int, high: bool) -> None:
    rule = RULE._replace(readings=needed)
    assert run(rule, [*readings, *[99.0 if high else 1.0] * needed])[-1] is high


@given(st.lists(values, max_size=200))
def test_what_is_critical_is_a_warning_too(readings: list[float]) -> None:
    warning, critical = run(RULE, readings), run(RULE, readings, bound=90.0)
    assert all(low or not high for low, high in zip(warning, critical, strict=True))


# -- containers

FREE = dict.fromkeys(("memory.max", "cpu.max", "memory.current", "memory.stat", "memory.swap.max", "memory.swap.current", "cpu.stat"), "")


def test_the_tightest_of_nested_limits_counts() -> None:
    pod = FREE | {"memory.max": "max\n", "cpu.max": "150000 100000\n", "cpu.stat": "usage_usec 5000000\nuser_usec 1\n"}
    stat = {"memory.stat": "anon 1\ninactive_file 100000000\n", "memory.swap.max": "0\n"}
    inner = {"memory.max": "536870912\n", "memory.current": "400000000\n", **stat}
    assert limits_of([FREE | inner | {"cpu.max": "max 100000\n"}, pod]) == Limits(536870912, 300000000, 0, 0, 1.5, 5.0)


@pytest.mark.parametrize("text", ["", "max", "max 100000", "0 0", "١٠٠ ١٠٠", "-5 100", "100000", "garbage here", "1 2 3 4"])
def test_what_cannot_be_read_limits_nothing(text: str) -> None:
    assert limits_of([FREE | {"memory.max": "max", "cpu.max": text.removesuffix(" 2 3 4")}]) == Limits()


@given(st.dictionaries(st.sampled_from(sorted(FREE)), st.text(max_size=30)))
def test_any_text_in_the_files_is_survived(files: dict[str, str]) -> None:
    found = limits_of([FREE | files])
    assert found.memory_used >= 0
    assert found.cpus is None or found.cpus > 0
