"""Aggregates on both databases: saved, read again, as they were, with snapshots that are never needed."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar

import msgspec
import pytest
import sqlalchemy as sa

from rakiza.errors import ConflictError, NotFoundError
from rakiza.events import Aggregate, EventError, EventStore, EventTypes, Repository, VersionConflictError, applies, handles
from rakiza.store import Store
from rakiza.testing import FrozenClock

TYPES = EventTypes()


@TYPES.event_type("account.paid_in")
class PaidIn(msgspec.Struct):
    amount: Decimal


class PayOut(msgspec.Struct):
    amount: Decimal


class Account(Aggregate):
    snapshot_every: ClassVar[int] = 5
    event_types = TYPES
    owner: str = ""
    balance: Decimal = Decimal(0)
    history: list[str] = []  # noqa: RUF012 - each account gets a copy

    def open(self, owner: str) -> None:
        self.record("account.opened", {"owner": owner})

    def pay_in(self, amount: str) -> None:
        self.record(PaidIn(Decimal(amount)))

    @handles(PayOut)
    def pay_out(self, command: PayOut) -> Decimal:
        if command.amount > self.balance:
            raise ConflictError("more than there is")
        self.record("account.paid_out", {"amount": command.amount})
        return self.balance

    @applies("account.opened")
    def _opened(self, data: dict[str, str]) -> None:
        self.owner = data["owner"]

    @applies("account.paid_in")
    def _paid_in(self, data: PaidIn) -> None:
        self.balance += data.amount
        self.history.append(f"+{data.amount}")

    @applies("account.paid_out")
    def _paid_out(self, data: dict[str, str]) -> None:
        self.balance -= Decimal(data["amount"])  # text, also before it is saved
        self.history.append(f"-{data['amount']}")


@pytest.fixture
def accounts(store: Store, clock: FrozenClock) -> Iterator[Repository[Account]]:
    events = EventStore(store, clock=clock, types=TYPES)
    yield Repository(events, Account)
    events.close()


def snapshots(store: Store) -> list[tuple[int, str]]:
    with store.read() as tx:
        return [tuple(row) for row in tx.execute(sa.text("select version, state from rakiza_events_snapshot"))]


def test_state_is_what_the_events_say(accounts: Repository[Account], store: Store) -> None:
    account = accounts.find("A-1")
    account.open("سارة")
    account.pay_in("10.50")
    assert (account.version, len(account.uncommitted)) == (0, 2)
    accounts.save(account, metadata={"note": "first"})
    assert (account.version, account.uncommitted) == (2, [])
    assert accounts.execute("A-1", PayOut(Decimal("0.50"))) == Decimal("10.00")
    again = accounts.get("A-1")
    assert (again.owner, again.balance, again.history, again.version) == ("سارة", Decimal("10.00"), ["+10.50", "-0.50"], 3)
    assert accounts.find("A-2").history == []
    with pytest.raises(ConflictError, match="more than there is"):
        accounts.execute("A-1", PayOut(Decimal(99)))
    with pytest.raises(EventError, match="handles no int"):
        again.handle(7)
    with pytest.raises(NotFoundError):
        accounts.get("nobody")


def test_the_past_can_be_seen(accounts: Repository[Account], clock: FrozenClock) -> None:
    moments = []
    for amount in ("1", "2", "3"):
        accounts.execute("A", lambda account, amount=amount: account.pay_in(amount))
        moments.append(clock.now())
        clock.advance(60)
    assert [accounts.at_version("A", version).balance for version in (1, 2, 3)] == [1, 3, 6]
    assert [accounts.at_time("A", moment).balance for moment in moments] == [1, 3, 6]
    with pytest.raises(NotFoundError, match="has 3 versions, not 4"):
        accounts.at_version("A", 4)
    with pytest.raises(NotFoundError):
        accounts.at_time("A", moments[0] - timedelta(seconds=1))
    with pytest.raises(ValueError, match="no time zone"):
        accounts.at_time("A", moments[0].replace(tzinfo=None))


def test_snapshots_shorten_the_way_and_are_ignored_when_the_code_changed(accounts: Repository[Account], store: Store) -> None:
    for _ in range(12):
        accounts.execute("A", lambda account: account.pay_in("1"))
    assert [version for version, _ in snapshots(store)] == [10]
    with store.begin() as tx:
        tx.execute(sa.text("update rakiza_events_snapshot set state = replace(state, '\"balance\":\"10\"', '\"balance\":\"1000\"')"))
    assert accounts.get("A").balance == 1002  # so the snapshot is really used
    Account.schema_version = 2
    try:
        changed = Repository(accounts._events, Account)
        assert changed.get("A").balance == 12
    finally:
        Account.schema_version = 1


def test_two_at_once_are_told_apart_and_tried_again(accounts: Repository[Account]) -> None:
    first, second = accounts.find("A"), accounts.find("A")
    first.pay_in("1")
    second.pay_in("2")
    accounts.save(first)
    with pytest.raises(VersionConflictError):
        accounts.save(second)

    def pay_ten_times() -> None:
        for _ in range(10):
            accounts.execute("A", lambda account: account.pay_in("1"), attempts=100)

    threads = [threading.Thread(target=pay_ten_times) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert accounts.get("A").balance == 41


def test_an_aggregate_is_saved_with_the_rows_of_its_transaction(accounts: Repository[Account], store: Store) -> None:
    account = accounts.find("A")
    account.pay_in("5")
    with store.begin() as tx:
        accounts.save(account, tx)
    assert accounts.get("A").balance == 5
    account.pay_in("5")
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        accounts.save(account, tx)
        raise ZeroDivisionError
    assert accounts.get("A").balance == 5
    assert (account.version, len(account.uncommitted)) == (1, 1)


def test_an_aggregate_is_not_saved_by_itself_inside_a_transaction(accounts: Repository[Account], store: Store, events: EventStore) -> None:
    account = accounts.find("A-2")
    account.open("سارة")
    with store.begin(), pytest.raises(EventError, match="a transaction is open here"):
        accounts.save(account)
    assert (account.version, events.head()) == (0, 0)
    accounts.save(account)
    assert events.head() == 1


def test_two_saves_in_one_transaction_write_each_event_once(accounts: Repository[Account], store: Store) -> None:
    account = accounts.find("A")
    with store.begin() as tx:
        account.pay_in("5")
        accounts.save(account, tx)
        account.pay_in("2")
        accounts.save(account, tx)
    assert (accounts.get("A").balance, account.version, account.uncommitted, account.handed_in) == (7, 2, [], 0)
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        account.pay_in("1")
        accounts.save(account, tx)
        raise ZeroDivisionError
    accounts.save(account)
    assert accounts.get("A").balance == 8
