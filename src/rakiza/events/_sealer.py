"""The sealer: behind the writers it grows the Merkle tree over the log, signs its state and takes it to the anchors."""

import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rakiza._kernel import SYSTEM_CLOCK, Clock
from rakiza.errors import AppError
from rakiza.store import Store, StoreError, utc_text

from ._anchors import Anchor
from ._export import Exported, export
from ._log import PAGE, Seal, StoredLog, leaf
from ._merkle import Frontier, Tile, consistency_proof, inclusion_proof, subtree_root, tiled_nodes, verify_inclusion
from ._notes import Checkpoint, Signer
from ._verification import Progress, Report, verify
from .errors import SealError

PAGES_PER_SEAL = 20
SEAL_LOCK = 0x72616B7365616C  # "rakseal" in ASCII: the advisory lock of the sealers of one PostgreSQL database


class Inclusion(NamedTuple):
    """Prove that an event stands in the sealed log."""

    position: int
    size: int
    leaf: bytes
    proof: list[bytes]
    root: bytes
    note: str


class Consistency(NamedTuple):
    """Prove that an older state of the log is the beginning of a newer one."""

    old_size: int
    new_size: int
    old_root: bytes
    new_root: bytes
    proof: list[bytes]


class Sealer:
    """Seal the log of a store; any number of processes may try."""

    def __init__(
        self, store: Store, signer: Signer, clock: Clock = SYSTEM_CLOCK, anchors: Sequence[Anchor] = (), anchor_every_seconds: float = 0
    ) -> None:
        self.log, self.signer, self.anchors = StoredLog(store), signer, tuple(anchors)
        self._store, self._clock, self._every = store, clock, anchor_every_seconds
        self.forget()
        self._last: Seal | None = None
        self._tree = Frontier()
        self._anchor_due = clock.monotonic()
        self._trouble: dict[str, str] = {}

    def forget(self) -> None:
        """Take a new lock in a forked child: the parent may have been sealing."""
        self._lock = threading.Lock()

    @property
    def trouble(self) -> str | None:
        """Return why sealing or anchoring failed last, or none."""
        return "; ".join(f"{what}: {why}" for what, why in sorted(self._trouble.items())) or None

    def last(self) -> Seal | None:
        """Return the newest seal; raise StoreError."""
        with self._store.read() as tx:
            return self.log.last_seal(tx.driver_connection)

    def seal(self) -> Seal | None:
        """Seal what is new, at most PAGES_PER_SEAL pages, and anchor; none when there is nothing, another was first, or there is trouble."""
        with self._lock:
            self._trouble.pop("seal", None)
            made = None
            try:
                made = self._seal()
            except (SealError, StoreError) as error:
                self._trouble["seal"] = str(error)
            self._anchor()
        return made

    def _seal(self) -> Seal | None:
        self._load()
        leaves: list[bytes] = []
        for _ in range(PAGES_PER_SEAL):
            with self._store.read() as tx:
                page = self.log.leaves(tx.driver_connection, self._tree.size + len(leaves))
            leaves += page
            if len(page) < PAGE:
                break
        if not leaves:
            return None
        tree = self._tree.copy()
        tiles = tree.extend(leaves)
        checkpoint = Checkpoint(tree.size, tree.root(), self._last.root if self._last else b"", utc_text(self._clock.now()))
        seal = Seal(tree.size, checkpoint.root, self.signer.sign(checkpoint), checkpoint.time)
        if not self._write(seal, tiles):
            return None
        self._tree, self._last = tree, seal
        return seal

    def _load(self) -> None:
        with self._store.read() as tx:
            last = self.log.last_seal(tx.driver_connection)
            if last == self._last:
                return
            tree = self.log.frontier(tx.driver_connection, last.size if last else 0)
        if last and (tree.size, tree.root()) != last[:2]:
            raise SealError(f"the log no longer gives the root of the seal over {last.size} events", hint="run `audit verify`")
        self._tree, self._last = tree, last

    def _write(self, seal: Seal, tiles: list[Tile]) -> bool:
        log, mark = self.log, "%s" if self.log.postgresql else "?"
        try:
            with self._store.begin() as tx:
                driver = tx.driver_connection
                if log.postgresql:
                    driver.execute("select pg_advisory_xact_lock(%s)", (SEAL_LOCK,))
                if log.last_seal(driver) != self._last:
                    return False
                driver.cursor().executemany(f"insert into rakiza_events_tile (level, number, hashes) values ({mark}, {mark}, {mark})", tiles)  # noqa: S608
                log.run(driver, "insert into rakiza_events_seal (size, root, note, sealed_at) values (?, ?, ?, ?)", *seal)
        except self._store.driver_error as error:
            raise SealError(f"the seal over {seal.size} events cannot be written: {error}", hint="run `audit verify`") from error
        return True

    def _anchor(self) -> None:
        if self._last is None or self._clock.monotonic() < self._anchor_due:
            return
        self._anchor_due = self._clock.monotonic() + self._every
        for anchor in self.anchors:
            try:
                self._take_to(anchor, self._last)
                self._trouble.pop(anchor.name, None)
            except (OSError, AppError) as error:
                self._trouble[anchor.name] = str(error)
                self._anchor_due = self._clock.monotonic()

    def _take_to(self, anchor: Anchor, seal: Seal) -> None:
        with self._store.read() as tx:
            [(known,)] = self.log.rows(tx.driver_connection, "select max(size) from rakiza_events_anchor where name = ?", anchor.name)
        if known is not None and known >= seal.size:
            return
        values = seal.size, anchor.name, anchor.put(seal.size, seal.note), utc_text(self._clock.now())
        insert = "insert into rakiza_events_anchor (size, name, receipt, anchored_at) values (?, ?, ?, ?) on conflict do nothing"
        with self._store.begin() as tx:
            self.log.run(tx.driver_connection, insert, *values)

    def verify(self, progress: Progress | None = None) -> Report:
        """Look at every event, tile, seal and anchor; `progress(checked, total)` is told each page. Raise StoreError."""
        return verify(self.log, self.signer, self.anchors, progress)

    def export(self, folder: str | Path, since: datetime | None = None, until: datetime | None = None) -> Exported:
        """Write what is sealed for an auditor, events recorded in [since, until) in full; raise SealError, ValueError, OSError."""
        return export(self.log, self.signer, Path(folder), since, until)

    def inclusion(self, position: int) -> Inclusion:
        """Prove that an event is in the newest seal; raise SealError when it is not sealed yet or not what was sealed."""
        with self._lock, self._store.read() as tx:
            self._load()
            driver = tx.driver_connection
            rows = self.log.events(driver, position - 1, 1)
            if self._last is None or not 0 < position <= self._last.size or not rows or rows[0][0] != position:
                raise SealError(f"event {position} is not sealed", hint="the sealer follows the writers within seconds")
            nodes = tiled_nodes(self._tree, lambda level, number: self.log.whole_tile(driver, level, number))
            size, root, note, _ = self._last
            found = Inclusion(position, size, leaf(rows[0]), inclusion_proof(position - 1, size, nodes), root, note)
        if not verify_inclusion(found.leaf, position - 1, size, found.proof, root):
            raise SealError(f"event {position} is not what was sealed", hint="run `audit verify`")
        return found

    def consistency(self, old_size: int, new_size: int) -> Consistency:
        """Prove that the log of `old_size` events is the beginning of that of `new_size`; raise SealError outside of what is sealed."""
        with self._lock, self._store.read() as tx:
            self._load()
            if not 0 < old_size <= new_size <= self._tree.size:
                raise SealError(f"sizes must rise from 1 to the {self._tree.size} sealed events, got {old_size} and {new_size}")
            nodes = tiled_nodes(self._tree, lambda level, number: self.log.whole_tile(tx.driver_connection, level, number))
            roots = subtree_root(0, old_size, nodes), subtree_root(0, new_size, nodes)
            return Consistency(old_size, new_size, *roots, consistency_proof(old_size, new_size, nodes))
