"""What a backup holds and what becomes of it: one suite for both databases and every format."""

import contextlib
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from backup_faults import FORMATS, change, contents, file_of, fill, manager, plain, run
from rakiza.backup import DatabaseBackup
from rakiza.backup.errors import BackupDamagedError, BackupError, BackupNotFoundError, BackupRefusedError
from rakiza.store import Store, StoreError
from rakiza.testing import FrozenClock

Made = Callable[..., DatabaseBackup]


@pytest.mark.parametrize(("text", "compress"), FORMATS)
def test_all_of_a_database_comes_back(made: Made, url: str, text: bool, compress: bool) -> None:
    backup, before = made(text=text, compress=compress), contents(url)
    copy = backup.create_backup("nightly")
    assert (copy.compressed, copy.rows, copy.safety) == (
        compress,
        sum(len(rows) for name, rows in before.items() if name != "owed") + _hidden(url),
        False,
    )
    assert copy.kind == ("sql" if text else "db" if url.startswith("sqlite") else "dump") + ((".gz" if text else ".zst") if compress else "")
    assert backup.verify_backup(copy.filename).rows == copy.rows
    change(url)
    assert contents(url) != before
    done = backup.restore_backup(copy.filename, safety_backup=False)
    assert contents(url) == before
    assert (done.filename, done.rows, done.safety_backup) == (copy.filename, copy.rows, "")
    _lives_on(url)


def _hidden(url: str) -> int:
    return 0 if url.startswith("sqlite") else 2  # in a schema of its own


def _lives_on(url: str) -> None:
    """Trigger, generated column, counter and foreign key work on."""
    run(url, "insert into invoice (id, net, supplier_id) values (999, 200, 1)")
    with contextlib.closing(Store(url)) as store, store.read() as tx:
        assert tx.scalar(sa.text("select total from invoice where id = 999")) == 230
        assert tx.scalar(sa.text("select line from journal order by id desc limit 1")) == "فاتورة 999"
    with pytest.raises((StoreError, sa.exc.SQLAlchemyError)):
        run(url, "insert into invoice (id, net, supplier_id) values (1000, 1, 12345)")


def test_a_restore_keeps_what_was_there_before_it(backup: DatabaseBackup, url: str, clock: FrozenClock) -> None:
    copy = backup.create_backup()
    change(url)
    changed = contents(url)
    clock.advance(5)
    done = backup.restore_backup(copy.filename)
    assert backup.get_backup(done.safety_backup).safety
    assert contents(url) != changed
    backup.restore_backup(done.safety_backup, safety_backup=False)
    assert contents(url) == changed


def test_an_empty_database_is_a_database(url: str, folder: Path, form: tuple[bool, bool]) -> None:
    run(url, "drop view owed", "drop table invoice", *(f'drop table "{name}"' for name in ("supplier", "journal", "price_version", "yard_version")))
    run(url, """drop table "رافعة "" ; '\"""", *([] if url.startswith("sqlite") else ['drop schema "أرشيف" cascade']))
    backup = manager(url, folder, text=form[0], compress=form[1])
    copy = backup.create_backup()
    assert (copy.rows, bool(backup.verify_backup(copy.filename))) == (0, True)
    run(url, "create table late (id integer)")
    backup.restore_backup(copy.filename)
    with pytest.raises((StoreError, sa.exc.SQLAlchemyError)):
        run(url, "select * from late")


def test_a_file_of_no_bytes_is_an_empty_sqlite_database(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "bare.db").touch()
    backup = manager(str(tmp_path / "bare.db"), folder)
    copy = backup.create_backup()
    assert backup.drill(), copy


@pytest.mark.parametrize(("text", "url"), [(False, "sqlite"), (True, "sqlite"), (False, "postgresql")], indirect=["url"])
def test_a_copy_is_one_state_while_others_write(made: Made, url: str, text: bool) -> None:
    run(url, "create table scale (side integer primary key, weight bigint)", "insert into scale values (1, 1000), (2, -1000)")
    over = threading.Event()
    moved: list[int] = []

    def write(number: int) -> None:
        store = Store(url, busy_timeout_seconds=60.0)
        while not over.is_set():
            with store.begin() as tx:
                for side, by in ((1, number), (2, -number)):
                    tx.execute(sa.text("update scale set weight = weight + :by where side = :side"), {"by": by, "side": side})
                tx.execute(sa.text("insert into journal (line) values ('كتابة')"))
            moved.append(number)
            over.wait(0.002)
        store.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in (1, 2)]
    backup = made(text=text, max_backups=20)
    for thread in threads:
        thread.start()
    try:
        copies = [backup.create_backup() for _ in range(2)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert moved
    assert len({one.filename for one in copies}) == 2
    for copy in copies:
        assert backup.verify_backup(copy.filename)
        backup.restore_backup(copy.filename, safety_backup=False)
        found = Store(url)
        with found.read() as tx:
            assert tx.scalar(sa.text("select sum(weight) from scale")) == 0
            assert tx.scalar(sa.text("select count(*) from journal")) > 0
        found.close()


def test_a_restore_while_the_application_is_at_work(backup: DatabaseBackup, url: str) -> None:
    before, copy = contents(url), backup.create_backup()
    run(url, "delete from journal")
    store = Store(url)
    with store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from journal")) == 0
    backup.restore_backup(copy.filename)
    assert contents(url) == before
    for _ in range(2):
        try:
            with store.begin() as tx:
                tx.execute(sa.text("insert into journal (line) values ('بعد')"))
            break
        except (StoreError, sa.exc.SQLAlchemyError):  # its old connection was ended
            continue
    assert len(contents(url)["journal"]) == len(before["journal"]) + 1
    store.close()


def test_a_hook_speaks_to_the_restored_database_before_it_is_live(made: Made, url: str) -> None:
    copy = made().create_backup()
    run(url, "delete from invoice")

    def failing(wrong: type[Exception]) -> Callable[[object], None]:
        def fail(tx: object) -> None:
            raise wrong("not this one")

        return fail

    for wrong in (RuntimeError, StoreError):
        with pytest.raises(wrong, match=r"^not this one$"):
            made(restored=[failing(wrong)]).restore_backup(copy.filename, safety_backup=False)
        assert contents(url)["invoice"] == [], wrong
    made(restored=[lambda tx: tx.execute(sa.text("insert into journal (line) values ('استعادة')"))]).restore_backup(copy.filename)
    assert ("استعادة") in [line for _, line in contents(url)["journal"]]
    assert len(contents(url)["invoice"]) == 40


def test_a_lost_database_comes_back(backup: DatabaseBackup, url: str, folder: Path) -> None:
    before, copy = contents(url), backup.create_backup()
    if url.startswith("sqlite"):
        for path in file_of(url).parent.glob(f"{file_of(url).name}*"):
            path.unlink()
    else:
        with plain(url, "postgres") as admin:
            admin.execute(f'drop database "{sa.make_url(url).database}" with (force)')
    with pytest.raises(BackupError):
        backup.create_backup()
    done = backup.restore_backup(copy.filename)
    assert (done.safety_backup, done.before) == ("", "")
    assert contents(url) == before


def test_another_kind_of_database_is_refused(backup: DatabaseBackup, url: str, folder: Path, sqlite_url: str, postgres_url: str) -> None:
    other = postgres_url if url.startswith("sqlite") else sqlite_url
    if other == sqlite_url:
        fill(other, 3)
    copy = backup.create_backup()
    elsewhere = manager(other, folder)
    for call in (elsewhere.restore_backup, elsewhere.verify_backup):
        with pytest.raises(BackupRefusedError, match=r"sqlite.*postgresql|postgresql.*sqlite"):
            call(copy.filename)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_files_are_for_their_owner_only(backup: DatabaseBackup, folder: Path) -> None:
    backup.create_backup()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_backup_that_is_not_there(backup: DatabaseBackup) -> None:
    for call in (backup.verify_backup, backup.restore_backup, backup.delete_backup, backup.pin, backup.get_backup, backup.path_of):
        with pytest.raises(BackupNotFoundError):
            call("backup_20250101_000000.db.zst")
        for name in ("../backup_20250101_000000.db", "backup_20250101_000000.db\n", "a/b_20250101_000000.db", "..", "", "backup_٢٠٢٥٠١٠١_000000.db"):
            with pytest.raises(ValueError, match="is no name of a backup"):
                call(name)


def test_rows_that_are_not_there_are_missed(backup: DatabaseBackup, folder: Path, url: str) -> None:
    copy = backup.create_backup().filename
    path = folder / f"{copy}.json"
    fields = msgspec.json.decode(path.read_bytes())
    fields["rows"]["invoice"] += 1
    path.write_bytes(msgspec.json.encode(fields))
    run(url, "delete from journal")
    found = backup.verify_backup(copy)
    assert (found.ok, "of invoice 40, not 41" in found.problem) == (False, True)
    with pytest.raises(BackupDamagedError, match="invoice"):
        backup.restore_backup(copy)
    assert contents(url)["journal"] == []
