"""The endpoints of the cache: the two specified ones, and what the console shows and does."""

from typing import Literal

import msgspec

from rakiza._kernel import OPS_READ, OPS_WRITE, Clock, Request, Response, Route, json_response
from rakiza._kernel.ports import Ports
from rakiza.errors import ValidationError

from ._core import prefix_of, verdict
from ._memory import Entry
from .service import CacheManager

PAGE = 100
TOP = 50


class KeysQuery(msgspec.Struct):
    """Search the keys in memory."""

    q: str = ""
    prefix: str = ""
    cursor: str = ""


class HistoryQuery(msgspec.Struct):
    """Choose how far back to look."""

    range: Literal["1h", "6h", "24h"] = "1h"


class Eviction(msgspec.Struct):
    """Name what is to be forgotten: one of a key, a prefix or a tag."""

    key: str = ""
    prefix: str = ""
    tag: str = ""


def routes(cache: CacheManager, clock: Clock, ports: Ports) -> tuple[Route, ...]:
    """Return the routes of the cache."""

    def clear(_: Request) -> Response:
        cache.clear()
        ports.audit.record("CACHE_CLEARED", "CLEAR", "cache")
        return json_response({"success": True, "message": "Cache cleared successfully"})

    def evict(request: Request) -> Response:
        asked = request.decode(Eviction)
        if sum(map(bool, (asked.key, asked.prefix, asked.tag))) != 1:
            raise ValidationError("name one of key, prefix and tag", message_ar="حدد واحدا من: المفتاح أو البادئة أو الوسم")
        count = _evict(cache, asked)
        ports.audit.record("CACHE_EVICTED", "EVICT", "cache", {**msgspec.structs.asdict(asked), "evicted": count})
        return json_response({"success": True, "evicted": count})

    def history(request: Request) -> Response:
        return json_response(cache.tallies.history(request.decode_query(HistoryQuery).range, clock.now()))

    def misses(_: Request) -> Response:
        return json_response({"keys": [{"key": key, "misses": count} for key, count in cache.tallies.most_missed(TOP)]})

    def read(path: str, handler: object, summary: str) -> Route:
        return Route(method="GET", path=f"/api/cache/{path}", handler=handler, permission=OPS_READ, summary=summary)  # type: ignore[arg-type]

    return (
        read("stats", lambda _: json_response(stats(cache)), "How the cache does"),
        read("prefixes", lambda _: json_response({"prefixes": prefixes(cache)}), "How the keys of each prefix do"),
        read("history", history, "Hits and misses over time"),
        read("keys", lambda request: json_response(keys(cache, request.decode_query(KeysQuery))), "What is in the memory of this process"),
        read("misses", misses, "The keys most often missed"),
        Route(method="POST", path="/api/cache/clear", handler=clear, permission=OPS_WRITE, summary="Forget everything"),
        Route(method="POST", path="/api/cache/evict", handler=evict, permission=OPS_WRITE, summary="Forget by key or tag", request_type=Eviction),
    )


def _evict(cache: CacheManager, asked: Eviction) -> int:
    if asked.key:
        return int(cache.delete(asked.key))
    if asked.prefix:
        return cache.evict(prefix=asked.prefix)
    before = len(cache.memory.entries)
    cache.invalidate_tag(asked.tag)
    return max(0, before - len(cache.memory.entries))


def stats(cache: CacheManager) -> dict[str, object]:
    """Return the specified numbers, and what more an operator asks."""
    memory, level, total = cache.memory, cache.level, cache.tallies.totals()
    l1 = {"keys": len(memory.entries), "bytes": memory.bytes, "max_keys": memory.max_keys, "max_bytes": memory.max_bytes, "evicted": memory.evicted}
    redis = None
    if level is not None:
        latency = round(level.latency_seconds * 1000, 3)
        redis = {"address": level.link.shown, "up": level.up, "last_error": level.last_error or None, "errors": level.errors, "latency_ms": latency}
    more = {"stale_served": total.stale, "loads": total.loads, "load_errors": total.errors, "invalidations": cache.invalidations}
    specified = cache.get_stats()
    judged = verdict(float(specified["hit_rate"])) if specified["total_requests"] else None
    since = level.changed_at if level is not None else None
    return {**specified, "verdict": judged, "state": cache.state, "why": cache.why_not or None, "since": since, "l1": l1, **more, "redis": redis}


def prefixes(cache: CacheManager) -> list[dict[str, object]]:
    """Return one row for each prefix, the most asked for first."""
    held: dict[str, list[int]] = {}
    for entry in cache.memory.alive(cache.clock.monotonic()):
        row = held.setdefault(entry.tally.prefix, [0, 0])
        row[0] += 1
        row[1] += entry.size
    tallies = sorted(cache.tallies.by_prefix.values(), key=lambda tally: -tally.hits - tally.misses)
    return [
        {
            "prefix": tally.prefix,
            "hits": tally.hits,
            "misses": tally.misses,
            "hit_rate": round(tally.hits / max(1, tally.hits + tally.misses) * 100, 2),
            "stale": tally.stale,
            "loads": tally.loads,
            "load_ms": round(tally.load_seconds / tally.loads * 1000, 2) if tally.loads else None,
            "errors": tally.errors,
            "keys": held.get(tally.prefix, (0, 0))[0],
            "bytes": held.get(tally.prefix, (0, 0))[1],
        }
        for tally in tallies
    ]


def keys(cache: CacheManager, asked: KeysQuery) -> dict[str, object]:
    """Return a page of the keys in memory, in the order of the alphabet."""
    now = cache.clock.monotonic()
    found = sorted(
        (entry for entry in cache.memory.alive(now) if asked.q in entry.key and (not asked.prefix or prefix_of(entry.key) == asked.prefix)),
        key=lambda entry: entry.key,
    )
    page = [entry for entry in found if entry.key > asked.cursor][: PAGE + 1]
    more = page[PAGE - 1].key if len(page) > PAGE else None
    return {"keys": [_key(entry, now) for entry in page[:PAGE]], "next": more, "total": len(found)}


def _key(entry: Entry, now: float) -> dict[str, object]:
    times = {"ttl_seconds": round(max(0.0, entry.fresh - now), 1), "stale_seconds": round(max(0.0, entry.stale - max(now, entry.fresh)), 1)}
    shown = [tag for tag in entry.tags if not tag.endswith("()")]
    return {"key": entry.key, "prefix": prefix_of(entry.key), "bytes": entry.size, **times, "hits": entry.hits, "tags": shown, "level": "l1"}
