"""The event store as a part."""

from rakiza._kernel import Context, Part
from rakiza.store import Store

from .service import MIGRATIONS, EventStore
from .settings import EventSettings


def part(settings: EventSettings, ctx: Context) -> Part:
    """Build the event store on the platform's database."""
    events = EventStore(ctx.need("store", Store), settings, clock=ctx.clock, supervisor=ctx.supervisor, pool=ctx.pool)
    return Part(name="events", service=events, needs=("store",), migrations=MIGRATIONS, stop=events.close)
