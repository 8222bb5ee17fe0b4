"""Hand-off to the tools that keep every moment: pgBackRest for PostgreSQL, Litestream for SQLite. Their configuration, and what to do with it."""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec
import sqlalchemy as sa

from rakiza._kernel import Command
from rakiza.store import Store

from .errors import BackupError, BackupRefusedError
from .settings import BackupSettings

Tool = Literal["pgbackrest", "litestream"]
ENGINE = {"pgbackrest": "postgresql", "litestream": "sqlite"}
REPOSITORY = {"pgbackrest": "/var/lib/pgbackrest", "litestream": "/var/lib/litestream"}
CONFIG = {"pgbackrest": Path("/etc/pgbackrest/pgbackrest.conf"), "litestream": Path("/etc/litestream.yml")}
ADDRESS = "give a folder, s3://BUCKET/PATH?endpoint=…&region=…, az://CONTAINER/PATH?account=… or gs://BUCKET/PATH; keys stand in the environment"
WANTED: dict[str, tuple[str, ...]] = {"": (), "file": (), "s3": ("endpoint", "region"), "az": ("account",), "gs": ()}
PLAIN: Final = re.compile(r"[A-Za-z0-9._/ -]*\Z", re.ASCII)
_SERVER = sa.text("select name, setting from pg_settings where name in ('data_directory', 'port', 'unix_socket_directories', 'server_version')")
_OWNER = sa.text("select rolname from pg_roles where oid = 10")


def pitr_command(store: Store, settings: BackupSettings, app: str) -> Command:
    """Return the command that prints the configuration of a tool and what to do with it."""

    def build() -> Callable[..., None]:
        def pitr(tool: Tool, repo: str = "", to: Path | None = None) -> None:
            """Print the configuration for pgbackrest or litestream; --repo names where it keeps what it copies, --to a file that is not there yet."""
            text = configuration(tool, store, place_of(repo or REPOSITORY[tool]), settings.pitr_config, " ".join(app.split()))
            if to is None:
                sys.stdout.write(text)
                return
            try:
                with to.open("x", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                raise BackupError(f"{to} cannot be written: {error.strerror or error}", hint="name a file that is not there yet") from error

        return pitr

    return Command("backup pitr", build, "Print the configuration of pgBackRest or Litestream, which bring back any moment")


def configuration(tool: Tool, store: Store, place: "Place", config: Path | None, app: str) -> str:
    """Return the text for a tool; raise BackupRefusedError for one that is not for this kind of database, or a role that may not know enough."""
    if ENGINE[tool] != store.dialect:
        fits = next(name for name, engine in ENGINE.items() if engine == store.dialect)
        raise BackupRefusedError(f"{tool} is for {ENGINE[tool]}, and the database is {store.dialect}", hint=f"take {fits}")
    if tool == "litestream":
        return litestream(app, Path(store.url.removeprefix("sqlite:///")), place, config)
    return pgbackrest(app, server_of(store), place, config)


class Place(msgspec.Struct, frozen=True):
    """Name where a tool keeps what it copies; nothing in it is secret."""

    kind: str
    name: str
    path: str
    options: dict[str, str]


class Server(msgspec.Struct, frozen=True):
    """Tell where the data of a PostgreSQL server lie and how its own user reaches it."""

    data: str
    port: str
    socket: str
    version: str
    owner: str


def place_of(address: str) -> Place:
    """Return what an address names; raise BackupRefusedError, without showing it, for one that is none or holds a secret."""
    try:
        url = urlsplit(address)
        options = dict(parse_qsl(url.query, keep_blank_values=True))
    except ValueError:
        url, options = SplitResult("?", "", "", "", ""), {}
    plain = all(PLAIN.match(one) for one in (url.netloc, url.path, *(value.replace(":", "") for value in options.values())))
    wanted = WANTED.get(url.scheme)
    if wanted is None or not plain or set(options) != set(wanted) or not (url.netloc if wanted or url.scheme == "gs" else url.path.startswith("/")):
        raise BackupRefusedError(f"--repo names no place that can be used (its kind is {url.scheme!r})", hint=ADDRESS)
    return Place(url.scheme if url.netloc else "file", url.netloc, url.path or "/", options)


def server_of(store: Store) -> Server:
    """Read where the server's data lie; raise BackupRefusedError for a role that may not know it."""
    with store.read() as tx:
        told = {str(row["name"]): str(row["setting"]) for row in tx.execute(_SERVER).mappings()}
        owner = str(tx.scalar(_OWNER))
    if "data_directory" not in told:
        said = "the role of DATABASE_URL may not read where the data of the server lie"
        raise BackupRefusedError(said, hint="as a superuser: grant pg_read_all_settings to that role, then again")
    socket = told["unix_socket_directories"].partition(",")[0].strip()
    return Server(told["data_directory"], told["port"], socket, told["server_version"].partition(" ")[0], owner)


def stanza_of(app: str) -> str:
    """Return the name of an application for pgBackRest, which takes plain letters only."""
    return re.sub(r"[^a-z0-9_-]+", "-", app.lower()).strip("-") or "main"


def called(config: Path | None, stanza: str) -> list[str]:
    """Return how pgBackRest is called for a stanza; its own place of the configuration needs no mention."""
    return ["pgbackrest", *([f"--config={config}"] if config not in {None, CONFIG["pgbackrest"]} else []), f"--stanza={stanza}"]


def pgbackrest(app: str, server: Server, place: Place, config: Path | None) -> str:
    """Return the configuration of pgBackRest, and in its comments everything else to do (pgbackrest.org/user-guide.html)."""
    stanza = stanza_of(app)
    run = shlex.join(called(config, stanza))
    repository, secrets = _pgbackrest_place(place)
    told = "\n".join(f"#      {one}" for one in ("PGBACKREST_REPO1_CIPHER_PASS   (make one: openssl rand -base64 48)", *secrets))
    return _text("pgbackrest.conf").format(
        app=app, run=run, quoted=run.replace("'", "''"), stanza=stanza, config=config or CONFIG["pgbackrest"], secrets=told, server=server,
        repository="\n".join(repository),
        socket=f"pg1-socket-path={server.socket}\n" if server.socket else "",
    )  # fmt: skip


def _pgbackrest_place(place: Place) -> tuple[list[str], list[str]]:
    """Return the lines of the repository, and the names of the variables that hold its secrets."""
    given, path = place.options, f"repo1-path={place.path}"
    if place.kind == "s3":
        lines = [f"repo1-s3-bucket={place.name}", f"repo1-s3-endpoint={given['endpoint']}", f"repo1-s3-region={given['region']}"]
        return ["repo1-type=s3", path, *lines], ["PGBACKREST_REPO1_S3_KEY", "PGBACKREST_REPO1_S3_KEY_SECRET"]
    if place.kind == "az":
        lines = [f"repo1-azure-container={place.name}", f"repo1-azure-account={given['account']}"]
        return ["repo1-type=azure", path, *lines], ["PGBACKREST_REPO1_AZURE_KEY"]
    if place.kind == "gs":
        return ["repo1-type=gcs", path, f"repo1-gcs-bucket={place.name}"], ["PGBACKREST_REPO1_GCS_KEY       (the file of a service account)"]
    return [path], []


def litestream(app: str, path: Path, place: Place, config: Path | None) -> str:
    """Return the configuration of Litestream 0.5 (litestream.io/reference/config), and in its comments everything else to do."""
    kinds = {"s3": "s3", "az": "abs", "gs": "gs", "file": "file"}
    given = {"type": kinds[place.kind], "bucket": place.name, "path": place.path if place.kind == "file" else place.path.strip("/")}
    names = {"account": "account-name"}
    given |= {names.get(name, name): f"https://{value}" if name == "endpoint" else value for name, value in place.options.items()}
    replica = "\n".join(f"      {name}: {_quoted(value)}" for name, value in given.items() if value)
    at, config = shlex.quote(str(path)), config or CONFIG["litestream"]
    return _text("litestream.yml").format(app=app, path=at, quoted=_quoted(str(path)), replica=replica, config=config)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()  # a string of JSON is one of YAML


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
