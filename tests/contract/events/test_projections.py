"""What a projection promises, on both databases: exactly once, fenced, poison set aside, rebuilt beside the one that serves."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rakiza.errors import NotFoundError
from rakiza.events import Event, EventError, EventStore, Projection, RebuildRunningError, fold
from rakiza.store import Store, StoreBusyError, Transaction
from rakiza.testing import FrozenClock
from totals import InvoiceTotals, TotalsInMemory, added, invoice, shown


def state(events: EventStore, name: str = "totals") -> dict[str, object]:
    return next(state for state in events.projections() if state["name"] == name)


def fill(events: EventStore, count: int, first: int = 1) -> None:
    events.append_many([invoice(number) for number in range(first, first + count)])


def everything(events: EventStore) -> list[Event]:
    return [event for page in events.reader.pages() for event in page]


def tables(store: Store) -> set[str]:
    with store.read() as tx:
        return {name for name in sa.inspect(tx.connection).get_table_names() if name.startswith("p_")}


def second(store: Store, clock: FrozenClock, projection: Projection) -> EventStore:
    """Return another process's event store, as far as the database can tell."""
    other = EventStore(store, clock=clock)
    other.register_projection(projection)
    return other


def test_a_projection_follows_the_log_and_tells_where_it_stands(events: EventStore, store: Store, clock: FrozenClock) -> None:
    fill(events, 7)
    events.append({**invoice(8), "event_type": "invoice.seen"})
    events.register_projection(InvoiceTotals())
    assert state(events) | {"lag": 8, "status": "stopped", "position": 0, "owner": None} == state(events)
    assert events.catch_up("totals") == 0
    assert shown(store) == added(everything(events)[:7])
    found = state(events)
    seen_at = "2026-01-01T00:00:00.000000Z" if store.dialect == "sqlite" else found["seen_at"]  # there it is the server's time
    assert found == {
        "name": "totals", "kind": "projection", "generation": 1, "position": 8, "lag": 0, "status": "live", "owner": events.followers.ledger.me,
        "seen_at": seen_at, "error": None, "dead_letters": 0, "rebuild": None,
    }  # fmt: skip
    fill(events, 3, first=20)
    assert state(events)["lag"] == 3
    assert events.catch_up() == 0
    assert shown(store) == fold(TotalsInMemory(), everything(events))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    batch=st.integers(1, 9),
    steps=st.lists(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["invoice.created", "invoice.seen"])), max_size=12), max_size=4),
)
def test_the_table_is_the_fold_over_all_events_whatever_the_batches(
    store: Store, clock: FrozenClock, batch: int, steps: list[list[tuple[int, str]]]
) -> None:
    events, projection = EventStore(store, clock=clock), InvoiceTotals()
    projection.batch_events, projection.name = batch, f"property_{id(steps)}x"
    events.register_projection(projection)
    for step in steps:
        events.append_many([invoice(number, kind) for number, kind in step])
        assert events.catch_up() == 0
        assert shown(store, f"p_{projection.name}") == fold(TotalsInMemory(), everything(events))
    if steps:
        events.rebuild_projection(projection.name)
        assert shown(store, f"p_{projection.name}") == fold(TotalsInMemory(), everything(events))
    events.close()


def test_the_background_keeps_a_projection_up_to_date(store: Store) -> None:
    events = EventStore(store)
    events.start()
    events.register_projection(InvoiceTotals())
    for number in range(30):
        events.append(invoice(number))
    wanted, wait = fold(TotalsInMemory(), everything(events)), threading.Event()
    while "p_totals_1" not in tables(store) or shown(store) != wanted:
        wait.wait(0.01)
    events.supervisor.stop()
    events.close()
    assert state(events)["owner"] is None  # given back, so that another need not wait


def test_a_name_must_fit_a_table_and_is_taken_once(events: EventStore) -> None:
    for name in ("", "Totals", "totals; drop table x", "totals_1", "x" * 41, "إجمالي", "1a"):
        projection = InvoiceTotals()
        projection.name = name
        with pytest.raises(EventError, match="cannot be named"):
            events.register_projection(projection)
    events.register_projection(InvoiceTotals())
    with pytest.raises(EventError, match="registered already"):
        events.register_projection(InvoiceTotals())
    for call in (events.catch_up, events.rebuild_projection, events.retry_dead_letters):
        with pytest.raises(NotFoundError, match="nobody"):
            call("nobody")


def test_one_owner_at_a_time_and_another_after_ten_silent_seconds(events: EventStore, store: Store, clock: FrozenClock) -> None:
    events.register_projection(InvoiceTotals())
    other = second(store, clock, InvoiceTotals())
    fill(events, 2)
    assert events.catch_up() == 0
    fill(events, 2, first=9)
    assert other.catch_up() == 2
    assert state(other)["owner"] == events.followers.ledger.me
    if store.dialect == "sqlite":
        clock.advance(9)
    assert other.catch_up() == 2
    silence(store, clock)
    assert state(other)["status"] == "stopped"
    assert other.catch_up() == 0
    assert state(other)["owner"] == other.followers.ledger.me
    fill(events, 1, first=99)
    assert events.catch_up() == 1  # it sees that it is no owner any more
    other.close()
    clock.advance(2)
    assert events.catch_up() == 0
    assert shown(store) == added(everything(events))


def silence(store: Store, clock: FrozenClock) -> None:
    """Let more than ten seconds pass without a word of the owner: on PostgreSQL it is the server's clock that counts."""
    clock.advance(11)
    if store.dialect == "postgresql":
        with store.begin() as tx:
            tx.execute(sa.text("update rakiza_events_checkpoint set seen_at = seen_at - interval '11 seconds'"))


def test_what_two_owners_do_at_once_is_done_once(store: Store, clock: FrozenClock) -> None:
    """Both read the same page; whoever moves the checkpoint second is undone."""
    gate, first = threading.Barrier(2, timeout=30), threading.local()

    class Slow(InvoiceTotals):
        batch_events = 3

    one, two = EventStore(store, clock=clock), EventStore(store, clock=clock)
    for each in (one, two):
        each.register_projection(Slow())
        each.followers.ledger.me = "the same"  # both believe to be the owner: only the fence is left
        real = each.followers.ledger.page

        def page(*args: object, real=real) -> object:
            found = real(*args)
            if not getattr(first, "met", False):
                first.met = True
                gate.wait()
            return found

        each.followers.ledger.page = page  # type: ignore[method-assign, assignment]
    fill(one, 40)
    threads = [threading.Thread(target=each.catch_up) for each in (one, two)]
    one.followers._of("totals").rows()  # made before the race
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    first.met = True
    assert one.catch_up() == 0
    assert shown(store) == added(everything(one))
    one.close()
    two.close()


def test_a_checkpoint_that_was_moved_back_is_refused(events: EventStore, store: Store, clock: FrozenClock) -> None:
    events.register_projection(InvoiceTotals())
    fill(events, 5)
    events.catch_up()
    before = shown(store)
    with store.begin() as tx:
        tx.execute(sa.text("update rakiza_events_checkpoint set position = 0"))
    assert events.catch_up() == 5
    assert "moved back from 5 to 0" in str(state(events)["error"])
    assert (state(events)["status"], shown(store)) == ("failing", before)
    events.rebuild_projection("totals")
    assert (state(events)["status"], shown(store)) == ("live", before)


class Picky(InvoiceTotals):
    """Fail at some invoices until mended; some failures are the database's own."""

    bad: set[int]

    def __init__(self) -> None:
        self.bad, self.tried = {3, 5}, []

    def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
        super().project(tx, events, table)
        for event in events:
            self.tried.append(event.position)
            if event.position in self.bad:
                if event.position == 3:
                    raise ValueError("فاتورة\0 معطوبة")
                tx.execute(sa.text(f"insert into {table} values ('x', null, 1)"))


def test_poison_is_set_aside_after_three_attempts_and_the_rest_goes_on(events: EventStore, store: Store) -> None:
    projection = Picky()
    events.register_projection(projection)
    fill(events, 8)
    assert events.catch_up() == 0
    sound = [event for event in everything(events) if event.position not in {3, 5}]
    assert shown(store) == added(sound)
    assert projection.tried.count(3) == 4  # once in the batch, three times alone
    first, last = events.dead_letters("totals")
    assert (first["position"], first["attempts"], first["event_type"], first["error"]) == (3, 3, "invoice.created", "ValueError: فاتورة\\0 معطوبة")
    assert str(last["error"]).startswith("IntegrityError: ")
    assert "invoices" in str(last["error"])
    assert "\n" not in str(last["error"])  # where the statement and its data would follow
    assert (state(events)["status"], state(events)["dead_letters"]) == ("live", 2)

    projection.bad = {5}
    assert events.retry_dead_letters("totals", [5]) == {"retried": 1, "resolved": 0}
    assert events.dead_letters("totals")[1]["attempts"] == 4
    assert events.retry_dead_letters("totals") == {"retried": 2, "resolved": 1}
    assert shown(store) == added([*sound, everything(events)[2]])
    projection.bad = set()
    assert events.retry_dead_letters("totals", []) == {"retried": 0, "resolved": 0}
    assert events.retry_dead_letters("totals") == {"retried": 1, "resolved": 1}
    assert (shown(store), events.dead_letters("totals")) == (added(everything(events)), [])


def test_trouble_of_the_database_is_not_poison(events: EventStore, store: Store, clock: FrozenClock) -> None:
    class Away(InvoiceTotals):
        away = True

        def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
            if self.away:
                raise StoreBusyError("مشغول")
            super().project(tx, events, table)

    projection = Away()
    events.register_projection(projection)
    fill(events, 4)
    assert events.catch_up() == 4
    assert (state(events)["status"], state(events)["error"], events.dead_letters("totals")) == ("failing", "StoreBusyError: مشغول", [])
    with store.read() as tx:
        assert tx.scalar(sa.text("select error from rakiza_events_checkpoint")) == "StoreBusyError: مشغول"  # so that others see it too
    projection.away = False
    assert events.catch_up() == 4  # not yet
    clock.advance(0.3)
    assert events.catch_up() == 0
    assert (state(events)["status"], state(events)["error"]) == ("live", None)
    assert shown(store) == added(everything(events))


def test_too_many_dead_letters_stop_a_projection_instead_of_filling_the_disk(
    events: EventStore, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rakiza.events._checkpoints.MAX_DEAD_LETTERS", 5)
    projection = Picky()
    projection.bad, projection.batch_events = set(range(100)), 4  # type: ignore[misc]
    events.register_projection(projection)
    fill(events, 20)
    assert events.catch_up() == 16
    assert (state(events)["status"], len(events.dead_letters("totals"))) == ("failing", 4)
    assert "takes no more" in str(state(events)["error"])


def test_a_swallowed_error_is_the_fault_of_the_projection(events: EventStore, store: Store) -> None:
    class Careless(InvoiceTotals):
        def handle(self, tx: Transaction, event: Event, table: str) -> None:
            with contextlib.suppress(sa.exc.IntegrityError):  # on PostgreSQL the transaction is lost by this
                tx.execute(sa.text(f"insert into {table} values ('x', 1, 1)"))

        project = Projection.project

    events.register_projection(Careless())
    fill(events, 3)
    assert events.catch_up() == 0
    assert shown(store) == {"x": (1, 1)}
    assert len(events.dead_letters("totals")) == (2 if store.dialect == "postgresql" else 0)


def test_a_rebuild_goes_on_beside_writers_and_readers_see_no_gap(store: Store) -> None:
    events, stop, wrong = EventStore(store), threading.Event(), []
    projection = InvoiceTotals()
    projection.batch_events = 25  # type: ignore[misc]
    events.register_projection(projection)
    fill(events, 400)
    events.catch_up()
    events.start()
    rounds = 0

    def write() -> None:
        number = 1000
        while not stop.wait(0.005):
            events.append(invoice(number := number + 1))

    def look() -> None:
        nonlocal rounds
        least = 400
        while not stop.wait(0.005):
            try:
                count = sum(invoices for invoices, _ in shown(store).values())
            except sa.exc.DBAPIError as error:
                wrong.append(repr(error))
                return
            if count < least:
                wrong.append(f"{least} invoices, then {count}")
            least, rounds = count, rounds + 1

    threads = [threading.Thread(target=work) for work in (write, look, look)]
    [thread.start() for thread in threads]
    for generation in range(2, 5):
        assert events.rebuild_projection("totals") == generation
    stop.set()
    [thread.join() for thread in threads]
    assert wrong == []
    assert rounds > 5
    events.supervisor.stop()
    events.catch_up()
    assert shown(store) == added(everything(events))
    assert (tables(store), state(events)["generation"]) == ({"p_totals_4"}, 4)
    events.close()


def test_a_reader_that_takes_its_time_delays_the_switch_and_stops_no_other_reader(store: Store) -> None:
    events = EventStore(store)
    events.register_projection(InvoiceTotals())
    fill(events, 5)
    events.catch_up()
    wait, building = threading.Event(), threading.Thread(target=events.rebuild_projection, args=("totals",))
    with store.read() as tx:
        before = tx.execute(sa.text("select * from p_totals order by customer")).all()
        building.start()
        if store.dialect == "postgresql":
            while "StoreBusyError" not in str(state(events)["error"]):
                wait.wait(0.02)
        else:
            building.join()
        assert tx.execute(sa.text("select * from p_totals order by customer")).all() == before
        reader = threading.Thread(target=shown, args=(store,))
        reader.start()
        reader.join()
    building.join()
    assert (state(events)["generation"], state(events)["status"], shown(store)) == (2, "live", added(everything(events)))
    events.close()


def test_a_rebuild_is_told_and_there_is_one_at_a_time(events: EventStore, store: Store, clock: FrozenClock) -> None:
    projection = InvoiceTotals()
    projection.batch_events = 2  # type: ignore[misc]
    events.register_projection(projection)
    fill(events, 9)
    events.catch_up()
    assert events.rebuild_projection("totals", wait=False) == 2
    events.followers._of("totals").turn()
    assert (state(events)["status"], state(events)["rebuild"], state(events)["generation"]) == ("rebuilding", {"generation": 2, "position": 2}, 1)
    for each in (events, second(store, clock, InvoiceTotals())):
        with pytest.raises(RebuildRunningError) as caught:
            each.rebuild_projection("totals")
        assert caught.value.status == 409
    assert events.catch_up() == 0
    assert (state(events)["rebuild"], state(events)["generation"], tables(store)) == (None, 2, {"p_totals_2"})

    async def inside_a_loop() -> int:
        assert await events.catch_up() == 0  # type: ignore[misc]
        return await events.rebuild_projection("totals")  # type: ignore[misc]

    assert asyncio.run(inside_a_loop()) == 3
    assert shown(store) == added(everything(events))


def test_an_abandoned_rebuild_is_continued_by_others_or_begun_anew_when_asked(events: EventStore, store: Store, clock: FrozenClock) -> None:
    fill(events, 10)
    small = InvoiceTotals()
    small.batch_events = 2  # type: ignore[misc]
    dead = second(store, clock, small)
    dead.catch_up()
    dead.rebuild_projection("totals", wait=False)
    dead.followers._of("totals").turn()
    silence(store, clock)  # it died
    events.register_projection(InvoiceTotals())
    assert events.catch_up() == 0
    assert (state(events)["generation"], shown(store)) == (2, added(everything(events)))

    with store.begin() as tx:  # another one died as it began
        tx.execute(sa.text("update rakiza_events_checkpoint set owner = 'dead'"))
    silence(store, clock)
    dead = second(store, clock, InvoiceTotals())
    dead.rebuild_projection("totals", wait=False)
    silence(store, clock)
    assert events.rebuild_projection("totals") == 4
    assert (tables(store), shown(store)) == ({"p_totals_4"}, added(everything(events)))
    dead.close()


def test_a_rebuild_fires_no_effects_and_brings_its_own_dead_letters(events: EventStore, store: Store) -> None:
    class Telling(Picky):
        told: list[int]

        def committed(self, events: Sequence[Event]) -> None:
            self.told += [event.position for event in events]

    projection = Telling()
    projection.told = []
    events.register_projection(projection)
    fill(events, 6)
    events.catch_up()
    assert projection.told == [1, 2, 3, 4, 5, 6]
    projection.bad = {5, 6}
    events.rebuild_projection("totals")
    assert projection.told == [1, 2, 3, 4, 5, 6]
    assert [letter["position"] for letter in events.dead_letters("totals")] == [5, 6]
    assert shown(store) == added(everything(events)[:4])
    with store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from rakiza_events_dead_letter")) == 2


def test_a_new_version_is_built_beside_the_old_which_serves_until_the_switch(events: EventStore, store: Store, clock: FrozenClock) -> None:
    events.register_projection(InvoiceTotals())
    fill(events, 6)
    events.catch_up()

    class ByThousand(InvoiceTotals):
        version = 2
        batch_events = 4

        def create(self, tx: Transaction, table: str) -> None:
            super().create(tx, table)
            tx.execute(sa.text(f"alter table {table} add column note text"))

        def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
            tx.execute(sa.text(f"insert into {table} values (:customer, 1, :sum, 'جديد')"), [
                {"customer": str(event.position), "sum": event.position * 1000} for event in events
            ])  # fmt: skip

    new = second(store, clock, ByThousand())
    new.followers._of("totals").turn()
    assert state(new)["rebuild"] == {"generation": 20_001, "position": 4}
    fill(events, 1, first=50)
    assert events.catch_up() == 0  # the old code keeps the old table
    assert shown(store) == added(everything(events))
    assert new.catch_up() == 0
    assert (shown(store)["7"], state(new)["generation"]) == ((1, 7000), 20_001)
    clock.advance(2)
    assert tables(store) == {"p_totals_20001"}
    fill(events, 1, first=60)
    assert events.catch_up() == 1  # and leaves the new one alone
    new.close()


def test_one_event_at_a_time_needs_no_batch(events: EventStore, store: Store) -> None:
    class Listing(Projection):
        name = "listing"

        def create(self, tx: Transaction, table: str) -> None:
            tx.execute(sa.text(f"create table {table} (position bigint primary key, customer text)"))

        def handle(self, tx: Transaction, event: Event, table: str) -> None:
            tx.execute(sa.text(f"insert into {table} values (:position, :customer)"), {"position": event.position, **_customer(event)})

    events.register_projection(Listing())
    fill(events, 3)
    assert events.catch_up() == 0
    with store.read() as tx:
        assert tx.execute(sa.text("select customer from p_listing order by position")).scalars().all() == [
            event.payload["customer"] for event in everything(events)
        ]


def _customer(event: Event) -> dict[str, object]:
    return {"customer": event.payload["customer"]}


def test_folding_in_memory_takes_each_event_once_and_stops_where_told(events: EventStore) -> None:
    fill(events, 6)
    events.append(invoice(7, "invoice.seen"))
    log = everything(events)
    assert fold(TotalsInMemory(), log) == added(log[:6])
    assert fold(TotalsInMemory(), [*log, *log]) == added(log[:6])
    assert fold(TotalsInMemory(), log, upto_position=2) == added(log[:2])
    assert fold(TotalsInMemory(), []) == {}


def test_a_projection_that_cannot_make_its_table_is_told(events: EventStore, store: Store, clock: FrozenClock) -> None:
    class Broken(InvoiceTotals):
        broken = True

        def create(self, tx: Transaction, table: str) -> None:
            super().create(tx, table)
            if self.broken:
                raise KeyError("عمود")

    projection = Broken()
    events.register_projection(projection)
    fill(events, 1)
    assert events.catch_up() == 1
    assert (state(events)["status"], state(events)["error"]) == ("failing", "KeyError: 'عمود'")
    assert tables(store) == set()
    projection.broken = False
    clock.advance(1)
    assert (events.catch_up(), state(events)["status"]) == (0, "live")



def test_only_the_columns_a_projection_names_are_fetched(events: EventStore, store: Store) -> None:
    class Lean(InvoiceTotals):
        columns = ("aggregate_id", "payload")
        max_attempts = 1

        def project(self, tx: Transaction, events: Sequence[Event], table: str) -> None:
            assert {(event.user_id, event.metadata_text, event.event_id) for event in events} == {(None, None, None)}
            if any(event.aggregate_id == "broken" for event in events):
                raise ValueError("لا يمكن")
            super().project(tx, events, table)

    events.register_projection(Lean())
    fill(events, 5)
    events.append({"event_type": "invoice.created", "aggregate_type": "Invoice", "aggregate_id": "broken", "user_id": "u-1"})
    assert events.catch_up() == 0
    assert shown(store) == added(everything(events)[:5])
    (letter,) = events.dead_letters("totals")
    assert letter["event_id"] == everything(events)[-1].event_id
