"""Sealing, anchoring and proofs, on both databases."""

import base64
import os
import threading
from functools import cache
from pathlib import Path

import pytest

import trails
from rakiza.events import AuditTrail, EventStore, _sealer
from rakiza.events._anchors import FileAnchor, ObjectAnchor
from rakiza.events._canonical import leaf_data
from rakiza.events._log import PAGE
from rakiza.events._merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from rakiza.events._notes import Signer
from rakiza.events._sealer import Sealer
from rakiza.events.errors import SealError
from rakiza.store import Store, StoreError
from rakiza.testing import FrozenClock

KEY = base64.b64encode(bytes(range(32))).decode()


def sealer(store: Store, *anchors: object, **given: object) -> Sealer:
    return Sealer(store, Signer("audit.example.sa", key=KEY), FrozenClock(), anchors, **given)  # type: ignore[arg-type]


@cache
def root(count: int) -> bytes:
    frontier = Frontier()
    frontier.extend(map(leaf, range(1, count + 1)))
    return frontier.root()


@cache
def leaf(position: int) -> bytes:
    return leaf_hash(leaf_data(trails.events(position, 1)[0]))


def test_nothing_is_sealed_of_nothing(store: Store) -> None:
    assert sealer(store).seal() is None
    assert sealer(store).last() is None


def test_seals_follow_the_log_and_name_the_one_before(store: Store) -> None:
    one = sealer(store)
    seals = []
    for count in (3, 1, 300, 600):
        trails.write(store, count)
        seals.append(one.seal())
        assert one.seal() is None
    assert [(seal.size, seal.root) for seal in seals] == [(size, root(size)) for size in (3, 4, 304, 904)]
    opened = [one.signer.open(seal.note) for seal in seals]
    assert [(note.size, note.root, note.previous) for note in opened] == [
        (seal.size, seal.root, before.root if before else b"") for seal, before in zip(seals, [None, *seals], strict=False)
    ]
    assert one.last() == seals[-1]
    assert trails.query(store, "select level, number from rakiza_events_tile order by 1, 2") == [(0, 0), (0, 1), (0, 2)]
    assert one.trouble is None


def test_another_process_goes_on_where_the_last_one_stood(store: Store) -> None:
    for count in (1, 255, 256, 700, 5):
        trails.write(store, count)
        made = sealer(store).seal()
        assert (made.size, made.root) == (size := made.size, root(size))


def test_of_two_that_seal_at_once_one_wins_and_the_chain_stays_whole(store: Store) -> None:
    trails.write(store, 10)
    many = [sealer(store) for _ in range(4)]
    barrier = threading.Barrier(5)
    made = []

    def run(one: Sealer) -> None:
        barrier.wait()
        made.extend(one.seal() for _ in range(15))

    threads = [threading.Thread(target=run, args=(one,)) for one in many]
    for thread in threads:
        thread.start()
    barrier.wait()
    for _ in range(10):
        trails.write(store, 37)
    for thread in threads:
        thread.join()
    many[0].seal()
    assert [one.trouble for one in many] == [None] * 4
    notes = [many[0].signer.open(note) for (note,) in trails.query(store, "select note from rakiza_events_seal order by size")]
    assert len([seal for seal in made if seal]) <= len(notes)
    assert [note.previous for note in notes] == [b"", *(note.root for note in notes[:-1])]
    assert (notes[-1].size, notes[-1].root) == (380, root(380))


def test_one_that_looked_too_early_does_not_break_the_chain(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    trails.write(store, 10)
    early, late = sealer(store), sealer(store)
    looked, sealed = threading.Event(), threading.Event()
    look, looks = early.log.last_seal, iter(range(9))

    def slow_look(driver: object) -> object:
        found = look(driver)
        if next(looks) == 1:  # the second look is the one in the transaction that writes
            looked.set()
            sealed.wait(1)
        return found

    monkeypatch.setattr(early.log, "last_seal", slow_look)

    def overtake() -> None:
        assert looked.wait(30)
        trails.write(store, 5)
        late.seal()
        sealed.set()

    thread = threading.Thread(target=overtake)
    thread.start()
    early.seal()
    thread.join()
    late.seal()
    notes = [late.signer.open(note) for (note,) in trails.query(store, "select note from rakiza_events_seal order by size")]
    assert [(note.size, note.previous) for note in notes] == [(10, b""), (15, root(10))]


def test_the_work_of_a_round_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sealer, "PAGES_PER_SEAL", 1)
    trails.write(store, PAGE + 10)
    one = sealer(store)
    assert [seal and seal.size for seal in (one.seal(), one.seal(), one.seal())] == [PAGE, PAGE + 10, None]
    assert one.last().root == root(PAGE + 10)


def test_a_gap_is_never_sealed_over(store: Store) -> None:
    trails.write(store, 10)
    trails.change(store, "delete from rakiza_events_event where position = 6")
    one = sealer(store)
    assert one.seal().size == 5
    assert one.seal() is None
    assert one.trouble == "seal: event 6 is missing though event 7 is there"


def test_a_damaged_event_is_not_sealed(store: Store) -> None:
    trails.write(store, 3)
    if store.dialect != "sqlite":
        with pytest.raises(Exception, match=r"invalid input|violates"):
            trails.change(store, "update rakiza_events_event set payload = ? where position = 2", "no json")
        return
    one = sealer(store)
    for change, why in [
        ("payload = cast(payload as blob)", "payload is stored as bytes, not as str"),
        ("payload = cast(x'22ff22' as text)", "'utf-8' codec can't encode character '\\udcff' in position 1: surrogates not allowed"),
    ]:
        trails.change(store, f"update rakiza_events_event set {change} where position = 1")
        assert one.seal() is None
        assert one.trouble == f"seal: event 1 is damaged: {why}"


def test_a_history_that_no_longer_fits_is_not_sealed_on(store: Store) -> None:
    trails.write(store, 10)
    sealer(store).seal()
    trails.write(store, 10)
    trails.change(store, "update rakiza_events_event set user_id = ? where position = 4", "nobody")
    one = sealer(store)
    assert one.seal() is None
    assert one.trouble == "seal: the log no longer gives the root of the seal over 10 events"


def test_seals_go_to_the_anchors(store: Store, tmp_path: Path) -> None:
    one = sealer(store, FileAnchor(tmp_path / "out" / "notes"), ObjectAnchor((tmp_path / "bucket").as_uri()))
    notes = []
    for _ in range(3):
        trails.write(store, 5)
        notes.append(one.seal().note)
        assert one.seal() is None
    assert [anchor.notes() for anchor in one.anchors] == [notes, notes]
    receipts = trails.query(store, "select size, name, receipt from rakiza_events_anchor order by size, name")
    assert [row[:2] for row in receipts] == [(size, name) for size in (5, 10, 15) for name in ("file", "objects")]
    assert receipts[1][2] == f"{(tmp_path / 'bucket').as_uri()}/00000000000000000005.note"
    assert one.trouble is None


def test_an_anchor_that_fails_is_tried_again_and_shown(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    one = sealer(store, FileAnchor(tmp_path / "out" / "notes"), FileAnchor(tmp_path / "second", "second"), anchor_every_seconds=3600)
    trails.write(store, 5)
    assert one.seal().size == 5
    assert one.trouble.startswith("file: ")
    assert len(one.anchors[1].notes()) == 1
    (tmp_path / "out").unlink()
    assert one.seal() is None
    assert one.trouble is None
    assert [len(anchor.notes()) for anchor in one.anchors] == [1, 1]


def test_anchoring_may_be_rarer_than_sealing(store: Store, tmp_path: Path) -> None:
    anchor, clock = FileAnchor(tmp_path / "notes"), FrozenClock()
    one = Sealer(store, Signer("a", key=KEY), clock, [anchor], anchor_every_seconds=60)
    for seconds in (0, 59, 1):
        clock.advance(seconds)
        trails.write(store, 1)
        one.seal()
    assert [one.signer.open(note).size for note in anchor.notes()] == [1, 3]


def test_an_object_is_never_written_over(tmp_path: Path) -> None:
    anchor = ObjectAnchor((tmp_path / "bucket").as_uri())
    assert anchor.put(7, "سجل") == anchor.put(7, "سجل")
    with pytest.raises(SealError, match="holds another history"):
        anchor.put(7, "other")
    assert anchor.notes() == ["سجل"]
    with pytest.raises(SealError, match="cannot be an anchor"):
        ObjectAnchor("gopher://x").put(1, "x")


def test_a_line_cut_short_by_a_crash_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    anchor = FileAnchor(path)
    anchor.put(1, "first\n")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:4])
    assert anchor.notes() == ["first\n", '"fir']
    anchor.put(1, "first\n")
    anchor.put(2, "second\n")
    assert anchor.notes() == ["first\n", "first\n", "second\n"]
    path.write_bytes(whole + b'"other\n' + whole)
    assert anchor.notes() == ["first\n", '"other', "first\n"]


def test_every_event_and_every_older_state_is_proven(store: Store) -> None:
    one = sealer(store)
    sizes = []
    for count in (1, 6, 250, 400):
        trails.write(store, count)
        sizes.append(one.seal().size)
    for position in (1, 7, 256, 257, 600, 657):
        found = one.inclusion(position)
        assert found.leaf == leaf_hash(leaf_data(trails.events(position, 1)[0]))
        assert verify_inclusion(found.leaf, position - 1, found.size, found.proof, root(657))
        assert one.signer.open(found.note).root == found.root
    for old in (*sizes, 300):
        proof = sealer(store).consistency(old, 657)
        assert (proof.old_root, proof.new_root) == (root(old), root(657))
        assert verify_consistency(old, 657, proof.proof, root(old), root(657))


def test_what_is_not_sealed_is_not_proven(store: Store) -> None:
    trails.write(store, 300)
    one = sealer(store)
    one.seal()
    trails.write(store, 1)
    for position in (-1, 0, 301, 999):
        with pytest.raises(SealError, match=f"event {position} is not sealed"):
            one.inclusion(position)
    with pytest.raises(SealError, match="sizes must rise"):
        one.consistency(5, 301)
    trails.change(store, "update rakiza_events_event set version = 900 where position = 9")
    with pytest.raises(SealError, match="event 9 is not what was sealed"):
        one.inclusion(9)
    trails.change(store, "delete from rakiza_events_tile")
    with pytest.raises(SealError, match="tile 0 of level 0 is missing"):
        one.inclusion(8)


def test_a_child_seals_though_its_parent_was_sealing_at_the_fork(store: Store) -> None:
    events = EventStore(store)
    events.trail = AuditTrail(events, sealer(store))
    with events.trail.sealing()._lock:
        child = os.fork()
        if not child:
            os._exit(0 if events.trail.sealing()._lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    events.close()


def test_a_database_that_cannot_be_written_is_the_sealers_trouble(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    trails.write(store, 3)
    one = sealer(store)

    def full() -> None:
        raise StoreError("the database is full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "begin", full)
        assert one.seal() is None
        assert one.trouble == "seal: the database is full"
    assert one.seal() is not None
    assert one.trouble is None
