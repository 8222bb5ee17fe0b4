"""The archive of files: what is in it comes out again, what moves while it is read breaks nothing, and nothing leads out of the folder."""

import gc
import io
import logging
import os
import socket
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rakiza.backup._attached import ARCHIVE, TOLD, Entry, Missed, attach, check, entries, extract, weight
from rakiza.backup._core import Attached
from rakiza.backup._streams import Pace, Sink, blocks
from rakiza.backup.errors import BackupDamagedError, BackupError, BackupRefusedError


def packed(path: Path, found: Iterable[Entry], pace: Pace | None = None) -> Attached:
    path.unlink(missing_ok=True)
    sink, pace = Sink(path, ARCHIVE), pace or Pace(None)
    pace.begin("files")
    try:
        return attach(path.name, sink, lambda _: found, pace)
    finally:
        sink.close()


def taken(path: Path, *roots: Path, left_out: Iterable[Path] = ()) -> Attached:
    path.unlink(missing_ok=True)
    sink, pace = Sink(path, ARCHIVE), Pace(None)
    pace.begin("files")
    return attach(path.name, sink, lambda missed: entries(roots, frozenset(left_out), missed), pace)


def inside(folder: Path) -> dict[str, object]:
    """Return what a folder holds: bytes of files, targets of links, nothing for folders."""
    found: dict[str, object] = {}
    for one in sorted(folder.rglob("*")):
        what = os.readlink(one) if one.is_symlink() else one.read_bytes() if one.is_file() else None
        found[str(one.relative_to(folder))] = what
    return found


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "مرفقات"
    (folder / "مشروع ١" / "فارغ").mkdir(parents=True)
    (folder / "مشروع ١" / "عقد الإنشاء.pdf").write_bytes(os.urandom(200_000))
    (folder / ("خ" * 120)).write_bytes(b"long name")
    (folder / "empty").touch()
    (folder / "twin").hardlink_to(folder / "empty")
    (folder / "inner").symlink_to("مشروع ١/عقد الإنشاء.pdf")
    (folder / "loop").symlink_to(".")
    return folder


def test_what_goes_in_comes_out(tmp_path: Path, uploads: Path) -> None:
    part = taken(tmp_path / "a", uploads, tmp_path / "none")
    assert (part.files, part.passed_over) == (6, 1)
    check(tmp_path / "a", part, blocks)
    done = extract(tmp_path / "a", blocks, tmp_path / "out")
    assert (done.files, done.passed_over) == (6, ())
    assert inside(tmp_path / "out" / "files" / str(uploads).lstrip("/")) == inside(uploads)


LETTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
NAMES = st.text(LETTERS, min_size=1, max_size=20).filter(lambda name: name not in {".", ".."})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25, deadline=None)
@given(tree=st.dictionaries(NAMES, st.binary(max_size=30_000), max_size=5))
def test_any_names_and_bytes_come_out(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]) -> None:
    base = tmp_path_factory.mktemp("tree")
    (base / "in").mkdir()
    for name, raw in tree.items():
        (base / "in" / name).write_bytes(raw)
    part = taken(base / "a", base / "in")
    extract(base / "a", blocks, base / "out")
    assert (inside(base / "out" / "files" / str(base / "in").lstrip("/")), part.files) == (inside(base / "in"), len(list((base / "in").iterdir())))


def test_names_that_are_no_text_and_files_that_hold_no_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    odd = os.fsdecode(b"\xff\xfe.txt")
    (folder / odd).write_bytes(b"odd")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        part = taken(tmp_path / "a", folder, Path(os.fsdecode(b"/nowhere/\xff")))
    assert (part.files, part.passed_over) == (1, 1)
    assert "/nowhere/\ufffd" in caplog.text
    extract(tmp_path / "a", blocks, tmp_path / "out")
    assert inside(tmp_path / "out" / "files" / str(folder).lstrip("/")) == {odd: b"odd"}


def test_what_is_left_out_is_not_in_it_and_a_root_may_be_a_link(tmp_path: Path, uploads: Path) -> None:
    (tmp_path / "link").symlink_to(uploads)
    part = taken(tmp_path / "a", tmp_path / "link", uploads / "empty", left_out=[uploads / "مشروع ١", uploads / "empty"])
    done = extract(tmp_path / "a", blocks, tmp_path / "out")
    assert (part.files, done.files) == (4, 4)
    found = inside(tmp_path / "out" / "files" / str(tmp_path).lstrip("/"))
    assert sorted(found) == ["link", "link/inner", "link/loop", "link/twin", "link/" + "خ" * 120]


class Meddling(Pace):
    """Do something to a file after its first bytes were read."""

    def __init__(self, act: object) -> None:
        super().__init__(None)
        self._acts = [act]

    def add(self, count: int) -> None:
        for act in self._acts:
            act()  # type: ignore[operator]
        self._acts = []
        super().add(count)


@pytest.mark.parametrize("what", ["shorter", "longer", "other", "gone"])
def test_a_file_that_changes_while_it_is_read_breaks_nothing(tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    file, after = tmp_path / "دفتر", tmp_path / "بعد"
    file.write_bytes(b"a" * 300_000)
    after.write_bytes(b"whole")

    def act() -> None:
        if what == "gone":
            file.unlink()
            return
        os.utime(file, (1, 1))
        with file.open("r+b") as opened:
            opened.truncate({"shorter": 100_000, "longer": 400_000, "other": 300_000}[what])
            opened.write(b"b")

    part = packed(tmp_path / "a", [Entry("one", file), Entry("gone", tmp_path / "none"), Entry("two", after)], Meddling(act))
    check(tmp_path / "a", part, blocks)
    extract(tmp_path / "a", blocks, tmp_path / "out")
    assert (tmp_path / "out" / "two").read_bytes() == b"whole"
    assert (tmp_path / "out" / "one").stat().st_size == 300_000
    assert (part.files, part.passed_over) == (2, 1 if what == "gone" else 2)  # who unlinks it takes nothing from who has it open
    assert "none is not in the backup as it is" in caplog.text
    assert ("changed while it was read" in caplog.text) == (what != "gone")


def test_a_file_that_is_replaced_by_a_pipe_or_a_link_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("سر")

    def found() -> Iterator[Entry]:
        (tmp_path / "x").touch()
        yield Entry("x", tmp_path / "x")
        (tmp_path / "x").unlink()
        (tmp_path / "x").symlink_to(tmp_path / "secret")
        yield Entry("y", tmp_path / "x")

    packed(tmp_path / "a", found())
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks(tmp_path / "a", ARCHIVE)))) as tar:
        assert [(one.name, one.issym()) for one in tar] == [("x", False), ("y", True)]


def test_only_some_are_named_and_all_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    part = packed(tmp_path / "a", [Entry(str(number), tmp_path / f"none{number}") for number in range(TOLD * 2)])
    with caplog.at_level(logging.WARNING):
        assert (part.files, part.passed_over) == (0, TOLD * 2)
    assert caplog.text.count("as it is:") == TOLD
    assert f"{TOLD * 2} files are not in" in caplog.text


def test_a_folder_nobody_may_list_is_said(tmp_path: Path) -> None:
    missed: list[str] = []
    found = entries([tmp_path / "in"], frozenset(), lambda name, _: missed.append(name))
    (tmp_path / "in" / "sub").mkdir(parents=True)
    names: list[str] = []
    for entry in found:
        names.append(entry.name)
        if entry.name.endswith("sub"):
            (tmp_path / "in" / "sub").rmdir()
    assert (len(names), missed) == (2, [str(tmp_path / "in" / "sub")])


def test_what_leads_out_of_the_folder_is_passed_over(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, kind, link in [
            ("../out.txt", tarfile.REGTYPE, ""), ("up", tarfile.SYMTYPE, "../.."), ("abs", tarfile.SYMTYPE, "/etc"), ("dev", tarfile.CHRTYPE, ""),
            ("hard", tarfile.LNKTYPE, "../secret"), ("good", tarfile.REGTYPE, ""),
        ]:  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
    sink = Sink(tmp_path / "a", ARCHIVE)
    sink.write(raw.getvalue())
    sink.finish()
    (tmp_path / "secret").write_text("سر")
    done = extract(tmp_path / "a", blocks, tmp_path / "in" / "out")
    assert (done.files, sorted(done.passed_over)) == (1, ["../out.txt", "abs", "dev", "hard", "up"])
    assert inside(tmp_path / "in") == {"out": None, "out/good": b""}


def test_nothing_is_written_over_and_a_half_one_is_taken_away(tmp_path: Path, uploads: Path) -> None:
    for number in range(4):
        (uploads / f"صورة {number}").write_bytes(os.urandom(1024 * 1024))
    part = taken(tmp_path / "a", uploads)
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "mine").write_text("لي")
    with pytest.raises(BackupRefusedError, match="holds files already"):
        extract(tmp_path / "a", blocks, tmp_path / "busy")
    assert inside(tmp_path / "busy") == {"mine": "لي".encode()}
    with pytest.raises(BackupError, match="cannot be taken out"):
        extract(tmp_path / "a", blocks, tmp_path / "busy" / "mine" / "deep")
    raw = (tmp_path / "a").read_bytes()
    for percent in range(0, 100, 9):
        (tmp_path / "a").write_bytes(raw[: len(raw) * percent // 100])
        with pytest.raises(BackupDamagedError):
            extract(tmp_path / "a", blocks, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        with pytest.raises(BackupDamagedError):
            check(tmp_path / "a", part, blocks)


def test_an_archive_that_holds_other_files_than_its_manifest_says(tmp_path: Path, uploads: Path) -> None:
    part = taken(tmp_path / "a", uploads)
    with pytest.raises(BackupDamagedError, match="holds 6 files where"):
        check(tmp_path / "a", msgspec.structs.replace(part, files=7), blocks)
    (tmp_path / "a").unlink()
    with pytest.raises(BackupDamagedError, match="is not there"):
        check(tmp_path / "a", part, None)


def alive() -> int:
    return sum(isinstance(one, tarfile.TarInfo) for one in gc.get_objects())


def test_a_million_files_would_not_stay_in_memory(tmp_path: Path) -> None:
    seen: list[int] = []

    def found() -> Iterator[Entry]:
        yield from (Entry(str(number), b"") for number in range(500))
        seen.append(alive())

    packed(tmp_path / "a", found())

    def read(path: Path, kind: str) -> Iterator[bytes]:
        yield from blocks(path, kind)
        seen.append(alive())

    extract(tmp_path / "a", read, tmp_path / "out")
    assert max(seen) < 50


def test_the_weight_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(1_000))
    nothing: Missed = lambda *_: None  # noqa: E731
    assert weight([Entry("b", b"12"), *entries([tmp_path / "x", tmp_path / "none"], frozenset(), nothing)]) == 1_002
