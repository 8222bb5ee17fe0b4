"""Values: only what comes back as it was is kept, so that memory and Redis give the same answer."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import msgspec

from ._core import schema_of
from .errors import CacheValueError

HINT = "give type=… (or annotate what the function returns), or keep only plain data"
MAX_DEPTH = 128
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
PLAIN = (bool, int, float, str, bytes, type(None))


class Codec:
    """Turn values of one type into bytes and back; without a type, plain data: texts, numbers, bytes, aware times, lists and dictionaries."""

    __slots__ = ("_read", "kind", "schema")

    def __init__(self, kind: object = None) -> None:
        """Raise TypeError for a type msgspec cannot read."""
        self.kind = kind
        self.schema = "" if kind is None else schema_of(kind)
        self._read: Callable[[bytes | msgspec.Raw], object] = _decode if kind is None else msgspec.msgpack.Decoder(cast("Any", kind)).decode

    def copy(self, key: str, value: object) -> tuple[bytes, object]:
        """Return the bytes of a value and an equal value of its own; raise CacheValueError naming the type that cannot be kept."""
        try:
            raw = _encode(value)
            back = self._read(raw)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise CacheValueError(key, f"{(culprit(value) if self.kind is None else None) or error}; {HINT}") from error
        if self.kind is None and type(value) not in PLAIN and back != value and (found := culprit(value)) is not None:
            raise CacheValueError(key, f"{found}; {HINT}")
        return raw, back

    def read(self, raw: "bytes | msgspec.Raw") -> object:
        """Return the value; raise msgspec.DecodeError (ValidationError) for bytes of another type."""
        try:
            return self._read(raw)
        except (UnicodeDecodeError, RecursionError) as error:
            raise msgspec.DecodeError(str(error)) from None


def culprit(value: object, path: str = "", depth: int = 0) -> str | None:
    """Return where plain data stops being plain and what is there; tuples and sets pass, they come back as lists."""
    if depth > MAX_DEPTH:
        return f"{path or 'it'} is nested deeper than {MAX_DEPTH} or contains itself"
    if isinstance(value, dict):
        for name, item in value.items():
            if type(name) not in {str, int}:
                return f"a key of {path or 'it'} is of the type {type(name).__qualname__}, not text or integer"
            if (found := culprit(item, f"{path}.{name}" if path else str(name), depth + 1)) is not None:
                return found
        return None
    if isinstance(value, (list, tuple, set, frozenset)):
        found_in = (culprit(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(value))
        return next((found for found in found_in if found is not None), None)
    if type(value) in PLAIN:
        return f"{path or 'it'} is {value}, beyond 64 bits" if isinstance(value, int) and not -(2**63) <= value < 2**64 else None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return None
    return f"{path or 'it'} is of the type {type(value).__module__}.{type(value).__qualname__}"
