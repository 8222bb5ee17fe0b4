"""A restore as a process of its own: the same platform again, nobody writes meanwhile, and the truth about how it went."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

import platforms
from patience import until
from rakiza import Platform, integrate
from rakiza._kernel import Recipe
from rakiza.backup import DatabaseBackup
from rakiza.backup._desk import PROGRESS
from rakiza.events import Consumer
from rakiza.hub import rebuild
from rakiza.store import Store, StoreError, epoch_of
from servers import Child

KEY = {"x-api-key": "an-operators-key-of-enough-length"}
Process = Callable[..., Child]
SQLITE = pytest.mark.parametrize("rooms_url", ["sqlite"], indirect=True)
"""What is asked does not depend on the database, or only through what has its own tests on both."""


class Site:
    """One application, asked without a server."""

    def __init__(self, url: str, home: Path) -> None:
        self.app = FastAPI()
        self.app.add_api_route("/orders", lambda: "طلب", methods=["GET", "POST"])
        settings = {"hub": {"home": str(home), "name": "نوفل"}, "security": {"ops_api_key": KEY["x-api-key"]}, "logs": {"console": False}}
        self.platform: Platform = integrate(self.app, {**settings, "store": {"database_url": url}, "events": {"anchor_seconds": 0.0}})
        self.platform.start()
        self.backups: DatabaseBackup = self.platform.backups

    def ask(self, method: str, path: str, status: int = 200, **given: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://site.example") as client:
                return await client.request(method, path, headers=KEY, **given)

        answer = asyncio.run(send())
        assert answer.status_code == status, answer.text
        return answer

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", "/_rakiza/api/backup/status").json()
        return found

    def write(self, *names: str) -> None:
        with self.platform.store.begin() as tx:
            tx.execute(sa.text("create table if not exists invoice (name text primary key)"))
            for name in names:
                tx.execute(sa.text("insert into invoice values (:name)"), {"name": name})

    def names(self) -> list[str]:
        with self.platform.store.read() as tx:
            return [row[0] for row in tx.execute(sa.text("select name from invoice order by name"))]


@pytest.fixture
def site(rooms_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(rooms_url, tmp_path / "home")
    yield made
    made.platform.shutdown()


# -- the same platform again


@pytest.mark.parametrize("make", [platforms.flask, platforms.asgi, platforms.erp])
def test_another_process_builds_the_same_platform(make: Callable[[str, Path], Platform], tmp_path: Path) -> None:
    one = make(f"sqlite:///{tmp_path}/نوفل.db", tmp_path)
    two = rebuild(msgspec.json.decode(one.ctx.recipe().written(), type=Recipe))
    assert {part.name for part in two.parts} == {part.name for part in one.parts}
    told = {(source.name, source.source, source.shown) for source in one.ctx.reader.sources() if "Path" not in source.shown}
    assert told <= {(source.name, source.source, source.shown) for source in two.ctx.reader.sources()}
    assert (two.backups.folder.path, two.store.url) == (one.backups.folder.path, one.store.url)
    assert (two.ctx.home, two.ctx.app_name, two.backups.policy) == (one.ctx.home, one.ctx.app_name, one.backups.policy)


HANDED = """
import sys
from pathlib import Path
import platforms
platform = getattr(platforms, sys.argv[1])(sys.argv[2], Path.cwd())
platform.start()
name = platform.backups.create_backup().filename
with platform.store.begin() as tx:
    tx.connection.exec_driver_sql("create table later (name text)")
route = next(route for route in platform.routes() if route.path == "/api/backup/undo")
route.handler.__self__._desk.hand_over("restore", name, ["restore", name, "--yes"], platform.ctx.recipe())
print("handed over")
"""


@pytest.mark.parametrize(("make", "rooms_url"), [("flask", "postgresql"), ("asgi", "sqlite"), ("erp", "sqlite")], indirect=["rooms_url"])
def test_a_restore_goes_on_when_the_application_is_killed(make: str, rooms_url: str, python_process: Process, tmp_path: Path) -> None:
    child = python_process(HANDED, make, rooms_url, cwd=tmp_path)
    child.wait_for("handed over", 60)
    child.kill9()

    def back() -> bool:
        with contextlib.closing(Store(rooms_url)) as store, contextlib.suppress(StoreError), store.read() as tx:
            return "later" not in sa.inspect(tx.connection).get_table_names()
        return False

    until(lambda: not list(tmp_path.rglob(PROGRESS)))  # a look at a folder costs less than one at a database
    until(back)


# -- how it went


def test_of_a_killed_restore_the_truth_is_told(site: Site) -> None:
    site.write("قبل")
    name = site.backups.create_backup().filename
    site.ask("POST", f"/api/backup/restore/{name}", 202, json={"confirm": name})
    assert site.status()["running"]["filename"] == name
    site.ask("POST", f"/api/backup/restore/{name}", 409, json={"confirm": name})
    note = msgspec.json.decode((site.backups.folder.path / PROGRESS).read_bytes())
    os.kill(note["pid"], signal.SIGKILL)
    until(lambda: site.status()["running"] is None)
    last = site.status()["last"]
    assert (last["what"], last["filename"]) == ("restore", name)
    assert "live data are as they were" in last["error"]
    assert site.names() == ["قبل"]
    (site.backups.folder.path / PROGRESS).write_bytes(msgspec.json.encode({**note, "epoch": "of-before"}))
    assert "live data are those that were brought back" in site.status()["last"]["error"]
    assert site.backups.restore_backup(name)
    assert site.status()["maintenance"] is None


@SQLITE
def test_a_process_that_cannot_begin_says_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    name = site.backups.create_backup().filename
    wrong = msgspec.structs.replace(site.platform.ctx.recipe(), settings={"hub": {"nmae": "نوفل"}})
    monkeypatch.setattr(site.platform.ctx, "recipe", lambda: wrong)
    site.ask("POST", f"/api/backup/restore/{name}", 202, json={"confirm": name})
    until(lambda: site.status()["running"] is None)
    assert "nmae" in site.status()["last"]["error"]


@SQLITE
def test_damaged_live_data_are_replaced_over_http(site: Site, rooms_url: str) -> None:
    live = Path(sa.make_url(rooms_url).database or "")
    site.write("قبل")
    name = site.backups.create_backup().filename
    site.platform.store.close()
    with contextlib.closing(sqlite3.connect(live)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    raw = live.read_bytes()
    live.write_bytes(b"\x00" * 4096 + raw[4096:])
    for tail in ("-wal", "-shm"):
        live.with_name(live.name + tail).unlink(missing_ok=True)
    for safety in (True, False):
        site.ask("POST", f"/api/backup/restore/{name}", 202, json={"confirm": name, "safety_backup": safety})
        until(lambda: not (site.backups.folder.path / PROGRESS).exists())
        error = msgspec.json.decode((site.backups.folder.path / ".last").read_bytes())["error"]
        assert ("could not be kept" in error) is safety
    site.platform.shutdown()
    with contextlib.closing(Store(rooms_url)) as store, store.read() as tx:
        assert tx.scalar(sa.text("select name from invoice")) == "قبل"


# -- maintenance

HOLD = """
import sys, time
from pathlib import Path
import platforms
site = platforms.asgi(sys.argv[1], Path(sys.argv[2]))
site.start()
with site.backups.quiet("restore"):
    print("held")
    time.sleep(600)
"""


@SQLITE
def test_nobody_writes_while_data_change_hands(site: Site, rooms_url: str, tmp_path: Path, python_process: Process) -> None:
    done: list[int] = []
    site.backups.create_backup()
    site.platform.jobs.job("note")(lambda: done.append(1))
    site.platform.jobs.job("tick")(lambda: done.append(2))
    site.platform.events.register_consumer(Consumer(name="webhook", event_types=("invoice.sent",), handler=lambda _: done.append(3)))
    child = python_process(HOLD, rooms_url, str(tmp_path / "home"))
    child.wait_for("held", 60)
    until(lambda: site.platform.ctx.maintenance.on)
    refused = site.ask("POST", "/orders", 503)
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("maintenance", "5")
    assert "نسخة احتياطية" in refused.json()["message_ar"]
    assert site.ask("GET", "/orders").json() == "طلب"
    assert site.status()["maintenance"]["what"] == "restore"
    site.ask("POST", "/api/backup/pin/backup_20260101_000000.db", 404, json={"pinned": True})
    job = site.platform.jobs.add_job("note").id
    site.platform.jobs.schedule("each-second", task="tick", every=timedelta(seconds=1))
    site.platform.events.append({"event_type": "invoice.sent", "aggregate_type": "invoice", "aggregate_id": "فاتورة-7", "payload": {}})
    time.sleep(1.5)  # a second in which the schedule is due
    assert site.platform.jobs.get_job(job).state == "ready"
    assert "tick" not in site.ask("GET", "/api/jobs?task=tick").text
    assert done == []
    child.kill9()
    until(lambda: {1, 2, 3} <= set(done))
    assert not site.platform.ctx.maintenance.on
    site.ask("POST", "/orders")


def test_other_machines_are_heard_and_believed_for_a_while(site: Site) -> None:
    def says(pause: object) -> None:
        site.platform.ctx.ports.signals.publish("maintenance", msgspec.json.encode(("other", pause)).decode())

    says({"since": "2026-01-01T00:00:00Z", "what": "restore"})
    until(lambda: site.platform.ctx.maintenance.on)
    assert site.status()["maintenance"] == {"since": "2026-01-01T00:00:00Z", "what": "restore"}
    says(None)
    until(lambda: not site.platform.ctx.maintenance.on)


# -- what restored data are


@SQLITE
def test_each_restore_begins_an_epoch_and_no_work_of_before_counts(site: Site) -> None:
    store, begun, go = site.platform.store, [], []

    @site.platform.jobs.job("long")
    def long() -> None:
        begun.append(1)
        until(lambda: go)

    job = site.platform.jobs.add_job("long").id
    until(lambda: begun)
    epoch = epoch_of(store)
    name = site.backups.create_backup().filename
    assert site.backups.folder.manifest(name).epoch == epoch != ""
    assert site.backups.restore_backup(name)
    assert epoch_of(store) not in {"", epoch}
    go.append(1)
    until(lambda: not any(worker.runs for worker in site.platform.jobs.workers))
    found = site.platform.jobs.get_job(job)
    assert (found.state, found.waits_for) == ("ready", "time"), "who began before does not end it"


def test_an_undone_restore_ends_sessions_and_pauses_queues_as_well(site: Site) -> None:
    site.write("قبل")
    name = site.backups.create_backup().filename
    site.write("بعد")
    site.backups.restore_backup(name)
    site.platform.security.create_link(site.platform.security.create_user("sara@example.com", "سارة", "admin"))
    site.platform.jobs.resume("backups")
    epoch = epoch_of(site.platform.store)
    undone = site.backups.undo()
    assert site.names() == ["بعد", "قبل"]
    assert epoch_of(site.platform.store) != epoch
    assert undone.safety_backup or undone.before
    with site.platform.store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from rakiza_security_link")) == 0
    site.backups.undo()
    assert site.names() == ["قبل"], "what was undone is undone in turn"
    recorded = site.ask("GET", "/api/audit", params={"event_type": "BACKUP_RESTORED"}).json()["records"]
    assert recorded


@SQLITE
def test_the_audit_trail_tells_the_truth_after_a_restore(site: Site) -> None:
    trail = site.platform.events.trail
    assert trail is not None
    record = site.platform.audit.record
    record("INVOICE_PAID", "UPDATE", "invoice:1")
    trail.seal()
    name = site.backups.create_backup().filename
    assert site.backups.restore_backup(name)
    assert trail.verify().ok, "restored to now, the log is whole"
    record("INVOICE_PAID", "UPDATE", "invoice:2")
    trail.seal()
    site.backups.restore_backup(name)
    assert not trail.verify().ok, "the end that the anchor knows is missing"
