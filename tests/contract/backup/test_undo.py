"""What an undo brings back is what was live before the newest restore, and nothing older."""

import contextlib
from pathlib import Path

import pytest
import sqlalchemy as sa

from backup_faults import manager, run
from rakiza.backup import BackupNotFoundError
from rakiza.store import Store


def state(url: str) -> str:
    with contextlib.closing(Store(url)) as store, store.read() as tx:
        return str(tx.scalar(sa.text("select v from t")))


def test_a_restore_that_kept_nothing_cannot_be_undone_into_an_older_one(sqlite_url: str, tmp_path: Path) -> None:
    run(sqlite_url, "create table t (v text)", "insert into t values ('أولى')")
    backup = manager(sqlite_url, tmp_path / "نسخ")
    first = backup.create_backup().filename
    run(sqlite_url, "update t set v = 'ثانية'")
    backup.restore_backup(first)
    kept = backup.undoable()
    assert kept is not None
    run(sqlite_url, "update t set v = 'ثالثة'")
    backup.restore_backup(first, safety_backup=False)
    assert backup.undoable() is None
    with pytest.raises(BackupNotFoundError, match="nothing to undo"):
        backup.undo()
    assert state(sqlite_url) == "أولى"
    backup.restore_backup(kept.filename)
    assert state(sqlite_url) == "ثانية", "by its name it can still be had"
    backup.undo()
    assert state(sqlite_url) == "أولى"
