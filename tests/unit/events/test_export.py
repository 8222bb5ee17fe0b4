"""The export and its standalone verifier: any changed byte is found without the program that wrote it."""

import ast
import base64
import contextlib
import io
import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trails
from rakiza.events import verifier
from rakiza.events._anchors import FileAnchor, ObjectAnchor
from rakiza.events._crypto import SigningSecret
from rakiza.events._notes import Signer
from rakiza.events._sealer import Sealer
from rakiza.events.errors import SealError
from rakiza.store import Store
from rakiza.testing import FrozenClock

KEY = base64.b64encode(bytes(range(32))).decode()
SIZES = (3, 4, 260, 300)


def sealed(store: Store, folder: Path, sizes: tuple[int, ...] = SIZES) -> Sealer:
    """Return the sealer of a history with anchors beside it."""
    anchors = [FileAnchor(folder / "notes"), ObjectAnchor((folder / "b").as_uri())]
    made = Sealer(store, Signer("audit.example.sa", key=KEY), FrozenClock(), anchors)
    for before, size in zip((0, *sizes), sizes, strict=False):
        trails.write(store, size - before)
        made.seal()
    return made


def verified(*arguments: object) -> tuple[int, str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = verifier.main([str(argument) for argument in arguments])
    return code, output.getvalue()


def by_itself(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the exported verifier as an auditor does, isolated from everything installed."""
    command = [sys.executable, "-I", "-S", str(folder / "verify.py"), *map(str, arguments)]  # by double click: nothing says which folder
    return subprocess.run(command, cwd="/", capture_output=True, encoding="utf-8", check=False, timeout=60)


def test_an_export_is_right_by_itself(store: Store, tmp_path: Path) -> None:
    made = sealed(store, tmp_path)
    trails.write(store, 5)
    out = tmp_path / "out"
    assert made.export(out) == (300, 0, 4)
    done = by_itself(out, "--anchor", tmp_path / "notes", "--anchor", tmp_path / "b", "--key", made.signer.public)
    assert (done.returncode, done.stderr) == (0, "")
    assert "RIGHT: 300 of 300 events, under 4 seals" in done.stdout
    assert "صحيح: الأحداث كما خُتمت" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["README.txt", "events.jsonl", "hashes.txt", "public_key.txt", "seals.jsonl", "verify.py"]
    rows = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    for row, event in zip(rows, trails.events(1, 300), strict=True):
        assert tuple(row.values())[:-1] == event  # the stored texts, JSON as strings


def test_a_part_is_verified_within_the_whole(store: Store, tmp_path: Path) -> None:
    made = sealed(store, tmp_path)
    since, until = trails.BEGIN + timedelta(seconds=100), trails.BEGIN + timedelta(seconds=280)
    assert made.export(tmp_path / "out", since, until) == (180, 120, 4)
    code, said = verified(tmp_path / "out")
    assert (code, "180 of 300 events" in said, "(180 من 300)" in said) == (0, True, True)
    assert made.export(tmp_path / "begin", until=until) == (279, 21, 4)
    assert verified(tmp_path / "begin")[0] == 0
    with pytest.raises(SealError, match="is not empty"):
        made.export(tmp_path / "out")
    with pytest.raises(ValueError, match="no time zone"):
        made.export(tmp_path / "naive", since.replace(tzinfo=None))


def test_an_empty_log_is_exported(store: Store, tmp_path: Path) -> None:
    assert Sealer(store, Signer("a", key=KEY)).export(tmp_path / "out") == (0, 0, 0)
    assert verified(tmp_path / "out")[0] == 0


def test_a_change_in_the_database_shows_in_the_export(store: Store, tmp_path: Path) -> None:
    made = sealed(store, tmp_path)
    trails.change(store, "update rakiza_events_event set user_id = 'other' where position = 77")
    trails.change(store, "delete from rakiza_events_event where position = 280")
    made.export(tmp_path / "out")
    done = by_itself(tmp_path / "out")
    assert done.returncode == 1
    assert "WRONG: events.jsonl:77: event 77 is not what was sealed" in done.stdout
    assert "الحدث 77 ليس كما خُتم" in done.stdout
    assert "events 261 to 300 do not give the signed root" in done.stdout


def test_a_history_cut_off_or_sealed_anew_is_found_by_an_anchor(store: Store, tmp_path: Path) -> None:
    made = sealed(store, tmp_path)
    for table, column, limit in (("event", "position", 4), ("seal", "size", 4), ("anchor", "size", 4), ("tile", "number", -1)):
        trails.change(store, f"delete from rakiza_events_{table} where {column} > ?", limit)
    again = Sealer(store, made.signer, FrozenClock())
    again.export(tmp_path / "cut")
    assert verified(tmp_path / "cut")[0] == 0
    code, text = verified(tmp_path / "cut", "--anchor", tmp_path / "notes")
    assert code == 1
    assert "the export ends before the 300 events sealed there" in text
    trails.change(store, "update rakiza_events_head set position = 4")
    trails.write(store, 296)
    trails.change(store, "update rakiza_events_event set user_id = 'other' where position = 200")
    again.seal()
    again.export(tmp_path / "anew")
    assert verified(tmp_path / "anew")[0] == 0
    code, text = verified(tmp_path / "anew", "--anchor", tmp_path / "b")
    assert code == 1
    assert "00000000000000000300.note: another history of the first 300 events" in text


def test_a_line_of_an_anchor_cut_short_by_a_crash_does_no_harm(exported: Path, tmp_path: Path) -> None:
    whole = (exported / "notes").read_bytes()
    lines = whole.splitlines(keepends=True)
    anchor = tmp_path / "notes"
    for kept, code in [
        (lines[0] + lines[1][:30] + b"\n" + b"".join(lines[1:]), 0),
        (lines[0] + lines[0] + b"".join(lines[1:]), 0),
        (lines[0] + lines[1][:30] + b"\n" + lines[2], 1),
        (whole + b'"', 1),
        (whole + b"\n", 1),
        (lines[0] + b"\n" + lines[1], 1),
        (whole[:-1], 1),
        (b"", 1),
    ]:
        anchor.write_bytes(kept)
        assert verified(exported / "whole", "--anchor", anchor)[0] == code, kept


def test_another_key_is_found(store: Store, tmp_path: Path) -> None:
    made = sealed(store, tmp_path, (3,))
    made.export(tmp_path / "out")
    other = Signer("audit.example.sa", key=base64.b64encode(b"x" * 32).decode()).public
    code, text = verified(tmp_path / "out", "--key", other)
    assert code == 1
    assert "seals.jsonl:1: no known key signed this text" in text


def test_what_cannot_be_read_has_a_code_of_its_own(store: Store, tmp_path: Path) -> None:
    assert by_made_up(tmp_path) == 2
    sealed(store, tmp_path, (3,)).export(tmp_path / "out")
    (tmp_path / "out" / "hashes.txt").unlink()
    assert verified(tmp_path / "out")[0] == 2
    assert "'no key' is not of the form" in verified(tmp_path / "out", "--key", "no key")[1]
    assert verified(tmp_path / "out", "--key", "no key")[0] == 2
    assert verified(tmp_path / "out", "--anchor", tmp_path / "nowhere")[0] == 2


def by_made_up(folder: Path) -> int:
    return verified(folder / "nothing")[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a whole export, one of a part, and an anchor."""
    folder = tmp_path_factory.mktemp("exported")
    store = Store(f"sqlite:///{folder / 'log.db'}")
    trails.make_tables(store)
    made = sealed(store, folder, (2, 3, 262))
    made.export(folder / "whole", until=trails.BEGIN + timedelta(seconds=12))
    made.export(folder / "part", trails.BEGIN + timedelta(seconds=255), trails.BEGIN + timedelta(seconds=261))
    store.close()
    return folder


PLACES = ["whole/events.jsonl", "part/events.jsonl", "whole/seals.jsonl", "part/hashes.txt", "notes", "whole/public_key.txt"]


@pytest.mark.parametrize("place", PLACES)
def test_any_changed_byte_is_found(exported: Path, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    raw = (exported / place).read_bytes()
    whole = folder / ("part" if "part" in place else "whole")
    assert verified(whole, "--anchor", folder / "notes")[0] == 0

    @settings(max_examples=15)
    @given(st.integers(0, len(raw) - 1), st.integers(1, 255))
    def change(at: int, difference: int) -> None:
        (folder / place).write_bytes(raw[:at] + bytes([raw[at] ^ difference]) + raw[at + 1 :])
        code, text = verified(whole, "--anchor", folder / "notes")
        assert code in {1, 2}
        assert "WRONG: " in text or "UNREADABLE: " in text

    change()


@pytest.mark.parametrize("name", ["events.jsonl", "seals.jsonl"])
def test_lines_taken_away_doubled_or_moved_are_found(exported: Path, tmp_path: Path, name: str) -> None:
    lines = (exported / "whole" / name).read_bytes().splitlines(keepends=True)
    assert verified(exported / "whole", "--anchor", exported / "notes")[0] == 0
    changed = [
        *(lines[:at] + lines[at + 1 :] for at in range(len(lines))),
        *([*lines[:at], lines[at], *lines[at:]] for at in range(len(lines))),
        *([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]] for at in range(len(lines) - 1)),
    ]
    for number, after in enumerate(changed):
        folder = tmp_path / str(number)
        shutil.copytree(exported / "whole", folder)
        (folder / name).write_bytes(b"".join(after))
        code, text = verified(folder, "--anchor", exported / "notes")
        assert (code, "WRONG" in text) == (1, True), number


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 63), st.integers(1, 255))
def test_signatures_are_judged_as_the_library_of_the_house_does(secret: bytes, message: bytes, at: int, change: int) -> None:
    signing = SigningSecret(secret)
    key = verifier.Key(str(Signer("a", key=base64.b64encode(secret).decode()).public))
    signature = signing.sign(message)
    assert key.signed(message, signature)
    assert not key.signed(message + b"x", signature)
    assert not key.signed(message, signature[:at] + bytes([signature[at] ^ change]) + signature[at + 1 :])
    assert not key.signed(message, signature[:63])
    # a second form of the same number is refused (RFC 8032, 5.1.7)
    second = int.from_bytes(signature[32:], "little") + verifier.ORDER
    assert not key.signed(message, signature[:32] + second.to_bytes(32, "little"))


def test_the_test_vectors_of_the_rfc() -> None:
    # RFC 8032, 7.1, TEST 3
    public = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    number = verifier.hashlib.sha256(b"a\n\x01" + public).digest()[:4].hex()
    assert verifier.Key(f"a+{number}+{base64.b64encode(chr(1).encode() + public).decode()}").signed(b"\xaf\x82", signature)


def test_the_verifier_stands_alone() -> None:
    tree = ast.parse(Path(verifier.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "argparse", "base64", "functools", "hashlib", "itertools", "json", "os", "sys", "typing"}
    later = {"removeprefix", "removesuffix", "bit_count", "pairwise"}
    assert not later & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
