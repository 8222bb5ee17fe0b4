"""Databases like those of an office: bills, invoices and events with Arabic text, made once for each size."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = (  # noqa: SIM905  it is a text
    "توريد وتركيب أعمال الحفر الردم الخرسانة المسلحة العادية حديد التسليح بلوك أسمنتي لياسة دهان خارجي داخلي أرضيات بلاط رخام "
    "سيراميك عزل مائي حراري أبواب نوافذ ألمنيوم خشب كهرباء إنارة كابلات لوحات تكييف سباكة مواسير صرف تغذية خزان مضخة حسب "
    "المواصفات والمخططات المعتمدة شاملا النقل والفحص والاختبار طبقا لتعليمات المهندس المشرف على الموقع مقاس سماكة ملم متر "
    "مربع مكعب طولي الدور الأول الثاني الأرضي السطح المبنى الرئيسي الملحق السور البوابة الحديقة الطريق الرصيف"
).split()
UNITS = ("م²", "م³", "طن", "عدد", "متر")
KINDS = ("BOQ_ITEM_PRICED", "INVOICE_APPROVED", "PAYMENT_RECORDED", "SITE_VISITED")
TABLES = (
    "create table boq_item (id integer primary key, project integer not null, code text not null, description text not null, unit text not null,"
    " quantity bigint not null, price bigint not null)",
    "create table invoice (id integer primary key, supplier text not null, issued text not null, net bigint not null, note text not null)",
    "create table happened (id integer primary key, stream text not null, kind text not null, body text not null, digest text not null)",
    "create table scale (side integer primary key, weight bigint not null)",
)
INDEXES = (
    "create index boq_item_project on boq_item (project, code)", "create index invoice_issued on invoice (issued)",
    "create index happened_stream on happened (stream)",
)
ROW_BYTES = {"boq_item": 330, "invoice": 210, "happened": 360}
"""About what a row takes in SQLite, its share of the index counted."""
COPIES = 10
COPY = {
    "boq_item": "insert into boq_item select id + {turn} * {count}, project, code, description || ' ' || ((id * 7919 + {turn}) % 1000003), unit,"
    " (quantity * 31 + {turn} * 977) % 100000, (price * 17 + {turn} * 7919) % 10000000 from boq_item where id < {count}",
    "invoice": "insert into invoice select id + {turn} * {count}, supplier, issued, (net * 13 + {turn} * 7919) % 100000000,"
    " note || ' ' || ((id * 7919 + {turn}) % 1000003) from invoice where id < {count}",
    "happened": "insert into happened select id + {turn} * {count}, stream, kind, body, {digest} from happened where id < {count}",
}
"""Makes ten of each row, with other numbers: further apart than any compressor here looks back."""


def rows(table: str, count: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of one table, the same every time."""
    chance = random.Random(table)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(8, 18))) for _ in range(20_000)]
    for number in range(count):
        text = f"{texts[chance.randrange(20_000)]} {chance.randrange(10**6)}"
        day = f"20{chance.randrange(20, 27)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        if table == "boq_item":
            code = f"{chance.randrange(1, 40):02}.{chance.randrange(1, 99):02}.{number}"
            yield number, chance.randrange(400), code, text, chance.choice(UNITS), chance.randrange(1, 10**5), chance.randrange(100, 10**7)
        elif table == "invoice":
            yield number, f"مورد {chance.randrange(3000)}", day, chance.randrange(10**3, 10**8), text
        else:
            told = {"at": f"{day}T08:{chance.randrange(60):02}:00+03:00", "by": chance.randrange(200), "amount": chance.randrange(10**7)}
            body = json.dumps(told | {"note": text[:60]}, ensure_ascii=False)
            yield number, f"project-{chance.randrange(400)}", chance.choice(KINDS), body, f"{chance.getrandbits(256):064x}"


def counts(megabytes: int) -> dict[str, int]:
    """Return how many rows of each table take about so many megabytes in SQLite."""
    return {table: max(COPIES, megabytes * 1024 * 1024 // 3 // size) // COPIES for table, size in ROW_BYTES.items()}


def fill_sqlite(path: Path, megabytes: int) -> None:
    """Make a database of about so many megabytes in WAL mode, as the platform has it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode=off")
        connection.execute("pragma synchronous=off")
        _make(connection)
        connection.execute("begin")
        for table, count in counts(megabytes).items():
            marks = ",".join("?" * len(next(rows(table, 1))))
            connection.executemany(f"insert into {table} values ({marks})", rows(table, count))
            for turn in range(1, COPIES):
                connection.execute(COPY[table].format(turn=turn, count=count, digest="lower(hex(randomblob(32)))"))
        connection.execute("commit")
        for statement in INDEXES:
            connection.execute(statement)
        connection.execute("pragma journal_mode=wal")


def fill_postgresql(url: str, megabytes: int) -> None:
    """Make the same in an empty database."""
    with psycopg.connect(url, autocommit=True) as connection:
        _make(connection)
        for table, count in counts(megabytes).items():
            with connection.cursor().copy(f"copy {table} from stdin".encode()) as copy:
                for row in rows(table, count):
                    copy.write_row(row)
            for turn in range(1, COPIES):
                digest = "encode(sha256((id::text || 'x' || turn)::bytea), 'hex')".replace("turn", str(turn))
                connection.execute(COPY[table].format(turn=turn, count=count, digest=digest).encode())
        for statement in (*INDEXES, "vacuum analyze", "checkpoint"):
            connection.execute(statement.encode())


def _make(connection: Any) -> None:
    for statement in (*TABLES, "insert into scale values (1, 5), (2, -5)"):
        connection.execute(statement)
