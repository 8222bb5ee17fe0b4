"""Projects: list, create, change; and the one gate every project-bound action goes through."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, cast

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from noufal._cache import ReadCache, project_tag, user_tag
from noufal._history import Fact, History, difference
from noufal.membership import ALL_PROJECTS, ROLES, role_in_project
from noufal.membership.tables import member
from noufal.money import basis_points_text, money_text, parse_scaled, ratio_text, refused
from rakiza._kernel import Audit, Clock, Principal
from rakiza.errors import ConflictError, ForbiddenError, NotFoundError
from rakiza.store import Store, Transaction, as_utc

from ._core import CODE_PATTERN, CURRENCY_PATTERN, check_dates
from .tables import project

MAX_PAGE = 200
DEFAULT_VAT_BP = 1_500
VAT_MAX_BP = 10_000
PLACE_SECONDS = 60.0
"""How long a place in a project is kept at most: what a removed member could still read, should a process not hear of the removal."""
TEXTS = {"name": 300, "name_en": 300, "client": 300}
REQUIRED = frozenset({"name"})
_PLAIN = ("name", "name_en", "client", "start_date", "finish_date", "currency")
_SHOWN = ("code", "name", "name_en", "client", "start_date", "finish_date", "currency", "vat_rate_bp", "version", "created_at", "updated_at")


class Project(msgspec.Struct, kw_only=True):
    """Show a project to one caller; money as decimal text, none where the caller may not see prices."""

    code: str
    name: str
    name_en: str | None
    client: str | None
    start_date: date | None
    finish_date: date | None
    currency: str
    vat_rate: str
    version: int
    items_count: int
    total_cost: str | None
    progress: str
    role: str
    permissions: list[str]
    created_at: datetime
    updated_at: datetime


class ProjectPage(msgspec.Struct):
    """Hold one page of projects."""

    items: list[Project]
    next_cursor: str | None
    total: int


class NewProject(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Describe the project to create."""

    code: str
    name: str
    name_en: str | None = None
    client: str | None = None
    start_date: date | None = None
    finish_date: date | None = None
    currency: str = "SAR"
    vat_rate: str = "15.00"


class ProjectChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Describe a change to a project; what is left out stays."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    name: str | msgspec.UnsetType = msgspec.UNSET
    name_en: str | msgspec.UnsetType | None = msgspec.UNSET
    client: str | msgspec.UnsetType | None = msgspec.UNSET
    start_date: date | msgspec.UnsetType | None = msgspec.UNSET
    finish_date: date | msgspec.UnsetType | None = msgspec.UNSET
    currency: str | msgspec.UnsetType = msgspec.UNSET
    vat_rate: str | msgspec.UnsetType = msgspec.UNSET


class Access(msgspec.Struct, frozen=True):
    """Say which project a caller may act on, and as what."""

    project_id: int
    tenant: str
    code: str
    role: str
    vat_rate_bp: int
    currency: str
    name: str
    name_en: str | None

    def may(self, permission: str) -> bool:
        """Tell whether the caller's role holds `permission`."""
        return permission in ROLES[self.role]


class Place(msgspec.Struct, frozen=True):
    """Hold what is stored of a project and of one user's role in it; what that allows is judged at each call."""

    project_id: int
    member_role: str | None
    vat_rate_bp: int
    currency: str
    name: str
    name_en: str | None


class Projects:
    """Keep the projects of all tenants; a caller sees only those where they are a member."""

    def __init__(
        self, store: Store, clock: Clock, audit: Audit, history: History, sums: Select[tuple[int, int, int, int]], *, cache: ReadCache
    ) -> None:
        """Keep what is needed; `sums` gives project, items, amount and earned of each project's bill."""
        self._store, self._clock, self._audit, self._sums = store, clock, audit, sums
        self.history, self.cache = history, cache
        self._one = store.compile(self._statement(project.c.code == bindparam("code")))
        self._terms = store.compile(select(project.c.vat_rate_bp, project.c.currency).where(project.c.id == bindparam("project")))
        self._gate = store.compile(
            select(project.c.id, member.c.role, project.c.vat_rate_bp, project.c.currency, project.c.name, project.c.name_en)
            .select_from(project.outerjoin(member, and_(member.c.project_id == project.c.id, member.c.user_id == bindparam("user"))))
            .where(project.c.tenant_id == bindparam("tenant"), project.c.code == bindparam("code"))
        )

    def access(self, tx: Transaction, caller: Principal, code: str, permission: str) -> Access:
        """Return the caller's access; raise NotFoundError when the project is none of theirs, ForbiddenError when the role does not allow it."""
        return self._judged(caller, code, self._place(tx, caller, code), permission)

    def read_access(self, caller: Principal, code: str, permission: str) -> Access:
        """Return the access of a caller who changes nothing, from the cache when it is there; raise what `access` raises."""

        def load() -> Place:
            with self._store.read() as tx:
                return self._place(tx, caller, code)

        if not CODE_PATTERN.fullmatch(code):  # what no project can be called must not fill the cache with keys
            raise _no_project(code)
        tags = (project_tag(caller.tenant, code), user_tag(caller.user_key))
        place = self.cache.get_or_load(_place_key(caller, code), Place, load, ttl=PLACE_SECONDS, tags=tags, shared=False)
        return self._judged(caller, code, place, permission)

    def access_at_hand(self, caller: Principal, code: str, permission: str) -> Access | None:
        """Return the access this process knows of, none when it must look or would refuse; never blocks."""
        place = self.cache.peek(_place_key(caller, code), Place) if CODE_PATTERN.fullmatch(code) else None
        access = _access(caller, code, place) if place is not None else None
        return access if access is not None and access.may(permission) else None

    def _place(self, tx: Transaction, caller: Principal, code: str) -> Place:
        known = CODE_PATTERN.fullmatch(code)
        rows = tx.rows(self._gate, user=caller.user_key, tenant=caller.tenant, code=code) if known else []
        if not rows:
            raise _no_project(code)
        return Place(*rows[0])

    def _judged(self, caller: Principal, code: str, place: Place, permission: str) -> Access:
        access = _access(caller, code, place)
        if access is None:
            raise _no_project(code)
        if not access.may(permission):
            self._audit.record("authz_fail", permission, f"project:{code}", {"role": access.role}, caller.id)
            raise ForbiddenError(f"the role {access.role} may not: {permission}", message_ar="دورك في المشروع لا يسمح بهذا الإجراء")
        return access

    def terms(self, tx: Transaction, access: Access) -> tuple[int, str]:
        """Return the VAT rate in basis points and the currency as they are in this transaction."""
        return cast("tuple[int, str]", tx.row(self._terms, project=access.project_id))

    @staticmethod
    def lock(tx: Transaction, access: Access) -> None:
        """Wait until nobody else writes this project's bill, and keep others out until the transaction ends."""
        tx.execute(select(project.c.id).where(project.c.id == access.project_id).with_for_update())

    def changed(self, tx: Transaction, tenant: str, code: str) -> None:
        """Drop what is kept of a project and its bill, in every process, with the commit; every change of either says so."""
        self.cache.invalidate(tx, project_tag(tenant, code))

    def page(self, caller: Principal, limit: int = 50, cursor: str | None = None) -> ProjectPage:
        """Return the caller's projects by code."""
        limit = max(1, min(limit, MAX_PAGE))
        if cursor is not None and not CODE_PATTERN.fullmatch(cursor):
            raise refused("cursor", "is not one this server gave", "مؤشر الصفحة غير صالح")
        mine = [project.c.tenant_id == caller.tenant]
        if not caller.may(ALL_PROJECTS):
            mine.append(project.c.id.in_(select(member.c.project_id).where(member.c.user_id == caller.user_key)))
        with self._store.read() as tx:
            total = tx.scalar(select(func.count()).select_from(project).where(*mine))
            after = [project.c.code > cursor] if cursor else []
            codes = tx.execute(select(project.c.code).where(*mine, *after).order_by(project.c.code).limit(limit + 1)).scalars().all()
            items = self._show_all(tx, caller, codes[:limit])
        return ProjectPage(items, codes[limit - 1] if len(codes) > limit else None, cast("int", total))

    def get(self, caller: Principal, code: str) -> Project:
        """Return one project; raise NotFoundError."""
        with self._store.read() as tx:
            self.access(tx, caller, code, "project.read")
            return self._show(tx, caller, code)

    def create(self, caller: Principal, new: NewProject) -> Project:
        """Create a project with the caller as its manager; raise ConflictError for a code in use, ValidationError."""
        if not CODE_PATTERN.fullmatch(new.code):
            raise refused("code", "letters, digits, . _ - only, at most 40", "حروف وأرقام و . _ - فقط، بحد أقصى 40")
        values = self._checked(msgspec.structs.asdict(new))
        check_dates(new.start_date, new.finish_date)
        now = self._clock.now()
        with self._store.begin() as tx:
            try:
                row = {"tenant_id": caller.tenant, "created_at": now, "updated_at": now, **values}
                identity = tx.execute(insert(project).values(row).returning(project.c.id)).scalar_one()
            except IntegrityError:
                raise ConflictError(f"there is a project {new.code!r} already", code="code_taken", message_ar="رمز المشروع مستخدم") from None
            facts = [Fact("project.created", {"code": new.code, **_told(values)})]
            if caller.user_key:
                facts.append(Fact("project.member_set", {"user": caller.id, "role": "manager", "before": None}))
                own = {"tenant_id": caller.tenant, "project_id": identity, "user_id": caller.user_key, "role": "manager", "created_at": now}
                tx.execute(insert(member).values(own))
            shown = self._show(tx, caller, new.code)
            self.changed(tx, caller.tenant, new.code)
            self.history.record(tx, caller, new.code, facts)
            self._audit.record("sensitive_create", "CREATE", f"project:{new.code}", {"name": new.name}, caller.id, tx=tx)
        return shown

    def change(self, caller: Principal, code: str, change: ProjectChange) -> Project:
        """Change a project; raise ConflictError with the fresh project when somebody was faster."""
        given = {key: value for key, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET and key != "version"}
        values = self._checked(given)
        with self._store.begin() as tx:
            access = self.access(tx, caller, code, "project.edit")
            before = tx.execute(select(project).where(project.c.id == access.project_id)).mappings().one()
            merged = {**before, **values}
            check_dates(merged["start_date"], merged["finish_date"])
            done = tx.execute(
                update(project)
                .where(project.c.id == access.project_id, project.c.version == change.version)
                .values(version=project.c.version + 1, updated_at=self._clock.now(), **values)
            )
            shown = self._show(tx, caller, code)
            if done.rowcount == 0:
                raise ConflictError("the project was changed meanwhile", extra={"current": shown})
            self.changed(tx, caller.tenant, code)
            if changes := difference(_told({**before}), _told(values)):
                self.history.record(tx, caller, code, [Fact("project.updated", {"changes": changes})])
            details = {key: [str(before[key]), str(value)] for key, value in values.items() if before[key] != value}
            self._audit.record("sensitive_update", "UPDATE", f"project:{code}", details, caller.id, tx=tx)
        return shown

    @staticmethod
    def _checked(values: dict[str, object]) -> dict[str, object]:
        for field, longest in TEXTS.items():
            text = values.get(field)
            if isinstance(text, str):
                values[field] = _clean(field, text, longest)
        if "currency" in values and not CURRENCY_PATTERN.fullmatch(str(values["currency"])):
            raise refused("currency", "must be the three capital letters of a currency, such as SAR", "رمز العملة ثلاثة أحرف لاتينية كبيرة مثل SAR")
        if "vat_rate" in values:
            values["vat_rate_bp"] = parse_scaled("vat_rate", str(values.pop("vat_rate")), 100, VAT_MAX_BP)
        return values

    def _statement(self, which: ColumnElement[bool]) -> Select[tuple[object, ...]]:
        mine = and_(project.c.tenant_id == bindparam("tenant"), which)
        sums = self._sums.where(self._sums.selected_columns.project_id.in_(select(project.c.id).where(mine))).subquery()
        member_of = and_(member.c.project_id == project.c.id, member.c.user_id == bindparam("user"))
        joined = project.outerjoin(member, member_of).outerjoin(sums, sums.c.project_id == project.c.id)
        columns = (*(project.c[name] for name in _SHOWN), member.c.role, sums.c["items"], sums.c.amount, sums.c.earned)
        return select(*columns).select_from(joined).where(mine).order_by(project.c.code)

    def _show(self, tx: Transaction, caller: Principal, code: str) -> Project:
        return _shown(tx.rows(self._one, tenant=caller.tenant, user=caller.user_key, code=code)[0], caller)

    def _show_all(self, tx: Transaction, caller: Principal, codes: Sequence[str]) -> list[Project]:
        rows = tx.execute(self._statement(project.c.code.in_(codes)), {"tenant": caller.tenant, "user": caller.user_key})
        return [_shown(tuple(row), caller) for row in rows]


def _place_key(caller: Principal, code: str) -> str:
    return f"place:{caller.tenant}:{code}:{caller.user_key}"


def _access(caller: Principal, code: str, place: Place) -> Access | None:
    """Return what the caller is in a project now, none for somebody who must not even know that there is one."""
    role = role_in_project(caller.may(ALL_PROJECTS), place.member_role)
    if role is None:
        return None
    return Access(place.project_id, caller.tenant, code, role, place.vat_rate_bp, place.currency, place.name, place.name_en)


def _no_project(code: str) -> NotFoundError:
    return NotFoundError(f"no project {code!r}", message_ar=f"لا يوجد مشروع بالرمز {code}")


def _told(values: Mapping[str, object]) -> dict[str, str | None]:
    """Return the fields of a project as the texts its history keeps."""
    told = {name: None if values[name] is None else str(values[name]) for name in _PLAIN if name in values}
    return told | ({"vat_rate": basis_points_text(cast("int", values["vat_rate_bp"]))} if "vat_rate_bp" in values else {})


def _clean(field: str, text: str, longest: int) -> str | None:
    clean = text.strip()
    if not clean and field not in REQUIRED:
        return None
    if not 1 <= len(clean) <= longest:
        raise refused(field, f"between 1 and {longest} characters", f"بين 1 و{longest} حرف")
    if any(unicodedata.category(sign) == "Cc" for sign in clean):
        raise refused(field, "must be one line of text", "يجب أن يكون نصا في سطر واحد")
    return clean


def _shown(row: tuple[object, ...], caller: Principal) -> Project:
    code, name, name_en, client, start, finish, currency, vat, version, created, updated, member_role, items, amount, earned = row
    role = role_in_project(caller.may(ALL_PROJECTS), cast("str | None", member_role)) or "viewer"
    total, done = int(cast("int", amount or 0)), int(cast("int", earned or 0))
    return Project(
        code=cast("str", code),
        name=cast("str", name),
        name_en=cast("str | None", name_en),
        client=cast("str | None", client),
        start_date=_date(start),
        finish_date=_date(finish),
        currency=cast("str", currency),
        vat_rate=basis_points_text(cast("int", vat)),
        version=cast("int", version),
        items_count=int(cast("int", items or 0)),
        total_cost=money_text(total) if "boq.prices" in ROLES[role] else None,
        progress=ratio_text(done, total),
        role=role,
        permissions=sorted(ROLES[role]),
        created_at=as_utc(cast("datetime | str", created)),
        updated_at=as_utc(cast("datetime | str", updated)),
    )


def _date(value: object) -> date | None:
    """Return a date as the driver gave it: SQLite keeps text."""
    return date.fromisoformat(value) if isinstance(value, str) else cast("date | None", value)
