"""What is told of the work at hand: to every process, and the truth after a kill."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from rakiza._kernel.ports import Ports, UnitOfWork
from rakiza.backup import BackupError, DatabaseBackup
from rakiza.backup._desk import PROGRESS, Desk, Running
from rakiza.backup.commands import Meter, bar
from rakiza.store import Store


class Audited:
    """Remember what was recorded."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []

    def record(
        self, event_type: str, action: str, resource: str, details: Mapping[str, object] | None = None, user_id: str | None = None, *,
        tx: UnitOfWork | None = None,
    ) -> None:  # fmt: skip
        self.said.append((event_type, action, resource))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    with (store := Store(str(tmp_path / "app.db"))).begin() as tx:
        tx.execute(sa.text("create table invoice (name text)"))
        tx.execute(sa.text("insert into invoice values (hex(randomblob(1500000)))"))
    store.close()
    ports = Ports()
    ports.audit = Audited()
    return Desk(DatabaseBackup(f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "نسخ", megabytes_a_second=3.0), ports)


def test_the_work_at_hand_is_seen_from_elsewhere_until_its_end(desk: Desk, tmp_path: Path) -> None:
    elsewhere = Desk(DatabaseBackup(f"sqlite:///{tmp_path / 'app.db'}", tmp_path / "نسخ"), Ports())
    assert (elsewhere.running(), elsewhere.last()) == (None, None)
    thread = threading.Thread(target=desk.create)
    thread.start()
    seen: list[Running] = []
    while thread.is_alive():
        if (found := elsewhere.running()) is not None:
            seen.append(found)
        time.sleep(0.02)
    thread.join()
    assert {one.what for one in seen} == {"backup"}
    assert any(one.percent is not None and 0 < one.done_bytes <= one.total_bytes for one in seen)
    assert elsewhere.running() is None
    last = elsewhere.last()
    assert last is not None
    assert (last.what, last.error) == ("backup", "")


def test_who_was_killed_is_not_at_work(desk: Desk, kill9: Callable[..., list[str]], tmp_path: Path) -> None:
    source = """
import sys
from rakiza._kernel.ports import Ports
from rakiza.backup import DatabaseBackup
from rakiza.backup._desk import Desk
desk = Desk(DatabaseBackup('sqlite:///' + sys.argv[1], sys.argv[2], megabytes_a_second=0.5), Ports())
desk.create(shown=lambda running: print(running.step, running.done_bytes, flush=True))
"""
    kill9(source, "copy", str(tmp_path / "app.db"), str(tmp_path / "نسخ"))
    assert (tmp_path / "نسخ" / PROGRESS).exists()
    assert desk.running() is None
    assert desk.create().filename
    assert not (tmp_path / "نسخ" / PROGRESS).exists()


def test_what_fails_is_counted_and_remembered_and_what_was_done_is_recorded(desk: Desk, tmp_path: Path) -> None:
    made = desk.manager.create_backup()  # as a program does
    desk.manager.pin(made.filename, True)
    desk.manager.pin(made.filename, False)
    assert desk.verify(made.filename)
    assert desk.drill()
    assert desk.restore(made.filename)
    (tmp_path / "نسخ" / made.filename).write_bytes(b"")
    assert not desk.verify(made.filename)
    with pytest.raises(BackupError, match="has 0 bytes"):
        desk.restore(made.filename)
    last = desk.last()
    assert last is not None
    assert (last.what, desk.failures) == ("restore", 1)
    assert "has 0 bytes" in last.error
    desk.manager.delete_backup(made.filename)
    audit = desk._ports.audit
    assert isinstance(audit, Audited)
    resource = f"backup:{made.filename}"
    assert audit.said == [
        ("BACKUP_CREATED", "CREATE", resource), ("BACKUP_PINNED", "PIN", resource), ("BACKUP_UNPINNED", "UNPIN", resource),
        ("BACKUP_VERIFIED", "VERIFY", resource), ("BACKUP_DRILLED", "DRILL", resource), ("BACKUP_RESTORED", "RESTORE", resource),
        ("BACKUP_VERIFIED", "VERIFY", resource), ("BACKUP_RESTORE_FAILED", "RESTORE", resource), ("BACKUP_DELETED", "DELETE", resource),
    ]  # fmt: skip


def test_a_bar_on_a_terminal_and_lines_in_a_pipe() -> None:
    half = Running(what="backup", step="copy", percent=50.0, done_bytes=2**20, total_bytes=2**21, seconds_left=3.0, filename=None)
    assert bar(half) == f"copy     [{'#' * 15}{'.' * 15}]  50.0 % of 2.0 MB, 3 s left"
    for terminal in (True, False):
        reading, writing = os.openpty() if terminal else os.pipe()
        with os.fdopen(writing, "w") as out:
            meter = Meter(out)
            meter(half)
            meter(half)
            meter.done()
            out.flush()
            said = os.read(reading, 4096).decode()
        os.close(reading)
        assert ("\r" in said, said.count("copy")) == ((True, 2) if terminal else (False, 1))
