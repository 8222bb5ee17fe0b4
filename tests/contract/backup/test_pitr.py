"""The hand-off to pgBackRest and Litestream: what is printed, what is refused, what is said of their work, and what a database is told afterwards."""

import configparser
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rakiza import Platform, build
from rakiza._kernel import Finding
from rakiza.backup import BackupError, BackupRefusedError, _examination
from rakiza.backup._backends import postgresql
from rakiza.backup._pitr import ENGINE, Server, called, configuration, litestream, pgbackrest, place_of, stanza_of
from rakiza.cli import command_line
from rakiza.jobs.tables import QUEUE
from rakiza.security.tables import LINK
from rakiza.store import Store
from rakiza.testing import FrozenClock

SERVER = Server("/var/lib/postgresql/17/main", "5432", "/run/postgresql", "17.6", "postgres")
S3 = "s3://copies/site/one?endpoint=s3.example.org&region=me-south-1"
KEYS = {  # litestream.io/reference/config and the structs it is read into (cmd/litestream/main.go of 0.5)
    "": {"snapshot", "l0-retention", "validation", "dbs"},
    "db": {"path", "replica"},
    "replica": {"type", "path", "bucket", "endpoint", "region", "account-name"},
}
Built = Callable[..., Platform]


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Built]:
    made: list[Platform] = []

    def make(url: str, **backup: object) -> Platform:
        rooms: dict[str, dict[str, object]] = {"hub": {"home": str(tmp_path / "home"), "name": "نوفل"}, "logs": {"console": False}}
        made.append(build(rooms | {"store": {"database_url": url}, "backup": backup}, environ={}))
        return made[-1]

    yield make
    for one in made:
        one.shutdown()
        one.store.close()


def findings(platform: Platform) -> dict[str, Finding]:
    backup = next(part for part in platform.parts if part.name == "backup")
    assert backup.examine is not None
    return {one.name: one for one in backup.examine(False)}


# -- what is printed


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(text)
    return parser


def test_pgbackrest_in_a_folder() -> None:
    text = pgbackrest("نوفل", SERVER, place_of("/srv/copies"), None)
    made = read(text)
    assert made.sections() == ["global", "main"]
    assert made["global"]["repo1-path"] == "/srv/copies"
    expected = {"pg1-path": SERVER.data, "pg1-port": "5432", "pg1-socket-path": "/run/postgresql", "pg1-user": "postgres"}
    assert dict(made["main"]) == expected
    assert "archive_command = 'pgbackrest --stanza=main archive-push %p'" in text
    assert "cipher-pass" not in "".join(made["global"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (S3, {"repo1-type": "s3", "repo1-path": "/site/one", "repo1-s3-bucket": "copies", "repo1-s3-endpoint": "s3.example.org",
              "repo1-s3-region": "me-south-1"}),
        ("az://copies/one?account=office", {"repo1-type": "azure", "repo1-path": "/one", "repo1-azure-container": "copies",
                                            "repo1-azure-account": "office"}),
        ("gs://copies", {"repo1-type": "gcs", "repo1-path": "/", "repo1-gcs-bucket": "copies"}),
        ("file:///srv/x", {"repo1-path": "/srv/x"}),
    ],
)  # fmt: skip
def test_places_of_pgbackrest(address: str, expected: dict[str, str]) -> None:
    made = read(pgbackrest("shop", SERVER, place_of(address), None))["global"]
    always = {"repo1-cipher-type", "repo1-retention-full"}
    assert {key: value for key, value in made.items() if key.startswith("repo1") and key not in always} == expected


def test_a_configuration_elsewhere_with_odd_letters() -> None:
    text = pgbackrest("shop", SERVER, place_of("/srv"), Path("/srv/it's here/conf"))
    assert "archive_command = 'pgbackrest ''--config=/srv/it''\"''\"''s here/conf'' --stanza=shop archive-push %p'" in text


@pytest.mark.parametrize(
    "address",
    ["relative", "ftp://host/x", "s3://copies/x", "s3://AKIA:secret@copies/x?endpoint=e&region=r", f"{S3}&key=secret", "s3:///x?endpoint=e&region=r",
     "/srv\nrepo1-cipher-type=none", "gs://", "az://[", "s3://copies/x?endpoint=e%0Arepo1-x=1&region=r", ""],
)  # fmt: skip
def test_places_that_are_none_and_nothing_of_them_is_shown(address: str) -> None:
    with pytest.raises(BackupRefusedError) as refused:
        place_of(address)
    assert "secret" not in str(refused.value)
    assert refused.value.hint


USUAL = len(pgbackrest("shop", SERVER, place_of("/srv"), None).splitlines())


@given(st.text())
def test_no_folder_writes_a_line_of_its_own(folder: str) -> None:
    with contextlib.suppress(BackupRefusedError):
        assert len(pgbackrest("shop", SERVER, place_of(f"/{folder}"), None).splitlines()) == USUAL


@given(st.text())
def test_every_application_has_a_stanza(app: str) -> None:
    assert all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in stanza_of(app))
    assert stanza_of(app)


@pytest.mark.parametrize("address", ["/mnt/disk", S3, "az://copies/one?account=office", "gs://copies/x"])
def test_litestream_says_only_what_it_documents(address: str) -> None:
    path = Path("/srv/مكتب: الموقع/نوفل.db")
    made = yaml.safe_load(litestream("نوفل", path, place_of(address), None))
    [database] = made["dbs"]
    assert (set(made), set(database)) == (KEYS[""], KEYS["db"])
    assert set(database["replica"]) <= KEYS["replica"]
    assert database["path"] == str(path)
    assert database["replica"].get("endpoint", "https://").startswith("https://")


def test_the_other_tool(built: Built, database_url: str) -> None:
    store = built(database_url).store
    wrong = next(tool for tool, engine in ENGINE.items() if engine != store.dialect)
    with pytest.raises(BackupRefusedError, match=f"the database is {store.dialect}") as refused:
        configuration(wrong, store, place_of("/srv"), None, "نوفل")  # type: ignore[arg-type]
    assert ENGINE[str(refused.value.hint).removeprefix("take ")] == store.dialect
    assert findings(built(database_url, pitr=wrong))["pitr_tool"].status == "fail"


def test_a_file_is_never_written_over(built: Built, sqlite_url: str, tmp_path: Path) -> None:
    platform, file = built(sqlite_url), tmp_path / "litestream.yml"
    app = command_line("rakiza", "", lambda: platform)
    typed = ("backup", "pitr", "litestream", "--repo", "/mnt/disk")
    printed = CliRunner().invoke(app, list(typed)).output
    CliRunner().invoke(app, [*typed, "--to", str(file)])
    assert file.read_text(encoding="utf-8") == printed
    file.write_text("ours", encoding="utf-8")
    assert isinstance(CliRunner().invoke(app, [*typed, "--to", str(file)]).exception, BackupError)
    assert file.read_text(encoding="utf-8") == "ours"


def test_a_role_that_may_not_know_where_the_data_lie(built: Built, postgres_url: str) -> None:
    admin = Store(postgres_url)
    with admin.raw_connection() as connection:
        connection.execute("drop role if exists clerk")
        connection.execute("create role clerk login")
    admin.close()
    platform = built(postgres_url.replace("postgres@", "clerk@"))
    with pytest.raises(BackupRefusedError) as refused:
        configuration("pgbackrest", platform.store, place_of("/srv"), None, "نوفل")
    assert "pg_read_all_settings" in str(refused.value.hint)
    told = {one.name for one in platform.examine() if one.name.startswith(("postgresql", "backup"))}
    assert {"postgresql_durability", "postgresql_slots", "postgresql_wraparound", "backup_programs", "backup_offsite"} <= told
    platform.store.close()


# -- what is said of their work


def test_no_program(built: Built, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = findings(built(postgres_url, pitr="pgbackrest"))
    assert found["pitr_program"].status == "fail"
    assert "pitr_program" not in findings(built(postgres_url))


def said(out: list[object]) -> dict[str, str]:
    return {one.name: one.status for one in _examination._copies(json.dumps(out), 26.0, FrozenClock().now())}


def test_what_info_says() -> None:
    now = int(FrozenClock().now().timestamp())

    def stanza(full: float, diff: float, **more: object) -> list[object]:
        ages = {"full": full, "diff": diff}
        copies = [{"label": kind, "type": kind, "timestamp": {"stop": now - int(age * 3600)}, **more} for kind, age in ages.items()]
        return [{"name": "main", "status": {"code": 0, "message": "ok"}, "backup": copies}]

    assert said([])["pitr_backups"] == "fail"
    assert said(stanza(100, 3))["pitr_backups"] == "ok"
    assert said(stanza(100, 27))["pitr_backups"] == "fail"
    assert said(stanza(200, 3))["pitr_backups"] == "fail"
    assert said(stanza(3, 3, error=True))["pitr_pages"] == "fail"


def test_litestream_that_never_ran_that_follows_and_that_fell_behind(built: Built, sqlite_url: str, tmp_path: Path) -> None:
    config, path = tmp_path / "litestream.yml", tmp_path / "test.db"
    platform = built(sqlite_url, pitr="litestream", pitr_config=config)
    platform.start()
    assert [findings(platform)[name].status for name in ("pitr_config", "pitr_followed")] == ["fail", "fail"]
    config.write_text(configuration("litestream", platform.store, place_of("/mnt/disk"), config, "نوفل"), encoding="utf-8")
    notes = tmp_path / f".{path.name}-litestream" / "ltx" / "0"
    notes.mkdir(parents=True)
    (notes / "1.ltx").write_bytes(b"x")
    assert [findings(platform)[name].status for name in ("pitr_config", "pitr_followed")] == ["ok", "ok"]
    os.utime(notes / "1.ltx", (1, 1))
    assert findings(platform)["pitr_followed"].status == "fail"
    config.write_text("dbs: []", encoding="utf-8")
    assert findings(platform)["pitr_config"].status == "fail"


# -- the backups themselves


def test_what_is_said_of_backups(built: Built, rooms_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = built(rooms_url)
    platform.start()
    before = findings(platform)
    assert (before["backup_recent"].status, before["backup_scheduler"].status, before["backup_programs"].status) == ("fail", "warn", "ok")
    platform.backups.create_backup()
    platform.backups.drill()
    after = findings(platform)
    assert [after[f"backup_{name}"].status for name in ("recent", "drill", "folder")] == ["ok", "ok", "ok"]
    platform.backups.folder.path.chmod(0o755)
    assert findings(platform)["backup_folder"].status == "warn"
    monkeypatch.setattr(postgresql.os, "defpath", "/nowhere")
    monkeypatch.setattr(postgresql, "PLACES", ())
    programs = findings(platform)["backup_programs"]
    assert programs.status == ("ok" if platform.store.dialect == "sqlite" else "fail")
    assert platform.store.dialect == "sqlite" or "install postgresql-client" in programs.mend


def test_a_database_another_tool_brought_back(built: Built, rooms_url: str) -> None:
    platform = built(rooms_url)
    platform.ctx.works = False
    platform.start()
    platform.jobs.add_job("فاتورة", {}, queue="رسائل")
    link = platform.security.create_link(platform.security.create_user("noura@example.com", "نورة", "admin"))
    platform.backups.settle()
    with platform.store.read() as tx:
        assert tx.scalar(sa.select(QUEUE.c.paused).where(QUEUE.c.name == "رسائل"))
        assert tx.scalar(sa.select(sa.func.count()).select_from(LINK)) == 0
    assert link


def test_how_it_is_called() -> None:
    assert called(None, "shop") == called(Path("/etc/pgbackrest/pgbackrest.conf"), "shop") == ["pgbackrest", "--stanza=shop"]
