"""The HTTP routes of bills of quantities."""

from collections.abc import Iterator
from os import SEEK_END
from typing import Annotated, BinaryIO, Literal, cast
from urllib.parse import quote

from litestar import Response, get, patch, post
from litestar.datastructures import UploadFile
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, MultipartBody, QueryParameter
from litestar.response import Stream

from noufal._http import PROBLEMS, caller, read_form
from rakiza._kernel import WorkerPool
from rakiza.errors import NotFoundError, ValidationError

from ._background import Accepted, BackgroundImports, ImportState
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
Later = Annotated[bool | None, QueryParameter(name="background", description="Import by a job; by the size of the file when not said")]
Form = MultipartBody[dict[str, object]]


def handlers(
    bills: Bills, importer: Importer, background: BackgroundImports | None, timeline: Timeline, pool: WorkerPool, *, max_import_bytes: int
) -> list[HTTPRouteHandler]:
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
        who = caller()
        known = bills.summary_at_hand(who, code)
        return known if known is not None else await pool.run(bills.summary, who, code)

    imports = _import_handlers(importer, background, pool, max_import_bytes)
    return [list_items, change_item, item_history, summary, *imports, _export_handler(bills, pool)]


def _import_handlers(importer: Importer, background: BackgroundImports | None, pool: WorkerPool, max_import_bytes: int) -> list[HTTPRouteHandler]:
    def work(code: str, upload: UploadFile, dry_run: bool, later: bool | None) -> Report:
        file = cast("BinaryIO", upload.file)
        size = file.seek(0, SEEK_END)
        file.seek(0)
        if background is None or not (size > background.limit_bytes if later is None else later):
            return importer.run(caller(), code, file, upload.filename, dry_run=dry_run)
        taken = background.take(caller(), code, file, size, upload.filename, dry_run=dry_run)
        where = f"/api/projects/{quote(code)}/imports/{taken.job_id}"
        return cast("Report", Response(taken, status_code=202, headers={"location": where}))  # the other answer the route declares

    @post(
        "/api/projects/{code:str}/boq/import",
        opt={"permission": "boq.import"},
        before_request=read_form,
        status_code=200,
        request_max_body_size=max_import_bytes + MULTIPART_OVERHEAD,
        summary="Read a workbook; with dry_run report only",
        description=IMPORT,
        responses={**PROBLEMS, 202: ResponseSpec(Accepted, description="A job imports the file", generate_examples=False)},
    )
    async def import_bill(code: FromPath[str], data: Form, dry_run: FromQuery[bool] = True, later: Later = None) -> Report:
        uploads = [value for value in data.values() if isinstance(value, UploadFile)]
        try:
            upload = data.get("file")
            if not isinstance(upload, UploadFile):
                raise ValidationError(
                    "send one workbook as the multipart field `file`", message_ar="أرسل ملفا واحدا في الحقل file", errors=[MISSING_FILE]
                )
            return await pool.run(work, code, upload, dry_run, later)
        finally:
            for one in uploads:
                await one.close()

    @get(
        "/api/projects/{code:str}/imports/{job_id:int}",
        opt={"permission": "boq.import"},
        summary="How far an import in the background is",
        description=IMPORT_STATE,
        responses=PROBLEMS,
    )
    async def look_at_import(code: FromPath[str], job_id: FromPath[int]) -> ImportState:
        if background is None:
            raise NotFoundError("imports do not run in the background here: the part jobs is switched off")
        return await pool.run(background.look, caller(), code, job_id)

    return [import_bill, look_at_import]


def _export_handler(bills: Bills, pool: WorkerPool) -> HTTPRouteHandler:
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

    return export


IMPORT = (
    "A file larger than `NOUFAL_BACKGROUND_IMPORT_BYTES` is imported by a job, and so is any with `background=true`: the answer is 202 "
    "with its number. `background=false` imports within the request whatever the size."
)
IMPORT_STATE = (
    "`state` is `ready`, `running` or `retry`, at the end `done`, `failed` or `cancelled`; `progress` is per cent. When it is done "
    "`report` is what an import within the request answers; `problem` says why there is none."
)
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
