"""Object storage: one suite for S3, Azure Blob and a folder, as real processes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rakiza.store import StorageError
from rakiza.store.objects import PART_BYTES, ObjectStorage, StoredObject

SEVERAL_PARTS = os.urandom(2 * PART_BYTES + 12_345)


@pytest.fixture
def storage(place_url: str) -> ObjectStorage:
    return ObjectStorage(place_url, 20)


def cut(data: bytes, length: int = 1024 * 1024) -> Iterator[bytes]:
    for start in range(0, len(data), length):
        yield data[start : start + length]


def read(storage: ObjectStorage, key: str) -> bytes:
    return b"".join(storage.blocks(key, storage.size(key) or 0))


def test_a_small_object_is_written_once(storage: ObjectStorage) -> None:
    assert storage.size("سجل.json") is None
    assert storage.create("سجل.json", "فاتورة".encode()) is True
    assert storage.create("سجل.json", b"another") is False
    assert read(storage, "سجل.json") == "فاتورة".encode()


def test_a_large_object_streams_there_and_back(storage: ObjectStorage) -> None:
    storage.upload("large", cut(SEVERAL_PARTS), len(SEVERAL_PARTS))
    assert (storage.size("large"), read(storage, "large") == SEVERAL_PARTS) == (len(SEVERAL_PARTS), True)
    storage.upload("large", cut(b"small"), 5)
    assert read(storage, "large") == b"small"
    assert storage.list() == [StoredObject("large", 5)]


def test_an_upload_that_breaks_off_leaves_what_was_there(storage: ObjectStorage) -> None:
    def broken() -> Iterator[bytes]:
        yield from cut(SEVERAL_PARTS)
        raise ValueError("انقطع")

    with pytest.raises(ValueError, match="انقطع"):
        storage.upload("new", broken(), len(SEVERAL_PARTS))
    assert storage.size("new") is None
    storage.upload("old", cut(b"before"), 6)
    with pytest.raises(ValueError, match="انقطع"):
        storage.upload("old", broken(), len(SEVERAL_PARTS))
    assert read(storage, "old") == b"before"
    assert storage.list() == [StoredObject("old", 6)]


def test_an_object_that_is_shorter_than_it_should_be_is_an_error(storage: ObjectStorage) -> None:
    storage.create("short", b"abc")
    with pytest.raises(StorageError, match="short"):
        list(storage.blocks("short", 10))
    with pytest.raises(StorageError):
        list(storage.blocks("missing", 1))


def test_what_is_deleted_is_gone_and_may_be_deleted_again(storage: ObjectStorage) -> None:
    storage.create("one", b"1")
    storage.delete("one")
    assert (storage.size("one"), storage.list()) == (None, [])
    storage.delete("one")


def test_a_store_without_conditions_is_asked_first(buckets: object, place_url: str) -> None:
    if not place_url.startswith("s3:"):
        return
    storage = ObjectStorage(f"{place_url}&conditional_put=disabled")
    assert [storage.create("one", b"1"), storage.create("one", b"2"), read(storage, "one")] == [True, False, b"1"]


def test_an_error_says_where_and_how_to_mend_it(buckets: object, tmp_path: Path) -> None:
    from object_stores import Buckets

    assert isinstance(buckets, Buckets)
    with pytest.raises(StorageError, match="NoSuchBucket") as caught:
        ObjectStorage(buckets.url("no-such-bucket", "نسخ"), 20).list()
    assert (caught.value.status, caught.value.detail.startswith("s3://no-such-bucket/نسخ cannot be listed")) == (503, True)
    assert caught.value.hint
    with pytest.raises(StorageError) as caught:
        ObjectStorage("s3://bucket?endpoint=http://127.0.0.1:1", 2).size("x")
    assert "\n" not in caught.value.detail
    missing = ObjectStorage((tmp_path / "غير مركب").as_uri())
    for work in (missing.list, lambda: missing.size("x"), lambda: missing.create("x", b"1"), lambda: missing.upload("x", [b"1"], 1)):
        with pytest.raises(StorageError, match="no folder"):
            work()  # type: ignore[operator]
    assert not (tmp_path / "غير مركب").exists()


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "gopher://x", "s3://", "http://example.sa/x", "file:relative", "memory:///"),
        *(
            "s3://key:secret-word@bucket/x",
            "s3://bucket?secret_access_key=secret-word",
            "az://c?sas_token=secret-word",
            "s3://b?endpoint=x&x=secret-word",
        ),
    ],
)
def test_an_address_that_cannot_be_or_holds_a_secret_is_refused_unseen(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        ObjectStorage(url)
    assert caught.value.hint
    assert "secret-word" not in f"{caught.value}"


def test_an_address_is_shown_without_its_query() -> None:
    assert ObjectStorage("s3://bucket/نسخ/?endpoint=http://127.0.0.1:9000&region=me-south-1").shown == "s3://bucket/نسخ"
