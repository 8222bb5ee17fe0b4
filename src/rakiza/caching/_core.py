"""Pure decisions of the cache: names, times, what a stored value looks like, and how good a hit rate is."""

import hashlib
import math
from collections.abc import Sequence

import msgspec

FORMAT = 1
"""The version of what is stored in Redis; a reader takes any other for a miss."""
MAX_KEY_BYTES = 512
JITTER = 0.1
DEFAULT_TTL_SECONDS = 300.0
MAX_TTL_SECONDS = 10 * 365 * 86_400.0
NO_TAGS: tuple[str, ...] = ()


class Lifetime(msgspec.Struct, frozen=True):
    """Say how many seconds a value is fresh, from when on it is refreshed ahead of time, and how long after it may still serve in need."""

    fresh: float
    eager: float
    stale: float


def checked_ttl(seconds: float, name: str = "ttl") -> float:
    """Return the seconds; raise ValueError unless they are above zero and finite, TypeError for no number."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}")
    if not math.isfinite(seconds) or not 0 < seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"{name} must be above 0 and at most ten years in seconds, not {seconds}; use delete() to forget a value at once")
    return float(seconds)


def lifetime(ttl: float, stale_for: float, eager: float | None, chance: float) -> Lifetime:
    """Spread a time to live by up to a tenth, shorter only, so that values written together do not expire together; `chance` lies in [0, 1)."""
    fresh = ttl * (1.0 - JITTER * chance)
    return Lifetime(fresh, fresh * eager if eager is not None else fresh, stale_for)


def checked_key(key: str) -> str:
    """Return the key; raise TypeError for no text, ValueError for an empty or a very long one."""
    if not isinstance(key, str):
        raise TypeError(f"a cache key is a text, not {type(key).__name__}")
    if not key or len(key) > MAX_KEY_BYTES:
        raise ValueError(f"a cache key has 1 to {MAX_KEY_BYTES} characters, not {len(key)}: shorten it, for example by a hash")
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a cache key is a text that can be written as UTF-8, not {key!r}: {error.reason}") from None
    return key


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags, each of which must be what a key must; raise TypeError for a text in place of several."""
    if isinstance(tags, str):
        raise TypeError(f"tags are several texts: write tags=({tags!r},)")
    return tuple(map(checked_key, tags))


def prefix_of(key: str) -> str:
    """Return what stands before the first colon: what statistics are kept by."""
    return key.partition(":")[0]


def schema_of(kind: object) -> str:
    """Return a short hash of what a type looks like on the wire, so that a changed type does not read what an older one wrote."""
    try:
        shape = msgspec.json.encode(msgspec.json.schema(kind), order="deterministic")
    except TypeError:  # types without a JSON schema: their name has to do
        shape = repr(kind).encode()
    return hashlib.blake2b(shape, digest_size=6).hexdigest()


class Stored(msgspec.Struct, array_like=True, frozen=True):
    """Be a value as it stands in Redis: times are milliseconds since the epoch, tokens those its tags had when the value was made."""

    format: int
    schema: str
    created: int
    fresh: int
    stale: int
    tags: tuple[str, ...]
    tokens: tuple[bytes, ...]
    """Of the namespace first, then of each tag."""
    value: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode


def pack(stored: Stored) -> bytes:
    """Return the bytes for Redis."""
    return _encode(stored)


def unpack(raw: bytes | None) -> Stored | None:
    """Return what was stored; none for nothing, for foreign or broken bytes and for another format."""
    if raw is None:
        return None
    try:
        stored = _decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return stored if stored.format == FORMAT else None


def valid(stored: Stored, tokens: Sequence[bytes | None]) -> bool:
    """Tell whether nothing that the value depends on was invalidated since it was made."""
    return None not in tokens and stored.tokens == tuple(tokens)


def verdict(hit_rate: float) -> str:
    """Judge a hit rate in percent by the specified thresholds."""
    return "low" if hit_rate < 70 else "fair" if hit_rate < 80 else "good" if hit_rate < 90 else "excellent"
