"""What an operator sees of jobs and does about them, over a whole platform on both databases."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import laid
from job_rows import begin, failure, insert, later, row
from patience import until
from rakiza import Platform, integrate
from rakiza._kernel import Principal, Redactor, Request, RequestContext, Response, SystemClock
from rakiza.errors import ForbiddenError, NotFoundError
from rakiza.jobs import JobStateError, job
from rakiza.jobs import _bulk as bulk_room
from rakiza.jobs._browsing import Browser
from rakiza.jobs.http import Endpoints, ScheduleEndpoints, routes

KEY = {"X-API-Key": "an-operators-key-of-enough-length"}


@job("test_http:greet", queue="رسائل")
def greet(name: str, times: int = 1) -> str:
    return f"مرحبا {name}" * times


class Site:
    """One application, asked without a server; nobody works on its jobs. It serves all the tests here, one after the other."""

    def __init__(self, url: str, home: Path) -> None:
        self.app = FastAPI()
        settings: dict[str, dict[str, object]] = {
            "hub": {"home": str(home)},
            "security": {"ops_api_key": KEY["X-API-Key"]},
            "logs": {"console": False},
        }
        self.platform: Platform = integrate(self.app, {**settings, "store": {"database_url": url}, "jobs": {"work": False}})
        self.platform.start()
        self.store = self.platform.store
        assert self.platform.events.trail is not None
        self.trail = self.platform.events.trail
        self.begin()

    def begin(self) -> None:
        """Take every job away; what was audited up to here is no affair of the test."""
        self.before = begin(self.platform)

    def ask(self, method: str, path: str, status: int = 200, headers: dict[str, str] = KEY, **given: Any) -> Any:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://site.example") as client:
                return await client.request(method, path, headers=headers, **given)

        answer = asyncio.run(send())
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def audited(self) -> list[tuple[str, str, str, dict[str, object]]]:
        records = [one for page in self.trail.pages() for one in page if one.position > self.before]
        return [(one.event_type, one.action, one.resource, dict(one.details)) for one in records]

    def states(self) -> dict[int, str]:
        return {line["id"]: line["state"] for line in self.ask("GET", "/api/jobs?limit=500")["jobs"]}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with laid.database(request, folder) as url:
        found = Site(url, folder / "home")
        yield found
        found.platform.shutdown()


@pytest.fixture
def site(shared_site: Site) -> Site:
    shared_site.begin()
    return shared_site


def test_jobs_are_listed_paged_and_searched(site: Site) -> None:
    made = insert(site.store, [row("done", payload={"عميل": f"شركة {n}"}, tags=["عاجل"] if n % 2 else None, finished_at=later(n)) for n in range(7)])
    page = site.ask("GET", "/api/jobs", params={"state": "done", "limit": 3})
    assert [line["id"] for line in page["jobs"]] == made[:3:-1]
    assert (page["total"], page["capped"]) == (7, False)
    rest = site.ask("GET", "/api/jobs", params={"state": "done", "limit": 50, "after": page["next"]})
    assert ([line["id"] for line in rest["jobs"]], rest["next"]) == (made[3::-1], None)
    for params, found in (
        ({"q": "شركة 3"}, [made[3]]),
        ({"tag": "عاجل"}, [made[5], made[3], made[1]]),
        ({"q": str(made[2]), "task": "email:send"}, [made[2], made[3]]),
    ):
        assert [line["id"] for line in site.ask("GET", "/api/jobs", params=params)["jobs"]] == found, params
    line = page["jobs"][0]
    assert (line["args"], line["tags"], line["finished_at"]) == ('{"عميل":"شركة 6"}', [], "2026-01-01T12:00:06Z")
    for query in ("limit=0", "limit=501", "state=x", "kind=x", "after=x", "q=%00"):
        assert site.ask("GET", f"/api/jobs?{query}", 422)["message_ar"]
    assert site.ask("GET", "/_rakiza/api/jobs?state=done&limit=1")["total"] == 7


def test_one_job_is_shown_as_it_is_to_who_may_change_it(site: Site) -> None:
    (made,) = insert(site.store, [row("failed", payload={"to": "سارة", "token": "abcdefgh12345"}, errors=[failure()], attempt=3)])
    found = site.ask("GET", f"/api/jobs/{made}")
    assert found["payload"] == {"to": "سارة", "token": "abcdefgh12345"}
    assert (found["errors"][0]["message"], found["error"], found["attempt"]) == ("تعذر الإرسال", "تعذر الإرسال", 3)
    assert "abcdefgh" not in found["args"]
    for missing in (str(made + 1), "0", "x", "9" * 30, "%00", "-1"):
        assert site.ask("GET", f"/api/jobs/{missing}", 404)["message_ar"] == "لا توجد مهمة بهذا الرقم"


def test_stats_and_history_answer(site: Site) -> None:
    insert(site.store, [row("ready", queue="رسائل"), row("waiting", waits_for="handler", task="قديم")])
    stats = site.ask("GET", "/api/jobs/stats")
    assert stats["unknown_tasks"] == ["قديم"]
    assert {queue["name"]: queue["ready"] for queue in stats["queues"]}["رسائل"] == 1
    assert stats["totals"] == {"ready": 1, "delayed": 0, "waiting": 1, "running": 0, "retry": 0, "failed": 0, "done": 0, "cancelled": 0}
    history = site.ask("GET", "/api/jobs/history?minutes=1440&queue=x")
    assert (history["step_seconds"], len(history["at"]), sum(history["done"])) == (900, 96, 0)
    site.ask("GET", "/api/jobs/history?minutes=20161", 422)


def test_a_failed_job_runs_again_with_other_arguments(site: Site) -> None:
    (made,) = insert(site.store, [row("failed", task="test_http:greet", queue="رسائل", payload={"name": 7}, errors=[failure()], attempt=10)])
    refused = site.ask("POST", f"/api/jobs/{made}/retry", 422, json={"payload": {"name": "سارة", "times": "x"}})
    assert refused["errors"][0]["field"] == "times"
    line = site.ask("POST", f"/api/jobs/{made}/retry", json={"payload": {"name": "سارة"}})
    assert (line["state"], line["args"], line["finished_at"]) == ("ready", '{"name":"سارة"}', None)
    assert site.platform.jobs.drain() == 1
    assert site.ask("GET", f"/api/jobs/{made}")["result"] == "مرحبا سارة"
    assert site.ask("POST", f"/api/jobs/{made}/retry", 409)["code"] == "job_state"
    assert site.audited() == [("job.retry", "RETRY", f"job:{made}", {"payload": "changed"})]


ACTIONS = [
    *(("cancel", "ready", "cancelled"), ("cancel", "delayed", "cancelled"), ("cancel", "running", "running")),
    *(("discard", "failed", "cancelled"), ("discard", "retry", "cancelled"), ("run", "delayed", "ready"), ("run", "retry", "ready")),
    *(("retry", "cancelled", "ready"), ("retry", "failed", "ready")),
]


def test_every_action_on_one_job(site: Site) -> None:
    made = insert(site.store, [row(before) for _, before, _ in ACTIONS])
    for one, (action, before, after) in zip(made, ACTIONS, strict=True):
        assert site.ask("POST", f"/api/jobs/{one}/{action}")["state"] == after, (action, before)
        assert site.ask("GET", f"/api/jobs/{one}")["cancel_requested"] == (before == "running"), (action, before)
    wanted = [(f"job.{action}", action.upper(), f"job:{one}", {}) for one, (action, *_) in zip(made, ACTIONS, strict=True)]
    assert site.audited() == wanted


def test_an_action_the_state_does_not_allow_changes_nothing(site: Site) -> None:
    refused = [("cancel", "done"), ("discard", "ready"), ("run", "ready"), ("run", "done"), ("retry", "running")]
    made = insert(site.store, [row(state) for _, state in refused])
    for one, (action, state) in zip(made, refused, strict=True):
        assert site.ask("POST", f"/api/jobs/{one}/{action}", 409)["code"] == "job_state", (action, state)
        site.ask("POST", f"/api/jobs/{made[-1] + 1}/{action}", 404)
    assert site.states() == dict(zip(made, (state for _, state in refused), strict=True))
    assert site.audited() == []


def test_a_job_is_put_into_the_queue(site: Site) -> None:
    body = {"task": "test_http:greet", "payload": {"name": "خالد"}, "priority": 2, "delay_seconds": 60, "tags": ["يدوي"]}
    line = site.ask("POST", "/api/jobs", 201, json=body)
    assert (line["state"], line["queue"], line["priority"], line["tags"]) == ("delayed", "رسائل", 2, ["يدوي"])
    assert site.ask("POST", "/api/jobs", 422, json={**body, "payload": {}})["code"] == "job_arguments"
    wrongs: list[dict[str, object]] = [
        {"task": ""},
        {"priority": -1},
        {"priority": 40_000},
        {"delay_seconds": 1e12},
        {"delay_seconds": -1},
        {"payload": []},
        {"x": 1},
    ]
    for wrong in wrongs:
        site.ask("POST", "/api/jobs", 422, json={**body, **wrong})
    assert site.states() == {line["id"]: "delayed"}
    assert site.audited() == [("job.create", "CREATE", f"job:{line['id']}", {"task": "test_http:greet", "duplicate": False})]


# -- many


def test_bulk_changes_all_that_match_in_batches(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_room, "BATCH", 3)
    failed = insert(site.store, [row("failed", queue="رسائل" if n % 2 else "default", finished_at=later(n // 4)) for n in range(20)])
    done = insert(site.store, [row("done") for _ in range(4)])
    asked = {"action": "retry", "filter": {"queue": "رسائل"}}
    assert site.ask("POST", "/api/jobs/bulk", json={**asked, "dry_run": True}) == {"matched": 10, "changed": 0}
    assert site.audited() == []
    assert site.ask("POST", "/api/jobs/bulk", json=asked) == {"matched": 10, "changed": 10}
    states = site.states()
    assert [states[one] for one in failed] == ["failed", "ready"] * 10
    assert {states[one] for one in done} == {"done"}
    assert site.audited() == [("job.retry", "RETRY", "jobs", {"filter": {"queue": "رسائل"}, "matched": 10, "changed": 10})]
    assert site.ask("POST", "/api/jobs/bulk", json={"action": "cancel", "filter": {}}) == {"matched": 10, "changed": 10}
    assert site.ask("POST", "/api/jobs/bulk", json={"action": "discard", "filter": {}}) == {"matched": 10, "changed": 10}
    assert set(site.states().values()) == {"cancelled", "done"}


def test_bulk_takes_ids_and_leaves_what_may_not_be_changed(site: Site) -> None:
    made = insert(site.store, [row("ready"), row("done"), row("failed"), row("running")])
    asked = {"action": "cancel", "ids": [*made, made[0], made[-1] + 50]}
    assert site.ask("POST", "/api/jobs/bulk", json={**asked, "dry_run": True}) == {"matched": 4, "changed": 0}
    assert site.ask("POST", "/api/jobs/bulk", json=asked) == {"matched": 4, "changed": 2}
    assert list(site.states().values()) == ["running", "failed", "done", "cancelled"]
    for wrong in (
        {"action": "retry"},
        {"action": "retry", "ids": [1], "filter": {}},
        {"action": "x", "ids": [1]},
        {"action": "retry", "ids": [2**63]},
    ):
        site.ask("POST", "/api/jobs/bulk", 422, json=wrong)


def test_bulk_leaves_a_job_whose_unique_key_is_taken_and_retries_the_rest(site: Site) -> None:
    made = insert(site.store, [row("failed", unique_key=key) for key in ("a", "b", "c")] + [row("ready", unique_key="b")])
    assert site.ask("POST", "/api/jobs/bulk", json={"action": "retry", "filter": {"state": "failed"}}) == {"matched": 3, "changed": 2}
    assert [site.states()[one] for one in made] == ["ready", "failed", "ready", "ready"]
    assert site.ask("POST", f"/api/jobs/{made[1]}/retry", 409)["code"] == "job_state"


def test_bulk_finds_text_beyond_the_window_and_what_is_in_line_twice_only_once(site: Site) -> None:
    jobs = site.platform.jobs
    made = insert(site.store, [row("delayed", payload={"n": "هنا" if n == 0 else ""}, run_at=later(50 - n)) for n in range(30)])
    on = Endpoints(jobs, Browser(site.store, SystemClock(), window=4), site.platform.ctx.ports)
    request = asked_by("default", {"ops.read", "ops.write"}, "/api/jobs/bulk")
    request.body = json.dumps({"action": "run", "filter": {"q": "هنا"}}).encode()
    assert shown(on.bulk(request)) == {"matched": 1, "changed": 1}
    assert [job_id for job_id, state in site.states().items() if state == "ready"] == [made[0]]


def test_bulk_and_workers_agree_on_every_job(site: Site) -> None:
    jobs = site.platform.jobs
    before = jobs.tally.totals["done"]
    jobs.add_jobs([{"task": "test_http:greet", "payload": {"name": f"سارة {n}"}} for n in range(300)])
    jobs.start()
    until(lambda: jobs.tally.totals["done"] > before)
    cancelled = site.ask("POST", "/api/jobs/bulk", json={"action": "cancel", "filter": {"queue": "رسائل"}})
    until(lambda: not jobs.engine.due(None))
    jobs.stop()
    states = list(site.states().values())
    assert set(states) <= {"done", "cancelled"}
    assert len(states) == 300
    assert states.count("cancelled") <= cancelled["changed"] <= cancelled["matched"]
    assert states.count("done") >= 300 - cancelled["changed"]
    assert jobs.tally.totals["done"] - before == states.count("done")


# -- queues


def test_a_queue_is_paused_resumed_and_limited(site: Site) -> None:
    site.platform.jobs.add_job("test_http:greet", {"name": "سارة"})
    path = "/api/jobs/queues/%D8%B1%D8%B3%D8%A7%D8%A6%D9%84"
    line = site.ask("POST", f"{path}/pause")
    assert (line["name"], line["paused"], line["ready"]) == ("رسائل", True, 1)
    assert not site.ask("POST", f"{path}/resume")["paused"]
    line = site.ask("PATCH", path, json={"concurrency": 4, "rate": 10, "rate_seconds": 1.5, "per_key": 1})
    assert [line[name] for name in ("concurrency", "max_running", "rate", "rate_seconds", "per_key")] == [4, None, 10, 1.5, 1]
    line = site.ask("PATCH", path, json={"rate": None, "key_rate": 3, "key_rate_seconds": 60})
    assert (line["key_rate"], line["key_rate_seconds"]) == (3, 60)
    assert (line["rate"], line["concurrency"]) == (None, 4)
    wrongs: list[object] = [{"concurrency": 0}, {"rate": "x"}, {"rate_seconds": 0}, {"paused": True}, {"max_running": 10**9}, []]
    for wrong in wrongs:
        site.ask("PATCH", path, 422, json=wrong)
    for missing in ("none", "%00"):
        site.ask("POST", f"/api/jobs/queues/{missing}/pause", 404)
    assert site.audited() == [
        ("queue.pause", "PAUSE", "queue:رسائل", {"paused": True}),
        ("queue.resume", "RESUME", "queue:رسائل", {"paused": False}),
        ("queue.update", "UPDATE", "queue:رسائل", {"concurrency": 4, "rate": 10, "rate_seconds": 1.5, "per_key": 1}),
        ("queue.update", "UPDATE", "queue:رسائل", {"rate": None, "key_rate": 3, "key_rate_seconds": 60}),
    ]


# -- schedules


def test_schedules_are_listed_edited_and_run(site: Site) -> None:
    site.platform.jobs.schedule("ترحيب", task="test_http:greet", payload={"name": "سارة"}, cron="0 2 * * *", timezone="Asia/Riyadh")
    found = site.ask("GET", "/api/jobs/schedules")
    (line,) = found["schedules"]
    assert found["leader"] is None
    assert [line[name] for name in ("name", "kind", "queue", "payload", "missed", "enabled", "edited", "declared", "last_job_id")] == [
        *("ترحيب", "cron", "رسائل", {"name": "سارة"}, "once", True, False, True, None)
    ]
    assert len(line["next"]) == 5
    assert line["next"][0].endswith("T02:00:00+03:00")
    assert (line["text_en"], line["text_ar"][:6]) == ("Every day at 02:00 (Asia/Riyadh)", "كل يوم")
    path = "/api/jobs/schedules/%D8%AA%D8%B1%D8%AD%D9%8A%D8%A8"
    edit = {"kind": "cron", "expression": "30 3 * * *", "timezone": "Asia/Riyadh", "payload": {"name": "خالد"}, "missed": "skip"}
    line = site.ask("PUT", path, json=edit)
    assert (line["edited"], line["payload"], line["missed"], line["next"][0][11:16]) == (True, {"name": "خالد"}, "skip", "03:30")
    assert site.ask("PUT", path, 422, json={**edit, "payload": {"x": 1}})["code"] == "job_arguments"
    for wrong in ({"expression": "99 * * * *"}, {"timezone": "Asia/Riyad"}, {"kind": "x"}, {"missed": "x"}, {"timezone": "a\0b"}):
        site.ask("PUT", path, 422, json={**edit, **wrong})
    assert site.ask("POST", f"{path}/pause")["next"] == []
    assert len(site.ask("POST", f"{path}/resume")["next"]) == 5
    line = site.ask("POST", f"{path}/run")
    assert site.ask("GET", f"/api/jobs/{line['last_job_id']}")["payload"] == {"name": "خالد"}
    site.ask("DELETE", path, 204)
    assert site.ask("GET", "/api/jobs/schedules")["schedules"] == []
    changed = {"kind": "cron", "expression": "30 3 * * *", "timezone": "Asia/Riyadh", "missed": "skip", "enabled": None, "payload": "changed"}
    assert site.audited() == [
        ("schedule.update", "UPDATE", "schedule:ترحيب", changed),
        *((f"schedule.{one}", one.upper(), "schedule:ترحيب", {}) for one in ("pause", "resume", "run", "delete")),
    ]


def test_a_preview_keeps_nothing_and_a_schedule_there_is_not_is_missing(site: Site) -> None:
    shown_by = {"kind": "interval", "expression": "6h", "timezone": "UTC"}
    preview = site.ask("POST", "/api/jobs/schedules/preview", json=shown_by)
    assert (len(preview["next"]), preview["text_en"]) == (5, "Every 6 hours")
    assert site.ask("POST", "/api/jobs/schedules/preview", 422, json={**shown_by, "expression": "س"})["message_ar"]
    assert site.ask("GET", "/api/jobs/schedules")["schedules"] == []
    for name in ("none", "%00"):
        for method, more in (("POST", "/pause"), ("POST", "/resume"), ("POST", "/run"), ("DELETE", ""), ("PUT", "")):
            site.ask(method, f"/api/jobs/schedules/{name}{more}", 404, **({"json": shown_by} if method == "PUT" else {}))
    assert site.audited() == []


# -- who may


def asked_by(tenant: str, permissions: set[str], path: str, **params: str) -> Request:
    context = RequestContext("r", "a" * 32, "b" * 16)
    context.principal = Principal("u-1", "خالد", "k@x.example", "viewer", frozenset(permissions), "user", 1, tenant)
    return Request("GET", path, {}, context, query_string=path.partition("?")[2].encode(), params=params)


def shown(answer: Any) -> Any:
    assert isinstance(answer, Response)
    return json.loads(answer.body)


def test_reading_needs_a_key_and_writing_a_permission(site: Site) -> None:
    found = routes(site.platform.jobs, Browser(site.store), site.platform.ctx.ports)
    assert {route.permission for route in found if route.method == "GET"} == {"ops.read"}
    assert [route.path for route in found if route.method != "GET" and route.permission != "ops.write"] == ["/api/jobs/schedules/preview"]
    for route in found:
        assert site.ask(route.method, route.path.replace("{id}", "1").replace("{name}", "q"), 401, headers={})["code"] == "unauthorized"


def test_who_only_reads_sees_no_secret_and_finds_none(site: Site) -> None:
    (made,) = insert(site.store, [row(payload={"to": "سارة", "token": "abcdefgh12345"})])
    on = Endpoints(site.platform.jobs, Browser(site.store, scrub=Redactor().nested), site.platform.ctx.ports)
    reader = {"ops.read"}
    assert shown(on.one(asked_by("default", reader, f"/api/jobs/{made}", id=str(made))))["payload"] == {"to": "سارة", "token": "[redacted]"}
    assert shown(on.page(asked_by("default", reader, "/api/jobs?q=abcd")))["jobs"] == []
    writer = {"ops.read", "ops.write"}
    assert [line["id"] for line in shown(on.page(asked_by("default", writer, "/api/jobs?q=abcd")))["jobs"]] == [made]


def test_who_only_reads_sees_no_secret_of_a_schedule(site: Site) -> None:
    site.platform.jobs.schedule("s", task="unknown", payload={"token": "abcdefgh12345", "إلى": "سارة"}, every=60)
    on = ScheduleEndpoints(site.platform.jobs, site.platform.ctx.ports, Redactor().nested)
    for permissions, token in (({"ops.read"}, "[redacted]"), ({"ops.read", "ops.write"}, "abcdefgh12345")):
        assert shown(on.all(asked_by("default", permissions, "/")))["schedules"][0]["payload"] == {"token": token, "إلى": "سارة"}


def test_a_tenant_sees_and_changes_only_its_own_jobs(site: Site) -> None:
    mine, other = insert(site.store, [row(tenant_id="مكتب"), row()])
    on = Endpoints(site.platform.jobs, Browser(site.store), site.platform.ctx.ports)
    may = {"ops.read", "ops.write"}
    page = shown(on.page(asked_by("مكتب", may, "/api/jobs")))
    assert ([line["id"] for line in page["jobs"]], page["total"]) == ([mine], None)
    for work in (on.one, on.act("cancel"), on.act("retry")):
        with pytest.raises(NotFoundError):
            work(asked_by("مكتب", may, "/api/jobs", id=str(other)))
    for body, matched in (({"ids": [mine, other]}, 1), ({"filter": {}}, 1)):
        request = asked_by("مكتب", may, "/api/jobs/bulk")
        request.body = json.dumps({"action": "cancel", "dry_run": True, **body}).encode()
        assert shown(on.bulk(request))["matched"] == matched
    assert shown(on.act("cancel")(asked_by("مكتب", may, "/api/jobs", id=str(mine))))["state"] == "cancelled"
    schedules = ScheduleEndpoints(site.platform.jobs, site.platform.ctx.ports, lambda value: value)
    for work in (on.pause, on.resume, on.scale, schedules.all, schedules.pause, schedules.run, schedules.delete):
        with pytest.raises(ForbiddenError):
            work(asked_by("مكتب", may, "/", name="default"))


def test_a_refused_action_leaves_no_audit_record(site: Site) -> None:
    (made,) = insert(site.store, [row("done")])
    on = Endpoints(site.platform.jobs, Browser(site.store), site.platform.ctx.ports)
    with pytest.raises(JobStateError):
        on.act("cancel")(asked_by("default", {"ops.write"}, "/api/jobs", id=str(made)))
    assert site.audited() == []
