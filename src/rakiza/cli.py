"""The command line: the parts' own commands and the few that concern the whole platform; no logic."""

import functools
import importlib
import sys
from collections.abc import Callable, Sequence

import msgspec
import typer

from rakiza import Platform, __version__, build
from rakiza._kernel import AS_GIVEN, Principal, Recipe, RequestContext, SettingsError, span_id, trace_id, use_context
from rakiza.errors import AppError
from rakiza.hub import rebuild
from rakiza.serve import serve_target, work
from rakiza.store import StoreError, current, migrate

Build = Callable[[], Platform]


def say(text: str) -> None:
    """Write one line for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def running(platform: Platform, command: Callable[..., None], *, anyway: bool = False) -> Callable[..., None]:
    """Return `command` with the platform started before and stopped after, which does no background work meanwhile.

    One that runs `anyway` does so also when the database keeps the platform from starting.
    """

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        platform.ctx.works = False
        try:
            platform.start()
        except StoreError as error:
            if not anyway:
                raise
            sys.stderr.write(f"warning: {error.detail}\n")
        try:
            command(*args, **kwargs)
        finally:
            platform.shutdown()

    return run


def command_line(name: str, help_text: str, build_platform: Build) -> typer.Typer:
    """Return the commands every application on the platform has: those of its parts, `db`, `health`, `doctor`, `routes`, `worker`."""
    app = typer.Typer(name=name, help=help_text, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    groups: dict[str, typer.Typer] = {}
    platform = build_platform()
    for part in platform.parts:
        for command in part.commands:
            group, _, verb = command.name.rpartition(" ")
            if group and group not in groups:
                groups[group] = typer.Typer(help=f"{group.capitalize()} commands", no_args_is_help=True)
                app.add_typer(groups[group], name=group)
            target = groups[group] if group else app
            target.command(verb, help=command.help)(running(platform, command.build(), anyway=command.anyway))
    _add_database(app, platform)
    _add_health(app, platform)
    _add_doctor(app, platform)
    _add_openapi(app, platform)
    if platform.ctx.has("jobs"):
        _add_worker(app, platform, name)
    app.callback()(_version_option(name))
    return app


def _version_option(name: str) -> Callable[..., None]:
    def show(value: bool) -> None:
        if value:
            say(f"{name} {__version__}")
            raise typer.Exit

    def options(version: bool = typer.Option(False, "--version", help="Show the version and exit", callback=show, is_eager=True)) -> None:
        pass

    return options


def _add_database(app: typer.Typer, platform: Platform) -> None:
    database = typer.Typer(help="Database schema", no_args_is_help=True)
    app.add_typer(database, name="db")

    @database.command("upgrade", help="Bring every room's tables to this version")
    def upgrade() -> None:
        migrate(platform.store, platform.migrations())
        show(json=False)

    @database.command("current", help="Show the version of every room's tables")
    def show(json: bool = typer.Option(False, "--json", help="For scripts")) -> None:
        states = current(platform.store, platform.migrations())
        if json:
            say(msgspec.json.encode(states).decode())
            return
        for state in states:
            say(f"{state.room:24} {state.current or '-':10} {'up to date' if state.current == state.head else 'behind ' + str(state.head)}")


def _add_health(app: typer.Typer, platform: Platform) -> None:
    @app.command("health", help="Look at every component once; the exit code is 1 when a required one fails")
    def health(json: bool = typer.Option(False, "--json", help="For scripts")) -> None:
        platform.ctx.works = False
        platform.start()
        report = platform.health.report(with_details=True)
        platform.shutdown()
        if json:
            say(msgspec.json.encode(report).decode())
        else:
            say(str(report["status"]))
            for seen in platform.health.observations():
                say(f"  {seen.check.name:20} {seen.result.status:5} {seen.result.output or ''}")
        if report["status"] == "fail":
            raise typer.Exit(1)


def _add_doctor(app: typer.Typer, platform: Platform) -> None:
    @app.command("doctor", help="Look at everything that would hurt in production and say how to mend it; the exit code is 1 when something fails")
    def doctor(
        json: bool = typer.Option(False, "--json", help="For scripts"),
        deep: bool = typer.Option(False, "--deep", help="Look also at what takes long: every page of SQLite, the way of a file of WAL"),
    ) -> None:
        try:  # nothing is started: that would migrate the database of a version that still runs
            found = list(platform.examine(deep=deep))
        finally:
            platform.store.close()
            platform.ctx.local.close()
        if json:
            say(msgspec.json.encode(found).decode())
        for one in () if json else found:
            say(f"{one.status:5} {one.name:24} {one.seen}" + (f"\n{'':30} -> {one.mend}" if one.mend else ""))
        if any(one.status == "fail" for one in found):
            raise typer.Exit(1)


def _add_openapi(app: typer.Typer, platform: Platform) -> None:
    @app.command("routes", help="List the operator routes and the permission each asks for")
    def routes() -> None:
        for route in platform.routes():
            say(f"{route.method:7} {route.path:40} {route.permission:12} {route.summary}")


def _add_worker(app: typer.Typer, platform: Platform, name: str) -> None:
    @app.command("worker", help="Work on jobs until SIGTERM or SIGINT; what is at work then may end, a second signal gives it back at once")
    def worker(
        module: str = typer.Option("", "--import", help="A module whose @job functions are to be known"),
        concurrency: int = typer.Option(0, min=0, help="How many jobs at the same time; as the settings say when not given"),
        queues: str = typer.Option("", help="Only these queues, with commas between"),
    ) -> None:
        if module:
            _import(module)
        serve_jobs(platform, name, [one.strip() for one in queues.split(",") if one.strip()], concurrency or None)


def serve_jobs(platform: Platform, name: str, queues: Sequence[str] = (), concurrency: int | None = None) -> None:
    """Be a worker process, with one line when it is ready and one at its end."""

    def ready() -> None:
        settings = platform.jobs.settings
        say(f"{name} works on the jobs of {', '.join(settings.queues) or 'every queue'}, at most {settings.concurrency} at the same time")

    attempts = work(platform, ready, queues, concurrency)
    say(f"{name} has stopped after {attempts:,} attempts at jobs")


def _import(module: str) -> None:
    sys.path.insert(0, "")
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(f"cannot import {module!r}: {error}") from None


def run(make: Callable[[], Callable[[], object]]) -> None:
    """Run a command line; an expected error is one clear line on stderr and exit code 2."""
    try:
        make()()
    except SettingsError as error:
        _fail(str(error))
    except AppError as error:
        _fail(error.detail + (f"; {error.hint}" if error.hint else ""))


def _fail(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")
    sys.exit(2)


def _rakiza() -> typer.Typer:
    app = command_line("rakiza", "The production layer for Python business back ends", build)

    @app.command("serve", help="Serve MODULE:APP, an application that calls integrate() itself")
    def serve(
        target: str,
        host: str = typer.Option("127.0.0.1", help="Address to listen on"),
        port: int = typer.Option(8000, min=0, max=65535),
        server: str = typer.Option("", help="uvicorn, or granian for HTTP only; granian for Flask, else uvicorn, when not given"),
    ) -> None:
        sys.path.insert(0, "")
        serve_target(target, server, host, port)

    return app


def _as_given() -> Callable[[], object]:
    """Return the commands of the platform that standard input describes, for whom it names; nothing of it stands among the arguments."""
    recipe = msgspec.json.decode(sys.stdin.buffer.read(), type=Recipe)
    sys.path += [place for place in recipe.path if place not in sys.path]
    context = RequestContext(recipe.request_id, trace_id(), span_id(), client=recipe.client)
    if recipe.user_id is not None:
        context.principal = Principal(recipe.user_id, "", "", "", frozenset(), "user")

    def command() -> None:
        with use_context(context):
            command_line("rakiza", "The platform of another process", lambda: rebuild(recipe))()

    return command


def main() -> None:
    """Be the command `rakiza`; with `--as-given` first, that of a platform which another process describes."""
    if sys.argv[1:2] == [AS_GIVEN]:
        del sys.argv[1]
        run(_as_given)
    else:
        run(_rakiza)
