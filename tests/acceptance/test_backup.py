"""Backups through a platform around an application: the specified script, the specified bodies, refusals, and what a restore leaves alone."""

import contextlib
import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import sqlalchemy as sa
from flask import Flask

from mail_servers import Inbox, smtp_server
from patience import until
from rakiza import Platform, build, integrate
from rakiza._kernel import Credentials
from rakiza.backup import BackupRefusedError, BackupRunningError, init_backup
from rakiza.errors import ErrorTracker
from rakiza.events import Consumer, Event, Projection
from rakiza.hub import platform_of
from rakiza.jobs import Jobs
from rakiza.store import Store, Transaction
from servers import Child, free_port
from typed import typed

KEY = "an-operators-key-of-enough-length"
KEYS = {"x-api-key": KEY}
SQLITE = pytest.mark.parametrize("rooms_url", ["sqlite"], indirect=True)
"""What is asked does not depend on the database, or only through what has its own tests on both."""
NAME = r"backup_\d{8}_\d{6}(_\d+)?\.(db|dump)\.zst"


async def application(scope: object, receive: object, send: object) -> None:
    """Do nothing."""


def settings(home: Path, url: str, **rooms: object) -> dict[str, dict[str, object]]:
    given: dict[str, dict[str, object]] = {
        "hub": {"home": str(home), "name": "نوفل"}, "store": {"database_url": url}, "logs": {"console": False}, "security": {"ops_api_key": KEY},
    }  # fmt: skip
    return given | rooms  # type: ignore[operator]


@pytest.fixture
def platform(rooms_url: str, tmp_path: Path) -> Iterator[Platform]:
    made = integrate(application, settings(tmp_path, rooms_url))
    made.start()
    yield made
    made.shutdown()


def invoices(store: Store, *names: str) -> None:
    """Write rows of an application's own."""
    with store.begin() as tx:
        tx.execute(sa.text("create table if not exists invoice (name text primary key)"))
        for name in names:
            tx.execute(sa.text("insert into invoice values (:name)"), {"name": name})


def names(store: Store) -> list[str]:
    with store.read() as tx:
        return [row[0] for row in tx.execute(sa.text("select name from invoice order by name"))]


# -- over HTTP

SERVED = """
import sys
from rakiza import integrate
{app}
settings = {{'hub': {{'home': sys.argv[2], 'name': 'site'}}, 'security': {{'ops_api_key': {key!r}}}, 'store': {{'database_url': sys.argv[3]}}}}
platform = integrate(app, settings)
{serve}
"""
HOSTS = {
    "flask": (
        "from flask import Flask\napp = Flask('site')",
        "from werkzeug.serving import make_server\nserver = make_server('127.0.0.1', int(sys.argv[1]), app, threaded=True)\n"
        "platform.start()\nprint('ready', flush=True)\nserver.serve_forever()",
    ),
    "asgi": (
        "from starlette.applications import Starlette\napp = Starlette()",
        "from rakiza.serve import serve_uvicorn\n"
        "serve_uvicorn(platform.app, platform, '127.0.0.1', int(sys.argv[1]), lambda port: print('ready', flush=True))",
    ),
}
HOSTED = [("flask", "sqlite"), ("asgi", "postgresql")]


@pytest.fixture
def client(host: str, python_process: Callable[..., Child], rooms_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    app, serve = HOSTS[host]
    port = free_port()
    child = python_process(SERVED.format(app=app, serve=serve, key=KEY), str(port), str(tmp_path / "home"), rooms_url, cwd=tmp_path)
    child.wait_for("ready")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers=KEYS) as made:
        yield made


@pytest.mark.parametrize(("host", "rooms_url"), HOSTED, indirect=["rooms_url"])
def test_the_specified_bodies(client: httpx.Client, rooms_url: str, tmp_path: Path) -> None:
    outside = Store(rooms_url)
    invoices(outside, "فاتورة ١")
    made = client.post("/api/backup/create").json()
    assert (made["success"], set(made["backup"])) == (True, {"filename", "size_mb", "timestamp"})
    name = made["backup"]["filename"]
    assert re.fullmatch(NAME, name)
    assert made["backup"]["timestamp"].endswith(("Z", "+00:00"))

    [listed] = client.get("/api/backup/list").json()["backups"]
    more = {"kind", "database_type", "pinned", "verified_at", "drilled_at", "rows", "safety", "seconds", "encrypted", "parts", "copies"}
    assert set(listed) == {"filename", "size_mb", "timestamp", "compressed"} | more
    assert (listed["filename"], listed["compressed"], listed["safety"]) == (name, True, False)
    stats = client.get("/api/backup/stats").json()
    assert (stats["total_backups"], stats["oldest_backup"]) == (1, stats["newest_backup"])
    assert set(stats["backups"][0]) == {"filename", "size_mb", "timestamp"}

    verified = client.post(f"/api/backup/verify/{name}").json()
    assert (verified["success"], verified["backup"]["filename"], verified["problem"]) == (True, name, None)
    assert client.post("/api/backup/drill").json()["backup"]["drilled_at"]
    assert client.post(f"/api/backup/pin/{name}", json={"pinned": True}).json()["backup"]["pinned"] is True
    assert client.delete(f"/api/backup/delete/{name}").status_code == 409
    assert client.post(f"/api/backup/pin/{name}", json={"pinned": False}).json()["backup"]["pinned"] is False
    downloaded = client.get(f"/api/backup/download/{name}")
    assert downloaded.content == (tmp_path / "home" / "backups" / name).read_bytes()
    assert name in downloaded.headers["content-disposition"]

    invoices(outside, "فاتورة ٢")
    answer = client.post(f"/api/backup/restore/{name}", json={"confirm": name})
    assert (answer.status_code, answer.json()) == (202, {"success": True, "restore": {"filename": name}})
    status = ended(client, "restore")
    outside.close()
    outside = Store(rooms_url)
    assert names(outside) == ["فاتورة ١"]
    outside.close()
    assert set(status) == {
        "running", "next", "policy", "newest_good", "drilled_at", "free_bytes", "last", "last_error", "checklist", "folder", "maintenance", "undo",
        "encryption", "offsite", "drills", "before",
    }  # fmt: skip
    assert (status["running"], status["last_error"], status["next"]) == (None, None, [])
    assert {one["name"]: one["ok"] for one in status["checklist"]} == {
        "scheduler": False, "recent": True, "drill": True, "disk": True, "copies": False, "media": False, "offsite": False,
    }  # fmt: skip
    last, undo = status["last"], status["undo"]
    assert set(last) == {"what", "error", "filename", "at", "rows", "seconds", "seconds_away", "safety_backup", "before"}
    assert (last["filename"], last["error"], status["maintenance"], undo["filename"]) == (name, "", None, last["before"] or last["safety_backup"])
    assert last["safety_backup"] in {one["filename"] for one in client.get("/api/backup/list").json()["backups"]}
    assert client.delete(f"/api/backup/delete/{name}").json() == {"success": True}
    found = client.get("/api/audit", params={"resource": f"backup:{name}"}).json()
    assert ("BACKUP_RESTORED", "ops-api-key") in {(one["event_type"], one["user_id"]) for one in found["records"]}

    assert client.post("/api/backup/undo", json={"confirm": name}).status_code == 422
    assert client.post("/api/backup/undo", json={"confirm": undo["filename"]}).status_code == 202
    assert ended(client, "undo")["undo"]["filename"] != undo["filename"]
    outside = Store(rooms_url)
    assert names(outside) == ["فاتورة ١", "فاتورة ٢"]
    outside.close()


def ended(client: httpx.Client, what: str) -> dict[str, Any]:
    """Return the status when a restore is over and has gone well."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        answer = client.get("/_rakiza/api/backup/status")
        found: dict[str, Any] = answer.json()
        assert answer.status_code == 200 or found["code"] == "store_unavailable", found  # PostgreSQL, in the moment of the swap
        if answer.status_code == 200 and found["running"] is None and found["last"] is not None and found["last"]["what"] == what:
            assert found["last"]["error"] == ""
            return found
        time.sleep(0.5)
    raise AssertionError("it does not end")


@pytest.mark.parametrize(("host", "rooms_url"), HOSTED, indirect=["rooms_url"])
def test_refusals(client: httpx.Client) -> None:
    name = client.post("/api/backup/create").json()["backup"]["filename"]
    for method, path in (("POST", "create"), ("GET", "list"), ("GET", "status"), ("POST", f"restore/{name}"), ("GET", f"download/{name}")):
        assert client.request(method, f"/api/backup/{path}", headers={"x-api-key": "wrong"}).status_code == 401, path
    missing = "backup_20200101_000000.db.zst"
    for method, path in (("POST", "verify"), ("POST", "restore"), ("DELETE", "delete"), ("GET", "download")):
        answer = client.request(method, f"/api/backup/{path}/{missing}", json={"confirm": missing})
        assert (answer.status_code, answer.json()["code"]) == (404, "backup_not_found"), path
    for odd in ("..%2F..%2Fetc%2Fpasswd", "%2e%2e", ".lock", "backup_20251106_153045.db.zst%0A", f"{name}.json", "نسخة", "-rf"):
        for method, path in (("POST", "verify"), ("POST", "restore"), ("DELETE", "delete"), ("GET", "download"), ("POST", "pin")):
            assert client.request(method, f"/api/backup/{path}/{odd}", json={"confirm": odd}).status_code in {404, 405, 422}, odd
    for body in ({}, {"confirm": "yes"}, {"confirm": missing}):
        answer = client.post(f"/api/backup/restore/{name}", json=body)
        assert (answer.status_code, name in answer.json()["detail"]) == (422, True)
    assert client.post(f"/api/backup/restore/{name}", json={"confirm": 1}).status_code in {400, 422}
    assert client.delete(f"/api/backup/delete/{name}").json()["code"] == "backup_refused"


@SQLITE
def test_who_may_do_what(platform: Platform) -> None:
    asked = {route.path.removeprefix("/api/backup/"): route.permission for route in platform.routes() if route.path.startswith("/api/backup/")}
    assert asked == {
        "create": "ops.write", "list": "ops.read", "stats": "ops.read", "status": "ops.read", "verify/{filename}": "ops.write", "drill": "ops.write",
        "restore/{filename}": "ops.admin", "undo": "ops.admin",
        "pin/{filename}": "ops.write", "delete/{filename}": "ops.write", "download/{filename}": "ops.admin",
        "offsite": "ops.read", "offsite/{filename}": "ops.write", "fetch": "ops.admin",
    }  # fmt: skip


# -- in Python


@SQLITE
def test_the_specified_script(tmp_path: Path, rooms_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = Flask(__name__)
    app.config.update(DATABASE_URL=rooms_url, BACKUP_DIR=str(tmp_path / "نسخ"), MAX_BACKUPS=7, RAKIZA_LOGS_CONSOLE=False)
    backup = init_backup(app)
    platform = platform_of(app)
    assert platform is not None
    platform.start()
    invoices(platform.store, "فاتورة")

    made = backup.create_backup()
    backups = backup.list_backups()
    assert [one.filename for one in backups] == [made.filename]
    assert backup.restore_backup(backups[0].filename)
    assert backup.get_backup_stats()["total_backups"] == 2
    assert platform.backups is backup
    assert names(platform.store) == ["فاتورة"]
    platform.shutdown()


def test_a_restore_leaves_the_platform_whole(platform: Platform) -> None:
    invoices(platform.store, "قبل")
    heard: list[str] = []
    listener = platform.ctx.ports.signals.hear("greeting", heard.append, lambda: None)
    platform.security.create_link(platform.security.create_user("sara@example.com", "سارة", "admin"))
    platform.cache.set("invoice:count", 1)
    made = platform.backups.create_backup()
    invoices(platform.store, "بعد")
    platform.cache.set("invoice:count", 2)
    assert platform.backups.restore_backup(made.filename)
    assert names(platform.store) == ["قبل"]
    assert platform.cache.get("invoice:count") is None, "what was known of the data of before is forgotten"
    with platform.store.read() as tx:
        for table in ("session", "link"):
            assert tx.scalar(sa.text(f"select count(*) from rakiza_security_{table}")) == 0, table
    until(lambda: (platform.ctx.ports.signals.publish("greeting", "أهلا"), heard)[1])
    del listener
    assert platform.health.report(with_details=True)["status"] in {"pass", "warn"}


class Totals(Projection):
    """Keep the names of invoices in a table of their own."""

    name = "invoice_names"
    event_types = ("invoice.created",)

    def create(self, tx: Transaction, table: str) -> None:
        tx.execute(sa.text(f"create table {table} (name text)"))

    def handle(self, tx: Transaction, event: Event, table: str) -> None:
        tx.execute(sa.text(f"insert into {table} values (:name)"), {"name": event.payload["name"]})


def test_projections_and_consumers_go_on_from_the_restored_log(platform: Platform) -> None:
    told: list[str] = []
    platform.events.register_projection(Totals())
    webhook = Consumer(name="webhook", event_types=("invoice.created",), handler=lambda event: told.append(str(event.payload)))
    platform.events.register_consumer(webhook)

    def create(name: str) -> None:
        given = {"event_type": "invoice.created", "aggregate_type": "Invoice", "aggregate_id": name, "payload": {"name": name}}
        platform.events.append(given)

    def seen() -> list[str]:
        with platform.store.read() as tx:
            return [row[0] for row in tx.execute(sa.text("select name from p_invoice_names order by name"))]

    create("1")
    until(lambda: told)
    platform.events.catch_up()
    until(lambda: seen() == ["1"] and len(told) == 1)
    made = platform.backups.create_backup()
    for name in ("2", "3", "4"):
        create(name)
    until(lambda: seen() == ["1", "2", "3", "4"] and len(told) == 4)
    assert platform.backups.restore_backup(made.filename)
    assert seen() == ["1"]
    create("5")
    until(lambda: seen() == ["1", "5"])
    until(lambda: len(told) == 5)


def test_no_process_knows_a_session_of_before(rooms_url: str, tmp_path: Path) -> None:
    security = {"ops_api_key": KEY, "session_cache_seconds": 300.0}
    one, two = (integrate(application, settings(tmp_path / name, rooms_url, security=security)) for name in ("one", "two"))
    one.start()
    two.start()
    one.security.create_user("sara@example.com", "سارة", "admin", "a long enough password of hers")
    token, _ = one.security.sign_in("sara@example.com", "a long enough password of hers")
    shown = Credentials(session=token)
    assert one.security.authenticate(shown)
    assert two.security.authenticate(shown)
    made = one.backups.create_backup()
    one.cache.set("invoice:count", 1)
    two.cache.set("invoice:count", 1)
    assert two.security.recall(shown), "it is known from memory for minutes"
    assert one.backups.restore_backup(made.filename)
    assert one.security.recall(shown) is None
    assert one.security.authenticate(shown) is None
    until(lambda: two.security.recall(shown) is None)
    assert two.security.authenticate(shown) is None
    until(lambda: two.cache.get("invoice:count") is None)
    two.shutdown()
    one.shutdown()


@SQLITE
def test_a_backup_of_a_newer_version_is_refused_and_nothing_changes(platform: Platform) -> None:
    invoices(platform.store, "قبل")
    version = sa.text("update rakiza_jobs_version set version_num = :to")
    with platform.store.read() as tx:
        [(here,)] = tx.execute(sa.text("select version_num from rakiza_jobs_version"))
    with platform.store.begin() as tx:
        tx.execute(version, {"to": "9999"})
    made = platform.backups.create_backup()
    with platform.store.begin() as tx:
        tx.execute(version, {"to": here})
    invoices(platform.store, "بعد")
    with pytest.raises(BackupRefusedError, match="newer than this program"):
        platform.backups.restore_backup(made.filename)
    assert names(platform.store) == ["بعد", "قبل"]


@SQLITE
def test_a_mail_is_not_sent_twice_after_a_restore(rooms_url: str, tmp_path: Path) -> None:
    with smtp_server() as inbox:
        mail = {"host": "127.0.0.1", "port": inbox.port, "security": "none", "sender": "no-reply@example.com", "timeout_seconds": 5}
        platform = integrate(application, settings(tmp_path, rooms_url, mail=mail))
        platform.start()
        try:
            _restore_over_a_sent_mail(platform, inbox)
        finally:
            platform.shutdown()


def _restore_over_a_sent_mail(platform: Platform, inbox: Inbox) -> None:
    jobs: Jobs = platform.jobs
    jobs.stop()
    job_id = jobs.add_job("email:send", {"to": "sara@example.com", "subject": "مرحباً", "body": "محتوى"}).id
    made = platform.backups.create_backup()
    jobs.start()
    until(lambda: len(inbox.taken) == 1 and jobs.get_job(job_id).state == "done")
    later = jobs.add_job("email:send", {"to": "ali@example.com", "subject": "مرحباً", "body": "محتوى"}).id
    until(lambda: len(inbox.taken) == 2)

    assert platform.backups.restore_backup(made.filename)
    with platform.store.read() as tx:
        queues = jobs.engine.queues(tx)
        assert {name: row.paused for name, row in queues.items() if name != "backups"} == dict.fromkeys(set(queues) - {"backups"}, True)
        assert not queues["backups"].paused
    assert jobs.get_job(job_id).state in {"ready", "retry"}
    assert jobs.get_job(job_id).waits_for == "time", "no worker may take it before it has seen that its queue stands still"
    assert jobs.add_job("email:send", {"to": "new@example.com", "subject": "مرحباً", "body": "محتوى"}).id > later, "numbers are given once"
    time.sleep(3)  # a worker that looked at nothing would have sent it
    assert [one.recipients for one in inbox.taken] == [["sara@example.com"], ["ali@example.com"]]


@SQLITE
def test_a_schedule_makes_backups_and_one_nobody_asks_for_goes(rooms_url: str, tmp_path: Path) -> None:
    on = {"scheduler": True, "hour": 3, "minute": 30, "timezone": "Asia/Riyadh", "max_age_hours": 26}
    for asked in (on, {}):
        platform = integrate(application, settings(tmp_path, rooms_url, backup=asked))
        platform.start()
        found = [one for one in platform.jobs.schedules.all() if one.task == "backup:create"]
        assert [(one.name, one.expression, one.timezone) for one in found] == ([("backup-daily", "30 3 * * *", "Asia/Riyadh")] if asked else [])
        check = next(seen.check for seen in platform.health.observations() if seen.check.name == "backup")
        assert check.fn().status == ("warn" if asked else "pass")  # type: ignore[union-attr]
        if asked:
            job_id = platform.jobs.run_schedule("backup-daily")
            until(lambda: platform.jobs.get_job(job_id).state == "done")  # noqa: B023 - called at once
            assert platform.jobs.get_job(job_id).result["filename"] == platform.backups.list_backups()[0].filename
            assert check.fn().status == "pass"  # type: ignore[union-attr]
            assert b"backup_newest_age_seconds" in platform.metrics.render()
        platform.shutdown()


class Received(BaseHTTPRequestHandler):
    """Keep what a webhook is sent."""

    bodies: ClassVar[list[dict[str, object]]] = []

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def webhook() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Received)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Received.bodies.clear()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_drill_that_fails_is_told_to_everybody_until_one_works_again(sqlite_url: str, tmp_path: Path) -> None:
    with smtp_server() as inbox, webhook() as hook:
        alerts = {"alert_email_to": "مدير@example.com", "alert_after_seconds": 5, "alert_webhook_url": hook}
        alerts["thresholds"] = dict.fromkeys(("cpu", "ram", "disk", "swap", "error_rate", "p95", "loop_lag"), 0)
        mail = {"host": "127.0.0.1", "port": inbox.port, "security": "none", "sender": "no-reply@example.com"}
        backup = {"scheduler": True, "drill": "monthly", "hour": 23, "timezone": "Asia/Riyadh"}
        platform = integrate(application, settings(tmp_path, sqlite_url, backup=backup, monitoring=alerts, mail=mail))
        invoices(platform.store, "فاتورة")
        platform.backups.create_backup()
        platform.start()
        found = {one.name: (one.expression, one.task) for one in platform.jobs.schedules.all() if one.task == "backup:drill"}
        assert found == {"backup-drill": ("0 1 1 * *", "backup:drill")}
        name = platform.backups.list_backups()[0].filename
        raw = platform.backups.path_of(name).read_bytes()
        platform.backups.path_of(name).write_bytes(raw[:-7])
        job_id = platform.jobs.run_schedule("backup-drill")
        until(lambda: platform.jobs.get_job(job_id).state == "done")
        assert platform.jobs.get_job(job_id).result["ok"] is False
        until(lambda: inbox.taken and Received.bodies)
        assert "تنبيه من نوفل: الفحص backup: أخفقت آخر تجربة" in inbox.taken[0].header("subject")
        assert "Alert from نوفل: Check backup: the last drill failed" in inbox.taken[0].header("subject")
        assert (Received.bodies[0]["event"], name in str(Received.bodies[0]["text"])) == ("raised", True)
        tracker = platform.service("errors", ErrorTracker)
        tracker.flush()
        assert any("the drill of the backups failed" in str(one) for one in tracker.groups.page())
        platform.backups.create_backup()
        platform.backups.drill()
        until(lambda: len(Received.bodies) > 1)
        assert Received.bodies[1]["event"] == "ended"
        assert b"\nbackup_drill_age_seconds " in platform.metrics.render()
        platform.shutdown()


@SQLITE
def test_a_job_waits_while_another_process_is_at_work(platform: Platform) -> None:
    with platform.backups.folder.working():
        with pytest.raises(BackupRunningError):
            platform.backups.create_backup()
        job_id = platform.jobs.add_job("backup:create").id
        until(lambda: platform.jobs.get_job(job_id).waits_for == "time")
        assert platform.jobs.get_job(job_id).attempt <= 1
    assert platform.backups.list_backups() == []


def test_a_backup_that_is_cancelled_leaves_nothing(rooms_url: str, tmp_path: Path) -> None:
    platform = integrate(application, settings(tmp_path, rooms_url, backup={"megabytes_a_second": 0.2}))
    platform.start()
    with platform.store.begin() as tx:
        tx.execute(sa.text("create table note (body text)"))
        tx.execute(sa.text("insert into note values (:body)"), {"body": "ا" * 600_000})
    job_id = platform.jobs.add_job("backup:create").id
    until(lambda: platform.jobs.get_job(job_id).progress_text)
    assert {one.name.partition("-")[0] for one in platform.backups.folder.path.iterdir()} >= {".tmp"}
    platform.jobs.cancel(job_id)
    until(lambda: platform.jobs.get_job(job_id).state == "cancelled")
    assert platform.backups.list_backups() == []
    assert [one.name for one in platform.backups.folder.path.iterdir() if one.name not in {".changes", ".lock", ".last"}] == []
    platform.shutdown()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "file").write_text("")
    platform = build(settings(tmp_path, sqlite_url, backup={"folder": str(tmp_path / "file" / "نسخ")}), environ={})
    check = next(seen.check for seen in platform.health.observations() if seen.check.name == "backup")
    found = check.fn()
    assert found.status == "warn"  # type: ignore[union-attr]
    assert "BACKUP_DIR" in (found.output or "")  # type: ignore[union-attr]


# -- at the command line

Run = Callable[..., list[str]]


def command(url: str, tmp_path: Path) -> Run:
    env = {"DATABASE_URL": url, "BACKUP_DIR": str(tmp_path / "نسخ"), "RAKIZA_HUB_HOME": str(tmp_path / "home")}
    return functools.partial(typed, env=env, cwd=tmp_path)


@pytest.fixture
def rakiza(rooms_url: str, tmp_path: Path) -> Run:
    return command(rooms_url, tmp_path)


@SQLITE
def test_the_commands(rakiza: Run) -> None:
    made = json.loads(rakiza("backup", "create", "--json")[-1])
    name = made["filename"]
    assert json.loads(rakiza("backup", "list", "--json")[-1])[0]["filename"] == name
    assert any(name in line for line in rakiza("backup", "list"))
    assert rakiza("backup", "verify", name)[-1].startswith(f"{name} is good")
    assert "nobody is here to confirm" in "\n".join(rakiza("backup", "restore", name, code=2))
    said = "\n".join(rakiza("backup", "restore", name, "--yes"))
    assert f"{name} is the live data" in said
    assert "before_restore_" in said
    assert "no name of a backup" in "\n".join(rakiza("backup", "verify", "../../etc/passwd", code=2))
    assert rakiza("backup", "delete", name)[-1] == f"{name} is deleted"


def test_a_backup_is_compared_and_brought_to_life_beside_the_live_data(rakiza: Run, rooms_url: str, tmp_path: Path) -> None:
    invoices(outside := Store(rooms_url), "فاتورة ١", "فاتورة ٢")
    name = json.loads(rakiza("backup", "create", "--json")[-1])["filename"]
    with outside.begin() as tx:
        tx.execute(sa.text("delete from invoice where name = 'فاتورة ٢'"))
    [found] = json.loads(rakiza("backup", "compare", name, "--tables", "invoice", "--show", "5", "--json")[-1])["tables"]
    assert (found["only_backup"], found["equal"], found["shown"]) == (1, 1, [{"key": {"name": "فاتورة ٢"}, "old": {"name": "فاتورة ٢"}, "new": None}])
    to = f"beside_{free_port()}"
    said = rakiza("backup", "aside", name, "--to", to, "--tables", "invoice", "--where", "name=فاتورة ٢")[-1]
    assert re.search(rf"{name} is in \S+{to}: 1 rows in 1 tables", said), said
    if outside.dialect == "sqlite":
        with contextlib.closing(Store(str(tmp_path / to))) as aside:
            assert names(aside) == ["فاتورة ٢"]
    else:
        with outside.raw_connection() as connection:
            connection.execute(f"drop database {to}")
    outside.close()


@SQLITE
def test_a_damaged_backup_is_not_restored(rakiza: Run, tmp_path: Path) -> None:
    name = json.loads(rakiza("backup", "create", "--json")[-1])["filename"]
    path = tmp_path / "نسخ" / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert "NOT good" in "\n".join(rakiza("backup", "verify", name, code=1))
    assert "SHA-256" in "\n".join(rakiza("backup", "restore", name, "--yes", code=2))


@pytest.mark.parametrize("lost", ["damaged", "deleted"])
def test_a_database_that_is_lost_is_brought_back(tmp_path: Path, lost: str) -> None:
    live = tmp_path / "app.db"
    run = command(f"sqlite:///{live}", tmp_path)
    run("user", "create", "sara@example.com")
    name = json.loads(run("backup", "create", "--json")[-1])["filename"]
    for tail in ("-wal", "-shm"):
        live.with_name(live.name + tail).unlink(missing_ok=True)
    if lost == "deleted":
        live.unlink()
    else:
        live.write_bytes(b"\x00" * 4096 + live.read_bytes()[4096:])
        run("user", "list", code=2)
        assert "restore without a safety backup" in "\n".join(run("backup", "restore", name, "--yes", code=2))
    assert any(name in line for line in run("backup", "list"))
    run("backup", "restore", name, "--yes", "--no-safety")
    assert any("sara@example.com" in line for line in run("user", "list"))
