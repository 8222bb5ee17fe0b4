"""The Merkle tree of RFC 6962 and RFC 9162: hashes, the right edge, tiles of 256 hashes, inclusion and consistency proofs. No I/O."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

TILE_HEIGHT = 8
TILE = 1 << TILE_HEIGHT
HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()

Tile = tuple[int, int, bytes]
"""Level, number and the 256 hashes of a full tile; level 0 holds leaf hashes, level n the roots of full tiles of level n - 1."""
NodeSource = Callable[[int, int], bytes]
"""Give the hash of the perfect subtree of a height (0 = leaf) at an index."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf's bytes (RFC 9162, 2.1.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 9162, 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def split(hashes: bytes) -> list[bytes]:
    """Return the hashes of a tile one by one."""
    return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 2^n hashes of one height."""
    while len(hashes) > 1:
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


class Frontier:
    """Grow a tree by leaf hashes, keeping its right edge only: of each tile level the hashes that do not fill a tile yet."""

    __slots__ = ("_stack", "edge", "size")

    def __init__(self, edge: Iterable[Sequence[bytes]] = ()) -> None:
        self.edge: list[list[bytes]] = [list(level) for level in edge] or [[]]
        self.size = sum(len(level) << TILE_HEIGHT * height for height, level in enumerate(self.edge))
        self._stack: list[bytes] = []  # the perfect subtrees the tree falls into, the largest first
        for level in reversed(self.edge):
            start = 0
            for bit in range(TILE_HEIGHT - 1, -1, -1):
                if len(level) >> bit & 1:
                    self._stack.append(perfect_root(level[start : start + (1 << bit)]))
                    start += 1 << bit

    def to_list(self) -> list[bytes]:
        """Return the edge, one run of hashes a tile level."""
        return [b"".join(level) for level in self.edge]

    @classmethod
    def from_list(cls, edge: Iterable[bytes]) -> "Frontier":
        """Return the tree with this edge; raise ValueError for runs that are no edge."""
        levels = list(edge)
        if any(len(level) % HASH_BYTES or len(level) >= TILE * HASH_BYTES for level in levels):
            raise ValueError(f"a level of the edge holds 0 to {TILE - 1} hashes of {HASH_BYTES} bytes")
        return cls(map(split, levels))

    def copy(self) -> "Frontier":
        """Return a tree that grows by itself from here."""
        other = Frontier.__new__(Frontier)
        other.edge, other.size, other._stack = [level.copy() for level in self.edge], self.size, self._stack.copy()
        return other

    def append(self, leaf: bytes) -> list[Tile]:
        """Add one leaf hash; return the tiles it fills."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Add leaf hashes in order; return the tiles they fill."""
        full: list[Tile] = []
        stack, size = self._stack, self.size
        for leaf in leaves:
            self.edge[0].append(leaf)
            node, rest, height = leaf, size, 0
            while rest & 1:
                node = sha256(b"\x01" + stack.pop() + node).digest()
                rest >>= 1
                height += 1
                if not height % TILE_HEIGHT:
                    full.append(self._fill(height // TILE_HEIGHT, rest, node))
            stack.append(node)
            self.size = size = size + 1
        return full

    def _fill(self, level: int, number: int, node: bytes) -> Tile:
        hashes = b"".join(self.edge[level - 1])
        self.edge[level - 1].clear()
        if level == len(self.edge):
            self.edge.append([])
        self.edge[level].append(node)
        return level - 1, number, hashes

    def root(self) -> bytes:
        """Return the root of the tree (RFC 9162, 2.1.1)."""
        if not self._stack:
            return EMPTY_ROOT
        node = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            node = node_hash(left, node)
        return node


def tiled_nodes(frontier: Frontier, tile: Callable[[int, int], bytes]) -> NodeSource:
    """Return the source of every perfect subtree of a tree: `tile(level, number)` gives the full tiles, the frontier the edge."""

    def node(height: int, index: int) -> bytes:
        level, span = height // TILE_HEIGHT, 1 << height % TILE_HEIGHT
        number, start = divmod(index * span, TILE)
        filled = frontier.size >> TILE_HEIGHT * (level + 1)
        hashes = split(tile(level, number)) if number < filled else frontier.edge[level]
        return perfect_root(hashes[start : start + span])

    return node


def subtree_root(begin: int, end: int, node: NodeSource) -> bytes:
    """Return the root over the leaves [begin, end) (MTH of RFC 9162, 2.1.1)."""
    size = end - begin
    if size & (size - 1) == 0:
        return node(size.bit_length() - 1, begin // size)
    middle = begin + _left(size)
    return node_hash(subtree_root(begin, middle, node), subtree_root(middle, end, node))


def inclusion_proof(index: int, size: int, node: NodeSource) -> list[bytes]:
    """Return the path from leaf `index` (from 0) to the root of the tree of `size` (RFC 9162, 2.1.3.1); raise ValueError outside the tree."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    begin, end, path = 0, size, list[bytes]()
    while end - begin > 1:
        middle = begin + _left(end - begin)
        if index < middle:
            path.append(subtree_root(middle, end, node))
            end = middle
        else:
            path.append(subtree_root(begin, middle, node))
            begin = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: NodeSource) -> list[bytes]:
    """Return the proof that the tree of `old` leaves begins that of `new` (RFC 9162, 2.1.4.1); raise ValueError unless 0 < old <= new."""
    if not 0 < old <= new:
        raise ValueError(f"there is no proof from {old} to {new} leaves")
    begin, end, path = 0, new, list[bytes]()
    while end != old:
        middle = begin + _left(end - begin)
        if old <= middle:
            path.append(subtree_root(middle, end, node))
            end = middle
        else:
            path.append(subtree_root(begin, middle, node))
            begin = middle
    return ([subtree_root(begin, end, node)] if begin else []) + path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the proof leads from the leaf's hash to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for other in proof:
        if not last:
            return False
        if at & 1 or at == last:
            node = node_hash(other, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, other)
        at, last = at >> 1, last >> 1
    return not last and node == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Tell whether the proof shows that the old tree is the beginning of the new one (RFC 9162, 2.1.4.2)."""
    if not 0 < old < new or not proof:
        return 0 < old == new and not proof and old_root == new_root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for other in path[1:]:
        if not last:
            return False
        if at & 1 or at == last:
            before, after = node_hash(other, before), node_hash(other, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, other)
        at, last = at >> 1, last >> 1
    return not last and before == old_root and after == new_root


def _left(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
