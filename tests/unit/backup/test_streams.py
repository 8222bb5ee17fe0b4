"""What flows into a backup flows out again, or the stream says that it was cut."""

import fcntl
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rakiza.backup._core import Progress
from rakiza.backup._streams import BLOCK, Pace, Sink, blocks, digest_of, widen
from rakiza.backup.errors import BackupDamagedError

KINDS = ("db", "db.zst", "dump.zst", "sql", "sql.gz")
PACKED = ("db.zst", "sql.gz")


def written(path: Path, kind: str, pieces: list[bytes]) -> Sink:
    path.unlink(missing_ok=True)
    sink = Sink(path, kind)
    for piece in pieces:
        sink.write(piece)
    assert sink.finish() == digest_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    return sink


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pieces=st.lists(st.binary(max_size=5_000), max_size=20))
def test_bytes_come_back(tmp_path: Path, kind: str, pieces: list[bytes]) -> None:
    path = tmp_path / "نسخة"
    sink = written(path, kind, pieces)
    assert b"".join(blocks(path, kind)) == b"".join(pieces)
    assert (sink.raw_size, sink.size) == (sum(map(len, pieces)), path.stat().st_size)


@pytest.mark.parametrize("kind", PACKED)
def test_a_stream_cut_anywhere_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "cut"
    written(path, kind, [hashlib.sha256(str(number).encode()).digest() * 3 for number in range(300)])
    raw = path.read_bytes()
    for length in (*range(1, 40), *range(40, len(raw), 97), *range(len(raw) - 30, len(raw))):
        path.write_bytes(raw[:length])
        with pytest.raises(BackupDamagedError, match="cut"):
            list(blocks(path, kind))


@pytest.mark.parametrize("kind", PACKED)
def test_a_turned_bit_is_an_error(tmp_path: Path, kind: str) -> None:
    path, plain = tmp_path / "bit", [hashlib.sha256(str(number).encode()).digest() * 3 for number in range(300)]
    written(path, kind, plain)
    raw, missed = path.read_bytes(), 0
    for place in range(0, len(raw), 61):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 4]) + raw[place + 1 :])
        try:
            missed += b"".join(blocks(path, kind)) != b"".join(plain)
        except BackupDamagedError:
            continue
    assert missed == 0


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("قائم")
    with pytest.raises(FileExistsError):
        Sink(tmp_path / "x", "db")
    assert (tmp_path / "x").read_text() == "قائم"


def test_progress_is_told_at_the_begin_and_not_for_every_block() -> None:
    told: list[Progress] = []
    pace = Pace(told.append)
    pace.begin("copy", 10_000)
    for _ in range(10_000):
        pace.add(1)
    assert (told[0].step, told[0].done_bytes, told[0].total_bytes) == ("copy", 0, 10_000)
    assert len(told) < 5_000
    assert [one.done_bytes for one in told] == sorted(one.done_bytes for one in told)


def test_a_pipe_is_widened_and_what_is_no_pipe_is_left(tmp_path: Path) -> None:
    end, begin = os.pipe()
    with os.fdopen(end, "rb") as reader, os.fdopen(begin, "wb", 0) as writer, (tmp_path / "ملف").open("wb") as file:
        before = fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ)
        widen(writer)
        assert fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) == BLOCK > before
        widen(file)
        widen(None)
