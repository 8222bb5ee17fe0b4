"""Typed payloads and the lifting of older ones; every older version has a golden file of what was really stored."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from rakiza.events import Event, EventError, EventTypes

GOLDEN = Path(__file__).parent / "golden"
TYPES = EventTypes()


@TYPES.event_type("invoice.created", version=3)
class InvoiceCreated(msgspec.Struct):
    number: str
    total: Decimal
    currency: str = "SAR"


@TYPES.upcaster("invoice.created", from_version=1)
def _halalas_to_text(payload: dict[str, object]) -> dict[str, object]:
    return {**payload, "total": str(Decimal(int(str(payload["total"]))) / 100)}


@TYPES.upcaster("invoice.created", from_version=2)
def _with_currency(payload: dict[str, object]) -> dict[str, object]:
    return {**payload, "currency": "SAR"}


def stored(payload: object, version: int, event_type: str = "invoice.created") -> Event:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return Event(7, "default", "Invoice", "A", 1, "id", event_type, version, text, None, "{}", None, None, None, None, "2026-11-27T09:00:00.000000Z")


def test_every_older_version_has_a_golden_file() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == [f"{name}.v{version}.json" for name, version in TYPES.older_versions()]


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.stem)
def test_what_was_stored_long_ago_is_read_as_what_is_meant_now(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    version = int(path.stem.rpartition(".v")[2])
    assert TYPES.decode(stored(case["stored"], version)) == msgspec.convert(case["now"], InvoiceCreated)


def test_the_current_version_is_decoded_and_what_is_unknown_is_kept_as_it_is() -> None:
    assert TYPES.decode(stored({"number": "N", "total": "1.50"}, 3)) == InvoiceCreated("N", Decimal("1.50"))
    assert TYPES.decode(stored({"x": "ملاحظة"}, 1, "long.forgotten")) == {"x": "ملاحظة"}
    assert TYPES.decode(stored({"from": "the future"}, 4)) == {"from": "the future"}


def test_a_payload_that_does_not_fit_names_its_place() -> None:
    with pytest.raises(EventError, match=r"position 7 \(invoice.created, version 3\) does not fit InvoiceCreated.*total"):
        TYPES.decode(stored({"number": "N"}, 3))


def test_a_missing_step_is_named() -> None:
    types = EventTypes()
    types.event_type("a", version=3)(msgspec.defstruct("A", [("x", int)]))
    types.upcaster("a", from_version=1)(lambda payload: payload)
    with pytest.raises(EventError, match="no upcaster from version 2 to 3"):
        types.decode(stored({"x": 1}, 1, "a"))


def test_a_name_belongs_to_one_class() -> None:
    types = EventTypes()
    types.event_type("a")(msgspec.defstruct("A", []))
    with pytest.raises(ValueError, match="is A already"):
        types.event_type("a")(msgspec.defstruct("B", []))
