"""Personal data within events, sealed under a key of each person; who erases the key erases the data, and every proof stays valid."""

import base64
import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rakiza._kernel import SYSTEM_CLOCK, Clock
from rakiza.store import Store, Transaction, utc_text

from ._crypto import SECRET_BYTES, decrypt, encrypt, secret
from ._log import StoredLog
from .errors import EventError, SealedDataError, SubjectErasedError

KEY_SECONDS = 5.0
KEPT_KEYS = 1024

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class PersonalData:
    """Seal and open fields with AES-256-GCM, bound to tenant, event and field; the keys are wrapped by one key outside the database (KEK).

    A process may read an erased person's data for KEY_SECONDS after another one erased it, never longer.
    """

    def __init__(self, store: Store, *, path: Path | None = None, key: str = "", clock: Clock = SYSTEM_CLOCK) -> None:
        """Take the KEK of a setting (base64), else of the file, read or made at first use."""
        self._store, self._log, self._clock = store, StoredLog(store), clock
        self._path, self._text, self._kek = path, key, b""
        # Plain dictionary operations only: a lock could be held when a process forks. Keys of writers are never kept.
        self._keys: dict[tuple[str, str], tuple[float, bytes | None]] = {}

    def seal_fields(self, where: Transaction | Store, tenant: str, subject: str, event_id: str, fields: Mapping[str, Json]) -> str:
        """Return the fields sealed for one event, making the person's key when there is none, in the given transaction or one of its own.

        Raise SubjectErasedError, EventError for a value that is no JSON, KeyFileError, SealedDataError.
        """
        plain = {name: _plain(name, value) for name, value in fields.items()}
        with where.begin() if isinstance(where, Store) else nullcontext(where) as tx:
            key = self._key_to_write(tx.driver_connection, tenant, subject)
        sealed = {name: base64.b64encode(encrypt(key, value, _bound(tenant, event_id, name))).decode() for name, value in plain.items()}
        return json.dumps({"subject": subject, "fields": sealed}, ensure_ascii=False, separators=(",", ":"))

    def open_fields(self, tenant: str, event_id: str, sealed: str) -> dict[str, Json]:
        """Return the fields of an event, each none when the person's data was erased; raise SealedDataError, KeyFileError, StoreError."""
        subject, fields = _parsed(sealed)
        key = self._key_to_read(tenant, subject)
        if key is None:
            return dict.fromkeys(fields)
        return {name: json.loads(decrypt(key, raw, _bound(tenant, event_id, name))) for name, raw in fields.items()}

    def erased(self, tenant: str, subject: str) -> bool:
        """Tell whether the person's data was erased; raise StoreError."""
        with self._store.read() as tx:
            row = self._row(tx.driver_connection, tenant, subject)
        return row is not None and row[1] is not None

    def known(self, tenant: str, subject: str) -> bool:
        """Tell whether anything was ever sealed for the person, or its data erased; raise StoreError."""
        with self._store.read() as tx:
            return self._row(tx.driver_connection, tenant, subject) is not None

    def erase(self, tenant: str, subject: str) -> None:
        """Delete the person's key for good, and refuse later ones; doing it again changes nothing. Raise StoreError."""
        now = utc_text(self._clock.now())
        with self._store.begin() as tx:
            if not self._log.postgresql:
                tx.driver_connection.execute("pragma secure_delete = on")  # the key's bytes are overwritten in the file
            self._log.run(
                tx.driver_connection,
                "insert into rakiza_events_subject (tenant_id, subject, wrapped_key, created_at, erased_at) values (?, ?, null, ?, ?)"
                " on conflict (tenant_id, subject) do update set wrapped_key = null,"
                " erased_at = coalesce(rakiza_events_subject.erased_at, excluded.erased_at)",
                *(tenant, subject, now, now),
            )
            tx.after_commit(lambda: self._keys.pop((tenant, subject), None))

    def _key_to_write(self, driver: Any, tenant: str, subject: str) -> bytes:
        row = self._row(driver, tenant, subject)
        if row is None:
            wrapped = encrypt(self._wrapping(), os.urandom(SECRET_BYTES), _bound(tenant, subject))
            insert = "insert into rakiza_events_subject (tenant_id, subject, wrapped_key, created_at) values (?, ?, ?, ?) on conflict do nothing"
            self._log.run(driver, insert, tenant, subject, wrapped, utc_text(self._clock.now()))
            row = self._row(driver, tenant, subject)  # another writer's, when it was first
        if row is None or row[0] is None:
            raise SubjectErasedError(f"the data of {subject!r} was erased, nothing new can be sealed for this person")
        return self._unwrapped(tenant, subject, row[0])

    def _key_to_read(self, tenant: str, subject: str) -> bytes | None:
        now = self._clock.monotonic()
        found = self._keys.get((tenant, subject))
        if found is not None and now - found[0] < KEY_SECONDS:
            return found[1]
        with self._store.read() as tx:
            row = self._row(tx.driver_connection, tenant, subject)
        if row is None:
            raise SealedDataError(f"the key of {subject!r} is missing", hint="restore the table of subjects, which backups may leave out")
        key = None if row[0] is None else self._unwrapped(tenant, subject, row[0])
        if len(self._keys) >= KEPT_KEYS:
            self._keys.clear()
        self._keys[tenant, subject] = now, key
        return key

    def _row(self, driver: Any, tenant: str, subject: str) -> tuple[Any, ...] | None:
        sql = "select wrapped_key, erased_at from rakiza_events_subject where tenant_id = ? and subject = ?"
        return next(iter(self._log.rows(driver, sql, tenant, subject)), None)

    def _unwrapped(self, tenant: str, subject: str, wrapped: bytes) -> bytes:
        try:
            return decrypt(self._wrapping(), wrapped, _bound(tenant, subject))
        except SealedDataError as error:
            raise SealedDataError(f"the key of {subject!r} was wrapped by another key (KEK), or was changed") from error

    def _wrapping(self) -> bytes:
        self._kek = self._kek or secret(self._path, self._text)
        return self._kek


def _bound(*parts: str) -> bytes:
    return "|".join(parts).encode()


def _plain(name: str, value: Json) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise EventError(f"the personal field {name!r} is no JSON value: {error}") from error


def _parsed(sealed: str) -> tuple[str, dict[str, bytes]]:
    try:
        found = json.loads(sealed)
        return str(found["subject"]), {str(name): base64.b64decode(text, validate=True) for name, text in found["fields"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SealedDataError("the sealed text is no sealed text") from error
