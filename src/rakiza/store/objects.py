"""Objects in another place: S3 and what speaks like it, Azure Blob, Google Cloud Storage, or a folder. The only place that imports obstore."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rakiza.errors import MissingExtraError

from .errors import StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

READ_BYTES = 4 * 1024 * 1024
PART_BYTES = 5 * 1024 * 1024
"""The smallest part S3 takes; two are under way and one is filled: 15 MB at any size below 45 GB."""
MOST_PARTS = 9_000
"""S3 takes 10,000: beyond MOST_PARTS * PART_BYTES the parts grow."""
PARTS_AT_ONCE = 2
TRIES = 2
"""How often a single request is made again, so that one lost connection does not begin an upload of hours anew."""
LONGEST_SAID = 300
SCHEMES = frozenset({"s3", "az", "azure", "abfs", "abfss", "gs", "file"})
OPTIONS = frozenset({"account_name", "checksum_algorithm", "conditional_put", "endpoint", "region", "virtual_hosted_style_request"})
EXAMPLE = "write s3://bucket/prefix, az://container/prefix, gs://bucket/prefix or file:///folder"
CREDENTIALS = (
    "credentials come from the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_ACCOUNT_NAME and"
    " AZURE_STORAGE_ACCOUNT_KEY, GOOGLE_APPLICATION_CREDENTIALS) or from the role of the machine"
)
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>.{0,20}?<Message>([^<]{1,200})", re.DOTALL)
_QUERY = re.compile(r"\?[^\s\"')]+")


class StoredObject(NamedTuple):
    """Name an object and its size in bytes."""

    key: str
    size: int


class ObjectStorage:
    """Keep objects under an address such as `s3://bucket/prefix?endpoint=https://minio.example.sa`; `shown` is the address without its query.

    A request waits at most `timeout_seconds`. A folder that is not there is an error, for its disk may not be mounted, unless it is to be
    made. Raises StorageError for an address that cannot be one or holds a secret, MissingExtraError without the extra `offsite`.
    """

    def __init__(self, url: str, timeout_seconds: float = 60.0, *, make_folder: bool = False) -> None:
        parts = _checked(url)
        self.shown = shown_address(url)
        self.folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        """The folder, where it is one of this machine."""
        self._make_folder = make_folder
        self._opened: ObjectStore | None = None
        with self._told("cannot be used"):
            if self.folder is None:
                self._opened = _opened(self.shown, dict(parse_qsl(parts.query)), timeout_seconds)

    @property
    def _store(self) -> "ObjectStore":
        if self.folder is not None and not self._make_folder and not self.folder.is_dir():
            raise StorageError(f"there is no folder {self.folder}", hint="make it, or mount its disk")  # the library would make it on another disk
        if self._opened is None:
            from obstore.store import LocalStore

            self._opened = LocalStore(self.folder, mkdir=self._make_folder)
        return self._opened

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object where there is none, in one step; return false when there is one. Raises StorageError."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        with self._told("cannot be written"):
            try:
                obstore.put(self._store, key, data, mode="create")
            except AlreadyExistsError:
                return False
            except (NotSupportedError, NotImplementedError):  # `conditional_put=disabled`: the nearest there is
                if self.size(key) is not None:
                    return False
                obstore.put(self._store, key, data)
            self._settle(key)
        return True

    def upload(self, key: str, blocks: Iterable[bytes], size: int) -> None:
        """Write an object of about `size` bytes as it streams, wholly or not at all, over one of that key.

        Stores do not take a large object under the condition that there is none (arrow-rs-object-store 289): look with `size` first.
        Raises StorageError, and whatever `blocks` raises.
        """
        import obstore

        for left in () if self.folder is None else self.folder.glob(f"{glob.escape(key)}#*"):
            left.unlink(missing_ok=True)  # of an upload that was killed
        part = max(PART_BYTES, -(-size // MOST_PARTS))
        failed: list[BaseException] = []
        with self._told("cannot be written", failed):
            obstore.put(self._store, key, _noting(blocks, failed), chunk_size=part, max_concurrency=PARTS_AT_ONCE, use_multipart=True)
            self._settle(key)

    def _settle(self, key: str) -> None:
        """Wait for the disk where the place is a folder."""
        for path in () if self.folder is None else (self.folder / key, (self.folder / key).parent):
            at = os.open(path, os.O_RDONLY)
            try:
                os.fsync(at)
            finally:
                os.close(at)

    def size(self, key: str) -> int | None:
        """Return the size in bytes, none where there is no such object; raise StorageError."""
        import obstore

        with self._told("cannot be read"):
            try:
                return int(obstore.head(self._store, key)["size"])
            except FileNotFoundError:
                return None

    def blocks(self, key: str, size: int) -> Iterator[bytes]:
        """Yield the first `size` bytes, at most READ_BYTES at once; raise StorageError, also when there are fewer."""
        import obstore

        for start in range(0, size, READ_BYTES):
            with self._told("cannot be read"):
                block = obstore.get_range(self._store, key, start=start, end=min(size, start + READ_BYTES)).to_bytes()
            if len(block) != min(size - start, READ_BYTES):
                raise StorageError(f"{self.shown}/{key} ends after {start + len(block):,} of {size:,} bytes")
            yield block

    def list(self) -> list[StoredObject]:
        """Return all objects under the address; raise StorageError."""
        import obstore

        with self._told("cannot be listed"):
            return [StoredObject(str(one["path"]), int(one["size"])) for page in obstore.list(self._store) for one in page]

    def delete(self, key: str) -> None:
        """Take an object away; one that is not there is no error. Raises StorageError, when the place refuses for example."""
        import obstore

        with self._told("cannot be deleted"):
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                return

    @contextmanager
    def _told(self, what: str, failed: Iterable[BaseException] = ()) -> Iterator[None]:
        """Turn what the library raises into one kind of error, without queries, which may hold signatures."""
        try:
            from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
        except ImportError as error:
            raise MissingExtraError("offsite") from error
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            for own in failed:
                raise own from None
            refused = isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError)
            hint = CREDENTIALS if refused else "is the address right, and does the place answer from here?"
            raise StorageError(f"{self.shown} {what}: {_said(error)}", hint=hint) from error


def shown_address(url: str) -> str:
    """Return an address without its query, in which every place is known."""
    return url.partition("?")[0].partition("#")[0].rstrip("/")


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        scheme, secret = parts.scheme, parts.password is not None
    except ValueError:
        raise StorageError("an address of object storage cannot be read", hint=EXAMPLE) from None
    if scheme not in SCHEMES or not (parts.netloc or (scheme == "file" and parts.path.startswith("/"))):
        raise StorageError(f"an address that begins with {scheme or 'nothing'!r} is none of object storage", hint=EXAMPLE)
    wrong = sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if name not in OPTIONS)
    if secret or wrong:
        what = "a password" if secret else f"the option {wrong[0]}"
        raise StorageError(f"an address of object storage cannot hold {what}", hint=f"{CREDENTIALS}; options are {', '.join(sorted(OPTIONS))}")
    return parts


def _opened(shown: str, options: dict[str, Any], timeout_seconds: float) -> "ObjectStore":
    from obstore.store import from_url

    if shown.startswith("s3:"):
        options = {"checksum_algorithm": "sha256"} | options  # a bucket with an object lock takes nothing without
    seconds = timedelta(seconds=timeout_seconds)
    client: dict[str, Any] = {"timeout": seconds, "connect_timeout": min(seconds, timedelta(seconds=10)), "allow_http": True}  # as the endpoint says
    opened: Callable[..., ObjectStore] = from_url
    return opened(shown, config=options, client_options=client, retry_config={"max_retries": TRIES, "retry_timeout": seconds})


def _noting(blocks: Iterable[bytes], failed: list[BaseException]) -> Iterator[bytes]:
    """Remember what the blocks raise, which the library would tell as an error of its own."""
    try:
        yield from blocks
    except Exception as error:
        failed.append(error)
        raise


def _said(error: Exception) -> str:
    """Return one line of what the library tells."""
    text = str(error)
    if found := _CODE.search(text):
        return f"{found[1]}: {found[2].strip()}"
    return _QUERY.sub("", text.partition("\n")[0])[:LONGEST_SAID]
