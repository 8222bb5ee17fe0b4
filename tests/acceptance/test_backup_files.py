"""Encryption and the files of a backup through a platform: settings, what goes along by itself, the command line."""

import functools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from rakiza import Platform, build
from rakiza._kernel import SettingsError
from rakiza.backup._crypt import make_key
from typed import typed

PASSWORD = "never-shown-anywhere"
SECRET = {"RAKIZA_MAIL_PASSWORD": PASSWORD}
Built = Callable[..., Platform]


@pytest.fixture
def built(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Built]:
    monkeypatch.chdir(tmp_path)
    started: list[Platform] = []

    def make(**backup: object) -> Platform:
        given = {"hub": {"home": str(tmp_path / "home")}, "store": {"database_url": sqlite_url}, "logs": {"console": False}, "backup": backup}
        platform = build(given, environ=SECRET)
        platform.start()
        started.append(platform)
        return platform

    yield make
    for platform in started:
        platform.shutdown()


def out(platform: Platform, filename: str, folder: Path) -> dict[str, str]:
    """Take the files of a backup out and return what they say."""
    platform.backups.extract_files(filename, folder)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_settings_and_seals_go_along_and_secrets_do_not(built: Built, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"MAX_BACKUPS=3\nRAKIZA_MAIL_USERNAME={PASSWORD}\n")
    platform = built()
    platform.audit.record("INVOICE", "CREATE", "invoice:1")
    platform.audit.seal()
    anchor = tmp_path / "home" / "anchors" / "seals.notes"
    assert anchor.stat().st_size > 0
    copy = platform.backups.create_backup()
    found = out(platform, copy.filename, tmp_path / "out")
    assert set(found) == {"configuration/settings.json", "events/seals.notes"}
    assert found["events/seals.notes"] == anchor.read_text()
    told = {one["name"]: one for one in json.loads(found["configuration/settings.json"])}
    assert (told["MAX_BACKUPS"]["shown"], told["MAX_BACKUPS"]["source"]) == ("'3'", ".env")
    assert told["RAKIZA_MAIL_PASSWORD"]["shown"] == "***"
    safety = platform.backups.restore_backup(copy.filename).safety_backup
    assert platform.backups.get_backup(safety).parts == ()


def test_secrets_go_along_encrypted(built: Built, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_BACKUPS=3\n")
    public = make_key(tmp_path / "key")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "عقد").write_text("عقد")
    platform = built(recipients=[public], identity_file=str(tmp_path / "key"), include=[str(tmp_path / "uploads")])
    copy = platform.backups.create_backup()
    for path in platform.backups.folder.path.iterdir():
        assert PASSWORD.encode() not in path.read_bytes()
    found = out(platform, copy.filename, tmp_path / "out")
    assert found["configuration/.env"] == "MAX_BACKUPS=3\n"
    assert {one["name"]: one["shown"] for one in json.loads(found["configuration/settings.json"])}["RAKIZA_MAIL_PASSWORD"] == repr(PASSWORD)
    assert found[f"files{tmp_path}/uploads/عقد"] == "عقد"
    assert PASSWORD not in str(platform.ctx.reader.sources())


def test_nothing_goes_along_where_it_is_switched_off(built: Built, tmp_path: Path) -> None:
    platform = built(attach=False, include=[str(tmp_path)])
    assert platform.backups.create_backup().parts == ()


def test_a_wrong_recipient_stops_the_start(built: Built, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    for wrong in ("age1wrong", (tmp_path / "key").read_text().splitlines()[-1]):
        with pytest.raises(SettingsError, match="RAKIZA_BACKUP_RECIPIENTS: recipient 1 is") as caught:
            built(recipients=[wrong])
        assert "AGE-SECRET-KEY-1" not in str(caught.value)


def test_what_the_console_reads(built: Built, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    for file, readable in ((None, False), (str(tmp_path / "none"), False), (str(tmp_path / "key"), True)):
        platform = built(recipients=[public], identity_file=file)
        status = next(route for route in platform.routes() if route.path == "/api/backup/status")
        answer = msgspec.json.decode(status.handler(None).body)  # type: ignore[arg-type, union-attr]
        assert answer["encryption"] == {"recipients": [public], "readable": readable}


def test_the_commands(sqlite_url: str, tmp_path: Path) -> None:
    env = {"DATABASE_URL": sqlite_url, "BACKUP_DIR": str(tmp_path / "نسخ"), "RAKIZA_HUB_HOME": str(tmp_path / "home")}
    run = functools.partial(typed, env=env, cwd=tmp_path)
    public = run("backup", "key", "--to", "key")[-1]
    assert public.startswith("age1")
    env["RAKIZA_BACKUP_RECIPIENTS"] = public
    name = json.loads(run("backup", "create", "--json")[-1])["filename"]
    assert name.endswith(".db.zst.age")
    assert run("backup", "list")[-1].endswith("good, encrypted, files")
    assert "its key is not here" in run("backup", "verify", name)[-1]
    assert "nothing was touched" in "\n".join(run("backup", "restore", name, "--yes", code=2))
    env["RAKIZA_BACKUP_IDENTITY_FILE"] = str(tmp_path / "key")
    assert f"backup extract {name} --to FOLDER" in "\n".join(run("backup", "restore", name, "--yes"))
    assert f"files of {name} are in" in run("backup", "extract", name, "--to", "out")[-1]
    assert (tmp_path / "out" / "configuration" / "settings.json").is_file()


def test_a_key_that_others_may_read_is_told_of(built: Built, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    public = make_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        built(recipients=[public], identity_file=str(tmp_path / "key"))
    assert f"chmod 600 {tmp_path / 'key'}" in caplog.text
