"""Secret keys in files, Ed25519 and AES-256-GCM. The only place that imports cryptography."""

import base64
import binascii
import os
import stat
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rakiza.errors import MissingExtraError

from .errors import KeyFileError, SealedDataError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES = 32
NONCE_BYTES = 12


def require() -> None:
    """Raise MissingExtraError where nothing can be encrypted or signed."""
    if find_spec("cryptography") is None:
        raise MissingExtraError("events")


def secret(path: Path | None = None, text: str = "") -> bytes:
    """Return 32 secret bytes: the base64 text of a setting, else the file's, which is made at first use (mode 0600). Raise KeyFileError."""
    if text:
        return _decode(text, "the setting")
    if path is None:
        raise KeyFileError("a key needs a file or a setting", hint="name a file that only this application may read")
    if not path.exists():
        write_once(path, base64.b64encode(os.urandom(SECRET_BYTES)) + b"\n", 0o600)
    try:
        mode, content = path.stat().st_mode, path.read_text("ascii", errors="replace")
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be read: {error.strerror}", hint=f"make {path} readable for this user alone") from error
    if stat.S_IMODE(mode) & 0o007:
        raise KeyFileError(f"every user of the machine may read the key {path}", hint=f"chmod 600 {path}")
    return _decode(content, str(path))


def write_once(path: Path, data: bytes, mode: int) -> None:
    """Put a whole file in place, on the disk before it is seen; leave one that is there as it is. Raise KeyFileError."""
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            with suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}", hint=f"make {path.parent} writable for this user") from error


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != SECRET_BYTES:
        hint = "restore the key from its backup; a new one opens nothing old"
        raise KeyFileError(f"{where} holds no key of {SECRET_BYTES} bytes in base64", hint=hint)
    return key


class SigningSecret:
    """Sign with Ed25519 (RFC 8032); `public` is the public key, 32 bytes."""

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ImportError as error:
            raise MissingExtraError("events") from error
        self._key = Ed25519PrivateKey.from_private_bytes(key)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._key.sign(message)


def signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature of the message is the key's."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def encrypt(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """Return nonce and ciphertext of AES-256-GCM, readable only together with `bound_to` (NIST SP 800-38D)."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _aes(key).encrypt(nonce, plain, bound_to)


def decrypt(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    """Return what was encrypted; raise SealedDataError for another key, another `bound_to` or changed bytes."""
    from cryptography.exceptions import InvalidTag

    try:
        return _aes(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError) as error:
        raise SealedDataError from error


def _aes(key: bytes) -> "AESGCM":
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise MissingExtraError("events") from error
    return AESGCM(key)
