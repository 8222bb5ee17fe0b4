"""The Integration Hub: the ordered, explicit list of parts; build, start, stop; nothing clever."""

import atexit
import importlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, cast

from rakiza import __version__
from rakiza._kernel import (
    SYSTEM_CLOCK,
    Check,
    CheckResult,
    Clock,
    Context,
    Finding,
    Migrations,
    Part,
    Recipe,
    RoomSettings,
    Route,
    SettingsError,
    SettingsReader,
    adapter,
    describe,
    framework_of,
    set_default,
)
from rakiza._kernel.part import MissingPartError
from rakiza._kernel.ports import OPS_ADMIN, OPS_READ, OPS_WRITE, PUBLIC, SIGNED_IN, Audit
from rakiza._kernel.tasks import after_fork
from rakiza.errors import AppError, ErrorTracker
from rakiza.health import Health
from rakiza.logs import Logs
from rakiza.store import Store, current, migrate
from rakiza.telemetry import Metrics, Telemetry
from rakiza.web import WebSettings

if TYPE_CHECKING:
    from rakiza.backup import DatabaseBackup
    from rakiza.caching import CacheManager
    from rakiza.events import AuditTrail, EventStore
    from rakiza.jobs import Jobs
    from rakiza.monitoring import SystemMonitor
    from rakiza.outbound import Outbound
    from rakiza.resilience import Resilience
    from rakiza.security import Security
    from rakiza.web import PassCore

T = TypeVar("T")
Builder = Callable[["RoomSettings", Context], Part]
log = logging.getLogger(__name__)

ROOMS = (
    *("errors", "logs", "telemetry", "store", "bus", "resilience", "health", "outbound", "caching"),
    *("security", "events", "jobs", "monitoring", "mail", "backup", "console"),
)
"""The rooms in the order in which they start; each has `part` and exactly one settings class in its door."""
ALONE: tuple[str, ...] = ("caching", "monitoring", "backup")
"""The rooms an application may take one by one (`init_monitoring(app)`); the others every platform has."""
ALIASES = {"sentry": ("errors", {"dsn": "sentry_dsn"}), "logger": ("logs", {"pretty_print": "pretty"})}
"""The specified groups of `integrate(app, sentry=…, logger=…)`: the room that knows them, and the fields that have another name there."""


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
        self._restart()
        after_fork(self._restart)
        self._core: PassCore | None = None
        self._host: object = None
        _platforms.add(self)
        itself = weakref.ref(self)
        atexit.register(lambda: _shut_down(itself))

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
    def events(self) -> "EventStore":
        """Return the event store."""
        from rakiza.events import EventStore

        return self.service("events", EventStore)

    @property
    def jobs(self) -> "Jobs":
        """Return the job queue."""
        from rakiza.jobs import Jobs

        return self.service("jobs", Jobs)

    @property
    def cache(self) -> "CacheManager":
        """Return the cache."""
        from rakiza.caching import CacheManager

        return self.service("caching", CacheManager)

    @property
    def backups(self) -> "DatabaseBackup":
        """Return the backups of the database."""
        from rakiza.backup import DatabaseBackup

        return self.service("backup", DatabaseBackup)

    @property
    def monitor(self) -> "SystemMonitor":
        """Return the monitor of machine and requests."""
        from rakiza.monitoring import SystemMonitor

        return self.service("monitoring", SystemMonitor)

    @property
    def resilience(self) -> "Resilience":
        """Return circuit breakers and limits as operators see them."""
        from rakiza.resilience import Resilience

        return self.service("resilience", Resilience)

    @property
    def health(self) -> Health:
        """Return the health checks."""
        return self.service("health", Health)

    @property
    def outbound(self) -> "Outbound":
        """Return the clients' factory for calls to other services."""
        from rakiza.outbound import Outbound

        return self.service("outbound", Outbound)

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
    def audit(self) -> "Audit | AuditTrail":
        """Return the audit trail: `record`, and with the part events `search`, `verify`, `export`, `erase`; without it the audit port."""
        trail = self.events.trail if self.ctx.has("events") else None
        return trail or self.ctx.ports.audit

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
            set_default(self.ctx, running=True)
            self._running = True
            if self._core is not None:
                self._core.start = None

    def shutdown(self) -> None:
        """Stop every part, the last started first; one that fails does not keep the others from stopping."""
        with self._lock:
            if not self._running:
                return
            self._running = False
            self._end("drain")
            self.ctx.supervisor.stop()
            self.ctx.pool.close()
            self._end("stop")
            self.ctx.local.close()
            set_default(self.ctx, running=False)
            if self._core is not None:
                self._core.start = self.start

    def _restart(self) -> None:
        self._lock = threading.RLock()  # a signal may shut down while its own thread starts

    def _end(self, how: Literal["drain", "stop"]) -> None:
        for part in reversed(self.ctx.parts):
            try:
                if (work := part.drain if how == "drain" else part.stop) is not None:
                    work()
            except Exception:
                log.exception("part %s did not %s cleanly", part.name, how)

    def examine(self, *, deep: bool = False) -> Iterator[Finding]:
        """Look at everything that would hurt in production, started or not, at what is slow only when `deep`; a look that fails is a finding."""
        for part in self.ctx.parts:
            try:
                yield from part.examine(deep) if part.examine is not None else ()
            except AppError as error:
                yield Finding(part.name, "fail", error.detail, error.hint or "")
            except Exception as error:  # noqa: BLE001 - border: observer hook
                yield Finding(part.name, "fail", f"{type(error).__name__}: {describe(error)}".partition("\n")[0], "read the first finding that fails")

    def migrations(self) -> list[Migrations]:
        """Return the migrations of every part in order."""
        return [part.migrations for part in self.ctx.parts if part.migrations is not None]

    def add(self, room: str) -> object:
        """Take in one more room of the platform, started at once when the platform runs, and return its service. Does nothing when it is there."""
        with self._lock:
            if not self.ctx.has(room):
                part = _part(f"rakiza.{room}", self.ctx)
                _check_permissions(self.ctx)
                _watch(self.ctx, part)
                if self._running and part.migrations is not None:
                    migrate(self.store, self.migrations())
                if self._running and part.start is not None:
                    part.start()
                if self._core is not None:
                    self._core.router.add(self._routes(part.routes))
                if self._running and self.ctx.has("health"):
                    self.health.wait()
            return self.ctx.need(room, object)

    # -- the application

    def wrap(self, app: object) -> object:
        """Put the pass around `app` and return what a server should call."""
        from rakiza.web import PassCore

        if self._core is not None:
            raise ValueError("this platform stands around an application already; build another platform for another application")
        self._host = app
        self._core = PassCore(self.web, self.ctx, self._routes(self.routes()), self.start)
        self._core.platform = self
        outer = adapter(app).install(app, self._core, self.start, self.shutdown)
        self.app = outer if framework_of(app) == "asgi" else app
        return self.app

    def setup_error_handlers(self) -> None:
        """Answer the application's own AppErrors with problem+json; call it after the application's own handlers."""
        if self._host is not None:
            adapter(self._host).handle_errors(self._host)

    def routes(self) -> list[Route]:
        """Return the operator routes of every part."""
        return [route for part in self.ctx.parts for route in part.routes]

    def _routes(self, routes: Iterable[Route]) -> list[Route]:
        """Return the routes under their names and under the prefix; a path the application has stays the application's."""
        from rakiza.web import with_prefix

        host = adapter(self._host)
        kept, conflicts = with_prefix(routes, lambda method, path: host.takes(self._host, method, path))
        for route in conflicts:
            log.warning("%s %s stays the application's; ours is at /_rakiza%s", route.method, route.path, route.path)
        return kept


_platforms: "weakref.WeakSet[Platform]" = weakref.WeakSet()


def _shut_down(platform: "weakref.ref[Platform]") -> None:
    """End what still runs when the process does: buffered lines are written."""
    found = platform()
    if found is not None:
        found.shutdown()


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
    ctx.extra, ctx.off = tuple(extra), frozenset(skipped)
    for package in (*(f"rakiza.{room}" for room in ROOMS), *ctx.extra):
        if package.rpartition(".")[2] in skipped:
            reader.read(_settings_class(importlib.import_module(package).__dict__))  # its settings are known all the same
        else:
            _part(package, ctx)
    reader.check_unknown()
    _check_permissions(ctx)
    platform = Platform(ctx, web)
    if ctx.has("store"):
        _watch(ctx, Part(name="migrations", service=None, checks=(_migrations_check(platform),)))
    for part in ctx.parts:
        _watch(ctx, part)
    return platform


def rebuild(recipe: Recipe) -> Platform:
    """Build a platform that another process has described; raise SettingsError."""
    return build(recipe.settings, config=recipe.config, extra=recipe.extra, off=recipe.off, environ=recipe.environ)


def _part(package: str, ctx: Context) -> Part:
    """Build the part of one package and take it in."""
    door = importlib.import_module(package)
    with _needing(f"the part {package.rpartition('.')[2]!r}"):
        part = cast("Builder", door.part)(ctx.reader.read(_settings_class(door.__dict__)), ctx)
    ctx.add(part)
    return part


@contextmanager
def _needing(who: str) -> Iterator[None]:
    try:
        yield
    except MissingPartError as error:
        raise SettingsError(f"{who} needs the part {error.name!r}, which is switched off or absent: leave it on") from None


def integrate(app: object, settings: Mapping[str, Mapping[str, object]] | None = None, **parts: Mapping[str, object] | bool) -> Platform:
    """Give `app` (Flask, Starlette, FastAPI, Litestar or any ASGI callable) the whole platform.

    `settings` maps a room to its fields, `parts` does the same by keyword: `logs={"level": "DEBUG"}`, `security=False` switches a part off.
    For a plain ASGI callable serve `platform.app`. Raises SettingsError, TypeError for an application it does not know.
    """
    given: dict[str, dict[str, object]] = {room: dict(fields) for room, fields in (settings or {}).items()}
    off: list[str] = []
    for name, fields in parts.items():
        room, renamed = ALIASES.get(name, (name, {}))
        if isinstance(fields, Mapping):
            given.setdefault(room, {}).update({renamed.get(field, field): value for field, value in fields.items()})
        elif fields is True:
            given.setdefault(room, {})
        elif fields is False:
            off.append(room)
        else:
            raise SettingsError(f"{name}={fields!r} says nothing of a part: give its settings by name, or False to switch it off")
    platform = build(given, config=adapter(app).config(app), off=off)
    with _needing("the pass around an application"):
        platform.wrap(app)
    return platform


def attach(app: object, room: str) -> object:
    """Give `app` one room and return its service; the first call puts the pass with sign-in, health and telemetry around it.

    Raise TypeError for a bare ASGI callable, which nobody could put the pass around from inside: use `integrate` and serve what it returns.
    """
    if framework_of(app) == "asgi":
        raise TypeError("init_… functions need a Flask, FastAPI, Starlette or Litestar application; use integrate(app) and serve platform.app")
    alone: dict[str, Mapping[str, object] | bool] = dict.fromkeys(ALONE, False)
    platform = platform_of(app) or integrate(app, None, **alone)
    return platform.add(room)


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


def _watch(ctx: Context, part: Part) -> None:
    """Hand the checks of a part to health."""
    if ctx.has("health"):
        health = ctx.need("health", Health)
        health.version = __version__
        for check in part.checks:
            health.watch(check)


def _migrations_check(platform: Platform) -> Check:
    """Compare the tables with what the code needs: another process may have migrated, or nobody has."""

    def look() -> CheckResult:
        behind = [state.room for state in current(platform.store, platform.migrations()) if state.behind]
        return CheckResult("fail" if behind else "pass", len(behind), "rooms behind", f"run `db upgrade`: {', '.join(behind)}" if behind else None)

    return Check(name="migrations", fn=look, component_type="datastore")
