"""A changed byte anywhere is found, and said where."""

import base64
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import servers
import trails
from rakiza.events import _verification
from rakiza.events._anchors import FileAnchor, ObjectAnchor
from rakiza.events._canonical import COLUMNS
from rakiza.events._notes import Signer
from rakiza.events._sealer import Sealer
from rakiza.store import Store
from rakiza.testing import FrozenClock

KEY = base64.b64encode(bytes(range(32))).decode()
SIZES = (1, 200, 256, 300, 530, 531)
"""Where the history of these tests is sealed: two full tiles and an edge."""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Yield a copy of the history of several seals, its two anchors in the folder of the test."""
    with trails.laid(request, tmp_path, f"history-{request.param}", write_history) as url:
        shutil.copytree(anchored(request.param), tmp_path, dirs_exist_ok=True)
        opened = Store(url)
        yield opened
        opened.close()


def anchored(dialect: str) -> Path:
    """Return the folder of the anchors of the history that is copied."""
    return servers.run_folder() / f"anchors-{dialect}"


def write_history(url: str) -> None:
    store = Store(url)
    trails.make_tables(store)
    made = sealer_of(store, anchored(store.dialect))
    for before, size in zip((0, *SIZES), SIZES, strict=False):
        trails.write(store, size - before)
        assert made.seal().size == size
    store.close()


def sealer_of(store: Store, folder: Path) -> Sealer:
    anchors = [FileAnchor(folder / "notes"), ObjectAnchor((folder / "b").as_uri())]
    return Sealer(store, Signer("audit.example.sa", key=KEY), FrozenClock(), anchors)


@pytest.fixture
def sealer(store: Store, tmp_path: Path) -> Sealer:
    """Return the sealer of the history."""
    return sealer_of(store, tmp_path)


def found(sealer: Sealer) -> list[tuple[str, int | None]]:
    report = sealer.verify()
    assert report.ok == (not report.findings)
    for finding in report.findings:
        assert finding.message_en.isascii()
        assert any("؀" <= letter <= "ۿ" for letter in finding.message_ar)
        assert "{" not in finding.message_en + finding.message_ar
    return [(finding.code, finding.position) for finding in report.findings]


def test_an_untouched_history_is_right(store: Store, sealer: Sealer) -> None:
    trails.write(store, 9)
    seen: list[tuple[int, int]] = []
    report = sealer.verify(lambda checked, total: seen.append((checked, total)))
    assert (report.ok, report.size, report.events, report.seals, report.findings) == (True, 531, 540, len(SIZES), [])
    assert report.root == sealer.last().root.hex()
    assert seen[-1] == (540, 540)


def test_an_empty_log_is_right(database_url: str) -> None:
    empty = Store(database_url)
    assert Sealer(empty, Signer("a", key=KEY)).verify().ok
    empty.close()


def other(column: str, value: object, dialect: str) -> object:
    """Return a value that differs as little as it can."""
    if column in {"version", "schema_version"}:
        return value + 100_000
    if column == "recorded_at":
        return str(value).replace(".000000", ".000001") if dialect == "sqlite" else value + timedelta(microseconds=1)
    if column == "event_id":
        text = str(value)
        return text[:-1] + ("0" if text[-1] != "0" else "1")
    if column in {"payload", "metadata"}:
        return str(value) + " "
    return "" if value is None else None if column in {"sealed", "user_id", "correlation_id", "causation_id", "tags"} else value + "\u200f"


PLACES = (1, 255, 256, 257, 513, 531)
"""Around the borders of the tiles."""


def test_any_changed_column_of_any_event_is_found(store: Store, sealer: Sealer) -> None:
    """Every column in a full tile and in the edge; every place around the borders for some columns."""
    cases = [(column, PLACES[at]) for number, column in enumerate(COLUMNS[1:]) for at in (number % 4, 4 + number % 2)]
    for column, position in cases:
        text = f"{column}::text" if store.dialect == "postgresql" and column in {"payload", "metadata", "event_id"} else column
        change = f"update rakiza_events_event set {column} = ? where position = ?"
        [(value,)] = trails.query(store, f"select {text} from rakiza_events_event where position = ?", position)
        assert trails.change(store, change, other(column, value, store.dialect), position) == 1
        # the stored hashes pin what lies in a full tile; in the edge it is the seal that does not fit
        wanted = ("event_changed", position) if position <= 512 else ("events_changed", 530 if position == 513 else 531)
        assert found(sealer) == [wanted], (column, position)
        trails.change(store, change, value, position)
    assert found(sealer) == []


def test_missing_events_are_found(store: Store, sealer: Sealer) -> None:
    missing: list[int] = []
    for position in (531, 520, 300, 1):
        trails.change(store, "delete from rakiza_events_event where position = ?", position)
        missing.insert(0, position)
        findings = sealer.verify().findings
        assert [(finding.code, finding.position) for finding in findings] == [("event_missing", one) for one in missing]
        assert findings[0].message_en == f"the events {position} to {position} are missing"


def test_a_missing_run_is_one_finding(store: Store, sealer: Sealer) -> None:
    trails.change(store, "delete from rakiza_events_event where position between 100 and 400")
    assert found(sealer) == [("event_missing", 100)]


def test_an_event_moved_elsewhere_is_found(store: Store, sealer: Sealer) -> None:
    trails.change(store, "update rakiza_events_event set position = 9000 where position = 7")
    assert found(sealer) == [("event_outside", 9000), ("event_missing", 7)]
    trails.change(store, "update rakiza_events_event set position = -1 where position = 9000")
    assert found(sealer) == [("event_outside", -1), ("event_missing", 7)]


def test_two_events_that_changed_places_are_found(store: Store, sealer: Sealer) -> None:
    for old, new in ((5, -5), (6, 5), (-5, 6)):
        trails.change(store, "update rakiza_events_event set position = ? where position = ?", new, old)
    assert found(sealer) == [("event_changed", 5), ("event_changed", 6)]


def test_gaps_behind_the_last_seal_are_found(store: Store, sealer: Sealer) -> None:
    trails.write(store, 20)
    trails.change(store, "delete from rakiza_events_event where position in (540, 551)")
    assert found(sealer) == [("event_missing", 540), ("event_missing", 551)]


def test_a_counter_set_back_or_ahead_is_found(store: Store, sealer: Sealer) -> None:
    trails.change(store, "update rakiza_events_head set position = 530")
    assert ("head_behind", 531) in found(sealer)
    trails.change(store, "update rakiza_events_head set position = 10000000")
    assert found(sealer) == [("event_missing", 532)]


@pytest.mark.parametrize("size", SIZES[::2])
def test_any_changed_column_of_any_seal_is_found(store: Store, sealer: Sealer, size: int) -> None:
    [(root, note, sealed_at)] = trails.query(store, "select root, note, sealed_at from rakiza_events_seal where size = ?", size)
    later = sealed_at.replace("00Z", "01Z") if isinstance(sealed_at, str) else sealed_at + timedelta(microseconds=1)
    other_root, other_note = bytes([root[0] ^ 1]) + root[1:], note.replace("time 2026", "time 2025")
    for column, value, changed in [("root", root, other_root), ("note", note, other_note), ("sealed_at", sealed_at, later)]:
        trails.change(store, f"update rakiza_events_seal set {column} = ? where size = ?", changed, size)
        assert found(sealer) == [("seal_signature" if column == "note" else "seal_changed", size)]
        trails.change(store, f"update rakiza_events_seal set {column} = ? where size = ?", value, size)
    trails.change(store, "update rakiza_events_seal set size = ? where size = ?", size + 1000, size)
    assert ("seal_changed", size + 1000) in found(sealer)


def test_a_missing_seal_is_found(store: Store, sealer: Sealer) -> None:
    trails.change(store, "delete from rakiza_events_seal where size = 256")
    assert ("seal_missing", 300) in found(sealer)
    assert ("anchor_seal", 256) in found(sealer)
    trails.change(store, "delete from rakiza_events_seal where size = 531")
    assert [code for code, size in found(sealer) if size == 531] == ["anchor_seal", "anchor_seal"]


def test_changed_stored_hashes_are_found_and_not_laid_on_the_event(store: Store, sealer: Sealer) -> None:
    [(hashes,)] = trails.query(store, "select hashes from rakiza_events_tile where number = 1")
    changed = hashes[:64] + bytes([hashes[64] ^ 1]) + hashes[65:]
    trails.change(store, "update rakiza_events_tile set hashes = ? where number = 1", changed)
    assert found(sealer) == [("tile_changed", 259)]
    trails.change(store, "update rakiza_events_event set user_id = 'other' where position = 9")
    assert found(sealer) == [("event_changed", 9), ("tile_changed", 259)]
    trails.change(store, "update rakiza_events_tile set hashes = ? where number = 1", hashes[:-1])
    assert found(sealer) == [("event_changed", 9), ("tile_missing", None)]


def test_missing_and_foreign_tiles_are_found(store: Store, sealer: Sealer) -> None:
    trails.change(store, "update rakiza_events_tile set number = 77 where number = 1")
    assert found(sealer) == [("tile_missing", None)]
    trails.change(store, "update rakiza_events_tile set number = 1 where number = 77")
    trails.change(store, "insert into rakiza_events_tile (level, number, hashes) values (1, 5, ?)", b"x")
    assert found(sealer) == [("tile_outside", None)]


def cut(store: Store, size: int) -> None:
    """Take the log back to a size, seals and tiles and all."""
    trails.change(store, "delete from rakiza_events_event where position > ?", size)
    trails.change(store, "delete from rakiza_events_seal where size > ?", size)
    trails.change(store, "delete from rakiza_events_anchor where size > ?", size)
    trails.change(store, "delete from rakiza_events_tile where number >= ?", size // 256)
    trails.change(store, "update rakiza_events_head set position = ?", size)


def without_anchors(sealer: Sealer) -> Sealer:
    return Sealer(sealer.log.store, sealer.signer, FrozenClock())


def test_only_an_anchor_tells_of_a_history_cut_off_at_a_seal(store: Store, sealer: Sealer) -> None:
    cut(store, 300)
    assert found(without_anchors(sealer)) == []
    codes = found(sealer)
    assert ("anchor_ahead", 531) in codes
    assert ("event_missing", 301) in codes


def test_only_an_anchor_tells_of_a_history_rewritten_and_sealed_again(store: Store, sealer: Sealer) -> None:
    cut(store, 300)
    trails.write(store, 230)
    trails.change(store, "update rakiza_events_event set user_id = 'other' where position = 400")
    again = without_anchors(sealer)
    assert again.seal().size == 530
    trails.write(store, 1)
    again.seal()
    assert found(again) == []
    assert [code for code in found(sealer) if code[0].startswith("anchor")] == [("anchor_differs", size) for size in (530, 530, 531, 531)]


def test_a_seal_of_another_key_is_found(store: Store, sealer: Sealer) -> None:
    other = Sealer(store, Signer("audit.example.sa", key=base64.b64encode(b"f" * 32).decode()), FrozenClock(), sealer.anchors[:0])
    trails.write(store, 5)
    other.seal()
    assert found(sealer) == [("seal_signature", 536)]


def test_damaged_and_unreachable_anchors_are_found(store: Store, sealer: Sealer, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"531", b"532"))
    assert [code for code, _ in found(sealer)] == ["anchor_unreadable", "anchor_lost"]
    path.write_bytes(whole[: whole.rindex(b'"audit')])
    assert found(sealer) == [("anchor_lost", 531)]
    path.unlink()
    path.mkdir()
    assert found(sealer) == [("anchor_unreadable", None)]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", ["update rakiza_events_event set payload = cast(payload as blob) where position = 3",
                                    "update rakiza_events_event set event_type = cast(x'ff41' as text) where position = 3",
                                    "update rakiza_events_event set version = 1.5 where position = 3",
                                    "update rakiza_events_event set payload = cast(payload as blob) where position = 520"])  # fmt: skip
def test_values_of_a_foreign_kind_are_found(store: Store, sealer: Sealer, change: str) -> None:
    trails.change(store, change)
    assert found(sealer) == [("event_damaged", 520 if "520" in change else 3)]


def test_findings_are_bounded(store: Store, sealer: Sealer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verification, "MAX_FINDINGS", 10)
    trails.change(store, "update rakiza_events_event set user_id = 'all' where position < 100")
    codes = found(sealer)
    assert len(codes) == 11
    assert codes[-1] == ("more", None)
    assert sealer.verify().findings[-1].message_en == "89 more findings"
