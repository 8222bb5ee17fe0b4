"""Personal data is sealed for each person and erased with the person's key, on both databases."""

import base64
import json
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import servers
import trails
from rakiza.events._notes import Signer
from rakiza.events._personal import KEPT_KEYS, KEY_SECONDS, PersonalData
from rakiza.events._sealer import Sealer
from rakiza.events.errors import EventError, KeyFileError, SealedDataError, SubjectErasedError
from rakiza.store import Store
from rakiza.testing import FrozenClock

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(b"o" * 32).decode()
EVENT = str(uuid.UUID(int=7))
FIELDS = {"name": "سارة القحطاني", "phone": "+966500000000", "age": 41, "address": {"city": "الرياض", "lines": ["a", None]}, "vip": False}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def people(store: Store, clock: FrozenClock) -> PersonalData:
    return PersonalData(store, key=KEY, clock=clock)


def test_fields_are_sealed_and_opened(store: Store, people: PersonalData) -> None:
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    assert "سارة" not in sealed
    assert list(json.loads(sealed)) == ["subject", "fields"]
    assert json.loads(sealed)["subject"] == "u-1"
    assert people.open_fields("default", EVENT, sealed) == FIELDS
    assert PersonalData(store, key=KEY).open_fields("default", EVENT, sealed) == FIELDS
    assert people.seal_fields(store, "default", "u-1", EVENT, FIELDS) != sealed
    assert len(trails.query(store, "select 1 from rakiza_events_subject")) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_any_json_comes_back(store: Store, people: PersonalData, fields: dict) -> None:
    assert people.open_fields("default", EVENT, people.seal_fields(store, "default", "u-1", EVENT, fields)) == fields


def test_a_sealed_field_opens_only_where_it_was_sealed(store: Store, people: PersonalData) -> None:
    sealed = people.seal_fields(store, "default", "u-1", EVENT, {"name": "a", "phone": "b"})
    people.seal_fields(store, "default", "u-2", EVENT, {})
    people.seal_fields(store, "other", "u-1", EVENT, {})
    record = json.loads(sealed)
    swapped = {"subject": "u-1", "fields": {"name": record["fields"]["phone"], "phone": record["fields"]["name"]}}
    for tenant, event, text in [
        ("default", str(uuid.UUID(int=8)), sealed),
        ("other", EVENT, sealed),
        ("default", EVENT, json.dumps(swapped)),
        ("default", EVENT, json.dumps(record | {"subject": "u-2"})),
        ("default", EVENT, json.dumps({"subject": "u-1", "fields": {"name": "c2hvcnQ="}})),
    ]:
        with pytest.raises(SealedDataError, match="does not fit"):
            people.open_fields(tenant, event, text)
    for text in ("", "[]", '{"subject":"u-1"}', '{"subject":"u-1","fields":{"a":"لا"}}'):
        with pytest.raises(SealedDataError, match="no sealed text"):
            people.open_fields("default", EVENT, text)


def test_erased_data_is_gone_and_stays_gone(store: Store, people: PersonalData, clock: FrozenClock) -> None:
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    assert people.open_fields("default", EVENT, sealed) == FIELDS
    people.erase("default", "u-1")
    before = trails.query(store, "select wrapped_key, erased_at from rakiza_events_subject")
    assert before[0][0] is None
    clock.advance(60)
    people.erase("default", "u-1")
    assert trails.query(store, "select wrapped_key, erased_at from rakiza_events_subject") == before
    assert people.open_fields("default", EVENT, sealed) == dict.fromkeys(FIELDS)
    assert people.erased("default", "u-1")
    assert not people.erased("default", "u-2")
    with pytest.raises(SubjectErasedError, match="u-1"):
        people.seal_fields(store, "default", "u-1", EVENT, FIELDS)


def test_a_person_may_be_erased_before_anything_was_sealed(store: Store, people: PersonalData) -> None:
    people.erase("default", "u-9")
    with pytest.raises(SubjectErasedError):
        people.seal_fields(store, "default", "u-9", EVENT, FIELDS)


def test_an_erase_elsewhere_is_seen_within_the_bound(store: Store, people: PersonalData, clock: FrozenClock) -> None:
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    assert people.open_fields("default", EVENT, sealed) == FIELDS
    PersonalData(store, key=KEY).erase("default", "u-1")
    with pytest.raises(SubjectErasedError):  # writers look each time
        people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    clock.advance(KEY_SECONDS)
    assert people.open_fields("default", EVENT, sealed) == dict.fromkeys(FIELDS)


def test_a_key_of_a_transaction_that_was_undone_is_used_for_nothing(store: Store, people: PersonalData) -> None:
    with pytest.raises(RuntimeError, match="undo"), store.begin() as tx:
        lost = people.seal_fields(tx, "default", "u-1", EVENT, FIELDS)
        raise RuntimeError("undo")
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    assert people.open_fields("default", EVENT, sealed) == FIELDS
    with pytest.raises(SealedDataError):
        people.open_fields("default", EVENT, lost)


def test_keys_kept_are_bounded(store: Store, people: PersonalData) -> None:
    for number in range(KEPT_KEYS + 5):
        people._keys["default", f"n-{number}"] = (0.0, None)
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    assert people.open_fields("default", EVENT, sealed) == FIELDS
    assert len(people._keys) == 1


def test_the_wrong_kek_is_said_in_words(store: Store, people: PersonalData, tmp_path: Path) -> None:
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    other = PersonalData(store, key=OTHER)
    with pytest.raises(SealedDataError, match="another key") as caught:
        other.open_fields("default", EVENT, sealed)
    assert "KEK" in str(caught.value.hint)
    with pytest.raises(SealedDataError, match="another key"):
        other.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    trails.change(store, "delete from rakiza_events_subject")
    with pytest.raises(SealedDataError, match="the key of 'u-1' is missing"):
        PersonalData(store, key=KEY).open_fields("default", EVENT, sealed)
    with pytest.raises(KeyFileError):
        PersonalData(store).seal_fields(store, "default", "u-1", EVENT, FIELDS)


def test_the_kek_file_is_made_at_first_use(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "kek"
    people = PersonalData(store, path=path)
    assert not path.exists()
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PersonalData(store, path=path).open_fields("default", EVENT, sealed) == FIELDS


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object()])
def test_what_is_no_json_is_refused_by_name(store: Store, people: PersonalData, value: object) -> None:
    with pytest.raises(EventError, match="the personal field 'x'"):
        people.seal_fields(store, "default", "u-1", EVENT, {"x": value})
    assert trails.query(store, "select 1 from rakiza_events_subject") == []


def test_proofs_outlive_erasure(store: Store, people: PersonalData) -> None:
    trails.write(store, 3)
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    trails.change(store, "update rakiza_events_event set sealed = ? where position = 2", sealed)
    sealer = Sealer(store, Signer("a", key=KEY), FrozenClock())
    root = sealer.seal().root
    people.erase("default", "u-1")
    report = sealer.verify()
    assert (report.ok, report.root) == (True, root.hex())
    assert sealer.inclusion(2).root == root


def test_erased_keys_leave_no_bytes_in_the_file(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    trails.make_tables(store)
    people = PersonalData(store, key=KEY)
    for number in range(9):
        people.seal_fields(store, "default", f"u-{number}", EVENT, FIELDS)
    [(wrapped,)] = trails.query(store, "select wrapped_key from rakiza_events_subject where subject = 'u-4'")
    people.erase("default", "u-4")
    with store.raw_connection() as driver:
        driver.execute("pragma wal_checkpoint(truncate)")
    store.close()
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    left = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert [at for at in range(len(wrapped) - 7) if wrapped[at : at + 8] in left] == []


FORKED = """
import os, sys
from rakiza.events._personal import KEY_SECONDS, PersonalData
from rakiza.store import Store
from rakiza.testing import FrozenClock
url, key, event, sealed = sys.argv[1:]
store, clock = Store(url), FrozenClock()
people = PersonalData(store, key=key, clock=clock)
assert people.open_fields("default", event, sealed)["name"]
readable, writable = os.pipe()
if os.fork() == 0:
    os.read(readable, 1)
    clock.advance(KEY_SECONDS)
    print("gone" if people.open_fields("default", event, sealed)["name"] is None else "still there", flush=True)
    os._exit(0)
people.erase("default", "u-1")
os.write(writable, b"x")
os.wait()
"""


def test_a_child_forgets_a_key_erased_by_its_parent(
    store: Store, database_url: str, people: PersonalData, python_process: Callable[..., servers.Child]
) -> None:
    sealed = people.seal_fields(store, "default", "u-1", EVENT, FIELDS)
    child = python_process(FORKED, database_url, KEY, EVENT, sealed)
    assert child.finish(90) == ["gone"]
