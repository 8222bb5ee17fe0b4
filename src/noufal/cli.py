"""The command `noufal`: serve the ERP, import a bill, and the commands of the platform."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from noufal.app import create_app, create_platform
from noufal.boq import Report
from noufal.part import Erp
from noufal.projects import NewProject
from noufal.seed import COMMAND_LINE, seed_demo
from rakiza import Platform
from rakiza._kernel import SettingsError
from rakiza.cli import command_line, run, running, say, serve_jobs
from rakiza.errors import NotFoundError, ValidationError
from rakiza.security import WeakPasswordError
from rakiza.serve import SERVERS, bind, serve_granian, serve_uvicorn

ROLES = frozenset({"web", "worker"})
DEMO_EMAIL = "admin@noufal.example"


def main() -> None:
    """Be the command `noufal`."""
    run(_noufal)


def _noufal() -> typer.Typer:
    platform = create_platform()
    app = command_line("noufal", "A small Arabic-first ERP for building contractors", lambda: platform)

    @app.command("serve", help="Serve the ERP; the first start prints a one-time sign-in link")
    def serve(
        host: str = typer.Option("127.0.0.1", help="Address to listen on"),
        port: int = typer.Option(8000, min=0, max=65535),
        demo: bool = typer.Option(False, "--demo", help="Write two demonstration projects when there are none"),
        server: str = typer.Option("uvicorn", help="uvicorn, or granian for HTTP only"),
        roles: str = typer.Option("web,worker", help="What this process does: serve the ERP (web), work on jobs (worker), or both"),
    ) -> None:
        _serve(platform, host, port, demo=demo, server=server, roles=roles)

    app.command("import-boq", help="Read a bill of quantities from a workbook into a project")(running(platform, _import_command(platform)))
    return app


def _serve(platform: Platform, host: str, port: int, *, demo: bool, server: str, roles: str) -> None:
    if server not in SERVERS:
        raise SettingsError(f"--server {server!r}: choose one of {', '.join(SERVERS)}")
    chosen = {role.strip() for role in roles.split(",")}
    if not chosen or chosen - ROLES:
        raise SettingsError(f"--roles {roles!r}: choose among {', '.join(sorted(ROLES))}")
    if "web" not in chosen:
        serve_jobs(platform, "noufal")
        return
    platform.ctx.works = "worker" in chosen and server != "granian"  # whose own process works
    platform.start()
    erp = platform.service("noufal", Erp)
    written = seed_demo(erp) if demo else []
    link = first_sign_in(platform, erp)

    def ready(bound: int) -> None:
        address = f"http://{'127.0.0.1' if host in {'0.0.0.0', ''} else host}:{bound}"  # noqa: S104 - compared, not bound
        if written:
            say(f"demonstration projects written: {', '.join(written)}")
        say(f"noufal serves on {address}")
        if link:
            say(f"sign in once with this link: {address}/sign-in#token={link}")

    if server == "granian":
        platform.shutdown()
        with bind(host, port) as probe:  # a taken port is told before a link is printed
            port = probe.getsockname()[1]
        ready(port)
        factory = "create_app" if "worker" in chosen else "create_web_app"
        serve_granian(f"noufal.app:{factory}", host, port, factory=True)
    else:
        serve_uvicorn(create_app(platform), platform, host, port, ready)


def first_sign_in(platform: Platform, erp: Erp) -> str | None:
    """Create the first administrator when there is no user; return a one-time link token while no administrator has a password."""
    security, settings = platform.security, erp.settings
    try:
        security.first_admin(settings.admin_email or DEMO_EMAIL, settings.admin_password or None, "المدير")
    except WeakPasswordError as error:
        raise SettingsError(f"NOUFAL_ADMIN_PASSWORD: {error.detail}") from None
    except ValidationError as error:
        raise SettingsError(f"NOUFAL_ADMIN_EMAIL {settings.admin_email!r}: {error.detail}") from None
    admins = [user for user in security.list_users() if user.role == "admin" and not user.disabled]
    if not admins or any(user.has_password for user in admins):
        return None
    return security.create_link(admins[0])


def _import_command(platform: Platform) -> Callable[..., None]:
    def import_boq(
        file: Annotated[Path, typer.Argument(help="Workbook: .xlsx, .xls or .csv")],
        project: Annotated[str, typer.Option(help="Code of the project")],
        create_project: bool = typer.Option(False, "--create-project", help="Create the project when there is none"),
        dry_run: bool = typer.Option(False, "--dry-run", help="Only report; write nothing"),
        json: bool = typer.Option(False, "--json", help="Print the report as JSON"),
    ) -> None:
        if not file.is_file():
            raise SettingsError(f"there is no file {file}")
        importer = platform.service("noufal", Erp).importer
        new = NewProject(code=project, name=project) if create_project else None
        try:
            report = importer.run(COMMAND_LINE, project, file, file.name, dry_run=dry_run, create=new)
        except ValidationError as error:
            _refuse(error, json)
            raise typer.Exit(1) from None
        except NotFoundError as error:
            raise SettingsError(f"{error.detail}; create it with --create-project") from None
        _show(report, json)

    return import_boq


def _refuse(error: ValidationError, as_json: bool) -> None:
    rejected = (error.extra or {}).get("report")
    if as_json:
        say(msgspec.json.encode(rejected or {"code": error.stable_code, "errors": error.errors}).decode())
    elif isinstance(rejected, Report):
        _show(rejected, as_json)
    hint = f"; {error.hint}" if error.hint else ""
    sys.stderr.write(f"error: {error.detail}{hint}\n{error.message_ar}\n")


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        say(msgspec.json.encode(report).decode())
        return
    state = "written" if report.written else "unchanged" if report.unchanged else "not written"
    say(f"{report.file} [{report.sheet}]: {report.items} items in {report.sections} sections, {state}")
    say(f"  net {report.net_total}   VAT {report.vat_rate} % {report.vat_total}   gross {report.gross_total}")
    if report.stated_total:
        say(f"  the file states {report.stated_total}")
    changes = report.changes
    say(f"  added {changes.added}, changed {changes.changed}, removed {changes.removed}, unchanged {changes.unchanged}")
    for title, findings in (
        ("errors", report.errors),
        ("differences", report.differences),
        ("warnings", report.warnings),
        ("ignored rows", report.ignored_rows),
    ):
        if findings:
            say(f"  {title}: {report.counts.get(title.replace(' ', '_'), len(findings))}")
            for one in findings[:20]:
                place = f"{one.sheet}!{one.column or ''}{one.row or ''}" if one.row else one.sheet
                say(f"    {place}: {one.message_en}  {one.message_ar}")
