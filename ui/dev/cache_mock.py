"""The stand-in's cache: keys of a contractor's office under six prefixes, whose times run while one looks; what is evicted is gone and comes back as it is asked for."""

import math
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from datetime import timezone as fixed

RIYADH = fixed(timedelta(hours=3))
LOCK = threading.Lock()
PAGE = 50
# the share of hits, the calls of a minute, the milliseconds of a load, the failed loads
PREFIXES = {"boq": (0.968, 940, 212.4, 0), "user": (0.912, 1420, 3.1, 0), "permissions": (0.884, 610, 5.8, 0), "gantt": (0.742, 64, 1840.0, 3), "sql": (0.563, 220, 48.7, 0), "exchange-rate": (0.41, 9, 2310.5, 17)}
SPANS = {"1h": (3600, 60), "6h": (21_600, 300), "24h": (86_400, 1200)}
REDIS = {"address": "cache-1.internal:6379", "up": True, "last_error": None, "errors": 0, "latency_ms": 0.42}


def now():
    return time.time_ns() / 1e9


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).astimezone(RIYADH).isoformat(timespec="milliseconds")


STARTED = now()
KEYS, COUNTS = {}, {}


def add(key, size, ttl, hits, tags=(), stale=0.0):
    KEYS[key] = {"key": key, "prefix": key.partition(":")[0], "bytes": size, "ends": now() + ttl, "stale": stale, "hits": hits, "tags": list(tags)}


def make():
    rng = random.Random(11)
    for at, project in enumerate(["TOWER-07", "VILLA-01", "METRO-100K", "مجمع-الرياض-السكني-المرحلة-الثانية"]):
        add(f"boq:summary:{project}", 412 + at * 90, 1780 - at * 240, 9210 // (at + 1), [f"project:{project}", "boq"], 3600.0)
        add(f"boq:section:{project}:3.017", 18_400 + at * 2100, 900 - at * 310, 1204 // (at + 1), [f"project:{project}"], 3600.0)
        add(f"gantt:chart:{project}", 148_200 - at * 20_000, 600 - at * 190, 61 // (at + 1), [f"project:{project}", "tenant:7"], 600.0)
    add("boq:export:METRO-100K:civil-works/structural-steel/section-and-subsection-with-a-very-long-unbroken-identifier-412:xlsx:ar", 1_240_000, 310, 2, ["project:METRO-100K", "export"])
    for number in range(1, 61):
        add(f"user:{number}", rng.randint(180, 420), rng.randint(4, 300), rng.randint(0, 900))
        add(f"permissions:{number}", rng.randint(90, 260), rng.randint(4, 300), rng.randint(0, 400), ["permissions"])
    for number in range(40):
        add(f"sql:{random.Random(number).randbytes(10).hex()}", rng.randint(600, 90_000), rng.randint(2, 60), rng.randint(0, 12))
    add("exchange-rate:SAR:USD", 64, -420, 38, [], 3180.0)
    COUNTS.update({name: [int(calls * share * 970), int(calls * (1 - share) * 970)] for name, (share, calls, _, _) in PREFIXES.items()})


def prefix(name):
    share, _, load, errors = PREFIXES[name]
    own = [one for one in KEYS.values() if one["prefix"] == name]
    hits, misses = COUNTS[name]
    stale = sum(one["hits"] for one in own if one["ends"] < now()) + (212 if share < 0.5 else 0)
    return {"prefix": name, "hits": hits, "misses": misses, "hit_rate": round(hits * 100 / max(1, hits + misses), 2), "stale": stale, "loads": misses, "load_ms": load, "errors": errors, "keys": len(own), "bytes": sum(one["bytes"] for one in own)}


def stats():
    rows = [prefix(name) for name in PREFIXES]
    total = {name: sum(row[name] for row in rows) for name in ("hits", "misses", "stale", "loads", "errors", "bytes")}
    asked = total["hits"] + total["misses"]
    return {"cache_type": "redis", "total_keys": len(KEYS) * 8, "hits": total["hits"], "misses": total["misses"], "total_requests": asked, "hit_rate": round(total["hits"] * 100 / max(1, asked), 2),
            "state": "redis", "why": None, "since": iso(STARTED - 262_000), "l1": {"keys": len(KEYS), "bytes": total["bytes"], "max_keys": 10_000, "max_bytes": 64_000_000, "evicted": 1204},
            "stale_served": total["stale"], "loads": total["loads"], "load_errors": total["errors"], "invalidations": 3120, "redis": REDIS}


def history(name):
    span, step = SPANS[name]
    end = int(now()) // step * step
    at = list(range(end - span + step, end + 1, step))
    series = []
    for order, (one, (share, calls, _, _)) in enumerate(PREFIXES.items()):
        wave = lambda tick, salt: 0.05 * math.sin(tick / span * 19 + salt) + random.Random(tick + salt).uniform(-0.03, 0.03)  # noqa: E731
        asked = [int(calls * step / 60 * (0.7 + random.Random(tick * 7 + order).random() * 0.6)) if calls > 20 or tick // step % 3 else 0 for tick in at]
        hit = [int(count * min(1, max(0, share + wave(tick, order)))) for tick, count in zip(at, asked, strict=True)]
        series.append({"prefix": one, "hits": hit, "misses": [count - found for count, found in zip(asked, hit, strict=True)]})
    return {"step_seconds": step, "at": at, "series": series}


def line(one):
    ttl = round(one["ends"] - now(), 1)
    return {**{name: one[name] for name in ("key", "prefix", "bytes", "hits", "tags")}, "ttl_seconds": max(0.0, ttl), "stale_seconds": max(0.0, round(one["stale"] + min(0.0, ttl), 1)), "level": "l1"}


def keys(query):
    words, first = str(query.get("q") or "").lower(), int(query.get("cursor") or 0)
    found = [one for one in KEYS.values() if words in one["key"].lower() and query.get("prefix") in (None, "", one["prefix"])]
    rows = found[first : first + PAGE]
    return {"keys": [line(one) for one in rows], "next": str(first + PAGE) if len(found) > first + PAGE else None, "total": len(found)}


def drop(gone):
    for key in gone:
        del KEYS[key]
    return 200, {"success": True, "evicted": len(gone)}


def evict(body):
    if "key" in body:
        return drop([key for key in KEYS if key == body["key"]])
    if "prefix" in body:
        return drop([key for key, one in KEYS.items() if one["prefix"] == body["prefix"]])
    return drop([key for key, one in KEYS.items() if body["tag"] in one["tags"]])


def tick():
    """Load again what ran out, as callers would."""
    for one in KEYS.values():
        if one["ends"] + one["stale"] < now():
            one["ends"] = now() + 300
            COUNTS[one["prefix"]][1] += 1


def api(method, parts, query, body):
    """Answer what belongs to the room of the cache, or None."""
    with LOCK:
        tick()
        match (method, parts[1:]):
            case ("GET", ["stats"]):
                return 200, stats()
            case ("GET", ["prefixes"]):
                return 200, {"prefixes": [prefix(name) for name in PREFIXES]}
            case ("GET", ["history"]):
                return 200, history(query.get("range", "1h"))
            case ("GET", ["keys"]):
                return 200, keys(query)
            case ("GET", ["misses"]):
                return 200, {"keys": [{"key": f"{name}:{random.Random(at).randbytes(5).hex()}", "misses": 4120 // (at + 1)} for at, name in enumerate(["exchange-rate", "sql", "sql", "gantt", "user", "sql", "sql", "permissions"])]}
            case ("POST", ["evict"]):
                return evict(body)
            case ("POST", ["clear"]):
                KEYS.clear()
                return 200, {"success": True, "message": "Cache cleared successfully"}
    return None


make()
