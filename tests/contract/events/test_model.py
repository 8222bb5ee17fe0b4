"""The store and a reference in memory answer alike, whatever is asked of them in whatever order."""

import asyncio
import base64
import itertools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from rakiza.events import (
    AppendConditionError,
    Appended,
    Condition,
    Event,
    EventError,
    EventIdTakenError,
    EventSettings,
    EventStore,
    Query,
    VersionConflictError,
)
from rakiza.events._personal import PersonalData
from rakiza.store import Store
from rakiza.testing import FrozenClock

EXAMPLES = 12 * int(os.environ.get("RK_TEST_ROUNDS", "1"))  # noqa: TID251 - raised for a long search
TYPES, TAGS, PEOPLE = ("invoice.created", "invoice.paid", "فاتورة.ألغيت"), ("site:7", "موقع", "x"), ("u-1", "سارة")
STREAMS = (("Invoice", "1"), ("Invoice", "٢"), ("Project", "1"))
IDS = tuple(UUID(int=number) for number in range(1, 6))
REFUSALS = (VersionConflictError, EventIdTakenError, AppendConditionError)
numbers = itertools.count()


@dataclass(frozen=True)
class Given:
    """One event as a caller gives it."""

    stream: tuple[str, str]
    event_type: str
    payload: str
    event_id: UUID | None
    expected: int | None
    tags: tuple[str, ...]
    user: str | None
    correlation: str | None

    def written(self, tenant: str) -> dict[str, object]:
        optional = {"event_id": self.event_id, "expected_version": self.expected, "user_id": self.user, "correlation_id": self.correlation}
        known = {key: value for key, value in optional.items() if value is not None}
        names = {"event_type": self.event_type, "aggregate_type": self.stream[0], "aggregate_id": self.stream[1], "tenant": tenant}
        return {**names, "payload": json.loads(self.payload), "tags": list(self.tags), **known}

    def same(self) -> tuple[object, ...]:
        return (self.stream, self.event_type, self.payload, frozenset(self.tags))


@dataclass(frozen=True)
class Kept:
    """One event of the reference."""

    position: int
    version: int
    event_id: str
    given: Given
    at: datetime


@dataclass(frozen=True)
class Wanted:
    """A condition of an append, or a question to the log."""

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    after: int = 0

    def condition(self) -> Condition:
        return Condition(Query(self.types, self.tags), self.after)


class Refusal(Exception):  # noqa: N818 - an outcome of the reference
    """Say which error the store must raise."""


@dataclass
class Reference:
    """What the store promises, in a list."""

    head: int
    kept: list[Kept] = field(default_factory=list)

    def version(self, stream: tuple[str, str]) -> int:
        return sum(one.given.stream == stream for one in self.kept)

    def by_id(self, event_id: UUID | None) -> Kept | None:
        return next((one for one in self.kept if event_id is not None and one.event_id == str(event_id)), None)

    def append(self, events: Sequence[Given], wanted: Wanted | None, at: datetime) -> list[tuple[int, int, bool]]:
        """Return position, version and whether it was there before for each event; raise Refusal and change nothing."""
        found = [self.by_id(one.event_id) for one in events]
        if any(found):
            if not all(old is not None and old.given.same() == new.same() for old, new in zip(found, events, strict=True)):
                raise Refusal(EventIdTakenError)
            return [(old.position, old.version, True) for old in found if old is not None]
        made: list[Kept] = []
        for one in events:
            version = self.version(one.stream) + sum(other.given.stream == one.stream for other in made)
            if one.expected is not None and one.expected != version:
                raise Refusal(VersionConflictError, one.expected, version)
            made.append(Kept(self.head + len(made) + 1, version + 1, str(one.event_id or ""), one, at))
        ids = [one.event_id for one in events if one.event_id is not None]
        if len(set(ids)) < len(ids):
            raise Refusal(EventIdTakenError)
        if wanted is not None and any(self.matches(old, wanted) for old in self.kept):
            raise Refusal(AppendConditionError)
        self.kept += made
        self.head += len(made)
        return [(one.position, one.version, False) for one in made]

    @staticmethod
    def matches(old: Kept, wanted: Wanted) -> bool:
        fits = not wanted.types or old.given.event_type in wanted.types
        return old.position > wanted.after and fits and set(wanted.tags) <= set(old.given.tags)

    def copy(self) -> "Reference":
        return replace(self, kept=list(self.kept))


payloads = st.dictionaries(
    st.sampled_from(["a", "مبلغ"]), st.sampled_from([0, 1, True, False, None, 1.0, -0.0, 2**70, "1", "نص", "\0", [], [1], {"x": 1}]), max_size=2
).map(lambda value: json.dumps(value, sort_keys=True))
tag_sets = st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple)
type_sets = st.lists(st.sampled_from(TYPES), max_size=2, unique=True).map(tuple)
maybe_ids = st.one_of(st.none(), st.none(), st.sampled_from(IDS))
givens = st.builds(
    Given,
    stream=st.sampled_from(STREAMS),
    event_type=st.sampled_from(TYPES),
    payload=payloads,
    event_id=maybe_ids,
    expected=st.one_of(st.none(), st.none(), st.integers(0, 3)),
    tags=tag_sets,
    user=st.one_of(st.none(), st.sampled_from(PEOPLE)),
    correlation=st.one_of(st.none(), st.sampled_from(["c1", "c2"])),
)
backs = st.one_of(st.none(), st.integers(0, 12))
Back = tuple[tuple[str, ...], tuple[str, ...], int]
"""Types, tags and how far behind the head a condition looks."""
conditions = st.one_of(st.none(), st.none(), st.tuples(type_sets, tag_sets, st.integers(0, 3)))


kinds = st.sampled_from(["plain", "kept", "undone"])


class Undone(Exception):  # noqa: N818 - thrown by a business transaction of the test
    """Roll back."""


class Agreement(RuleBasedStateMachine):
    """Ask both the same."""

    def __init__(self, events: EventStore, clock: FrozenClock) -> None:
        """Take a tenant of its own, after whatever the log holds."""
        super().__init__()
        self.events, self.clock = events, clock
        self.tenant = f"مستأجر-{next(numbers)}"
        self.reference = Reference(events.head())
        self.moments = [clock.now()]

    # -- writing

    @rule(event=givens, condition=conditions)
    def append(self, event: Given, condition: Back | None) -> None:
        wanted = self._wanted(condition)
        self._agree([event], wanted, lambda: [self.events.append(event.written(self.tenant), condition=wanted.condition() if wanted else None)])

    @rule(event=givens)
    def append_at_the_right_version(self, event: Given) -> None:
        right = replace(event, expected=self.reference.version(event.stream))
        self._agree([right], None, lambda: [self.events.append(right.written(self.tenant))])

    @rule(events=st.lists(givens, min_size=1, max_size=4), condition=conditions)
    def append_many(self, events: list[Given], condition: Back | None) -> None:
        wanted = self._wanted(condition)
        written = [one.written(self.tenant) for one in events]
        self._agree(events, wanted, lambda: self.events.append_many(written, condition=wanted.condition() if wanted else None))

    @rule(number=st.integers(0, 30), several=st.integers(1, 2), change=st.booleans())
    def repeat(self, number: int, several: int, change: bool) -> None:
        """Write again what is there already, with and without a change."""
        old = [one for one in self.reference.kept if one.given.event_id is not None][number:][:several]
        again = [replace(one.given, expected=0, payload='{"new": 1}' if change else one.given.payload) for one in old]
        if again:
            self._agree(again, None, lambda: self.events.append_many([one.written(self.tenant) for one in again]))

    @rule(appends=st.lists(st.tuples(st.lists(givens, min_size=1, max_size=2), conditions), min_size=2, max_size=6))
    def append_in_one_batch(self, appends: list[tuple[list[Given], Back | None]]) -> None:
        """Tasks of one loop are written together, in the order in which they came."""
        asked = [(events, self._wanted(condition)) for events, condition in appends]

        async def together() -> list[object]:
            calls = [
                self.events.append_many([one.written(self.tenant) for one in events], condition=wanted.condition() if wanted else None)
                for events, wanted in asked
            ]
            return list(await asyncio.gather(*calls, return_exceptions=True))

        for (events, wanted), found in zip(asked, asyncio.run(together()), strict=True):
            self._agree(events, wanted, lambda found=found: _raised(found))

    @rule(steps=st.lists(st.tuples(st.lists(givens, min_size=1, max_size=2), kinds), max_size=4), end=st.booleans())
    def append_in_a_transaction(self, steps: list[tuple[list[Given], str]], end: bool) -> None:
        """Savepoints that are undone take their events with them; the rest is written at the commit, all or none."""
        expected = self.reference.copy()
        outcome: Refusal | None = None
        answers: list[list[tuple[int, int, bool]]] = []
        try:
            answers = [expected.append(events, None, self.clock.now()) for events, kind in steps if kind != "undone"]
        except Refusal as refusal:
            outcome = refusal
        placed: list[Sequence[Appended]] = []
        try:
            self._transact(steps, end, placed)
        except Undone:
            assert not end
        except REFUSALS as error:
            assert end
            _same_refusal(outcome, error)
        else:
            assert end
            assert outcome is None
            self.reference = expected
            assert [[(one.position, one.version, one.duplicate) for one in some] for some in placed] == answers
            self._learn_ids([one for some in placed for one in some])
            return
        assert all((one.position, one.version) == (0, 0) for some in placed for one in some)

    def _transact(self, steps: list[tuple[list[Given], str]], end: bool, placed: list[Sequence[Appended]]) -> None:
        with self.events.store.begin() as tx:
            for events, kind in steps:
                written = [one.written(self.tenant) for one in events]
                if kind == "plain":
                    placed.append(self.events.append_many(written, tx))
                    continue
                try:
                    with tx.savepoint():
                        some = self.events.append_many(written, tx)
                        if kind == "undone":
                            raise Undone
                        placed.append(some)
                except Undone:
                    assert all(one.position == 0 for one in some)
            if not end:
                raise Undone

    @rule(seconds=st.sampled_from([0.000001, 1, -1, 3600]))
    def let_time_pass(self, seconds: float) -> None:
        """Clocks step back, too."""
        self.clock.advance(seconds)
        self.moments.append(self.clock.now())

    # -- reading

    @rule(stream=st.sampled_from(STREAMS), after=st.integers(0, 4))
    def read_a_stream(self, stream: tuple[str, str], after: int) -> None:
        found = self.events.get_events(*stream, from_version=after, tenant=self.tenant)
        self._shown(found, [one for one in self.reference.kept if one.given.stream == stream and one.version > after])

    @rule(
        types=type_sets, tag=st.one_of(st.none(), st.sampled_from(TAGS)), stream=st.one_of(st.none(), st.sampled_from(STREAMS)),
        person=st.one_of(st.none(), st.sampled_from(PEOPLE)), correlation=st.one_of(st.none(), st.just("c1")),
        moments=st.tuples(backs, backs), bounds=st.tuples(backs, backs), limit=st.integers(1, 6), backwards=st.booleans(), awaited=st.booleans(),
    )  # fmt: skip
    def read(self, types, tag, stream, person, correlation, moments, bounds, limit, backwards, awaited) -> None:  # noqa: PLR0917
        since, until = (self._moment(back) for back in moments)
        after, before = (None if back is None else max(0, self.reference.head - back) for back in bounds)
        filters: dict[str, object] = {"user_id": person, "correlation_id": correlation, "tag": tag, "since": since, "until": until}
        filters |= {"event_types": types, "tenant": self.tenant, **({"aggregate_type": stream[0], "aggregate_id": stream[1]} if stream else {})}

        def ask() -> Iterable[Event]:
            return self.events.read(after or 0, before_position=before, limit=limit, backwards=backwards, **filters)

        async def ask_in_a_loop() -> Iterable[Event]:
            return await ask()  # type: ignore[misc]

        def fits(one: Kept) -> bool:
            given = one.given
            named = (not types or given.event_type in types) and (tag is None or tag in given.tags) and (stream is None or given.stream == stream)
            whose = (person is None or given.user == person) and (correlation is None or given.correlation == correlation)
            return named and whose and (since is None or one.at >= since) and (until is None or one.at < until)

        within = [one for one in self.reference.kept if one.position > (after or 0) and (before is None or one.position < before) and fits(one)]
        self._shown(asyncio.run(ask_in_a_loop()) if awaited else ask(), (within[::-1] if backwards else within)[:limit])  # type: ignore[arg-type]

    @rule(size=st.integers(1, 3))
    def read_in_pages(self, size: int) -> None:
        pages = list(self.events.reader.pages(self.events.filter(tenant=self.tenant), size=size))
        assert all(len(page) <= size for page in pages)
        self._shown([one for page in pages for one in page], self.reference.kept)

    @invariant()
    def the_heads_are_one(self) -> None:
        assert self.events.head() == self.reference.head

    def teardown(self) -> None:
        """Compare everything once more."""
        self._shown(self.events.read(limit=5000, tenant=self.tenant), self.reference.kept)

    # -- comparing

    def _wanted(self, condition: Back | None) -> Wanted | None:
        return None if condition is None else Wanted(condition[0], condition[1], max(0, self.reference.head - condition[2]))

    def _moment(self, back: int | None) -> datetime | None:
        return None if back is None else self.moments[-1 - back % len(self.moments)]

    def _agree(self, events: Sequence[Given], wanted: Wanted | None, call: Callable[[], Sequence[Appended]]) -> None:
        try:
            expected = self.reference.append(events, wanted, self.clock.now())
        except Refusal as refusal:
            with pytest.raises(REFUSALS) as caught:
                call()
            _same_refusal(refusal, caught.value)
            return
        found = call()
        assert [(one.position, one.version, one.duplicate) for one in found] == expected
        self._learn_ids(found)

    def _learn_ids(self, placed: Sequence[Appended]) -> None:
        by_position = {one.position: one.event_id for one in placed}
        self.reference.kept = [replace(one, event_id=by_position.get(one.position, one.event_id)) for one in self.reference.kept]

    @staticmethod
    def _shown(found: Iterable[Event], expected: Sequence[Kept]) -> None:
        assert [_seen(one) for one in found] == [_meant(one) for one in expected]


def _raised(found: object) -> Sequence[Appended]:
    if isinstance(found, Exception):
        raise found
    return found  # type: ignore[return-value]


def _same_refusal(refusal: Refusal | None, error: Exception) -> None:
    assert refusal is not None, f"the reference accepts what the store refused: {error}"
    assert refusal.args[0] is type(error)
    if isinstance(error, VersionConflictError):
        assert refusal.args[1:] == (error.expected, error.actual)


def _seen(one: Event) -> tuple[object, ...]:
    names = (one.position, one.version, one.event_id, (one.aggregate_type, one.aggregate_id), one.event_type)
    return (*names, json.dumps(one.payload, sort_keys=True), set(one.tags), one.user_id, one.correlation_id, one.recorded_at)


def _meant(one: Kept) -> tuple[object, ...]:
    given = one.given
    names = (one.position, one.version, one.event_id, given.stream, given.event_type)
    return (*names, given.payload, set(given.tags), given.user, given.correlation, one.at)


def test_the_store_and_the_reference_agree(events: EventStore, clock: FrozenClock) -> None:
    bounds = settings(max_examples=EXAMPLES, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(lambda: Agreement(events, clock), settings=bounds)


def test_equal_numbers_of_other_kinds_are_other_content(events: EventStore, invoice) -> None:
    events.append(invoice(event_id=IDS[0], payload={"n": 1, "in": [{"x": False}]}))
    for other in ({"n": True, "in": [{"x": False}]}, {"n": 1.0, "in": [{"x": False}]}, {"n": 1, "in": [{"x": 0}]}):
        with pytest.raises(EventIdTakenError):
            events.append(invoice(event_id=IDS[0], payload=other))
    assert events.append(invoice(event_id=IDS[0], payload={"in": [{"x": False}], "n": 1})).duplicate


def test_a_repository_in_an_open_transaction_says_so_instead_of_waiting_for_itself(events: EventStore, invoice) -> None:
    with events.store.begin() as tx:
        with pytest.raises(EventError, match="a transaction is open") as caught:
            events.blocking_append([invoice()])
        assert caught.value.stable_code == "event_in_transaction"
        events.blocking_append([invoice()], tx)
    assert events.head() == 1


def test_personal_fields_count_for_the_size_of_an_event(store: Store, invoice) -> None:
    key = base64.b64encode(bytes(32)).decode()
    events = EventStore(store, EventSettings(max_event_bytes=2_000), personal=PersonalData(store, key=key))
    given = invoice(subject="user:7", personal={"name": "س" * 100})
    assert events.append(given).position == 1
    with pytest.raises(EventError, match="at most 2,000") as caught:
        events.append({**given, "personal": {"name": "س" * 1_000}})
    assert caught.value.stable_code == "event_too_large"
    assert events.head() == 1
    events.close()
