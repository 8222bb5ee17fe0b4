"""What a consumer promises, on both databases: at least once, in order, with pauses after failures, and no event again for a rebuild."""

import asyncio
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from rakiza.events import Consumer, Event, EventError, EventSettings, EventStore
from rakiza.events._checkpoints import Checkpoint
from rakiza.store import Store, StoreUnavailableError
from rakiza.testing import FrozenClock
from totals import CUSTOMERS, InvoiceTotals, invoice


class Receiver:
    """Note what arrives and fail where told."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.failing: dict[int, Exception] = {}

    def __call__(self, event: Event) -> None:
        self.seen.append(event.position)
        if error := self.failing.get(event.position):
            raise error


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def state(events: EventStore, name: str = "webhook") -> dict[str, object]:
    return next(state for state in events.projections() if state["name"] == name)


def fill(events: EventStore, count: int, first: int = 1) -> None:
    events.append_many([invoice(number) for number in range(first, first + count)])


def test_a_consumer_gets_every_event_once_in_order_and_outside_transactions(events: EventStore, store: Store) -> None:
    seen: list[tuple[int, bool, str]] = []
    events.register_consumer(
        Consumer(name="webhook", handler=lambda event: seen.append((event.position, store.in_transaction, str(event.payload["customer"]))))
    )
    fill(events, 250)
    assert state(events) | {"kind": "consumer", "generation": 0, "lag": 250, "status": "stopped"} == state(events)
    assert events.catch_up("webhook") == 0
    assert seen == [(number, False, CUSTOMERS[number % 3]) for number in range(1, 251)]
    fill(events, 2, first=251)
    assert events.catch_up("webhook") == 0
    assert [position for position, _, _ in seen[250:]] == [251, 252]
    assert state(events) | {"status": "live", "lag": 0, "position": 252, "error": None, "rebuild": None} == state(events)


def test_a_consumer_chooses_types_and_may_begin_now(events: EventStore) -> None:
    seen, late = Receiver(), Receiver()
    fill(events, 3)
    events.register_consumer(Consumer(name="paid", handler=seen, event_types=("invoice.paid",)))
    events.register_consumer(Consumer(name="late", handler=late, from_now=True))
    assert events.catch_up() == 0
    events.append_many([invoice(4, "invoice.paid"), invoice(5)])
    assert events.catch_up() == 0
    assert (seen.seen, late.seen) == ([4], [4, 5])
    for name in ("", "Upper", "نص", "x" * 101, "a#2"):
        with pytest.raises(EventError, match="cannot be named"):
            events.register_consumer(Consumer(name=name, handler=seen))


def test_what_a_handler_appends_names_the_event_as_its_cause(events: EventStore) -> None:
    def follow(event: Event) -> None:
        events.append({"event_type": "notice.sent", "aggregate_type": "Notice", "aggregate_id": event.event_id})

    async def follow_async(event: Event) -> None:
        await asyncio.sleep(0)
        await events.append({"event_type": "mail.sent", "aggregate_type": "Mail", "aggregate_id": event.event_id})

    events.register_consumer(Consumer(name="notices", handler=follow, event_types=("invoice.created",)))
    events.register_consumer(Consumer(name="mails", handler=follow_async, event_types=("invoice.created",)))
    events.append({**invoice(1), "tenant": "jubail", "correlation_id": "c-1"})
    events.catch_up()
    assert events.catch_up() == 0  # past what the first pass appended
    first, *caused = events.read(tenant="*")
    assert {event.event_type for event in caused} == {"notice.sent", "mail.sent"}
    assert {(event.causation_id, event.correlation_id, event.tenant) for event in caused} == {(first.event_id, "c-1", "jubail")}


def test_failures_pause_longer_and_longer_and_then_the_event_is_set_aside(events: EventStore, receiver: Receiver, clock: FrozenClock) -> None:
    receiver.failing = {2: ValueError("رفض الخادم")}
    events.register_consumer(Consumer(name="webhook", handler=receiver, max_attempts=4))
    fill(events, 3)
    pauses = []
    for attempt in range(1, 4):
        assert events.catch_up() == 2
        assert receiver.seen == [1] + [2] * attempt
        assert (state(events)["status"], state(events)["error"]) == ("failing", "ValueError: رفض الخادم")
        assert events.catch_up() == 2  # the pause holds
        assert receiver.seen == [1] + [2] * attempt
        pauses.append(0.25 * 2 ** (attempt - 1))
        clock.advance(pauses[-1] - 0.01)
        assert events.catch_up() == 2
        clock.advance(0.02)
    assert events.catch_up() == 0
    assert receiver.seen == [1, 2, 2, 2, 2, 3]
    (letter,) = events.dead_letters("webhook")
    assert (letter["position"], letter["attempts"], letter["error"]) == (2, 4, "ValueError: رفض الخادم")
    assert (state(events)["status"], state(events)["dead_letters"]) == ("live", 1)

    assert events.retry_dead_letters("webhook") == {"retried": 1, "resolved": 0}
    assert events.dead_letters("webhook")[0]["attempts"] == 5
    receiver.failing = {}
    assert events.retry_dead_letters("webhook") == {"retried": 1, "resolved": 1}
    assert receiver.seen[6:] == [2, 2]
    assert events.dead_letters("webhook") == []


def test_each_event_that_fails_begins_with_a_short_pause(events: EventStore, receiver: Receiver, clock: FrozenClock) -> None:
    events.register_consumer(Consumer(name="webhook", handler=receiver))
    fill(events, 6)
    for position in range(1, 7):
        receiver.failing = {position: ValueError("once")}
        assert events.catch_up() == 7 - position
        receiver.failing = {}
        clock.advance(0.26)
    assert events.catch_up() == 0
    assert receiver.seen == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]


def test_while_the_database_is_away_no_attempt_counts(events: EventStore, receiver: Receiver, clock: FrozenClock) -> None:
    receiver.failing = {1: StoreUnavailableError("انقطع")}
    events.register_consumer(Consumer(name="webhook", handler=receiver, max_attempts=2))
    fill(events, 2)
    for _ in range(50):
        assert events.catch_up() == 2
        clock.advance(30)
    assert (receiver.seen, events.dead_letters("webhook")) == ([1] * 50, [])  # the pause is half a minute at most
    receiver.failing = {}
    assert events.catch_up() == 0
    assert receiver.seen[50:] == [1, 2]


def test_an_async_handler_that_fails_is_tried_again(events: EventStore, clock: FrozenClock) -> None:
    tries: list[int] = []

    async def flaky(event: Event) -> None:
        await asyncio.sleep(0)
        tries.append(event.position)
        if len(tries) == 1:
            raise ConnectionError("reset")

    events.register_consumer(Consumer(name="webhook", handler=flaky))
    fill(events, 2)
    assert events.catch_up() == 2
    clock.advance(1)
    assert events.catch_up() == 0
    assert tries == [1, 1, 2]


def test_a_rebuild_of_projections_and_a_restart_fire_nothing_again(store: Store, receiver: Receiver, clock: FrozenClock) -> None:
    for number in range(3):
        events = EventStore(store, clock=clock)
        events.register_projection(InvoiceTotals())
        events.register_consumer(Consumer(name="webhook", handler=receiver))
        fill(events, 4, first=10 * number)
        assert events.catch_up() == 0
        events.rebuild_projection("totals")
        with pytest.raises(EventError, match="fires nothing again"):
            events.rebuild_projection("webhook")
        events.close()
    assert receiver.seen == list(range(1, 13))


def test_the_owner_alone_hands_events_over(store: Store, clock: FrozenClock) -> None:
    seen: list[tuple[str, int]] = []
    one, two = EventStore(store, clock=clock), EventStore(store, clock=clock)
    one.register_consumer(Consumer(name="webhook", handler=lambda event: seen.append(("one", event.position))))
    two.register_consumer(Consumer(name="webhook", handler=lambda event: seen.append(("two", event.position))))
    fill(one, 2)
    assert one.catch_up() == 0
    fill(one, 2, first=3)
    assert two.catch_up() == 2
    one.close()  # gives its claim back
    clock.advance(2)
    assert two.catch_up() == 0
    assert seen == [("one", 1), ("one", 2), ("two", 3), ("two", 4)]
    two.close()


def test_who_takes_over_looks_again_before_it_hands_anything_over(store: Store, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    one, two = EventStore(store, clock=clock), EventStore(store, clock=clock)
    for each in (one, two):
        each.register_consumer(Consumer(name="webhook", handler=lambda event: seen.append(event.position)))
    fill(one, 1)
    one.catch_up()
    fill(one, 3, first=2)
    real = two.followers.ledger.claim

    def claim_late(row: Checkpoint) -> bool:
        one.catch_up()
        one.close()
        return real(row)

    monkeypatch.setattr(two.followers.ledger, "claim", claim_late)
    assert two.catch_up() == 0
    assert seen == [1, 2, 3, 4]
    two.close()


def test_an_owner_that_was_overtaken_moves_nothing(store: Store, clock: FrozenClock) -> None:
    """A handler that slept through its claim may repeat an event, but cannot move the checkpoint of who took over."""
    seen: list[int] = []
    events = EventStore(store, clock=clock)

    def overtaken(event: Event) -> None:
        seen.append(event.position)
        if event.position == 2:
            with store.begin() as tx:
                tx.execute(sa.text("update rakiza_events_checkpoint set owner = 'other', position = 3"))

    events.register_consumer(Consumer(name="webhook", handler=overtaken))
    fill(events, 4)
    assert events.catch_up() == 1
    assert seen == [1, 2]
    assert (state(events)["position"], state(events)["owner"]) == (3, "other")
    events.close()


def test_in_the_background_a_consumer_is_woken_and_stops_between_two_events(store: Store) -> None:
    events, release, seen = EventStore(store, EventSettings(poll_seconds=60)), threading.Semaphore(0), []
    entered = threading.Semaphore(0)

    def slow(event: Event) -> None:
        entered.release()
        assert release.acquire(timeout=30)
        seen.append(event.position)

    events.register_consumer(Consumer(name="webhook", handler=slow))
    events.start()
    fill(events, 3)  # nobody polls for a minute: it is the bus that wakes
    for _ in range(2):
        assert entered.acquire(timeout=30)
        release.release()
    assert entered.acquire(timeout=30)
    events.followers.ledger.closing = True
    release.release()
    events.supervisor.stop()
    assert seen == [1, 2, 3]
    events.followers.ledger.closing = False
    assert state(events)["position"] == 2  # the one at work is repeated
    events.close()


def test_handlers_run_in_threads_of_their_own_and_one_slow_one_holds_up_nobody(store: Store) -> None:
    events, gate, done = EventStore(store), threading.Event(), threading.Event()
    blocked: Callable[[Event], object] = lambda _: gate.wait(30)  # noqa: E731
    events.register_consumer(Consumer(name="slow", handler=blocked))
    events.register_consumer(Consumer(name="quick", handler=lambda _: done.set()))
    events.start()
    fill(events, 1)
    assert done.wait(30)
    gate.set()
    events.supervisor.stop()
    events.close()
