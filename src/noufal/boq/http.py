"""The HTTP routes of bills of quantities."""

from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal, cast
from urllib.parse import quote

from litestar import get, patch, post
from litestar.datastructures import UploadFile
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, MultipartBody, QueryParameter
from litestar.response import Stream

from noufal._http import PROBLEMS, caller, read_form
from rakiza._kernel import WorkerPool
from rakiza.errors import ValidationError

from ._history import DEFAULT_PAGE, ItemHistory, Timeline
from ._history import MAX_PAGE as MAX_ENTRIES
from ._importer import Importer, Report
from ._workbook_out import XLSX, export_bill
from .service import BIGGEST_KEY, MAX_PAGE, Bills, Item, ItemChange, ItemPage, ItemQuery, Summary

CHUNK_BYTES = 64 * 1024
MULTIPART_OVERHEAD = 64 * 1024
PageSize = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]
Offset = Annotated[int, QueryParameter(ge=0, le=10_000_000)]
Key = Annotated[int | None, QueryParameter(ge=0, le=BIGGEST_KEY)]
Text = Annotated[str | None, QueryParameter(max_length=200)]
Entries = Annotated[int, QueryParameter(ge=1, le=MAX_ENTRIES, description="How many entries at most")]
Before = Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1, description="Only versions below: the `next_before` of the page before")]
Form = MultipartBody[dict[str, object]]


def handlers(bills: Bills, importer: Importer, timeline: Timeline, pool: WorkerPool, max_import_bytes: int) -> list[HTTPRouteHandler]:
    """Return the route handlers of bills."""

    @get("/api/projects/{code:str}/boq/items", opt={"permission": "boq.read"}, summary="A page of items", responses=PROBLEMS)
    async def list_items(  # noqa: PLR0917 - Litestar reads the query from the signature
        code: FromPath[str],
        limit: PageSize = 100,
        offset: Offset = 0,
        cursor: FromQuery[str | None] = None,
        section: Key = None,
        q: Text = None,
        sort: FromQuery[str] = "position",
    ) -> ItemPage:
        return await pool.run(bills.items, caller(), code, ItemQuery(limit=limit, offset=offset, cursor=cursor, section=section, q=q, sort=sort))

    @patch("/api/projects/{code:str}/boq/items/{item_id:int}", opt={"permission": "boq.read"}, summary="Change one item", responses=PROBLEMS)
    async def change_item(code: FromPath[str], item_id: FromPath[int], data: JSONBody[ItemChange]) -> Item:
        return await pool.run(bills.edit, caller(), code, item_id, data)

    @get(
        "/api/projects/{code:str}/boq/items/{item_id:int}/history",
        opt={"permission": "boq.read"},
        summary="Who changed one item, when, from what to what",
        description=HISTORY,
        responses=PROBLEMS,
    )
    async def item_history(code: FromPath[str], item_id: FromPath[int], limit: Entries = DEFAULT_PAGE, before: Before = None) -> ItemHistory:
        return await pool.run(timeline.of, caller(), code, item_id, limit, before)

    @get("/api/projects/{code:str}/boq/summary", opt={"permission": "boq.read"}, summary="Sums of the bill", responses=PROBLEMS)
    async def summary(code: FromPath[str]) -> Summary:
        return await pool.run(bills.summary, caller(), code)

    return [list_items, change_item, item_history, summary, *_file_handlers(bills, importer, pool, max_import_bytes)]


def _file_handlers(bills: Bills, importer: Importer, pool: WorkerPool, max_import_bytes: int) -> list[HTTPRouteHandler]:
    @post(
        "/api/projects/{code:str}/boq/import",
        opt={"permission": "boq.import"},
        before_request=read_form,
        status_code=200,
        request_max_body_size=max_import_bytes + MULTIPART_OVERHEAD,
        summary="Read a workbook; with dry_run report only",
        responses=PROBLEMS,
    )
    async def import_bill(code: FromPath[str], data: Form, dry_run: FromQuery[bool] = True) -> Report:
        uploads = [value for value in data.values() if isinstance(value, UploadFile)]
        try:
            upload = data.get("file")
            if not isinstance(upload, UploadFile):
                raise ValidationError(
                    "send one workbook as the multipart field `file`", message_ar="أرسل ملفا واحدا في الحقل file", errors=[MISSING_FILE]
                )
            file = cast("BinaryIO", upload.file)
            return await pool.run(lambda: importer.run(caller(), code, file, upload.filename, dry_run=dry_run))
        finally:
            for one in uploads:
                await one.close()

    @get(
        "/api/projects/{code:str}/boq/export.xlsx",
        opt={"permission": "boq.export"},
        media_type=XLSX,
        summary="The bill as a workbook",
        responses=PROBLEMS,
    )
    async def export(code: FromPath[str], lang: FromQuery[Literal["ar", "en"]] = "ar") -> Stream:
        file = await pool.run(export_bill, bills, caller(), code, lang)
        name = f"attachment; filename=\"{ascii_name(code)}.xlsx\"; filename*=UTF-8''{quote(code)}.xlsx"
        return Stream(_pieces(file), media_type=XLSX, headers={"content-disposition": name})

    return [import_bill, export]


HISTORY = (
    "The changes of one line, the newest first, each with both values as text; an entry that came with an import names its file. "
    "The last entry (version 0) is the import that brought the line. Without `boq.prices` prices are null."
)
MISSING_FILE = {"field": "file", "message_en": "a workbook (.xlsx, .xls or .csv) is missing", "message_ar": "ملف المقايسة غير موجود"}


def ascii_name(code: str) -> str:
    """Return a file name every browser takes; signs that are not ASCII letters, digits, `-`, `_` or `.` become `_`."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in code)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
