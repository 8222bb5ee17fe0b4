"""The pages of the console."""

from pathlib import Path

from rakiza._kernel import PUBLIC, Request, Response, Route
from rakiza.web import static_routes

from .settings import ConsoleSettings

STATIC = Path(__file__).parent / "static"
PREFIX = "/console"
PAGES = (f"{PREFIX}/", f"{PREFIX}/{{rest:path}}")


class Console:
    """Offer the built pages; they carry no data of their own, so whoever may not read the operator API sees only the sign-in form."""

    def __init__(self, settings: ConsoleSettings | None = None, folder: Path = STATIC) -> None:
        self.settings = settings or ConsoleSettings()
        self._folder = folder

    @property
    def built(self) -> bool:
        """Tell whether the pages are there: a package may be made without npm."""
        return (self._folder / "index.html").is_file()

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the pages and of their assets."""
        if not self.settings.enabled:
            return ()
        entrance = Route(method="GET", path=PREFIX, handler=_entrance, permission=PUBLIC, inline=True, quiet=True)
        return (entrance, *static_routes(self._folder, PAGES, PREFIX))


def _entrance(request: Request) -> Response:
    """Send a browser to the first page; links within the pages are relative to the slash."""
    return Response(status=308, headers=[(b"location", request.path.encode() + b"/")])
