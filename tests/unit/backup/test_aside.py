"""The comparison of two ordered streams of rows, against a naive model."""

from hypothesis import given
from hypothesis import strategies as st

from rakiza.backup._aside import CHUNK, merged, summed

ROWS = st.one_of(
    st.dictionaries(st.integers(0, 30), st.integers(0, 2)),
    st.builds(lambda gone: {number: 0 for number in range(4 * CHUNK) if number not in gone}, st.sets(st.integers(0, 4 * CHUNK), max_size=5)),
)


@given(ROWS, ROWS)
def test_rows_meet_by_their_keys(old: dict[int, int], new: dict[int, int]) -> None:
    found = list(merged(iter(sorted(old.items())), iter(sorted(new.items())), lambda row: (row[0],)))
    keys = old.keys() | new.keys()
    assert sum(same for same, _, _ in found) == sum(old.get(key) == new.get(key) for key in keys)
    differ = [(before, after) for same, before, after in found if not same]
    pairs = (((key, old[key]) if key in old else None, (key, new[key]) if key in new else None) for key in sorted(keys))
    wanted = [pair for pair in pairs if pair[0] != pair[1]]
    assert differ == wanted


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(["أ", "ب", None]))), st.randoms())
def test_a_digest_is_of_the_rows_and_not_of_their_order(rows: list[tuple[int, str | None]], chance: object) -> None:
    mixed = list(rows)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert summed(mixed) == summed(rows)
    assert summed([*rows, rows[0]] if rows else [(0, None)]) != summed(rows)
    assert summed([(-1,)]) != summed([(-2,)])
