"""The bytes of an event that its leaf in the Merkle tree stands for: netstrings in a fixed order, long texts by their SHA-256."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

COLUMNS = (
    "position", "tenant_id", "aggregate_type", "aggregate_id", "version", "event_id", "event_type", "schema_version",
    "payload", "sealed", "metadata", "user_id", "correlation_id", "causation_id", "tags", "recorded_at",
)  # fmt: skip
RawEvent = Sequence[Any]
"""The values of COLUMNS as they are stored: whole numbers, text (times as 27 characters, ids as 36) or none."""

_NUMBERS = frozenset({"position", "version", "schema_version"})
_NULLABLE = frozenset({"sealed", "user_id", "correlation_id", "causation_id", "tags"})
_right: set[tuple[type, ...]] = set()  # kinds of values seen to be right, at most 2 ** len(_NULLABLE)


def leaf_data(row: RawEvent) -> bytes:
    """Return the canonical bytes of a raw event; raise ValueError for a value no writer stores (a blob, invalid UTF-8, a null too many)."""
    if (kinds := tuple(map(type, row))) not in _right:
        _check(kinds)
        _right.add(kinds)
    position, tenant, kind, ident, version, event_id, event_type, schema, payload, sealed, metadata, *rest = row
    head = _nets((str(position), tenant, kind, ident, str(version), event_id, event_type, str(schema)))
    digest = _digest(payload) + (b"-," if sealed is None else _digest(sealed)) + _digest(metadata)
    return b"%b%b%b" % (head, digest, _nets(rest))


def _nets(texts: Sequence[str | None]) -> bytes:
    data = "".join(["-," if text is None else f"{len(text)}:{text}," for text in texts])
    if not data.isascii():  # letters are not bytes
        data = "".join(["-," if text is None else f"{len(text.encode())}:{text}," for text in texts])
    return data.encode()


def _digest(text: str) -> bytes:
    return b"32:" + sha256(text.encode()).digest() + b","


def _check(kinds: tuple[type, ...]) -> None:
    for name, kind in zip(COLUMNS, kinds, strict=True):
        wanted = int if name in _NUMBERS else str
        if kind is not wanted and not (kind is type(None) and name in _NULLABLE):
            raise ValueError(f"{name} is stored as {kind.__name__}, not as {wanted.__name__}")
