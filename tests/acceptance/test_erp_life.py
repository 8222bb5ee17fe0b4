"""The life of a bill of quantities over HTTP, on SQLite and on PostgreSQL."""

import gc
import itertools
import random
import weakref
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import bills
import offices

CODE = PATH = ""
"""The project of the test that runs: one office serves them all."""
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, shared_erp_url: str) -> Iterator[offices.Office]:
    with offices.office(tmp_path_factory.mktemp("home"), shared_erp_url) as one:
        yield one


@pytest.fixture
def manager(office: offices.Office, monkeypatch: pytest.MonkeyPatch) -> offices.Person:
    monkeypatch.setitem(globals(), "CODE", f"فيلا-{next(NUMBERS)}")
    monkeypatch.setitem(globals(), "PATH", f"/api/projects/{quote(CODE)}")
    person = office.person()
    person.post("/api/projects", {"code": CODE, "name": "فيلا النرجس", "name_en": "Narjis villa", "client": "شركة الأفق"})
    return person


def cents(text: str) -> Decimal:
    return Decimal(text).quantize(Decimal("0.01"), ROUND_HALF_UP)


def test_a_link_signs_in_once_and_signing_out_ends_it(tmp_path: Path, erp_file: str) -> None:
    with offices.office(tmp_path / "home", erp_file) as office:
        security = office.platform.security
        admin = security.first_admin("admin@noufal.example", None, "المدير")
        assert admin is not None
        token = security.create_link(admin)
        person = office.by_link(token)
        assert person.me["name"] == "المدير"
        assert person.get("/api/users/me")["role"] == "admin"
        again = office.request("POST", "/api/auth/link", content=b'{"token":"' + token.encode() + b'"}', headers={"content-type": "application/json"})
        assert (again.status, again.json()["code"]) == (401, "link_expired")
        assert person.send("POST", "/api/auth/logout").status == 204
        gone = person.send("GET", "/api/projects")
        assert (gone.status, gone.json()["code"]) == (401, "unauthorized")
        assert gone.headers["content-type"].startswith("application/problem+json")


def test_a_project_is_made_read_and_changed(manager: offices.Person) -> None:
    project = manager.get(PATH)
    assert (project["code"], project["name"], project["client"]) == (CODE, "فيلا النرجس", "شركة الأفق")
    assert (project["currency"], project["vat_rate"], project["version"], project["items_count"]) == ("SAR", "15.00", 1, 0)
    assert (project["total_cost"], project["progress"], project["role"]) == ("0.00", "0.00", "manager")
    changed = manager.patch(PATH, {"version": 1, "name": "فيلا الياسمين", "client": None, "start_date": "2026-09-19", "vat_rate": "5"})
    assert (changed["version"], changed["name"], changed["client"], changed["vat_rate"]) == (2, "فيلا الياسمين", None, "5.00")
    assert (changed["name_en"], changed["start_date"]) == ("Narjis villa", "2026-09-19")
    late = manager.patch(PATH, {"version": 1, "name": "أخرى"}, 409)
    assert (late["code"], late["current"]["name"], late["current"]["version"]) == ("conflict", "فيلا الياسمين", 2)
    early = manager.patch(PATH, {"version": 2, "finish_date": "2026-09-18"}, 422)
    assert early["errors"][0]["field"] == "finish_date"
    assert manager.get(PATH)["finish_date"] is None


def test_a_code_is_taken_once(manager: offices.Person) -> None:
    taken = manager.post("/api/projects", {"code": CODE, "name": "ثانية"}, 409)
    assert taken["code"] == "code_taken"
    assert [project["name"] for project in manager.get("/api/projects", limit=200)["items"] if project["code"] == CODE] == ["فيلا النرجس"]


def test_projects_are_walked_by_cursor(manager: offices.Person) -> None:
    for number in range(7):
        manager.post("/api/projects", {"code": f"P-{number:02d}", "name": f"مشروع {number}"})
    codes = sorted(project["code"] for project in manager.get("/api/projects", limit=200)["items"])
    assert len(codes) >= 8
    seen, cursor = [], None
    while True:
        page = manager.get("/api/projects", limit=3, **({"cursor": cursor} if cursor else {}))
        assert page["total"] == len(codes)
        seen += [project["code"] for project in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == codes


def test_a_dry_run_reports_and_writes_nothing(manager: offices.Person) -> None:
    lines = bills.lines(30)
    report = manager.bring_in(CODE, bills.layout_b(lines), dry_run=True)
    assert (report["items"], report["sections"], report["layout"]) == (30, 5, "sectioned")
    assert Decimal(report["net_total"]) == bills.total(lines)
    assert cents(str(bills.total(lines) * Decimal("0.15"))) == Decimal(report["vat_total"])
    assert Decimal(report["gross_total"]) == Decimal(report["net_total"]) + Decimal(report["vat_total"])
    assert (report["dry_run"], report["written"], report["changes"]["added"], report["counts"]["errors"]) == (True, False, 30, 0)
    assert sum(Decimal(section["total"]) for section in report["section_list"]) == bills.total(lines)
    assert manager.items(CODE) == []
    assert manager.get(f"{PATH}/boq/summary")["last_import"] is None


def test_the_same_file_again_changes_nothing(manager: offices.Person) -> None:
    content = bills.layout_b(bills.lines(30))
    first = manager.bring_in(CODE, content)
    assert (first["written"], first["unchanged"], first["changes"]["added"]) == (True, False, 30)
    before = manager.items(CODE)
    summary = manager.get(f"{PATH}/boq/summary")
    assert (summary["last_import"]["file"], summary["last_import"]["by"]) == ("مقايسة.xlsx", "المدير")
    again = manager.bring_in(CODE, content)
    assert (again["written"], again["unchanged"], again["changes"]) == (False, True, {"added": 0, "changed": 0, "removed": 0, "unchanged": 30})
    assert manager.bring_in(CODE, content, dry_run=True)["unchanged"] is True
    assert manager.items(CODE) == before
    assert manager.get(f"{PATH}/boq/summary") == summary


def test_a_new_revision_keeps_progress_and_tells_the_difference(manager: offices.Person) -> None:
    lines = bills.lines(30)
    manager.bring_in(CODE, bills.layout_b(lines))
    items = {item["code"]: item for item in manager.items(CODE)}
    for line in (lines[3], lines[7]):
        manager.patch(f"{PATH}/boq/items/{items[line.code]['id']}", {"version": 1, "progress": "40"})
    extra = replace(lines[9], code="2.99", description="بند جديد في المراجعة")
    cheaper = replace(lines[7], price=lines[7].price + 1)
    revised = [*lines[1:7], cheaper, *lines[8:10], extra, *lines[10:]]
    preview = manager.bring_in(CODE, bills.layout_b(revised), dry_run=True)
    report = manager.bring_in(CODE, bills.layout_b(revised))
    assert preview["changes"] == report["changes"] == {"added": 1, "changed": 1, "removed": 1, "unchanged": 28}
    after = manager.items(CODE)
    assert [item["code"] for item in after] == [line.code for line in revised]
    assert [item["position"] for item in after] == list(range(1, 31))
    found = {item["code"]: item for item in after}
    assert (found[lines[3].code]["progress"], found[lines[3].code]["version"]) == ("40.00", 2)  # moved up, otherwise untouched
    assert (found[lines[7].code]["progress"], found[lines[7].code]["version"]) == ("40.00", 3)
    assert Decimal(found[lines[7].code]["total"]) == cheaper.amount
    assert Decimal(found[lines[7].code]["earned"]) == cents(str(cheaper.amount * Decimal("0.4")))
    assert {code: found[code]["id"] for code in found if code in items} == {code: items[code]["id"] for code in found if code in items}
    assert_summary_is_the_sum(manager)


def test_a_file_without_prices_does_not_take_the_prices_away(manager: offices.Person) -> None:
    bare = bills.table([["الكود", "الوصف", "الوحدة", "الكمية"], ["1.1", "خرسانة", "م3", 5], ["1.2", "حديد", "طن", 2]])
    assert manager.bring_in(CODE, bare)["items"] == 2
    manager.bring_in(CODE, bills.layout_b(bills.lines(30)))
    before = manager.items(CODE)
    preview = manager.upload(CODE, bare, dry_run=True).json()
    assert [one["code"] for one in preview["errors"]] == ["prices_would_go"]
    refused = manager.upload(CODE, bare, dry_run=False)
    assert (refused.status, refused.json()["code"]) == (422, "import_rejected")
    assert manager.items(CODE) == before


def test_sections_follow_the_file(manager: offices.Person) -> None:
    lines = bills.lines(30)
    manager.bring_in(CODE, bills.layout_b(lines))
    first = manager.get(f"{PATH}/boq/summary")["sections"]
    back = [*lines[12:], *lines[:6]]  # the second section is gone, the first stands last
    manager.bring_in(CODE, bills.layout_b(back))
    sections = manager.get(f"{PATH}/boq/summary")["sections"]
    assert [section["title"] for section in sections] == [section["title"] for section in [*first[2:], first[0]]]
    assert [section["position"] for section in sections] == [1, 2, 3, 4]
    assert {section["id"] for section in sections} < {section["id"] for section in first}
    assert_summary_is_the_sum(manager)


def test_pages_sort_filter_and_search(manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(30)))
    everything = manager.items(CODE)
    ask = f"{PATH}/boq/items"
    page = manager.get(ask, limit=7, offset=14)
    assert ([item["position"] for item in page["items"]], page["total"], page["next_cursor"]) == (list(range(15, 22)), 30, "21")
    assert manager.get(ask, limit=7, offset=28)["next_cursor"] is None
    assert manager.get(ask, offset=500)["items"] == []
    for sort, key in (("total", "total"), ("-unit_price", "unit_price"), ("quantity", "quantity"), ("-code", "code"), ("description", "description")):
        values = [item[key] for item in manager.get(ask, limit=500, sort=sort)["items"]]
        comparable = [Decimal(value) for value in values] if key in {"total", "unit_price", "quantity"} else values
        assert comparable == sorted(comparable, reverse=sort.startswith("-")), sort
    section = everything[10]["section"]
    inside = manager.get(ask, section=section, limit=4)
    assert inside["total"] == sum(item["section"] == section for item in everything)
    assert all(item["section"] == section for item in inside["items"])
    rest = manager.get(ask, section=section, limit=4, cursor=inside["next_cursor"])
    assert not {item["id"] for item in rest["items"]} & {item["id"] for item in inside["items"]}


def test_search_finds_every_spelling(manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(30)))
    for text in ("خرسانة مسلحة", "خَرَسَانَةٌ مُسَلَّحَة", "خرســانه مسلحه", "٢.٨", "٢٫٨", "2.8"):
        found = manager.get(f"{PATH}/boq/items", q=text)
        assert found["items"], text
        for item in found["items"]:
            assert "خرسانة مسلحة" in item["description"] or "2.8" in item["code"], text
        assert found["total"] == len(found["items"]), text
    assert manager.get(f"{PATH}/boq/items", q="%")["total"] == 0
    assert manager.get(f"{PATH}/boq/items", q="ليس هنا")["items"] == []


def test_an_edit_counts_and_a_late_one_is_refused(manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(30)))
    item = manager.items(CODE)[4]
    path = f"{PATH}/boq/items/{item['id']}"
    edited = manager.patch(path, {"version": 1, "quantity": "12.345678", "unit_price": "99.9999", "progress": "33.3333"})
    assert (edited["quantity"], edited["unit_price"], edited["progress"], edited["version"]) == ("12.345678", "99.9999", "33.3333", 2)
    assert edited["total"] == str(cents(str(Decimal("12.345678") * Decimal("99.9999"))))
    assert edited["earned"] == str(cents(str(Decimal(edited["total"]) * Decimal("0.333333"))))
    late = manager.patch(path, {"version": 1, "progress": "50"}, 409)
    assert (late["code"], late["current"]) == ("conflict", edited)
    assert late["message_ar"]
    assert manager.get(f"{PATH}/boq/items", limit=1, offset=4)["items"] == [edited]
    assert_summary_is_the_sum(manager)


def test_the_summary_is_the_sum_after_any_edits(manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_c(bills.lines(40, 7)))
    chance = random.Random(20260919)  # noqa: S311 - edits, not secrets
    state = {item["id"]: item for item in manager.items(CODE)}
    for number in range(60):
        item = state[chance.choice(sorted(state))]
        change: dict[str, object] = {"version": item["version"]}
        for field, most, places in (("quantity", 10_000, 6), ("unit_price", 5_000, 4), ("progress", 100, 4)):
            if chance.random() < 0.6:
                value = Decimal(chance.randrange(most * 10**places + 1)) / 10**places
                change[field] = str(value.quantize(Decimal(10) ** -chance.randrange(places + 1)))
        if len(change) == 1:
            change["progress"] = "100"
        state[item["id"]] = manager.patch(f"{PATH}/boq/items/{item['id']}", change)
        if number % 10 == 9:
            assert_summary_is_the_sum(manager)
    assert sorted(manager.items(CODE), key=lambda item: item["id"]) == [state[key] for key in sorted(state)]


@pytest.mark.parametrize("language", ["ar", "en"])
@pytest.mark.parametrize("layout", [bills.layout_a, bills.layout_b, bills.layout_c])
def test_an_export_reads_back_as_the_same_bill(manager: offices.Person, layout: Any, language: str) -> None:
    manager.bring_in(CODE, layout(bills.lines(30)))
    item = manager.items(CODE)[2]
    manager.patch(f"{PATH}/boq/items/{item['id']}", {"version": 1, "quantity": "7.125", "progress": "12.5"})
    before, summary = manager.items(CODE), manager.get(f"{PATH}/boq/summary")
    export = manager.send("GET", f"{PATH}/boq/export.xlsx", lang=language)
    assert (export.status, export.headers["content-type"]) == (200, offices.XLSX)
    assert quote(CODE) in export.headers["content-disposition"]
    report = manager.bring_in(CODE, export.body, "export.xlsx")
    assert (report["changes"], report["differences"], report["errors"]) == ({"added": 0, "changed": 0, "removed": 0, "unchanged": 30}, [], [])
    assert manager.items(CODE) == before
    after = manager.get(f"{PATH}/boq/summary")
    assert {**after, "last_import": None} == {**summary, "last_import": None}


def test_into_an_empty_project_the_export_makes_the_same_bill(manager: offices.Person) -> None:
    manager.bring_in(CODE, bills.layout_b(bills.lines(30)))
    export = manager.send("GET", f"{PATH}/boq/export.xlsx").body
    manager.post("/api/projects", {"code": f"{CODE}-COPY", "name": "نسخة"})
    manager.bring_in(f"{CODE}-COPY", export, "export.xlsx")

    def bare(code: str) -> list[dict[str, Any]]:
        return [{key: value for key, value in item.items() if key not in {"id", "section"}} for item in manager.items(code)]

    assert bare(f"{CODE}-COPY") == bare(CODE)


def test_members_come_and_go(office: offices.Office, manager: offices.Person) -> None:
    guest = f"qs-{next(NUMBERS)}@example.com"
    surveyor = office.person(guest, "member", "سعاد الحاسبة")
    assert surveyor.get("/api/projects") == {"items": [], "next_cursor": None, "total": 0}
    assert surveyor.send("GET", PATH).status == 404
    added = manager.send("PUT", f"{PATH}/members", {"email": f"{guest.upper()} ", "role": "qs"})
    assert (added.status, added.json()["role"], added.json()["name"]) == (200, "qs", "سعاد الحاسبة")
    assert surveyor.get(PATH)["role"] == "qs"
    surveyor.bring_in(CODE, bills.layout_b(bills.lines(12, 2)))
    assert manager.send("PUT", f"{PATH}/members", {"email": guest, "role": "viewer"}).status == 200
    assert surveyor.upload(CODE, bills.layout_b(bills.lines(12, 2))).status == 403
    listed = manager.get(f"{PATH}/members")
    assert {(member["email"], member["role"]) for member in listed["items"]} == {("admin@noufal.example", "manager"), (guest, "viewer")}
    assert surveyor.send("GET", f"{PATH}/members").status == 403
    assert manager.send("PUT", f"{PATH}/members", {"email": "nobody@example.com", "role": "qs"}).json()["errors"][0]["field"] == "email"
    assert manager.send("PUT", f"{PATH}/members", {"email": guest, "role": "king"}).json()["errors"][0]["field"] == "role"
    assert manager.send("DELETE", f"{PATH}/members/{surveyor.me['id']}").status == 204
    assert manager.send("DELETE", f"{PATH}/members/{surveyor.me['id']}").status == 404
    assert surveyor.send("GET", PATH).status == 404


def assert_summary_is_the_sum(person: offices.Person) -> None:
    items, summary, project = person.items(CODE), person.get(f"{PATH}/boq/summary"), person.get(PATH)
    total, earned = sum(Decimal(item["total"]) for item in items), sum(Decimal(item["earned"]) for item in items)
    assert (Decimal(summary["total_cost"]), Decimal(summary["earned_total"]), summary["items_count"]) == (total, earned, len(items))
    vat = cents(str(total * Decimal(summary["vat_rate"]) / 100))
    assert (Decimal(summary["vat_total"]), Decimal(summary["gross_total"])) == (vat, total + vat)
    assert Decimal(summary["progress"]) == (cents(str(earned * 100 / total)) if total else 0)
    for section in summary["sections"]:
        inside = [item for item in items if item["section"] == section["id"]]
        assert section["items_count"] == len(inside)
        assert Decimal(section["total_cost"]) == sum(Decimal(item["total"]) for item in inside)
        assert Decimal(section["earned_total"]) == sum(Decimal(item["earned"]) for item in inside)
    assert (project["total_cost"], project["progress"], project["items_count"]) == (summary["total_cost"], summary["progress"], len(items))


def test_an_application_that_was_stopped_is_let_go_of(tmp_path: Path, erp_file: str) -> None:
    with offices.office(tmp_path / "home", erp_file) as one:
        one.person()
        left = [weakref.ref(one.platform), weakref.ref(one.platform.store)]
    del one
    gc.collect()
    assert [found() for found in left] == [None] * 2
