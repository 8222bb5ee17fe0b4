"""The cache as a part."""

from functools import partial
from hashlib import blake2b

from rakiza._kernel import Check, CheckResult, Context, Part
from rakiza._kernel.ports import RESTORED
from rakiza.store import Store, epoch_of
from rakiza.telemetry import Telemetry

from .http import routes
from .service import CacheManager
from .settings import CachingSettings

EPOCH_SECONDS = 60.0


def part(settings: CachingSettings, ctx: Context) -> Part:
    """Build the cache: on Redis when the store has its address, else in memory."""
    store = ctx.need("store", Store) if ctx.has("store") else None
    found = store.settings.redis_address if store is not None else ""
    cache = CacheManager(
        use_redis=bool(found) if settings.use_redis is None else settings.use_redis,
        redis_config={"url": found},
        settings=settings,
        namespace=_namespace(ctx.app_name, store),
        clock=ctx.clock,
        pool=ctx.pool,
        supervisor=ctx.supervisor,
        signals=ctx.ports.signals,
        inside=(lambda: store.joinable(writing=False) is not None) if store is not None else None,
    )
    look_again = partial(_follow, cache, store)
    if cache.level is not None:
        task = ctx.supervisor.every("cache-epoch", EPOCH_SECONDS, look_again)
        cache.hearers.append(ctx.ports.signals.hear(RESTORED, lambda _: task.wake(), task.wake))

    def start() -> None:
        look_again()
        cache.start()

    if ctx.has("telemetry"):
        _measure(cache, ctx.need("telemetry", Telemetry))
    check = Check(name="cache", fn=lambda: look(cache), required=False, component_type="datastore")
    return Part(name="caching", service=cache, checks=(check,), routes=routes(cache, ctx.clock, ctx.ports), start=start, stop=cache.close)


def _follow(cache: CacheManager, store: Store | None) -> None:
    """Look which epoch the database is in: at the start, after a restore, and now and then, as the word of one may have been missed."""
    if store is not None and cache.level is not None:
        cache.follow(epoch_of(store))


def _namespace(name: str, store: Store | None) -> str:
    """Return a name that two installations of one application with databases of their own do not share."""
    return f"{name}-{blake2b(store.url.encode(), digest_size=4).hexdigest()}" if store is not None else name


def look(cache: CacheManager) -> CheckResult:
    """Warn while values are kept in memory although they should be shared."""
    if cache.state == "fallback":
        why = cache.why_not or (f"Redis at {cache.level.link.shown} is away: {cache.level.last_error}" if cache.level is not None else "")
        return CheckResult("warn", "in_memory", None, why)
    return CheckResult("pass", cache.state)


def _measure(cache: CacheManager, telemetry: Telemetry) -> None:
    watch, tallies = telemetry.metrics.watch, cache.tallies
    watch("cache_hits", "Lookups that found a value", lambda: tallies.totals().hits)
    watch("cache_misses", "Lookups that found none", lambda: tallies.totals().misses)
    watch("cache_stale_served", "Values served although they were not fresh", lambda: tallies.totals().stale)
    watch("cache_load_errors", "Loads that failed, and values in Redis nobody could read", lambda: tallies.totals().errors)
    watch("cache_memory_keys", "Values in the memory of this process", lambda: len(cache.memory.entries))
    watch("cache_memory_bytes", "About how much memory they take", lambda: cache.memory.bytes)
    watch("cache_redis_up", "1 when Redis is used, 0 when values are kept in memory only", lambda: float(cache.state == "redis"))
