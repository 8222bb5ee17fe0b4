"""Bills of quantities: pages of items, one-cell edits under an optimistic lock, the summary, and the sections behind both."""

from datetime import datetime
from typing import Annotated, ClassVar, cast

import msgspec
from sqlalchemy import Select, and_, bindparam, func, select, update
from sqlalchemy.sql import ColumnElement

from noufal._cache import project_tag
from noufal._history import Fact, difference
from noufal.money import (
    MAX_AMOUNT,
    MAX_QUANTITY,
    MAX_RATE,
    MILLION,
    RATE_UNITS,
    basis_points_text,
    earned_amount,
    line_amount,
    money_text,
    parse_scaled,
    quantity_text,
    rate_text,
    ratio_text,
    refused,
    share_text,
    vat_amount,
)
from noufal.projects import Access, Projects
from rakiza._kernel import Audit, Clock, Principal
from rakiza.errors import ConflictError, ForbiddenError, NotFoundError, ValidationError
from rakiza.store import Compiled, Store, Transaction, as_utc

from ._numbers import normalise_text
from .tables import bill_import, item, section

MAX_PAGE = 500
SUMMARY_SECONDS = 1800.0
BIGGEST_KEY = 2**63 - 1
SORTS = {
    "position": item.c.position,
    "code": item.c.code,
    "description": item.c.description,
    "quantity": item.c.quantity,
    "unit_price": item.c.unit_price,
    "total": item.c.amount,
    "progress": item.c.progress,
}
PRICED_SORTS = frozenset({"unit_price", "total"})
_COLUMNS = (
    item.c.id,
    item.c.position,
    item.c.code,
    item.c.description,
    item.c.section_id,
    item.c.unit,
    item.c.unit_code,
    item.c.quantity,
    item.c.unit_price,
    item.c.amount,
    item.c.progress,
    item.c.earned,
    item.c.note,
    item.c.rate_only,
    item.c.version,
)
Row = tuple[int, int, str, str, int, str, str | None, int, int, int, int, int, str | None, bool, int]


class Item(msgspec.Struct, gc=False):
    """Show one line of a bill; numbers as decimal text, none where the caller may not see prices."""

    id: int
    position: int
    code: str
    description: str
    section: int
    unit: str
    unit_code: str | None
    quantity: str
    unit_price: str | None
    total: str | None
    progress: str
    earned: str | None
    note: str | None
    rate_only: bool
    version: int


class ItemPage(msgspec.Struct):
    """Hold one page of items and how many there are in all."""

    items: list[Item]
    next_cursor: str | None
    total: int


class ItemQuery(msgspec.Struct, kw_only=True):
    """Ask for items: a page, a section, a text, an order (`-` in front for descending)."""

    limit: int = 100
    offset: int = 0
    cursor: str | None = None
    section: int | None = None
    q: str | None = None
    sort: str = "position"


class ItemChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Change one line; what is left out stays."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    quantity: str | msgspec.UnsetType = msgspec.UNSET
    unit_price: str | msgspec.UnsetType = msgspec.UNSET
    progress: str | msgspec.UnsetType = msgspec.UNSET

    needs: ClassVar[dict[str, str]] = {"quantity": "boq.edit", "unit_price": "boq.edit", "progress": "progress.enter"}


class SectionSum(msgspec.Struct, frozen=True):
    """Sum one section."""

    id: int
    position: int
    title: str
    items_count: int
    total_cost: str | None
    progress: str
    earned_total: str | None


class LastImport(msgspec.Struct, frozen=True):
    """Name the file the bill came from."""

    file: str
    at: datetime
    by: str


class Summary(msgspec.Struct, frozen=True):
    """Sum a bill: total, tax, what is earned, and each section."""

    total_cost: str | None
    items_count: int
    progress: str
    vat_rate: str
    vat_total: str | None
    gross_total: str | None
    earned_total: str | None
    currency: str
    sections: list[SectionSum]
    last_import: LastImport | None


class Bills:
    """Keep the bills of all projects."""

    def __init__(self, store: Store, clock: Clock, audit: Audit, projects: Projects) -> None:
        self.store, self.clock, self.audit, self.projects = store, clock, audit, projects
        self.history = projects.history
        self._pages: dict[tuple[str, bool, bool, bool], Compiled] = {}
        mine = (section.c.tenant_id == bindparam("tenant"), section.c.project_id == bindparam("project"))
        self._sections = store.compile(
            select(section.c.id, section.c.position, section.c.title, section.c.items_count, section.c.amount, section.c.earned)
            .where(*mine)
            .order_by(section.c.position)
        )
        self._size = store.compile(select(func.coalesce(func.sum(section.c.items_count), 0)).where(*mine))
        self._last = store.compile(
            select(bill_import.c.file_name, bill_import.c.imported_at, bill_import.c.imported_by, bill_import.c.sha256)
            .where(bill_import.c.tenant_id == bindparam("tenant"), bill_import.c.project_id == bindparam("project"))
            .order_by(bill_import.c.id.desc())
            .limit(1)
        )

    def items(self, caller: Principal, code: str, asked: ItemQuery) -> ItemPage:
        """Return one page of items; raise NotFoundError, ForbiddenError, ValidationError for an unknown order."""
        limit = max(1, min(asked.limit, MAX_PAGE))
        offset = _offset(asked)
        text = normalise_text((asked.q or "").replace("\0", ""))
        access = self.projects.read_access(caller, code, "boq.read")
        with self.store.read() as tx:
            query, plain = self._page(asked.sort, asked.section is not None, bool(text), access.may("boq.prices"))
            given: dict[str, object] = {"tenant": access.tenant, "project": access.project_id, "limit": limit, "offset": offset}
            if asked.section is not None:
                given["section"] = asked.section
            if text:
                given["text"] = like_pattern(text)
            rows = tx.rows(query, **given)
            total = self._total(tx, access) if plain else self._count(tx, access, asked.section, text)
        shown = [show_item(cast("Row", row), prices=access.may("boq.prices")) for row in rows]
        more = offset + len(rows) < total and len(rows) == limit
        return ItemPage(shown, str(offset + limit) if more else None, total)

    def summary(self, caller: Principal, code: str) -> Summary:
        """Return the sums of a bill, from the cache when they are there; raise NotFoundError or ForbiddenError."""
        access = self.projects.read_access(caller, code, "boq.read")
        tags = (project_tag(access.tenant, code),)
        whole = self.projects.cache.get_or_load(_summary_key(access), Summary, lambda: self._summed(access), ttl=SUMMARY_SECONDS, tags=tags)
        return _shown_to(access, whole)

    def summary_at_hand(self, caller: Principal, code: str) -> Summary | None:
        """Return the sums this process knows, none when it must look or would refuse; never blocks."""
        access = self.projects.access_at_hand(caller, code, "boq.read")
        whole = self.projects.cache.peek(_summary_key(access), Summary) if access is not None else None
        return _shown_to(access, whole) if access is not None and whole is not None else None

    def _summed(self, access: Access) -> Summary:
        """Return the sums with all prices, whoever asks; of the access only what never changes is taken, for it may be older."""
        with self.store.read() as tx:
            vat_rate_bp, currency = self.projects.terms(tx, access)
            rows = cast("list[tuple[int, int, str, int, int, int]]", tx.rows(self._sections, tenant=access.tenant, project=access.project_id))
            last = self.last_import(tx, access)
        amount, earned = sum(row[4] for row in rows), sum(row[5] for row in rows)
        vat = vat_amount(amount, vat_rate_bp)
        return Summary(
            total_cost=money_text(amount),
            items_count=sum(row[3] for row in rows),
            progress=ratio_text(earned, amount),
            vat_rate=basis_points_text(vat_rate_bp),
            vat_total=money_text(vat),
            gross_total=money_text(amount + vat),
            earned_total=money_text(earned),
            currency=currency,
            sections=[SectionSum(*row[:4], money_text(row[4]), ratio_text(row[5], row[4]), money_text(row[5])) for row in rows],
            last_import=LastImport(last[0], last[1], last[2]) if last else None,
        )

    def edit(self, caller: Principal, code: str, item_id: int, change: ItemChange) -> Item:
        """Change quantity, price or progress of one line; raise ConflictError with the fresh line when somebody was faster."""
        given = {name: value for name in ItemChange.needs if isinstance(value := getattr(change, name), str)}
        if not given:
            raise ValidationError("nothing to change: give quantity, unit_price or progress", message_ar="لا يوجد تغيير")
        with self.store.begin() as tx:
            access = self._allowed(tx, caller, code, given)
            self.projects.lock(tx, access)
            before = self._line(tx, access, item_id)
            if before[14] != change.version:
                current = show_item(before, prices=access.may("boq.prices"))
                raise ConflictError("the item was changed meanwhile", extra={"current": current})
            values = _changed(before, given)
            now = self.clock.now()
            tx.execute(update(item).where(item.c.id == item_id).values(version=item.c.version + 1, updated_at=now, **values))
            fresh = self._line(tx, access, item_id)
            recount(tx, fresh[4])
            self.projects.changed(tx, access.tenant, access.code)
            shown = show_item(fresh, prices=access.may("boq.prices"))
            was = _told(before)
            if changes := difference(was, _told(fresh)):
                fact = Fact("boq.item_changed", {"code": fresh[2], "via": "edit", "changes": changes}, item_id)
                self.history.record(tx, caller, access.code, [fact])
            details = {"item": fresh[2], **{name: [was[name], value] for name, value in given.items()}}
            self.audit.record("sensitive_update", "UPDATE", f"project:{code}/boq", details, caller.id, tx=tx)
        return shown

    def last_import(self, tx: Transaction, access: Access) -> tuple[str, datetime, str, str] | None:
        """Return file, time, user and hash of the latest import, or none."""
        rows = tx.rows(self._last, tenant=access.tenant, project=access.project_id)
        if not rows:
            return None
        file, at, by, sha256 = cast("tuple[str, str, str, str]", rows[0])
        return file, as_utc(at), by, sha256

    def _allowed(self, tx: Transaction, caller: Principal, code: str, given: dict[str, str]) -> Access:
        access = self.projects.access(tx, caller, code, "boq.read")
        for name in given:
            access = self.projects.access(tx, caller, code, ItemChange.needs[name])
        return access

    @staticmethod
    def _line(tx: Transaction, access: Access, item_id: int) -> Row:
        mine = and_(item.c.tenant_id == access.tenant, item.c.project_id == access.project_id)
        row = tx.execute(select(*_COLUMNS).where(item.c.id == item_id, mine)).first() if item_id <= BIGGEST_KEY else None
        if row is None:
            raise no_such_item(item_id)
        return cast("Row", tuple(row))

    def _page(self, sort: str, in_section: bool, with_text: bool, prices: bool) -> tuple[Compiled, bool]:
        name = sort.removeprefix("-")
        if name not in SORTS:
            raise refused("sort", f"{sort!r} is not one of {', '.join(SORTS)}", "ترتيب غير معروف")
        if name in PRICED_SORTS and not prices:
            raise ForbiddenError("your role does not see prices", message_ar="دورك لا يعرض الأسعار")
        descending = sort.startswith("-")
        key = (name, descending, in_section, with_text)
        query = self._pages.get(key)
        if query is None:
            query = self._pages[key] = self.store.compile(page_statement(*key))
        return query, not in_section and not with_text

    def _total(self, tx: Transaction, access: Access) -> int:
        return int(cast("int", tx.rows(self._size, tenant=access.tenant, project=access.project_id)[0][0]))

    @staticmethod
    def _count(tx: Transaction, access: Access, section_id: int | None, text: str) -> int:
        statement = select(func.count()).select_from(item).where(item.c.tenant_id == access.tenant, item.c.project_id == access.project_id)
        if section_id is not None:
            statement = statement.where(item.c.section_id == section_id)
        if text:
            statement = statement.where(item.c.search.like(like_pattern(text), escape="\\"))
        return int(cast("int", tx.scalar(statement)))


def page_statement(sort: str, descending: bool, in_section: bool, with_text: bool) -> Select[tuple[object, ...]]:
    """Return the statement of a page; positions have no gaps, so an unfiltered page in order needs no OFFSET."""
    statement = select(*_COLUMNS).where(item.c.tenant_id == bindparam("tenant"), item.c.project_id == bindparam("project"))
    if in_section:
        statement = statement.where(item.c.section_id == bindparam("section"))
    if with_text:
        statement = statement.where(item.c.search.like(bindparam("text"), escape="\\"))
    column = SORTS[sort]
    order: list[ColumnElement[object]] = [column.desc() if descending else column.asc()]
    if sort != "position":
        order.append(item.c.position.asc())
    statement = statement.order_by(*order).limit(bindparam("limit"))
    if sort == "position" and not (descending or in_section or with_text):
        return statement.where(item.c.position > bindparam("offset"))
    return statement.offset(bindparam("offset"))


def like_pattern(text: str) -> str:
    """Return the LIKE pattern of a text, its own wildcards taken literally (escape `\\`)."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _summary_key(access: Access) -> str:
    return f"boq-summary:{access.tenant}:{access.code}"


def _shown_to(access: Access, whole: Summary) -> Summary:
    """Return the sums as the caller may see them."""
    if access.may("boq.prices"):
        return whole
    hidden = {"total_cost": None, "earned_total": None}
    sections = [msgspec.structs.replace(one, **hidden) for one in whole.sections]
    return msgspec.structs.replace(whole, **hidden, vat_total=None, gross_total=None, sections=sections)


def recount(tx: Transaction, section_id: int | None = None, project_id: int | None = None) -> None:
    """Sum the items again into one section, or into all sections of a project."""
    here = item.c.section_id == section.c.id
    counts = select(func.count()).where(here).scalar_subquery()
    amount = select(func.coalesce(func.sum(item.c.amount), 0)).where(here).scalar_subquery()
    earned = select(func.coalesce(func.sum(item.c.earned), 0)).where(here).scalar_subquery()
    which = section.c.id == section_id if section_id is not None else section.c.project_id == project_id
    tx.execute(update(section).where(which).values(items_count=counts, amount=amount, earned=earned))


def show_item(row: Row, *, prices: bool) -> Item:
    """Return a row as the caller may see it."""
    identity, position, code, description, section_id, unit, unit_code, quantity, price, amount, progress, earned, note, rate_only, version = row
    return Item(
        identity,
        position,
        code,
        description,
        section_id,
        unit,
        unit_code,
        quantity_text(quantity),
        rate_text(price) if prices else None,
        money_text(amount) if prices else None,
        share_text(progress),
        money_text(earned) if prices else None,
        note,
        bool(rate_only),
        version,
    )


def _offset(asked: ItemQuery) -> int:
    if asked.cursor is None:
        return max(0, asked.offset)
    if not asked.cursor.isdecimal() or len(asked.cursor) > 9:
        raise refused("cursor", "is not one this server gave", "مؤشر الصفحة غير صالح")
    return int(asked.cursor)


def _changed(before: Row, given: dict[str, str]) -> dict[str, object]:
    quantity, price, progress = before[7], before[8], before[10]
    values: dict[str, object] = {}
    if "quantity" in given:
        values["quantity"] = quantity = parse_scaled("quantity", given["quantity"], MILLION, MAX_QUANTITY)
        values["rate_only"] = quantity == 0 and before[13]
    if "unit_price" in given:
        values["unit_price"] = price = parse_scaled("unit_price", given["unit_price"], RATE_UNITS, MAX_RATE)
    if "progress" in given:
        values["progress"] = progress = parse_scaled("progress", given["progress"], RATE_UNITS, MILLION)
    amount = line_amount(quantity, price)
    if amount > MAX_AMOUNT:
        raise refused("quantity" if "quantity" in given else "unit_price", "the line's total would be absurd", "إجمالي البند أكبر من المعقول")
    return {**values, "amount": amount, "earned": earned_amount(amount, progress)}


def _told(row: Row) -> dict[str, str]:
    """Return what an edit may change as the texts its history keeps."""
    return {"quantity": quantity_text(row[7]), "unit_price": rate_text(row[8]), "progress": share_text(row[10])}


def no_such_item(item_id: int) -> NotFoundError:
    """Return the refusal of an item that this bill has not."""
    return NotFoundError(f"no item {item_id} in this bill", message_ar="البند غير موجود في هذه المقايسة")
