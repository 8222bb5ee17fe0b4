"""The canonical bytes of an event: told word for word, different for different events."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trails
from rakiza.events import verifier
from rakiza.events._canonical import COLUMNS, leaf_data
from rakiza.events._merkle import leaf_hash

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.integers(-(2**63), 2**63 - 1)
MAYBE = st.none() | TEXT
ROW = st.tuples(NUMBER, TEXT, TEXT, TEXT, NUMBER, TEXT, TEXT, NUMBER, TEXT, MAYBE, TEXT, MAYBE, MAYBE, MAYBE, MAYBE, TEXT)


def test_the_bytes_word_for_word() -> None:
    row = (7, "default", "مشروع", "VILLA-09", 3, "0192f0c1-2222-7333-8444-555566667777", "price_changed", 1, '{"a":"ريال"}', None, "{}",
           "sara", None, None, '["vat"]', "2026-11-27T09:00:00.000000Z")  # fmt: skip
    payload, metadata = hashlib.sha256('{"a":"ريال"}'.encode()).digest(), hashlib.sha256(b"{}").digest()
    assert leaf_data(row) == (
        b"1:7,7:default,10:" + "مشروع".encode() + b",8:VILLA-09,1:3,36:0192f0c1-2222-7333-8444-555566667777,13:price_changed,1:1,32:"
        + payload + b",-,32:" + metadata + b',4:sara,-,-,7:["vat"],27:2026-11-27T09:00:00.000000Z,'
    )  # fmt: skip


@given(ROW)
def test_the_standalone_verifier_finds_the_same_bytes(row: tuple[object, ...]) -> None:
    assert verifier.hash_of(dict(zip(COLUMNS, row, strict=True))) == leaf_hash(leaf_data(row))


@given(ROW, ROW)
def test_other_events_have_other_bytes(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert (leaf_data(one) == leaf_data(other)) == (one == other)


@pytest.mark.parametrize("column", range(len(COLUMNS)))
def test_values_of_another_kind_are_refused(column: int) -> None:
    row = list(trails.events(1, 1)[0])
    for value in (b"blob", 1.5, True, "7" if isinstance(row[column], int) else 7):
        with pytest.raises(ValueError, match=f"{COLUMNS[column]} is stored as {type(value).__name__}"):
            leaf_data([*row[:column], value, *row[column + 1 :]])
    if COLUMNS[column] not in {"sealed", "user_id", "correlation_id", "causation_id", "tags"}:
        with pytest.raises(ValueError, match="NoneType"):
            leaf_data([*row[:column], None, *row[column + 1 :]])
