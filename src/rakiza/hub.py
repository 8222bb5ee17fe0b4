"""The Integration Hub: the ordered, explicit list of parts; build, start, stop; nothing clever."""

import importlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, cast

from rakiza import __version__
from rakiza._kernel import SYSTEM_CLOCK, Clock, Context, Migrations, Part, RoomSettings, Route, SettingsError, SettingsReader, adapter, framework_of
from rakiza._kernel.ports import OPS_ADMIN, OPS_READ, OPS_WRITE, PUBLIC, SIGNED_IN, Audit
from rakiza.errors import ErrorTracker
from rakiza.health import Health
from rakiza.logs import Logs
from rakiza.store import Store, migrate
from rakiza.telemetry import Metrics, Telemetry
from rakiza.web import WebSettings

if TYPE_CHECKING:
    from rakiza.security import Security
    from rakiza.web import PassCore

T = TypeVar("T")
Builder = Callable[["RoomSettings", Context], Part]
log = logging.getLogger(__name__)

ROOMS = ("errors", "logs", "telemetry", "store", "health", "security")
"""The rooms in the order in which they start; each has `part` and exactly one settings class in its door."""


class HubSettings(RoomSettings, frozen=True, kw_only=True):
    """Name the application and its place on disk."""

    room: ClassVar[str] = "hub"
    env: ClassVar[dict[str, str]] = {"environment": "APP_ENV"}

    name: str = "app"
    """Name of the application in file names, logs and traces."""
    home: Path = Path("var")
    """Folder of the embedded database and the log files."""
    environment: Literal["production", "development", "test"] = "production"
    """How strict to be: only `development` lets loopback clients read operator pages without a key."""


class Platform:
    """Hold one platform: its parts in order, its services, and the pass around the application."""

    def __init__(self, ctx: Context, web: WebSettings) -> None:
        self.ctx = ctx
        self.web = web
        self.app: object = None
        self._running = False
        self._lock = threading.Lock()
        self._core: PassCore | None = None
        self._errors_for: object = None
        _platforms.add(self)

    # -- services

    def service(self, name: str, kind: type[T]) -> T:
        """Return the service of the part `name`; raise ValueError when there is none of that kind."""
        return self.ctx.need(name, kind)

    @property
    def store(self) -> Store:
        """Return the database."""
        return self.service("store", Store)

    @property
    def security(self) -> "Security":
        """Return users, sessions and permissions."""
        from rakiza.security import Security

        return self.service("security", Security)

    @property
    def health(self) -> Health:
        """Return the health checks."""
        return self.service("health", Health)

    @property
    def errors(self) -> ErrorTracker:
        """Return the captured errors."""
        return self.service("errors", ErrorTracker)

    @property
    def logs(self) -> Logs:
        """Return the log files."""
        return self.service("logs", Logs)

    @property
    def tracer(self) -> Telemetry:
        """Return tracing."""
        return self.service("telemetry", Telemetry)

    @property
    def metrics(self) -> Metrics:
        """Return the metrics registry."""
        return self.tracer.metrics

    @property
    def audit(self) -> Audit:
        """Return the audit port."""
        return self.ctx.ports.audit

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the parts in the order in which they start."""
        return tuple(self.ctx.parts)

    # -- life

    def start(self) -> None:
        """Start every part in order: database and migrations first. Does nothing when already running."""
        with self._lock:
            if self._running:
                return
            for part in self.ctx.parts:
                if part.start is not None:
                    part.start()
                if part.name == "store":
                    migrate(self.store, self.migrations())
            self.ctx.supervisor.start()
            if self.ctx.has("health"):
                self.health.wait()
            self._running = True
            if self._core is not None:
                self._core.start = None

    def shutdown(self) -> None:
        """Stop every part, the last started first; one that fails does not keep the others from stopping."""
        with self._lock:
            if not self._running:
                return
            self._running = False
            self.ctx.supervisor.stop()
            self.ctx.pool.close()
            for part in reversed(self.ctx.parts):
                try:
                    if part.stop is not None:
                        part.stop()
                except Exception:
                    log.exception("part %s did not stop cleanly", part.name)
            if self._core is not None:
                self._core.start = self.start

    def migrations(self) -> list[Migrations]:
        """Return the migrations of every part in order."""
        return [part.migrations for part in self.ctx.parts if part.migrations is not None]

    # -- the application

    def wrap(self, app: object) -> object:
        """Put the pass around `app` and return what a server should call."""
        from rakiza.web import PassCore

        if self._core is not None:
            raise ValueError("this platform stands around an application already; build another platform for another application")
        kind = framework_of(app)
        host = adapter(app)
        routes, conflicts = self._routes(lambda method, path: host.takes(app, method, path))
        for route in conflicts:
            log.warning("%s %s stays the application's; ours is at /_rakiza%s", route.method, route.path, route.path)
        self._core = PassCore(self.web, self.ctx, routes, self.start)
        outer = host.install(app, self._core, self.start, self.shutdown)
        self.app = outer if kind == "asgi" else app
        self._errors_for = app
        return self.app

    def setup_error_handlers(self) -> None:
        """Answer the application's own AppErrors with problem+json; call it after the application's own handlers."""
        if self._errors_for is not None:
            adapter(self._errors_for).handle_errors(self._errors_for)

    def routes(self) -> list[Route]:
        """Return the operator routes of every part."""
        return [route for part in self.ctx.parts for route in part.routes]

    def _routes(self, taken: Callable[[str, str], bool]) -> tuple[list[Route], list[Route]]:
        from rakiza.web import with_prefix

        return with_prefix(self.routes(), taken)


_platforms: "weakref.WeakSet[Platform]" = weakref.WeakSet()


def platform_of(app: object) -> Platform | None:
    """Return the platform that stands around `app` in this process, or none."""
    return next((platform for platform in list(_platforms) if app is not None and platform.app is app), None)


def build(
    settings: Mapping[str, Mapping[str, object]] | None = None,
    *,
    config: Mapping[str, object] | None = None,
    extra: Iterable[str] = (),
    off: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Platform:
    """Build a platform without an application: read the settings, build the parts of the rooms and of the packages in `extra`.

    Raises SettingsError naming the field, its value and where it came from.
    """
    reader = SettingsReader(settings, config, environ)
    hub = reader.read(HubSettings)
    ctx = Context(hub.name, reader, clock, hub.home, hub.environment)
    web = reader.read(WebSettings)
    skipped = set(off)
    unknown = skipped - set(ROOMS)
    if unknown:
        raise SettingsError(f"there is no part {unknown.pop()!r} to switch off; the parts are {', '.join(ROOMS)}")
    for package in (*(f"rakiza.{room}" for room in ROOMS), *extra):
        door = importlib.import_module(package)
        kind = _settings_class(door.__dict__)
        room_settings = reader.read(kind)
        if package.rpartition(".")[2] not in skipped:
            ctx.add(cast("Builder", door.part)(room_settings, ctx))
    reader.check_unknown()
    _check_permissions(ctx)
    _watch(ctx)
    return Platform(ctx, web)


def integrate(app: object, settings: Mapping[str, Mapping[str, object]] | None = None, **parts: Mapping[str, object] | bool) -> Platform:
    """Give `app` (Flask, Starlette, FastAPI, Litestar or any ASGI callable) the whole platform.

    `settings` maps a room to its fields, `parts` does the same by keyword: `logs={"level": "DEBUG"}`, `security=False` switches a part off.
    For a plain ASGI callable serve `platform.app`. Raises SettingsError, TypeError for an application it does not know.
    """
    given: dict[str, dict[str, object]] = {room: dict(fields) for room, fields in (settings or {}).items()}
    for room, fields in parts.items():
        if isinstance(fields, Mapping):
            given.setdefault(room, {}).update(fields)
    off = [room for room, fields in parts.items() if fields is False]
    platform = build(given, config=adapter(app).config(app), off=off)
    platform.wrap(app)
    return platform


def _settings_class(names: Mapping[str, object]) -> type[RoomSettings]:
    found = [kind for kind in names.values() if isinstance(kind, type) and issubclass(kind, RoomSettings) and kind is not RoomSettings]
    if len(found) != 1:
        raise TypeError(f"{names['__name__']} must have exactly one settings class in its door, found {len(found)}")
    return found[0]


def _check_permissions(ctx: Context) -> None:
    """Raise SettingsError for a route whose permission no role gives: nobody could ever use it."""
    known = {PUBLIC, SIGNED_IN, OPS_READ, OPS_WRITE, OPS_ADMIN}
    if ctx.has("security"):
        from rakiza.security import Security

        roles = ctx.need("security", Security).roles
        known = known.union(*(roles.permissions(name) for name in roles.names()))
    for part in ctx.parts:
        for route in part.routes:
            if route.permission not in known:
                raise SettingsError(f"{route.method} {route.path} of the part {part.name!r} asks for {route.permission!r}, which no role gives")


def _watch(ctx: Context) -> None:
    """Hand the checks of every part to health."""
    if ctx.has("health"):
        health = ctx.need("health", Health)
        health.version = __version__
        for part in ctx.parts:
            for check in part.checks:
                health.watch(check)
