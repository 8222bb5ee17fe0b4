"""The tree against the recursive definitions of RFC 6962 and the known answers of certificate-transparency."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rakiza.events._merkle import (
    EMPTY_ROOT,
    TILE,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    split,
    subtree_root,
    tiled_nodes,
    verify_consistency,
    verify_inclusion,
)

VECTORS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [hashlib.sha256(b"%d" % number).digest() for number in range(70_000)]


def mth(leaves: list[bytes]) -> bytes:
    """Return the Merkle tree hash word for word as RFC 6962, 2.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = power_below(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = power_below(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def grown(leaves: list[bytes]) -> tuple[Frontier, dict[tuple[int, int], bytes]]:
    frontier = Frontier()
    return frontier, {(level, number): hashes for level, number, hashes in frontier.extend(leaves)}


def source(leaves: list[bytes]):
    frontier, tiles = grown(leaves)
    return tiled_nodes(frontier, lambda level, number: tiles[level, number])


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" == EMPTY_ROOT.hex()


def test_the_roots_of_certificate_transparency() -> None:
    frontier = Frontier()
    for vector, root in zip(VECTORS, ROOTS, strict=True):
        frontier.append(leaf_hash(bytes.fromhex(vector)))
        assert frontier.root().hex() == root
    assert frontier.size == 8


def test_the_inclusion_proofs_of_certificate_transparency() -> None:
    leaves = [leaf_hash(bytes.fromhex(vector)) for vector in VECTORS]
    second = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    assert [node.hex() for node in inclusion_proof(0, 8, source(leaves))] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        second,
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [node.hex() for node in inclusion_proof(1, 5, source(leaves))] == [
        ROOTS[0],
        second,
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]


def test_the_consistency_proof_of_certificate_transparency() -> None:
    leaves = [leaf_hash(bytes.fromhex(vector)) for vector in VECTORS]
    assert [node.hex() for node in consistency_proof(6, 8, source(leaves))] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.integers(0, 1500))
def test_the_root_is_that_of_the_definition(size: int) -> None:
    frontier, tiles = grown(LEAVES[:size])
    assert frontier.root() == mth(LEAVES[:size])
    assert frontier.size == size
    assert sorted(tiles) == [(0, number) for number in range(size // TILE)]
    assert b"".join(tiles[key] for key in sorted(tiles)) + b"".join(frontier.edge[0]) == b"".join(LEAVES[:size])


@given(st.lists(st.integers(0, 700), max_size=6))
def test_a_tree_kept_as_a_list_grows_on_as_if_never_put_away(steps: list[int]) -> None:
    frontier, at = Frontier(), 0
    for step in steps:
        frontier = Frontier.from_list(frontier.to_list())
        frontier.extend(LEAVES[at : at + step])
        at += step
    assert (frontier.size, frontier.root()) == (at, mth(LEAVES[:at]))


def test_tiles_of_every_level_hold_the_roots_of_the_level_below() -> None:
    frontier, tiles = grown(LEAVES)
    assert len(LEAVES) >= TILE * TILE
    assert split(tiles[1, 0]) == [mth(split(tiles[0, number])) for number in range(TILE)]
    assert frontier.edge[2] == [mth(LEAVES[: TILE * TILE])]
    assert subtree_root(0, len(LEAVES), source(LEAVES)) == frontier.root() == Frontier.from_list(frontier.to_list()).root()


@given(st.data())
def test_inclusion_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    index = data.draw(st.integers(0, size - 1))
    later = data.draw(st.integers(size, 900))
    proof = inclusion_proof(index, size, source(LEAVES[:later]))
    root = mth(LEAVES[:size])
    assert proof == path(index, LEAVES[:size])
    assert verify_inclusion(LEAVES[index], index, size, proof, root)
    assert not verify_inclusion(LEAVES[index + 1], index, size, proof, root)
    assert not verify_inclusion(LEAVES[index], index, size, [*proof, root], root)
    assert not verify_inclusion(LEAVES[index], index, size, proof, LEAVES[0][::-1])
    assert not proof or not verify_inclusion(LEAVES[index], index, size, proof[:-1], root)
    assert not verify_inclusion(LEAVES[index], size, size, proof, root)


@given(st.data())
def test_consistency_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 700))
    old = data.draw(st.integers(1, new))
    proof = consistency_proof(old, new, source(LEAVES[:new]))
    roots = mth(LEAVES[:old]), mth(LEAVES[:new])
    assert proof == subproof(old, LEAVES[:new], True)
    assert verify_consistency(old, new, proof, *roots)
    assert not verify_consistency(old, new, proof, LEAVES[-1], roots[1])
    assert not verify_consistency(old, new, proof, roots[0], LEAVES[-1])
    assert not verify_consistency(old, new, [*proof, LEAVES[0]], *roots)
    assert not proof or not verify_consistency(old, new, proof[:-1], *roots)


def test_proofs_outside_the_tree_are_refused() -> None:
    nodes = source(LEAVES[:3])
    with pytest.raises(ValueError, match="no leaf 3"):
        inclusion_proof(3, 3, nodes)
    with pytest.raises(ValueError, match="from 0 to 3"):
        consistency_proof(0, 3, nodes)
    with pytest.raises(ValueError, match="edge"):
        Frontier.from_list([b"short"])
    assert node_hash(LEAVES[0], LEAVES[1]) == mth(LEAVES[:2])


@given(st.binary(max_size=40))
def test_a_leaf_is_never_taken_for_a_node(data: bytes) -> None:
    assert leaf_hash(data) == hashlib.sha256(b"\0" + data).digest() != hashlib.sha256(b"\1" + data).digest()
