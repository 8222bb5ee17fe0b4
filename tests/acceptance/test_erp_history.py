"""Who changed what in a project and its bill, when, from what to what: recorded with the rows, or not at all."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

import bills
import offices
from noufal.app import create_app
from noufal.boq import ItemChange
from noufal.part import Erp
from noufal.projects import NewProject
from noufal.seed import COMMAND_LINE, seed_demo
from rakiza import build
from rakiza.events import Event, EventError

CODE = PATH = SURVEYOR = ""
"""The project of the test that runs and who measures in it: one office serves them all."""
NUMBERS = itertools.count(1)
FIRST, SECOND = "مقايسة الأعمال.xlsx", "مراجعة ٢.xlsx"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, shared_erp_url: str) -> Iterator[offices.Office]:
    with offices.office(tmp_path_factory.mktemp("home"), shared_erp_url) as one:
        yield one


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    number = next(NUMBERS)
    monkeypatch.setitem(globals(), "CODE", f"فيلا-{number}")
    monkeypatch.setitem(globals(), "PATH", f"/api/projects/{quote(CODE)}")
    monkeypatch.setitem(globals(), "SURVEYOR", f"qs-{number}@example.com")


@pytest.fixture
def manager(office: offices.Office) -> offices.Person:
    person = office.person()
    person.post("/api/projects", {"code": CODE, "name": "فيلا النرجس"})
    return person


def events(office: offices.Office, *, item: int | None = None, code: str = "") -> list[Event]:
    """Return the stream of a project, or of one line of its bill."""
    log, code = office.platform.events, code or CODE
    return log.get_events("Project", code) if item is None else log.get_events("BoqItem", f"{code}/{item}")


def told(office: offices.Office) -> list[int]:
    """Return where the log tells of projects and bills; sign-ins and other records of the audit stand between."""
    return sorted(event.position for kind in ("Project", "BoqItem") for event in office.platform.events.read(aggregate_type=kind, limit=5_000))


def history(person: offices.Person, item: int, **query: object) -> dict[str, Any]:
    """Return the history of a line as a person sees it."""
    found: dict[str, Any] = person.get(f"{PATH}/boq/items/{item}/history", **query)
    return found


def edit(person: offices.Person, item: int, version: int = 1, **change: str) -> Any:
    return person.patch(f"{PATH}/boq/items/{item}", {"version": version, **change})


def change(field: str, before: str | None, after: str | None) -> dict[str, str | None]:
    return {"field": field, "from": before, "to": after}


def test_an_edit_tells_who_when_from_what_to_what(office: offices.Office, manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(12, 2)), FIRST)
    item = manager.items(CODE)[4]
    surveyor = office.person(SURVEYOR, "member", "سعاد الحاسبة")
    manager.send("PUT", f"{PATH}/members", {"email": SURVEYOR, "role": "qs"})
    clock = office.platform.ctx.clock
    began = clock.now()
    edited = edit(surveyor, item["id"], unit_price="٩٩٫٩٩٩٩", quantity=item["quantity"], progress="٣٣٫٥")
    shown = history(manager, item["id"])
    assert shown["item"] == {"id": item["id"], "code": item["code"], "description": item["description"]}
    latest, arrival = shown["entries"]
    assert (latest["version"], latest["by"], latest["action"], latest["source"]) == (1, "سعاد الحاسبة", "changed", None)
    assert began <= datetime.fromisoformat(latest["at"]) <= clock.now()
    expected = [change("progress", "0.00", "33.50"), change("unit_price", item["unit_price"], "99.9999")]
    assert sorted(latest["changes"], key=lambda one: one["field"]) == expected
    assert (edited["unit_price"], edited["progress"]) == ("99.9999", "33.50")
    assert (arrival["version"], arrival["by"], arrival["action"], arrival["source"], arrival["changes"]) == (0, "المدير", "imported", FIRST, [])
    assert shown["next_before"] is None
    (event,) = events(office, item=item["id"])
    assert (event.event_type, event.user_id, event.tenant) == ("boq.item_changed", surveyor.me["id"], "default")
    assert event.payload == {
        "code": item["code"],
        "via": "edit",
        "changes": {"unit_price": {"from": item["unit_price"], "to": "99.9999"}, "progress": {"from": "0.00", "to": "33.50"}},
    }
    assert event.correlation_id


def test_what_changes_nothing_is_no_event(office: offices.Office, manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(12, 2)))
    item, before = manager.items(CODE)[0], told(office)
    edit(manager, item["id"], quantity=item["quantity"] + ".000", unit_price=item["unit_price"])
    manager.patch(PATH, {"version": 1, "name": "فيلا النرجس"})
    manager.send("PUT", f"{PATH}/members", {"email": manager.me["email"], "role": "manager"})
    manager.bring_in(CODE, bills.layout_b(bills.lines(12, 2)), dry_run=True)
    assert told(office) == before


def test_a_line_that_never_changed_tells_the_import_that_brought_it(office: offices.Office, manager: offices.Person) -> None:
    lines = bills.lines(12, 2)
    manager.bring_in(CODE, bills.layout_b(lines), FIRST)
    surveyor = office.person(SURVEYOR, "admin", "سعاد الحاسبة")
    new = replace(lines[3], code="9.99", description="بند جديد في المراجعة")
    surveyor.bring_in(CODE, bills.layout_b([*lines, new]), SECOND)
    brought = {item["code"]: history(manager, item["id"])["entries"] for item in manager.items(CODE)}
    seen = {code: [(entry["version"], entry["by"], entry["action"], entry["source"]) for entry in entries] for code, entries in brought.items()}
    assert seen == {line.code: [(0, "المدير", "imported", FIRST)] for line in lines} | {"9.99": [(0, "سعاد الحاسبة", "imported", SECOND)]}
    imports = [event for event in events(office) if event.event_type == "boq.imported"]
    assert [event.payload["file"] for event in imports] == [FIRST, SECOND]
    assert [[event.payload[name] for name in ("items", "added", "changed", "removed", "unchanged")] for event in imports] == [
        [12, 12, 0, 0, 0],
        [13, 1, 0, 0, 12],
    ]
    net = bills.total([*lines, new])
    assert imports[1].payload["net_total"] == str(net)
    assert len(str(imports[1].payload["sha256"])) == 64
    assert [event.user_id for event in imports] == [manager.me["id"], surveyor.me["id"]]


def test_an_import_tells_each_line_it_changes(office: offices.Office, manager: offices.Person) -> None:
    lines = bills.lines(12, 2)
    manager.bring_in(CODE, bills.layout_b(lines), FIRST)
    items = {item["code"]: item for item in manager.items(CODE)}
    dearer = replace(lines[2], price=lines[2].price + Decimal("1.25"))
    other = replace(lines[4], description="خرسانة عادية", unit="م³" if lines[4].unit != "م³" else "م²", quantity=Decimal("7.125"))
    moved = replace(lines[5], section=lines[-1].section)
    revised = [*lines[:2], dearer, lines[3], other, *lines[6:], moved]
    edit(manager, items[lines[2].code]["id"], progress="40")
    assert manager.bring_in(CODE, bills.layout_b(revised), SECOND)["changes"] == {"added": 0, "changed": 3, "removed": 0, "unchanged": 9}
    price = history(manager, items[lines[2].code]["id"])["entries"]
    assert [(entry["version"], entry["action"], entry["source"]) for entry in price] == [
        (2, "imported", SECOND),
        (1, "changed", None),
        (0, "imported", FIRST),
    ]
    assert price[0]["changes"] == [change("unit_price", items[lines[2].code]["unit_price"], f"{dearer.price}")]
    (texts, _) = history(manager, items[lines[4].code]["id"])["entries"]
    found = {one["field"]: (one["from"], one["to"]) for one in texts["changes"]}
    assert found["description"] == (lines[4].description, "خرسانة عادية")
    assert found["unit"] == (lines[4].unit, other.unit)
    assert found["quantity"] == (items[lines[4].code]["quantity"], "7.125")
    (place, _) = history(manager, items[lines[5].code]["id"])["entries"]
    assert place["changes"] == [change("section", f"1. {lines[5].section}", f"2. {lines[-1].section}")]
    assert len(history(manager, items[lines[0].code]["id"])["entries"]) == 1
    brought = events(office)[-1]
    caused = [events(office, item=items[line.code]["id"])[-1] for line in (lines[2], lines[4], lines[5])]
    assert {event.causation_id for event in caused} == {brought.event_id}
    assert sorted(event.position for event in [brought, *caused]) == list(range(brought.position, brought.position + 4))


def test_an_import_that_removes_a_line_keeps_what_it_was(office: offices.Office, manager: offices.Person) -> None:
    lines = bills.lines(12, 2)
    manager.bring_in(CODE, bills.layout_b(lines), FIRST)
    gone = manager.items(CODE)[-1]
    edit(manager, gone["id"], progress="12.5", unit_price="77.25")
    manager.bring_in(CODE, bills.layout_b(lines[:-1]), SECOND)
    changed, removed = events(office, item=gone["id"])
    assert (changed.event_type, removed.event_type, removed.user_id) == ("boq.item_changed", "boq.item_removed", manager.me["id"])
    last = {"code": gone["code"], "via": "import", "file": SECOND, "description": gone["description"], "unit": gone["unit"]}
    last |= {"quantity": gone["quantity"], "unit_price": "77.25", "progress": "12.50", "section": f"2. {lines[-1].section}"}
    assert last.items() <= removed.payload.items()
    answer = manager.send("GET", f"{PATH}/boq/items/{gone['id']}/history")
    assert (answer.status, answer.json()["code"]) == (404, "not_found")


def test_a_new_line_never_takes_the_place_of_one_that_is_gone(office: offices.Office, manager: offices.Person) -> None:
    lines = bills.lines(12, 2)
    manager.bring_in(CODE, bills.layout_b(lines), FIRST)
    gone = manager.items(CODE)[-1]
    edit(manager, gone["id"], unit_price="77.25")
    manager.bring_in(CODE, bills.layout_b(lines[:-1]), SECOND)
    manager.bring_in(CODE, bills.layout_b([*lines[:-1], replace(lines[-1], code="9.99")]), SECOND)
    new = manager.items(CODE)[-1]
    assert new["code"] == "9.99"
    assert new["id"] > gone["id"]
    assert [entry["version"] for entry in history(manager, new["id"])["entries"]] == [0]
    late = manager.send("PATCH", f"{PATH}/boq/items/{gone['id']}", {"version": 1, "unit_price": "1"})  # by somebody who still sees the old page
    assert late.status == 404
    assert manager.items(CODE)[-1] == new


def test_prices_are_hidden_in_the_history_too(office: offices.Office, manager: offices.Person) -> None:
    lines = bills.lines(12, 2)
    manager.bring_in(CODE, bills.layout_b(lines), FIRST)
    item = manager.items(CODE)[2]
    edit(manager, item["id"], unit_price="4321.09", quantity="21.5")
    manager.bring_in(CODE, bills.layout_b([*lines[:2], replace(lines[2], price=Decimal("8765.43"), quantity=Decimal("21.5")), *lines[3:]]), SECOND)
    for role in ("site_engineer", "viewer"):
        person = office.person(f"{role}@example.com", "member", f"عضو {role}")
        assert manager.send("PUT", f"{PATH}/members", {"email": f"{role}@example.com", "role": role}).status == 200
        entries = history(person, item["id"])["entries"]
        found = [one for entry in entries for one in entry["changes"]]
        assert found.count(change("unit_price", None, None)) == 2
        assert change("quantity", item["quantity"], "21.5") in found
        body = person.send("GET", f"{PATH}/boq/items/{item['id']}/history").body.decode()
        assert not [price for price in ("4321.09", "8765.43", f'"{item["unit_price"]}"') if price in body]
    seen = [one for entry in history(manager, item["id"])["entries"] for one in entry["changes"] if one["field"] == "unit_price"]
    assert seen == [change("unit_price", "4321.09", "8765.43"), change("unit_price", item["unit_price"], "4321.09")]


def test_pages_follow_each_other_without_a_gap(manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(12, 2)), FIRST)
    item = manager.items(CODE)[0]["id"]
    for number in range(1, 8):
        edit(manager, item, number, progress=str(number))
    everything = history(manager, item)
    assert [entry["version"] for entry in everything["entries"]] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert [one["to"] for entry in everything["entries"] for one in entry["changes"]] == [f"{number}.00" for number in range(7, 0, -1)]
    for size in (1, 3, 7, 8):
        page = history(manager, item, limit=size)
        walked = list(page["entries"])
        while page["next_before"] is not None:
            page = history(manager, item, limit=size, before=page["next_before"])
            walked += page["entries"]
        assert walked == everything["entries"], size
    assert [entry["version"] for entry in history(manager, item, before=1)["entries"]] == [0]
    for query in ({"limit": 0}, {"limit": 501}, {"before": 0}, {"before": 2**31}, {"before": "x"}):
        assert manager.send("GET", f"{PATH}/boq/items/{item}/history", **query).status == 422, query


def test_a_history_is_told_only_in_its_own_project(office: offices.Office, manager: offices.Person) -> None:
    manager.post("/api/projects", {"code": "OTHER", "name": "آخر"})
    for code in (CODE, "OTHER"):
        manager.bring_in(code, bills.layout_b(bills.lines(12, 2)))
    theirs = manager.items("OTHER")[0]["id"]
    guest = office.person("guest@example.com", "member", "ضيف")
    for person, path in (
        (manager, f"{PATH}/boq/items/{theirs}/history"),
        (manager, f"{PATH}/boq/items/{2**63}/history"),
        (manager, f"{PATH}/boq/items/-1/history"),
        (manager, "/api/projects/NONE/boq/items/1/history"),
        (guest, f"/api/projects/OTHER/boq/items/{theirs}/history"),
    ):
        answer = person.send("GET", path)
        assert (answer.status, answer.json()["code"]) == (404, "not_found"), path
        assert answer.json()["message_ar"]


def test_names_are_those_of_today_and_a_user_who_is_gone_leaves_what_was_written(office: offices.Office, manager: offices.Person) -> None:
    security, store = office.platform.security, office.platform.store
    surveyor = office.person(SURVEYOR, "admin", "سعاد الحاسبة")
    surveyor.bring_in(CODE, bills.layout_b(bills.lines(12, 2)), FIRST)
    item = manager.items(CODE)[0]["id"]
    edit(surveyor, item, progress="5")
    assert [entry["by"] for entry in history(manager, item)["entries"]] == ["سعاد الحاسبة"] * 2
    user = security.find_user(SURVEYOR)
    assert user is not None
    security.update_user(user, name="سعاد بنت علي")
    assert [entry["by"] for entry in history(manager, item)["entries"]] == ["سعاد بنت علي"] * 2
    with store.begin() as tx:
        for table in ("session", "link"):
            tx.execute(sa.text(f"delete from rakiza_security_{table} where user_id = :key"), {"key": user.key})
        tx.execute(sa.text("delete from rakiza_security_user where id = :key"), {"key": user.key})
    assert [entry["by"] for entry in history(manager, item)["entries"]] == [user.id, "سعاد الحاسبة"]


def test_the_command_line_is_named_as_the_program_it_is(office: offices.Office, manager: offices.Person, tmp_path: Path) -> None:
    lines = bills.lines(12, 2)
    for name, content in ((FIRST, lines), (SECOND, [replace(lines[0], price=Decimal(5)), *lines[1:]])):
        (tmp_path / name).write_bytes(bills.layout_b(content))
        office.erp.importer.run(COMMAND_LINE, CODE, tmp_path / name, name, dry_run=False)
    shown = history(manager, manager.items(CODE)[0]["id"])["entries"]
    assert [(entry["by"], entry["source"]) for entry in shown] == [("noufal", SECOND), ("noufal", FIRST)]


def test_a_project_and_its_members_are_told_without_names_of_people(office: offices.Office, manager: offices.Person) -> None:
    surveyor = office.person(SURVEYOR, "member", "سعاد الحاسبة")
    manager.patch(PATH, {"version": 1, "name": "فيلا الياسمين", "start_date": "2026-09-19", "vat_rate": "5"})
    for role in ("qs", "viewer"):
        manager.send("PUT", f"{PATH}/members", {"email": SURVEYOR, "role": role})
    manager.send("DELETE", f"{PATH}/members/{surveyor.me['id']}")
    found = events(office)
    me, them = manager.me["id"], surveyor.me["id"]
    fields = {"name": "فيلا النرجس", "name_en": None, "client": None, "start_date": None, "finish_date": None, "currency": "SAR", "vat_rate": "15.00"}
    assert [(event.event_type, event.payload) for event in found] == [
        ("project.created", {"code": CODE, **fields}),
        ("project.member_set", {"user": me, "role": "manager", "before": None}),
        (
            "project.updated",
            {
                "changes": {
                    "name": {"from": "فيلا النرجس", "to": "فيلا الياسمين"},
                    "start_date": {"from": None, "to": "2026-09-19"},
                    "vat_rate": {"from": "15.00", "to": "5.00"},
                }
            },
        ),
        ("project.member_set", {"user": them, "role": "qs", "before": None}),
        ("project.member_set", {"user": them, "role": "viewer", "before": "qs"}),
        ("project.member_removed", {"user": them, "role": "viewer"}),
    ]
    assert {event.user_id for event in found} == {me}
    assert found[1].causation_id == found[0].event_id
    written = "".join(event.payload_text + event.metadata_text for event in found)
    assert not [word for word in (SURVEYOR, "سعاد", "المدير", "admin@noufal.example") if word in written]


def test_what_is_refused_leaves_no_trace(office: offices.Office, manager: offices.Person) -> None:
    lines = bills.lines(12, 2)
    manager.bring_in(CODE, bills.layout_b(lines))
    item, before = manager.items(CODE)[0], told(office)
    path = f"{PATH}/boq/items/{item['id']}"
    refused = [
        manager.send("PATCH", path, {"version": 9, "progress": "5"}),
        manager.send("PATCH", path, {"version": 1, "progress": "500"}),
        manager.send("PATCH", PATH, {"version": 9, "name": "آخر"}),
        manager.send("POST", "/api/projects", {"code": CODE, "name": "آخر"}),
        manager.send("PUT", f"{PATH}/members", {"email": "nobody@example.com", "role": "qs"}),
        manager.send("DELETE", f"{PATH}/members/nobody"),
        manager.upload(CODE, bills.layout_b([*lines, replace(lines[0], quantity=Decimal(-1), code="9.9")])),
    ]
    assert [answer.status for answer in refused] == [409, 422, 409, 409, 422, 404, 422]
    assert told(office) == before
    assert manager.items(CODE)[0] == item


def test_a_transaction_that_fails_later_records_nothing(office: offices.Office, manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(12, 2)))
    item, before, store = manager.items(CODE)[0], told(office), office.platform.store

    def change_and_fail() -> None:
        with store.begin():
            office.erp.bills.edit(COMMAND_LINE, CODE, item["id"], ItemChange(version=1, progress="55"))
            office.erp.projects.create(COMMAND_LINE, NewProject(code="LATER", name="لاحق"))
            raise RuntimeError("انقطع العمل")

    with pytest.raises(RuntimeError, match="انقطع"):
        change_and_fail()
    assert told(office) == before
    assert manager.items(CODE)[0] == item
    assert manager.send("GET", "/api/projects/LATER").status == 404


def test_rows_without_their_event_are_not_written_either(tmp_path: Path, erp_url: str) -> None:
    with offices.office(tmp_path / "home", erp_url, events={"max_event_bytes": 600}) as office:
        person = office.person()
        person.post("/api/projects", {"code": CODE, "name": "فيلا"})
        lines = bills.lines(12, 2)
        person.bring_in(CODE, bills.layout_b(lines))
        items, before = person.items(CODE), told(office)
        content = bills.layout_b([replace(lines[0], description="وصف طويل جدا " * 60), *lines[1:]])
        answer = person.upload(CODE, content, SECOND)
        assert (answer.status, answer.json()["code"]) == (422, "event_too_large")
        assert answer.json()["message_ar"] == EventError.text_ar
        assert person.items(CODE) == items
        assert person.get(f"{PATH}/boq/summary")["last_import"]["file"] != SECOND
        assert told(office) == before


def test_of_rival_writers_one_leaves_one_event(office: offices.Office, manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(12, 2)))
    item = manager.items(CODE)[0]["id"]
    barrier = threading.Barrier(8)

    def write(share: int) -> int:
        barrier.wait()
        return manager.send("PATCH", f"{PATH}/boq/items/{item}", {"version": 1, "progress": str(share)}).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(write, range(10, 90, 10)))
    assert sorted(statuses) == [200] + [409] * 7
    (event,) = events(office, item=item)
    assert event.payload["changes"] == {"progress": {"from": "0.00", "to": manager.items(CODE)[0]["progress"]}}


def test_the_demonstration_has_a_history(tmp_path: Path, erp_file: str) -> None:
    with offices.office(tmp_path / "home", erp_file) as office:
        assert seed_demo(office.erp) == ["VILLA-01", "OFFICE-07"]
        person = office.person()
        kinds = [event.event_type for code in ("VILLA-01", "OFFICE-07") for event in events(office, code=code)]
        assert kinds == ["project.created", "boq.imported"] * 2
        item = person.items("VILLA-01")[0]["id"]
        (arrival,) = person.get(f"/api/projects/VILLA-01/boq/items/{item}/history")["entries"]
    assert (arrival["by"], arrival["action"]) == ("noufal", "imported")


def test_without_the_part_everything_works_and_nothing_is_told(tmp_path: Path, erp_url: str) -> None:
    settings: dict[str, dict[str, object]] = {"noufal": {"home": tmp_path}, "hub": {"home": tmp_path}, "store": {"database_url": erp_url}}
    platform = build(settings, extra=["noufal.part"], off=["events"], environ={})
    create_app(platform)
    platform.start()
    try:
        erp = platform.service("noufal", Erp)
        erp.projects.create(COMMAND_LINE, NewProject(code=CODE, name="فيلا"))
        lines = bills.lines(12, 2)
        for name, some in ((FIRST, lines), (SECOND, [replace(lines[0], price=Decimal(5)), *lines[1:-1]])):
            report = erp.importer.run(COMMAND_LINE, CODE, bills.layout_b(some), name, dry_run=False)
        assert (report.changes.changed, report.changes.removed) == (1, 1)
        shown = erp.timeline.of(COMMAND_LINE, CODE, 1)
        assert [(entry.version, entry.action, entry.source) for entry in shown.entries] == [(0, "imported", FIRST)]
        erp.bills.edit(COMMAND_LINE, CODE, 1, ItemChange(version=2, progress="10"))
        assert erp.timeline.of(COMMAND_LINE, CODE, 1, before=5) == erp.timeline.of(COMMAND_LINE, CODE, 1) == shown
    finally:
        platform.shutdown()


def test_the_description_tells_how_to_ask(office: offices.Office) -> None:
    described = office.request("GET", "/api/openapi.json").json()
    asked = described["paths"]["/api/projects/{code}/boq/items/{item_id}/history"]["get"]
    assert {parameter["name"] for parameter in asked["parameters"]} == {"code", "item_id", "limit", "before"}
    schemas = described["components"]["schemas"]
    assert set(schemas["HistoryChange"]["properties"]) == {"field", "from", "to"}
    assert {"version", "at", "by", "action", "source", "changes"} == set(schemas["HistoryEntry"]["properties"])
    assert "404" in asked["responses"]
