"""A site office over HTTP: sign in, open a project, bring in a bill."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import xlsxwriter

if TYPE_CHECKING:
    from benchmarks.http.processes import Reply, Server

EMAIL, PASSWORD = "office@example.com", "قصر أخضر فوق سبع رمال 7391"
UNITS = ("م²", "م³", "قطعة", "طن", "متر")
WORKS = ("أعمال الحفر والدفان", "أعمال الخرسانة المسلحة", "أعمال البناء", "أعمال اللياسة", "أعمال الدهانات", "أعمال الكهرباء", "أعمال السباكة")
HEADER = ("الكود", "الوصف", "الوحدة", "الكمية", "سعر الوحدة", "الإجمالي", "التصنيف")
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
BOUNDARY = "benchmark-boundary-5f1c"


class OfficeError(Exception):
    """Say which request was refused and with what."""


def workbook(items: int) -> bytes:
    """Return an Arabic bill of so many items, its sections named in the last column."""
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"constant_memory": True})
    sheet = book.add_worksheet("BOQ")
    sheet.right_to_left()
    sheet.write_row(0, 0, HEADER)
    for number in range(items):
        work = WORKS[number * len(WORKS) // items]
        quantity, price = 10 + number % 90, 25 + number % 475
        description = f"{work}: توريد وتنفيذ البند رقم {number + 1} حسب المواصفات والمخططات المعتمدة"
        row = (f"بند-{number + 1:06d}", description, UNITS[number % len(UNITS)], quantity, price, quantity * price, work)
        sheet.write_row(number + 1, 0, row)
    book.close()
    return buffer.getvalue()


class Office:
    """Hold the session of one person who works over HTTP."""

    def __init__(self, server: Server) -> None:
        self._server = server
        reply = self._send("POST", "/api/auth/login", {"email": EMAIL, "password": PASSWORD}, {})
        self.headers = {"Cookie": reply.headers["set-cookie"].partition(";")[0]}

    def open_project(self, code: str, name: str) -> None:
        """Open a project; raise OfficeError when it is refused."""
        self._send("POST", "/api/projects", {"code": code, "name": name}, self.headers)

    def import_bill(self, code: str, content: bytes) -> dict[str, Any]:
        """Bring a workbook in and return the report; raise OfficeError when it is refused."""
        disposition = 'Content-Disposition: form-data; name="file"; filename="bill.xlsx"'
        head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
        body = head + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        path = f"/api/projects/{code}/boq/import?dry_run=false&background=false"
        reply = self._server.request("POST", path, body, {**self.headers, **SAME_ORIGIN, **kind})
        report: dict[str, Any] = json.loads(_checked("import", reply).body)
        return report

    def get(self, path: str) -> Any:
        """Return what a path answers; raise OfficeError when it is refused."""
        return json.loads(_checked(path, self._server.get(path, self.headers)).body)

    def _send(self, method: str, path: str, body: dict[str, str], headers: dict[str, str]) -> Reply:
        given = {**headers, **SAME_ORIGIN, "Content-Type": "application/json"}
        return _checked(path, self._server.request(method, path, json.dumps(body).encode(), given))


def _checked(what: str, reply: Reply) -> Reply:
    if reply.status not in (200, 201):
        raise OfficeError(f"{what} answered {reply.status}: {reply.body[:600].decode(errors='replace')}")
    return reply
