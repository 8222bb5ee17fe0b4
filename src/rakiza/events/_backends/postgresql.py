"""The log on PostgreSQL: a batch is one call of one function on a connection of its own; only what that refuses is judged step by step."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import Any

import msgspec

from rakiza.events._core import Append, Appended, NewEvent, Row, Verdict
from rakiza.store import Store, Transaction

from . import SqlLog

CALL = "select first, versions from rakiza_events_append(%s::json, %s, %s, %s)"
REFUSED = ("RK001", "23505")  # an expected version of our function; a unique key
_encode = msgspec.json.Encoder().encode


class PostgresqlLog(SqlLog):
    """Append by one round trip when nothing stands against it, else inside a transaction under the counter's lock."""

    mark, lock, key = "%s", "for update", "%s::uuid"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._held = ExitStack()
        self._connection: Any = None

    def write(self, batch: Sequence[Append], now: datetime) -> list[Verdict]:
        """Write a batch in one commit: at first as if nothing stood against it."""
        if all(append.condition is None for append in batch):
            try:
                return self._at_once(self._open(), batch, now)
            except self.store.driver_error as error:
                if getattr(error, "sqlstate", None) not in REFUSED:
                    raise (self.store.explain(error) or error) from error
                # else some append of the batch does not stand, and nothing of it was written
        with self.store.begin() as tx:
            return self.write_in(tx, batch, now)

    def write_in(self, tx: Transaction, batch: Sequence[Append], now: datetime) -> list[Verdict]:
        """Write in the open transaction: in one round trip when nothing can stand against it, however many streams there are."""
        if any(append.condition or event.expected is not None or event.repeated for append in batch for event in append.events):
            return super().write_in(tx, batch, now)
        return self._at_once(tx.driver_connection, batch, now)

    @staticmethod
    def _at_once(driver: Any, batch: Sequence[Append], now: datetime) -> list[Verdict]:
        events = [event for append in batch for event in append.events]
        first, versions = driver.execute(CALL, _arguments(events, now)).fetchone()
        places = iter(zip(range(first + 1, first + 1 + len(events)), versions, strict=True))
        return [[Appended(*next(places), event.event_id) for event in append.events] for append in batch]

    def _open(self) -> Any:
        if self._connection is None or self._connection.closed:
            self.close()
            self._connection = self._held.enter_context(self.store.raw_connection())
            self._connection.prepare_threshold = 1
        return self._connection

    def insert(self, driver: Any, rows: Sequence[Row], now: datetime) -> None:
        """Insert the rows and move the counter past them."""
        driver.execute(CALL, _arguments([event for _, _, event in rows], now))

    def close(self) -> None:
        """Close the connection; the next write opens one."""
        self._connection = None
        with suppress(self.store.driver_error):
            self._held.close()

    def forget(self) -> None:
        """Leave the connection to the parent of a fork."""
        self.store.leave_to_parent(self._connection)
        self.close()


def _arguments(events: Sequence[NewEvent], now: datetime) -> tuple[str, datetime, bool, bool]:
    expecting, tagged = any(event.expected is not None for event in events), any(event.tags for event in events)
    return _encode(events).decode(), now, expecting, tagged
