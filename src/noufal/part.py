"""The ERP as a part of the platform: its tables, its pages, its services."""

from pathlib import Path

import msgspec

from noufal._history import EventHistory, History, NoHistory
from noufal.boq import Bills, Importer, Timeline, bill_sums
from noufal.membership import GLOBAL_PERMISSIONS
from noufal.projects import Members, Projects
from rakiza._kernel import Context, Migrations, Part
from rakiza.events import EventStore
from rakiza.security import Security
from rakiza.store import Store
from rakiza.web import static_routes

from .settings import NoufalSettings

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/sign-in", "/account", "/projects", "/projects/{rest:path}")

__all__ = ["Erp", "NoufalSettings", "part"]


class Erp(msgspec.Struct, frozen=True):
    """Hold the services of the ERP."""

    settings: NoufalSettings
    projects: Projects
    members: Members
    bills: Bills
    importer: Importer
    timeline: Timeline


def part(settings: NoufalSettings, ctx: Context) -> Part:
    """Build the ERP's services, tell security its permissions, and offer its pages."""
    store, security = ctx.need("store", Store), ctx.need("security", Security)
    for role, permissions in GLOBAL_PERMISSIONS.items():
        security.define_role(role, permissions)
    history: History = EventHistory(ctx.need("events", EventStore)) if ctx.has("events") else NoHistory()
    projects = Projects(store, ctx.clock, ctx.ports.audit, history, bill_sums())
    members = Members(store, ctx.clock, ctx.ports.audit, projects, security)
    bills = Bills(store, ctx.clock, ctx.ports.audit, projects)
    return Part(
        name="noufal",
        service=Erp(settings, projects, members, bills, Importer(bills), Timeline(bills, security)),
        needs=("store", "security"),
        migrations=Migrations("noufal.migrations", "noufal"),
        routes=static_routes(STATIC, PAGES),
    )
