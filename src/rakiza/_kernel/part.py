"""A part of the platform: everything a room brings, so that hub, health, console and command line need not know the room."""

import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from .clock import SYSTEM_CLOCK, Clock
from .context import current
from .http import Route
from .local import LocalFile
from .maintenance import Maintenance
from .ports import Ports, UnitOfWork
from .recipe import Recipe
from .redaction import Redactor
from .settings import SettingsReader
from .tasks import Supervisor, WorkerPool

T = TypeVar("T")


class CheckResult(msgspec.Struct, frozen=True):
    """Report one look at a component: `pass`, `warn` or `fail`, what was seen and in which unit."""

    status: str = "pass"
    observed: float | int | str | None = None
    unit: str | None = None
    output: str | None = None
    output_ar: str | None = None
    """The same in Arabic, where an alert may come of it."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Look at one component; an exception or a passed timeout means `fail`. Only a `required` one takes readiness away."""

    name: str
    fn: Callable[[], CheckResult | Awaitable[CheckResult]]
    required: bool = True
    timeout_seconds: float = 2.0
    component_type: str = "component"


class Finding(msgspec.Struct, frozen=True):
    """Tell one thing that was looked at for production: `ok`, `warn` or `fail`, what was seen, and how to mend it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    seen: str
    mend: str = ""


def judged(name: str, bad: bool, seen: str, mend: str, level: Literal["warn", "fail"] = "fail") -> Finding:
    """Return a finding that is `ok`, or of `level` with the way to mend it when it is bad."""
    return Finding(name, level, seen, mend) if bad else Finding(name, "ok", seen)


Examine = Callable[[bool], Iterable[Finding]]
"""Looks at what would hurt in production, at what is slow only when told so; it may take seconds and changes nothing."""


class Migrations(msgspec.Struct, frozen=True):
    """Name the package that holds a room's Alembic scripts; its version table is `<prefix>_version`."""

    package: str
    prefix: str


class Command(msgspec.Struct, frozen=True):
    """Offer a command: `name` may have two words (`user create`); `build` returns the typed function the command line shows."""

    name: str
    build: Callable[[], Callable[..., None]]
    help: str = ""
    anyway: bool = False
    """Run it also where the database does not let the platform start: it is there to mend that."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """List what one room brings to a platform."""

    name: str
    service: object
    needs: tuple[str, ...] = ()
    migrations: Migrations | None = None
    checks: tuple[Check, ...] = ()
    examine: Examine | None = None
    routes: tuple[Route, ...] = ()
    commands: tuple[Command, ...] = ()
    start: Callable[[], None] | None = None
    drain: Callable[[], None] | None = None
    """End what is at work before anything stops."""
    stop: Callable[[], None] | None = None
    restored: Callable[[UnitOfWork], None] | None = None
    """Prepare a database that was brought back from a backup, in its own transaction and before it becomes the live one."""
    files: tuple[Path, ...] = ()
    """Small files outside the database that a backup takes along."""


class MissingPartError(ValueError):
    """Say which part is needed and is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the part {name!r} is needed and is not there")
        self.name = name


class Context:
    """Hand a room what it may use while its part is built."""

    def __init__(
        self, app_name: str, reader: SettingsReader, clock: Clock = SYSTEM_CLOCK, home: Path = Path("var"), environment: str = "production"
    ) -> None:
        self.app_name = app_name
        self.reader = reader
        self.clock = clock
        self.home = home
        self.environment = environment
        self.ports = Ports()
        self.pool = WorkerPool()
        self.maintenance = Maintenance()
        self.supervisor = Supervisor(clock, self.maintenance)
        self.local = LocalFile(home / "telemetry.db")
        self.redactor = Redactor()
        self.extra: tuple[str, ...] = ()
        """The packages outside the platform that brought a part."""
        self.off: frozenset[str] = frozenset()
        """The rooms that were switched off when it was built."""
        self.works = True
        """Whether this process does background work; a command line that only looks does not."""
        self._services: dict[str, object] = {}
        self.parts: list[Part] = []

    def add(self, part: Part) -> None:
        """Take a part in; raise ValueError when one of its needs is not there yet."""
        missing = [need for need in part.needs if need not in self._services]
        if missing:
            raise ValueError(f"part {part.name!r} needs {', '.join(missing)}, which is switched off or comes later")
        self._services[part.name] = part.service
        self.parts.append(part)

    def need(self, name: str, kind: type[T]) -> T:
        """Return the service of the part `name`; raise ValueError when there is none of that kind."""
        service = self._services.get(name)
        if not isinstance(service, kind):
            raise MissingPartError(name)
        return service

    def recipe(self) -> Recipe:
        """Return what builds this platform again in another process, asked by whom the request at hand is of."""
        asked = current()
        who = {"request_id": asked.request_id, "client": asked.client, "user_id": asked.principal and asked.principal.id} if asked else {}
        off = tuple(sorted(room for room in self.off if not self.has(room)))
        return Recipe(**self.reader.given(), extra=self.extra, off=off, path=tuple(sys.path), **who)  # type: ignore[arg-type]

    def scrub(self, value: object) -> object:
        """Return a value of any depth without secrets, by the rules of the log files when there are any."""
        return self.redactor.nested(value)

    def has(self, name: str) -> bool:
        """Tell whether the part `name` is there."""
        return name in self._services


_default: list[Context] = []


def set_default(ctx: Context, *, running: bool) -> None:
    """Make a started platform the one that calls outside a request belong to; the latest one started wins."""
    if ctx in _default:
        _default.remove(ctx)
    if running:
        _default.append(ctx)


def service_at_hand(name: str, kind: type[T]) -> T | None:
    """Return a service of the platform that serves the request at hand, else of the one started last; none when there is no such thing."""
    context = current()
    ctx = context.owner if context is not None and isinstance(context.owner, Context) else _default[-1] if _default else None
    service = ctx._services.get(name) if ctx is not None else None
    return service if isinstance(service, kind) else None
