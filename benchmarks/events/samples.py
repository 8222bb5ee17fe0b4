"""The event that every side appends and reads: about 250 bytes of payload and 80 of metadata as JSON, Arabic among them."""

import json

AGGREGATE, EVENT_TYPE, USER, CORRELATION = "Invoice", "invoice.created", "u-17", "5f0c2c1e-9b5c-4c0e-8c3e-5d9b2f0f8a11"
PAYLOAD = {
    "number": "INV-2026-00042", "project": "VILLA-01", "customer": "شركة البناء الحديث", "currency": "SAR", "total": "9545.00",
    "lines": [{"item": "03.30.10", "quantity": "12.50", "rate": "410.00"}, {"item": "04.20.01", "quantity": "80", "rate": "55.25"}],
}
METADATA = {"user_id": USER, "correlation_id": CORRELATION}
VERSIONS = 10  # events of one aggregate in a log that is read


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


PAYLOAD_TEXT, METADATA_TEXT = _text(PAYLOAD), _text(METADATA)
