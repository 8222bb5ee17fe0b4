"""What is measured: the sides, the tables they take part in, the columns, and the goals as ratios of one run."""

from __future__ import annotations

from benchmarks.cache.traces import SHAPES, SIZES
from benchmarks.turns import ASYNC, Column, Goal, Program

KINDS = ("hit", "l2", "stampede", "ratio", "set", "frozen")
OURS, OURS_REDIS, BARE = "ours", "ours, Redis", "redis-py + msgpack"
MEMORY = frozenset({"hit", "set", "stampede"})
BOUNDED = MEMORY | {"ratio"}
LOCKED = frozenset({"stampede"})
REDIS = frozenset({"l2", "set", "stampede", "frozen"})
STORED = {"redis": True}

PROGRAMS = [
    Program(OURS, "ours", BOUNDED),
    Program(OURS_REDIS, "ours", REDIS | {"hit"}, STORED, base=OURS_REDIS),
    Program("dict", "raw", frozenset({"hit", "set"}), {"kind": "Dictionary"}),
    Program("functools.lru_cache", "raw", MEMORY - {"set"}, {"kind": "Functools"}),
    Program("cachetools LRU, no lock", "peers.cachetools_cache", BOUNDED - {"stampede"}, {"ttl": False, "lock": ""}),
    Program("cachetools TTL, lock", "peers.cachetools_cache", MEMORY, {"ttl": True, "lock": "lock"}),
    Program("cachetools TTL, condition", "peers.cachetools_cache", LOCKED, {"ttl": True, "lock": "condition"}),
    Program("theine", "peers.theine_cache", BOUNDED),
    Program("dogpile.cache memory", "peers.dogpile_cache", MEMORY),
    Program("Flask-Caching simple", "peers.flask_cache", MEMORY),
    Program("cashews memory", "peers.cashews_cache", MEMORY),
    Program("cashews memory, lock", "peers.cashews_cache", LOCKED, {"lock": True}),
    Program("aiocache memory", "peers.aiocache_cache", MEMORY),
    Program("aiocache memory, cached_stampede", "peers.aiocache_cache", LOCKED, {"lock": True}),
    Program(BARE, "raw", frozenset({"hit", "l2", "set", "frozen"}), STORED | {"kind": "Redis"}, base=OURS_REDIS),
    Program("dogpile.cache Redis", "peers.dogpile_cache", REDIS, STORED, base=OURS_REDIS),
    Program("Flask-Caching Redis", "peers.flask_cache", REDIS, STORED, base=OURS_REDIS),
    Program("cashews Redis", "peers.cashews_cache", REDIS, STORED, base=OURS_REDIS),
    Program("cashews Redis, lock", "peers.cashews_cache", LOCKED, STORED | {"lock": True}, base=OURS_REDIS),
    Program("cashews Redis + client side", "peers.cashews_cache", frozenset({"hit", "frozen"}), STORED | {"client_side": True}, base=OURS_REDIS),
    Program("aiocache Redis", "peers.aiocache_cache", REDIS, STORED, base=OURS_REDIS),
    Program("aiocache Redis, cached_stampede", "peers.aiocache_cache", LOCKED, STORED | {"lock": True}, base=OURS_REDIS),
]
PLAIN = {"ours", "raw", "peers.dogpile_cache", "peers.flask_cache"}  # those of the programs on Redis that have plain calls
AWAITED = {"ours", "raw", "peers.cashews_cache", "peers.aiocache_cache"}

TITLES = {
    "hit": "Hits: µs of processor time (times ours)",
    "l2": "Values that lie only in Redis: µs (times ours)",
    "stampede": "One missing key asked for at once: loads, and the time of 4 processes x 25 callers with a load of 0.1 s",
    "ratio": "Hit ratio, % (µs of processor time per access)",
    "set": "Setting known keys: µs (times ours)",
    "frozen": "Redis stands still for 2 s",
}
COLUMNS: dict[str, tuple[Column, ...]] = {
    "hit": (Column("sync_get_cpu", "get"), Column("sync_cached_cpu", "decorator"), Column("async_get_cpu", "await get"),
            Column("async_cached_cpu", "decorator, async")),
    "l2": (Column("sync_one_wall", "get"), Column("sync_one_cpu", "get, CPU"), Column("async_one_wall", "await get"),
           Column("async_one_cpu", "await get, CPU"), Column("async_many_wall", "50 at once"), Column("async_many_cpu", "50 at once, CPU")),
    "stampede": (Column("threads", "100 threads", compared=False), Column("tasks", "100 tasks", compared=False),
                 Column("crowd", "4 x 25 threads", compared=False), Column("crowd_s", "4 x 25 threads, s", compared=False),
                 Column("acrowd", "4 x 25 tasks", compared=False), Column("acrowd_s", "4 x 25 tasks, s", compared=False)),
    "ratio": (*(Column(f"{shape}, {size}", f"{shape}, {size}", compared=False) for shape in SHAPES for size in SIZES), Column("us", "µs/access")),
    "set": (Column("sync_cpu", "set, CPU"), Column("sync_wall", "set"), Column("async_cpu", "await set, CPU"), Column("async_wall", "await set")),
    "frozen": (Column("longest", "longest call, ms", compared=False), Column("later", "longest later than 0.7 s, ms", compared=False),
               Column("calls", "calls answered", compared=False), Column("errors", "exceptions", compared=False),
               Column("hot", "known key served, %", compared=False), Column("back", "Redis read again after, s", compared=False)),
}


def goals() -> list[Goal]:
    """Return what is to be reached."""
    found = [
        Goal("hit", "cashews memory", "async_get_cpu", 15, OURS),
        Goal("hit", BARE, "sync_get_cpu", 75, OURS),
        Goal("hit", "cashews Redis + client side", "async_get_cpu", 1, OURS_REDIS),
    ]
    for column in COLUMNS["ratio"][:-1]:
        found += [Goal("ratio", OURS, column.name, -1, "theine", difference=True),
                  Goal("ratio", OURS, column.name, 5, "cachetools LRU, no lock", difference=True)]
    for row in (OURS, OURS_REDIS):
        found += [Goal("stampede", row, column, 1, test="=") for column in ("threads", "tasks")]
    for column in ("crowd", "acrowd"):
        found += [Goal("stampede", OURS_REDIS, column, 1, test="="), Goal("stampede", OURS_REDIS, f"{column}_s", 0.15, test="<=")]
    for row in (OURS_REDIS, OURS_REDIS + ASYNC):
        found += [Goal("frozen", row, column, wanted, test="<=") for column, wanted in (("longest", 100), ("later", 1), ("errors", 0))]
        found.append(Goal("frozen", row, "hot", 100))
    return found
