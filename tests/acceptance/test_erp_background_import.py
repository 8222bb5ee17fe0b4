"""A large bill is imported by a job: taken in the request, written once, seen while it goes on, told in the end."""

import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

import bills
import offices
from jobs_faults import PATIENCE_SECONDS, until
from noufal.boq._background import SHARES, TASK
from rakiza import Platform, build
from rakiza.jobs import JobCancelled, RunningJob

CODE = "فيلا-١"
PATH = f"/api/projects/{quote(CODE)}"


@pytest.fixture
def office(tmp_path: Path, erp_url: str) -> Iterator[offices.Office]:
    rooms = {"noufal": {"background_import_bytes": 20_000}, "jobs": {"work": False, "backoff_seconds": 0.0}}
    with offices.office(tmp_path / "home", erp_url, **rooms) as one:
        yield one


@pytest.fixture
def manager(office: offices.Office) -> offices.Person:
    person = office.person()
    person.post("/api/projects", {"code": CODE, "name": "فيلا النرجس"})
    return person


def later(person: offices.Person, content: bytes, *, dry_run: bool = False, code: str = CODE, **query: object) -> offices.Answer:
    body, kind = offices.multipart(content, "مقايسة.xlsx")
    return person.send("POST", f"/api/projects/{quote(code)}/boq/import", content=body, kind=kind, dry_run=dry_run, **query)


def taken(person: offices.Person, content: bytes, *, dry_run: bool = False) -> int:
    """Import in the background and return the job's number."""
    answer = later(person, content, dry_run=dry_run, background=True)
    assert answer.status == 202, answer
    number = answer.json()["job_id"]
    assert answer.headers["location"] == f"{PATH}/imports/{number}"
    return int(number)


def ended(office: offices.Office, person: offices.Person, number: int) -> Any:
    office.platform.jobs.drain()
    return person.get(f"{PATH}/imports/{number}")


def kept(office: offices.Office) -> list[str]:
    folder = office.erp.settings.home / "imports"
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def test_a_large_bill_is_written_by_a_job_as_it_would_be_in_the_request(office: offices.Office, manager: offices.Person) -> None:
    manager.post("/api/projects", {"code": "TWIN", "name": "توأم"})
    lines = bills.lines(900)
    content = bills.layout_b(lines)
    assert len(content) > 20_000
    within = later(manager, content, code="TWIN", background=False)
    assert within.status == 200
    answer = later(manager, content)
    assert answer.status == 202
    number = answer.json()["job_id"]
    waiting = manager.get(f"{PATH}/imports/{number}")
    assert (waiting["state"], waiting["file"], waiting["report"], waiting["problem"]) == ("ready", "مقايسة.xlsx", None, None)
    assert manager.items(CODE) == []
    assert [file.stat().st_mode & 0o777 for file in (office.erp.settings.home / "imports").iterdir()] == [0o600]
    state = ended(office, manager, number)
    assert (state["state"], state["progress"], state["problem"]) == ("done", 100, None)
    assert state["report"] == within.json()
    assert state["report"]["written"] is True
    assert [item["code"] for item in manager.items(CODE)] == [line.code for line in lines]
    assert manager.get(f"{PATH}/boq/summary")["last_import"]["by"] == "المدير"
    assert kept(office) == []


def test_a_small_bill_is_imported_within_the_request(office: offices.Office, manager: offices.Person) -> None:
    answer = later(manager, bills.layout_b(bills.lines(30)))
    assert (answer.status, answer.json()["written"]) == (200, True)
    assert kept(office) == []
    assert office.platform.jobs.get_stats() == {}


def test_a_dry_run_in_the_background_writes_nothing(office: offices.Office, manager: offices.Person) -> None:
    content = bills.layout_b(bills.lines(30))
    report = ended(office, manager, taken(manager, content, dry_run=True))["report"]
    assert (report["dry_run"], report["written"], report["changes"]["added"]) == (True, False, 30)
    assert manager.items(CODE) == []
    manager.bring_in(CODE, content)
    assert ended(office, manager, taken(manager, content, dry_run=True))["report"]["unchanged"] is True
    assert ended(office, manager, taken(manager, content))["report"]["unchanged"] is True


def test_the_history_and_the_audit_name_who_sent_the_file(office: offices.Office, manager: offices.Person) -> None:
    office.person("qs@example.com", "member", "سارة القحطاني")
    manager.send("PUT", f"{PATH}/members", {"email": "qs@example.com", "role": "qs"})
    surveyor = office.person("qs@example.com")
    ended(office, surveyor, taken(surveyor, bills.layout_b(bills.lines(30))))
    item = manager.items(CODE)[0]
    entries = manager.get(f"{PATH}/boq/items/{item['id']}/history")["entries"]
    assert [(entry["by"], entry["action"], entry["source"]) for entry in entries] == [("سارة القحطاني", "imported", "مقايسة.xlsx")]
    events = office.platform.events.read(event_types=("boq.imported",))
    assert [event.user_id for event in events] == [surveyor.me["id"]]
    lines = (office.erp.settings.home / "logs" / "noufal_audit.log").read_text(encoding="utf-8").splitlines()
    assert [record["user_id"] for record in map(json.loads, lines) if record["action"] == "IMPORT"] == [surveyor.me["id"]]


def test_a_bill_with_errors_is_a_report_and_no_second_attempt(office: offices.Office, manager: offices.Person) -> None:
    header = ["الكود", "الوصف", "الوحدة", "الكمية", "سعر الوحدة"]
    number = taken(manager, bills.table([header, ["1", "حفر", "م³", "عشرة", 45]]))
    state = ended(office, manager, number)
    assert (state["state"], state["problem"]) == ("done", None)
    assert (state["report"]["written"], [one["code"] for one in state["report"]["errors"]]) == (False, ["not_a_number"])
    job = office.platform.jobs.get_job(number)
    assert (job.state, job.attempt, job.result["written"], job.result["counts"]["errors"]) == ("done", 1, False, 1)
    assert manager.items(CODE) == []
    assert kept(office) == []


def test_a_file_that_turns_out_to_be_no_bill_says_why(office: offices.Office, manager: offices.Person) -> None:
    state = ended(office, manager, taken(manager, "هذا ليس جدول كميات\nبل رسالة\n".encode()))
    assert (state["state"], state["report"]) == ("done", None)
    assert state["problem"]["status"] == 422
    assert state["problem"]["message_ar"]
    assert state["problem"]["errors"][0]["message_ar"]
    assert kept(office) == []


@pytest.mark.parametrize("erp_url", ["sqlite"], indirect=True)  # refused before any database
def test_what_is_no_workbook_is_refused_at_once(office: offices.Office, manager: offices.Person) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("xl/workbook.xml", *(f"xl/{number}.xml" for number in range(10_001))):
            archive.writestr(name, "")
    for content, code in (
        *((b"", "empty"), (b"\0" * 64, "empty"), (b"PK\x03\x04 nothing", "damaged"), (b"%PDF-1.7 ...", "not_a_workbook")),
        *((b"a\0b" * 9, "not_a_workbook"), (packed.getvalue(), "zip_bomb")),
    ):
        answer = later(manager, content, background=True)
        assert (answer.status, answer.json()["code"]) == (422, code), content[:20]
        assert kept(office) == []
    assert office.platform.jobs.get_stats() == {}


def test_a_member_removed_meanwhile_writes_nothing(office: offices.Office, manager: offices.Person) -> None:
    member = office.person("qs@example.com", "member", "ضيف")
    manager.send("PUT", f"{PATH}/members", {"email": "qs@example.com", "role": "qs"})
    number = taken(member, bills.layout_b(bills.lines(30)))
    assert manager.send("DELETE", f"{PATH}/members/{member.me['id']}").status == 204
    state = ended(office, manager, number)
    assert (state["state"], state["report"], state["problem"]["code"]) == ("done", None, "not_found")
    assert member.send("GET", f"{PATH}/imports/{number}").status == 404
    assert manager.items(CODE) == []
    manager.send("PUT", f"{PATH}/members", {"email": "qs@example.com", "role": "qs"})
    number = taken(member, bills.layout_b(bills.lines(30)))
    manager.send("PUT", f"{PATH}/members", {"email": "qs@example.com", "role": "viewer"})
    assert ended(office, manager, number)["problem"]["code"] == "forbidden"
    assert member.send("GET", f"{PATH}/imports/{number}").status == 403
    manager.send("PUT", f"{PATH}/members", {"email": "qs@example.com", "role": "qs"})
    number = taken(member, bills.layout_b(bills.lines(30)))
    user = office.platform.security.find_user("qs@example.com")
    assert user is not None
    office.platform.security.update_user(user, disabled=True)
    assert ended(office, manager, number)["problem"]["status"] == 404
    assert manager.items(CODE) == []


def test_an_import_answers_only_in_its_own_project(office: offices.Office, manager: offices.Person) -> None:
    manager.post("/api/projects", {"code": "OTHER", "name": "آخر"})
    number = taken(manager, bills.layout_b(bills.lines(30)))
    for target in (f"/api/projects/OTHER/imports/{number}", f"{PATH}/imports/{number + 1}", f"{PATH}/imports/{2**63}", f"{PATH}/imports/{2**80}"):
        answer = manager.send("GET", target)
        assert (answer.status, answer.json()["code"]) == (404, "not_found"), target


def test_progress_is_told_in_both_languages_and_seldom(office: offices.Office, manager: offices.Person) -> None:
    told: list[tuple[str, int, int]] = []
    caller, content = office.platform.security.principal(manager.me["id"]), bills.layout_c(bills.lines(2_000))
    office.erp.importer.run(caller, CODE, content, "مقايسة.xlsx", dry_run=False, tell=lambda *one: told.append(one))
    assert len(told) <= 20
    assert [stage for stage, _, _ in told] == sorted((stage for stage, _, _ in told), key=["open", "read", "compare", "write"].index)
    assert told[-1] == ("write", 2_000, 2_000)
    go = threading.Event()

    @contextmanager
    def held(_job: RunningJob) -> Iterator[None]:
        yield
        go.wait(PATIENCE_SECONDS)

    office.platform.jobs.around(held)
    manager.post("/api/projects", {"code": "TWIN", "name": "توأم"})
    number = later(manager, content, code="TWIN", background=True).json()["job_id"]
    office.platform.jobs.start()
    try:
        until(lambda: office.platform.jobs.get_job(number).progress == SHARES["write"][1])
        arabic, _, english = (office.platform.jobs.get_job(number).progress_text or "").partition("\n")
        assert (arabic, english) == ("البنود المكتوبة: 2,000 من 2,000", "Items written: 2,000 of 2,000")
        # All is written, and seen on PostgreSQL, a moment before it is committed.
        until(lambda: manager.get(f"/api/projects/TWIN/imports/{number}")["report"])
        state = manager.get(f"/api/projects/TWIN/imports/{number}")
        assert (state["state"], state["progress"], state["progress_text_ar"]) == ("done", 100, None)  # its rows and its report are there
        assert office.platform.jobs.get_job(number).state == "running"
    finally:
        go.set()


def test_a_cancelled_import_writes_nothing(office: offices.Office, manager: offices.Person) -> None:
    number = taken(manager, bills.layout_b(bills.lines(30)))
    office.platform.jobs.cancel(number)
    state = ended(office, manager, number)
    assert (state["state"], state["problem"]["code"]) == ("cancelled", "import_cancelled")
    assert state["problem"]["message_ar"]
    assert manager.items(CODE) == []
    office.erp.background.sweep()  # type: ignore[union-attr]
    assert kept(office) == []


def test_an_import_stopped_halfway_leaves_nothing(office: offices.Office, manager: offices.Person) -> None:
    caller, content = office.platform.security.principal(manager.me["id"]), bills.layout_c(bills.lines(900))
    stage = ""

    def stop(reached: str, _done: int, _total: int) -> None:
        if reached == stage:
            raise JobCancelled

    for stage in ("read", "compare", "write"):
        with pytest.raises(JobCancelled):
            office.erp.importer.run(caller, CODE, content, "مقايسة.xlsx", dry_run=False, tell=stop)
        assert manager.items(CODE) == [], stage
    assert later(manager, content, background=False).json()["written"] is True


def test_a_file_that_went_missing_ends_as_failed_without_inner_texts(office: offices.Office, manager: offices.Person) -> None:
    number = taken(manager, bills.layout_b(bills.lines(30)))
    for file in (office.erp.settings.home / "imports").iterdir():
        file.unlink()
    state = ended(office, manager, number)
    assert (state["state"], state["problem"]["code"], state["report"]) == ("failed", "import_failed", None)
    assert str(office.erp.settings.home) not in str(state)
    assert len(office.platform.jobs.failures(number)) == 3


def test_an_outcome_is_written_once(office: offices.Office, manager: offices.Person) -> None:
    """A second attempt, as after a kill between the commit and the settling of the job, changes nothing and has the same report."""
    number = taken(manager, bills.layout_b(bills.lines(30)))
    first = ended(office, manager, number)
    manager.patch(f"{PATH}/boq/items/{manager.items(CODE)[0]['id']}", {"version": 1, "quantity": "77"})
    edited = manager.items(CODE)
    with office.platform.store.begin() as tx:
        tx.execute(sa.text("update rakiza_jobs_job set state = 'ready', attempt = 0, finished_at = null where id = :id").bindparams(id=number))
    assert ended(office, manager, number) == first
    assert office.platform.jobs.get_job(number).state == "done"
    assert manager.items(CODE) == edited


def test_files_nobody_knows_are_swept_after_a_day(office: offices.Office, manager: offices.Person) -> None:
    number = taken(manager, bills.layout_b(bills.lines(30)))
    waiting = kept(office)
    folder = office.erp.settings.home / "imports"
    for name, hours in (("fresh", 1), ("stale", 25)):
        (folder / name).write_bytes(b"x")
        moment = (office.platform.ctx.clock.now() - timedelta(hours=hours)).timestamp()
        os.utime(folder / name, (moment, moment))
    office.erp.background.sweep()  # type: ignore[union-attr]
    assert kept(office) == sorted([*waiting, "fresh"])
    assert office.platform.jobs.get_job(number).task == TASK


def test_imports_of_one_project_come_one_after_the_other(office: offices.Office, manager: offices.Person) -> None:
    numbers = [taken(manager, bills.layout_b(bills.lines(30))) for _ in range(3)]
    for number in numbers:
        ended(office, manager, number)
    reports = [manager.get(f"{PATH}/imports/{number}")["report"] for number in numbers]
    assert [(report["written"], report["unchanged"]) for report in reports] == [(True, False), (False, True), (False, True)]


def test_without_a_queue_every_bill_is_imported_within_the_request(tmp_path: Path, erp_file: str) -> None:
    def make(given: dict[str, Mapping[str, object]]) -> Platform:
        return build({**given, "hub": {"home": tmp_path / "home"}}, extra=["noufal.part"], off=["jobs", "mail"], environ={})

    office = offices.Office(tmp_path / "home", erp_file, make, noufal={"background_import_bytes": 0})
    try:
        manager = office.person()
        manager.post("/api/projects", {"code": CODE, "name": "فيلا النرجس"})
        answer = later(manager, bills.layout_b(bills.lines(30)), background=True)
        assert (answer.status, answer.json()["written"]) == (200, True)
        assert manager.send("GET", f"{PATH}/imports/1").status == 404
        assert kept(office) == []
    finally:
        office.close()
