"""Outgoing calls as a part."""

from rakiza._kernel import Context, Part

from .service import Outbound
from .settings import OutboundSettings


def part(settings: OutboundSettings, ctx: Context) -> Part:
    """Build the clients' factory."""
    return Part(name="outbound", service=Outbound(settings))
