"""Verify a sealed log: every leaf anew from its event, every tile, every seal and the link to the one before, the numbers, the anchors."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec

from rakiza.errors import AppError

from ._anchors import Anchor
from ._canonical import leaf_data
from ._log import PAGE, Seal, StoredLog
from ._merkle import HASH_BYTES, TILE, TILE_HEIGHT, Frontier, Tile, leaf_hash, split
from ._notes import Checkpoint, Signer

MAX_FINDINGS = 200
UNKNOWN = bytes(HASH_BYTES)
Progress = Callable[[int, int], object]
Mark = tuple[int, int, int, Seal | Checkpoint, str]
"""A size at which the root is known: by a seal, or by the checkpoint of an anchor of some name."""

MESSAGES = {
    "event_changed": ("event {position} is not what was sealed", "الحدث {position} ليس كما خُتم"),
    "event_missing": ("the events {position} to {last} are missing", "الأحداث من {position} إلى {last} مفقودة"),
    "event_damaged": ("event {position} is damaged: {what}", "الحدث {position} تالف: {what}"),
    "event_outside": ("event {position} stands outside the log, which ends at {last}", "الحدث {position} خارج السجل الذي ينتهي عند {last}"),
    "events_changed": ("something among events {first} to {position} is not what was sealed", "بين الحدثين {first} و{position} شيء ليس كما خُتم"),
    "head_behind": ("the counter stands at {last}, before {position} sealed events", "العداد عند {last} قبل {position} من الأحداث المختومة"),
    "tile_changed": ("the stored hash of event {position} (tile {what}) was changed", "البصمة المخزنة للحدث {position} (اللوح {what}) معدلة"),
    "tile_missing": ("the stored hashes {what} are missing or damaged", "البصمات المخزنة {what} مفقودة أو تالفة"),
    "tile_outside": ("{what} stored tiles of hashes belong to no sealed events", "عدد {what} من ألواح البصمات لا يخص أحداثا مختومة"),
    "seal_changed": ("the seal over {position} events: its {what} is not what was signed", "الختم على {position} حدث: قيمة {what} ليست كما وُقعت"),
    "seal_signature": ("the seal over {position} events: {what}", "الختم على {position} حدث: توقيعه غير صحيح أو غير معروف ({what})"),
    "seal_missing": ("a seal before the one over {position} events is missing", "ختم سابق للختم على {position} حدث مفقود"),
    "anchor_differs": ("rewritten: anchor {what} has other {position} events", "أعيدت الكتابة: المرساة {what} تعرف غير هذا لأول {position} حدث"),
    "anchor_ahead": ("cut off: anchor {what} knows {position} sealed events", "قُطع آخر السجل: المرساة {what} تعرف {position} حدثا مختوما"),
    "anchor_seal": ("the seal over {position} events is missing; anchor {what} knows it", "الختم على {position} حدث مفقود والمرساة {what} تعرفه"),
    "anchor_lost": ("the anchor {what} lacks the checkpoint over {position} events", "المرساة {what} تنقصها نقطة التحقق على {position} حدث"),
    "anchor_unreadable": ("the anchor {what}", "تعذرت قراءة المرساة {what}"),
    "more": ("{what} more findings", "{what} من النتائج الأخرى"),
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where: the position of an event, or the size of a seal."""

    code: str
    position: int | None
    message_en: str
    message_ar: str


class Report(msgspec.Struct, frozen=True):
    """Say whether the log is what was sealed: `size` events under `root` (hex), `events` and `seals` looked at."""

    ok: bool
    size: int
    root: str
    events: int
    seals: int
    findings: list[Finding]


def verify(log: StoredLog, signer: Signer, anchors: Sequence[Anchor], progress: Progress | None = None) -> Report:
    """Look at everything once; `progress(checked, total)` is told each page. Raise StoreError when the database cannot be read."""
    with log.store.raw_connection() as driver:
        return _Verification(log, driver, signer, progress or (lambda checked, total: None)).run(anchors)


class _Verification:
    def __init__(self, log: StoredLog, driver: Any, signer: Signer, progress: Progress) -> None:
        self.log, self.driver, self.signer, self.progress = log, driver, signer, progress
        self.findings: list[Finding] = []
        self.count = self.events = self.seals = 0
        self.tree = Frontier()  # over the leaves of the events as they are
        self.kept: Frontier | None = None  # over the stored leaf hashes, from the first that differs
        self.suspects: list[int] = []  # events that differ from their stored hash since the last mark that was right
        self.right = 0  # the size up to which a signed root was found right
        self.head = 0
        self.holes = False  # a leaf is missing and its hash too
        self.lost = False  # from here on no root can be right
        self.previous: bytes | None = b""  # the signed root of the seal before; none when it is not known
        self.last_seal = Checkpoint(0, b"", b"", "")

    def find(self, code: str, position: int | None, **words: object) -> None:
        self.count += 1
        if self.count <= MAX_FINDINGS:
            english, arabic = (text.format(position=position, **words) for text in MESSAGES[code])
            self.findings.append(Finding(code, position, english, arabic))

    def run(self, anchors: Sequence[Anchor]) -> Report:
        # in this order, so that what is written meanwhile is behind what is looked at
        anchored: list[Mark] = sorted((note.size, 1, at, note, anchor.name) for at, anchor in enumerate(anchors) for note in self.anchored(anchor))
        sealed = next((size for seal in self.log.seals(self.driver, newest=True) if (size := self.signed_size(seal))), 0)
        [(head,)] = self.log.rows(self.driver, "select max(position) from rakiza_events_head")
        self.head = head if isinstance(head, int) else 0
        end = max(sealed, anchored[-1][0] if anchored else 0)
        if self.head < end:
            self.find("head_behind", end, last=self.head)
        self.outside()
        marks: Iterator[Mark] = merge(((seal.size, 0, 0, seal, "") for seal in self.log.seals(self.driver) if self.counted(seal)), anchored)
        leaves = self.leaves(end)
        mark = self.marked_tiles(leaves, marks, end)
        deque(leaves, maxlen=0)
        for _, _, _, what, name in [mark, *marks] if mark else []:
            self.judge(what, name)
        self.blame("event_changed")
        self.tiles_outside()
        if self.count > MAX_FINDINGS:
            self.findings.append(Finding("more", None, *(text.format(what=self.count - MAX_FINDINGS) for text in MESSAGES["more"])))
        return Report(not self.findings, self.tree.size, self.tree.root().hex(), self.events, self.seals, self.findings)

    def marked_tiles(self, leaves: Iterator[bytes | None], marks: Iterator[Mark], end: int) -> Mark | None:
        """Go through the tiles up to `end`, judging each mark at its size; return the first mark behind."""
        mark = next(marks, None)
        for number in range(-(-end // TILE)):
            chunk, stored = list(islice(leaves, TILE)), self.stored(number, end)
            while mark and mark[0] <= number * TILE + len(chunk):
                self.take(chunk, stored, number, mark[0])
                self.judge(mark[3], mark[4])
                mark = next(marks, None)
            self.take(chunk, stored, number, end)
        return mark

    def signed_size(self, seal: Seal) -> int:
        """Return how many events the seal's note was signed for, 0 without a right signature: what is not signed may name any number."""
        try:
            return self.signer.open(str(seal.note)).size
        except ValueError:
            return 0

    def anchored(self, anchor: Anchor) -> list[Checkpoint]:
        """Return the checkpoints an anchor holds."""
        found: list[Checkpoint] = []
        [(known,)] = self.log.rows(self.driver, "select max(size) from rakiza_events_anchor where name = ?", anchor.name)
        try:
            notes = anchor.notes()
        except (OSError, AppError) as error:
            self.find("anchor_unreadable", None, what=f"{anchor.name}: {error}")
            return found
        for note in notes:
            try:
                found.append(self.signer.open(note))
            except ValueError as error:
                self.find("anchor_unreadable", None, what=f"{anchor.name}: {note[:60]!r}: {error}")
        if known is not None and known not in {note.size for note in found}:
            self.find("anchor_lost", known, what=anchor.name)
        return found

    def outside(self) -> None:
        """Find events with numbers the counter never gave; those appended while this runs are behind it."""
        where = "position < 1 or position > (select max(position) from rakiza_events_head)"
        for (position,) in self.log.rows(self.driver, f"select position from rakiza_events_event where {where} limit {MAX_FINDINGS}"):  # noqa: S608
            self.find("event_outside", position if isinstance(position, int) else None, last=self.head)

    def counted(self, seal: Seal) -> bool:
        self.seals += 1
        if type(seal.size) is int:
            return True
        self.find("seal_changed", None, what="size")
        return False

    def leaves(self, end: int) -> Iterator[bytes | None]:
        """Yield the leaf hash of each position up to `end`, none for what is missing or damaged; behind it only look for gaps."""
        at, last = 0, max(end, self.head)
        while at < last:
            page = [row for row in self.log.events(self.driver, at, min(PAGE, last - at)) if isinstance(row[0], int) and row[0] <= last]
            for row in page:
                yield from self.missing(at, row[0] - 1, end)
                at = row[0]
                self.events += 1
                if at <= end:
                    yield self.leaf(row)
            if not page:
                yield from self.missing(at, last, end)
                at = last
            self.progress(at, last)

    def missing(self, at: int, last: int, end: int) -> Iterator[None]:
        if at < last:
            self.find("event_missing", at + 1, last=last)
            yield from (None for _ in range(at, min(last, end)))

    def leaf(self, row: Sequence[Any]) -> bytes | None:
        try:
            return leaf_hash(leaf_data(row))
        except ValueError as error:
            self.find("event_damaged", row[0], what=error)
            return None

    def stored(self, number: int, end: int) -> list[bytes] | None:
        """Return the stored leaf hashes of a tile that has to be there."""
        if (number + 1) * TILE > end:
            return None
        hashes = self.log.tile(self.driver, 0, number)
        if isinstance(hashes, bytes) and len(hashes) == TILE * HASH_BYTES:
            return split(hashes)
        self.find("tile_missing", None, what=f"0/{number}")
        return None

    def take(self, chunk: list[bytes | None], stored: list[bytes] | None, number: int, size: int) -> None:
        """Grow both trees by the leaves of tile `number` up to `size`."""
        start, stop = self.tree.size - number * TILE, min(size - number * TILE, len(chunk))
        if start >= stop:
            return
        kept = stored[start:stop] if stored else [hashed or UNKNOWN for hashed in chunk[start:stop]]
        self.holes = self.holes or (not stored and None in chunk[start:stop])
        real = [hashed or other for hashed, other in zip(chunk[start:stop], kept, strict=True)]
        differing = [self.tree.size + 1 + index for index, pair in enumerate(zip(real, kept, strict=True)) if pair[0] != pair[1]]
        if differing and self.kept is None:
            self.kept = self.tree.copy()
        self.suspects += differing
        full = self.tree.extend(real)
        self.upper_tiles(full, self.kept.extend(kept) if self.kept else full)

    def upper_tiles(self, real: list[Tile], kept: list[Tile]) -> None:
        for (level, number, hashes), (_, _, other) in zip(real, kept, strict=True):
            if level and not self.lost and self.log.tile(self.driver, level, number) not in {hashes, other}:
                self.find("tile_missing", None, what=f"{level}/{number}")

    def judge(self, mark: Seal | Checkpoint, name: str) -> None:
        if isinstance(mark, Seal):
            self.judge_seal(mark)
        elif mark.size > self.head:
            self.find("anchor_ahead", mark.size, what=name)
        else:
            sealed = self.last_seal.size == mark.size
            if not sealed:
                self.find("anchor_seal", mark.size, what=name)
            if (sealed and self.last_seal.root != mark.root) or not (self.holds(mark) or self.lost or self.holes):
                self.find("anchor_differs", mark.size, what=name)

    def judge_seal(self, seal: Seal) -> None:
        try:
            note = self.signer.open(str(seal.note))
        except ValueError as error:
            self.find("seal_signature", seal.size, what=error)
            self.previous, self.last_seal = None, Checkpoint(seal.size, seal.root, b"", "")
            return
        stored = {"size": (seal.size, note.size), "root": (seal.root, note.root), "sealed_at": (seal.sealed_at, note.time)}
        changed = [column for column, (found, signed) in stored.items() if found != signed]
        if not isinstance(seal.note, str):
            changed.append("note")
        if changed:
            self.find("seal_changed", seal.size, what=", ".join(changed))
        if self.previous not in {None, note.previous}:
            self.find("seal_missing", seal.size)
        self.previous, self.last_seal = note.root, note
        if not self.holds(note) and not self.lost and note.size == self.tree.size:
            if not self.suspects and not self.holes:
                self.find("events_changed", seal.size, first=self.right + 1)
            self.blame("event_changed")
            self.lost = True

    def holds(self, note: Checkpoint) -> bool:
        """Tell whether the log gives the signed root, from the events or from the stored hashes; the one that does is taken for the truth."""
        if note.size != self.tree.size:
            return False
        if self.tree.root() == note.root:
            self.blame("tile_changed")
        elif self.kept and self.kept.root() == note.root:
            self.blame("event_changed")
            self.tree = self.kept
        else:
            return False
        self.kept, self.right = None, note.size
        return True

    def blame(self, code: str) -> None:
        for position in self.suspects:
            self.find(code, position, what=f"0/{(position - 1) >> TILE_HEIGHT}")
        self.suspects = []

    def tiles_outside(self) -> None:
        [(size, count)] = self.log.rows(self.driver, "select (select max(size) from rakiza_events_seal), (select count(*) from rakiza_events_tile)")
        size = size if isinstance(size, int) else 0
        wanted = sum(size >> height for height in range(TILE_HEIGHT, size.bit_length(), TILE_HEIGHT))
        if count > wanted:
            self.find("tile_outside", None, what=count - wanted)
