"""A backup beside the live data: whole or in part in a database of its own, and compared row by row; both databases and every format."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from psycopg import sql

from backup_faults import contents, plain, run
from rakiza.backup import BackupDamagedError, BackupRefusedError, DatabaseBackup
from rakiza.backup._aside import LONG, Comparison, Difference, Slice, slice_of
from rakiza.backup.commands import lines_of
from rakiza.errors import ValidationError
from rakiza.store import Store

Made = Callable[..., DatabaseBackup]


@pytest.fixture
def target(url: str, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a database that there is none of yet."""
    if url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'للمقارنة' / 'بجانب.db'}"
        return
    name = f"مقارنة 100% \" ; ' {(sa.make_url(url).database or '')[-12:]}"
    yield sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    with plain(url, "postgres") as admin:
        for left in (name, f"{name}2"):
            admin.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(left)))


def by_name(found: Comparison) -> dict[str, Difference]:
    return {one.table: one for one in found.tables}


def test_a_backup_comes_to_life_beside_the_live_data(made: Made, url: str, target: str, form: tuple[bool, bool]) -> None:
    backup, before = made(text=form[0], compress=form[1]), contents(url)
    told: list[object] = []
    backup.restored, backup.ready = [told.append], told.append
    name = backup.create_backup().filename
    run(url, "update supplier set name = 'آخر'")
    live = contents(url)
    done = backup.restore_backup(name, target_url=target)
    assert (contents(target), contents(url), told) == (before, live, [])
    assert done.rows == backup.get_backup(name).rows
    assert backup.list_backups()[0].filename == name, "no backup of the live data is made: they are not touched"
    with pytest.raises(BackupRefusedError, match="is there"):
        backup.restore_backup(name, target_url=target)
    with pytest.raises(BackupRefusedError, match="live database"):
        backup.restore_backup(name, target_url=url)
    assert contents(target) == before


def test_one_table_or_one_suppliers_rows_come_to_life_without_the_rest(backup: DatabaseBackup, url: str, target: str) -> None:
    run(url, "create table ledger (supplier_id integer, note text)", "insert into ledger values (1, 'أ'), (2, 'ب'), (null, 'ج')")
    refused = "create trigger kept before delete on ledger"
    if url.startswith("sqlite"):
        run(url, f"{refused} begin select raise(abort, 'لا حذف'); end")
    else:
        run(url, "create function refuse() returns trigger language plpgsql as $$ begin raise 'لا حذف'; end $$")
        run(url, f"{refused} for each row execute function refuse()")
    name = backup.create_backup().filename
    found = backup.restore_aside(name, target, Slice(column="supplier_id", value="1"))
    assert found.tables == {"invoice": 7, "ledger": 1}
    assert (found.rows, "@" in found.database) == (8, False)
    with contextlib.closing(Store(target)) as store, store.read() as tx:
        assert {row[0] for row in tx.execute(sa.text("select supplier_id from invoice"))} == {1}
        assert sorted(sa.inspect(tx.connection).get_table_names()) == ["invoice", "ledger"]
    other = sa.make_url(target).database or ""
    for wanted, said in (
        (Slice(("invoice", "فاتورة")), "no table 'فاتورة'"),
        (Slice(("supplier",), "supplier_id", "1"), "supplier has no column"),
        (Slice(column="مشروع"), "no table has a column"),
    ):
        with pytest.raises(ValidationError, match=said):
            backup.restore_aside(name, f"{other}2", wanted)
    odd = TABLE if url.startswith("sqlite") else "أرشيف.قديم"
    assert backup.restore_aside(name, f"{other}2", Slice((odd,))).tables == {odd: 1 if odd == TABLE else 2}


TABLE = "رافعة \" ; '"


def test_an_empty_database_is_taken_and_one_with_a_table_is_not(backup: DatabaseBackup, url: str, target: str) -> None:
    name = backup.create_backup().filename
    if url.startswith("sqlite"):
        path = Path(sa.make_url(target).database or "")
        path.parent.mkdir()
        path.touch()
    else:
        with plain(url, "postgres") as admin:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(sa.make_url(target).database or "")))
    assert backup.restore_aside(name, target, slice_of("supplier")).tables == {"supplier": 6}
    with pytest.raises(BackupRefusedError, match="is there"):
        backup.restore_aside(name, target)


def test_what_is_damaged_comes_to_life_nowhere(backup: DatabaseBackup, url: str, target: str, folder: Path) -> None:
    name = backup.create_backup().filename
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(BackupDamagedError):
        backup.restore_aside(name, target)
    with pytest.raises(BackupDamagedError):
        backup.compare_backup(name)
    manifest = backup.folder.manifest(name)
    rows = {**manifest.rows, "invoice": 41}
    good = backup.create_backup("later").filename
    backup.folder.change(good, lambda manifest: msgspec.structs.replace(manifest, rows=rows))
    for work in (lambda: backup.restore_aside(good, target), lambda: backup.compare_backup(good)):
        with pytest.raises(BackupDamagedError, match="other rows"):
            work()
    if url.startswith("sqlite"):
        assert not list(Path(sa.make_url(target).database or "").parent.iterdir())


def test_a_backup_is_compared_row_by_row(backup: DatabaseBackup, url: str) -> None:
    name = backup.create_backup().filename
    same = backup.compare_backup(name, show=10)
    assert same, same
    assert [one.shown for one in same.tables] == [()] * len(same.tables)
    assert by_name(same)["invoice"].equal == 40
    run(
        url, "update invoice set note = 'غيرها' where id in (3, 39)", "delete from invoice where id in (0, 7)",
        "insert into invoice (id, net, supplier_id) values (-5, 1, 1), (500, 2, 2)", "insert into yard_version values ('0008')",
        "create table late (id integer primary key)", "insert into late values (1)", "drop table price_version",
    )  # fmt: skip
    changed = contents_of(url)
    found = backup.compare_backup(name, show=3)
    assert contents_of(url) == changed, "live data are only read"
    assert not found
    tables = by_name(found)
    invoice = tables["invoice"]
    assert (invoice.only_backup, invoice.only_live, invoice.changed, invoice.equal) == (2, 2, 2, 36)
    assert (invoice.rows_backup, invoice.rows_live, invoice.same) == (40, 40, False)
    text = str if not url.startswith("sqlite") else int
    assert [one.key for one in invoice.shown] == [{"id": text(-5)}, {"id": text(0)}, {"id": text(3)}]
    assert [(one.old is None, one.new is None) for one in invoice.shown] == [(True, False), (False, True), (False, False)]
    assert (invoice.shown[2].old, invoice.shown[2].new) == ({"note": "ملاحظة 3"}, {"note": "غيرها"})
    assert (tables["late"].only_live, tables["late"].rows_backup) == (1, None)
    assert (tables["price_version"].only_backup, tables["price_version"].rows_live) == (0, None)
    keyless = tables["yard_version"]
    assert (keyless.rows_backup, keyless.rows_live, keyless.changed, keyless.same) == (1, 2, None, False)
    assert tables["supplier"].same
    assert lines_of(invoice)[0] == "invoice: 2 only in the backup, 2 only live, 2 changed, 36 the same"
    assert lines_of(invoice)[3].endswith('backup: {"note":"ملاحظة 3"}  live: {"note":"غيرها"}')
    assert lines_of(keyless) == ["yard_version: 1 rows in the backup, 2 live, not the same; without a primary key no more can be told"]
    assert lines_of(tables["late"]) == ["late: 1 only live; the backup has no such table"]
    assert msgspec.json.encode(found)
    part = backup.compare_backup(name, Slice(("invoice",), "supplier_id", "3"))
    assert [(one.table, one.changed, one.equal) for one in part.tables] == [("invoice", 2, 5)]


def contents_of(url: str) -> dict[str, list[object]]:
    with contextlib.closing(Store(url)) as store, store.read() as tx:
        return {name: sorted(map(repr, tx.connection.exec_driver_sql(f"select * from {name}"))) for name in ("supplier", "invoice", "yard_version")}


def test_tables_of_other_columns_with_secrets_and_text_keys_are_compared(backup: DatabaseBackup, url: str) -> None:
    run(url, "create table person (name text primary key, password_hash text, hash text, note text)")
    long = "ن" * LONG
    run(url, f"insert into person values ('سارة', 'argon2-قديم', 'aaa', 'token=abcdef123456'), ('علي', 'x', 'y', '{long}')")
    names = ("b", "B", "a", "A", "é", "z", "Z", "أ", "ب", "🏗", "", " ", "a b", "ab", "ﷺ")
    run(url, "create table term (word text, place numeric, note text, primary key (word, place))")
    values = ", ".join(f"('{word}', {place}, 'س')" for word in names for place in (2, 10, -1, 0.5))
    run(url, f"insert into term values {values}")
    name = backup.create_backup().filename
    run(url, "update person set password_hash = 'argon2-جديد', hash = 'bbb', note = 'token=fedcba654321'")
    run(url, "update term set note = 'ص' where word in ('B', 'ب', '🏗')", "delete from term where word = 'é'")
    run(url, "alter table journal add column seen integer", "alter table supplier rename column rate to pace")
    tables = by_name(backup.compare_backup(name, show=5))

    # secrets and long values are compared and not shown
    person = tables["person"]
    assert (person.changed, len(person.shown)) == (2, 2)
    said = msgspec.json.encode(person).decode()
    assert not [secret for secret in ("argon2", "aaa", "bbb", "abcdef123456", "fedcba654321", long[:100]) if secret in said]
    assert f"{len(long.encode())} bytes, SHA-256" in said

    # columns that one side lacks are named and not compared
    assert (tables["journal"].columns_live, tables["journal"].equal, tables["journal"].same) == (("seen",), 40, False)
    assert (tables["supplier"].columns_backup, tables["supplier"].columns_live) == (("rate",), ("pace",))
    assert tables["invoice"].same

    # text keys meet in every order of letters
    term = tables["term"]
    assert (term.changed, term.only_backup, term.only_live, term.equal) == (12, 4, 0, 44)


@pytest.mark.parametrize("where", ["project_id", "=3", " = 3"])
def test_what_names_no_rows_is_refused(where: str) -> None:
    with pytest.raises(ValidationError, match="names no rows"):
        slice_of("", where)
