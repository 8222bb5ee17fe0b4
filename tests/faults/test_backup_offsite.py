"""Other places that are down, frozen or cut off, a process killed while it sends, and how much memory a large backup takes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import object_stores
import servers
from backup_faults import fill
from object_stores import Buckets
from patience import until
from rakiza import Platform, build
from rakiza.backup._place import OffsiteStore
from rakiza.store import Store

Process = Callable[..., servers.Child]
SEND = """
import sys, time
from rakiza.backup import DatabaseBackup
from rakiza.backup._streams import Pace
real = Pace.add
def add(pace, count):
    real(pace, count)
    if pace._step == "send" and pace._done > int(sys.argv[4]):
        print("sending")
        time.sleep(600)
Pace.add = add
backup = DatabaseBackup(sys.argv[1], sys.argv[2], offsite=[sys.argv[3]], compress=False)
print([one.state for one in backup.create_backup().copies])
"""
MEMORY = """
import hashlib, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from rakiza.backup._core import Manifest
from rakiza.backup._folder import Folder
from rakiza.backup._place import OffsiteStore
from rakiza.backup._streams import Pace, digest_of
place, here, there = OffsiteStore(sys.argv[1]), Folder(Path(sys.argv[2]) / "here"), Folder(Path(sys.argv[2]) / "there")
here.path.mkdir()
def take(name, size):
    with (here.path / name).open("wb") as file:
        file.truncate(size)
    now, digest = datetime.now(UTC), digest_of(here.path / name)
    made = Manifest(file=name, engine="sqlite", kind="db", created_at=now, size=size, sha256=digest, raw_size=size, rows={}, schema={})
    place.keep(here.path, made, Pace(None))
    with there.working():
        place.fetch(there, name, Pace(None), now)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
base = take("backup_20260101_000000.db", 1024 * 1024)
print("kB", base, take("backup_20260102_000000.db", int(sys.argv[3]) * 1024 * 1024) - base)
"""
LARGE = {"file": 60, "s3": 40}
"""Megabytes: the server that speaks S3 takes them slowly."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return servers.sqlite_copy(tmp_path / "مشروع.db", "backup", fill)


@pytest.fixture
def own() -> Iterator[object_stores.Server]:
    """Yield an S3 server of the test's own, not started yet, to freeze and kill."""
    server = object_stores.start_s3(begin=False)
    yield server
    server.thaw()
    server.kill()


def platform_of(home: Path, url: str, place: str) -> Platform:
    return build({
        "hub": {"home": home, "name": "نوفل"}, "store": {"database_url": url}, "logs": {"console": False},
        "jobs": {"backoff_seconds": 0.05, "backoff_max_seconds": 0.2}, "backup": {"offsite": (place,), "offsite_timeout_seconds": 1.0},
    })  # fmt: skip


def states(platform: Platform) -> list[str]:
    return [copy.state for one in platform.backups.list_backups() for copy in one.copies]


def test_jobs_go_on_until_a_place_that_was_down_and_frozen_has_all(
    own: object_stores.Server, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in object_stores.S3_KEYS.items():
        monkeypatch.setenv(name, value)
    place = Buckets(own.endpoint).url("backups", "نوفل")
    platform = platform_of(tmp_path, url, place)
    platform.start()
    try:
        assert [one.state for one in platform.backups.create_backup().copies] == ["waiting"]
        until(lambda: platform.backups.offsite.standing()[0].error)
        assert (states(platform), platform.backups.offsite.standing()[0].waiting) == (["waiting"], 1)
        own.start()
        Buckets(own.endpoint).client.create_bucket(Bucket="backups")
        until(lambda: states(platform) == ["ok"])
        own.freeze()
        platform.backups.create_backup("second")  # nobody waits for the place
        until(lambda: platform.backups.offsite.standing()[0].error)
        own.thaw()
        until(lambda: states(platform) == ["ok", "ok"])
        assert len(OffsiteStore(place).list()) == 2
        assert platform.backups.offsite.standing()[0].error == ""
    finally:
        own.thaw()
        platform.shutdown()


def test_killed_while_it_sends_nothing_half_is_listed_and_the_next_one_takes_both(
    python_process: Process, place_url: str, url: str, tmp_path: Path
) -> None:
    grow(url, 12)
    place = OffsiteStore(place_url)
    child = python_process(SEND, url, str(tmp_path / "نسخ"), place_url, "6000000")
    child.wait_for("sending")
    child.kill9()
    assert place.list() == []
    done = python_process(SEND, url, str(tmp_path / "نسخ"), place_url, str(2**60))
    assert done.finish()[-1] == "['ok']"
    assert len(place.list()) == 2
    assert place.folder is None or len(list(place.folder.iterdir())) == 4  # the half file of before is gone


def grow(url: str, megabytes: int) -> None:
    """Fill a database with what cannot be packed."""
    store = Store(url)
    with store.begin() as tx:
        tx.connection.exec_driver_sql("create table if not exists scan (page blob, name text)")
        for _ in range(megabytes):
            tx.connection.exec_driver_sql("insert into scan values (?, ?)", (os.urandom(1024 * 1024), "مخطط الدور الأرضي"))
    store.close()


@pytest.mark.parametrize("place_url", ["folder", "s3"], indirect=True)
def test_the_memory_a_copy_takes_does_not_grow_with_it(python_process: Process, place_url: str, tmp_path: Path) -> None:
    child = python_process(MEMORY, place_url, str(tmp_path), str(LARGE[place_url.partition(":")[0]]))
    _, base, more = child.wait_for("kB", timeout_seconds=200).split()
    assert int(more) < 32 * 1024, f"a base of {base} kB grew by {more} kB"
