"""The command line: the parts' own commands and the few that concern the whole platform; no logic."""

import functools
import sys
from collections.abc import Callable

import msgspec
import typer

from rakiza import Platform, __version__, build
from rakiza._kernel import SettingsError
from rakiza.errors import AppError
from rakiza.serve import serve_target
from rakiza.store import current, migrate

Build = Callable[[], Platform]


def say(text: str) -> None:
    """Write one line for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def running(platform: Platform, work: Callable[..., None]) -> Callable[..., None]:
    """Return `work` with the platform started before and stopped after."""

    @functools.wraps(work)
    def run(*args: object, **kwargs: object) -> None:
        platform.start()
        try:
            work(*args, **kwargs)
        finally:
            platform.shutdown()

    return run


def command_line(name: str, help_text: str, build_platform: Build) -> typer.Typer:
    """Return the commands every application on the platform has: those of its parts, `db`, `health`, `openapi`."""
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
            target.command(verb, help=command.help)(running(platform, command.build()))
    _add_database(app, platform)
    _add_health(app, platform)
    _add_openapi(app, platform)
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


def _add_openapi(app: typer.Typer, platform: Platform) -> None:
    @app.command("routes", help="List the operator routes and the permission each asks for")
    def routes() -> None:
        for route in platform.routes():
            say(f"{route.method:7} {route.path:40} {route.permission:12} {route.summary}")


def run(make: Callable[[], typer.Typer]) -> None:
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


def main() -> None:
    """Be the command `rakiza`."""
    run(_rakiza)
