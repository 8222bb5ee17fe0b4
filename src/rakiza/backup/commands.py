"""Commands for backups."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TextIO

import msgspec

from rakiza._kernel import Command
from rakiza.errors import ValidationError
from rakiza.store.objects import shown_address

from ._aside import MAX_SHOWN, Difference, slice_of
from ._core import checked_prefix
from ._crypt import make_key
from ._desk import Desk, Running
from ._outcomes import Restoration
from .http import away, row

MB = 1024 * 1024
BAR = 30


def commands(desk: Desk) -> tuple[Command, ...]:
    """Return the commands of backups."""
    return (
        Command("backup create", lambda: _create(desk), "Make a backup of the database"),
        Command("backup list", lambda: _list(desk), "List the backups, the newest first", anyway=True),
        Command("backup verify", lambda: _verify(desk), "Bring a backup to life aside; the exit code is 1 when it is not good", anyway=True),
        Command("backup drill", lambda: _drill(desk), "Try the newest backup and remember that it worked", anyway=True),
        Command("backup restore", lambda: _restore(desk), "Put a backup in the place of the live data", anyway=True),
        Command("backup undo", lambda: _undo(desk), "Take the newest restore back", anyway=True),
        Command("backup settle", lambda: _settle(desk), "After another tool brought the database back: end sessions, let queues stand still"),
        Command("backup aside", lambda: _aside(desk), "Bring a backup, or a part of it, to life in a database beside the live one", anyway=True),
        Command("backup compare", lambda: _compare(desk), "Tell how a backup differs from the live data", anyway=True),
        Command("backup copy", lambda: _copy(desk), "Take a backup to the other places now; the exit code is 1 when one is not reached"),
        Command("backup pin", lambda: _pin(desk), "Keep a backup whatever the policy says, or with --off no more"),
        Command("backup delete", lambda: _delete(desk), "Delete a backup"),
        Command("backup extract", lambda: _extract(desk), "Take the files that go with a backup out into a new folder", anyway=True),
        Command("backup key", _key, "Make a pair of keys: the secret one to a file, the public one for the server", anyway=True),
    )


class Meter:
    """Show how far the work is: a bar on a terminal, one line for each step elsewhere."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._step, self._drawn = out, "", False

    def __call__(self, running: Running) -> None:
        """Show a state."""
        if self._out.isatty():
            self._out.write(f"\r\x1b[2K{bar(running)}")
            self._drawn = True
        elif running.step != self._step:
            size = f" {running.total_bytes / MB:,.1f} MB" if running.total_bytes else ""
            self._out.write(f"{running.what}: {running.step}{size}\n")
        self._step = running.step
        self._out.flush()

    def done(self) -> None:
        """Take the bar away."""
        if self._drawn:
            self._out.write("\r\x1b[2K")
            self._out.flush()


def bar(running: Running) -> str:
    """Return one line: how far a step is, of how much, and how long it still takes."""
    if running.percent is None:
        return f"{running.step:8} {running.done_bytes / MB:,.1f} MB"
    full = int(running.percent * BAR / 100)
    left = f", {running.seconds_left:,.0f} s left" if running.seconds_left is not None else ""
    return f"{running.step:8} [{'#' * full}{'.' * (BAR - full)}] {running.percent:5.1f} % of {running.total_bytes / MB:,.1f} MB{left}"


def _create(desk: Desk) -> Callable[..., None]:
    def create(prefix: str = "backup", json: bool = False) -> None:
        """Make a backup of the database; --json for a script."""
        meter = Meter(sys.stderr)
        try:
            made = desk.create(_checked(prefix), shown=meter)
        finally:
            meter.done()
        _say(_json(row(made)) if json else f"{made.filename}\t{made.size_mb:,.2f} MB\t{made.rows:,} rows")
        if missing := sum(part.passed_over for part in made.parts):
            sys.stderr.write(f"{missing:,} files are not in it as they are; the log names them\n")

    return create


def _list(desk: Desk) -> Callable[..., None]:
    import typer  # the command line is there when this is built

    def list_backups(source: Annotated[str, typer.Option("--from", help="The address of another place")] = "", json: bool = False) -> None:
        """List the backups, here or in another place, the newest first; --json for a script."""
        if source:
            _list_away(desk, source, json)
            return
        found = desk.manager.list_backups()
        if json:
            _say(_json([row(one) for one in found]))
            return
        for one in found:
            known = (("pinned", one.pinned), ("good", one.verified_at), ("tried", one.drilled_at), ("encrypted", one.encrypted), ("files", one.parts))
            marks = [mark for mark, there in known if there]
            when = one.timestamp.isoformat(timespec="seconds")
            _say("\t".join((one.filename, when, f"{one.size_mb:,.2f} MB", f"{one.rows:,} rows", ", ".join(marks) or "-")))
        if not found:
            _say(f"there is no backup in {desk.manager.folder.path}")

    return list_backups


def _list_away(desk: Desk, source: str, json: bool) -> None:
    found = away(desk.manager, source)
    if json:
        _say(_json(found))
        return
    for one in found:
        _say(f"{one['filename']}\t{one['size_mb']:,.2f} MB\t{'also here' if one['here'] else '-'}")
    if not found:
        _say(f"there is no backup in {shown_address(source)}")


def _copy(desk: Desk) -> Callable[..., None]:
    import typer  # the command line is there when this is built

    def copy(filename: str, json: bool = False) -> None:
        """Take a backup to the other places now; --json for a script."""
        meter = Meter(sys.stderr)
        try:
            done = desk.copy_everywhere(_named(desk, filename), shown=meter)
        finally:
            meter.done()
        if json:
            _say(_json(done))
        for one in () if json else done:
            _say(f"{one.url}\t{one.state}{f': {one.error}' if one.error else ''}")
        if not done:
            raise ValidationError("no other place is named", hint="name one in RAKIZA_BACKUP_OFFSITE")
        if any(one.state != "ok" for one in done):
            raise typer.Exit(1)

    return copy


def _verify(desk: Desk) -> Callable[..., None]:
    import typer  # the command line is there when this is built

    def verify(filename: str, quick: bool = False, json: bool = False) -> None:
        """Bring a backup to life aside and compare it, or with --quick only sum it; --json for a script."""
        meter = Meter(sys.stderr)
        try:
            found = desk.verify(_named(desk, filename), deep=not quick, shown=meter)
        finally:
            meter.done()
        _say(_json(found) if json else f"{filename} is good: {found.rows:,} rows" if found else f"{filename} is NOT good: {found.problem}")
        if found.note and not json:
            _say(found.note)
        if not found:
            raise typer.Exit(1)

    return verify


def _drill(desk: Desk) -> Callable[..., None]:
    import typer  # the command line is there when this is built

    def drill(json: bool = False) -> None:
        """Try the newest backup and remember that it worked; --json for a script."""
        meter = Meter(sys.stderr)
        try:
            found = desk.drill(shown=meter)
        finally:
            meter.done()
        _say(_json(found) if json else f"{found.filename} came to life: {found.rows:,} rows" if found else f"{found.filename}: {found.problem}")
        if not found:
            raise typer.Exit(1)

    return drill


def _restore(desk: Desk) -> Callable[..., None]:
    import typer  # the command line is there when this is built

    from_help = "The address of another place to bring it from; the name may then be `newest`"

    def restore(
        filename: str, source: Annotated[str, typer.Option("--from", help=from_help)] = "", yes: bool = False, safety: bool = True,
        json: bool = False,
    ) -> None:  # fmt: skip
        """Put a backup in the place of the live data, after a backup of those; --yes asks nothing."""
        meter = Meter(sys.stderr)
        try:
            filename = _fetched(desk, filename, source, meter) if source else _named(desk, filename)
        finally:
            meter.done()
        if not yes:
            _confirm(filename)
        try:
            done = desk.restore(filename, safety_backup=safety, shown=meter)
        finally:
            meter.done()
        _say_restored(done, json)
        if not json and desk.manager.get_backup(filename).parts:
            _say(f"its files are as they were; take those of the backup out by: backup extract {filename} --to FOLDER")

    return restore


def _undo(desk: Desk) -> Callable[..., None]:
    def undo(yes: bool = False, json: bool = False) -> None:
        """Let what was live before the newest restore be live again; --yes asks nothing."""
        found = desk.manager.undoable()
        if found is not None and not yes:
            _confirm(found.filename)
        meter = Meter(sys.stderr)
        try:
            done = desk.undo(shown=meter)
        finally:
            meter.done()
        _say_restored(done, json)

    return undo


def _say_restored(done: Restoration, json: bool) -> None:
    if json:
        _say(_json(done))
        return
    rows = f"{done.rows:,} rows, " if done.rows else ""
    _say(f"{done.filename} is the live data: {rows}nobody could write for {done.seconds_away:g} s")
    kept = " and ".join(one for one in (done.safety_backup, done.before and f"database {done.before}") if one)
    if kept:
        _say(f"the data of before are kept: {kept}; `backup undo` brings them back")
    _say("queues stand still so that nothing is done twice: look at the jobs, then `jobs resume QUEUE`; everybody signs in again")
def _aside(desk: Desk) -> Callable[..., None]:
    def aside(filename: str, to: str = "", tables: str = "", where: str = "", json: bool = False) -> None:
        """Bring a backup to life in a new database --to ADDRESS, only --tables a,b and --where column=value; --json for a script."""
        wanted, meter = slice_of(tables, where), Meter(sys.stderr)
        if not to:
            raise ValidationError("say where to", hint="give --to an address, a file's path, or on PostgreSQL the name of a new database")
        try:
            done = desk.aside(_named(desk, filename), to, wanted, shown=meter)
        finally:
            meter.done()
        _say(_json(done) if json else f"{filename} is in {done.database}: {done.rows:,} rows in {len(done.tables)} tables")

    return aside


def _compare(desk: Desk) -> Callable[..., None]:
    def compare(filename: str, tables: str = "", where: str = "", show: int = 0, json: bool = False) -> None:
        """Tell how a backup differs from the live data, only --tables a,b and --where column=value; --show N rows of each; --json for a script."""
        wanted, meter = slice_of(tables, where), Meter(sys.stderr)
        if not 0 <= show <= MAX_SHOWN:
            raise ValidationError(f"--show {show} is not within 0 and {MAX_SHOWN}")
        try:
            found = desk.compare(_named(desk, filename), wanted, show, shown=meter)
        finally:
            meter.done()
        if json:
            _say(_json(found))
            return
        for one in found.tables:
            if not one.same:
                _say("\n".join(lines_of(one)))
        _say(f"{sum(one.same for one in found.tables)} of {len(found.tables)} tables are the same")

    return compare


def lines_of(one: Difference) -> list[str]:
    """Return what is said of a table that differs, and of the rows that are shown."""
    if one.changed is None and one.only_backup is None and one.only_live is None:
        found = [f"{one.rows_backup:,} rows in the backup, {one.rows_live:,} live, not the same; without a primary key no more can be told"]
    else:
        counts = (one.only_backup, "only in the backup"), (one.only_live, "only live"), (one.changed, "changed"), (one.equal, "the same")
        found = [", ".join(f"{count:,} {said}" for count, said in counts if count is not None)]
    found += ["the live database has no such table"] if one.rows_live is None else ["the backup has no such table"] if one.rows_backup is None else []
    for columns, said in ((one.columns_backup, "the backup"), (one.columns_live, "the live table")):
        found += [f"only {said} has the columns {', '.join(columns)}"] if columns else []
    rows = [f"    {_json(row.key)}  backup: {_json(row.old)}  live: {_json(row.new)}" for row in one.shown]
    return [f"{one.table}: {'; '.join(found)}", *rows]


def _fetched(desk: Desk, filename: str, source: str, meter: Meter) -> str:
    try:
        return desk.fetch(filename, source, shown=meter).filename
    except ValueError as error:
        raise ValidationError(str(error)) from None


def _confirm(filename: str) -> None:
    """Ask for the name once more; raise ValidationError where nobody can answer or another one is typed."""
    if not sys.stdin.isatty():
        raise ValidationError("a restore takes the place of the live data, and nobody is here to confirm it", hint="say --yes")
    sys.stdout.write(f"{filename} takes the place of the live data. Type its name to go on: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() != filename:
        raise ValidationError("another name was typed; nothing was done")


def _settle(desk: Desk) -> Callable[..., None]:
    def settle() -> None:
        """Tell a database that another tool has brought back what a restored one must know."""
        desk.settle()
        _say("everybody signs in again, and queues stand still: look at the jobs, then `jobs resume QUEUE`")

    return settle


def _pin(desk: Desk) -> Callable[..., None]:
    def pin(filename: str, off: bool = False) -> None:
        """Keep a backup whatever the policy says, or with --off no more."""
        desk.manager.pin(_named(desk, filename), not off)
        _say(f"{filename} {'goes as the policy says' if off else 'is kept'}")

    return pin


def _delete(desk: Desk) -> Callable[..., None]:
    def delete(filename: str) -> None:
        """Delete a backup; the last good one and pinned ones stay."""
        desk.manager.delete_backup(_named(desk, filename))
        _say(f"{filename} is deleted")

    return delete


def _extract(desk: Desk) -> Callable[..., None]:
    import typer  # the command line is there when this is built

    def extract(filename: str, to: Annotated[Path, typer.Option(help="A new or empty folder")], json: bool = False) -> None:
        """Take the files that go with a backup out into a new or empty folder; --json for a script."""
        taken = desk.extract(_named(desk, filename), to)
        if json:
            _say(_json(taken))
            return
        for name in taken.passed_over:
            _say(f"passed over, since it leads out of the folder: {name}")
        _say(f"{taken.files:,} files of {filename} are in {taken.folder}")

    return extract


def _key() -> Callable[..., None]:
    import typer  # the command line is there when this is built

    def key(to: Annotated[Path, typer.Option(help="A file there is not yet")]) -> None:
        """Write a new secret key to a file and show the public one: the secret one belongs away from the server, in two safe places."""
        _say(make_key(to))

    return key


def _named(desk: Desk, filename: str) -> str:
    """Return the name of a backup there is; raise ValidationError for what is no name, BackupNotFoundError."""
    try:
        desk.manager.get_backup(filename)
    except ValueError as error:
        raise ValidationError(str(error)) from None
    return filename


def _checked(prefix: str) -> str:
    try:
        return checked_prefix(prefix)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def _json(what: object) -> str:
    return msgspec.json.encode(what).decode()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
