"""Compare a bill that was read with the bill a project has, and write the difference."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar, cast

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from noufal._history import Changes as Told
from noufal._history import Fact
from noufal.money import earned_amount, quantity_text, rate_text, share_text
from noufal.projects import Access
from rakiza.store import Compiled, Store, Transaction

from ._model import Bill, BillItem
from ._numbers import normalise_text
from ._progress import Tell, quiet, stepped
from .tables import item, section

T = TypeVar("T")
CHUNK = 5_000
_NEW = (
    "tenant_id",
    "project_id",
    "section_id",
    "position",
    "code",
    "description",
    "note",
    "unit",
    "unit_code",
    "quantity",
    "unit_price",
    "amount",
    "progress",
    "earned",
    "rate_only",
    "search",
    "version",
    "updated_at",
    "import_id",
)
_CONTENT = ("description", "note", "unit", "unit_code", "quantity", "unit_price", "rate_only")
_TEXTS: dict[str, Callable[[int], str]] = {"quantity": quantity_text, "unit_price": rate_text, "rate_only": lambda yes: "true" if yes else "false"}
_CHANGED = ("section_id", "position", "description", "note", "unit", "unit_code", "quantity", "unit_price", "amount", "earned", "rate_only", "search")


class Changes(msgspec.Struct):
    """Count what an import would do to the items the project has."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


class _Old(NamedTuple):
    """Hold a line as the project has it."""

    code: str
    id: int
    section_id: int
    position: int
    progress: int
    content: tuple[object, ...]


class Revision(msgspec.Struct):
    """Hold the difference: numbers in it are positions from 1; a moved line is the same line in another place."""

    sections: list[int | None]
    unused_sections: list[int]
    added: list[tuple[int, BillItem]]
    changed: list[tuple[int, BillItem, _Old]]
    moved: list[tuple[int, int]]
    removed: list[_Old]
    unchanged: int
    titles: dict[int, str]
    """What the sections the project has are called, by their rows."""

    def counts(self) -> Changes:
        """Return how many lines are new, different, gone and the same."""
        return Changes(len(self.added), len(self.changed), len(self.removed), self.unchanged)

    def empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not (self.added or self.changed or self.moved or self.removed)


class Ledger:
    """Read and write the lines of bills by the thousand, on the driver's own cursor."""

    def __init__(self, store: Store) -> None:
        self._dialect = store.dialect
        mine = (item.c.tenant_id == bindparam("tenant"), item.c.project_id == bindparam("project"))
        content = (item.c[name] for name in _CONTENT)
        key = (item.c.code, item.c.id, item.c.section_id, item.c.position, item.c.progress)
        self._lines = store.compile(select(*key, *content).where(*mine))
        self._insert = store.compile(insert(item), *_NEW)
        set_: dict[str, object] = {name: bindparam(name) for name in (*_CHANGED, "updated_at")}
        self._change = store.compile(update(item).where(item.c.id == bindparam("row")).values(version=item.c.version + 1, **set_))
        self._move = store.compile(update(item).where(item.c.id == bindparam("row")).values(position=bindparam("position")))

    def compare(self, tx: Transaction, access: Access, bill: Bill) -> Revision:
        """Return what differs between the project's bill and the one that was read, matched by code."""
        sections, unused, titles = _match_sections(tx, access, bill)
        had = {
            cast("str", row[0]): _Old(row[0], row[1], row[2], row[3], row[4], row[5:])
            for row in tx.rows(self._lines, tenant=access.tenant, project=access.project_id)
        }
        revision = Revision(sections, unused, [], [], [], [], 0, titles)
        for number, line in enumerate(bill.items, 1):
            old = had.pop(line.code, None)
            if old is None:
                revision.added.append((number, line))
            elif old.section_id != sections[line.section] or old.content != _content(line):
                revision.changed.append((number, line, old))
            else:
                revision.unchanged += 1
                if old.position != number:
                    revision.moved.append((number, old.id))
        revision.removed = list(had.values())
        return revision

    def write(
        self,
        tx: Transaction,
        access: Access,
        bill: Bill,
        revision: Revision,
        *,
        now: datetime,
        import_id: int,
        progress: Mapping[str, int],
        tell: Tell = quiet,
    ) -> None:
        """Write the difference; a line that stays keeps its progress, a new one starts with what `progress` (by code, millionths) says."""
        changed, total = len(revision.changed), len(revision.changed) + len(revision.added)
        sections = _write_sections(tx, access, bill, revision.sections)
        for part in _chunks([old.id for old in revision.removed]):
            tx.execute(delete(item).where(item.c.id.in_(part)))
        self._run(tx, self._move, ({"position": number, "row": row} for number, row in revision.moved))
        differing = stepped(revision.changed, "write", total, tell)
        self._run(tx, self._change, (_changed_row(number, line, old, sections, now) for number, line, old in differing))
        new = (
            (*_new_row(access, number, line, sections[line.section], share=progress.get(line.code, 0)), now, import_id)
            for number, line in stepped(revision.added, "write", total, tell, changed)
        )
        self._insert_all(tx, new)
        for part in _chunks(revision.unused_sections):
            tx.execute(delete(section).where(section.c.id.in_(part)))

    def _insert_all(self, tx: Transaction, rows: Iterator[tuple[object, ...]]) -> None:
        if self._dialect == "sqlite":
            self._run(tx, self._insert, (dict(zip(_NEW, row, strict=True)) for row in rows))
            return
        with tx.driver_connection.cursor() as cursor, cursor.copy(f"copy {item.name} ({', '.join(_NEW)}) from stdin") as copy:
            for row in rows:
                copy.write_row(row)

    @staticmethod
    def _run(tx: Transaction, statement: Compiled, rows: Iterable[Mapping[str, object]]) -> None:
        cursor = tx.driver_connection.cursor()
        try:
            cursor.executemany(statement.sql, (statement.bind(dict(row)) for row in rows))
        finally:
            cursor.close()


def facts(bill: Bill, revision: Revision) -> Iterator[Fact]:
    """Yield what the import of a bill did to each line the project had; lines that are new are told by the import itself."""
    shared = {"via": "import", "file": bill.file_name}
    for _, line, old in revision.changed:
        yield Fact("boq.item_changed", {"code": line.code, **shared, "changes": _changes(bill, revision, line, old)}, old.id)
    for old in revision.removed:
        yield Fact("boq.item_removed", {"code": old.code, **shared, **_last_state(revision, old)}, old.id)


def _changes(bill: Bill, revision: Revision, line: BillItem, old: _Old) -> Told:
    changes = {
        name: {"from": _text(name, before), "to": _text(name, after)}
        for name, before, after in zip(_CONTENT, old.content, _content(line), strict=True)
        if before != after
    }
    if old.section_id != revision.sections[line.section]:
        changes["section"] = {"from": revision.titles[old.section_id], "to": bill.sections[line.section].title}
    return changes


def _last_state(revision: Revision, old: _Old) -> dict[str, str | None]:
    content = {name: _text(name, value) for name, value in zip(_CONTENT, old.content, strict=True)}
    return {"section": revision.titles[old.section_id], **content, "progress": share_text(old.progress)}


def _text(name: str, value: object) -> str | None:
    return _TEXTS[name](cast("int", value)) if name in _TEXTS else cast("str | None", value)


def _content(line: BillItem) -> tuple[object, ...]:
    return (line.description, line.note, line.unit, line.unit_code, line.quantity, line.unit_price, line.rate_only)


def _search(line: BillItem) -> str:
    return normalise_text(f"{line.code} {line.description}")


def _changed_row(number: int, line: BillItem, old: _Old, sections: Sequence[int], now: datetime) -> dict[str, object]:
    earned = earned_amount(line.amount, old.progress)
    description, note, unit, unit_code, quantity, unit_price, rate_only = _content(line)
    values = (sections[line.section], number, description, note, unit, unit_code, quantity, unit_price, line.amount, earned, rate_only, _search(line))
    return {**dict(zip(_CHANGED, values, strict=True)), "updated_at": now, "row": old.id}


def _new_row(access: Access, number: int, line: BillItem, section_id: int, *, share: int) -> tuple[object, ...]:
    return (
        access.tenant,
        access.project_id,
        section_id,
        number,
        line.code,
        line.description,
        line.note,
        line.unit,
        line.unit_code,
        line.quantity,
        line.unit_price,
        line.amount,
        share,
        earned_amount(line.amount, share),
        line.rate_only,
        _search(line),
        1,
    )


def _match_sections(tx: Transaction, access: Access, bill: Bill) -> tuple[list[int | None], list[int], dict[int, str]]:
    """Return the row of each section of the bill whose title the project has, the rows no longer used, and the title of every row."""
    mine = (section.c.tenant_id == access.tenant, section.c.project_id == access.project_id)
    had: dict[str, list[int]] = {}
    titles: dict[int, str] = {}
    for row in tx.execute(select(section.c.id, section.c.title).where(*mine).order_by(section.c.position.desc())):
        had.setdefault(row.title, []).append(row.id)
        titles[row.id] = row.title
    found = [known.pop() if (known := had.get(line.title)) else None for line in bill.sections]
    return found, [identity for left in had.values() for identity in left], titles


def _write_sections(tx: Transaction, access: Access, bill: Bill, known: Sequence[int | None]) -> list[int]:
    written: list[int] = []
    for number, (line, identity) in enumerate(zip(bill.sections, known, strict=True), 1):
        values = {"position": number, "code": line.code, "title": line.title}
        if identity is None:
            made = insert(section).values(tenant_id=access.tenant, project_id=access.project_id, **values).returning(section.c.id)
            written.append(tx.execute(made).scalar_one())
        else:
            tx.execute(update(section).where(section.c.id == identity).values(**values))
            written.append(identity)
    return written


def _chunks(values: list[T]) -> Iterable[list[T]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
