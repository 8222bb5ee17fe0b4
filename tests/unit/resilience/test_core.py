"""The state machine of the breaker, against a model that remembers everything, and rule by rule."""

import inspect
import json
import re
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rakiza.resilience._core import CLOSED, HALF_OPEN, OPEN, Gradient, Machine, Rules, Ticket

STEPS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 4.0, 10.0, 60.0, 1000.0])
RULES = st.builds(
    Rules,
    window=st.integers(1, 6),
    time_window_seconds=st.sampled_from([0, 0, 1, 3, 5]),
    failure_rate=st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    slow_seconds=st.sampled_from([0.0, 2.0]),
    slow_rate=st.sampled_from([0.4, 1.0]),
    min_calls=st.integers(1, 5),
    open_seconds=st.just(10.0),
    probes=st.integers(1, 3),
    lease_seconds=st.just(4.0),
)
BACK = st.sampled_from([1, 1, 1, 2, 3, 9])
SECONDS = st.sampled_from([0.0, 1.0, 2.0, 3.0])


class Model:
    """Remember every answer of the present state and look at all of them each time."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.now = rules, 100.0
        self.totals = dict.fromkeys(("succeeded", "failed", "slow", "rejected", "ignored", "late", "probes"), 0)
        self.known: dict[int, tuple[int, float]] = {}
        self.era = 0
        self.to(CLOSED)

    def to(self, state: str, seconds: float = 0.0, *, forced: bool = False) -> None:
        if state != HALF_OPEN:
            self.answers: list[tuple[float, bool, bool]] = []
            self.latest = int(self.now)
        self.state, self.until, self.forced, self.good = state, self.now + seconds, forced, 0
        self.era += 1
        self.out: list[int] = []

    def settle(self) -> None:
        if self.forced and self.now >= self.until:
            self.to(HALF_OPEN if self.state == OPEN else CLOSED)

    def enter(self, number: int) -> bool:
        self.settle()
        if self.state == OPEN and self.now >= self.until:
            self.to(HALF_OPEN)
        if self.state == HALF_OPEN:
            self.out = [each for each in self.out if self.now - self.known[each][1] < self.rules.lease_seconds]
            if len(self.out) + self.good >= self.rules.probes:
                self.totals["rejected"] += 1
                return False
            self.out.append(number)
            self.totals["probes"] += 1
        elif self.state == OPEN:
            self.totals["rejected"] += 1
            return False
        self.known[number] = self.era, self.now
        return True

    def counts(self, number: int) -> bool:
        return self.known[number][0] == self.era and (self.state != HALF_OPEN or number in self.out)

    def leave(self, number: int, *, failed: bool, seconds: float) -> None:
        if not self.counts(number):
            self.totals["late"] += 1
            return
        slow = self.rules.slow_seconds > 0 and seconds >= self.rules.slow_seconds
        self.totals["failed" if failed else "succeeded"] += 1
        self.totals["slow"] += slow
        if self.state == HALF_OPEN:
            self.out.remove(number)
            if failed or slow:
                self.to(OPEN, self.rules.open_seconds)
            else:
                self.good += 1
                if self.good == self.rules.probes:
                    self.to(CLOSED)
            return
        self.answers.append((self.now, failed, slow))
        count, failures, slows = self.window()
        enough = count >= (self.rules.min_calls if self.rules.time_window_seconds else min(self.rules.min_calls, self.rules.window))
        if enough and not self.forced and (failures / count >= self.rules.failure_rate or (slows and slows / count >= self.rules.slow_rate)):
            self.to(OPEN, self.rules.open_seconds)

    def window(self) -> tuple[int, int, int]:
        span = self.rules.time_window_seconds
        seen = [each for each in self.answers if int(each[0]) > int(self.now) - span] if span else self.answers[-self.rules.window :]
        return len(seen), sum(each[1] for each in seen), sum(each[2] for each in seen)

    def cancel(self, number: int) -> None:
        if not self.counts(number):
            self.totals["late"] += 1
            return
        self.totals["ignored"] += 1
        if self.state == HALF_OPEN:
            self.out.remove(number)


class AgainstTheModel(RuleBasedStateMachine):
    @initialize(rules=RULES)
    def begin(self, rules: Rules) -> None:
        self.model = Model(rules)
        self.machine = Machine(rules, self.model.now)
        self.number = 0
        self.held: list[tuple[int, Ticket]] = []

    @rule()
    def enter(self) -> None:
        self.number += 1
        passed = self.model.enter(self.number)
        ticket = self.machine.enter(self.model.now)
        assert (ticket is not None) == passed
        if ticket is not None:
            self.held.append((self.number, ticket))

    @precondition(lambda self: self.held)
    @rule(back=BACK, failed=st.booleans(), seconds=SECONDS)
    def leave(self, back: int, failed: bool, seconds: float) -> None:
        number, ticket = self.held.pop(-min(back, len(self.held)))
        self.model.leave(number, failed=failed, seconds=seconds)
        self.machine.leave(ticket, self.model.now, failed, seconds)

    @precondition(lambda self: self.held)
    @rule(back=BACK)
    def cancel(self, back: int) -> None:
        number, ticket = self.held.pop(-min(back, len(self.held)))
        self.model.cancel(number)
        self.machine.cancel(ticket)

    @rule(step=STEPS)
    def wait(self, step: float) -> None:
        self.model.now += step

    @rule()
    def fail_until_it_probes(self) -> None:
        """Get to the half-open state, which random steps seldom reach."""
        for _ in range(6):
            before = len(self.held)
            self.enter()
            if len(self.held) > before:
                self.leave(1, failed=True, seconds=0.0)
        self.wait(10.0)

    @rule(state=st.sampled_from([OPEN, CLOSED]), seconds=st.sampled_from([1.0, 10.0]))
    def force(self, state: str, seconds: float) -> None:
        self.model.to(state, seconds, forced=True)
        self.machine.force(state, self.model.now, seconds, "forced")

    @rule()
    def reset(self) -> None:
        self.model.to(CLOSED)
        self.machine.force(CLOSED, self.model.now, 0.0, "reset")

    @rule(state=st.sampled_from([OPEN, CLOSED]))
    def follow(self, state: str) -> None:
        self.model.settle()
        if not self.model.forced and (state == OPEN or self.model.state != CLOSED):
            self.model.to(state, 5.0)
        self.machine.follow(state, self.model.now, 5.0, "other")

    @invariant()
    def agree(self) -> None:
        self.model.settle()
        era = self.machine.settle(self.model.now)
        assert (era.state, era.forced, era.until) == (self.model.state, self.model.forced, self.model.until)
        assert (len(era.out), era.succeeded) == (len(self.model.out), self.model.good)
        assert {name: getattr(self.machine.totals, name) for name in self.model.totals} == self.model.totals
        window = self.machine.window
        window.advance(self.model.now)
        if self.model.state != HALF_OPEN:
            assert (window.count, window.failures, window.slows) == self.model.window()


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def opened(**given: float) -> tuple[Machine, float]:
    machine = Machine(Rules(**{"window": 4, "min_calls": 2, "open_seconds": 10.0, "lease_seconds": 5.0} | given), 0.0)
    for _ in range(2):
        machine.leave(machine.enter(0.0), 0.0, True, 0.0)
    assert machine.era.state == OPEN
    return machine, 10.0


def test_the_reasons_of_changes_name_what_happened() -> None:
    machine, now = opened(slow_seconds=1.0, slow_rate=0.5)
    machine.leave(machine.enter(now), now, False, 2.0)
    machine.leave(machine.enter(now + 10), now + 10, False, 0.0)
    machine.leave(machine.enter(now + 11), now + 11, False, 1.0)
    machine.leave(machine.enter(now + 11), now + 11, False, 0.5)
    assert [(change.before, change.after, change.why) for change in machine.changes] == [
        (CLOSED, OPEN, "failures"),
        (OPEN, HALF_OPEN, "open_time_over"),
        (HALF_OPEN, OPEN, "probe_slow"),
        (OPEN, HALF_OPEN, "open_time_over"),
        (HALF_OPEN, CLOSED, "probes_succeeded"),
        (CLOSED, OPEN, "slow_calls"),
    ]


@pytest.mark.parametrize("lang", ["ar", "en"])
def test_every_reason_of_a_change_has_a_name_on_the_console(lang: str) -> None:
    source = Path(inspect.getfile(Machine)).read_text(encoding="utf-8")
    reasons = {"forced", "reset", *re.findall(r'"((?:failures|slow_calls|probes?_[a-z]+|open_time_[a-z]+|forced_time_[a-z]+))"', source)}
    assert len(reasons) == 9
    messages = json.loads((Path(__file__).parents[3] / "ui" / "messages" / f"{lang}.json").read_text(encoding="utf-8"))
    assert {reason for reason in reasons if f"resilience.why.{reason}" not in messages} == set()


def test_the_time_to_come_again() -> None:
    machine, now = opened()
    assert (machine.retry_after(0.0), machine.retry_after(7.5), machine.retry_after(99.0)) == (10.0, 2.5, 0.0)
    machine.enter(now)
    assert machine.retry_after(now) == 1.0
    assert opened(lease_seconds=0.5)[0].enter(now) is not None


def test_a_hung_probe_loses_its_place_to_the_next_caller_and_its_answer_is_late() -> None:
    machine, now = opened()
    hung = machine.enter(now)
    assert machine.enter(now + 4.9) is None
    second = machine.enter(now + 5.0)
    assert second is not None
    machine.leave(hung, now + 6, True, 6.0)
    assert (machine.era.state, machine.totals.late) == (HALF_OPEN, 1)
    machine.leave(second, now + 6, False, 1.0)
    assert machine.era.state == CLOSED
    machine.leave(hung, now + 7, True, 7.0)
    assert (machine.era.state, machine.window.count, machine.totals.late) == (CLOSED, 0, 2)


def test_a_probe_that_went_well_makes_no_room_for_another() -> None:
    machine, now = opened(probes=3)
    machine.leave(machine.enter(now), now, False, 0.0)
    assert [machine.enter(now) is not None for _ in range(4)] == [True, True, False, False]


def test_a_probe_answers_once() -> None:
    machine, now = opened(probes=2)
    first = machine.enter(now)
    machine.leave(first, now, False, 0.0)
    machine.leave(first, now, False, 0.0)
    machine.cancel(first)
    assert (machine.era.state, machine.era.succeeded, machine.totals.late) == (HALF_OPEN, 1, 2)


def test_a_long_pause_empties_each_bucket_once() -> None:
    machine = Machine(Rules(time_window_seconds=5, min_calls=100), 0.0)
    for second in range(5):
        machine.leave(machine.enter(second), float(second), second % 2 == 0, 0.0)
    assert (machine.window.count, machine.window.failures) == (5, 3)
    machine.window.advance(1e9)
    assert (machine.window.count, machine.window.failures) == (0, 0)
    machine.leave(machine.enter(1e9), 1e9 - 3, True, 0.0)  # measured before another thread counted a later second
    machine.window.advance(1e9 + 4)
    assert (machine.window.count, machine.window.failures) == (1, 1)
    machine.window.advance(1e9 + 5)
    assert machine.window.count == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0}, {"min_calls": 0}, {"probes": 0}, {"time_window_seconds": -1}, {"slow_seconds": -1.0}, {"slow_seconds": float("nan")},
        {"failure_rate": 0.0}, {"failure_rate": 1.1},
        {"slow_rate": float("nan")}, {"open_seconds": 0.0}, {"lease_seconds": float("nan")},
    ],
)  # fmt: skip
def test_rules_that_cannot_work_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rules(**wrong)


def test_fewer_calls_than_the_least_open_nothing_and_a_small_window_counts_all_it_holds() -> None:
    machine = Machine(Rules(window=3, min_calls=10, failure_rate=1.0), 0.0)
    for _ in range(2):
        machine.leave(machine.enter(0.0), 0.0, True, 0.0)
    assert machine.era.state == CLOSED
    machine.leave(machine.enter(0.0), 0.0, True, 0.0)
    assert machine.era.state == OPEN


def test_a_share_is_compared_exactly() -> None:
    machine = Machine(Rules(window=100, min_calls=100, failure_rate=0.07), 0.0)
    for number in range(100):
        machine.leave(machine.enter(0.0), 0.0, number >= 93, 0.0)
    assert machine.era.state == OPEN


def learnt(limit: Gradient, seconds: float, *, times: int = 1000, busy: float = 1.0) -> float:
    for _ in range(times):
        limit.answered(seconds, int(limit.limit * busy))
    return limit.limit


def test_the_limit_grows_while_answers_are_fast_and_used_and_shrinks_when_they_slow_down() -> None:
    limit = Gradient(20, 2, 100, 1.5)
    assert learnt(limit, 0.01, busy=0.2) == 20.0
    assert learnt(limit, 0.01) == 100.0
    assert learnt(limit, 0.1, times=20) < 60.0
    assert learnt(limit, 0.01, times=3000) == 100.0
    for _ in range(100):
        limit.dropped()
    assert limit.limit == 2.0


def test_answers_that_take_no_time_at_all_divide_nothing() -> None:
    limit = Gradient(20, 2, 100, 1.5)
    assert learnt(limit, 0.0) == 100.0
