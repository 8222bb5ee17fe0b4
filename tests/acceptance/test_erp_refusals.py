"""Bad input over HTTP and by command: refused in both languages with the place named, nothing written, never a 500."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bills
import offices
from served import command

HEAD = ["رقم البند", "وصف البند", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي"]
GOOD = ["1", "حفر", "م³", 10, 45, 450]
LIMIT = 3 * 1024 * 1024


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, shared_erp_url: str) -> Iterator[offices.Person]:
    """Yield somebody whose project P nothing here may change; what is taken goes into projects of its own."""
    with offices.office(tmp_path_factory.mktemp("home"), shared_erp_url, noufal={"max_import_bytes": LIMIT}) as office:
        person = office.person()
        person.post("/api/projects", {"code": "P", "name": "مشروع"})
        person.bring_in("P", bills.layout_b(bills.lines(10, 2)))
        yield person


def rows(*lines: list[object]) -> bytes:
    return bills.table([HEAD, GOOD, *lines])


def bomb() -> bytes:
    return bills.with_member(rows(), "xl/worksheets/sheet9.xml", b"<x/>" + b" " * 60_000_000)


def endless() -> bytes:
    cell = "<row r='{0}'><c r='A{0}'><v>1</v></c></row>"
    body = "".join(cell.format(number) for number in range(1, 210_000)).encode()
    sheet = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>' + body + b"</sheetData></worksheet>"
    return bills.with_member(rows(), "xl/worksheets/sheet1.xml", sheet)


def encrypted() -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 2000


def truncated() -> bytes:
    return bills.layout_b(bills.lines(30))[:3000]


UNREADABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "not_a_workbook"),
    "a PDF": (lambda: b"%PDF-1.7\n" + b"x" * 500, "not_a_workbook"),
    "a web page": (lambda: b"<!DOCTYPE html><table><tr><td>1", "not_a_workbook"),
    "another package": (lambda: bills.with_member(b"PK\x05\x06" + b"\0" * 18, "word/document.xml", b"<w/>"), "not_a_workbook"),
    "nothing": (lambda: b"", "empty"),
    "half a file": (truncated, "damaged"),
    "a password": (encrypted, "encrypted"),
    "no header": (lambda: bills.table([["التاريخ", "الاسم"], ["1", "سعاد"]]), "no_header"),
}
SLOW = {"a bomb": (bomb, "zip_bomb"), "too many rows": (endless, "too_many_rows")}
CELLS: dict[str, tuple[list[list[object]], str, str, int, str]] = {
    "text for a number": ([["2", "ردم", "م³", "عشرة", 45]], "not_a_number", "D", 3, "عشرة"),
    "two readings": ([["2", "ردم", "م³", "1,5", 45]], "ambiguous_number", "D", 3, "1,5"),
    "below nothing": ([["2", "خصم", "م³", -10, 45]], "negative_number", "D", 3, "-10"),
    "absurd": ([["2", "ردم", "م³", 1, 2e12]], "number_too_large", "E", 3, "2000000000000"),
    "same code": ([["1", "ردم", "م³", 10, 45]], "duplicate_code", "A", 3, "2"),
    "formula without value": ([["2", "ردم", "م³", bills.Formula("=A1*2", None), 45]], "formula_without_value", "D", 3, ""),
    "too fine": ([["2", "ردم", "م³", 10, 33.33333]], "too_many_decimals", "E", 3, "33.33333"),
    "no description": ([["2", None, "م³", 10, 45]], "missing_description", "B", 3, ""),
}


def both_languages(problem: dict[str, Any]) -> None:
    for one in (problem, *problem.get("errors", [])):
        assert one["message_en"].strip(), one
        assert any("\u0600" <= sign <= "\u06ff" for sign in one["message_ar"]), one


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_is_no_bill(manager: offices.Person, case: str) -> None:
    make, code = UNREADABLE[case]
    before, content = manager.items("P"), make()
    for dry_run in (True, False):
        answer = manager.upload("P", content, dry_run=dry_run)
        assert answer.status == 422, answer
        problem = answer.json()
        assert problem["code"] == code, problem
        both_languages(problem)
        assert problem["hint"]
    assert manager.items("P") == before


@pytest.mark.parametrize("shared_erp_url", ["sqlite"], indirect=True)  # what takes so long comes before any database
@pytest.mark.parametrize("case", SLOW)
def test_a_file_too_large_to_read(manager: offices.Person, case: str) -> None:
    make, code = SLOW[case]
    before = manager.items("P")
    answer = manager.upload("P", make())
    assert (answer.status, answer.json()["code"]) == (422, code), answer
    both_languages(answer.json())
    assert answer.json()["hint"]
    assert manager.items("P") == before


@pytest.mark.parametrize("case", CELLS)
def test_a_wrong_cell_is_named(manager: offices.Person, case: str) -> None:
    lines, code, column, row, said = CELLS[case]
    before, summary = manager.items("P"), manager.get("/api/projects/P/boq/summary")
    content = rows(*lines)
    report = manager.bring_in("P", content, dry_run=True)
    assert report["counts"]["errors"] == 1
    answer = manager.upload("P", content)
    problem = answer.json()
    assert (answer.status, problem["code"]) == (422, "import_rejected")
    both_languages(problem)
    (error,) = problem["errors"]
    assert (error["sheet"], error["row"], error["column"], error["code"]) == ("BOQ", row, column, code)
    assert said in error["message_en"]
    assert said in error["message_ar"]
    assert problem["report"]["errors"] == problem["errors"] == report["errors"]
    assert problem["report"]["written"] is False
    assert (manager.items("P"), manager.get("/api/projects/P/boq/summary")) == (before, summary)


def test_a_wrong_total_is_a_difference_and_the_computed_sum_counts(manager: offices.Person) -> None:
    manager.post("/api/projects", {"code": "TOTAL", "name": "مشروع"})
    report = manager.bring_in("TOTAL", rows(["2", "ردم", "م³", 10, 20, 201], [None, "الإجمالي الكلي", None, None, None, 999]))
    found = {(one["code"], one["row"], one["column"]) for one in report["differences"]}
    assert ("total_mismatch", 3, "F") in found
    assert any(code == "stated_total_mismatch" and row == 4 for code, row, _ in found)
    assert (report["net_total"], report["stated_total"], report["written"]) == ("650.00", "999.00", True)


def test_a_file_over_the_limit(manager: offices.Person) -> None:
    answer = manager.upload("P", b"PK\x03\x04" + b"x" * (LIMIT + 100_000))
    problem = answer.json()
    assert (answer.status, problem["code"]) == (413, "too_large")
    both_languages(problem)
    assert len(manager.items("P")) == 10


FORMS = [
    (b"{}", "application/json"),
    (b"x", "multipart/form-data"),
    (b"x", "multipart/form-data; boundary=x"),
    (b"", "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhello\r\n--x--\r\n', "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="other"; filename="a.xlsx"\r\n\r\nhello\r\n--x--\r\n', "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.xlsx"\r\n\r\nhello', "multipart/form-data; boundary=x"),
    (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.xlsx"\r\n\r\n1\r\n' * 2 + b"--x--\r\n",
        "multipart/form-data; boundary=x",
    ),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_without_one_file(manager: offices.Person, form: tuple[bytes, str]) -> None:
    content, kind = form
    answer = manager.send("POST", "/api/projects/P/boq/import", content=content, kind=kind)
    assert answer.status in {400, 422}
    both_languages(answer.json())


def test_a_file_name_is_a_name(manager: offices.Person) -> None:
    content = bills.layout_b(bills.lines(10, 2))
    manager.post("/api/projects", {"code": "NAME", "name": "مشروع"})
    report = manager.bring_in("NAME", content, "..\\..\\etc/مقا\u202eيسة\tأولى" + "ط" * 400 + ".xlsx")
    assert report["file"].startswith("مقا يسة أولى")
    assert report["file"].endswith("ط.xlsx")
    assert len(report["file"]) == 200


BODIES: list[tuple[bytes, int, str]] = [
    (b"{", 400, ""),
    (b"", 422, ""),
    (b"[]", 422, ""),
    (b"null", 422, ""),
    (b"[" * 100_000, 400, ""),
    (b"\xff\xfe", 400, ""),
    (b'{"code":1,"name":"x"}', 422, "code"),
    (b'{"code":"A"}', 422, "name"),
    (b'{"code":"A","name":"x","colour":1}', 422, "colour"),
    (b'{"code":"A\\u0000","name":"x"}', 422, "code"),
    (b'{"code":"A B","name":"x"}', 422, "code"),
    (b'{"code":"","name":"x"}', 422, "code"),
    (b'{"code":"../A","name":"x"}', 422, "code"),
    (b'{"code":"A","name":"x\\u0000y"}', 422, "name"),
    (b'{"code":"A","name":"x\\ny"}', 422, "name"),
    (b'{"code":"A","name":"\\ud800"}', 400, ""),
    (b'{"code":"A","name":"  "}', 422, "name"),
    (b'{"code":"A","name":"' + b"x" * 301 + b'"}', 422, "name"),
    (b'{"code":"A","name":"x","start_date":"2026-13-01"}', 422, "start_date"),
    (b'{"code":"A","name":"x","start_date":"2026-02-01","finish_date":"2026-01-31"}', 422, "finish_date"),
    (b'{"code":"A","name":"x","vat_rate":"fifteen"}', 422, "vat_rate"),
    (b'{"code":"A","name":"x","vat_rate":"-1"}', 422, "vat_rate"),
    (b'{"code":"A","name":"x","vat_rate":"101"}', 422, "vat_rate"),
    (b'{"code":"A","name":"x","vat_rate":"1e999999999"}', 422, "vat_rate"),
    (b'{"code":"A","name":"x","vat_rate":15}', 422, "vat_rate"),
    (b'{"code":"A","name":"x","currency":"sar"}', 422, "currency"),
    (b'{"code":"A","name":"' + b"x" * 2_000_000 + b'"}', 413, ""),
]


@pytest.mark.parametrize(("body", "status", "field"), BODIES)
def test_a_wrong_project(manager: offices.Person, body: bytes, status: int, field: str) -> None:
    before = manager.get("/api/projects")
    answer = manager.send("POST", "/api/projects", content=body)
    problem = answer.json()
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    both_languages(problem)
    if field:
        assert [error["field"] for error in problem["errors"]] == [field]
    assert manager.get("/api/projects") == before


CHANGES: list[tuple[dict[str, object], str]] = [
    ({}, "version"),
    ({"version": 1}, ""),
    ({"progress": "1"}, "version"),
    ({"version": "one", "progress": "1"}, "version"),
    ({"version": 0, "progress": "1"}, "version"),
    ({"version": 2**40, "progress": "1"}, "version"),
    ({"version": 1, "progress": 1}, "progress"),
    ({"version": 1, "progress": "100.0001"}, "progress"),
    ({"version": 1, "progress": "-1"}, "progress"),
    ({"version": 1, "progress": "نصف"}, "progress"),
    ({"version": 1, "quantity": "1E1000000"}, "quantity"),
    ({"version": 1, "quantity": "0.0000001"}, "quantity"),
    ({"version": 1, "quantity": None}, "quantity"),
    ({"version": 1, "unit_price": "1.23456"}, "unit_price"),
    ({"version": 1, "quantity": "999999999", "unit_price": "999999999999"}, "quantity"),
    ({"version": 1, "code": "9"}, "code"),
]


@pytest.mark.parametrize(("change", "field"), CHANGES)
def test_a_wrong_edit(manager: offices.Person, change: dict[str, object], field: str) -> None:
    before = manager.items("P")
    answer = manager.send("PATCH", f"/api/projects/P/boq/items/{before[0]['id']}", change)
    assert answer.status == 422, answer
    both_languages(answer.json())
    if field:
        assert answer.json()["errors"][0]["field"] == field
    assert manager.items("P") == before


ADDRESSES = [
    ("GET", "/api/nope", 404),
    ("GET", "/api/projects/P/nope", 404),
    ("GET", "/api/projects/%00", 404),
    ("GET", "/api/projects/%ff", 404),
    ("GET", "/api/projects/P%2F..", 404),
    ("DELETE", "/api/projects", 405),
    ("PUT", "/api/projects/P", 405),
    ("GET", "/api/projects?limit=0", 422),
    ("GET", "/api/projects?cursor=%00", 422),
    ("GET", "/api/projects/P/boq/items?limit=501", 422),
    ("GET", "/api/projects/P/boq/items?limit=ten", 422),
    ("GET", "/api/projects/P/boq/items?offset=-1", 422),
    ("GET", f"/api/projects/P/boq/items?offset={10**30}", 422),
    ("GET", "/api/projects/P/boq/items?section=-1", 422),
    ("GET", f"/api/projects/P/boq/items?section={2**63}", 422),
    ("GET", f"/api/projects/P/boq/items?section={2**63 - 1}", 200),
    ("GET", "/api/projects/P/boq/items?cursor=-1", 422),
    ("GET", f"/api/projects/P/boq/items?cursor={'9' * 30}", 422),
    ("GET", "/api/projects/P/boq/items?sort=colour", 422),
    ("GET", "/api/projects/P/boq/items?q=%00", 200),
    ("GET", "/api/projects/P/boq/items?q=%ff%fe", 200),
    ("GET", f"/api/projects/P/boq/items?q={'x' * 201}", 422),
    ("GET", "/api/projects/P/boq/export.xlsx?lang=fr", 422),
    ("PATCH", "/api/projects/P/boq/items/abc", 404),
    ("PATCH", "/api/projects/P/boq/items/0", 404),
    ("PATCH", f"/api/projects/P/boq/items/{2**63}", 404),
    ("PATCH", f"/api/projects/P/boq/items/{2**80}", 404),
]


@pytest.mark.parametrize(("method", "target", "status"), ADDRESSES)
def test_a_wrong_address(manager: offices.Person, method: str, target: str, status: int) -> None:
    answer = manager.send(method, target, {"version": 1, "progress": "1"} if method == "PATCH" else None)
    assert answer.status == status, answer
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        both_languages(answer.json())
    if status == 405:
        assert answer.headers["allow"]


# -- the command


def test_the_command_imports_and_refuses_as_http_does(tmp_path: Path, erp_file: str) -> None:
    home, good, bad, torn = tmp_path / "home", tmp_path / "مقايسة.xlsx", tmp_path / "خطأ.xlsx", tmp_path / "تالف.xlsx"
    lines = bills.lines(30)
    good.write_bytes(bills.layout_b(lines))
    bad.write_bytes(rows(["2", "ردم", "م³", "عشرة", 45]))
    torn.write_bytes(truncated())

    missing = command(home, "import-boq", str(good), "--project", "V1", DATABASE_URL=erp_file)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "--create-project" in missing.stderr

    preview = command(home, "import-boq", str(good), "--project", "V1", "--create-project", "--dry-run", "--json", DATABASE_URL=erp_file)
    report = json.loads(preview.stdout)
    assert (preview.returncode, report["dry_run"], report["changes"]["added"]) == (0, True, 30)

    rejected = command(home, "import-boq", str(bad), "--project", "V1", "--create-project", DATABASE_URL=erp_file)
    assert rejected.returncode == 1
    assert "BOQ!D3" in rejected.stdout
    assert "«عشرة»" in rejected.stdout
    assert "nothing was written" in rejected.stderr
    assert "ولم يُكتب شيء" in rejected.stderr

    unreadable = command(home, "import-boq", str(torn), "--project", "V1", "--create-project", "--json", DATABASE_URL=erp_file)
    assert unreadable.returncode == 1
    assert json.loads(unreadable.stdout)["code"] == "damaged"
    assert "Traceback" not in unreadable.stderr

    still = command(home, "import-boq", str(good), "--project", "V1", DATABASE_URL=erp_file)
    assert still.returncode == 2  # nothing above made the project

    written = command(home, "import-boq", str(good), "--project", "V1", "--create-project", "--json", DATABASE_URL=erp_file)
    report = json.loads(written.stdout)
    assert (written.returncode, report["written"], bills.Decimal(report["net_total"])) == (0, True, bills.total(lines))
    again = command(home, "import-boq", str(good), "--project", "V1", DATABASE_URL=erp_file)
    assert (again.returncode, "unchanged" in again.stdout) == (0, True)


def test_the_description_of_the_api_is_valid_and_complete(tmp_path: Path, erp_file: str) -> None:
    import jsonschema_rs
    from schemathesis.specs.openapi.definitions import OPENAPI_31

    with offices.office(tmp_path / "home", erp_file) as office:
        answer = office.request("GET", "/api/openapi.json")
        assert answer.status == 200
        spec = answer.json()
    assert spec["openapi"].startswith("3.1")
    jsonschema_rs.validator_for(OPENAPI_31).validate(spec)
    operations = [(path, method, one) for path, methods in spec["paths"].items() for method, one in methods.items()]
    assert len(operations) == 14
    assert len({one["operationId"] for _, _, one in operations}) == 14
    for path, method, one in operations:
        assert one["summary"], path
        for status in ("401", "403", "404", "422", "503"):
            assert "application/problem+json" in one["responses"][status]["content"], (path, method, status)
    reference = json.dumps(spec)
    for name in ("Project", "Item", "Report", "Summary", "Problem"):
        assert name in spec["components"]["schemas"], name
        assert f"#/components/schemas/{name}" in reference
    assert zipfile.is_zipfile(io.BytesIO(rows()))
