"""Workbooks no honest office sends: refused with a reason or read as plain text, never a fault, on either database."""

import functools
import io
import zipfile
from collections.abc import Callable, Iterator

import pytest

import offices

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACK = "http://schemas.openxmlformats.org/package/2006"
TYPES = (
    f'{HEAD}<Types xmlns="{PACK}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
ENTITIES = "".join(f'<!ENTITY {chr(98 + level)} "{("&" + chr(97 + level) + ";") * 20}">' for level in range(8))


def relations(*targets: tuple[str, str]) -> str:
    """Return a relationships file."""
    lines = "".join(f'<Relationship Id="rId{number}" Type="{RELS}/{kind}" Target="{target}"/>' for number, (kind, target) in enumerate(targets, 1))
    return f'{HEAD}<Relationships xmlns="{PACK}/relationships">{lines}</Relationships>'


def workbook(rows: str, *, doctype: str = "", sheets: int = 1, **more: str) -> bytes:
    """Return an .xlsx written by hand, so that it may hold anything."""
    names = [f"worksheets/sheet{number}.xml" for number in range(1, sheets + 1)]
    listed = "".join(f'<sheet name="S{number}" sheetId="{number}" r:id="rId{number}"/>' for number in range(1, sheets + 1))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", relations(("officeDocument", "xl/workbook.xml")))
        archive.writestr("xl/workbook.xml", f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{RELS}"><sheets>{listed}</sheets></workbook>')
        archive.writestr("xl/_rels/workbook.xml.rels", relations(*(("worksheet", name) for name in names)))
        for name in names:
            archive.writestr(f"xl/{name}", f'{HEAD}{doctype}<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>')
        for name, text in more.items():
            archive.writestr(f"xl/{name}.xml", text)
    return packed.getvalue()


def row(number: int, *cells: str | float) -> str:
    """Return the XML of one row; text goes in as it is."""
    shown = [
        f'<c r="{"ABCDEF"[at]}{number}" t="inlineStr"><is><t>{cell}</t></is></c>'
        if isinstance(cell, str)
        else f'<c r="{"ABCDEF"[at]}{number}"><v>{cell}</v></c>'
        for at, cell in enumerate(cells)
    ]
    return f'<row r="{number}">{"".join(shown)}</row>'


def bill(*line: str | float) -> str:
    """Return the rows of a bill with one line."""
    return row(1, "الكود", "الوصف", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي") + row(2, *line)


GOOD = ("أ-1", "خرسانة", "م3", 2, 10, 20)
BAD: dict[str, Callable[[], bytes]] = {
    "an external entity": lambda: workbook(bill("أ-1", "&x;", "م3", 2, 10, 20), doctype='<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "a billion laughs": lambda: workbook(bill("أ-1", "&i;", "م3", 2, 10, 20), doctype=f'<!DOCTYPE x [<!ENTITY a "{"ه" * 1000}">{ENTITIES}]>'),
    "NUL by reference": lambda: workbook(bill("أ-1", "x&#0;y", "م3", 2, 10, 20)),
    "a surrogate by reference": lambda: workbook(bill("أ-1", "x&#xD800;y", "م3", 2, 10, 20)),
    "the last cell of the grid": lambda: workbook(bill(*GOOD) + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'),
    "a row beyond 64 bits": lambda: workbook(bill(*GOOD) + f'<row r="{10**20}"><c r="A{10**20}"><v>1</v></c></row>'),
    "10,000 sheets": lambda: workbook(bill(*GOOD), sheets=10_000),
    "a sheet that unpacks to 100 MB": lambda: workbook(bill(*GOOD) + " " * 100_000_000),
    "texts that unpack to 100 MB": lambda: workbook(
        bill(*GOOD), sharedStrings=f'{HEAD}<sst xmlns="{MAIN}"><si><t>{"a" * 100_000_000}</t></si></sst>'
    ),
    "a description of a megabyte": lambda: workbook(bill("أ-1", "م" * 1_000_000, "م3", 2, 10, 20)),
    "a code too long for an index": lambda: workbook(bill("".join(map(str, range(5000))), "خرسانة", "م3", 2, 10, 20)),
    "a number of 400 digits": lambda: workbook(bill("أ-1", "خرسانة", "م3", "1" * 400, 10, 20)),
    "no number": lambda: workbook(bill("أ-1", "خرسانة", "م3", float("nan"), float("inf"), 20)),
    "numbers too large for money": lambda: workbook(bill("أ-1", "خرسانة", "م3", 1e308, 1e308, 1e308)),
    "a torn archive": lambda: workbook(bill(*GOOD))[:-30],
}
HTML = ("&lt;b&gt;1", "&lt;img src=x onerror=alert(1)&gt;\u202eبند", "=1+1", 2, 10, 20)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, shared_erp_url: str) -> Iterator[offices.Person]:
    home = tmp_path_factory.mktemp("home")
    with offices.office(home, shared_erp_url) as office:
        person = office.person()
        for code in ("P", "ESCAPES", "MARKUP"):
            person.post("/api/projects", {"code": code, "name": "مشروع"})
        yield person
    faults = home / "logs" / "noufal_errors.log"
    assert not faults.exists() or not faults.read_text(), faults.read_text()[-2000:]


@functools.cache
def bad(case: str) -> bytes:
    return BAD[case]()


def test_what_is_refused(manager: offices.Person) -> None:
    for case in BAD:
        answer = manager.upload("P", bad(case))
        assert answer.status in {413, 422}, (case, answer)
        assert "root:" not in answer.body.decode()
        assert not manager.items("P"), case


def test_control_characters_hidden_in_escapes_are_dropped(manager: offices.Person) -> None:
    manager.bring_in("ESCAPES", workbook(bill("أ_x0000_1", "خر_x0000_سا_x0007_نة", "م_x0000_3", 2, 10, 20)))
    (item,) = manager.items("ESCAPES")
    assert (item["code"], item["description"], item["unit_code"]) == ("أ1", "خرسانة", "m3")


def test_markup_and_formulas_are_text_on_the_way_in_and_out(manager: offices.Person) -> None:
    manager.bring_in("MARKUP", workbook(bill(*HTML)))
    (item,) = manager.items("MARKUP")
    assert (item["code"], item["description"], item["unit"]) == ("<b>1", "<img src=x onerror=alert(1)>\u202eبند", "=1+1")
    exported = manager.send("GET", "/api/projects/MARKUP/boq/export.xlsx")
    assert exported.status == 200
    with zipfile.ZipFile(io.BytesIO(exported.body)) as archive:
        sheets = "".join(archive.read(name).decode() for name in archive.namelist() if name.startswith("xl/worksheets/"))
    assert "<f>1+1</f>" not in sheets
    manager.bring_in("MARKUP", exported.body)
    assert manager.items("MARKUP")[0]["unit"] == "=1+1"
