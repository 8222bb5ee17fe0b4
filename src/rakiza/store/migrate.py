"""Bring each room's tables to the version its code needs, forwards only, once, however many processes start together."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa

from rakiza._kernel import Migrations

from .errors import MigrationError, StoreError
from .service import Store
from .types import metadata

_REVISION = re.compile(r"^revision(?:\s*:[^=]+)?\s*=\s*['\"]([\w.-]+)['\"]", re.MULTILINE)
_PARENT = re.compile(r"^down_revision(?:\s*:[^=]+)?\s*=\s*(?:None|['\"]([\w.-]+)['\"])", re.MULTILINE)


class MigrationState(msgspec.Struct, frozen=True):
    """Compare the version a room's tables have (none before the first migration) with the one its code needs."""

    room: str
    current: str | None
    head: str

    @property
    def behind(self) -> bool:
        """Tell whether migrations are to be run."""
        return self.current != self.head


def current(store: Store, migrations: Sequence[Migrations]) -> list[MigrationState]:
    """Return each room's state; raise MigrationError for tables that are newer than the code or for broken scripts."""
    chains = [(room, chain(room)) for room in migrations]
    with store.read() as tx:
        versions = _versions(tx.connection, migrations)
    return [_state(room, versions.get(room.prefix), links) for room, links in chains]


def migrate(store: Store, migrations: Sequence[Migrations]) -> list[MigrationState]:
    """Run what is missing, room by room in the given order, each in one transaction; return the states before. Raise MigrationError."""
    states = current(store, migrations)
    for room, state in zip(migrations, states, strict=True):
        if state.behind:
            _upgrade(store, room)
    return states


def chain(migrations: Migrations) -> list[str]:
    """Return the revisions of a room from the first to the head, read from the scripts' text; raise MigrationError unless they form one chain."""
    children: dict[str | None, str] = {}
    folder = scripts(migrations)
    for path in sorted(folder.glob("[0-9]*.py")):
        text = path.read_text(encoding="utf-8")
        revision, parent = _REVISION.search(text), _PARENT.search(text)
        if revision is None or parent is None:
            raise MigrationError(f'{path} lacks `revision = "…"` or `down_revision = …` on lines of their own')
        if parent[1] in children:
            raise MigrationError(f"{path}: {revision[1]!r} and {children[parent[1]]!r} both follow {parent[1]!r}", hint="make one follow the other")
        children[parent[1]] = revision[1]
    links: list[str] = []
    while (following := children.pop(links[-1] if links else None, None)) is not None:
        links.append(following)
    if children or not links:
        raise MigrationError(f"the migrations in {folder} are not one chain: {sorted(children.values()) or 'there are none'}")
    return links


def scripts(migrations: Migrations) -> Path:
    """Return the folder of a room's scripts; raise MigrationError when the package is missing."""
    spec = importlib.util.find_spec(migrations.package)
    if spec is None or not spec.submodule_search_locations:
        raise MigrationError(f"there is no package {migrations.package} with migrations")
    return Path(next(iter(spec.submodule_search_locations)))


def _state(room: Migrations, version: str | None, links: list[str]) -> MigrationState:
    if version is not None and version not in links:
        hint = "install the release that made the tables, or restore a backup from before it"
        raise MigrationError(f"the tables of {room.prefix} are at {version}, newer than this program, which knows {links[-1]}", hint=hint)
    return MigrationState(room.prefix, version, links[-1])


def _versions(connection: sa.Connection, migrations: Sequence[Migrations]) -> dict[str, str]:
    there = set(sa.inspect(connection).get_table_names())
    rooms = [room.prefix for room in migrations if f"{room.prefix}_version" in there]
    version = sa.column("version_num", sa.Text)
    selects = [sa.select(sa.literal(room, sa.Text), version).select_from(sa.table(f"{room}_version")) for room in rooms]
    return {str(room): str(found) for room, found in connection.execute(sa.union_all(*selects))} if rooms else {}


def _upgrade(store: Store, room: Migrations) -> None:
    with store.migrating() as connection:
        # Another process may have done it while this one waited for the lock.
        if _state(room, _versions(connection, [room]).get(room.prefix), chain(room)).behind:
            try:
                _run_alembic(connection, room)
            except (sa.exc.SQLAlchemyError, StoreError) as error:
                raise MigrationError(f"the migration of {room.prefix} failed and was undone: {error}") from error


def _run_alembic(connection: sa.Connection, room: Migrations) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    folder = str(scripts(room))
    directory = ScriptDirectory(folder, version_locations=[folder])
    with EnvironmentContext(Config(), directory, fn=lambda revision, _: directory._upgrade_revs("head", revision)) as environment:
        table = f"{room.prefix}_version"
        environment.configure(connection=connection, target_metadata=metadata(), version_table=table, render_as_batch=True, transactional_ddl=True)
        environment.run_migrations()


def differences(store: Store, tables: sa.MetaData, prefix: str) -> list[str]:
    """Return what the migrated tables named `<prefix>_…` lack or have too much against `tables`: the test every room with migrations owes."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or (str(name).startswith(f"{prefix}_") and name != f"{prefix}_version")

    with store.read() as tx:
        context = MigrationContext.configure(tx.connection, opts={"include_name": ours, "compare_server_default": False})
        return [str(found) for found in compare_metadata(context, tables)]
