"""The console as a part."""

from rakiza._kernel import Context, Part

from .service import Console
from .settings import ConsoleSettings


def part(settings: ConsoleSettings, ctx: Context) -> Part:
    """Offer the pages of the console."""
    console = Console(settings)
    return Part(name="console", service=console, routes=console.routes())
