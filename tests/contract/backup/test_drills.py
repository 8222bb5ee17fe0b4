"""Drills and their reports: whoever tried, however it went, and what they say of older backups."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from rakiza._kernel.ports import Ports, UnitOfWork
from rakiza.backup import BackupNotFoundError, DatabaseBackup, RetentionPolicy
from rakiza.backup._desk import Desk
from rakiza.backup._drills import FILE, KEPT, Drill, drills, report
from rakiza.store import Store
from rakiza.testing import FrozenClock


class Audited:
    """Remember what was recorded."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def record(self, event_type: str, action: str, resource: str, *_: object, tx: UnitOfWork | None = None) -> None:
        self.said.append((event_type, action, resource))


@pytest.fixture
def manager(tmp_path: Path, clock: FrozenClock) -> DatabaseBackup:
    with (store := Store(str(tmp_path / "app.db"))).begin() as tx:
        tx.execute(sa.text("create table invoice (name text)"))
        tx.execute(sa.text("insert into invoice values ('فاتورة')"))
    store.close()
    return DatabaseBackup(f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "نسخ", max_backups=100, clock=clock)


def rot(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_each_drill_is_reported_the_failed_ones_too(manager: DatabaseBackup, clock: FrozenClock) -> None:
    told: list[Drill] = []
    manager.drilled = told.append
    with pytest.raises(BackupNotFoundError):
        manager.drill()
    made = manager.create_backup()
    clock.advance(60)
    assert manager.drill()
    rot(manager.path_of(made.filename))
    clock.advance(60)
    assert not manager.drill()
    found = drills(manager.folder)
    assert [(one.filename, one.ok, one.rows) for one in found] == [(made.filename, False, 0), (made.filename, True, 1), ("", False, 0)]
    assert "SHA-256" in found[0].problem
    assert "no backup" in found[2].problem
    assert told == list(reversed(found))
    assert [one.at for one in told] == [clock.now() - timedelta(seconds=ago) for ago in (120, 60, 0)]


def test_older_backups_are_looked_at_in_turn_and_bit_rot_is_told(manager: DatabaseBackup, clock: FrozenClock) -> None:
    names = []
    for _ in range(4):
        names.append(manager.create_backup().filename)
        clock.advance(60)
    rot(manager.path_of(names[1]))
    problems = []
    for _ in range(4):
        clock.advance(60)
        problems.append(manager.drill().problem)
    assert [names[1] in problem for problem in problems] == [False, True, False, False], problems
    verified = {one.filename: one.verified_at for one in manager.list_backups()}
    assert verified[names[1]] is None, "it is no good one any more"
    assert min(at for at in verified.values() if at is not None) >= clock.now() - timedelta(seconds=180)


def test_a_drill_is_remembered_when_its_backup_has_gone(manager: DatabaseBackup, clock: FrozenClock) -> None:
    manager.policy = RetentionPolicy(last=1)
    first = manager.create_backup().filename
    assert manager.drilled_at() is None
    manager.drill()
    tried = clock.now()
    clock.advance(86_400)
    assert manager.create_backup().filename != first
    assert [one.drilled_at for one in manager.list_backups()] == [None]
    assert manager.drilled_at() == manager.get_backup_stats()["drilled_at"] == tried


def test_reports_are_bounded_and_cut_lines_harm_nothing(manager: DatabaseBackup, clock: FrozenClock) -> None:
    with manager.folder.working():
        for number in range(KEPT + 5):
            report(manager.folder, Drill(at=clock.now(), filename="", ok=True, rows=number))
    assert [one.rows for one in drills(manager.folder)] == list(range(KEPT + 4, 4, -1))
    path = manager.folder.path / FILE
    whole = path.read_bytes()
    for cut in range(len(whole) - 100, len(whole)):
        path.write_bytes(whole[:cut])
        assert len(drills(manager.folder)) in {KEPT - 2, KEPT - 1, KEPT}
    path.write_bytes(b'{"at": "yesterday"}\n\xff\xfe\n[]\n\n' + whole)
    assert len(drills(manager.folder)) == KEPT


def test_a_failed_drill_is_an_error_and_in_the_audit(manager: DatabaseBackup, caplog: pytest.LogCaptureFixture) -> None:
    ports = Ports()
    ports.audit = audited = Audited()
    name = manager.create_backup().filename
    desk = Desk(manager, ports)
    desk.drill()
    assert not caplog.records
    rot(manager.path_of(name))
    manager.drill()  # as the scheduler of an application without a job queue does
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert name in caplog.text
    assert audited.said == [("BACKUP_DRILLED", "DRILL", f"backup:{name}")] * 2
