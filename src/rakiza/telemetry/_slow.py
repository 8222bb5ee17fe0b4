"""What was slow and what was repeated: bounded tables, the worst of each kind."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import TypeVar

import msgspec

from rakiza._kernel import RequestContext
from rakiza._kernel.clock import wall_seconds

from ._core import method_label, shown_statement
from ._spans import Call

MAX_ROWS = 200
"""Rows of each table; a new one takes the place of the one that was seen least recently."""


class _Seen(msgspec.Struct, kw_only=True):
    route: str
    count: int = 0
    last_at: str = ""
    trace_id: str = ""


class SlowRequest(_Seen, kw_only=True):
    """Say how often requests of one route were slow, and which one was the last."""

    method: str
    max_ms: float = 0.0
    mean_ms: float = 0.0
    request_id: str = ""


class SlowStatement(_Seen, kw_only=True):
    """Say how often one statement was slow, and where it was the last time."""

    statement: str
    max_ms: float = 0.0
    mean_ms: float = 0.0


class RepeatedStatement(_Seen, kw_only=True):
    """Say in how many requests of a route one statement was repeated, and how often at most in one of them."""

    statement: str
    times: int = 0


Row = TypeVar("Row", SlowRequest, SlowStatement, RepeatedStatement)
Table = dict[tuple[str, str], Row]


class Slow:
    """Hold the slow requests, the slow statements and the repeated ones of this process."""

    def __init__(self) -> None:
        self._requests: Table[SlowRequest] = {}
        self._statements: Table[SlowStatement] = {}
        self._repeated: Table[RepeatedStatement] = {}
        self.forget()

    def forget(self) -> None:
        """Take a new lock in a forked child."""
        self._lock = threading.Lock()

    def requests(self) -> list[SlowRequest]:
        """Return the routes with slow requests, the slowest first."""
        return self._sorted(self._requests, "max_ms")

    def statements(self) -> list[SlowStatement]:
        """Return the slow statements, the slowest first."""
        return self._sorted(self._statements, "max_ms")

    def repeated(self) -> list[RepeatedStatement]:
        """Return the statements that ran often in one request, the most often first."""
        return self._sorted(self._repeated, "times")

    def _sorted(self, table: Table[Row], field: str) -> list[Row]:
        with self._lock:
            return sorted(map(msgspec.structs.replace, table.values()), key=attrgetter(field), reverse=True)

    def add_request(self, context: RequestContext, route: str, seconds: float) -> None:
        method = method_label(context.method)
        with self._lock:
            row = _renewed(self._requests, (method, route), lambda: SlowRequest(method=method, route=route), context)
            row.request_id = context.request_id
            _add_time(row, seconds)

    def add_statement(self, text: str, context: RequestContext | None, seconds: float) -> None:
        with self._lock:
            row = _renewed(self._statements, (text, ""), lambda: SlowStatement(statement=text, route=""), context)
            row.route = (context.route or "") if context is not None else ""
            _add_time(row, seconds)

    def add_repeats(self, context: RequestContext, route: str, least: int) -> None:
        """Count the statements that ran at least `least` times in this request."""
        ran = Counter(item.statement for item in context.spans or () if isinstance(item, Call) and item.system != "redis")
        for statement, times in ran.most_common():
            if times < least:
                return
            _, text = shown_statement(statement)
            with self._lock:
                row = _renewed(self._repeated, (text, route), lambda: RepeatedStatement(statement=text, route=route), context)  # noqa: B023 - called at once
                row.times = max(row.times, times)


def _renewed(table: Table[Row], key: tuple[str, str], make: Callable[[], Row], context: RequestContext | None) -> Row:
    """Return the row of a key as the one seen last; the first goes when there are too many."""
    row = table[key] = table.pop(key) if key in table else make()
    if len(table) > MAX_ROWS:
        del table[next(iter(table))]
    row.count += 1
    row.trace_id = context.trace_id if context is not None else ""
    row.last_at = datetime.fromtimestamp(wall_seconds(), UTC).astimezone().isoformat(timespec="milliseconds")
    return row


def _add_time(row: SlowRequest | SlowStatement, seconds: float) -> None:
    took = seconds * 1000
    row.max_ms, row.mean_ms = round(max(row.max_ms, took), 3), round(row.mean_ms + (took - row.mean_ms) / row.count, 3)
