"""Searching backwards through live and rotated files, from cursor to cursor, and following a file that grows."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rakiza.logs import _search
from rakiza.logs._core import encoded
from rakiza.logs._search import Conditions, as_object, follow, scan
from rakiza.logs._writer import FileWriter

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL = Conditions([""], {})


def line(number: int, **fields: object) -> bytes:
    at = (START + timedelta(seconds=number)).isoformat()
    return encoded({"timestamp": at, "level": "INFO", "logger": "site", "message": f"صب {number}", "number": number} | fields) + b"\n"


def numbers(live: Path, wanted: Conditions = ALL, limit: int = 7) -> list[int]:
    """Page through everything."""
    found: list[int] = []
    cursor = ""
    for _ in range(10_000):
        page = scan(live, 1000, wanted, limit, cursor)
        found += [json.loads(one)["number"] for one in page.lines]
        if page.cursor is None:
            return found
        cursor = page.cursor
    raise AssertionError("no end")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    writer = FileWriter(tmp_path / "x.log", 4096, 1000)
    for number in range(300):
        writer.write(
            line(number, level=("INFO", "ERROR")[number % 10 == 0], logger=("site", "site.crane", "siteless")[number % 3], user_id=number % 4)
        )
        if number == 200:
            for _ in range(5):
                writer.compress()
    writer.close()
    assert list(tmp_path.glob("*.gz"))
    return tmp_path / "x.log"


def test_pages_follow_each_other_newest_first_without_gap(live: Path) -> None:
    assert numbers(live) == list(range(299, -1, -1))
    assert numbers(live, limit=500) == list(range(299, -1, -1))


def test_a_cursor_holds_while_files_rotate_and_are_packed(live: Path) -> None:
    writer = FileWriter(live, 4096, 1000)
    found: list[int] = []
    cursor: str | None = ""
    step = 1000
    while cursor is not None:
        page = scan(live, 1000, ALL, 13, cursor)
        found += [json.loads(one)["number"] for one in page.lines]
        cursor = page.cursor
        for _ in range(20):
            writer.write(line(step))
            step += 1
        writer.compress()
    assert found == list(range(299, -1, -1))


def test_a_cursor_of_a_file_that_is_gone_ends_the_search(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "x.log", 4096, 2)
    for number in range(60):
        writer.write(line(number))
    page = scan(tmp_path / "x.log", 2, ALL, 50)
    assert page.cursor
    for number in range(500):  # the numbers of the files are used again meanwhile
        writer.write(line(number))
    assert scan(tmp_path / "x.log", 2, ALL, 50, page.cursor).lines == []


def test_bounds_of_one_call(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_search, "MAX_SCANNED_BYTES", 1)
    page = scan(live, 1000, Conditions(["nowhere"], {}), 10)
    assert page.lines == []
    assert page.cursor
    assert numbers(live) == list(range(299, -1, -1))
    monkeypatch.setattr(_search, "MAX_SECONDS", -1.0)
    assert numbers(live) == list(range(299, -1, -1))


@pytest.mark.parametrize(
    ("texts", "fields", "right"),
    [
        (["صب 7"], {}, lambda n: str(n).startswith("7")),
        (["SITE.crane"], {}, lambda n: n % 3 == 1),
        ([""], {"level": "ERROR"}, lambda n: n % 10 == 0),
        ([""], {"level": "error,info"}, lambda n: True),
        ([""], {"logger": "site"}, lambda n: n % 3 < 2),
        ([""], {"user_id": "3"}, lambda n: n % 4 == 3),
        (["صب 10"], {"level": "ERROR", "logger": "site.crane"}, lambda n: n in {10, 100}),
        (['"'], {"level": "WARNING"}, lambda n: False),
    ],
)
def test_what_is_asked_for_is_found(live: Path, texts: list[str], fields: dict[str, str], right: Any) -> None:
    assert numbers(live, Conditions(texts, fields)) == [number for number in range(299, -1, -1) if right(number)]


def test_times_bound_a_search(live: Path) -> None:
    wanted = Conditions([""], {}, START + timedelta(seconds=100), START + timedelta(seconds=110))
    assert numbers(live, wanted) == list(range(110, 99, -1))


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(0, 300), max_size=40), block=st.integers(1, 200), limit=st.integers(1, 9), half=st.binary(max_size=30))
def test_any_lengths_of_lines_and_blocks(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], block: int, limit: int, half: bytes) -> None:
    live = tmp_path_factory.mktemp("x") / "x.log"
    live.write_bytes(b"".join(line(number, noise="ا" * length) for number, length in enumerate(lengths)) + half.replace(b"\n", b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_search, "BLOCK_BYTES", block)
        assert numbers(live, limit=limit) == list(range(len(lengths) - 1, -1, -1))


def test_a_line_without_end_and_foreign_files_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_search, "MAX_LINE_BYTES", 10_000)
    monkeypatch.setattr(_search, "BLOCK_BYTES", 1000)
    live = tmp_path / "x.log"
    live.write_bytes(line(1) + b"x" * 100_000 + b"\n" + line(2))
    (tmp_path / "x.log.1").write_bytes(b"\x1f\x8bno gzip at all")
    (tmp_path / "x.log.2.gz").write_bytes(gzip.compress(line(0)))
    (tmp_path / "x.log.3").write_bytes(b"\xff\xfe no json\n")
    assert [one for one in scan(live, 10, ALL, 100).lines if b"number" in one] == [line(2)[:-1], line(1)[:-1], line(0)[:-1]]
    assert json.loads(as_object(b"\xff\xfe no json")) == {"message": "�� no json"}


@pytest.mark.parametrize("cursor", ["x", "-1", "a-b", "a-٣", "a--1"])
def test_a_wrong_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        scan(tmp_path / "x.log", 1, ALL, 1, cursor)


def test_a_missing_file_holds_nothing(tmp_path: Path) -> None:
    assert scan(tmp_path / "x.log", 10, ALL, 10).lines == []


def test_following_goes_over_rotations_and_never_shows_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    place = follow(path, 100, None)[1]
    writer = FileWriter(path, 4096, 100)
    seen: list[int] = []

    def look() -> None:
        nonlocal place
        while True:
            lines, place = follow(path, 100, place)
            if not lines:
                return
            seen.extend(json.loads(one)["number"] for one in lines)

    for number in range(300):
        writer.write(line(number))
        if number in {0, 3, 10, 40, 41, 150, 270, 299}:  # several rotations between two looks
            look()
        if number in {100, 200, 210}:
            writer.compress()
    with path.open("ab") as other:
        other.write(line(999)[:40])
    look()
    late = follow(path, 100, None)[1]
    writer.write(line(300))
    look()
    assert seen == list(range(301))
    assert [json.loads(one)["number"] for one in follow(path, 100, late)[0]] == [300]
