"""What the event store writes is what the sealer seals, on both databases."""

import base64
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from rakiza.events import EventStore, create_event_store
from rakiza.events import verifier as standalone
from rakiza.events._canonical import leaf_data
from rakiza.events._log import StoredLog
from rakiza.events._notes import Signer
from rakiza.events._sealer import Sealer

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def events(database_url: str) -> Iterator[EventStore]:
    opened = create_event_store(database_url)
    yield opened
    opened.close()


def changed(number: int) -> dict[str, object]:
    return {
        "event_type": "item.changed", "aggregate_type": "BoqItem", "aggregate_id": f"بند-{number % 9}",
        "payload": {"unit_price": Decimal("9545.50"), "description": "خرسانة مسلحة \u2028 \"C40\"", "number": number},
        "metadata": {"source": "boq.xlsx"},
        "tags": ["مشروع:VILLA-09", "vat"] if number % 2 else [], "user_id": "سارة" if number % 3 else None,
    }  # fmt: skip


def test_appended_events_are_sealed_verified_proven_and_exported(events: EventStore, tmp_path: Path) -> None:
    sealer = Sealer(events.store, Signer("audit.example.sa", key=KEY))
    events.append_many([changed(number) for number in range(300)])
    assert sealer.seal().size == 300
    with events.store.begin() as tx:
        events.append(changed(300), tx)
    events.append(changed(301))
    assert sealer.seal().size == 302
    report = sealer.verify()
    assert (report.ok, report.events, report.findings) == (True, 302, [])
    assert [sealer.inclusion(position).position for position in (1, 256, 257, 302)] == [1, 256, 257, 302]
    assert sealer.export(tmp_path / "out") == (302, 0, 2)
    assert standalone.main([str(tmp_path / "out")]) == 0


def test_the_stored_form_is_the_sealed_form(events: EventStore) -> None:
    appended = events.append(changed(1))
    log = StoredLog(events.store)
    with events.store.read() as tx:
        [row] = log.events(tx.driver_connection, 0)
    event_id, recorded_at, data = row[5], row[-1], leaf_data(row)
    assert (event_id, len(event_id), event_id) == (str(appended.event_id), 36, event_id.lower())
    assert (len(recorded_at), recorded_at[-1]) == (27, "Z")
    assert data.startswith(b"1:1,7:default,7:BoqItem,")
    assert data.endswith(b",27:" + recorded_at.encode() + b",")
