"""The ERP as a part of the platform: its tables, its pages, its services."""

from pathlib import Path

import msgspec

from noufal._cache import NoReadCache, PlatformReadCache, ReadCache, UserReads
from noufal._history import EventHistory, History, NoHistory
from noufal.boq import BackgroundImports, Bills, Importer, Spool, Timeline, bill_sums
from noufal.membership import GLOBAL_PERMISSIONS
from noufal.notifications import Summaries
from noufal.projects import Members, Projects
from rakiza._kernel import Context, Migrations, Part
from rakiza.caching import CacheManager
from rakiza.events import EventStore
from rakiza.jobs import Jobs
from rakiza.security import Security
from rakiza.store import Store
from rakiza.web import static_routes

from .settings import NoufalSettings

STATIC = Path(__file__).parent / "static"
SWEEP_SECONDS = 3600.0
PAGES = ("/", "/sign-in", "/account", "/projects", "/projects/{rest:path}")

__all__ = ["Erp", "NoufalSettings", "part"]


class Erp(msgspec.Struct, frozen=True):
    """Hold the services of the ERP."""

    settings: NoufalSettings
    projects: Projects
    members: Members
    bills: Bills
    importer: Importer
    background: BackgroundImports | None
    """None where there is no job queue."""
    timeline: Timeline
    summaries: Summaries


def _cache(ctx: Context, store: Store) -> ReadCache:
    """Return the platform's cache, none where no bus would tell of the changes of other processes."""
    heard = ctx.has("caching") and ctx.has("bus")
    return PlatformReadCache(ctx.need("caching", CacheManager), store) if heard else NoReadCache()


def part(settings: NoufalSettings, ctx: Context) -> Part:
    """Build the ERP's services, tell security its permissions, and offer its pages."""
    store, security = ctx.need("store", Store), ctx.need("security", Security)
    for role, permissions in GLOBAL_PERMISSIONS.items():
        security.define_role(role, permissions)
    history: History = EventHistory(ctx.need("events", EventStore)) if ctx.has("events") else NoHistory()
    cache = _cache(ctx, store)
    security.use_cache(UserReads(cache))
    projects = Projects(store, ctx.clock, ctx.ports.audit, history, bill_sums(), cache=cache)
    members = Members(store, ctx.clock, ctx.ports.audit, projects, security)
    bills = Bills(store, ctx.clock, ctx.ports.audit, projects)
    importer, timeline = Importer(bills), Timeline(bills, security)
    summaries = Summaries(store, ctx.clock, security, ctx.ports, settings.public_url)
    jobs = ctx.need("jobs", Jobs) if ctx.has("jobs") else None
    background = None
    if jobs is not None:
        summaries.serve(jobs)
        background = BackgroundImports(importer, jobs, security, Spool(settings.home / "imports"), limit_bytes=settings.background_import_bytes)
        ctx.supervisor.every("boq-imports-sweep", SWEEP_SECONDS, background.sweep)

    def start() -> None:
        if jobs is not None and background is not None and ctx.works:
            background.sweep()
            summaries.schedule(jobs)

    return Part(
        name="noufal",
        service=Erp(settings, projects, members, bills, importer, background, timeline, summaries),
        needs=("store", "security"),
        migrations=Migrations("noufal.migrations", "noufal"),
        routes=static_routes(STATIC, PAGES),
        start=start,
    )
