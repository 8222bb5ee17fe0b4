"""Backups that only who holds a key can read, in the format of age (https://age-encryption.org/v1). The only place that imports pyrage."""

import contextlib
import io
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

from rakiza._kernel import SYSTEM_CLOCK
from rakiza.errors import MissingExtraError

from ._core import LOCKED
from .errors import BackupDamagedError, BackupError, BackupRefusedError

SECRET = "AGE-SECRET-KEY-1"  # noqa: S105 - how every secret key of age begins
NAMED = "name the file with the secret key in RAKIZA_BACKUP_IDENTITY_FILE, here and only for as long as it is needed"
WRONG_KEY = "No matching keys found"
"""What age says when the header was written for somebody else."""
log = logging.getLogger("rakiza.backup")


def _age() -> Any:
    try:
        import pyrage  # type: ignore[import-untyped]  # its stubs are a package of their own, older than it
    except ImportError as error:
        raise MissingExtraError("encryption") from error
    return pyrage


class Keys:
    """Hold for whom backups are encrypted, and the file with the secret key, which only who restores needs.

    Raises ValueError for a recipient that is none, MissingExtraError without the extra `encryption`.
    """

    def __init__(self, recipients: Sequence[str] = (), identity_file: Path | None = None) -> None:
        self.recipients, self._file = tuple(recipients), identity_file
        self._locks = [_recipient(number, text) for number, text in enumerate(self.recipients, 1)]
        if identity_file is not None and identity_file.is_file() and identity_file.stat().st_mode & 0o077:
            log.warning("others may read the secret key of the backups: chmod 600 %s", identity_file)

    @property
    def files(self) -> tuple[Path, ...]:
        """Return where the secret key is, if anywhere."""
        return () if self._file is None else (self._file,)

    @property
    def ending(self) -> str:
        """Return how the names of what is made now go on."""
        return LOCKED if self._locks else ""

    def lock(self, store: Callable[[bytes], object]) -> "Locking | None":
        """Return what encrypts a stream and gives it to `store`; none where backups stay open."""
        return Locking(store, self._locks) if self._locks else None

    def _identities(self) -> list[Any]:
        if self._file is None:
            raise BackupRefusedError("it is encrypted, and its key is not here", hint=NAMED)
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
            found = [_age().x25519.Identity.from_str(line.strip()) for line in lines if line.strip().startswith(SECRET)]
        except (OSError, UnicodeDecodeError) as error:
            raise BackupRefusedError(f"the file of the secret key {self._file} cannot be read: {error}", hint=NAMED) from None
        except _age().IdentityError:
            found = []
        if not found:
            raise BackupRefusedError(f"{self._file} holds no secret key of age", hint=f"it has a line that begins with {SECRET}")
        return found

    def check(self, filename: str, encrypted: Sequence[str]) -> None:
        """Raise BackupRefusedError unless the key is here that opens what was encrypted for these recipients; an open backup needs none."""
        if not encrypted:
            return
        try:
            here = [str(one.to_public()) for one in self._identities()]
        except BackupRefusedError as error:
            raise BackupRefusedError(f"{filename} cannot be opened: {error.detail}; nothing was touched", hint=error.hint) from None
        if not set(here) & set(encrypted):
            said = f"{filename} is for {', '.join(encrypted)}, and the key in {self._file} is that of {', '.join(here)}; nothing was touched"
            raise BackupRefusedError(said, hint=NAMED)

    def opens(self, encrypted: Sequence[str]) -> bool:
        """Tell whether what was encrypted for these recipients can be read here."""
        try:
            self.check("it", encrypted)
        except (BackupRefusedError, MissingExtraError):
            return False
        return True

    def unlocked(self, path: Path) -> IO[bytes]:
        """Open a backup, decrypted where it must be; raise BackupRefusedError without its key, and reading it BackupDamagedError."""
        return cast("IO[bytes]", io.BufferedReader(Unlocking(path, self._identities()))) if path.suffix == LOCKED else path.open("rb")


def _recipient(number: int, text: str) -> Any:
    age = _age()
    try:
        return age.x25519.Recipient.from_str(text)
    except age.RecipientError as error:
        shown = "a secret key: the server needs the public one only" if "AGE-SECRET" in text.upper() else f"{text!r}, no public key: {error}"
        raise ValueError(f"recipient {number} is {shown}; one looks like age1…, and `backup key` makes a pair") from None


class Locking:
    """Encrypt what is written in a thread of its own, and hand it on there: only what a pipe holds is on the way."""

    def __init__(self, store: Callable[[bytes], object], recipients: Sequence[Any]) -> None:
        reading, writing = os.pipe()
        self._store, self._recipients = store, recipients
        self._error: Exception | None = None
        self._pipe = os.fdopen(writing, "wb")
        self._thread = threading.Thread(target=self._run, args=(os.fdopen(reading, "rb"),), name="backup-encrypt", daemon=True)
        self._thread.start()

    def _run(self, plain: IO[bytes]) -> None:
        with plain:  # closed at the end, so that who writes hears of it and never waits
            try:
                _age().encrypt_io(plain, SimpleNamespace(write=self._put, flush=lambda: None), self._recipients)
            except (_age().EncryptError, OSError) as error:
                self._error = self._error or error

    def _put(self, block: bytes) -> int:
        try:
            self._store(block)
        except OSError as error:
            self._error = error  # pyrage would keep its text only
            raise
        return len(block)

    def write(self, data: bytes, /) -> None:
        """Take a block; raise OSError when it could not be handed on."""
        try:
            self._pipe.write(data)
        except BrokenPipeError:
            self.finish()

    def finish(self) -> None:
        """Hand on the rest; raise OSError, BackupError."""
        self.close()
        if self._error is not None:
            raise self._error if isinstance(self._error, OSError) else BackupError(f"the backup could not be encrypted: {self._error}")

    def close(self) -> None:
        """End the thread."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        self._thread.join()


class Unlocking(io.RawIOBase):
    """Read a file decrypted, by a thread that decrypts into a pipe; its end is the end only when age says so."""

    def __init__(self, path: Path, identities: Sequence[Any]) -> None:
        super().__init__()
        self._path, self._identities = path, identities
        self._error: Exception | None = None
        encrypted, (reading, writing) = path.open("rb"), os.pipe()
        self._pipe = os.fdopen(reading, "rb", buffering=0)
        self._thread = threading.Thread(target=self._run, args=(encrypted, os.fdopen(writing, "wb")), name="backup-decrypt", daemon=True)
        self._thread.start()

    def _run(self, encrypted: IO[bytes], plain: IO[bytes]) -> None:
        with encrypted, contextlib.suppress(BrokenPipeError):  # who reads has seen enough
            try:
                with plain:
                    _age().decrypt_io(encrypted, plain, self._identities)
            except (_age().DecryptError, OSError) as error:
                self._error = error

    def readable(self) -> bool:
        """Be a stream to read from."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer; raise BackupDamagedError at the end of what was cut or changed, BackupRefusedError for another key."""
        count = self._pipe.readinto(buffer)
        if not count:
            self._thread.join()
            if self._error is not None:
                self._refuse(self._error)
        return int(count)

    def _refuse(self, error: Exception) -> None:
        if str(error) == WRONG_KEY:
            raise BackupRefusedError(f"{self._path.name} is encrypted for another key", hint=NAMED) from None
        raise BackupDamagedError(f"{self._path.name} cannot be decrypted to its end: it was cut or changed ({error})") from None

    def close(self) -> None:
        """End the thread, wherever it is."""
        if not self.closed:
            self._pipe.close()
            self._thread.join()
        super().close()


def make_key(file: Path) -> str:
    """Write a new secret key to a file that only its owner reads, and return the public one; raise BackupError, for a file that is there too."""
    identity = _age().x25519.Identity.generate()
    text = f"# created: {SYSTEM_CLOCK.now().isoformat(timespec='seconds')}\n# public key: {identity.to_public()}\n{identity}\n"
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
    except FileExistsError:
        raise BackupRefusedError(f"{file} is there already; nothing is written over a key", hint="name another file") from None
    except OSError as error:
        raise BackupError(f"the key cannot be written to {file}: {error.strerror or error}") from error
    return str(identity.to_public())
