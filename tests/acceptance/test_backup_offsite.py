"""Backups in other places through a platform: over HTTP, at the command line, and on a machine that has nothing but the address."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import sqlalchemy as sa

from backup_faults import run
from object_stores import Buckets
from patience import until
from rakiza import Platform, build
from rakiza._kernel import SYSTEM_CLOCK, SettingsError
from rakiza.backup import _checklist
from rakiza.backup.part import look
from rakiza.store import StorageError, Store
from rakiza.testing import FrozenClock
from servers import Child, free_port
from typed import typed

KEY = "an-operators-key-of-enough-length"
SERVED = """
import sys
from flask import Flask
from werkzeug.serving import make_server
from rakiza import integrate
app = Flask("site")
settings = {"hub": {"home": sys.argv[2], "name": "site"}, "security": {"ops_api_key": sys.argv[3]}, "logs": {"console": False}}
platform = integrate(app, settings)
server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
platform.start()
print("ready", flush=True)
server.serve_forever()
"""
Process = Callable[..., Child]


@pytest.fixture
def place(buckets: Buckets) -> str:
    return buckets.url(buckets.make(), "نوفل")


def shown(place: str) -> str:
    return place.partition("?")[0]


def test_over_http(python_process: Process, place: str, tmp_path: Path) -> None:
    port = free_port()
    env = {"RAKIZA_BACKUP_OFFSITE": place, "DATABASE_URL": f"sqlite:///{tmp_path / 'م.db'}"}
    python_process(SERVED, str(port), str(tmp_path / "home"), KEY, env=env, cwd=tmp_path).wait_for("ready")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/backup", timeout=60, headers={"x-api-key": KEY}, trust_env=False) as client:
        name = client.post("/create").json()["backup"]["filename"]
        until(lambda: client.get("/list").json()["backups"][0]["copies"][0]["state"] == "ok")
        copies = client.get("/list").json()["backups"][0]["copies"]
        assert (copies[0]["url"], copies[0]["state"], copies[0]["error"]) == (shown(place), "ok", "")
        [standing] = client.get("/status").json()["offsite"]
        assert (standing["url"], standing["backups"], standing["waiting"], standing["failed"], standing["error"]) == (shown(place), 1, 0, 0, "")
        [there] = client.get("/offsite").json()["backups"]
        assert set(there) == {"url", "filename", "size_mb", "timestamp", "here"}
        assert (there["filename"], there["here"]) == (name, True)
        assert client.post(f"/offsite/{name}").json()["success"] is True
        for odd in ("../../etc/passwd", "x"):
            assert client.post("/fetch", json={"url": shown(place), "filename": odd}).status_code == 422
        for elsewhere in ((tmp_path / "home").as_uri(), f"{shown(place)}?endpoint=http://127.0.0.1:1", "s3://another", ""):
            assert client.post("/fetch", json={"url": elsewhere, "filename": name}).status_code == 422, elsewhere
        (tmp_path / "home" / "backups" / name).unlink()
        (tmp_path / "home" / "backups" / f"{name}.json").unlink()
        assert client.get("/offsite").json()["backups"][0]["here"] is False
        assert client.post("/fetch", json={"url": shown(place), "filename": name}).json()["backup"]["filename"] == name
        assert client.post(f"/verify/{name}").json()["success"] is True
        assert "endpoint=" not in client.get("/list").text + client.get("/status").text + client.get("/offsite").text


def test_a_machine_that_has_only_the_address_gets_its_data_back_with_one_command(place: str, tmp_path: Path) -> None:
    def rakiza(machine: str, *arguments: str, code: int = 0) -> list[str]:
        home = tmp_path / machine
        home.mkdir(exist_ok=True)
        env = {"DATABASE_URL": f"sqlite:///{home / 'app.db'}", "RAKIZA_HUB_HOME": str(home), "BACKUP_DIR": str(home / "نسخ")}
        return typed(*arguments, env=env | ({"RAKIZA_BACKUP_OFFSITE": place} if machine == "old" else {}), cwd=home, code=code)

    (tmp_path / "old").mkdir()
    run(f"sqlite:///{tmp_path / 'old' / 'app.db'}", "create table invoice (name text)", "insert into invoice values ('فاتورة ١')")
    name = json.loads(rakiza("old", "backup", "create", "--json")[-1])["filename"]
    assert rakiza("old", "backup", "copy", name)[-1] == f"{shown(place)}\tok"
    assert rakiza("old", "backup", "list", "--from", shown(place))[-1].startswith(f"{name}\t")
    said = "\n".join(rakiza("new", "backup", "restore", "newest", "--from", place, "--yes"))
    assert f"{name} is the live data" in said
    store = Store(f"sqlite:///{tmp_path / 'new' / 'app.db'}")
    with store.read() as tx:
        assert tx.scalar(sa.text("select name from invoice")) == "فاتورة ١"
    store.close()


@pytest.fixture
def folder_platform(tmp_path: Path) -> Iterator[Platform]:
    (tmp_path / "disk").mkdir()
    made = build({
        "hub": {"home": tmp_path / "home", "name": "نوفل"}, "logs": {"console": False}, "jobs": {"work": False},
        "backup": {"offsite": ((tmp_path / "disk").as_uri(),)},
    })  # fmt: skip
    made.start()
    yield made
    made.shutdown()


def test_one_job_for_a_backup_and_a_place(folder_platform: Platform) -> None:
    platform = folder_platform
    name = platform.backups.create_backup().filename
    platform.backups.spread()
    platform.backups.spread()
    assert [one.state for one in platform.backups.get_backup(name).copies] == ["waiting"]
    assert platform.jobs.drain("backups") == 1
    [copy] = platform.backups.get_backup(name).copies
    assert copy.state == "ok"
    platform.backups.spread()
    assert platform.jobs.drain("backups") == 0


def test_a_backup_that_is_gone_needs_no_copy(folder_platform: Platform, tmp_path: Path) -> None:
    first = folder_platform.backups.create_backup().filename
    folder_platform.backups.create_backup("second")
    folder_platform.backups.delete_backup(first)
    assert folder_platform.jobs.drain("backups") == 2
    assert {path.name.partition("_")[0] for path in (tmp_path / "disk").iterdir()} == {"second"}


def test_the_check_warns_of_what_was_not_taken_and_waits_too_long(folder_platform: Platform, tmp_path: Path) -> None:
    backups, clock = folder_platform.backups, FrozenClock(SYSTEM_CLOCK.now())
    name = backups.create_backup().filename
    settings = SimpleNamespace(scheduler=False, max_age_hours=26.0)

    def seen() -> tuple[str, str]:
        found = look(backups, settings, SimpleNamespace(clock=clock))  # type: ignore[arg-type]
        return found.status, found.output or ""

    assert seen() == ("pass", "")
    clock.advance(27 * 3600)
    assert seen() == ("warn", f"{name} has no copy in {(tmp_path / 'disk').as_uri()}: no worker took it there")
    (tmp_path / "disk").rmdir()
    with pytest.raises(StorageError):
        backups.offsite.copy(name, (tmp_path / "disk").as_uri())
    status, said = seen()
    assert (status, "there is no folder" in said) == ("warn", True)
    assert "backup_copies_failed 1.0" in folder_platform.metrics.render().decode()  # type: ignore[attr-defined]


def test_three_copies_two_media_and_one_elsewhere_are_told_as_they_are(folder_platform: Platform, tmp_path: Path) -> None:
    backups = folder_platform.backups

    def seen() -> dict[str, tuple[bool, str]]:
        no_scheduler, settings = SimpleNamespace(get_jobs=list), SimpleNamespace(max_age_hours=26.0)
        found = _checklist.checklist(backups, no_scheduler, settings, SYSTEM_CLOCK.now())  # type: ignore[arg-type]
        return {one.name: (one.ok, one.said) for one in found if one.name in {"copies", "media", "offsite"}}

    assert seen() == {
        "copies": (False, "1 of 3: the database"),
        "media": (False, "all copies seen are on one disk"),
        "offsite": (False, "no backup has a copy in another place"),
    }
    backups.create_backup()
    assert seen()["copies"][1].startswith("2 of 3: the database, the folder")
    folder_platform.jobs.drain("backups")
    disk = (tmp_path / "disk").as_uri()
    assert {name: ok for name, (ok, _) in seen().items()} == {"copies": True, "media": False, "offsite": False}
    assert seen()["offsite"][1] == f"{disk} is a folder of this machine"


def test_storage_elsewhere_makes_three_two_one_and_an_old_copy_does_not(place: str, tmp_path: Path) -> None:
    made = build({
        "hub": {"home": tmp_path, "name": "نوفل"}, "logs": {"console": False}, "jobs": {"work": False}, "backup": {"offsite": (place,)},
    })  # fmt: skip
    made.start()
    try:
        made.backups.create_backup()
        made.jobs.drain("backups")
        scheduler, settings = SimpleNamespace(get_jobs=list), SimpleNamespace(max_age_hours=26.0)

        def seen() -> dict[str, bool]:
            found = _checklist.checklist(made.backups, scheduler, settings, SYSTEM_CLOCK.now())  # type: ignore[arg-type]
            return {one.name: one.ok for one in found if one.name in {"copies", "media", "offsite"}}

        assert seen() == {"copies": True, "media": True, "offsite": True}
        settings.max_age_hours = -1.0  # any older one is too old
        made.backups.create_backup("later")
        assert seen() == {"copies": False, "media": False, "offsite": False}
    finally:
        made.shutdown()


def test_an_address_that_cannot_be_stops_the_start() -> None:
    for wrong in ("ftp://x", "s3://key:secret-word@bucket", "s3://b?secret_access_key=secret-word"):
        with pytest.raises(SettingsError, match="RAKIZA_BACKUP_OFFSITE") as caught:
            build({"logs": {"console": False}, "backup": {"offsite": (wrong,)}})
        assert "secret-word" not in str(caught.value)
