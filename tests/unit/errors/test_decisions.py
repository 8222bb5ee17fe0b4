"""What belongs together, which state follows, what is hidden: decisions without I/O, for whatever comes."""

import re
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rakiza.errors._core import HOURS, RECENT, USERS, after, fingerprint, group, hourly, merged, normalise

NAMES = st.text(alphabet=string.ascii_lowercase + "مشروع", min_size=1, max_size=8)
STACK = st.lists(NAMES, min_size=1, max_size=8)
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
STATES = st.sampled_from(["open", "resolved", "ignored", "regressed"])


@given(NAMES, STACK)
def test_the_same_functions_give_the_same_group_and_recursion_counts_once(kind: str, stack: list[str]) -> None:
    assert fingerprint(kind, stack) == fingerprint(kind, stack)
    assert fingerprint(kind, stack) == fingerprint(kind, [*stack, *stack])
    assert fingerprint(kind, stack) == fingerprint(kind, [name for name in stack for _ in range(3)])


@given(NAMES, NAMES, STACK)
def test_another_kind_or_another_function_is_another_group(kind: str, other: str, stack: list[str]) -> None:
    if other != kind:
        assert fingerprint(kind, stack) != fingerprint(other, stack)
    if other not in stack:
        assert fingerprint(kind, stack) != fingerprint(kind, [*stack, other])


@given(st.lists(st.integers(min_value=0), min_size=2, max_size=2), st.uuids(), st.uuids(), st.text(alphabet="abc مشروع", max_size=10))
def test_numbers_ids_and_quoted_texts_do_not_part_messages(numbers: list[int], one: object, two: object, quoted: str) -> None:
    first = normalise(f"فشل المشروع {numbers[0]} ({one}) '{quoted}' 0xff00 2026-01-02")
    assert first == normalise(f"فشل المشروع {numbers[1]} ({two}) 'غيره' 0x17 2025-12-31")
    assert "المشروع" in first
    assert not re.search(r"\d", first)


@given(st.text(max_size=3000))
def test_any_text_has_a_short_normal_form(text: str) -> None:
    assert len(normalise(text)) <= 200


@given(STATES, st.integers(-100, 100))
def test_only_what_was_resolved_comes_back(state: str, minutes: int) -> None:
    changed, seen = START.isoformat(), (START + timedelta(minutes=minutes)).isoformat()
    expected = "regressed" if state == "resolved" and minutes > 0 else state
    assert after(state, changed, seen) == expected
    assert after(after(state, changed, seen), changed, seen) == expected


def seen(minutes: int, user: str | None, number: int = 0) -> dict[str, Any]:
    at = (START + timedelta(minutes=minutes)).isoformat()
    ids = {name: f"{name}{number}" for name in ("request_id", "trace_id", "route", "release")}
    frames = [("/app/a.py", 3, "a:f")]
    return group({"at": at, "kind": "ValueError", "message": f"قيمة {number}", "raised": True, "user_id": user, "frames": frames, **ids}, bool, str)


@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([None, "u1", "u2", "u3"])), min_size=1, max_size=60))
def test_counts_add_up_in_any_order_and_the_bounds_hold(times: list[tuple[int, str | None]]) -> None:
    kept = seen(*times[0])
    for number, (minutes, user) in enumerate(times[1:], 1):
        kept = merged(kept, msgspec.json.decode(msgspec.json.encode(seen(minutes, user, number))))
    moments = [minutes for minutes, _ in times]
    last = START + timedelta(minutes=max(moments))
    assert kept["count"] == len(times)
    assert kept["users"] == len({user for _, user in times} - {None})
    assert (kept["first_seen"], kept["last_seen"]) == ((START + timedelta(minutes=min(moments))).isoformat(), last.isoformat())
    assert len(kept["recent"]) == min(len(times), RECENT)
    hours = hourly(kept["hours"], last.isoformat())
    edge = last.replace(minute=0) - timedelta(hours=HOURS - 1)
    in_time = [one for one in moments if START + timedelta(minutes=one) >= edge]
    assert (len(hours), hours[-1] > 0) == (HOURS, True)
    assert sum(hours) <= len(in_time)


def test_users_are_counted_up_to_a_bound() -> None:
    kept = seen(0, "u")
    for number in range(USERS + 50):
        kept = merged(kept, seen(number, f"مستخدم {number}"))
    assert kept["users"] == len(kept["user_ids"]) == USERS
