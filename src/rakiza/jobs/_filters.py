"""Which jobs an operator asks for: conditions and order in SQL, and the place where a page ends."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, cast

import msgspec
from sqlalchemy import ColumnElement, Text, bindparam, collate, func, or_, text, tuple_
from sqlalchemy import cast as sql_cast

from rakiza.errors import ValidationError

from ._core import CANCELLED, DONE, FAILED, READY, RETRY, RUNNING, TIME
from .tables import IN_LINE, JOB

Asked = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*\Z")]
"""A text that may be compared with what is stored: PostgreSQL refuses NUL."""
Shown = Literal["ready", "delayed", "waiting", "running", "retry", "failed", "done", "cancelled"]
Place = tuple[Any, ...]
"""Where a job stands in the order of a listing."""
MAX_ID = 2**63 - 1
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=MAX_ID)]
_WAITING = JOB.c.waits_for.is_not(None)
_FINISHED = JOB.c.finished_at.is_not(None)
_UPPER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class JobFilter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Choose jobs; what is not said matches everything. `q` is looked for in id, task, arguments and tags."""

    state: Shown | None = None
    queue: Asked = ""
    task: Asked = ""
    tag: Asked = ""
    q: Asked = ""

    @property
    def number(self) -> int | None:
        """Return the id that is meant, none when `q` is no number."""
        found = int(self.q) if self.q.isdecimal() and len(self.q) < 20 else 0
        return found if 0 < found <= MAX_ID else None

    @property
    def counted(self) -> bool:
        """Tell whether the counts of queues and states say how many there are."""
        return not (self.task or self.tag or self.q)


class Order(NamedTuple):
    """Say by which columns a state is listed, in the order of its index."""

    columns: tuple[ColumnElement[Any], ...]
    kinds: type
    backwards: bool = False


_BY_TIME = Order((JOB.c.run_at, JOB.c.id), tuple[Moment, Number])
_NEWEST = Order((JOB.c.finished_at, JOB.c.id), tuple[Moment, Number], backwards=True)
_ORDERS: dict[str | None, Order] = {
    None: Order((JOB.c.id,), tuple[Number], backwards=True),
    READY: Order((JOB.c.queue, JOB.c.priority, JOB.c.run_at, JOB.c.id), tuple[Asked, Number, Moment, Number]),
    "delayed": _BY_TIME,
    RETRY: _BY_TIME,
    "waiting": Order((JOB.c.waits_for, JOB.c.run_at, JOB.c.id), tuple[Asked, Moment, Number]),
    RUNNING: Order((JOB.c.run_at, JOB.c.id), tuple[Moment, Number]),
    FAILED: _NEWEST,
    DONE: _NEWEST,
    CANCELLED: _NEWEST,
}
_ONE_QUEUE = Order((JOB.c.priority, JOB.c.run_at, JOB.c.id), tuple[Number, Moment, Number])
CONDITIONS: dict[str, ColumnElement[bool]] = {
    READY: text(IN_LINE),  # type: ignore[dict-item]
    "delayed": (JOB.c.waits_for == TIME) & _WAITING & (JOB.c.state == READY),
    "waiting": (JOB.c.waits_for < TIME) & _WAITING,  # `handler`, `jobs` and `key`: one range of the index
    RUNNING: text("state = 'running'"),  # type: ignore[dict-item]
    RETRY: (JOB.c.waits_for == TIME) & _WAITING & (JOB.c.state == RETRY),
    FAILED: (JOB.c.state == FAILED) & _FINISHED,
    DONE: (JOB.c.state == DONE) & _FINISHED,
    CANCELLED: (JOB.c.state == CANCELLED) & _FINISHED,
}
"""What makes a job be shown in a state, in the words of the partial indexes."""


def order_of(chosen: JobFilter) -> Order:
    """Return the order of a listing: the next first for what waits, the last first for what has ended."""
    return _ONE_QUEUE if chosen.state == READY and chosen.queue else _ORDERS[chosen.state]


def beyond(order: Order, place: Place, *, upto: bool = False) -> ColumnElement[bool]:
    """Return the condition for what follows a place, or for what comes up to it."""
    given = [bindparam(None, value, type_=column.type) for column, value in zip(order.columns, place, strict=True)]
    mine, there = tuple_(*order.columns), tuple_(*given)
    if upto:
        return mine >= there if order.backwards else mine <= there
    return mine < there if order.backwards else mine > there


def sorting(order: Order) -> list[ColumnElement[Any]]:
    """Return the columns to sort by."""
    return [column.desc() if order.backwards else column for column in order.columns]


def in_state(chosen: JobFilter) -> list[ColumnElement[bool]]:
    """Return the conditions an index answers."""
    found = [CONDITIONS[chosen.state]] if chosen.state else []
    return found + ([JOB.c.queue == chosen.queue] if order_of(chosen) is _ONE_QUEUE else [])


def matching(chosen: JobFilter, dialect: str, tenant: str | None = None) -> list[ColumnElement[bool]]:
    """Return the conditions that must look at each row."""
    find = func.instr if dialect == "sqlite" else func.strpos
    found: list[ColumnElement[bool]] = [JOB.c.tenant_id == tenant] if tenant is not None else []
    found += [JOB.c.queue == chosen.queue] if chosen.queue and order_of(chosen) is not _ONE_QUEUE else []
    found += [JOB.c.task == chosen.task] if chosen.task else []
    if chosen.tag:
        written = msgspec.json.encode(chosen.tag).decode()
        found.append(or_(find(JOB.c.tags, "[" + written) > 0, find(JOB.c.tags, "," + written) > 0))
    if chosen.q:
        columns = [_folded(column, dialect) for column in (JOB.c.task, sql_cast(JOB.c.payload, Text), JOB.c.tags)]
        found.append(or_(*(find(column, word) > 0 for column in columns for word in words(chosen.q))))
    return found


def words(q: str) -> list[str]:
    """Return what is looked for: the text, and the text as JSON writes it."""
    folded = fold(q)
    return list(dict.fromkeys((folded, fold(msgspec.json.encode(q).decode()[1:-1]))))


def fold(value: str) -> str:
    """Return the text with the letters A to Z in lower case, as both databases do it."""
    return value.translate(_UPPER)


def _folded(column: ColumnElement[Any], dialect: str) -> ColumnElement[str]:
    """Fold only ASCII on PostgreSQL as well, whatever its locale."""
    return func.lower(column if dialect == "sqlite" else collate(sql_cast(column, Text), "C"))


def cursor(place: Place | None) -> str | None:
    """Return a place as a text for addresses, none for the end."""
    return None if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def place_of(text_of_place: str, order: Order) -> Place | None:
    """Return the place a text means, none for no text; raise ValidationError for one from elsewhere."""
    if not text_of_place:
        return None
    try:
        found: object = msgspec.json.decode(base64.urlsafe_b64decode(text_of_place + "=" * (-len(text_of_place) % 4)), type=order.kinds)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise ValidationError("after: this is no place in this list", hint="give `next` of the page before, with the same filter") from None
    return cast("Place", found)
