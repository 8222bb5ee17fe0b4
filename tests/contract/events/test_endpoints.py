"""What an operator sees of the log and the audit trail, over a platform on both databases."""

import asyncio
import base64
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

import laid
from rakiza import Platform, integrate
from rakiza._kernel import Principal, Request, RequestContext, Response, use_context
from rakiza.errors import NotFoundError
from rakiza.events import AuditQuery, Consumer, EventError
from rakiza.events.http import Endpoints
from rakiza.logs import log_audit

IDLE = ("monitoring", "backup", "jobs", "mail", "outbound", "caching", "console", "resilience")
"""Rooms that have no part in it: half of what a start costs."""
ON_ONE = pytest.mark.parametrize("site", ["sqlite"], indirect=True)
"""For what asks nothing of the database that another test here does not."""
KEY = {"X-API-Key": "an-operators-key-of-enough-length"}


class Site:
    """One application, asked without a server."""

    def __init__(self, url: str, home: Path) -> None:
        self.app = FastAPI()
        settings = {"hub": {"home": str(home)}, "security": {"ops_api_key": KEY["X-API-Key"]}, "logs": {"console": False}}
        given: dict[str, dict[str, object]] = {**settings, "store": {"database_url": url}, "events": {"seal_seconds": 3600}}
        self.platform: Platform = integrate(self.app, given, **dict.fromkeys(IDLE, False))
        self.platform.start()
        self.home = home

    def ask(self, method: str, path: str, status: int = 200, headers: dict[str, str] = KEY, **given: Any) -> Any:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://site.example") as client:
                return await client.request(method, path, headers=headers, **given)

        answer = asyncio.run(send())
        assert answer.status_code == status, answer.text
        return answer.json() if answer.headers["content-type"].endswith("json") and "ndjson" not in answer.headers["content-type"] else answer.text

    def verified(self) -> dict[str, Any]:
        self.ask("POST", "/api/audit/verify", 202)
        while (state := self.ask("GET", "/api/audit/verify"))["state"] != "done":
            pass
        return dict(state)


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with laid.database(request, tmp_path) as url:
        found = Site(url, tmp_path / "home")
        yield found
        found.platform.shutdown()


def invoice(identity: str, event_type: str = "invoice.created", **more: object) -> dict[str, object]:
    return {"event_type": event_type, "aggregate_type": "Invoice", "aggregate_id": identity, "payload": {"العميل": "شركة", "total": "1.50"}, **more}


def test_events_are_paged_and_chosen(site: Site) -> None:
    events = site.platform.events
    events.append_many([invoice(f"INV-{number % 3}", correlation_id=f"c{number}", tags=[f"site:{number % 2}"]) for number in range(7)])
    events.append({**invoice("P-1", "project.created", user_id="u-7"), "aggregate_type": "Project"})
    page = site.ask("GET", "/api/events?limit=3")
    assert [event["position"] for event in page["events"]] == [8, 7, 6]
    assert (page["next_before"], page["head"]) == (6, 8)
    assert [event["position"] for event in site.ask("GET", "/api/events?limit=50&before=6")["events"]] == [5, 4, 3, 2, 1]
    chosen = {
        "type=project.created": [8],
        "aggregate_type=Invoice&aggregate_id=INV-0": [7, 4, 1],
        "correlation_id=c2": [3],
        "tag=site:1": [6, 4, 2],
        "user=u-7": [8],
        "since=2020-01-01T00:00:00Z&type=project.created": [8],
        "until=2020-01-01T00:00:00Z": [],
    }
    assert {query: [event["position"] for event in site.ask("GET", f"/api/events?{query}")["events"]] for query in chosen} == chosen
    site.ask("GET", "/api/events?limit=0", 422)
    site.ask("GET", "/api/events?kind=x", 422)
    stats = site.ask("GET", "/api/events/stats")
    assert (stats["head"], stats["waiting"], stats["types"]) == (8, 0, ["invoice.created", "project.created"])


@ON_ONE
def test_one_event_stands_between_its_neighbours(site: Site) -> None:
    events = site.platform.events
    for total in ("1.50", "2.50", "3.50"):
        events.append({**invoice("A"), "payload": {"total": total}})
        events.append(invoice("B"))
    found = site.ask("GET", "/api/events/3")
    assert (found["payload"], found["previous"]["payload"]) == ({"total": "2.50"}, {"total": "1.50"})
    assert (found["previous_position"], found["next_position"], found["version"], found["personal"], found["sealed"]) == (1, 5, 2, None, False)
    assert site.ask("GET", "/api/events/1")["previous"] is None
    for missing in ("99", "0", "x", "9" * 30):
        assert site.ask("GET", f"/api/events/{missing}", 404)["message_ar"]


def test_streams_are_walked_in_pages(site: Site) -> None:
    site.platform.events.append_many([invoice(f"INV-{number:02}") for number in range(5)] + [invoice("INV-03", "invoice.paid")])
    site.platform.events.append({**invoice("بيت/7"), "aggregate_type": "BoqItem"})
    seen, after = [], ""
    while True:
        page = site.ask("GET", "/api/events/streams", params={"limit": 2, "after": after})
        seen += [(stream["aggregate_type"], stream["aggregate_id"], stream["version"]) for stream in page["streams"]]
        if page["next_after"] is None:
            break
        after = page["next_after"]
    wanted = {("Invoice", f"INV-{number:02}", 2 if number == 3 else 1) for number in range(5)} | {("BoqItem", "بيت/7", 1)}
    assert (len(seen), set(seen), page["types"]) == (6, wanted, ["BoqItem", "Invoice"])
    assert [one["last_type"] for one in site.ask("GET", "/api/events/streams?aggregate_type=Invoice&q=INV-03")["streams"]] == ["invoice.paid"]
    assert [one["aggregate_id"] for one in site.ask("GET", "/api/events/streams?q=%D8%A8")["streams"]] == ["بيت/7"]
    site.ask("GET", "/api/events/streams?after=nonsense", 400)


def test_every_audit_record_stands_in_the_file_and_in_the_log(site: Site) -> None:
    details = {"method": "password", "email": "sara@example.com", "password": "hunter2"}
    log_audit("USER_LOGIN", 123, "LOGIN", "authentication", details, "192.168.1.100")
    site.platform.audit.record("sensitive_update", "UPDATE", "project:فيلا/boq", {"من": "1.50"}, user_id="u-7")
    file = [json.loads(line) for line in (site.home / "logs" / "app_audit.log").read_text(encoding="utf-8").splitlines()]
    page = site.ask("GET", "/api/audit")
    records = list(reversed(page["records"]))
    for name in ("event_type", "action", "resource", "details"):
        assert [one[name] for one in records] == [one[name] for one in file]
    assert [one["user_id"] for one in records] == ["123", "u-7"]
    assert (records[0]["ip_address"], records[0]["details"]["email"]) == ("192.168.1.100", "sara@example.com")
    stored = site.platform.events.read(tenant="*")
    assert [secret for secret in ("sara@example.com", "hunter2", "192.168") if secret in str(stored[0])] == []


def test_audit_records_are_searched(site: Site) -> None:
    audit = site.platform.audit
    for number in range(6):
        action, file = "UPDATE" if number % 2 else "IMPORT", f"جدول_{number}%.xlsx"
        audit.record("sensitive_update", action, f"project:V{number}/boq", {"ملف": file}, user_id=f"u-{number % 3}")
    wanted = {"action=IMPORT": 3, "user=u-1": 2, "resource=project:V5/boq": 1, "event_type=sensitive_update": 6, "event_type=other": 0}
    wanted |= {"q=جدول_3%25": 1, "q=IMPORT%20u-2": 1, "q=_": 6, "q='": 0, "since=2100-01-01T00:00:00Z": 0}
    assert {query: len(site.ask("GET", f"/api/audit?{query}")["records"]) for query in wanted} == wanted
    first = site.ask("GET", "/api/audit?limit=4")
    rest = site.ask("GET", f"/api/audit?limit=4&before={first['next_before']}")
    assert ([len(page["records"]) for page in (first, rest)], rest["next_before"]) == ([4, 2], None)


def test_the_trail_is_sealed_proved_exported_and_erased(site: Site) -> None:
    audit = site.platform.audit
    audit.record("a", "CREATE", "user:1", {"email": "sara@example.com"}, user_id="u-7")
    assert site.ask("GET", "/api/audit/seal")["size"] == 0
    audit.seal()
    seal = site.ask("GET", "/api/audit/seal")
    assert (seal["size"], seal["head"], seal["trouble"], [one["name"] for one in seal["anchors"]]) == (1, 1, None, ["file"])
    assert seal["note"].startswith("app\n1\n")
    assert site.ask("GET", "/api/audit")["records"][0]["sealed"]
    proof = site.ask("GET", "/api/audit/proof/1")
    assert (proof["size"], proof["root"], proof["proof"]) == (1, seal["root"], [])
    site.ask("GET", "/api/audit/proof/2", 404)
    exported = [json.loads(line) for line in site.ask("GET", "/api/audit/export").splitlines()]
    assert [one["action"] for one in exported] == ["CREATE", "EXPORT"]
    assert exported[0]["details"] == {"email": "sara@example.com"}
    site.platform.audit.erase("user:u-7")
    assert [one["details"] for one in site.ask("GET", "/api/audit?action=CREATE")["records"]] == [{"email": None}]
    audit.record("b", "UPDATE", "user:1", {"email": "sara@example.com"}, user_id="u-7")
    assert [one["details"] for one in site.ask("GET", "/api/audit?action=UPDATE")["records"]] == [{}]
    audit.seal()
    state = site.verified()
    assert (state["result"]["ok"], state["result"]["events"], state["error"]) == (True, 5, None)


def test_a_changed_record_is_found(site: Site) -> None:
    import sqlalchemy as sa

    for number in range(3):
        site.platform.audit.record("a", "CREATE", f"user:{number}")
    site.platform.audit.seal()
    with site.platform.store.begin() as tx:
        trigger = "rakiza_events_event_no_update" if site.platform.store.dialect == "sqlite" else "rakiza_events_event_kept on rakiza_events_event"
        tx.execute(sa.text(f"drop trigger {trigger}"))
        cast = "" if site.platform.store.dialect == "sqlite" else "::json"
        tx.execute(sa.text(f"update rakiza_events_event set payload = replace(cast(payload as text), 'CREATE', 'DELETE'){cast} where position = 2"))
    (finding,) = site.verified()["result"]["findings"]
    assert (finding["code"], finding["position"]) == ("events_changed", 3)  # among the last 256, which have no stored hash of their own yet
    assert "1 to 3" in finding["message_en"]
    assert finding["message_ar"]


def test_an_audit_record_shares_the_fate_of_its_transaction(site: Site) -> None:
    platform = site.platform
    with pytest.raises(ZeroDivisionError), platform.store.begin() as tx:
        platform.audit.record("a", "CREATE", "user:1", tx=tx)
        raise ZeroDivisionError
    assert platform.events.head() == 0
    with platform.store.begin() as tx:
        platform.audit.record("a", "CREATE", "user:2", tx=tx)
    assert [one.resource for one in platform.audit.search(AuditQuery())[0]] == ["user:2"]
    with pytest.raises(ZeroDivisionError), platform.store.begin():
        platform.audit.record("authz_fail", "boq.edit", "project:V1")  # a refusal stays, though what was refused is undone
        raise ZeroDivisionError
    assert [one.resource for one in platform.audit.search(AuditQuery())[0]] == ["project:V1", "user:2"]
    written = (site.home / "logs" / "app_audit.log").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["resource"] for line in written] == ["user:2", "project:V1"]


@ON_ONE
def test_what_a_request_writes_is_audited_from_an_event_loop(site: Site) -> None:
    site.ask("GET", "/api/events", 401, headers={"X-API-Key": "wrong"})
    while not (found := site.ask("GET", "/api/audit?event_type=authn_login_fail")["records"]):
        pass
    assert (found[0]["details"], found[0]["request_id"] is not None) == ({"via": "api_key"}, True)


@ON_ONE
def test_followers_go_on_after_a_restart(site: Site) -> None:
    events, came = site.platform.events, threading.Semaphore(0)
    events.register_consumer(Consumer(name="after-restart", handler=lambda event: came.release()))
    events.append(invoice("A"))
    assert came.acquire(timeout=30)
    site.platform.shutdown()
    site.platform.start()
    events.append(invoice("B"))
    assert came.acquire(timeout=30)


def test_no_audit_record_is_lost_for_what_it_says(site: Site) -> None:
    trail, logs = site.platform.events.trail, site.platform.logs
    assert trail is not None
    logs.record("doc", "UPDATE", "doc:a\0b", {"half": "\ud800", "nul": "x\0y", "name": "سارة", "many": ["\0"]}, "7")
    logs.record("doc", "UPDATE", "doc:big", {str(number): "é" * 8000 for number in range(300)}, "7")
    with site.platform.store.begin() as tx:
        logs.record("doc", "UPDATE", "doc:c", {"half": "\ud800"}, "7", tx=tx)
    found = trail.search(AuditQuery(action="UPDATE"))[0]
    assert ([record.resource for record in found], trail.missed) == (["doc:c", "doc:big", "doc:a\ufffdb"], 0)
    assert found[2].details == {"half": "?", "nul": "x\ufffdy", "name": "سارة", "many": ["\ufffd"]}
    assert "audit file" in str(found[1].details)


@ON_ONE
def test_what_is_personal_is_sealed_however_deep_it_stands(site: Site) -> None:
    events = site.platform.events
    assert events.trail is not None
    said = {"fields": 1, "changes": {"email": {"from": "a@x.example", "to": "b@x.example"}}, "people": [{"phone": "0500", "role": "owner"}]}
    site.platform.logs.record("user", "UPDATE", "user:7", said, "7")
    [event] = events.blocking_stream("Audit", "user:7")
    assert event.payload["details"] == {"fields": 1, "changes": {}, "people": [{"role": "owner"}]}
    [shown] = events.trail.search(AuditQuery(action="UPDATE"))[0]
    assert (shown.details["changes.email"], shown.details["people.0.phone"]) == ({"from": "a@x.example", "to": "b@x.example"}, "0500")
    events.trail.erase("user:7")
    assert "example" not in str(events.trail.search(AuditQuery(action="UPDATE"))[0])


def test_records_taken_on_an_event_loop_are_written_though_it_ends_at_once(site: Site) -> None:
    events, logs = site.platform.events, site.platform.logs
    assert events.trail is not None
    events.trail.erase("user:9")

    async def work() -> None:
        logs.record("doc", "UPDATE", "doc:1", {}, "7", ip_address="10.0.0.1")
        logs.record("doc", "UPDATE", "doc:2", {}, "9", ip_address="10.0.0.1")  # nothing can be sealed for this one any more
        with site.platform.store.begin():
            logs.record("doc", "UPDATE", "doc:3", {}, "7", ip_address="10.0.0.1")
            logs.record("doc", "UPDATE", "doc:4", {}, "7")

    asyncio.run(work())
    events.close()
    found = events.trail.search(AuditQuery(action="UPDATE"))[0]
    assert {record.resource: record.ip_address for record in found} == {"doc:4": None, "doc:3": "10.0.0.1", "doc:2": None, "doc:1": "10.0.0.1"}
    assert events.trail.missed == 0


def test_what_is_left_is_sealed_at_the_end(site: Site) -> None:
    site.platform.audit.record("a", "CREATE", "user:1")
    site.platform.shutdown()
    site.platform.start()
    assert site.ask("GET", "/api/audit")["records"][0]["sealed"]


def test_without_the_extra_records_stand_in_the_trail_all_the_same(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    bare = Site(database_url, tmp_path / "home")
    try:
        logs, trail = bare.platform.logs, bare.platform.events.trail
        assert trail is not None
        logs.record("doc", "UPDATE", "doc:1", {}, "7", ip_address="10.0.0.1")
        with bare.platform.store.begin() as tx:
            logs.record("doc", "UPDATE", "doc:2", {"email": "a@x.example"}, "7", tx=tx)
        assert [record["resource"] for record in bare.ask("GET", "/api/audit?action=UPDATE")["records"]] == ["doc:2", "doc:1"]
        assert trail.missed == 0
    finally:
        bare.platform.shutdown()


@ON_ONE
def test_a_verification_that_breaks_off_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(progress: object) -> None:
        raise site.platform.store.driver_error("the line was cut")

    monkeypatch.setattr(site.platform.events.trail, "verify", broken)
    state = site.verified()
    assert (state["result"], "the line was cut" in state["error"]) == (None, True)


IMPOSSIBLE = [
    *(f"/api/events?{name}=%00" for name in ("type", "aggregate_type", "aggregate_id", "correlation_id", "tag", "user")),
    *(f"/api/audit?{name}=%00" for name in ("q", "user", "action", "resource", "event_type")),
    *(f"/api/events/streams?{name}=%00" for name in ("after", "aggregate_type", "q")),
    "/api/events/streams?after=%5B%22%5Cu0000%22,%22%22,%22%22%5D",
    *(f"/api/{what}?before={number}" for what in ("events", "audit") for number in (2**70, -(2**70), -(2**63))),
    *(f"/api/{what}?since=2026-01-01T00:00:00" for what in ("events", "audit", "audit/export")),
    *(f"/api/{what}?since=0001-01-01T00:00:00%2B14:00" for what in ("events", "audit", "audit/export")),
]


def test_questions_that_cannot_be_are_refused(site: Site) -> None:
    for query in IMPOSSIBLE:
        site.ask("GET", query, 422)


@ON_ONE
def test_a_lost_key_or_a_strange_record_hides_no_other(site: Site) -> None:
    events = site.platform.events
    site.platform.logs.record("doc", "UPDATE", "doc:1", {}, "7", ip_address="10.0.0.1")
    events.append({"event_type": "audit.recorded", "aggregate_type": "Audit", "aggregate_id": "x", "payload": {}})
    site.platform.logs.record("doc", "UPDATE", "doc:2", {}, "8", ip_address="10.0.0.2")
    with site.platform.store.begin() as tx:
        tx.execute(sa.text("delete from rakiza_events_subject where subject = 'user:7'"))
    found = {record["resource"]: record for record in site.ask("GET", "/api/audit")["records"]}
    assert (found["doc:2"]["ip_address"], found["doc:1"]["ip_address"], found["doc:1"]["details"].keys()) == ("10.0.0.2", None, {"unreadable"})
    assert "doc:2" in site.ask("GET", "/api/audit/export")
    assert "unreadable" in site.ask("GET", "/api/events/1")["personal"]["fields"]


@ON_ONE
def test_sealed_fields_count_as_bytes_of_the_event(site: Site) -> None:
    events = site.platform.events
    with pytest.raises(EventError, match="at most 1,048,576 are allowed"):
        events.append(invoice("A", personal={"email": "x" * 1_000_000}, subject="user:1"))
    site.platform.logs.record("doc", "UPDATE", "doc:1", {"people": [{"email": "é" * 8000} for _ in range(200)]}, "7", ip_address="10.0.0.1")
    [record] = site.ask("GET", "/api/audit")["records"]
    assert (record["resource"], record["ip_address"]) == ("doc:1", "10.0.0.1")


def asked_by(tenant: str, permissions: set[str], path: str, **params: str) -> Request:
    context = RequestContext("r", "a" * 32, "b" * 16)
    context.principal = Principal("u-1", "خالد", "k@x.example", "viewer", frozenset(permissions), "user", 1, tenant)
    return Request("GET", path, {}, context, query_string=path.partition("?")[2].encode(), params=params)


def test_a_tenant_sees_its_own_and_personal_fields_are_for_administrators(site: Site) -> None:
    events = site.platform.events
    assert events.trail is not None
    events.append({**invoice("A"), "tenant": "a", "personal": {"email": "sara@example.com"}, "subject": "user:7"})
    events.append({**invoice("B"), "tenant": "b"})
    on = Endpoints(events, events.trail, site.platform.ctx.ports)

    def shown(answer: Response) -> Any:
        return json.loads(answer.body)

    assert [one["position"] for one in shown(on.page(asked_by("b", {"ops.read"}, "/api/events")))["events"]] == [2]
    assert [one["aggregate_id"] for one in shown(on.streams(asked_by("a", {"ops.read"}, "/api/events/streams")))["streams"]] == ["A"]
    with pytest.raises(NotFoundError):
        on.one(asked_by("b", {"ops.read"}, "/api/events/1", position="1"))
    hidden = shown(on.one(asked_by("a", {"ops.read"}, "/api/events/1", position="1")))["personal"]
    assert (hidden["hidden"], hidden["fields"]) == (True, {"email": None})
    assert shown(on.one(asked_by("default", {"ops.admin"}, "/api/events/1", position="1")))["personal"]["fields"] == {"email": "sara@example.com"}
    with use_context(asked_by("a", set(), "/").context) as context:
        context.tenant = "a"
        site.platform.logs.record("doc", "UPDATE", "doc:a")
    assert [one["resource"] for one in shown(on.audit(asked_by("a", {"ops.read"}, "/api/audit")))["records"]] == ["doc:a"]
    assert shown(on.audit(asked_by("b", {"ops.read"}, "/api/audit")))["records"] == []


@ON_ONE
def test_a_wrong_key_of_keys_holds_up_no_business(site: Site) -> None:
    site.platform.logs.record("doc", "UPDATE", "doc:1", {}, "7", ip_address="10.0.0.1")
    site.platform.shutdown()
    (site.home / "keys" / "personal.key").write_text(base64.b64encode(b"x" * 32).decode())
    site.platform.start()
    with site.platform.store.begin() as tx:
        site.platform.logs.record("doc", "UPDATE", "doc:2", {}, "7", ip_address="10.0.0.1", tx=tx)
    trail = site.platform.events.trail
    assert trail is not None
    assert [one["resource"] for one in site.ask("GET", "/api/audit?action=UPDATE")["records"]] == ["doc:2", "doc:1"]
    assert "personal details" in str(trail.trouble())


@ON_ONE
def test_a_stop_breaks_a_verification_off(site: Site) -> None:
    trail = site.platform.events.trail
    assert trail is not None
    site.platform.logs.record("doc", "UPDATE", "doc:1")
    trail.seal()
    trail.close()
    state = trail.begin_verification()
    while state.state != "done":
        pass
    assert "platform stops" in str(state.error)
