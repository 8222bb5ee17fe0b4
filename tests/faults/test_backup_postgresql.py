"""PostgreSQL's programs and servers at their worst: missing or too old programs, secrets, limits, names, and clients that come back at once."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

import servers
from backup_faults import asides, contents, drop_left, fill, manager, plain, run
from rakiza._kernel import SYSTEM_CLOCK, token
from rakiza.backup import BackupNotFoundError, DatabaseBackup
from rakiza.backup._backends import postgresql as backend
from rakiza.backup.errors import BackupError, BackupRunningError
from rakiza.testing import FrozenClock

SECRET = "p:a\\s's w0rd-سر"
OLD = "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n"


@pytest.fixture
def url(postgres: servers.Postgres) -> Iterator[str]:
    with postgres.database(postgres.template("backup", fill)) as made:
        yield made
        left = asides(made)
        drop_left(made)
        assert left == []


@pytest.fixture
def backup(url: str, tmp_path: Path) -> DatabaseBackup:
    return manager(url, tmp_path / "نسخ")


def test_a_missing_or_old_program_is_said_with_the_package_that_has_it(
    backup: DatabaseBackup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: servers.Postgres
) -> None:
    copy = backup.create_backup()
    monkeypatch.setattr(os, "defpath", str(tmp_path / "bin"))
    monkeypatch.setattr(backend, "PLACES", ())
    for said in ("no pg_dump", "only pg_dump 9"):
        with pytest.raises(BackupError, match=said) as caught:
            backup.create_backup()
        assert "postgresql-client-" in str(caught.value.hint)
        with pytest.raises(BackupError, match="no pg_restore"):
            backup.restore_backup(copy.filename, safety_backup=False)
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "pg_dump").write_text(OLD)
        (tmp_path / "bin" / "pg_dump").chmod(0o755)
    assert [one.filename for one in backup.list_backups()] == [copy.filename]


def test_a_program_that_cannot_be_started_is_passed_over(backup: DatabaseBackup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "defpath", f"{tmp_path}{os.pathsep}{os.defpath}")
    (tmp_path / "pg_dump").write_text(OLD)
    (tmp_path / "pg_dump").chmod(0o644)
    assert backup.verify_backup(backup.create_backup().filename)


@pytest.mark.parametrize("text", [False, True])
def test_the_password_is_told_to_nobody(
    url: str, tmp_path: Path, text: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = sa.make_url(url).set(password=SECRET).render_as_string(hide_password=False)
    backup = manager(secret, tmp_path / "نسخ", text=text)
    found: list[str] = []
    with plain(url) as holder, holder.transaction():
        holder.execute("lock table invoice in access exclusive mode")  # pg_dump waits
        thread = threading.Thread(target=backup.create_backup)
        thread.start()
        dump = _program("pg_dump")
        found += [*dump.cmdline(), *(f"{name}={value}" for name, value in dump.environ().items())]
        file = Path(f"/proc/{dump.pid}/fd", Path(dump.environ()["PGPASSFILE"]).name)
        assert (file.stat().st_mode & 0o777, file.read_text()) == (0o600, "*:*:*:*:p\\:a\\\\s's w0rd-سر\n")
        assert str(file.readlink()).endswith(" (deleted)"), "whoever is killed leaves nothing behind"
    thread.join()
    name = backup.list_backups()[0].filename
    backup.restore_backup(name)
    run(url, "delete from journal")
    (backup.folder.path / name).write_bytes(b"")
    found += [backup.verify_backup(name).problem, (backup.folder.path / f"{name}.json").read_text()]
    broken = manager(secret.replace(f"/{sa.make_url(url).database}", "/missing"), tmp_path / "نسخ")
    with pytest.raises(BackupError) as caught:
        broken.create_backup()
    found += [repr(caught.value), str(caught.value), repr(broken), caplog.text, *capfd.readouterr()]
    assert not [part for part in found if "w0rd" in part]


def test_the_programs_sign_in_with_the_password(tmp_path: Path) -> None:
    cluster = servers.Cluster()
    cluster.start()
    try:
        with plain(cluster.url("postgres")) as admin:
            admin.execute("create database office")
        url = cluster.url("office")
        run(url, "create table t (v text)", "insert into t values ('قبل')")
        with plain(url) as admin:
            admin.execute(sql.SQL("alter role postgres password {}").format(SECRET))
        Path(cluster.data, "pg_hba.conf").write_text("local all all scram-sha-256\n")
        run(url, "select pg_reload_conf()")
        backup = manager(sa.make_url(url).set(password=SECRET).render_as_string(hide_password=False), tmp_path / "نسخ")
        assert backup.restore_backup(backup.create_backup().filename)
        with pytest.raises(BackupError):
            manager(sa.make_url(url).set(password="wrong").render_as_string(hide_password=False), tmp_path / "أخرى").create_backup()
    finally:
        cluster.stop()


def _program(name: str) -> psutil.Process:
    for _ in range(3_000):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.name() == name and child.environ().get("PGPASSFILE"):
                    return child
        threading.Event().wait(0.01)
    raise AssertionError(f"no {name} was started")


def test_limits_of_the_database_are_for_requests_and_not_for_backups(backup: DatabaseBackup, url: str) -> None:
    with plain(url) as admin:
        for limit in ("idle_in_transaction_session_timeout", "statement_timeout"):
            admin.execute(f'alter database "{sa.make_url(url).database}" set {limit} = 50')
    with plain(url) as holder, holder.transaction():
        holder.execute("set local idle_in_transaction_session_timeout = 0")
        holder.execute("lock table invoice in access exclusive mode")
        failed: list[BaseException] = []

        def work() -> None:
            try:
                backup.create_backup()
            except BackupError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        threading.Event().wait(0.5)
    thread.join()
    assert failed == []
    assert backup.drill()


@pytest.mark.parametrize("name", ["مشروع 100% " + "ن" * 15, "A a\"b'c;d" + "x" * 51])
def test_odd_names_of_databases(postgres: servers.Postgres, tmp_path: Path, name: str) -> None:
    with plain(postgres.url("postgres")) as admin:
        admin.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))
    url = sa.make_url(postgres.url("postgres")).set(database=name).render_as_string(hide_password=False)
    try:
        fill(url, 3)
        before, backup = contents(url), manager(url, tmp_path / "نسخ")
        copy = backup.create_backup().filename
        assert backup.verify_backup(copy)
        run(url, "delete from journal")
        done = backup.restore_backup(copy)
        assert contents(url) == before
        assert len(done.before.encode()) <= 63
        assert asides(url) == []
    finally:
        drop_left(url)
        with plain(postgres.url("postgres")) as admin:
            admin.execute(psycopg.sql.SQL("drop database if exists {} with (force)").format(psycopg.sql.Identifier(name)))


def test_clients_that_come_back_at_once_do_not_keep_a_restore_out(backup: DatabaseBackup, url: str) -> None:
    copy, before = backup.create_backup().filename, contents(url)
    run(url, "delete from journal")
    over = threading.Event()
    strange: list[str] = []

    def insist() -> None:
        while not over.is_set():
            try:
                with plain(url) as connection:
                    while not over.wait(0.001):
                        connection.execute("select count(*) from journal")
            except psycopg.OperationalError as error:
                if "not currently accepting" in str(error):
                    strange.append(str(error))

    threads = [threading.Thread(target=insist) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        done = backup.restore_backup(copy)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert contents(url) == before
    assert strange == []
    assert backup.undo().filename == done.before
    assert contents(url)["journal"] == []


def test_the_restored_database_is_what_the_live_one_was(postgres: servers.Postgres, tmp_path: Path) -> None:
    name, role, reader = (f"{what}{token(32).lower().replace('-', 'x').replace('_', 'x')}" for what in ("مبيعات", "owner", "reader"))
    with plain(postgres.url("postgres")) as admin:
        admin.execute(f"create role {role}")
        admin.execute(f"create role {reader}")
        for statement in (
            f"create database \"{name}\" template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C' owner {role} connection limit 40",
            f"alter database \"{name}\" set search_path to \"$user\", 'أرشيف', public",
            f'alter database "{name}" set statement_timeout to 45000',
            f"alter role {reader} in database \"{name}\" set application_name to 'it''s \\ a reader'",
            f'revoke connect on database "{name}" from public',
            f'grant connect on database "{name}" to {reader} with grant option',
            f"comment on database \"{name}\" is 'قاعدة O''Brien'",
        ):
            admin.execute(statement)
    url = sa.make_url(postgres.url("postgres")).set(database=name).render_as_string(hide_password=False)
    try:
        fill(url, 3)
        before, backup = likeness(url), manager(url, tmp_path / "نسخ")
        copy = backup.create_backup().filename
        run(url, "delete from journal")
        backup.restore_backup(copy)
        assert likeness(url) == before
        found = backup.undoable()
        assert found is not None
        backup.undo()
        assert likeness(url) == before
        assert contents(url)["journal"] == []
        backup.undo()
        assert contents(url)["journal"] != []
        assert backup.undoable() != found
    finally:
        drop_left(url)
        with plain(postgres.url("postgres")) as admin:
            admin.execute(f'drop database if exists "{name}" with (force)')
            admin.execute(f"drop role {reader}")
            admin.execute(f"drop role {role}")


def likeness(url: str) -> list[object]:
    """Return what a database has beside its tables."""
    query = (
        "select pg_encoding_to_char(encoding), datcollate, datctype, datdba::regrole::text, datconnlimit, shobj_description(d.oid, 'pg_database'),"
        " (select array_agg(r::text order by r::text) from aclexplode(datacl) r), datallowconn,"
        " (select array_agg(setrole::regrole::text || setconfig::text order by 1) from pg_db_role_setting where setdatabase = d.oid)"
        " from pg_database d where datname = current_database()"
    )
    with plain(url) as connection:
        return list(connection.execute(query).fetchone() or ())


def test_what_was_before_is_known_by_its_database(backup: DatabaseBackup, url: str, tmp_path: Path) -> None:
    assert backup.undoable() is None
    with pytest.raises(BackupNotFoundError, match="nothing to undo"):
        backup.undo()
    copy = backup.create_backup().filename
    done = backup.restore_backup(copy, safety_backup=False)
    found = backup.undoable()
    assert found is not None
    assert found.filename == done.before
    twin = sa.make_url(url).set(database=f"{sa.make_url(url).database}_twin").render_as_string(hide_password=False)
    assert manager(twin, tmp_path / "توأم").undoable() is None


def test_two_restores_at_once_from_two_folders(backup: DatabaseBackup, url: str, tmp_path: Path) -> None:
    other = manager(url, tmp_path / "أخرى")
    names, before, ends = [backup.create_backup().filename, other.create_backup().filename], contents(url), []
    run(url, "delete from journal")

    def work(who: DatabaseBackup, name: str) -> None:
        try:
            who.restore_backup(name, safety_backup=False)
            ends.append("restored")
        except BackupError as error:
            ends.append(f"refused {error}")

    threads = [threading.Thread(target=work, args=pair) for pair in zip((backup, other), names, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "restored" in ends
    assert contents(url) == before


def test_two_at_once_in_one_folder(backup: DatabaseBackup, url: str, tmp_path: Path) -> None:
    other = manager(url, tmp_path / "نسخ")
    with plain(url) as holder, holder.transaction():
        holder.execute("lock table invoice in access exclusive mode")
        thread = threading.Thread(target=backup.create_backup)
        thread.start()
        _dump()
        for call in (other.create_backup, other.drill, lambda: other.pin("backup_20260101_000000.dump")):
            with pytest.raises(BackupRunningError, match="at work"):
                call()
        assert other.list_backups() == []
    thread.join()
    assert len(other.list_backups()) == 1


def _dump() -> None:
    for _ in range(3_000):
        with contextlib.suppress(psutil.Error):
            if any(child.name() == "pg_dump" and "--no-password" in child.cmdline() for child in psutil.Process().children(recursive=True)):
                return
        threading.Event().wait(0.01)
    raise AssertionError("no pg_dump was started")


def test_what_a_killed_process_left_is_dropped_and_nothing_else(backup: DatabaseBackup, url: str) -> None:
    name = sa.make_url(url).database
    left = [f"{name}_{what}_20260101000000_ab_1" for what in ("check", "new")]
    others = [f"{name}_before_20260101000000_ab_1", f"{name}_new", f"{name}_check_2026", f"x{name}_new_20260101000000_ab_1"]
    with plain(url, "postgres") as admin:
        for made in (*left, *others):
            admin.execute(f'create database "{made}"')
        held = admin.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [left[0]])
        assert held.fetchone()
        backup.create_backup()
        query = "select datname from pg_database where strpos(datname, %s) > 0 and datname <> %s"
        assert {found for (found,) in admin.execute(query, [name, name])} == {left[0], *others}  # one is another process's, which lives
    backup.create_backup()
    with plain(url, "postgres") as admin:
        assert {found for (found,) in admin.execute(query, [name, name])} == set(others)
        for made in others:
            admin.execute(f'drop database "{made}"')


def test_the_databases_of_before_go_in_time_and_never_the_newest_or_one_in_use(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = FrozenClock(SYSTEM_CLOCK.now())
    backup = manager(url, tmp_path / "نسخ", clock=clock)
    copy = backup.create_backup().filename
    with plain(url, "postgres") as admin:
        stranger = f"{sa.make_url(url).database}_before_20200101000000_x"  # named alike, and no restore put it aside
        admin.execute(f'create database "{stranger}"')
        put = {backup.restore_backup(copy, safety_backup=False).before for _ in range(3)}
        backup.create_backup()
        oldest, _, newest = (one.filename for one in backup.put_aside())
        assert {one.filename for one in backup.put_aside()} == put, "each stays for a day"
        clock.advance(25 * 3600)
        admin.execute(f"alter database {oldest} allow_connections true")
        with plain(url, oldest):
            backup.create_backup()
            assert [one.filename for one in backup.put_aside()] == [oldest, newest]
        assert "could not be dropped" in caplog.text
        backup.create_backup()
        assert [one.filename for one in backup.put_aside()] == [newest]
        assert contents(url)
        admin.execute(f'drop database "{stranger}"')


def test_a_server_that_is_away(tmp_path: Path) -> None:
    backup = manager(f"postgresql://rakiza:{SECRET.replace(':', '%3A')}@127.0.0.1:{servers.free_port()}/noufal", tmp_path / "نسخ")
    with pytest.raises(BackupError, match="cannot be reached") as caught:
        backup.create_backup()
    assert "w0rd" not in str(caught.value)
    assert backup.list_backups() == []
