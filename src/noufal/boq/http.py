"""The HTTP routes of bills of quantities."""

from collections.abc import Iterator
from typing import Annotated, BinaryIO, cast

from litestar import get, patch, post
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import Body, Parameter
from litestar.response import Stream

from noufal._http import caller
from rakiza.errors import ValidationError

from ._importer import Importer, Report
from ._workbook_out import XLSX, export_bill
from .service import MAX_PAGE, Bills, Item, ItemChange, ItemPage, ItemQuery, Summary

CHUNK_BYTES = 64 * 1024
MULTIPART_OVERHEAD = 64 * 1024


def handlers(bills: Bills, importer: Importer, max_import_bytes: int) -> list[HTTPRouteHandler]:
    """Return the route handlers of bills."""

    @post(
        "/api/projects/{code:str}/boq/import",
        opt={"permission": "boq.import"},
        sync_to_thread=True,
        status_code=200,
        request_max_body_size=max_import_bytes + MULTIPART_OVERHEAD,
        summary="Read a workbook; with dry_run report only",
    )
    def import_bill(
        code: str, data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)], dry_run: bool = True
    ) -> Report:
        upload = data.get("file")
        if upload is None or not hasattr(upload, "file"):
            raise ValidationError("send the workbook as the multipart field `file`", message_ar="أرسل الملف في الحقل file")
        file = cast("BinaryIO", upload.file)
        file.seek(0)
        return importer.run(caller(), code, file, upload.filename, dry_run=dry_run)

    @get("/api/projects/{code:str}/boq/items", opt={"permission": "boq.read"}, sync_to_thread=True, summary="A page of items")
    def list_items(  # noqa: PLR0917 - Litestar reads the query from the signature
        code: str,
        limit: int = Parameter(default=100, ge=1, le=MAX_PAGE),
        offset: int = Parameter(default=0, ge=0, le=10_000_000),
        cursor: str | None = None,
        section: int | None = None,
        q: str | None = Parameter(default=None, max_length=200),
        sort: str = "position",
    ) -> ItemPage:
        return bills.items(caller(), code, ItemQuery(limit=limit, offset=offset, cursor=cursor, section=section, q=q, sort=sort))

    @patch("/api/projects/{code:str}/boq/items/{item_id:int}", opt={"permission": "boq.read"}, sync_to_thread=True, summary="Change one item")
    def change_item(code: str, item_id: int, data: ItemChange) -> Item:
        return bills.edit(caller(), code, item_id, data)

    @get("/api/projects/{code:str}/boq/summary", opt={"permission": "boq.read"}, sync_to_thread=True, summary="Sums of the bill")
    def summary(code: str) -> Summary:
        return bills.summary(caller(), code)

    @get("/api/projects/{code:str}/boq/export.xlsx", opt={"permission": "boq.export"}, sync_to_thread=True, summary="The bill as a workbook")
    def export(code: str, lang: str = "ar") -> Stream:
        file = export_bill(bills, caller(), code, "en" if lang == "en" else "ar")
        name = f'attachment; filename="{ascii_name(code)}.xlsx"'
        return Stream(_pieces(file), media_type=XLSX, headers={"content-disposition": name})

    return [import_bill, list_items, change_item, summary, export]


def ascii_name(code: str) -> str:
    """Return a file name every browser takes; signs that are not ASCII letters, digits, `-`, `_` or `.` become `_`."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in code)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
